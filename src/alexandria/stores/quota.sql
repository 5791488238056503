-- The quota's queries; docs/quota.md tells how they fit together.
-- Whoever changes a count holds the account's row. Only `settle_in_passing` does without: it changes no count. Locks are always
-- taken in the order account, reservation, window, so that no two of these wait for each other.

-- name: lock_account
-- The one lock: whoever holds it decides. NO KEY, because settling must only not change the row's key, and need not wait.
-- What the decision rests on is read by the next statement: one that waits for a lock still sees the other tables as they
-- were before it waited.
SELECT true
  FROM quota_accounts
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s
   FOR NO KEY UPDATE;

-- name: create_account
INSERT INTO quota_accounts (provider, key_hash)
VALUES (%(provider)s, %(key_hash)s)
    ON CONFLICT DO NOTHING;

-- name: lock_and_read
-- What nearly every grant rests on, in one statement: both rows are locked, so both are read as they are after the wait (the others
-- would be read as they were before it). How much is in flight is known as a bound only. No row when there is no account or no day
-- yet, or when a new day was opened during the wait. Caps are those of before the wait: a cap holds from the next call on.
SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now,
       pg_postmaster_start_time() AS server_started_at,
       account.day,
       account.ahead_seconds,
       account.clock_shift_seconds,
       account.next_slot_at,
       account.rate_requests,
       account.rate_window_seconds,
       account.stop_reason,
       account.stop_detail,
       account.stopped_at,
       CASE WHEN isfinite(account.stopped_until) THEN account.stopped_until END AS stopped_until,
       account.failures,
       account.failed_at,
       account.probed_at,
       account.revision,
       account.reconciliations,
       quota_window.units_charged,
       quota_window.used,
       quota_window.provider_total,
       coalesce(quota_window.in_flight_at_most, quota_window.units_charged) AS units_in_flight,
       quota_window.units_charged AS units_unresolved,
       harvester.units_per_day,
       harvester.units_per_run
  FROM quota_accounts AS account
  JOIN quota_windows AS quota_window
    ON quota_window.provider = account.provider
   AND quota_window.key_hash = account.key_hash
   AND quota_window.day = account.day
  LEFT JOIN harvesters AS harvester ON harvester.consumer = %(consumer)s::text AND harvester.provider = %(provider)s
 WHERE account.provider = %(provider)s AND account.key_hash = %(key_hash)s
   FOR NO KEY UPDATE OF account, quota_window;

-- name: read_state
-- Always one row: an account or a window without a row has spent nothing yet. Without a `now` the server's clock is the store's, so
-- that machines whose own clocks differ still agree.
SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now,
       pg_postmaster_start_time() AS server_started_at,
       account.day,
       coalesce(account.ahead_seconds, 0) AS ahead_seconds,
       coalesce(account.clock_shift_seconds, 0) AS clock_shift_seconds,
       account.next_slot_at,
       account.rate_requests,
       account.rate_window_seconds,
       account.stop_reason,
       account.stop_detail,
       account.stopped_at,
       CASE WHEN isfinite(account.stopped_until) THEN account.stopped_until END AS stopped_until,
       coalesce(account.failures, 0) AS failures,
       account.failed_at,
       account.probed_at,
       coalesce(account.revision, 0) AS revision,
       coalesce(account.reconciliations, 0) AS reconciliations,
       coalesce(quota_window.units_charged, 0) AS units_charged,
       coalesce(quota_window.used, '{}') AS used,
       quota_window.provider_total,
       coalesce(quota_window.units_charged, 0) AS units_in_flight,
       coalesce(quota_window.units_charged, 0) AS units_unresolved,
       harvester.units_per_day,
       harvester.units_per_run
  FROM (VALUES (%(provider)s::text, %(key_hash)s::text)) AS asked (provider, key_hash)
  LEFT JOIN quota_accounts AS account USING (provider, key_hash)
  LEFT JOIN quota_windows AS quota_window
         ON quota_window.provider = asked.provider
        AND quota_window.key_hash = asked.key_hash
        AND quota_window.day = account.day
  LEFT JOIN harvesters AS harvester ON harvester.consumer = %(consumer)s::text AND harvester.provider = %(provider)s;

-- name: sum_run
-- What a run has been charged since a person last let it go on, read after the account is locked: so nobody adds to it before the
-- decision. No row when there is no such run.
SELECT units_of_run(id) - units_before AS units
  FROM harvest_runs
 WHERE id = %(run)s;

