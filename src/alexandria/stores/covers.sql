-- name: want_covers
-- A stored cover is not asked for again; another address is, whatever became of the old one. Counts what was not wanted before.
WITH wishes AS (
    SELECT * FROM unnest(%(isbns)s::text[], %(urls)s::text[], %(found)s::timestamptz[]) AS w (isbn13, url, found_at)
), already AS (
    SELECT isbn13 FROM covers_wanted WHERE state = 'wanted' AND isbn13 IN (SELECT isbn13 FROM wishes)
), saved AS (
    INSERT INTO covers_wanted AS c (isbn13, url, found_at, due_at)
    SELECT isbn13, url, found_at, found_at FROM wishes
     ORDER BY isbn13  -- everybody locks in this order
    ON CONFLICT (isbn13) DO UPDATE
       SET url = excluded.url, found_at = excluded.found_at, due_at = excluded.due_at,
           state = 'wanted', attempts = 0, reason = NULL, content_hash = NULL, width = NULL, height = NULL, bytes = NULL
     WHERE c.state <> 'stored' AND c.url <> excluded.url AND c.found_at <= excluded.found_at
    RETURNING isbn13
)
SELECT count(*) FROM saved WHERE isbn13 NOT IN (SELECT isbn13 FROM already);

-- name: lock_hastened
-- As `lock_covers`: an update alone would lock rows as it comes upon them.
SELECT isbn13 FROM covers_wanted WHERE isbn13 = ANY(%(isbns)s) ORDER BY isbn13 FOR UPDATE;

-- name: hasten_covers
-- Asked for next, ahead of those that have waited longer: somebody waits for them.
WITH hastened AS (
    UPDATE covers_wanted SET due_at = %(now)s::timestamptz - interval '30 days', state = 'wanted', attempts = 0, reason = NULL,
                             origin = %(origin)s
     WHERE isbn13 = ANY(%(isbns)s) AND state <> 'stored'
    RETURNING isbn13
)
SELECT isbn13, CASE WHEN isbn13 IN (SELECT isbn13 FROM hastened) THEN 'wanted' ELSE state END AS state
  FROM covers_wanted WHERE isbn13 = ANY(%(isbns)s);

-- name: list_due_covers
SELECT isbn13 FROM covers_wanted WHERE due_at <= %(now)s ORDER BY due_at, isbn13 LIMIT %(limit)s;

-- name: find_cover_origins
SELECT isbn13, origin FROM covers_wanted WHERE isbn13 = ANY(%(isbns)s) AND origin IS NOT NULL;

-- name: list_due_of
SELECT isbn13 FROM covers_wanted WHERE isbn13 = ANY(%(isbns)s) AND due_at <= %(now)s;

-- name: find_cover
SELECT isbn13, url, found_at, state, attempts, due_at, reason, content_hash, width, height, bytes, stored_at
  FROM covers_wanted
 WHERE isbn13 = %(isbn)s;

-- name: find_shown_cover
-- An edition may bear several ISBNs while its cover was asked for under one of them. Never that of another edition (hard-cases.md, F13).
WITH asked AS (
    SELECT %(isbn)s::text AS isbn13
), same_edition AS (
    SELECT other.isbn AS isbn13
      FROM edition_isbns own
      JOIN edition_isbns other USING (edition_key)
     WHERE own.isbn = (SELECT isbn13 FROM asked) AND own.is_first AND other.is_first
)
SELECT isbn13, url, found_at, state, attempts, due_at, reason, content_hash, width, height, bytes, stored_at
  FROM covers_wanted
 WHERE state = 'stored' AND isbn13 IN (SELECT isbn13 FROM asked UNION SELECT isbn13 FROM same_edition)
 ORDER BY isbn13 <> (SELECT isbn13 FROM asked), isbn13
 LIMIT 1;

-- name: list_latest_covers
SELECT isbn13, url, found_at, state, attempts, due_at, reason, content_hash, width, height, bytes, stored_at
  FROM covers_wanted
 WHERE state = 'stored'
 ORDER BY stored_at DESC, isbn13
 LIMIT %(limit)s;

-- name: count_covers
-- Kept by triggers (migrations/0015_kept_counts.sql).
SELECT substr(counted, length('covers_') + 1) AS state, sum(rows)::bigint
  FROM catalogue_counts WHERE starts_with(counted, 'covers_') GROUP BY counted;

-- name: is_placeholder
SELECT EXISTS (SELECT FROM cover_contents WHERE content_hash = %(hash)s AND placeholder_since IS NOT NULL);

-- name: see_content
-- Holds the content's row until the end of the transaction, see the migration.
INSERT INTO cover_contents AS c (content_hash, last_seen_at) VALUES (%(hash)s, %(now)s)
ON CONFLICT (content_hash) DO UPDATE SET last_seen_at = greatest(c.last_seen_at, excluded.last_seen_at)
RETURNING placeholder_since IS NOT NULL;

-- name: lock_covers
-- All rows that may change, in the order in which wishes lock them: otherwise each could wait for the other for ever.
SELECT isbn13 FROM covers_wanted WHERE isbn13 = %(isbn)s OR content_hash = %(hash)s ORDER BY isbn13 FOR UPDATE;

-- name: save_outcome
-- Not if the cover was stored or another address was named meanwhile: then that stands.
UPDATE covers_wanted
   SET state = %(state)s, attempts = %(attempts)s, due_at = %(due_at)s, reason = %(reason)s,
       content_hash = %(hash)s, width = %(width)s, height = %(height)s, bytes = %(bytes)s, asked_at = %(now)s,
       stored_at = CASE WHEN %(state)s = 'stored' THEN %(now)s::timestamptz END
 WHERE isbn13 = %(isbn)s AND url = %(url)s AND state <> 'stored'
RETURNING isbn13;

-- name: mark_placeholder
-- ISBNs of one work may rightly share a picture; those that the catalogue doesn't know count as unrelated.
UPDATE cover_contents
   SET placeholder_since = %(now)s
 WHERE content_hash = %(hash)s
   AND placeholder_since IS NULL
   AND %(holders)s <= (
       SELECT count(DISTINCT COALESCE(e.work_key, c.isbn13))
         FROM covers_wanted c
         LEFT JOIN edition_isbns i ON i.isbn = c.isbn13 AND i.is_first
         LEFT JOIN editions e ON e.key = i.edition_key
        WHERE c.content_hash = %(hash)s AND c.state = 'stored'
   )
RETURNING content_hash;

-- name: withdraw_covers
UPDATE covers_wanted
   SET state = 'missing', attempts = 0, due_at = %(due_at)s, reason = %(reason)s, stored_at = NULL
 WHERE content_hash = %(hash)s AND state = 'stored'
RETURNING isbn13;

-- name: count_reasons
SELECT state, reason, count(*) AS covers
  FROM covers_wanted
 WHERE reason IS NOT NULL AND state IN ('missing', 'failed', 'refused')
 GROUP BY state, reason
 ORDER BY covers DESC, state, reason
 LIMIT %(limit)s

-- name: try_given_up_again
-- Whoever is at a row already leaves it out for others: two at once try others, or none.
UPDATE covers_wanted SET due_at = %(now)s
 WHERE isbn13 IN (
       SELECT isbn13 FROM covers_wanted
        WHERE state = 'failed' AND due_at IS NULL AND (asked_at IS NULL OR asked_at <= %(asked_before)s)
        ORDER BY asked_at NULLS FIRST, isbn13
        LIMIT %(limit)s
          FOR UPDATE SKIP LOCKED)
RETURNING isbn13
