-- Old days of the quota in short: by hour instead of call by call (docs/quota.md), and a daily upkeep that sees to it.

-- A day's usage is what is here and what is still kept call by call, added up: so a day may be rolled up in parts.
CREATE TABLE quota_hours (
    provider      text NOT NULL,
    key_hash      text NOT NULL,
    day           date NOT NULL,
    hour          timestamptz NOT NULL CHECK (extract(epoch FROM hour)::bigint % 3600 = 0),
    lane          text NOT NULL CHECK (lane IN ('', 'interactive', 'scheduled', 'bulk')),
    consumer      text NOT NULL,
    requests      int NOT NULL CHECK (requests >= 0),
    settled       int NOT NULL CHECK (settled >= 0),
    unresolved    int NOT NULL CHECK (unresolved >= 0),
    released      int NOT NULL CHECK (released >= 0),
    foreign_units int NOT NULL CHECK (foreign_units >= 0),
    reconciled    int NOT NULL,
    PRIMARY KEY (provider, key_hash, day, hour, lane, consumer),
    FOREIGN KEY (provider, key_hash, day) REFERENCES quota_windows,
    CONSTRAINT only_a_count_has_no_spender CHECK (
        CASE
            WHEN lane = '' THEN consumer = '' AND requests + settled + unresolved + released = 0
            ELSE consumer <> '' AND foreign_units = 0 AND reconciled = 0
        END
    )
);
COMMENT ON COLUMN quota_hours.hour IS 'the beginning of an hour by UTC; on the first hours of a day elsewhere it may lie before the day';
COMMENT ON COLUMN quota_hours.released IS 'reservations, not units: those came back';
COMMENT ON COLUMN quota_hours.foreign_units IS 'what the provider counted beyond ours';
COMMENT ON COLUMN quota_hours.reconciled IS 'the correction where the provider counted less, so mostly below 0';

-- What each call and each comparison with the provider's count did to a day, at the hour in which it was charged.
CREATE VIEW quota_calls AS
SELECT request_id,
       NULL::bigint AS entry,
       provider, key_hash, day,
       date_trunc('hour', coalesce(reserved_at, not_before), 'UTC') AS hour,
       lane, consumer,
       CASE WHEN state = 'released' THEN 0 ELSE requests END AS requests,
       CASE WHEN state = 'settled' THEN units_charged ELSE 0 END AS settled,
       CASE WHEN state = 'reserved' THEN units_charged ELSE 0 END AS reserved,
       CASE WHEN state IN ('unresolved', 'expired') THEN units_charged ELSE 0 END AS unresolved,
       (state = 'released')::int AS released,
       0 AS foreign_units,
       0 AS reconciled
  FROM quota_reservations
 UNION ALL
-- What is carried over midnight counts from the moment in which the ledger says so.
SELECT request_id,
       NULL::bigint,
       provider, key_hash, carried_to,
       date_trunc('hour', coalesce((SELECT min(recorded_at)
                                      FROM quota_ledger AS entry
                                     WHERE entry.request_id = reservation.request_id
                                       AND entry.day = reservation.carried_to), not_before), 'UTC'),
       lane, consumer,
       0,
       CASE WHEN state = 'settled' THEN units_carried ELSE 0 END,
       CASE WHEN state = 'reserved' THEN units_carried ELSE 0 END,
       CASE WHEN state IN ('unresolved', 'expired') THEN units_carried ELSE 0 END,
       0, 0, 0
  FROM quota_reservations AS reservation
 WHERE carried_to IS NOT NULL
 UNION ALL
SELECT NULL::uuid,
       entry,
       provider, key_hash, day,
       date_trunc('hour', recorded_at, 'UTC'),
       '', '',
       0, 0, 0, 0, 0,
       CASE WHEN kind = 'foreign' THEN units ELSE 0 END,
       CASE WHEN kind = 'foreign' THEN 0 ELSE units END
  FROM quota_ledger
 WHERE request_id IS NULL;

CREATE INDEX quota_ledger_counts ON quota_ledger (provider, key_hash, day) WHERE request_id IS NULL;

-- What an item cost is the sum of its reservations; here is the part of those that are no longer kept.
ALTER TABLE harvest_items ADD COLUMN units_rolled_up int NOT NULL DEFAULT 0 CHECK (units_rolled_up >= 0);

