-- name: find_leads
-- Claims of editions that bear or name one of these ISBNs; and editions that bear a related one and claimed nothing, as those of a
-- dump. (Who bears the asking edition's own ISBN was found before.)
SELECT person, isbn, work_key, language
  FROM work_leads
 WHERE isbn = ANY(%(isbns)s) AND person = ANY(%(persons)s)
 UNION
SELECT work_titles.person, edition_isbns.isbn, editions.work_key, editions.language
  FROM edition_isbns
  JOIN editions ON editions.key = edition_isbns.edition_key
  JOIN work_titles ON work_titles.work_key = editions.work_key
 WHERE edition_isbns.isbn = ANY(%(related)s) AND editions.language IS NOT NULL AND work_titles.person = ANY(%(persons)s)

-- name: find_titles_in_languages
SELECT DISTINCT work_key, language, concat_ws(': ', title, subtitle) AS title
  FROM editions
 WHERE work_key = ANY(%(work_keys)s) AND language = ANY(%(languages)s) AND title IS NOT NULL

-- name: lock_work
-- Until the transaction ends nobody puts an edition into it.
SELECT key FROM works WHERE key = %(key)s FOR UPDATE

-- name: find_titles
SELECT DISTINCT work_key, language, concat_ws(': ', title, subtitle) AS title
  FROM editions
 WHERE work_key = ANY(%(work_keys)s) AND language IS NOT NULL AND title IS NOT NULL

-- name: merge_work
WITH editions_moved AS (
    UPDATE editions SET work_key = %(into)s, updated_at = now() WHERE work_key = %(key)s RETURNING key
), titles_moved AS (
    -- What claims the work's own title has to say so now.
    UPDATE work_titles
       SET work_key = %(into)s, title = coalesce(work_titles.title, concat_ws(': ', works.title, works.subtitle))
      FROM works
     WHERE work_titles.work_key = %(key)s AND works.key = %(key)s
), leads_moved AS (
    UPDATE work_leads SET work_key = %(into)s WHERE work_key = %(key)s
), redirects_moved AS (
    UPDATE work_redirects SET work_key = %(into)s WHERE work_key = %(key)s
), authors_left AS (
    DELETE FROM work_authors WHERE work_key = %(key)s RETURNING author_key, position, evidence
), authors_joined AS (
    -- Who wrote a work that a provider names by a key, the provider says.
    INSERT INTO work_authors (work_key, author_key, position, evidence)
    SELECT works.key, author_key, position, evidence
      FROM authors_left
      JOIN works ON works.key = %(into)s AND works.identity = 'matched'
    ON CONFLICT DO NOTHING
    RETURNING author_key
), authors_counted AS (
    UPDATE authors SET works_count = works_count - 1
     WHERE key IN (SELECT author_key FROM authors_left EXCEPT SELECT author_key FROM authors_joined)
)
INSERT INTO work_redirects (key, work_key, editions)
SELECT %(key)s, %(into)s, coalesce(array_agg(key ORDER BY key), '{}') FROM editions_moved
ON CONFLICT (key) DO UPDATE SET work_key = excluded.work_key, editions = excluded.editions, merged_at = excluded.merged_at
RETURNING editions

-- name: delete_merged_work
DELETE FROM works WHERE key = %(key)s

-- name: save_leads
INSERT INTO work_leads (person, isbn, work_key, language)
SELECT person, isbn, work_key, language
  FROM jsonb_to_recordset(%(rows)s) AS new (person text, isbn text, work_key text, language text)
 ORDER BY person, isbn
ON CONFLICT DO NOTHING
