-- name: find_answers
SELECT isbn, asked_at, misses FROM isbn_answers WHERE provider = %(provider)s AND isbn = ANY(%(isbns)s)

-- name: save_answers
-- The latest answer stands; a definite absence counts on from those before it.
INSERT INTO isbn_answers AS old (provider, isbn, asked_at, misses)
SELECT %(provider)s, isbn, %(asked_at)s, is_absent::int
  FROM unnest(%(isbns)s::text[], %(absent)s::bool[]) AS new (isbn, is_absent)
 ORDER BY isbn
ON CONFLICT (provider, isbn) DO UPDATE
   SET asked_at = excluded.asked_at, misses = CASE WHEN excluded.misses = 0 THEN 0 ELSE old.misses + 1 END
 WHERE old.asked_at <= excluded.asked_at

-- name: list_outdated
-- Which of these ISBNs the catalogue holds and was last told of before they changed.
SELECT DISTINCT edition_isbns.isbn
  FROM unnest(%(isbns)s::text[], %(changed)s::timestamptz[]) AS update (isbn, changed_at)
  JOIN edition_isbns ON edition_isbns.isbn = update.isbn
  LEFT JOIN isbn_answers AS answer ON answer.provider = %(provider)s AND answer.isbn = update.isbn
 WHERE answer.asked_at IS NULL OR answer.asked_at < update.changed_at
 ORDER BY edition_isbns.isbn

-- name: list_gaps
-- ISBNs of editions that lack what a reader expects, and that may be asked for again: those with the most gaps first, then the
-- newest. What we were told within the freshness, and absences that are still believed, stay out. In the order of its index.
SELECT edition_isbns.isbn
  FROM editions
  JOIN edition_isbns ON edition_isbns.edition_key = editions.key AND edition_isbns.is_first
  LEFT JOIN isbn_answers AS answer ON answer.provider = %(provider)s AND answer.isbn = edition_isbns.isbn
 WHERE editions.is_book
   AND ((publisher IS NULL)::int + (published IS NULL)::int + (language IS NULL)::int + (pages IS NULL)::int + (cover_url IS NULL)::int) > 0
   AND (answer.asked_at IS NULL
        OR answer.misses = 0 AND answer.asked_at < %(fresh_since)s
        OR answer.misses = 1 AND answer.asked_at < %(now)s::timestamptz - (%(absent_for)s::interval[])[1]
        OR answer.misses = 2 AND answer.asked_at < %(now)s::timestamptz - (%(absent_for)s::interval[])[2]
        OR answer.misses > 2 AND answer.asked_at < %(now)s::timestamptz - (%(absent_for)s::interval[])[3])
 ORDER BY ((publisher IS NULL)::int + (published IS NULL)::int + (language IS NULL)::int + (pages IS NULL)::int
              + (cover_url IS NULL)::int) DESC, published DESC NULLS LAST, editions.key
 LIMIT %(limit)s

-- name: list_missing_covers
-- The same of editions without a cover's address, the newest first.
SELECT edition_isbns.isbn
  FROM editions
  JOIN edition_isbns ON edition_isbns.edition_key = editions.key AND edition_isbns.is_first
  LEFT JOIN isbn_answers AS answer ON answer.provider = %(provider)s AND answer.isbn = edition_isbns.isbn
 WHERE editions.is_book AND cover_url IS NULL
   AND (answer.asked_at IS NULL
        OR answer.misses = 0 AND answer.asked_at < %(fresh_since)s
        OR answer.misses = 1 AND answer.asked_at < %(now)s::timestamptz - (%(absent_for)s::interval[])[1]
        OR answer.misses = 2 AND answer.asked_at < %(now)s::timestamptz - (%(absent_for)s::interval[])[2]
        OR answer.misses > 2 AND answer.asked_at < %(now)s::timestamptz - (%(absent_for)s::interval[])[3])
 ORDER BY published DESC NULLS LAST, editions.key
 LIMIT %(limit)s
