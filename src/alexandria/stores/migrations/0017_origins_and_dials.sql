-- Who made work, so that what is done of it elsewhere can be found under the same id (docs/logs.md).

ALTER TABLE harvest_runs ADD COLUMN origin jsonb;
COMMENT ON COLUMN harvest_runs.origin IS 'request_id and, where traces are exported, traceparent of what started the run';

ALTER TABLE covers_wanted ADD COLUMN origin jsonb;
COMMENT ON COLUMN covers_wanted.origin IS 'the same of who asked last for the cover to be fetched next; none for those that a run found';

-- What tuning has set (docs/tuning.md). Without a row a dial stands where it starts.
CREATE TABLE dials (
    name       text PRIMARY KEY,
    value      float8      NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE TABLE dial_changes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text        NOT NULL,
    before     float8      NOT NULL,
    after      float8      NOT NULL,
    reason     text        NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX dial_changes_by_name ON dial_changes (name, id DESC);

-- One row: whoever holds it tunes, and once in an interval.
CREATE TABLE tuning (
    is_only   boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    looked_at timestamptz NOT NULL,
    readings  jsonb NOT NULL
);
COMMENT ON COLUMN tuning.readings IS 'the meters as they stood when it was last looked, by dial, to tell what came since';
INSERT INTO tuning (looked_at, readings) VALUES ('-infinity', '{}');
