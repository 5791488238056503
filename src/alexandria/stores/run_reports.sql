-- name: take_snapshot
-- So that the figures of one report belong together while the run goes on.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: list_target_figures
-- In one pass over the run's items, and one over its reservations.
WITH charged AS (
    SELECT job, sum(units_charged)::int AS units
      FROM quota_reservations
     WHERE job ~>=~ (%(run_id)s || '/') AND job ~<~ (%(run_id)s || '0')
     GROUP BY job
)
SELECT target, count(*)::int AS items,
       count(*) FILTER (WHERE state = 'done')::int AS done,
       count(*) FILTER (WHERE state = 'empty')::int AS empty,
       count(*) FILTER (WHERE state = 'failed')::int AS failed,
       count(*) FILTER (WHERE state IN ('pending', 'partial', 'running'))::int AS open,
       count(*) FILTER (WHERE state = 'partial')::int AS partial,
       count(*) FILTER (WHERE state = 'running')::int AS running,
       sum(units_rolled_up + units_shared + coalesce(charged.units, 0))::int AS units,
       sum(units_expected)::float8 AS units_expected,
       sum(editions_found)::int AS editions_found,
       sum(editions_new)::int AS editions_new,
       sum(editions_expected)::float8 AS editions_expected,
       sum(works_new)::int AS works_new,
       sum(covers_wanted)::int AS covers_wanted
  FROM harvest_items
  LEFT JOIN charged ON charged.job = run_id || '/' || position
 WHERE run_id = %(run_id)s
 GROUP BY target
 ORDER BY target

-- name: count_isbns
-- By what came of them; those of an item that failed before they were answered have failed.
SELECT coalesce(outcomes -> isbn ->> 0, CASE state WHEN 'failed' THEN 'failed' ELSE 'pending' END) AS outcome, count(*)::int AS isbns
  FROM harvest_items, unnest(isbns) AS isbn
 WHERE run_id = %(run_id)s AND target = 'isbns'
 GROUP BY 1
 ORDER BY 1

-- name: list_item_lines
SELECT position, target, subject, name, state,
       units_rolled_up + units_shared + (
           SELECT coalesce(sum(units_charged), 0)::int FROM quota_reservations WHERE job = run_id || '/' || position
       ) AS units,
       editions_found, editions_new, reason
  FROM harvest_items
 WHERE run_id = %(run_id)s AND (NOT %(only_failed)s::boolean OR state = 'failed')
 ORDER BY position
 LIMIT %(limit)s