-- name: sum_open
-- What of a day's count may still arrive, and what the provider's count may still give back; exact, where a state knows bounds. What
-- was answered has arrived, be it not known at what cost.
SELECT coalesce(sum(units) FILTER (WHERE use_before >= %(arrives_after)s AND NOT is_day_known), 0)::int AS units_in_flight,
       coalesce(sum(units), 0)::int AS units_unresolved
  FROM (SELECT use_before, is_day_known, CASE WHEN day = %(day)s THEN units_charged ELSE units_carried END AS units
          FROM quota_reservations
         WHERE provider = %(provider)s AND key_hash = %(key_hash)s
           AND state IN ('reserved', 'unresolved', 'expired')
           AND (day = %(day)s OR carried_to = %(day)s)) AS call;

-- name: find_reservation
SELECT request_id, provider, key_hash, day, lane, consumer, job, units, requests, not_before, use_before, state,
       units_charged, carried_to, units_carried, is_day_known, settled_at
  FROM quota_reservations
 WHERE request_id = %(request_id)s;

-- name: lock_reservation
-- Locked, like all that is read to be changed: `settle_in_passing` may be at it, and whoever waits sees what came of it.
SELECT request_id, provider, key_hash, day, lane, consumer, job, units, requests, not_before, use_before, state,
       units_charged, carried_to, units_carried, is_day_known, settled_at
  FROM quota_reservations
 WHERE request_id = %(request_id)s
   FOR NO KEY UPDATE;

-- name: record_reservation
-- One statement: the slot, the charge, the reservation and its ledger entry exist together or not at all.
WITH slot AS (
    UPDATE quota_accounts
       SET next_slot_at = %(next_slot_at)s, clock_shift_seconds = %(clock_shift_seconds)s, probed_at = %(probed_at)s,
           revision = revision + 1
     WHERE provider = %(provider)s AND key_hash = %(key_hash)s
), charge AS (
    INSERT INTO quota_windows (provider, key_hash, day, units_charged, used, in_flight_at_most)
    VALUES (%(provider)s, %(key_hash)s, %(day)s, %(units)s, jsonb_build_object(%(spender)s::text, %(units)s::int),
            %(in_flight_at_most)s)
        ON CONFLICT (provider, key_hash, day)
        DO UPDATE SET units_charged = quota_windows.units_charged + excluded.units_charged,
                      in_flight_at_most = excluded.in_flight_at_most,
                      used = quota_windows.used || jsonb_build_object(
                          %(spender)s::text, coalesce((quota_windows.used ->> %(spender)s)::int, 0) + %(units)s::int
                      )
), reservation AS (
    INSERT INTO quota_reservations (request_id, provider, key_hash, day, lane, consumer, job, units, requests,
                                    not_before, use_before, units_charged, reserved_at)
    VALUES (%(request_id)s, %(provider)s, %(key_hash)s, %(day)s, %(lane)s, %(consumer)s, %(job)s, %(units)s, %(requests)s,
            %(not_before)s, %(use_before)s, %(units)s, %(now)s)
)
INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, recorded_at)
VALUES (%(provider)s, %(key_hash)s, %(day)s, %(request_id)s, 'reserve', %(units)s, %(now)s);

-- name: settle_in_passing
-- The usual end of a call, in one statement and without the account's lock: it cost what was reserved, on the day that it was
-- reserved for, and its answer told nothing new. Whatever differs finds no row here and is settled under the lock.
WITH settled AS (
    UPDATE quota_reservations AS reservation
       SET state = 'settled', settled_at = %(steady)s
      FROM quota_accounts AS account, quota_windows AS quota_window
     WHERE reservation.request_id = %(request_id)s
       AND reservation.state = 'reserved'
       AND reservation.units = %(units_spent)s
       AND reservation.carried_to IS NULL
       AND account.provider = reservation.provider
       AND account.key_hash = reservation.key_hash
       AND account.day = reservation.day
       AND account.failures = 0
       AND (%(rate_requests)s::int IS NULL
            OR (account.rate_requests = %(rate_requests)s AND account.rate_window_seconds = %(rate_window_seconds)s))
       AND (%(answered_at)s::timestamptz IS NULL
            OR account.ahead_seconds - extract(epoch FROM %(answered_at)s::timestamptz
                                                        - coalesce(%(now)s::timestamptz, clock_timestamp()))
               BETWEEN -1 AND 2 + %(elapsed_seconds)s)
       AND quota_window.provider = reservation.provider
       AND quota_window.key_hash = reservation.key_hash
       AND quota_window.day = reservation.day
       AND (%(provider_left)s::int IS NULL
            OR quota_window.units_charged >= quota_window.provider_total - %(provider_left)s)
       AND (%(provider_total)s::int IS NULL OR quota_window.provider_total IS NOT NULL)
    RETURNING reservation.*
)
INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, detail, recorded_at)
SELECT provider, key_hash, day, request_id, 'settle', 0, %(outcome)s, coalesce(%(now)s::timestamptz, clock_timestamp())
  FROM settled;

