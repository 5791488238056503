-- The schedule: which slots of its entries were dealt with, and how. The entries themselves are configuration.

-- Its row is the lock under which one process deals with an entry's slot.
CREATE TABLE schedule_entries (
    name          text PRIMARY KEY,
    handled_until timestamptz NOT NULL,
    paused_at     timestamptz
);
COMMENT ON COLUMN schedule_entries.handled_until IS 'slots up to this moment were dealt with, or lie before the entry was first seen';
COMMENT ON COLUMN schedule_entries.paused_at IS 'since when a person wants it left alone; NULL: it is not paused';

CREATE TABLE schedule_firings (
    firing   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    slot     timestamptz,
    fired_at timestamptz NOT NULL,
    missed   int NOT NULL DEFAULT 0 CHECK (missed >= 0),
    outcome  text CHECK (outcome IN ('started', 'done', 'skipped', 'failed')),
    run_id   text,
    remark   text NOT NULL DEFAULT '',
    CHECK ((outcome = 'started') = (run_id IS NOT NULL)),
    -- What keeps a slot from being fired twice, whatever clocks do.
    UNIQUE (name, slot)
);
COMMENT ON COLUMN schedule_firings.slot IS 'NULL: by hand';
COMMENT ON COLUMN schedule_firings.missed IS 'earlier slots that nobody dealt with: this firing stands for them too';
COMMENT ON COLUMN schedule_firings.outcome IS 'NULL only within the transaction that fires';
COMMENT ON COLUMN schedule_firings.remark IS 'why it was skipped or failed, or what was done';
CREATE INDEX schedule_firings_latest ON schedule_firings (name, firing DESC);
CREATE INDEX schedule_firings_old ON schedule_firings (name, fired_at) WHERE run_id IS NULL;

-- Covers that were given up are tried again after some days, which takes knowing when they were last asked for.
ALTER TABLE covers_wanted ADD COLUMN asked_at timestamptz;
COMMENT ON COLUMN covers_wanted.asked_at IS 'when the last attempt ended; NULL: none yet, or before this was kept';
CREATE INDEX covers_wanted_given_up ON covers_wanted (asked_at) WHERE state = 'failed' AND due_at IS NULL;
