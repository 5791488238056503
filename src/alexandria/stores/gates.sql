-- name: claim_gate
-- Whoever comes while somebody fills the queue has nothing to do: the other one sees to it.
SELECT is_closed FROM gates WHERE name = %(name)s FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_gate
SELECT is_closed FROM gates WHERE name = %(name)s FOR NO KEY UPDATE

-- name: save_gate
UPDATE gates SET is_closed = %(is_closed)s, depth = %(depth)s WHERE name = %(name)s

-- name: claim_measurement
-- Backlogs that were not counted lately, by whosever clock; one that is being counted is left out.
SELECT name, is_closed FROM gates
 WHERE name = ANY(%(names)s)
   AND NOT measured_at BETWEEN %(now)s::timestamptz - %(every)s::interval AND %(now)s::timestamptz + %(every)s::interval
 ORDER BY name
   FOR NO KEY UPDATE SKIP LOCKED

-- name: count_items
-- Open items of open runs; those of paused runs wait, too.
SELECT count(*)::int
  FROM (SELECT FROM harvest_items AS item
          JOIN harvest_runs AS run ON run.id = item.run_id
         WHERE item.state IN ('pending', 'running', 'partial') AND run.state IN ('running', 'paused')
         LIMIT %(most)s) AS counted

-- name: count_covers
SELECT count(*)::int FROM (SELECT FROM covers_wanted WHERE due_at <= %(now)s LIMIT %(most)s) AS counted

-- name: read_drain
-- How many jobs ended within the window and how long ago the first of them did, from the queue's own log.
SELECT count(*)::int, coalesce(clock_timestamp() - min(created), interval '0')
  FROM pgqueuer_log
 WHERE created >= clock_timestamp() - %(window)s::interval AND entrypoint = %(kind)s
   AND status IN ('successful', 'failed', 'exception')

-- name: save_measurement
UPDATE gates SET is_closed = %(is_closed)s, depth = %(depth)s, drain_per_minute = %(drain)s, measured_at = %(now)s WHERE name = %(name)s

-- name: admit
-- One statement: no two add at once to what has room for one. The one that reaches the high mark closes the gate behind it.
UPDATE gates SET depth = depth + %(added)s, is_closed = depth + %(added)s >= %(high)s
 WHERE name = %(name)s AND NOT is_closed AND depth < %(high)s
RETURNING is_closed, depth

-- name: list_gates
SELECT name, is_closed, depth, drain_per_minute FROM gates
