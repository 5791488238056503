-- name: list_harvesters
SELECT name, consumer, is_enabled, paused_at, pause_reason, units_per_run, units_per_day, most_failures_percent, least_items,
       (SELECT count(*) FROM harvest_runs WHERE kind = name AND state IN ('running', 'paused'))::int AS runs_open
  FROM harvesters
 WHERE %(name)s::text IS NULL OR name = %(name)s
 ORDER BY name

-- name: lock_enabled
-- Whoever disables it waits until the run that is being started is there, or is seen by it.
SELECT is_enabled FROM harvesters WHERE name = %(name)s FOR SHARE

-- name: save_harvester
UPDATE harvesters
   SET is_enabled = %(is_enabled)s, paused_at = %(paused_at)s, pause_reason = %(pause_reason)s, units_per_run = %(units_per_run)s,
       units_per_day = %(units_per_day)s, most_failures_percent = %(most_failures_percent)s, least_items = %(least_items)s
 WHERE name = %(name)s

-- name: lock_harvester
SELECT name FROM harvesters WHERE name = %(name)s FOR NO KEY UPDATE

-- name: let_capped_runs_try
-- There may be room now; if there is none, they pause again, which costs nothing.
UPDATE harvest_runs SET resumes_at = %(now)s WHERE kind = %(name)s AND state = 'paused' AND pause_cause = 'ceiling'
