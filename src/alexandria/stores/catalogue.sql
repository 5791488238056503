-- name: save_records
-- The newest answer of a provider about a thing stays; the rows come sorted, so that two writers lock in the same order.
INSERT INTO source_records AS old (provider, kind, key, body, content_hash, retrieved_at)
SELECT * FROM unnest(%(providers)s::text[], %(kinds)s::text[], %(keys)s::text[], %(bodies)s::bytea[], %(hashes)s::bytea[],
                     %(retrieved)s::timestamptz[])
ON CONFLICT (provider, kind, key) DO UPDATE
   SET body = excluded.body, content_hash = excluded.content_hash, retrieved_at = excluded.retrieved_at
 WHERE old.retrieved_at <= excluded.retrieved_at AND old.content_hash <> excluded.content_hash
RETURNING key, (xmax = 0) AS is_new

-- name: find_records_of_editions
SELECT edition_key, provider, kind, key, body, retrieved_at
  FROM source_records
 WHERE edition_key = ANY(%(edition_keys)s)

-- name: find_records
SELECT provider, kind, key, body, retrieved_at
  FROM source_records
 WHERE provider = %(provider)s AND kind = %(kind)s AND key = ANY(%(keys)s)
 ORDER BY key

-- name: list_placed_records
SELECT key FROM source_records
 WHERE provider = %(provider)s AND kind = 'edition' AND key = ANY(%(keys)s) AND edition_key IS NOT NULL

-- name: find_editions_of_records
SELECT record.key AS record_key, edition.key, edition.work_key, edition.title, false AS is_first
  FROM source_records AS record
  JOIN editions AS edition ON edition.key = record.edition_key
 WHERE record.provider = %(provider)s AND record.kind = 'edition' AND record.key = ANY(%(keys)s)

-- name: find_editions_of_isbns
SELECT edition_isbns.isbn, edition.key, edition.work_key, edition.title, edition_isbns.is_first
  FROM edition_isbns
  JOIN editions AS edition ON edition.key = edition_isbns.edition_key
 WHERE edition_isbns.isbn = ANY(%(isbns)s)

-- name: find_authors_of_names
SELECT author_names.name_key, authors.key, authors.identity = 'identified' AS is_identified
  FROM author_names
  JOIN authors ON authors.key = author_names.author_key
 WHERE author_names.name_key = ANY(%(name_keys)s)

-- name: find_claims
SELECT work_titles.person, work_titles.title_key, work_titles.work_key,
       coalesce(work_titles.title, concat_ws(': ', works.title, works.subtitle)) AS title
  FROM work_titles
  JOIN works ON works.key = work_titles.work_key
 WHERE work_titles.title_key = ANY(%(title_keys)s) AND work_titles.person = ANY(%(persons)s)

-- name: find_existing_works
SELECT key FROM works WHERE key = ANY(%(keys)s)

-- name: save_named_authors
INSERT INTO authors (key, name, identity)
SELECT key, name, 'named' FROM jsonb_to_recordset(%(rows)s) AS new (key text, name text)
 ORDER BY key
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: save_identified_authors
-- Works may have named the author before: they are counted when the author appears.
INSERT INTO authors AS old (key, name, birth_year, death_year, identity, works_count)
SELECT key, name, birth_year, death_year, 'identified',
       (SELECT count(*) FROM work_authors WHERE work_authors.author_key = new.key)
  FROM jsonb_to_recordset(%(rows)s) AS new (key text, name text, birth_year int, death_year int)
 ORDER BY key
ON CONFLICT (key) DO UPDATE
   SET name = excluded.name, birth_year = excluded.birth_year, death_year = excluded.death_year, updated_at = now()
 WHERE (old.name, old.birth_year, old.death_year) IS DISTINCT FROM (excluded.name, excluded.birth_year, excluded.death_year)
RETURNING key

-- name: save_author_names
INSERT INTO author_names (name_key, author_key, name)
SELECT name_key, author_key, name FROM jsonb_to_recordset(%(rows)s) AS new (name_key text, author_key text, name text)
 ORDER BY name_key, author_key
ON CONFLICT DO NOTHING

