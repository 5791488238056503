-- name: find_existing_authors
SELECT key FROM authors WHERE key = ANY(%(keys)s)

-- name: find_identified_authors
SELECT key FROM authors WHERE key = ANY(%(keys)s) AND identity = 'identified'

-- name: find_authors_of_entities
SELECT value, author_key FROM author_identifiers WHERE kind = 'wikidata' AND value = ANY(%(entities)s)

-- name: find_entities_of_authors
SELECT author_key, value FROM author_identifiers WHERE kind = 'wikidata' AND author_key = ANY(%(keys)s) ORDER BY author_key, value

-- name: find_authors_with_entities
-- Authors of whom a stored entity of Wikidata speaks.
SELECT DISTINCT author_key
  FROM author_identifiers AS identifier
  JOIN source_records AS record ON record.provider = 'wikidata' AND record.kind = 'author' AND record.key = identifier.value
 WHERE identifier.kind = 'wikidata' AND identifier.author_key = ANY(%(keys)s)

-- name: find_records_of_authors
SELECT wanted.key AS author_key, record.provider, record.kind, record.key, record.body, record.retrieved_at
  FROM unnest(%(keys)s::text[]) AS wanted (key)
  JOIN source_records AS record
    ON record.provider = 'openlibrary' AND record.kind = 'author'
   AND record.key IN ('/authors/' || wanted.key, '/search/authors/' || wanted.key)
UNION ALL
SELECT identifier.author_key, record.provider, record.kind, record.key, record.body, record.retrieved_at
  FROM author_identifiers AS identifier
  JOIN source_records AS record ON record.provider = 'wikidata' AND record.kind = 'author' AND record.key = identifier.value
 WHERE identifier.kind = 'wikidata' AND identifier.author_key = ANY(%(keys)s)

-- name: save_entity_links
INSERT INTO author_identifiers (kind, value, author_key)
SELECT 'wikidata', entity, author_key FROM jsonb_to_recordset(%(rows)s) AS new (entity text, author_key text)
 ORDER BY entity, author_key
ON CONFLICT DO NOTHING

-- name: find_authors_to_ask
SELECT key
  FROM authors
 WHERE key = ANY(%(keys)s) AND identity = 'identified'
   AND NOT EXISTS (SELECT FROM author_asks
                    WHERE author_key = authors.key AND provider = %(provider)s AND asked_at > %(since)s)
 ORDER BY key

-- name: save_author_asks
-- A later answer stands; the rows come sorted, so that two writers lock in the same order.
INSERT INTO author_asks AS old (author_key, provider, asked_at, outcome)
SELECT author_key, %(provider)s, %(asked_at)s, outcome
  FROM jsonb_to_recordset(%(rows)s) AS new (author_key text, outcome text)
 ORDER BY author_key
ON CONFLICT (author_key, provider) DO UPDATE SET asked_at = excluded.asked_at, outcome = excluded.outcome
 WHERE old.asked_at <= excluded.asked_at

-- name: list_authors_due
-- Identified authors of whom at least one of these sources was not asked since then, those with the most works first.
SELECT key
  FROM authors
 WHERE identity = 'identified' AND works_count > 0
   AND (SELECT count(*) FROM author_asks
         WHERE author_key = authors.key AND provider = ANY(%(providers)s) AND asked_at > %(since)s)
       < cardinality(%(providers)s::text[])
 ORDER BY works_count DESC, key
 LIMIT %(limit)s
