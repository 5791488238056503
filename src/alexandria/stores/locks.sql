-- name: notice_death
-- The server looks after 10 s of silence whether the holder's machine still answers, and gives its lock free 15 s later.
-- Its own default is two hours. A Unix socket needs none of this.
SELECT set_config('tcp_keepalives_idle', '10', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false);

-- name: try_take
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0));

-- name: release
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0));

-- name: is_held
-- Asks for the lock itself: a pooler between us and the server may have handed us another session.
-- PostgreSQL shows the two halves of a lock's number in classid and objid, and objsubid 1.
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory'
       AND pid = pg_backend_pid()
       AND granted
       AND objsubid = 1
       AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%(name)s, 0)
);
