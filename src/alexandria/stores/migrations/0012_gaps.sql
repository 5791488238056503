-- What plans look for, so that neither the catalogue nor the history of harvests has to be read for it.

-- Editions by what they lack, most first, then the newest.
CREATE INDEX editions_gaps ON editions (
    ((publisher IS NULL)::int + (published IS NULL)::int + (language IS NULL)::int + (pages IS NULL)::int + (cover_url IS NULL)::int) DESC,
    published DESC NULLS LAST, key)
 WHERE is_book;
CREATE INDEX editions_without_cover ON editions (published DESC NULLS LAST, key) WHERE is_book AND cover_url IS NULL;

CREATE INDEX harvest_items_ended_at ON harvest_items (updated_at) WHERE state IN ('done', 'empty');
CREATE INDEX harvest_items_failed_at ON harvest_items (updated_at DESC) WHERE state = 'failed';
CREATE INDEX harvest_items_authors ON harvest_items (subject, updated_at DESC) WHERE target = 'author' AND state = 'done';
CREATE INDEX harvest_runs_open ON harvest_runs (created_at, id) WHERE state IN ('running', 'paused');
