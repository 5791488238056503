-- name: add_run
INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at)
VALUES (%(id)s, %(kind)s, %(lane)s, %(parameters)s, 'running', %(fresh_since)s, %(now)s)

-- name: add_items
INSERT INTO harvest_items (run_id, position, subject, name, updated_at)
SELECT %(run_id)s, position, subject, name, %(now)s
  FROM jsonb_to_recordset(%(rows)s) AS new (position int, subject text, name text)

-- name: find_run
SELECT id, kind, lane, parameters, state, pause_reason, resumes_at, fresh_since, created_at, finished_at
  FROM harvest_runs WHERE id = %(id)s

-- name: list_runs
SELECT id, kind, lane, parameters, state, pause_reason, resumes_at, fresh_since, created_at, finished_at
  FROM harvest_runs ORDER BY created_at DESC, id LIMIT %(limit)s

-- name: list_runs_to_feed
-- Runs that may have work to hand out now: running ones, and paused ones whose time has come.
SELECT id FROM harvest_runs
 WHERE state = 'running' OR (state = 'paused' AND resumes_at <= %(now)s)
 ORDER BY created_at, id

-- name: get_progress
SELECT count(*) AS items,
       count(*) FILTER (WHERE state IN ('done', 'empty')) AS done,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'partial') AS partial,
       count(*) FILTER (WHERE state = 'running') AS running,
       coalesce(sum(units_rolled_up), 0)::int
           + (SELECT coalesce(sum(units_charged), 0)::int
                FROM harvest_items AS item
                JOIN quota_reservations ON job = item.run_id || '/' || item.position
               WHERE item.run_id = %(run_id)s) AS units,
       coalesce(sum(editions_found), 0)::int AS editions_found,
       coalesce(sum(editions_new), 0)::int AS editions_new, coalesce(sum(works_new), 0)::int AS works_new,
       coalesce(sum(covers_wanted), 0)::int AS covers_wanted
  FROM harvest_items WHERE run_id = %(run_id)s

-- name: list_items
SELECT run_id, position, subject, name, state, next_page, total,
       units_rolled_up + (
           SELECT coalesce(sum(units_charged), 0)::int FROM quota_reservations WHERE job = run_id || '/' || position
       ) AS units,
       editions_found, editions_new, works_new, covers_wanted,
       failures, starts, reason, retry_at, updated_at
  FROM harvest_items
 WHERE run_id = %(run_id)s AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
 ORDER BY position OFFSET %(offset)s LIMIT %(limit)s

-- name: find_item
SELECT run_id, position, subject, name, state, next_page, total,
       units_rolled_up + (
           SELECT coalesce(sum(units_charged), 0)::int FROM quota_reservations WHERE job = run_id || '/' || position
       ) AS units,
       editions_found, editions_new, works_new, covers_wanted,
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

-- name: start_item
UPDATE harvest_items SET state = 'running', starts = starts + 1, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND position = %(position)s AND state IN ('pending', 'partial', 'running')
RETURNING run_id, position, subject, name, state, next_page, total, editions_found, editions_new, works_new, covers_wanted,
          failures, starts, reason, retry_at, updated_at, 0 AS units

-- name: advance_item
UPDATE harvest_items
   SET next_page = %(next_page)s, total = coalesce(%(total)s, total), editions_found = editions_found + %(editions_found)s,
       editions_new = editions_new + %(editions_new)s, works_new = works_new + %(works_new)s,
       covers_wanted = covers_wanted + %(covers_wanted)s, starts = 1, failures = 0, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND position = %(position)s

-- name: leave_item
UPDATE harvest_items
   SET state = %(state)s, reason = %(reason)s, retry_at = %(retry_at)s, failures = failures + %(failures)s,
       starts = CASE WHEN %(snoozed)s THEN greatest(starts - 1, 0) ELSE starts END, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND position = %(position)s

-- name: pause_run
UPDATE harvest_runs SET state = 'paused', pause_reason = %(reason)s, resumes_at = %(resumes_at)s
 WHERE id = %(id)s AND state IN ('running', 'paused')

