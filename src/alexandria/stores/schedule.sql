-- name: add_entries
-- What lies before an entry was first seen is nobody's to fire. Those that are known are left out: an insert that meets a row in
-- somebody's hands waits until they let go of it, conflict clause or not.
INSERT INTO schedule_entries (name, handled_until)
SELECT name, %(now)s FROM unnest(%(names)s::text[]) AS name
 WHERE name NOT IN (SELECT known.name FROM schedule_entries AS known)
 ORDER BY name  -- everybody locks in this order
    ON CONFLICT (name) DO NOTHING

-- name: lock_entry
SELECT handled_until, paused_at FROM schedule_entries WHERE name = %(name)s FOR UPDATE

-- name: try_lock_entry
-- No row: somebody else is dealing with the entry.
SELECT handled_until, paused_at FROM schedule_entries WHERE name = %(name)s FOR UPDATE SKIP LOCKED

-- name: set_handled_until
UPDATE schedule_entries SET handled_until = %(until)s WHERE name = %(name)s

-- name: claim_slot
-- No row: it was fired before.
INSERT INTO schedule_firings (name, slot, fired_at, missed)
VALUES (%(name)s, %(slot)s, %(now)s, %(missed)s)
    ON CONFLICT (name, slot) DO NOTHING
RETURNING firing

-- name: finish_firing
UPDATE schedule_firings SET outcome = %(outcome)s, run_id = %(run_id)s, remark = %(remark)s WHERE firing = %(firing)s

-- name: forget_firings
-- Those that started a run are kept as the runs are: they say whose run it is.
DELETE FROM schedule_firings WHERE name = %(name)s AND fired_at < %(before)s AND run_id IS NULL

-- name: pause_entry
UPDATE schedule_entries SET paused_at = coalesce(paused_at, %(now)s) WHERE name = %(name)s

-- name: resume_entry
-- Slots of the pause were not missed but unwanted.
UPDATE schedule_entries
   SET paused_at = NULL, handled_until = greatest(handled_until, %(now)s)
 WHERE name = %(name)s AND paused_at IS NOT NULL

-- name: list_paused
SELECT name, paused_at FROM schedule_entries WHERE paused_at IS NOT NULL

-- name: find_last_run
SELECT run_id FROM schedule_firings WHERE name = %(name)s AND run_id IS NOT NULL ORDER BY firing DESC LIMIT 1

-- name: list_firings
SELECT name, slot, fired_at, missed, outcome, run_id, remark
  FROM schedule_firings WHERE name = %(name)s ORDER BY firing DESC LIMIT %(limit)s

-- name: list_last_firings
SELECT name, slot, fired_at, missed, outcome, run_id, remark
  FROM unnest(%(names)s::text[]) AS wanted
 CROSS JOIN LATERAL (SELECT * FROM schedule_firings WHERE name = wanted ORDER BY firing DESC LIMIT 1) AS firing
