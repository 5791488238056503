-- Harvesters that can be switched, paused and capped while they run; who paused a run; alerts (docs/harvesting.md).

-- One for each kind of run. Its caps are read where units are reserved, so a change holds from the next reservation on.
CREATE TABLE harvesters (
    name                  text PRIMARY KEY,
    consumer              text NOT NULL UNIQUE,
    provider              text NOT NULL DEFAULT 'isbndb',
    is_enabled            boolean NOT NULL DEFAULT true,
    paused_at             timestamptz,
    pause_reason          text,
    units_per_run         int CHECK (units_per_run >= 0),
    units_per_day         int CHECK (units_per_day >= 0),
    most_failures_percent int NOT NULL DEFAULT 50 CHECK (most_failures_percent BETWEEN 0 AND 100),
    least_items           int NOT NULL DEFAULT 20 CHECK (least_items BETWEEN 1 AND 1000),
    CONSTRAINT a_pause_is_whole CHECK (num_nulls(paused_at, pause_reason) IN (0, 2))
);
COMMENT ON COLUMN harvesters.consumer IS 'in whose name it spends, as domain/plans.py has it';
COMMENT ON COLUMN harvesters.provider IS 'whose units the caps are about: calls that cost none of them are not counted';
COMMENT ON COLUMN harvesters.least_items IS 'the rate of failures is that of so many items that ended last';
INSERT INTO harvesters (name, consumer)
VALUES ('authors', 'author-bibliography'),
       ('tiers', 'bulk-authors'),
       ('new_releases', 'new-releases'),
       ('isbns', 'batch-direct'),
       ('covers', 'covers'),
       ('updates', 'updates'),
       ('gaps', 'gaps'),
       ('people', 'people');

ALTER TABLE harvest_runs
    ADD COLUMN pause_cause  text CHECK (pause_cause IN ('person', 'quota', 'ceiling', 'refused', 'failing')),
    ADD COLUMN resumed_at   timestamptz,
    ADD COLUMN units_before int NOT NULL DEFAULT 0 CHECK (units_before >= 0);
COMMENT ON COLUMN harvest_runs.pause_cause IS 'who or what paused it: only quota and ceiling pass by themselves; null in runs of earlier versions';
COMMENT ON COLUMN harvest_runs.resumed_at IS 'when a person last let it go on: failures before that are not held against it';
COMMENT ON COLUMN harvest_runs.units_before IS 'what it had spent by then: the cap of a run counts from there';

-- The items that ended last, for the rate of failures; and those whose cost is kept here rather than in reservations.
CREATE INDEX harvest_items_ended ON harvest_items (run_id, updated_at) WHERE state IN ('done', 'empty', 'failed');
CREATE INDEX harvest_items_kept_units ON harvest_items (run_id) WHERE units_rolled_up + units_shared > 0;

-- Jobs are looked up by their name, and those of a run by its beginning: `run/position`.
CREATE INDEX quota_reservations_jobs ON quota_reservations (job text_pattern_ops) WHERE job IS NOT NULL;
DROP INDEX quota_reservations_job;

-- What a run has been charged, attempts that brought nothing included; a call that is counted on two days is one call.
CREATE FUNCTION units_of_run(its_run text) RETURNS int LANGUAGE sql STABLE AS $$
    SELECT (SELECT coalesce(sum(greatest(units_charged, units_carried)), 0)
              FROM harvest_runs AS run
              JOIN harvesters AS harvester ON harvester.name = run.kind
              JOIN quota_reservations AS reservation
                -- From `run/` to just before `run0`, the sign after the slash. What other programs call their jobs is not the run's.
                ON reservation.job ~>=~ (its_run || '/') AND reservation.job ~<~ (its_run || '0')
               AND reservation.consumer = harvester.consumer AND reservation.provider = harvester.provider
             WHERE run.id = its_run)::int
           + (SELECT coalesce(sum(units_rolled_up + units_shared), 0)
                FROM harvest_items
               WHERE run_id = its_run AND units_rolled_up + units_shared > 0)::int
$$;

-- What a person should look at. One that is not cleared is not raised again.
CREATE TABLE alerts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    subject    text NOT NULL,
    message    text NOT NULL,
    raised_at  timestamptz NOT NULL,
    cleared_at timestamptz CHECK (cleared_at >= raised_at)
);
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE cleared_at IS NULL;
