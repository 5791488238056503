-- name: add_run
INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at, origin)
VALUES (%(id)s, %(kind)s, %(lane)s, %(parameters)s, 'running', %(fresh_since)s, %(now)s, %(origin)s)

-- name: add_items
-- After those that are there already; the run's row keeps two writers from giving the same positions.
WITH run AS (
    SELECT id FROM harvest_runs WHERE id = %(run_id)s FOR UPDATE
), last AS (
    SELECT coalesce(max(position), 0) AS position FROM harvest_items WHERE run_id = (SELECT id FROM run)
)
INSERT INTO harvest_items (run_id, position, target, subject, name, published_from, published_to, isbns, units_expected,
                           editions_expected, updated_at)
SELECT %(run_id)s, last.position + new.position, target, subject, name, published_from, published_to, isbns, units_expected,
       editions_expected, %(now)s
  FROM last, jsonb_to_recordset(%(rows)s)
       AS new (position int, target text, subject text, name text, published_from date, published_to date, isbns text[],
               units_expected float8, editions_expected float8)

-- name: list_runs
SELECT id, kind, lane, parameters, state, pause_cause, harvest_runs.pause_reason, resumes_at, fresh_since, created_at, finished_at,
       CASE WHEN NOT harvester.is_enabled THEN 'its harvester is disabled'
            WHEN harvester.paused_at IS NOT NULL THEN 'its harvester is paused: ' || harvester.pause_reason END AS held,
       harvester.units_per_run IS NOT NULL AS is_capped, origin
  FROM harvest_runs JOIN harvesters AS harvester ON harvester.name = kind
 ORDER BY created_at DESC, id LIMIT %(limit)s

-- name: list_runs_after
-- Page by page; `after` is the last run of the page before, and a run that begins meanwhile shifts nothing.
SELECT id, kind, lane, parameters, state, pause_cause, harvest_runs.pause_reason, resumes_at, fresh_since, created_at, finished_at,
       CASE WHEN NOT harvester.is_enabled THEN 'its harvester is disabled'
            WHEN harvester.paused_at IS NOT NULL THEN 'its harvester is paused: ' || harvester.pause_reason END AS held,
       harvester.units_per_run IS NOT NULL AS is_capped, origin
  FROM harvest_runs JOIN harvesters AS harvester ON harvester.name = kind
 WHERE (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(after)s::text IS NULL
        OR (created_at, id) < (SELECT created_at, id FROM harvest_runs AS seen WHERE seen.id = %(after)s))
 ORDER BY created_at DESC, id DESC LIMIT %(limit)s

-- name: list_runs_to_feed
-- Runs that may have work to hand out now: running ones, and paused ones whose time has come.
SELECT id FROM harvest_runs
 WHERE state IN ('running', 'paused') AND (state = 'running' OR resumes_at <= %(now)s)
   AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
 ORDER BY created_at, id

-- name: find_runs
SELECT id, kind, lane, parameters, state, pause_cause, harvest_runs.pause_reason, resumes_at, fresh_since, created_at, finished_at,
       CASE WHEN NOT harvester.is_enabled THEN 'its harvester is disabled'
            WHEN harvester.paused_at IS NOT NULL THEN 'its harvester is paused: ' || harvester.pause_reason END AS held,
       harvester.units_per_run IS NOT NULL AS is_capped, origin
  FROM harvest_runs JOIN harvesters AS harvester ON harvester.name = kind
 WHERE id = ANY(%(ids)s)

-- name: list_progress
-- A run's reservations are one stretch of their index, as in the function units_of_run: to look for each item's costs three times as much.
SELECT run.id, items, done, failed, partial, running, units_kept + units_charged AS units, units_expected, editions_expected,
       editions_found, editions_new, works_new, covers_wanted
  FROM harvest_runs AS run
  JOIN harvesters AS harvester ON harvester.name = run.kind
 CROSS JOIN LATERAL (
       SELECT count(*) AS items,
              count(*) FILTER (WHERE state IN ('done', 'empty')) AS done,
              count(*) FILTER (WHERE state = 'failed') AS failed,
              count(*) FILTER (WHERE state = 'partial') AS partial,
              count(*) FILTER (WHERE state = 'running') AS running,
              coalesce(sum(units_rolled_up + units_shared), 0)::int AS units_kept,
              coalesce(sum(units_expected), 0)::float8 AS units_expected,
              coalesce(sum(editions_expected), 0)::float8 AS editions_expected,
              coalesce(sum(editions_found), 0)::int AS editions_found,
              coalesce(sum(editions_new), 0)::int AS editions_new, coalesce(sum(works_new), 0)::int AS works_new,
              coalesce(sum(covers_wanted), 0)::int AS covers_wanted
         FROM harvest_items WHERE run_id = run.id) AS counted
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(reservation.units_charged), 0)::int AS units_charged
         FROM quota_reservations AS reservation
        -- From `run/` to just before `run0`, the sign after the slash; what other programs call their jobs is not the run's.
        WHERE reservation.job ~>=~ (run.id || '/') AND reservation.job ~<~ (run.id || '0')
          AND reservation.consumer = harvester.consumer AND reservation.provider = harvester.provider) AS spent
 WHERE run.id = ANY(%(ids)s)