-- The ledger is still append-only: only the function below, and only while it runs, takes entries out.
CREATE OR REPLACE FUNCTION refuse_to_rewrite_the_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('alexandria.rolling_up_quota', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'quota_ledger is append-only: % is refused', TG_OP
        USING HINT = 'Correct a count by a further entry of kind adjust.';
END
$$;

-- Replace at most `most` reservations of an old day, with all their entries, by sums of an hour; once none is left, the entries that
-- have no reservation. Returns how many that were, 0 when nothing is left, and NULL when the day has to stay as it is: something in it
-- is still open, or its ledger and its reservations differ, which is evidence of a defect.
CREATE FUNCTION roll_up_quota(its_provider text, its_key_hash text, old_day date, today date, most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    chosen_requests uuid[];
    chosen_entries  bigint[] := '{}';
BEGIN
    -- Who settles late holds this lock too, so that what is read below stays true.
    PERFORM FROM quota_accounts WHERE provider = its_provider AND key_hash = its_key_hash FOR NO KEY UPDATE;
    -- The days of the account itself bound it too: they don't depend on a clock.
    IF old_day > today - 3
       OR old_day > (SELECT max(day) - 3 FROM quota_windows WHERE provider = its_provider AND key_hash = its_key_hash) THEN
        RAISE EXCEPTION 'quota_ledger is append-only: % is too young to be rolled up', old_day;
    END IF;
    IF EXISTS (
        SELECT FROM quota_reservations
         WHERE provider = its_provider AND key_hash = its_key_hash AND day = old_day
           AND (state IN ('reserved', 'expired')
                OR state = 'unresolved' AND use_before >= (today - 2)::timestamp AT TIME ZONE 'UTC')
    ) THEN
        RETURN NULL;
    END IF;
    chosen_requests := ARRAY(
        SELECT request_id FROM quota_reservations
         WHERE provider = its_provider AND key_hash = its_key_hash AND day = old_day
         LIMIT most
    );
    IF cardinality(chosen_requests) = 0 THEN
        chosen_entries := ARRAY(
            SELECT entry FROM quota_ledger
             WHERE provider = its_provider AND key_hash = its_key_hash AND day = old_day AND request_id IS NULL
             LIMIT most
        );
    END IF;
    IF EXISTS (
        SELECT FROM (
            SELECT request_id, day, units FROM quota_ledger WHERE request_id = ANY (chosen_requests)
             UNION ALL
            SELECT request_id, day, -settled - unresolved FROM quota_calls WHERE request_id = ANY (chosen_requests)
        ) AS account
         GROUP BY request_id, day
        HAVING sum(units) <> 0
    ) THEN
        RETURN NULL;
    END IF;

    INSERT INTO quota_hours AS known (provider, key_hash, day, hour, lane, consumer, requests, settled, unresolved, released,
                                      foreign_units, reconciled)
    SELECT provider, key_hash, day, hour, lane, consumer,
           sum(requests), sum(settled), sum(unresolved), sum(released), sum(foreign_units), sum(reconciled)
      FROM (SELECT * FROM quota_calls WHERE request_id = ANY (chosen_requests)
             UNION ALL
            SELECT * FROM quota_calls WHERE entry = ANY (chosen_entries)) AS call
     GROUP BY provider, key_hash, day, hour, lane, consumer
        ON CONFLICT (provider, key_hash, day, hour, lane, consumer)
        DO UPDATE SET requests = known.requests + excluded.requests,
                      settled = known.settled + excluded.settled,
                      unresolved = known.unresolved + excluded.unresolved,
                      released = known.released + excluded.released,
                      foreign_units = known.foreign_units + excluded.foreign_units,
                      reconciled = known.reconciled + excluded.reconciled;
    -- Jobs of harvests are named run/position; other programs' jobs may have any name.
    UPDATE harvest_items AS item
       SET units_rolled_up = item.units_rolled_up + cost.units
      FROM (SELECT split_part(job, '/', 1) AS run_id, split_part(job, '/', 2)::int AS position, sum(units_charged) AS units
              FROM quota_reservations
             WHERE request_id = ANY (chosen_requests) AND job ~ '^[^/]+/[0-9]{1,9}$'
             GROUP BY 1, 2) AS cost
     WHERE item.run_id = cost.run_id AND item.position = cost.position;

    PERFORM set_config('alexandria.rolling_up_quota', 'on', true);
    DELETE FROM quota_ledger WHERE request_id = ANY (chosen_requests);
    DELETE FROM quota_ledger WHERE entry = ANY (chosen_entries);
    PERFORM set_config('alexandria.rolling_up_quota', '', true);
    DELETE FROM quota_reservations WHERE request_id = ANY (chosen_requests);
    RETURN cardinality(chosen_requests) + cardinality(chosen_entries);
END
$$;

-- What is to be done once a day, by whichever process comes first.
CREATE TABLE upkeep (
    task          text PRIMARY KEY,
    due_at        timestamptz NOT NULL,
    claimed_until timestamptz,
    finished_at   timestamptz
);
COMMENT ON COLUMN upkeep.claimed_until IS 'until then somebody is at it; a process that was killed is taken over from afterwards';
INSERT INTO upkeep (task, due_at) VALUES ('quota', '-infinity');