-- name: save_account
UPDATE quota_accounts
   SET day = %(account_day)s,
       ahead_seconds = %(ahead_seconds)s,
       rate_requests = %(rate_requests)s,
       rate_window_seconds = %(rate_window_seconds)s,
       failures = %(failures)s,
       failed_at = %(failed_at)s,
       probed_at = %(probed_at)s,
       next_slot_at = %(next_slot_at)s,
       clock_shift_seconds = %(clock_shift_seconds)s,
       revision = revision + 1,
       count_due_at = CASE WHEN %(is_count_due)s::boolean THEN %(now)s::timestamptz ELSE count_due_at END
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s;

-- name: open_window
INSERT INTO quota_windows (provider, key_hash, day, units_charged)
VALUES (%(provider)s, %(key_hash)s, %(day)s, 0)
    ON CONFLICT DO NOTHING;

-- name: save_total
UPDATE quota_windows
   SET provider_total = %(provider_total)s
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s;

-- name: save_reading
UPDATE quota_windows
   SET provider_total = %(provider_total)s, provider_spent = %(provider_spent)s, provider_read_at = %(now)s
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s;

-- name: save_records
-- One statement for any number: a count may decide thousands. When they were settled is steady time, as their other times are.
UPDATE quota_reservations AS reservation
   SET state = changed.state,
       units_charged = changed.units_charged,
       carried_to = changed.carried_to,
       units_carried = changed.units_carried,
       is_day_known = changed.is_day_known,
       settled_at = CASE WHEN changed.state = 'settled' THEN %(steady)s::timestamptz END
  FROM unnest(%(request_id)s::uuid[], %(state)s::text[], %(units_charged)s::int[], %(carried_to)s::date[],
              %(units_carried)s::int[], %(is_day_known)s::boolean[])
       AS changed (request_id, state, units_charged, carried_to, units_carried, is_day_known)
 WHERE reservation.request_id = changed.request_id;

-- name: record_entries
INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, detail, recorded_at)
SELECT %(provider)s, %(key_hash)s, day, request_id, kind, units, detail, %(now)s
  FROM unnest(%(day)s::date[], %(request_id)s::uuid[], %(kind)s::text[], %(units)s::int[], %(detail)s::text[])
       AS entry (day, request_id, kind, units, detail);

-- name: charge_window
-- The day's count follows its ledger: the sum of what was just entered for one spender. What came from another day may be in flight.
UPDATE quota_windows
   SET units_charged = units_charged + %(units)s,
       in_flight_at_most = CASE WHEN %(may_be_in_flight)s::boolean THEN NULL ELSE in_flight_at_most END,
       used = CASE
                  WHEN %(spender)s::text IS NULL THEN used
                  ELSE used || jsonb_build_object(
                      %(spender)s::text, coalesce((used ->> %(spender)s)::int, 0) + %(units)s::int
                  )
              END
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s;

-- name: list_open
-- What is reserved or unresolved, the oldest first: what a new day, an expiry or the provider's count may decide.
SELECT request_id, provider, key_hash, day, lane, consumer, job, units, requests, not_before, use_before, state,
       units_charged, carried_to, units_carried, is_day_known, settled_at
  FROM quota_reservations
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s
   AND state IN ('reserved', 'unresolved', 'expired')
   AND use_before >= %(since)s
 ORDER BY use_before, request_id
 LIMIT %(most)s
   FOR NO KEY UPDATE;

-- name: adopt_expired
-- What the version before gave up is unresolved, by its present name.
UPDATE quota_reservations
   SET state = 'unresolved'
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND state = 'expired';

-- name: list_expired
-- What nobody settled in time, the oldest first.
SELECT request_id, provider, key_hash, day, lane, consumer, job, units, requests, not_before, use_before, state,
       units_charged, carried_to, units_carried, is_day_known, settled_at
  FROM quota_reservations
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s
   AND state = 'reserved'
   AND use_before < %(used_before)s
 ORDER BY use_before, request_id
 LIMIT %(most)s
   FOR NO KEY UPDATE;