-- name: list_items
SELECT run_id, position, target, subject, name, published_from, published_to, isbns, outcomes, sources, state, next_page, total,
       units_rolled_up + units_shared + (
           SELECT coalesce(sum(units_charged), 0)::int FROM quota_reservations WHERE job = run_id || '/' || position
       ) AS units,
       units_expected, editions_expected, editions_found, editions_new, works_new, covers_wanted,
       failures, starts, reason, retry_at, updated_at
  FROM harvest_items
 WHERE run_id = %(run_id)s AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s)) AND position > %(after)s
 ORDER BY position OFFSET %(offset)s LIMIT %(limit)s

-- name: find_item
SELECT run_id, position, target, subject, name, published_from, published_to, isbns, outcomes, sources, state, next_page, total,
       units_rolled_up + units_shared + (
           SELECT coalesce(sum(units_charged), 0)::int FROM quota_reservations WHERE job = run_id || '/' || position
       ) AS units,
       units_expected, editions_expected, editions_found, editions_new, works_new, covers_wanted,
       failures, starts, reason, retry_at, updated_at
  FROM harvest_items WHERE run_id = %(run_id)s AND position = %(position)s

-- name: list_due_items
-- What a feeder may hand out. A running item whose worker died long ago is due again; its job, if there still is one, keeps it
-- from being queued twice.
SELECT position FROM harvest_items
 WHERE run_id = %(run_id)s
   AND (state IN ('pending', 'partial') AND (retry_at IS NULL OR retry_at <= %(now)s)
        OR state = 'running' AND updated_at < %(abandoned_before)s)
 ORDER BY position LIMIT %(limit)s

-- name: find_next_yield
-- What the first open item of a run costs and brings, as its plan expected.
SELECT units_expected, editions_expected FROM harvest_items
 WHERE run_id = %(run_id)s AND state IN ('pending', 'partial')
 ORDER BY position LIMIT 1

-- name: start_item
UPDATE harvest_items SET state = 'running', starts = starts + 1, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND position = %(position)s AND state IN ('pending', 'partial', 'running')
RETURNING run_id, position, target, subject, name, published_from, published_to, isbns, outcomes, sources, state, next_page, total,
          units_expected, editions_expected, editions_found, editions_new, works_new, covers_wanted,
          failures, starts, reason, retry_at, updated_at, 0 AS units

-- name: advance_item
-- What was done counts whatever became of the run meanwhile; its state and its harvester's say whether to go on.
UPDATE harvest_items
   SET next_page = %(next_page)s, total = coalesce(%(total)s, total), outcomes = outcomes || %(outcomes)s,
       sources = sources || %(sources)s,
       units_shared = units_shared + %(units_shared)s, editions_found = editions_found + %(editions_found)s,
       editions_new = editions_new + %(editions_new)s, works_new = works_new + %(works_new)s,
       covers_wanted = covers_wanted + %(covers_wanted)s,
       starts = CASE WHEN %(is_progress)s THEN 1 ELSE starts END,
       failures = CASE WHEN %(is_progress)s THEN 0 ELSE failures END, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND position = %(position)s
RETURNING (SELECT run.state = 'running' AND harvester.is_enabled AND harvester.paused_at IS NULL
             FROM harvest_runs AS run JOIN harvesters AS harvester ON harvester.name = run.kind
            WHERE run.id = %(run_id)s)

-- name: leave_item
UPDATE harvest_items
   SET state = %(state)s, 
       -- Who ends an item with a reason does so in the transaction of its last answer; whoever ends it after that has none.
       reason = CASE WHEN state = %(state)s THEN coalesce(%(reason)s, reason) ELSE %(reason)s END,
       retry_at = %(retry_at)s, failures = failures + %(failures)s,
       starts = CASE WHEN %(snoozed)s THEN greatest(starts - 1, 0) ELSE starts END, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND position = %(position)s

