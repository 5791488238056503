-- When a source without units was last asked about an author, so that nobody is asked again before its time; no row for a failure.
CREATE TABLE author_asks (
    author_key text        NOT NULL REFERENCES authors ON DELETE CASCADE,
    provider   text        NOT NULL CHECK (provider IN ('openlibrary', 'wikidata')),
    asked_at   timestamptz NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('found', 'absent', 'moved')),
    PRIMARY KEY (author_key, provider)
);
COMMENT ON COLUMN author_asks.outcome IS 'moved: the source has merged the author into another one';

-- Items of ISBNs ask sources without paid units first: what became of each source, as text.
ALTER TABLE harvest_items ADD COLUMN sources jsonb NOT NULL DEFAULT '{}';

-- Facts about people are a harvest of their own: from sources that cost no unit.
ALTER TABLE harvest_items DROP CONSTRAINT harvest_items_target_check;
ALTER TABLE harvest_items ADD CONSTRAINT harvest_items_target_check
      CHECK (target IN ('author', 'month', 'subject', 'isbns', 'feed', 'people'));
ALTER TABLE harvest_runs DROP CONSTRAINT harvest_runs_kind_check;
ALTER TABLE harvest_runs ADD CONSTRAINT harvest_runs_kind_check
      CHECK (kind IN ('authors', 'tiers', 'new_releases', 'isbns', 'covers', 'updates', 'gaps', 'people'));
