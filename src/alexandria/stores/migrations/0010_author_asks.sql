-- When a source without units was last asked about an author, so that nobody is asked again before its time; no row for a failure.
CREATE TABLE author_asks (
    author_key text        NOT NULL REFERENCES authors ON DELETE CASCADE,
    provider   text        NOT NULL CHECK (provider IN ('openlibrary', 'wikidata')),
    asked_at   timestamptz NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('found', 'absent', 'moved')),
    PRIMARY KEY (author_key, provider)
);
COMMENT ON COLUMN author_asks.outcome IS 'moved: the source has merged the author into another one';