-- name: save_author_identifiers
INSERT INTO author_identifiers (kind, value, author_key)
SELECT kind, value, author_key FROM jsonb_to_recordset(%(rows)s) AS new (kind text, value text, author_key text)
 ORDER BY kind, value, author_key
ON CONFLICT DO NOTHING

-- name: save_matched_works
INSERT INTO works (key, title, subtitle, identity)
SELECT key, title, subtitle, 'matched' FROM jsonb_to_recordset(%(rows)s) AS new (key text, title text, subtitle text)
 ORDER BY key
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: save_identified_works
INSERT INTO works AS old (key, title, subtitle, description, first_published, subjects, identity)
SELECT key, title, subtitle, description, first_published, subjects, 'identified'
  FROM jsonb_to_recordset(%(rows)s)
       AS new (key text, title text, subtitle text, description text, first_published text, subjects text[])
 ORDER BY key
ON CONFLICT (key) DO UPDATE
   SET title = excluded.title, subtitle = excluded.subtitle, description = excluded.description,
       first_published = excluded.first_published, subjects = excluded.subjects, updated_at = now()
 WHERE (old.title, old.subtitle, old.description, old.first_published, old.subjects)
       IS DISTINCT FROM
       (excluded.title, excluded.subtitle, excluded.description, excluded.first_published, excluded.subjects)
RETURNING key

-- name: save_work_titles
INSERT INTO work_titles (person, title_key, work_key, title)
SELECT new.person, new.title_key, new.work_key, nullif(new.title, concat_ws(': ', works.title, works.subtitle))
  FROM jsonb_to_recordset(%(rows)s) AS new (person text, title_key text, work_key text, title text)
  JOIN works ON works.key = new.work_key
 ORDER BY new.person, new.title_key
ON CONFLICT DO NOTHING

-- name: delete_works_without_editions
-- Works that this transaction made and that turned out to be known under another key.
DELETE FROM works
 WHERE key = ANY(%(keys)s) AND identity = 'matched'
   AND NOT EXISTS (SELECT FROM editions WHERE editions.work_key = works.key)
RETURNING key

-- name: save_work_authors
WITH added AS (
    INSERT INTO work_authors (work_key, author_key, position, evidence)
    SELECT work_key, author_key, position, evidence
      FROM jsonb_to_recordset(%(rows)s) AS new (work_key text, author_key text, position int, evidence text)
     ORDER BY author_key, work_key
    ON CONFLICT DO NOTHING
    RETURNING author_key
), counted AS (
    SELECT author_key, count(*) AS works FROM added GROUP BY author_key
)
-- Added up, not counted again: a count would not see what another transaction has just added.
UPDATE authors SET works_count = works_count + counted.works
  FROM counted
 WHERE authors.key = counted.author_key

-- name: save_editions
INSERT INTO editions AS old (key, work_key, title, subtitle, publisher, published, language, pages, binding, synopsis, subjects,
                             cover_url, is_book, provenance)
SELECT key, work_key, title, subtitle, publisher, published, language, pages, binding, synopsis, subjects, cover_url, is_book,
       provenance
  FROM jsonb_to_recordset(%(rows)s)
       AS new (key text, work_key text, title text, subtitle text, publisher text, published text, language text, pages int,
               binding text, synopsis text, subjects text[], cover_url text, is_book boolean, provenance jsonb)
 ORDER BY key
ON CONFLICT (key) DO UPDATE
   SET title = excluded.title, subtitle = excluded.subtitle, publisher = excluded.publisher, published = excluded.published,
       language = excluded.language, pages = excluded.pages, binding = excluded.binding, synopsis = excluded.synopsis,
       subjects = excluded.subjects, cover_url = excluded.cover_url, is_book = excluded.is_book,
       provenance = excluded.provenance, updated_at = now()
 WHERE (old.title, old.subtitle, old.publisher, old.published, old.language, old.pages, old.binding, old.synopsis, old.subjects,
        old.cover_url, old.is_book, old.provenance)
       IS DISTINCT FROM
       (excluded.title, excluded.subtitle, excluded.publisher, excluded.published, excluded.language, excluded.pages,
        excluded.binding, excluded.synopsis, excluded.subjects, excluded.cover_url, excluded.is_book, excluded.provenance)
RETURNING key, (xmax = 0) AS is_new

