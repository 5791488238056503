-- The quota coordinator, complete: the provider's own clock, count and pace, lanes, the breaker, and days that overlap.

ALTER TABLE quota_accounts
    ADD COLUMN day                  date,
    ADD COLUMN ahead_seconds        double precision NOT NULL DEFAULT 0,
    ADD COLUMN clock_shift_seconds  double precision NOT NULL DEFAULT 0,
    ADD COLUMN rate_requests        int CHECK (rate_requests >= 1),
    ADD COLUMN rate_window_seconds  double precision CHECK (rate_window_seconds > 0),
    ADD COLUMN failures             int    NOT NULL DEFAULT 0 CHECK (failures >= 0),
    ADD COLUMN failed_at            timestamptz,
    ADD COLUMN probed_at            timestamptz,
    ADD COLUMN revision             bigint NOT NULL DEFAULT 0,
    ADD COLUMN reconciliations      bigint NOT NULL DEFAULT 0,
    ADD COLUMN latch_opened_at      timestamptz,
    ADD COLUMN count_due_at         timestamptz,
    ADD COLUMN count_asked_until    timestamptz,
    ADD CONSTRAINT a_rate_is_whole CHECK (num_nulls(rate_requests, rate_window_seconds) IN (0, 2));
COMMENT ON COLUMN quota_accounts.day IS 'the provider''s day, as far as it is known: the last one that was opened; it never goes back';
COMMENT ON COLUMN quota_accounts.ahead_seconds IS 'the provider''s clock minus the store''s';
COMMENT ON COLUMN quota_accounts.clock_shift_seconds IS 'the store''s clock minus the steady time of next_slot_at: it changes when somebody sets the clock';
COMMENT ON COLUMN quota_accounts.rate_requests IS 'the pace that the provider says it grants';
COMMENT ON COLUMN quota_accounts.failures IS 'answers in a row that were of no use: the breaker follows from them and from time';
COMMENT ON COLUMN quota_accounts.revision IS 'grows with every grant: when it falls, the database is older than what was sent';
COMMENT ON COLUMN quota_accounts.latch_opened_at IS 'when a free call last opened the latch of a refused key';
COMMENT ON COLUMN quota_accounts.count_due_at IS 'when the provider''s count should be asked again; null: at once';
COMMENT ON COLUMN quota_accounts.count_asked_until IS 'until then somebody else is asking for it';

ALTER TABLE quota_windows
    ADD COLUMN used           jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN in_flight_at_most int CHECK (in_flight_at_most >= 0),
    ADD COLUMN provider_total int CHECK (provider_total >= 0),
    ADD COLUMN provider_spent int CHECK (provider_spent >= 0),
    ADD COLUMN provider_read_at timestamptz;
COMMENT ON COLUMN quota_windows.units_charged IS 'what reservations are charged, and what the provider counted beyond them';
COMMENT ON COLUMN quota_windows.used IS 'the part of units_charged that reservations are charged, by lane/consumer';
COMMENT ON COLUMN quota_windows.in_flight_at_most IS 'what may be in flight: grows with each grant, and is counted anew when it matters; null: anything';
COMMENT ON COLUMN quota_windows.provider_total IS 'what the provider says it grants that day; null before it said so';

ALTER TABLE quota_reservations
    ADD COLUMN reserved_at   timestamptz,
    ADD COLUMN settled_at    timestamptz,
    ADD COLUMN carried_to    date,
    ADD COLUMN units_carried int NOT NULL DEFAULT 0 CHECK (units_carried >= 0),
    ADD COLUMN is_day_known  boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT it_is_used_on_its_day,
    DROP CONSTRAINT its_charge_follows_its_state,
    ADD CONSTRAINT it_is_used_in_its_time CHECK (not_before <= use_before),
    ADD CONSTRAINT it_is_carried_to_the_next_day CHECK (
        CASE WHEN carried_to IS NULL THEN units_carried = 0 ELSE carried_to = day + 1 END
    ),
    ADD CONSTRAINT its_charge_follows_its_state CHECK (
        CASE state
            WHEN 'reserved'   THEN units_charged = units
            WHEN 'unresolved' THEN greatest(units_charged, units_carried) = units
            WHEN 'expired'    THEN units_charged = units
            WHEN 'released'   THEN units_charged = 0 AND units_carried = 0
            ELSE state = 'settled'
        END
    ),
    ADD FOREIGN KEY (provider, key_hash, carried_to) REFERENCES quota_windows (provider, key_hash, day);
COMMENT ON COLUMN quota_reservations.carried_to IS 'the next day, when the provider may have counted the call there: it is charged on both until that is known';

-- Until now what nobody settled was called expired; the version before still writes it, and the sweep takes it up.
UPDATE quota_reservations SET state = 'unresolved' WHERE state = 'expired';
UPDATE quota_reservations SET reserved_at = not_before;
UPDATE quota_reservations SET settled_at = use_before WHERE state = 'settled';
DROP INDEX quota_reservations_open;
CREATE INDEX quota_reservations_open ON quota_reservations (provider, key_hash, use_before)
    WHERE state IN ('reserved', 'unresolved', 'expired');
CREATE INDEX quota_reservations_carried ON quota_reservations (provider, key_hash, carried_to) WHERE carried_to IS NOT NULL;

UPDATE quota_windows AS quota_window
   SET used = coalesce((
           SELECT jsonb_object_agg(spender, units)
             FROM (SELECT lane || '/' || consumer AS spender, sum(units_charged) AS units
                     FROM quota_reservations AS reservation
                    WHERE reservation.provider = quota_window.provider
                      AND reservation.key_hash = quota_window.key_hash
                      AND reservation.day = quota_window.day
                    GROUP BY 1) AS usage
       ), '{}');
UPDATE quota_accounts AS account
   SET day = (SELECT max(day) FROM quota_windows WHERE provider = account.provider AND key_hash = account.key_hash);

-- A call that is counted on two days has an entry of one kind on each.
ALTER TABLE quota_ledger
    DROP CONSTRAINT quota_ledger_request_id_kind_key,
    ADD UNIQUE (request_id, kind, day),
    DROP CONSTRAINT quota_ledger_kind_check,
    ADD CONSTRAINT quota_ledger_kind_check CHECK (
        kind IN ('reserve', 'settle', 'release', 'unresolve', 'expire', 'carry', 'foreign', 'reconcile', 'adjust')
    ),
    DROP CONSTRAINT only_an_adjustment_has_no_request,
    ADD CONSTRAINT only_a_count_has_no_request CHECK (
        (kind IN ('foreign', 'reconcile', 'adjust')) = (request_id IS NULL)
    ),
    DROP CONSTRAINT its_units_follow_its_kind,
    ADD CONSTRAINT its_units_follow_its_kind CHECK (
        CASE kind
            WHEN 'reserve'   THEN units >= 0
            WHEN 'carry'     THEN units > 0
            WHEN 'foreign'   THEN units > 0
            WHEN 'release'   THEN units <= 0
            WHEN 'reconcile' THEN units < 0
            WHEN 'expire'    THEN units = 0
            ELSE true
        END
    );