-- name: pause_run
-- A person's word stands whatever the quota says later, and so does a pause for failures.
UPDATE harvest_runs SET state = 'paused', pause_cause = %(cause)s, pause_reason = %(reason)s, resumes_at = %(resumes_at)s
 WHERE id = %(id)s
   AND (state = 'running'
        OR state = 'paused' AND (%(cause)s = 'person' OR coalesce(pause_cause, 'quota') NOT IN ('person', 'failing')))
RETURNING id

-- name: resume_run
-- By a person. What was spent and what failed before is no longer held against it; a running one just goes on.
UPDATE harvest_runs
   SET state = 'running', pause_cause = NULL, pause_reason = NULL, resumes_at = NULL, finished_at = NULL,
       resumed_at = CASE WHEN state = 'running' THEN resumed_at ELSE %(now)s END,
       units_before = CASE WHEN pause_cause = 'ceiling' AND resumes_at IS NULL THEN units_of_run(id) ELSE units_before END
 WHERE id = %(id)s AND state = ANY(%(states)s)
RETURNING id

-- name: resume_due_run
-- By itself, once its time has come. One statement: a person may pause it at this very moment.
UPDATE harvest_runs SET state = 'running', pause_cause = NULL, pause_reason = NULL, resumes_at = NULL
 WHERE id = %(id)s AND state = 'paused' AND resumes_at <= %(now)s
RETURNING id

-- name: cancel_run
UPDATE harvest_runs
   SET state = 'cancelled', pause_cause = NULL, pause_reason = NULL, resumes_at = NULL, finished_at = %(now)s
 WHERE id = %(id)s AND state IN ('running', 'paused')
RETURNING id

-- name: reopen_failed_items
-- Those of ISBNs also for the ISBNs that failed; what came of the others stays.
UPDATE harvest_items
   SET outcomes = kept.outcomes, failures = 0, starts = 0, reason = NULL, retry_at = NULL, updated_at = %(now)s,
       state = CASE WHEN next_page > 1 OR kept.outcomes <> '{}' THEN 'partial' ELSE 'pending' END
  FROM (SELECT position,
               coalesce(jsonb_object_agg(isbn, what) FILTER (WHERE what ->> 0 <> 'failed'), '{}') AS outcomes
          FROM harvest_items LEFT JOIN LATERAL jsonb_each(outcomes) AS outcome (isbn, what) ON true
         WHERE run_id = %(run_id)s AND state <> 'running'
         GROUP BY position, state
        HAVING state = 'failed' OR bool_or(what ->> 0 = 'failed')) AS kept
 WHERE run_id = %(run_id)s AND harvest_items.position = kept.position

-- name: get_record
-- How the items fared that ended last; one of ISBNs has failed when most of them have.
SELECT count(*)::int AS ended, count(*) FILTER (WHERE has_failed)::int AS failed, most_failures_percent, least_items
  FROM harvest_runs AS run
  JOIN harvesters AS harvester ON harvester.name = run.kind
  LEFT JOIN LATERAL (
       SELECT state = 'failed'
              OR 2 * (SELECT count(*) FROM jsonb_each(outcomes) AS outcome WHERE outcome.value ->> 0 = 'failed') > cardinality(isbns)
              AS has_failed
         FROM harvest_items
        WHERE run_id = %(run_id)s AND state IN ('done', 'empty', 'failed')
          AND updated_at > coalesce(run.resumed_at, '-infinity')
        ORDER BY updated_at DESC
        LIMIT harvester.least_items
       ) AS latest ON true
 WHERE run.id = %(run_id)s
 GROUP BY most_failures_percent, least_items

-- name: finish_run
-- Two items that end at the same moment don't see each other; the worker's tick asks again, so that the run ends all the same.
UPDATE harvest_runs SET state = 'done', finished_at = %(now)s
 WHERE id = %(id)s AND state = 'running'
   AND NOT EXISTS (SELECT FROM harvest_items WHERE run_id = %(id)s AND state IN ('pending', 'running', 'partial'))
RETURNING id

-- name: find_last_feed
-- When the latest run began that read the update feed to its end and may ask for all that it told of.
SELECT max(run.created_at) FROM harvest_runs AS run
  JOIN harvest_items AS item ON item.run_id = run.id
 WHERE run.kind = 'updates' AND run.created_at < %(before)s AND item.target = 'feed' AND item.state IN ('done', 'empty')
   AND item.reason IS NULL AND run.state <> 'cancelled'

