-- name: list_open_jobs
-- By their keys, which of them still wait; the table is PgQueuer's.
SELECT dedupe_key, status = 'queued' AS is_waiting FROM pgqueuer WHERE entrypoint = %(kind)s AND status IN ('queued', 'picked')

-- name: forget_log
-- What became of jobs that are long over; of those that are kept, dead letters, it stays.
DELETE FROM pgqueuer_log
 WHERE id IN (SELECT log.id FROM pgqueuer_log AS log
               WHERE log.created < now() - %(kept)s::interval AND NOT EXISTS (SELECT FROM pgqueuer WHERE pgqueuer.id = log.job_id)
               LIMIT %(limit)s)
