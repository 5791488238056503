-- Reading what was charged, hour by hour and entry by entry, and keeping old days in short (docs/quota.md).

-- name: list_usage
-- A day's usage is what is kept call by call and what was rolled up, added up.
SELECT CASE WHEN %(by)s::text IN ('day', 'hour') THEN day END AS day,
       CASE WHEN %(by)s::text = 'hour' THEN hour END AS hour,
       CASE WHEN %(by)s::text IN ('lane', 'consumer') THEN nullif(lane, '') END AS lane,
       CASE WHEN %(by)s::text = 'consumer' THEN nullif(consumer, '') END AS consumer,
       sum(requests)::int AS requests,
       sum(settled)::int AS settled,
       sum(reserved)::int AS reserved,
       sum(unresolved)::int AS unresolved,
       sum(released)::int AS released,
       sum(foreign_units)::int AS foreign_units,
       sum(reconciled)::int AS reconciled
  FROM (SELECT day, hour, lane, consumer, requests, settled, reserved, unresolved, released, foreign_units, reconciled
          FROM quota_calls
         WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day BETWEEN %(first_day)s AND %(last_day)s
         UNION ALL
        SELECT day, hour, lane, consumer, requests, settled, 0, unresolved, released, foreign_units, reconciled
          FROM quota_hours
         WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day BETWEEN %(first_day)s AND %(last_day)s) AS usage
 GROUP BY 1, 2, 3, 4
 ORDER BY 1, 2, 3, 4;

-- name: sum_recently_charged
SELECT coalesce(sum(units_charged), 0)::int AS units
  FROM quota_reservations
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s AND reserved_at >= %(since)s;

-- name: list_newest_entries
SELECT entry.entry, entry.day, entry.recorded_at, entry.kind, entry.units, entry.detail, entry.request_id,
       reservation.lane, reservation.consumer, reservation.job
  FROM quota_ledger AS entry
  LEFT JOIN quota_reservations AS reservation USING (request_id)
 WHERE entry.provider = %(provider)s AND entry.key_hash = %(key_hash)s
   AND (%(kind)s::text IS NULL OR entry.kind = %(kind)s)
   AND (%(consumer)s::text IS NULL OR reservation.consumer = %(consumer)s)
   AND (%(after)s::bigint IS NULL OR entry.entry < %(after)s)
 ORDER BY entry.entry DESC
 LIMIT %(most)s;

-- name: list_oldest_entries
SELECT entry.entry, entry.day, entry.recorded_at, entry.kind, entry.units, entry.detail, entry.request_id,
       reservation.lane, reservation.consumer, reservation.job
  FROM quota_ledger AS entry
  LEFT JOIN quota_reservations AS reservation USING (request_id)
 WHERE entry.provider = %(provider)s AND entry.key_hash = %(key_hash)s
   AND (%(kind)s::text IS NULL OR entry.kind = %(kind)s)
   AND (%(consumer)s::text IS NULL OR reservation.consumer = %(consumer)s)
   AND (%(after)s::bigint IS NULL OR entry.entry > %(after)s)
 ORDER BY entry.entry
 LIMIT %(most)s;

-- name: list_entries_of_day
-- Sorted by an expression: else the planner might read the whole ledger in its order until it comes to the day. `direction` is 1 or
-- -1, the newest first.
SELECT entry.entry, entry.day, entry.recorded_at, entry.kind, entry.units, entry.detail, entry.request_id,
       reservation.lane, reservation.consumer, reservation.job
  FROM quota_ledger AS entry
  LEFT JOIN quota_reservations AS reservation
         ON reservation.request_id = entry.request_id
        -- What is counted on a day was reserved on it or on the day before.
        AND reservation.provider = entry.provider AND reservation.key_hash = entry.key_hash
        AND reservation.day BETWEEN %(day)s::date - 1 AND %(day)s::date
 WHERE entry.provider = %(provider)s AND entry.key_hash = %(key_hash)s AND entry.day = %(day)s
   AND (%(kind)s::text IS NULL OR entry.kind = %(kind)s)
   AND (%(consumer)s::text IS NULL OR reservation.consumer = %(consumer)s)
   AND (%(after)s::bigint IS NULL OR entry.entry * %(direction)s::bigint > %(after)s * %(direction)s::bigint)
 ORDER BY entry.entry * %(direction)s::bigint
 LIMIT %(most)s;

-- name: find_last_rolled_up_day
SELECT max(day) FROM quota_hours WHERE provider = %(provider)s AND key_hash = %(key_hash)s;

-- name: list_days_to_roll_up
-- Days before `before` of which anything is kept call by call, the oldest first; never an account's last three.
SELECT provider, key_hash, day
  FROM quota_windows AS quota_window
 WHERE day < %(before)s
   AND day <= (SELECT max(day) - 3
                 FROM quota_windows AS other
                WHERE other.provider = quota_window.provider AND other.key_hash = quota_window.key_hash)
   -- The first day from here on, and not whether there is a row: that the planner might look for from end to end.
   AND day IN (
       (SELECT min(day)
          FROM quota_reservations AS reservation
         WHERE reservation.provider = quota_window.provider
           AND reservation.key_hash = quota_window.key_hash
           AND reservation.day >= quota_window.day),
       (SELECT min(day)
          FROM quota_ledger AS entry
         WHERE entry.provider = quota_window.provider
           AND entry.key_hash = quota_window.key_hash
           AND entry.day >= quota_window.day
           AND entry.request_id IS NULL)
   )
 ORDER BY day, provider, key_hash
 LIMIT %(most)s;

-- name: roll_up
SELECT roll_up_quota(%(provider)s, %(key_hash)s, %(day)s, %(today)s, %(most)s);

-- name: claim_upkeep
-- Whoever gets a row does it. A row that is not due is only read, so that every process may ask every second.
UPDATE upkeep
   SET claimed_until = coalesce(%(now)s::timestamptz, clock_timestamp()) + %(lease)s::interval
 WHERE task = 'quota'
   AND (due_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
        -- A clock that was set back must not keep it from ever being done.
        OR due_at > coalesce(%(now)s::timestamptz, clock_timestamp()) + interval '2 days')
   AND (claimed_until IS NULL
        OR claimed_until <= coalesce(%(now)s::timestamptz, clock_timestamp())
        OR claimed_until > coalesce(%(now)s::timestamptz, clock_timestamp()) + %(lease)s::interval)
RETURNING true;

-- name: ask_for_upkeep
UPDATE upkeep SET due_at = '-infinity' WHERE task = 'quota';

-- name: finish_upkeep
-- Done for the day, or done in part: then whoever asks next goes on.
UPDATE upkeep
   SET claimed_until = NULL,
       finished_at = CASE WHEN %(is_complete)s::boolean THEN coalesce(%(now)s::timestamptz, clock_timestamp()) ELSE finished_at END,
       due_at = CASE
           WHEN %(is_complete)s::boolean
               THEN date_trunc('day', coalesce(%(now)s::timestamptz, clock_timestamp()), 'UTC') + interval '1 day' + %(delay)s::interval
           ELSE due_at
       END
 WHERE task = 'quota';

-- name: read_clock
SELECT coalesce(%(now)s::timestamptz, clock_timestamp());
