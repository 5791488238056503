-- What the catalogue is like: how complete its editions are, its latest covers, and what waits for a person.

-- name: measure_editions
-- Of a large table only some blocks are read, the same ones each time: figures don't flicker, and what was read is still in memory. What
-- belongs to them is looked up by lists of keys: that goes by the indexes even where the server has no statistics yet.
WITH sample AS MATERIALIZED (
    SELECT key, work_key, title, publisher, published, language, pages, synopsis, subjects, cover_url
      FROM editions TABLESAMPLE SYSTEM (%(percent)s::float4) REPEATABLE (1)
), named AS MATERIALIZED (
    SELECT edition_key FROM contributions WHERE edition_key = ANY (ARRAY(SELECT key FROM sample))
), authored AS MATERIALIZED (
    SELECT work_key FROM work_authors WHERE work_key = ANY (ARRAY(SELECT DISTINCT work_key FROM sample))
), numbered AS MATERIALIZED (
    SELECT edition_key, isbn FROM edition_isbns WHERE edition_key = ANY (ARRAY(SELECT key FROM sample))
), pictured AS MATERIALIZED (
    SELECT isbn13 FROM covers_wanted WHERE isbn13 = ANY (ARRAY(SELECT isbn FROM numbered)) AND state = 'stored'
)
SELECT count(*)::int AS editions,
       count(title)::int AS title,
       count(*) FILTER (WHERE key IN (SELECT edition_key FROM named) OR work_key IN (SELECT work_key FROM authored))::int AS authors,
       count(publisher)::int AS publisher,
       count(published)::int AS published,
       count(language)::int AS language,
       count(pages)::int AS pages,
       count(*) FILTER (WHERE cardinality(subjects) > 0)::int AS subjects,
       count(synopsis)::int AS synopsis,
       count(*) FILTER (WHERE key IN (SELECT edition_key FROM numbered))::int AS isbn,
       count(cover_url)::int AS cover_known,
       count(*) FILTER (
           WHERE key IN (SELECT edition_key FROM numbered WHERE isbn IN (SELECT isbn13 FROM pictured)))::int AS cover_stored
  FROM sample

-- name: list_latest_covers
SELECT cover.isbn13, cover.width, cover.height, cover.stored_at,
       (SELECT editions.title
          FROM edition_isbns
          JOIN editions ON editions.key = edition_isbns.edition_key
         WHERE edition_isbns.isbn = cover.isbn13
         ORDER BY edition_isbns.is_first DESC, editions.key
         LIMIT 1) AS title
  FROM covers_wanted AS cover
 WHERE cover.state = 'stored'
 ORDER BY cover.stored_at DESC, cover.isbn13
 LIMIT %(limit)s

-- name: list_reviews
-- The latest first; those that came at the same moment by their names, so that a part goes on exactly where the last one ended.
SELECT kind, subject, other, reason, created_at
  FROM reviews
 WHERE created_at <= %(before)s
   AND (created_at < %(before)s OR (kind, subject, other) > (%(kind)s::text, %(subject)s::text, %(other)s::text))
 ORDER BY created_at DESC, kind, subject, other
 LIMIT %(limit)s
