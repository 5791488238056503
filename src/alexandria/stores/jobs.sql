-- name: list_open_jobs
-- By their keys, which of them still wait; the table is PgQueuer's.
SELECT dedupe_key, status = 'queued' AS is_waiting FROM pgqueuer WHERE entrypoint = %(kind)s AND status IN ('queued', 'picked')

-- name: hasten_jobs
UPDATE pgqueuer SET priority = %(priority)s, headers = coalesce(origin, headers)
  FROM jsonb_to_recordset(%(rows)s) AS wished (key text, origin jsonb)
 WHERE dedupe_key = key AND status = 'queued' AND priority < %(priority)s

-- name: forget_log
-- What became of jobs that are long over; of those that are kept, dead letters, it stays.
DELETE FROM pgqueuer_log
 WHERE id IN (SELECT log.id FROM pgqueuer_log AS log
               WHERE log.created < now() - %(kept)s::interval AND NOT EXISTS (SELECT FROM pgqueuer WHERE pgqueuer.id = log.job_id)
               LIMIT %(limit)s)