-- name: link_records
UPDATE source_records AS record SET edition_key = link.edition_key
  FROM (SELECT * FROM jsonb_to_recordset(%(rows)s) AS new (provider text, key text, edition_key text) ORDER BY provider, key) AS link
 WHERE record.provider = link.provider AND record.kind = 'edition' AND record.key = link.key
   AND record.edition_key IS DISTINCT FROM link.edition_key

-- name: save_first_isbns
INSERT INTO edition_isbns (isbn, edition_key, is_first)
SELECT isbn, edition_key, true FROM jsonb_to_recordset(%(rows)s) AS new (isbn text, edition_key text)
 ORDER BY isbn, edition_key
ON CONFLICT DO NOTHING

-- name: save_other_isbns
INSERT INTO edition_isbns (isbn, edition_key, is_first)
SELECT isbn, edition_key, false FROM jsonb_to_recordset(%(rows)s) AS new (isbn text, edition_key text)
 ORDER BY isbn, edition_key
ON CONFLICT DO NOTHING

-- name: save_edition_identifiers
INSERT INTO edition_identifiers (kind, value, edition_key)
SELECT kind, value, edition_key FROM jsonb_to_recordset(%(rows)s) AS new (kind text, value text, edition_key text)
 ORDER BY kind, value, edition_key
ON CONFLICT DO NOTHING

-- name: delete_contributions
DELETE FROM contributions WHERE edition_key = ANY(%(edition_keys)s)

-- name: save_contributions
INSERT INTO contributions (edition_key, position, statement, name, role, author_key, evidence)
SELECT edition_key, position, statement, name, role,
       (SELECT key FROM authors WHERE authors.key = new.author_key), CASE WHEN author_key IS NULL THEN NULL ELSE evidence END
  FROM jsonb_to_recordset(%(rows)s)
       AS new (edition_key text, position int, statement text, name text, role text, author_key text, evidence text)
 ORDER BY edition_key, position

-- name: save_reviews
INSERT INTO reviews (kind, subject, other, reason)
SELECT kind, subject, other, reason FROM jsonb_to_recordset(%(rows)s) AS new (kind text, subject text, other text, reason text)
 ORDER BY kind, subject, other
ON CONFLICT DO NOTHING

-- name: get_checkpoint
SELECT rows_done FROM load_checkpoints WHERE fingerprint = %(fingerprint)s

-- name: save_checkpoint
INSERT INTO load_checkpoints (fingerprint, file_name, rows_done)
VALUES (%(fingerprint)s, %(file_name)s, %(rows_done)s)
ON CONFLICT (fingerprint) DO UPDATE SET rows_done = excluded.rows_done, updated_at = now()

-- name: list_top_authors
SELECT key, name, works_count, birth_year, death_year, identity
  FROM authors
 WHERE works_count > 0
 ORDER BY works_count DESC, key
OFFSET %(offset)s LIMIT %(limit)s

-- name: find_author
SELECT key, name, works_count, birth_year, death_year, identity FROM authors WHERE key = %(key)s

-- name: list_author_names
SELECT name FROM author_names WHERE author_key = %(key)s ORDER BY name

-- name: list_authors_called
SELECT authors.key, authors.name, works_count, birth_year, death_year, identity
  FROM author_names
  JOIN authors ON authors.key = author_names.author_key
 WHERE author_names.name_key = %(name_key)s
 ORDER BY identity, works_count DESC, authors.key

-- name: list_works_of_author
SELECT works.key, works.title, works.subtitle, works.first_published,
       (SELECT count(*) FROM editions WHERE editions.work_key = works.key) AS editions_count
  FROM work_authors
  JOIN works ON works.key = work_authors.work_key
 WHERE work_authors.author_key = %(key)s
 ORDER BY works.title, works.key
OFFSET %(offset)s LIMIT %(limit)s

-- name: find_work
-- By its key, or by one that it had before it was merged into another.
SELECT key, title, subtitle, description, first_published, subjects, identity
  FROM works
 WHERE key = %(key)s OR key = (SELECT work_key FROM work_redirects WHERE key = %(key)s)
 ORDER BY key = %(key)s DESC
 LIMIT 1

