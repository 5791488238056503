-- Harvests of every kind: what an item asks for, what it was expected to bring, and when each ISBN was last asked for.

ALTER TABLE harvest_runs DROP CONSTRAINT harvest_runs_kind_check;
ALTER TABLE harvest_runs ADD CONSTRAINT harvest_runs_kind_check
      CHECK (kind IN ('authors', 'tiers', 'new_releases', 'isbns', 'covers', 'updates', 'gaps'));
UPDATE harvest_runs SET kind = 'tiers' WHERE kind = 'authors' AND parameters ? 'tier';

ALTER TABLE harvest_items
    ADD COLUMN target            text NOT NULL DEFAULT 'author'
                                 CHECK (target IN ('author', 'month', 'subject', 'isbns', 'feed')),
    ADD COLUMN published_from    date,
    ADD COLUMN published_to      date,
    ADD COLUMN isbns             text[] NOT NULL DEFAULT '{}',
    ADD COLUMN outcomes          jsonb  NOT NULL DEFAULT '{}',
    ADD COLUMN units_expected    float8 NOT NULL DEFAULT 0,
    ADD COLUMN editions_expected float8 NOT NULL DEFAULT 0,
    -- Units of calls that this item shared with others; those of its own calls are read off the reservations.
    ADD COLUMN units_shared      int    NOT NULL DEFAULT 0;
UPDATE harvest_items SET target = 'month'
  FROM harvest_runs WHERE harvest_runs.id = run_id AND harvest_runs.kind = 'new_releases';
UPDATE harvest_items AS item
   SET units_expected = coalesce((run.parameters ->> 'units_expected')::float8, 1) / counted.items
  FROM harvest_runs AS run
  JOIN (SELECT run_id, count(*) AS items FROM harvest_items GROUP BY run_id) AS counted ON counted.run_id = run.id
 WHERE run.id = item.run_id;
ALTER TABLE harvest_items ALTER COLUMN target DROP DEFAULT;
COMMENT ON COLUMN harvest_items.outcomes IS 'of an item with ISBNs: ISBN -> what came of it, as [outcome, reason]';

-- When a provider was last asked for an ISBN, by whichever call, and what it said. `misses` counts definite absences in a row.
CREATE TABLE isbn_answers (
    provider text        NOT NULL,
    isbn     text        NOT NULL,
    asked_at timestamptz NOT NULL,
    misses   int         NOT NULL DEFAULT 0 CHECK (misses >= 0),
    PRIMARY KEY (provider, isbn)
);
INSERT INTO isbn_answers (provider, isbn, asked_at)
SELECT provider, key, retrieved_at FROM source_records WHERE provider = 'isbndb' AND kind = 'edition';
