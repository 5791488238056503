-- Gates: whether those who make work have to wait, the same for all processes (docs/backpressure.md).

CREATE TABLE gates (
    name             text PRIMARY KEY CHECK (name IN ('harvest_item', 'fetch_cover', 'items', 'covers')),
    is_closed        boolean NOT NULL DEFAULT false,
    depth            int     NOT NULL DEFAULT 0 CHECK (depth >= 0),
    drain_per_minute float8  NOT NULL DEFAULT 0 CHECK (drain_per_minute >= 0),
    measured_at      timestamptz NOT NULL DEFAULT '-infinity'
-- Rows are updated all the time and never grow.
) WITH (fillfactor = 50);
COMMENT ON TABLE gates IS 'a row is also the lock: whoever holds it is the only one who fills what lies behind its gate';
COMMENT ON COLUMN gates.depth IS 'what waited when it was last looked at, and what was added since';
COMMENT ON COLUMN gates.measured_at IS 'of a backlog: when it was last counted';
INSERT INTO gates (name) VALUES ('harvest_item'), ('fetch_cover'), ('items'), ('covers');