-- name: resume_run
UPDATE harvest_runs SET state = 'running', pause_reason = NULL, resumes_at = NULL, finished_at = NULL
 WHERE id = %(id)s AND state = ANY(%(states)s)
RETURNING id

-- name: reopen_failed_items
UPDATE harvest_items SET state = CASE WHEN next_page > 1 THEN 'partial' ELSE 'pending' END, failures = 0, starts = 0, reason = NULL,
       retry_at = NULL, updated_at = %(now)s
 WHERE run_id = %(run_id)s AND state = 'failed'

-- name: finish_run
-- Two items that end at the same moment don't see each other; the worker's tick asks again, so that the run ends all the same.
UPDATE harvest_runs SET state = 'done', finished_at = %(now)s
 WHERE id = %(id)s AND state = 'running'
   AND NOT EXISTS (SELECT FROM harvest_items WHERE run_id = %(id)s AND state IN ('pending', 'running', 'partial'))
RETURNING id

-- name: save_page
INSERT INTO harvest_pages (provider, query, page, fetched_at, page_size, total, has_more, record_keys, dropped)
VALUES (%(provider)s, %(query)s, %(page)s, %(fetched_at)s, %(page_size)s, %(total)s, %(has_more)s, %(record_keys)s, %(dropped)s)
ON CONFLICT (provider, query, page) DO UPDATE
   SET fetched_at = excluded.fetched_at, page_size = excluded.page_size, total = excluded.total, has_more = excluded.has_more,
       record_keys = excluded.record_keys, dropped = excluded.dropped, absorbed_at = NULL

-- name: find_page
SELECT provider, query, page, fetched_at, page_size, total, has_more, record_keys, dropped, absorbed_at
  FROM harvest_pages
 WHERE provider = %(provider)s AND query = %(query)s AND page = %(page)s AND fetched_at >= %(fresh_since)s

-- name: mark_page_absorbed
UPDATE harvest_pages SET absorbed_at = %(now)s WHERE provider = %(provider)s AND query = %(query)s AND page = %(page)s

-- name: count_fresh_pages
-- For each query, how many of its first pages need not be asked again, and whether the last of them ends it.
SELECT query, count(*)::int AS pages, bool_or(NOT has_more) AS is_whole
  FROM harvest_pages
 WHERE provider = %(provider)s AND query = ANY(%(queries)s) AND fetched_at >= %(fresh_since)s
 GROUP BY query

-- name: sum_units_queued
-- What the open items of runs still need, paused runs included: the pages that are left of a known total, or, before the first page
-- is there, what the run's plan expected of an item on average.
SELECT coalesce(sum(CASE
           WHEN item.total IS NULL
               THEN coalesce((run.parameters ->> 'units_expected')::numeric, 1)
                    / (SELECT max(position) FROM harvest_items WHERE run_id = run.id)
           ELSE greatest(0, least(ceil(item.total / %(page_size)s::numeric),
                                  coalesce((run.parameters ->> 'max_pages')::numeric, %(most_pages)s))
                            - (item.next_page - 1))
       END), 0)::float8 AS units
  FROM harvest_runs AS run
  JOIN harvest_items AS item ON item.run_id = run.id
 WHERE run.state IN ('running', 'paused')
   AND item.state IN ('pending', 'running', 'partial')

-- name: list_latest_failures
SELECT run_id, position, name, reason, updated_at FROM harvest_items
 WHERE state = 'failed' ORDER BY updated_at DESC LIMIT %(limit)s

-- name: count_editions_of_authors
SELECT work_authors.author_key, count(*)::int AS editions
  FROM work_authors
  JOIN editions ON editions.work_key = work_authors.work_key
 WHERE work_authors.author_key = ANY(%(author_keys)s)
 GROUP BY work_authors.author_key

-- name: try_lock
-- Held by the connection: the kernel and the server drop it when its process dies.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0))