-- name: list_accounts_with_expired
SELECT DISTINCT account.provider, account.key_hash
  FROM quota_reservations AS reservation
  JOIN quota_accounts AS account USING (provider, key_hash)
 WHERE reservation.state IN ('reserved', 'expired')
   AND reservation.use_before < coalesce(%(now)s::timestamptz, clock_timestamp()) - %(arrival_span)s::interval
                                - make_interval(secs => account.clock_shift_seconds);

-- name: sum_uncertain
-- What is charged to a day that a count asked at `asked_at` may not hold yet: calls of ours, and what others had spent when a later
-- answer told of it.
SELECT (SELECT coalesce(sum(units), 0)
          FROM quota_ledger
         WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s AND kind = 'foreign'
           AND recorded_at >= %(asked_at_by_clock)s::timestamptz - %(count_lag)s::interval)::int
       + coalesce(sum(CASE WHEN day = %(day)s THEN units_charged ELSE units_carried END), 0)::int AS units
  FROM quota_reservations
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s
   AND (day = %(day)s OR carried_to = %(day)s)
   AND (state = 'reserved'
        OR (state IN ('unresolved', 'expired') AND use_before >= %(asked_at)s::timestamptz - %(arrival_span)s::interval)
        OR (state = 'settled' AND settled_at >= %(asked_at)s::timestamptz - %(count_lag)s::interval));

-- name: claim_count
-- Whoever changes a row asks the provider; the others wait for what comes of it.
UPDATE quota_accounts
   SET count_asked_until = %(now)s::timestamptz + %(lease)s::interval, clock_shift_seconds = %(clock_shift_seconds)s
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s
   AND (count_asked_until IS NULL
        OR count_asked_until <= %(now)s
        -- Who asked before the server was restarted was most likely cut off. (Its start is a time of its own clock.)
        OR (NOT %(is_clock_given)s::boolean AND count_asked_until < pg_postmaster_start_time() + %(lease)s::interval)
        -- A clock that was set back must not keep everybody from asking.
        OR count_asked_until > %(now)s::timestamptz + %(lease)s::interval)
   AND (NOT %(only_if_due)s::boolean OR count_due_at IS NULL OR count_due_at <= %(now)s);

-- name: yield_count
-- Never longer than it was: the lease may have ended meanwhile, or be another one's.
UPDATE quota_accounts
   SET count_asked_until = least(
           count_asked_until, coalesce(%(now)s::timestamptz, clock_timestamp()) + %(rest)s::interval
       ),
       count_due_at = greatest(
           count_due_at, coalesce(%(now)s::timestamptz, clock_timestamp()) + %(again_after)s::interval
       )
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s;

-- name: record_reconciliation
-- A free call was answered: the key is taken again, so a latch for a refused key is opened.
UPDATE quota_accounts
   SET reconciliations = reconciliations + 1,
       count_due_at = %(count_due_at)s,
       count_asked_until = %(now)s::timestamptz + %(rest)s::interval,
       latch_opened_at = CASE WHEN stop_reason = 'suspended' THEN %(now)s ELSE latch_opened_at END,
       stopped_until = CASE WHEN stop_reason = 'suspended' THEN NULL ELSE stopped_until END,
       stop_detail = CASE WHEN stop_reason = 'suspended' THEN NULL ELSE stop_detail END,
       stopped_at = CASE WHEN stop_reason = 'suspended' THEN NULL ELSE stopped_at END,
       stop_reason = nullif(stop_reason, 'suspended')
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s;

-- name: stop_account
-- A later stop never shortens an earlier, longer one. Afterwards the provider's count is asked: for a refused key soon, since that
-- is how a day used up was once told (contracts/isbndb.md, section 8), else when the stop is over.
INSERT INTO quota_accounts AS account
       (provider, key_hash, stopped_until, stop_reason, stop_detail, stopped_at, count_due_at)
VALUES (%(provider)s, %(key_hash)s, coalesce(%(until)s::timestamptz, 'infinity'), %(reason)s, %(detail)s, %(now)s,
        %(count_due_at)s)
    ON CONFLICT (provider, key_hash)
    DO UPDATE SET stopped_until = excluded.stopped_until,
                  stop_reason = excluded.stop_reason,
                  stop_detail = excluded.stop_detail,
                  stopped_at = excluded.stopped_at,
                  count_due_at = CASE
                      WHEN account.stopped_until = 'infinity' THEN %(now)s::timestamptz + %(probe_every)s::interval
                      WHEN account.count_due_at IS NULL THEN NULL
                      WHEN isfinite(excluded.stopped_until) THEN least(account.count_due_at, excluded.count_due_at)
                      ELSE greatest(excluded.count_due_at, account.latch_opened_at + %(probe_every)s::interval)
                  END
            WHERE account.stopped_until IS NULL OR account.stopped_until < excluded.stopped_until
               OR (account.stopped_until = 'infinity' AND excluded.stopped_until = 'infinity');

