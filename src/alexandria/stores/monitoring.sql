-- How things stand, for whoever watches: the queue, what is open, what units bought. Everything here only reads, but for what a person
-- does with a dead letter. Times of the queue are the database's.

-- name: take_snapshot
-- One moment for all that follows, and never in anybody's way for long.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: limit_time
SELECT set_config('statement_timeout', %(milliseconds)s::text, true)

-- name: count_jobs
-- A job that is put off is not late; one that may be taken is as old as that is so.
SELECT entrypoint AS kind,
       count(*) FILTER (WHERE status = 'queued' AND execute_after <= clock_timestamp())::int AS waiting,
       count(*) FILTER (WHERE status = 'queued' AND execute_after > clock_timestamp())::int AS snoozed,
       count(*) FILTER (WHERE status = 'picked')::int AS in_work,
       count(*) FILTER (WHERE status = 'failed')::int AS dead,
       coalesce(extract(epoch FROM clock_timestamp()
                - min(greatest(created, execute_after)) FILTER (WHERE status = 'queued' AND execute_after <= clock_timestamp())),
                0)::float8 AS oldest_seconds
  FROM pgqueuer
 GROUP BY entrypoint

-- name: count_flow
-- PgQueuer notes each step of a job; one that is put back bears the reason.
SELECT entrypoint AS kind,
       count(*) FILTER (WHERE status = 'queued' AND traceback IS NULL)::int AS entered,
       count(*) FILTER (WHERE status = 'queued' AND traceback IS NOT NULL)::int AS put_back,
       count(*) FILTER (WHERE status = 'successful')::int AS done,
       count(*) FILTER (WHERE status IN ('failed', 'exception'))::int AS failed
  FROM pgqueuer_log
 WHERE created >= clock_timestamp() - %(since)s::interval
 GROUP BY entrypoint

-- name: list_moves
-- The same of all kinds together, span by span; a span in which nothing moved has its row too.
SELECT span_at,
       count(*) FILTER (WHERE status = 'queued' AND traceback IS NULL)::int AS entered,
       count(*) FILTER (WHERE status = 'queued' AND traceback IS NOT NULL)::int AS put_back,
       count(*) FILTER (WHERE status = 'successful')::int AS done,
       count(*) FILTER (WHERE status IN ('failed', 'exception'))::int AS failed
  FROM generate_series(date_bin(%(span)s::interval, clock_timestamp() - %(since)s::interval, timestamptz 'epoch'),
                       clock_timestamp() - %(span)s::interval, %(span)s::interval) AS span_at
  LEFT JOIN pgqueuer_log AS entry ON entry.created >= span_at AND entry.created < span_at + %(span)s::interval
 GROUP BY span_at
 ORDER BY span_at

-- name: list_dead_letters
SELECT job.id, job.entrypoint AS kind, job.payload, job.attempts, job.created AS queued_at, job.updated AS failed_at, entry.traceback
  FROM pgqueuer AS job
  LEFT JOIN LATERAL (
       SELECT traceback FROM pgqueuer_log WHERE job_id = job.id AND status = 'failed' ORDER BY created DESC LIMIT 1
  ) AS entry ON true
 WHERE job.status = 'failed'
   AND (%(id)s::bigint IS NULL OR job.id = %(id)s)
   AND (%(kind)s::text IS NULL OR job.entrypoint = %(kind)s)
   AND (%(after)s::bigint IS NULL OR job.id < %(after)s)
 ORDER BY job.id DESC
 LIMIT %(limit)s

-- name: retry_dead_letter
-- As PgQueuer does it, but telling whether there was one.
WITH retried AS (
    UPDATE pgqueuer
       SET status = 'queued', execute_after = now(), updated = now(), attempts = 0, queue_manager_id = NULL
     WHERE id = %(id)s AND status = 'failed'
    RETURNING id, entrypoint, priority
)
INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, 'queued', entrypoint, priority FROM retried
RETURNING job_id

-- name: discard_dead_letter
WITH discarded AS (
    DELETE FROM pgqueuer WHERE id = %(id)s AND status = 'failed' RETURNING id, entrypoint, priority
)
INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, 'deleted', entrypoint, priority FROM discarded
RETURNING job_id

-- name: count_runs
SELECT kind, state, count(*)::int FROM harvest_runs GROUP BY kind, state

-- name: count_open_items
SELECT run.kind, item.state, count(*)::int
  FROM harvest_items AS item
  JOIN harvest_runs AS run ON run.id = item.run_id
 WHERE item.state IN ('pending', 'running', 'partial') AND run.state IN ('running', 'paused')
 GROUP BY run.kind, item.state

-- name: list_open_runs
SELECT id FROM harvest_runs WHERE state IN ('running', 'paused') ORDER BY state DESC, created_at DESC LIMIT %(limit)s

-- name: count_alerts
SELECT kind, count(*)::int FROM alerts WHERE cleared_at IS NULL GROUP BY kind

-- name: estimate_rows
-- What the server knows of its tables without reading them; whichever of its two memories is the fresher one.
SELECT relation.relname AS relation, greatest(relation.reltuples, activity.n_live_tup, 0)::bigint AS rows
  FROM unnest(%(relations)s::regclass[]) AS wanted
  JOIN pg_class AS relation ON relation.oid = wanted
  LEFT JOIN pg_stat_user_tables AS activity ON activity.relid = wanted

-- name: list_days
-- A row for each day, whatever was spent on it; its sums are kept with it.
SELECT day, units_charged, used
  FROM quota_windows
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day BETWEEN %(first_day)s AND %(last_day)s
 ORDER BY day
