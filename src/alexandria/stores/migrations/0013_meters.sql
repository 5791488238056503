-- What processes count and time, summed over all that ever ran (docs/decisions/0009-meters-are-summed-in-the-database.md).

CREATE TABLE meters (
    sample text   NOT NULL,
    labels jsonb  NOT NULL,
    value  float8 NOT NULL,
    PRIMARY KEY (sample, labels)
-- Rows are updated all the time and never grow: room on the page keeps the index out of it.
) WITH (fillfactor = 50);
COMMENT ON TABLE meters IS 'each process adds what is new every few seconds, so a sum never falls, whichever process ends';

-- A part of the same by spans of time, to tell how the last hour and the last day were.
CREATE TABLE meter_spans (
    span_at timestamptz NOT NULL,
    sample  text        NOT NULL,
    labels  jsonb       NOT NULL,
    value   float8      NOT NULL,
    PRIMARY KEY (span_at, sample, labels)
);
COMMENT ON COLUMN meter_spans.span_at IS 'the beginning of a span of ten minutes, by the database''s clock';

-- Who is alive; a process that was killed shows by its silence.
CREATE TABLE processes (
    id         uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    workers    int NOT NULL CHECK (workers >= 0)
) WITH (fillfactor = 50);