-- name: list_authors_of_works
SELECT work_authors.work_key, authors.key, authors.name
  FROM work_authors
  JOIN authors ON authors.key = work_authors.author_key
 WHERE work_authors.work_key = ANY(%(work_keys)s)
 ORDER BY work_authors.work_key, work_authors.position, authors.key

-- name: list_editions
SELECT editions.key, editions.work_key, editions.title, editions.subtitle, editions.publisher, editions.published,
       editions.language, editions.pages, editions.binding, editions.synopsis, editions.subjects, editions.is_book,
       editions.provenance,
       ARRAY(SELECT isbn FROM edition_isbns WHERE edition_key = editions.key ORDER BY isbn) AS isbns,
       ARRAY(SELECT statement FROM contributions WHERE edition_key = editions.key ORDER BY position) AS statements
  FROM editions
 WHERE editions.key = ANY(%(keys)s)
 ORDER BY editions.published DESC NULLS LAST, editions.key

-- name: list_edition_keys_of_work
SELECT key FROM editions WHERE work_key = %(work_key)s ORDER BY published DESC NULLS LAST, key OFFSET %(offset)s LIMIT %(limit)s

-- name: list_edition_keys_of_isbn
SELECT edition_key FROM edition_isbns WHERE isbn = %(isbn)s ORDER BY is_first DESC, edition_key

-- name: find_cover_urls
SELECT edition_isbns.isbn, editions.cover_url
  FROM edition_isbns
  JOIN editions ON editions.key = edition_isbns.edition_key
 WHERE edition_isbns.isbn = ANY(%(isbns)s) AND edition_isbns.is_first AND editions.cover_url IS NOT NULL

-- name: list_complete
-- ISBNs of editions that lack nothing that a reader expects, or, with only_covers, whose cover's address is known.
SELECT edition_isbns.isbn
  FROM edition_isbns
  JOIN editions ON editions.key = edition_isbns.edition_key
 WHERE edition_isbns.isbn = ANY(%(isbns)s) AND edition_isbns.is_first AND editions.cover_url IS NOT NULL
   AND (%(only_covers)s
        OR editions.title IS NOT NULL AND editions.publisher IS NOT NULL AND editions.published IS NOT NULL
           AND editions.language IS NOT NULL
           AND (EXISTS (SELECT FROM contributions WHERE contributions.edition_key = editions.key)
                OR EXISTS (SELECT FROM work_authors WHERE work_authors.work_key = editions.work_key)))

-- name: limit_search
-- Until the end of the transaction, or of its savepoint when that is rolled back.
SELECT set_config('statement_timeout', '2000', true)

-- name: has_subject
SELECT EXISTS (SELECT FROM editions, unnest(subjects) AS subject WHERE lower(subject) = lower(%(subject)s))

-- name: search_titles
-- The trigram index answers the pattern; the similarity orders what it found.
SELECT editions.key
  FROM editions
 WHERE lower(editions.title) LIKE %(pattern)s
 ORDER BY similarity(lower(editions.title), %(text)s) DESC, editions.key
OFFSET %(offset)s LIMIT %(limit)s

-- name: search_authors
SELECT author_key AS key, max(similarity(name_key, %(text)s)) AS likeness
  FROM author_names
 WHERE name_key LIKE %(pattern)s
 GROUP BY author_key
 ORDER BY likeness DESC, key
OFFSET %(offset)s LIMIT %(limit)s

-- name: list_edition_keys_of_authors
SELECT editions.key
  FROM work_authors
  JOIN editions ON editions.work_key = work_authors.work_key
 WHERE work_authors.author_key = ANY(%(author_keys)s)
 ORDER BY editions.key
OFFSET %(offset)s LIMIT %(limit)s

-- name: count_catalogue
-- Kept by triggers (migrations/0015_kept_counts.sql).
SELECT coalesce(sum(rows) FILTER (WHERE counted = 'authors'), 0)::bigint AS authors,
       coalesce(sum(rows) FILTER (WHERE counted = 'works'), 0)::bigint AS works,
       coalesce(sum(rows) FILTER (WHERE counted = 'editions'), 0)::bigint AS editions,
       coalesce(sum(rows) FILTER (WHERE counted = 'source_records'), 0)::bigint AS source_records,
       coalesce(sum(rows) FILTER (WHERE counted = 'reviews'), 0)::bigint AS reviews
  FROM catalogue_counts
