-- What a rehearsal came to, as the database has it (docs/rehearsal.md).

-- name: count_tier
-- Of the tier's first run: what ended, what of that failed for good, and what did not end.
SELECT count(*) FILTER (WHERE state IN ('done', 'empty', 'failed'))::int AS ended,
       count(*) FILTER (WHERE state = 'failed')::int AS failed,
       count(*) FILTER (WHERE state NOT IN ('done', 'empty', 'failed'))::int AS lost
  FROM harvest_items
 WHERE run_id = (SELECT id FROM harvest_runs WHERE kind = 'tiers' AND parameters ->> 'tier' = %(tier)s ORDER BY created_at LIMIT 1);

-- name: count_covers_stored
SELECT count(*)::int AS covers FROM covers_wanted
 WHERE state = 'stored' AND stored_at >= %(since)s AND stored_at < %(until)s;

-- name: count_new_releases
-- Editions of the pages of months, each once, that are in the catalogue.
SELECT count(DISTINCT record.edition_key)::int AS editions
  FROM harvest_pages AS page
  JOIN source_records AS record ON record.provider = page.provider AND record.kind = 'edition' AND record.key = ANY (page.record_keys)
 WHERE page.query LIKE 'date_published/%%' AND page.absorbed_at >= %(since)s AND page.absorbed_at < %(until)s;

-- name: read_day
SELECT coalesce((SELECT units_charged FROM quota_windows WHERE provider = 'isbndb' AND day = %(day)s), 0)::int AS ledger,
       coalesce((SELECT sum(units_charged) FROM quota_reservations
                  WHERE provider = 'isbndb' AND day = %(day)s AND consumer LIKE 'external-%%'), 0)::int AS outside,
       coalesce((SELECT sum(units) FROM quota_ledger
                  WHERE provider = 'isbndb' AND day = %(day)s AND kind = 'foreign'), 0)::int AS "foreign";

-- name: list_authors_asked
-- Each item that asks for an author's books, and what all attempts at it cost.
SELECT item.name, item.subject, coalesce(charge.units, 0)::int AS units
  FROM harvest_items AS item
  LEFT JOIN (SELECT job, sum(units_charged) AS units FROM quota_reservations GROUP BY job) AS charge
    ON charge.job = item.run_id || '/' || item.position
 WHERE item.target = 'author'
 ORDER BY item.run_id, item.position;

-- name: list_pages_absorbed
SELECT query, record_keys, dropped, absorbed_at FROM harvest_pages
 WHERE provider = 'isbndb' AND absorbed_at IS NOT NULL
 ORDER BY absorbed_at, query, page;

-- name: list_editions
-- Where each ISBN's first edition is.
SELECT isbn, edition_key, work_key
  FROM edition_isbns JOIN editions ON editions.key = edition_key
 WHERE is_first;

-- name: list_contributions
SELECT edition_key, position, author_key FROM contributions;

-- name: list_records
SELECT key, body, retrieved_at FROM source_records WHERE provider = 'isbndb' AND kind = 'edition' ORDER BY retrieved_at, key;