-- name: resume_account
-- Also takes back slots and a day that a wrong clock put ahead, else nobody could send before that time.
UPDATE quota_accounts
   SET stopped_until = NULL, stop_reason = NULL, stop_detail = NULL, stopped_at = NULL,
       failures = 0, failed_at = NULL, probed_at = NULL,
       count_due_at = NULL, day = NULL,
       next_slot_at = CASE WHEN next_slot_at > %(latest_slot_at)s THEN %(latest_slot_at)s ELSE next_slot_at END
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s
   AND (stopped_until > %(now)s OR next_slot_at > %(latest_slot_at)s OR failures >= %(most_failures)s
        OR day > (%(now)s::timestamptz AT TIME ZONE 'UTC')::date);

-- name: read_clock
SELECT coalesce(%(now)s::timestamptz, clock_timestamp());

-- name: one_snapshot
-- So that the figures of one status belong together.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: read_window
SELECT units_charged, used, provider_total, provider_spent, provider_read_at
  FROM quota_windows
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s;

-- name: list_usages
-- What is carried from the day before counts on this day too.
SELECT lane,
       consumer,
       coalesce(sum(requests) FILTER (WHERE state <> 'released'), 0)::int AS requests,
       coalesce(sum(units) FILTER (WHERE state = 'settled'), 0)::int AS settled,
       coalesce(sum(units) FILTER (WHERE state = 'reserved'), 0)::int AS reserved,
       coalesce(sum(units) FILTER (WHERE state IN ('unresolved', 'expired')), 0)::int AS unresolved
  FROM (SELECT lane, consumer, state, requests, units_charged AS units
          FROM quota_reservations
         WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s
         UNION ALL
        SELECT lane, consumer, state, 0, units_carried
          FROM quota_reservations
         WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND carried_to = %(day)s) AS call
 GROUP BY lane, consumer
 ORDER BY lane, consumer;

-- name: list_discrepancies
-- Accounts of the same days, kept by different statements' parts; every difference is shown.
-- What the provider counted beyond ours has no reservation, so reservations are compared with the entries that have one.
-- Of days that were rolled up the sums of their hours stand for both.
WITH ledger AS (
    SELECT provider, key_hash, day,
           sum(units) AS units,
           coalesce(sum(units) FILTER (WHERE is_ours), 0) AS units_of_requests
      FROM (SELECT provider, key_hash, day, units, request_id IS NOT NULL AS is_ours FROM quota_ledger
             UNION ALL
            SELECT provider, key_hash, day, settled + unresolved, true FROM quota_hours
             UNION ALL
            SELECT provider, key_hash, day, foreign_units + reconciled, false FROM quota_hours) AS entry
     GROUP BY provider, key_hash, day
), reservations AS (
    SELECT provider, key_hash, day, sum(units) AS units
      FROM (SELECT provider, key_hash, day, units_charged AS units FROM quota_reservations
             UNION ALL
            SELECT provider, key_hash, carried_to, units_carried FROM quota_reservations WHERE carried_to IS NOT NULL
             UNION ALL
            SELECT provider, key_hash, day, settled + unresolved FROM quota_hours) AS call
     GROUP BY provider, key_hash, day
)
SELECT quota_window.provider,
       quota_window.key_hash,
       quota_window.day,
       quota_window.units_charged AS window_units,
       coalesce(ledger.units, 0)::int AS ledger_units,
       coalesce(reservations.units, 0)::int AS reservation_units
  FROM quota_windows AS quota_window
  LEFT JOIN ledger USING (provider, key_hash, day)
  LEFT JOIN reservations USING (provider, key_hash, day)
 WHERE quota_window.units_charged <> coalesce(ledger.units, 0)
    OR coalesce(ledger.units_of_requests, 0) <> coalesce(reservations.units, 0)
    OR (SELECT coalesce(sum(value::int), 0) FROM jsonb_each_text(quota_window.used)) <> coalesce(reservations.units, 0)
 ORDER BY quota_window.day, quota_window.provider, quota_window.key_hash;
