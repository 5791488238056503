-- name: claim_gate
-- Whoever comes while somebody fills the queue has nothing to do: the other one sees to it.
SELECT is_closed FROM gates WHERE name = %(name)s FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_gate
SELECT is_closed, depth FROM gates WHERE name = %(name)s FOR NO KEY UPDATE

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
-- Open items of runs that go on by themselves, now or later. What only a person lets go on waits for that person and not for workers:
-- it would keep the gate closed for ever.
SELECT count(*)::int
  FROM (SELECT FROM harvest_items AS item
          JOIN harvest_runs AS run ON run.id = item.run_id
          JOIN harvesters AS harvester ON harvester.name = run.kind
         WHERE item.state IN ('pending', 'running', 'partial') AND run.lane = ANY(%(lanes)s)
           AND (run.state = 'running' OR run.state = 'paused' AND run.resumes_at IS NOT NULL)
           AND harvester.is_enabled AND harvester.paused_at IS NULL
         LIMIT %(most)s) AS counted

-- name: find_largest_run
-- Of the runs that `count_items` counts; and when the first of them all goes on, unless one is going on now.
SELECT id, open_items, CASE WHEN bool_and(state = 'paused') OVER () THEN min(resumes_at) OVER () END
  FROM (SELECT run.id, run.state, run.resumes_at,
               (SELECT count(*)::int
                  FROM (SELECT FROM harvest_items
                         WHERE run_id = run.id AND state IN ('pending', 'running', 'partial') LIMIT %(most)s) AS counted) AS open_items
          FROM harvest_runs AS run
          JOIN harvesters AS harvester ON harvester.name = run.kind
         WHERE (run.state = 'running' OR run.state = 'paused' AND run.resumes_at IS NOT NULL)
           AND harvester.is_enabled AND harvester.paused_at IS NULL) AS going
 WHERE open_items > 0
 ORDER BY open_items DESC, id LIMIT 1

-- name: count_covers
SELECT count(*)::int FROM (SELECT FROM covers_wanted WHERE due_at <= %(now)s LIMIT %(most)s) AS counted

-- name: count_awaited_covers
-- Those that were put before the others for somebody (`hasten_covers` in covers.sql dates them back by so much).
SELECT count(*)::int
  FROM (SELECT FROM covers_wanted WHERE due_at <= %(now)s::timestamptz - interval '30 days' LIMIT %(most)s) AS counted

-- name: read_drain
-- How many jobs ended within the window and how long ago the first of them did, from the queue's own log.
SELECT count(*)::int, coalesce(clock_timestamp() - min(created), interval '0')
  FROM pgqueuer_log
 WHERE created >= clock_timestamp() - %(window)s::interval AND entrypoint = %(kind)s
   AND status IN ('successful', 'failed', 'exception')

-- name: save_measurement
UPDATE gates SET is_closed = %(is_closed)s, depth = %(depth)s, drain_per_minute = %(drain)s, measured_at = %(now)s WHERE name = %(name)s

-- name: list_gates
SELECT name, is_closed, depth, drain_per_minute FROM gates