-- name: find_feed_refused_at
SELECT max(item.updated_at) FROM harvest_runs AS run
  JOIN harvest_items AS item ON item.run_id = run.id
 WHERE run.kind = 'updates' AND item.target = 'feed' AND item.state = 'failed' AND item.reason = %(reason)s

-- name: list_yields
-- What items that ended since then were expected to cost and to bring, and what they did, by what they asked for.
SELECT item.target, count(*)::int AS items, sum(item.units_expected)::float8 AS units_expected,
       sum(item.editions_expected)::float8 AS editions_expected,
       sum(item.editions_new)::int AS editions_new
  FROM harvest_items AS item
 WHERE item.state IN ('done', 'empty') AND item.updated_at >= %(since)s
 GROUP BY item.target

-- name: list_authors_with_gaps
-- Authors of whom the provider has more results than the pages that we read of them, the most first. What has more than a query
-- shows was asked for in parts.
SELECT subject, name FROM (
    SELECT DISTINCT ON (subject) subject, name, total - (next_page - 1) * %(page_size)s AS unread
      FROM harvest_items
     WHERE target = 'author' AND published_from IS NULL AND published_to IS NULL AND state = 'done'
       AND total < %(window)s
     ORDER BY subject, updated_at DESC
) AS latest
 WHERE unread > 0
 ORDER BY unread DESC, subject
 LIMIT %(limit)s

-- name: list_backlog
-- What the open items of runs still need, paused runs included, by run and by what they ask for: ISBNs without an outcome, the pages
-- that are left of a known total, or, before the first page is there, what the plan expected of the item.
SELECT run.id AS run_id, run.kind, run.lane, run.state, item.target, count(*)::int AS items,
       sum(CASE
           WHEN item.target = 'isbns' THEN cardinality(item.isbns) - (SELECT count(*) FROM jsonb_object_keys(item.outcomes))
           WHEN item.target IN ('feed', 'people') THEN 0
           WHEN item.total IS NULL THEN item.units_expected
           ELSE greatest(0, least(ceil(item.total / %(page_size)s::numeric),
                                  coalesce((run.parameters ->> 'max_pages')::numeric, %(most_pages)s))
                            - (item.next_page - 1))
       END)::float8 AS units,
       sum(CASE WHEN item.state = 'pending' THEN item.editions_expected
                ELSE greatest(0, item.editions_expected - item.editions_new) END)::float8 AS editions_expected
  FROM harvest_runs AS run
  JOIN harvest_items AS item ON item.run_id = run.id
 WHERE run.state IN ('running', 'paused')
   AND item.state IN ('pending', 'running', 'partial')
 GROUP BY run.id, item.target
 ORDER BY run.id, item.target

-- name: count_isbn_outcomes
SELECT outcome.value ->> 0 AS outcome, count(*)::int
  FROM harvest_items, jsonb_each(outcomes) AS outcome
 WHERE run_id = %(run_id)s
 GROUP BY 1

-- name: list_failed_isbns
-- With their reasons: those that failed by themselves, and those of an item that failed before they were answered.
SELECT isbn, coalesce(outcomes -> isbn ->> 1, reason) AS reason
  FROM harvest_items, unnest(isbns) AS isbn
 WHERE run_id = %(run_id)s AND (outcomes -> isbn ->> 0 = 'failed' OR state = 'failed' AND NOT outcomes ? isbn)
 ORDER BY position, isbn
 LIMIT %(limit)s

-- name: count_calls
-- Calls in a run's own name, and those that its items shared with others, once for each.
SELECT (SELECT count(*) FROM quota_reservations WHERE job = ANY(ARRAY(
            SELECT run_id || '/' || position FROM harvest_items WHERE run_id = %(run_id)s)))::int
       + (SELECT count(*) FROM harvest_items WHERE run_id = %(run_id)s AND units_shared > 0)::int AS calls

-- name: list_latest_failures
SELECT run_id, position, name, reason, updated_at FROM harvest_items
 WHERE state = 'failed' ORDER BY updated_at DESC LIMIT %(limit)s

-- name: count_editions_of_authors
SELECT work_authors.author_key, count(*)::int AS editions
  FROM work_authors
  JOIN editions ON editions.work_key = work_authors.work_key
 WHERE work_authors.author_key = ANY(%(author_keys)s)
 GROUP BY work_authors.author_key
