-- Alerts by rules: what is remembered between two readings, who was told of what, and what nobody is to be told of (docs/alerts.md).

ALTER TABLE alerts ADD COLUMN severity text NOT NULL DEFAULT 'warning' CHECK (severity IN ('info', 'warning', 'critical'));
CREATE INDEX alerts_cleared ON alerts (cleared_at) WHERE cleared_at IS NOT NULL;

CREATE TABLE alert_watches (
    kind     text NOT NULL,
    subject  text NOT NULL,
    standing text NOT NULL CHECK (standing IN ('calm', 'open', 'over')),
    since    timestamptz,
    PRIMARY KEY (kind, subject)
);
COMMENT ON COLUMN alert_watches.since IS 'calm: since when the case holds; open: since when it is well; over: since when it is';

-- The sizes of backlogs, sampled every few minutes and kept for some hours.
CREATE TABLE alert_samples (
    backlog    text NOT NULL,
    sampled_at timestamptz NOT NULL,
    size       bigint NOT NULL CHECK (size >= 0),
    PRIMARY KEY (backlog, sampled_at)
);

-- What is to be told: each alert is raised, reminded of and cleared once, and each day has one digest.
CREATE TABLE alert_notices (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id       bigint REFERENCES alerts ON DELETE CASCADE,
    event          text NOT NULL CHECK (event IN ('raised', 'reminded', 'cleared', 'digest')),
    day            date,
    severity       text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    title          text NOT NULL,
    body           text NOT NULL,
    created_at     timestamptz NOT NULL,
    distributed_at timestamptz,
    UNIQUE (alert_id, event),
    UNIQUE (day),
    CHECK ((event = 'digest') = (day IS NOT NULL)),
    CHECK ((event = 'digest') = (alert_id IS NULL))
);
COMMENT ON COLUMN alert_notices.distributed_at IS 'when it was handed to all targets; null while it is silenced, or nobody has looked';
CREATE INDEX alert_notices_new ON alert_notices (id) WHERE distributed_at IS NULL;

CREATE TABLE alert_deliveries (
    notice_id     bigint NOT NULL REFERENCES alert_notices ON DELETE CASCADE,
    target        text NOT NULL,
    target_name   text NOT NULL,
    attempts      int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_at        timestamptz NOT NULL,
    claimed_until timestamptz,
    sent_at       timestamptz,
    given_up_at   timestamptz,
    error         text,
    PRIMARY KEY (notice_id, target),
    CHECK (sent_at IS NULL OR given_up_at IS NULL)
);
COMMENT ON COLUMN alert_deliveries.target IS 'the beginning of a hash of its address, which is a secret';
COMMENT ON COLUMN alert_deliveries.claimed_until IS 'until then a process is sending it; one that was killed is taken over from afterwards';
CREATE INDEX alert_deliveries_open ON alert_deliveries (due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;

CREATE TABLE alert_silences (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    subject    text,
    until      timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (kind, subject)
);
COMMENT ON COLUMN alert_silences.subject IS 'null: every subject of the kind';

-- Whose turn it is to take a reading.
INSERT INTO upkeep (task, due_at) VALUES ('alerts', '-infinity');
