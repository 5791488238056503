-- Dials: where they stand, what changed them, and the meters as they stood when it was last looked (docs/tuning.md).

-- name: claim_look
-- Whoever gets the row is the one to look; nobody waits for it.
SELECT readings FROM tuning
 WHERE looked_at <= clock_timestamp() - %(interval)s::interval
   FOR UPDATE SKIP LOCKED

-- name: save_look
UPDATE tuning SET looked_at = clock_timestamp(), readings = %(readings)s

-- name: read_clock
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: lock_dials
-- Whoever changes a dial by hand waits for a look that is under way.
SELECT is_only FROM tuning FOR UPDATE

-- name: list_values
SELECT name, value FROM dials

-- name: set_value
INSERT INTO dials (name, value, changed_at) VALUES (%(name)s, %(value)s, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at

-- name: add_change
INSERT INTO dial_changes (name, before, after, reason, changed_at)
VALUES (%(name)s, %(before)s, %(after)s, %(reason)s, clock_timestamp())

-- name: list_changes
-- The latest of each dial, newest first.
SELECT dial.name, change.before, change.after, change.reason, change.changed_at
  FROM unnest(%(names)s::text[]) AS dial (name)
 CROSS JOIN LATERAL (
       SELECT before, after, reason, changed_at FROM dial_changes WHERE name = dial.name ORDER BY id DESC LIMIT %(limit)s
 ) AS change

-- name: forget_changes
DELETE FROM dial_changes WHERE changed_at < clock_timestamp() - %(keep)s::interval
