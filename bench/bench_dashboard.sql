-- A large installation, invented within the database: `%(key_hash)s` is the account that spends.

-- name: words
CREATE TABLE bench_words AS
SELECT n AS place, initcap(substr('bdfghklmnprstv', 1 + n %% 14, 1) || (ARRAY['a', 'e', 'i', 'o', 'u'])[1 + n / 14 %% 5]
                  || substr('lmnrstdg', 1 + n / 70 %% 8, 1) || (ARRAY['a', 'e', 'o', 'y', 'en'])[1 + n / 560 %% 5]) AS word
  FROM generate_series(0, 2799) AS n

-- name: isbns
CREATE FUNCTION bench_isbn(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT stem || (10 - (SELECT sum(substr(stem, place, 1)::int * CASE WHEN place %% 2 = 1 THEN 1 ELSE 3 END)
                            FROM generate_series(1, 12) AS place) %% 10) %% 10
      FROM (SELECT '978' || lpad(n::text, 9, '0') AS stem) AS digits
$$

-- name: authors
INSERT INTO authors (key, name, identity, works_count, created_at)
SELECT 'OL' || n || 'A', one.word || ' ' || other.word, 'identified', 3, now() - random() * interval '60 days'
  FROM generate_series(1, %(editions)s / 5) AS n
  JOIN bench_words AS one ON one.place = n %% 2800
  JOIN bench_words AS other ON other.place = n * 7 / 2800 %% 2800

-- name: author_names
INSERT INTO author_names (name_key, author_key, name) SELECT lower(name), key, name FROM authors

-- name: works
INSERT INTO works (key, title, identity, created_at)
SELECT 'OL' || n || 'W', 'The ' || one.word || ' of ' || other.word, 'identified', now() - random() * interval '60 days'
  FROM generate_series(1, %(editions)s * 3 / 5) AS n
  JOIN bench_words AS one ON one.place = n * 31 %% 2800
  JOIN bench_words AS other ON other.place = n / 2800 * 17 %% 2800

-- name: work_authors
INSERT INTO work_authors (work_key, author_key, position, evidence)
SELECT 'OL' || n || 'W', 'OL' || 1 + n %% (%(editions)s / 5) || 'A', 1, 'identifier' FROM generate_series(1, %(editions)s * 3 / 5) AS n

-- name: editions
INSERT INTO editions (key, work_key, title, publisher, published, language, pages, synopsis, subjects, cover_url, provenance, created_at)
SELECT 'e' || n, 'OL' || 1 + n %% (%(editions)s * 3 / 5) || 'W', 'The ' || one.word || ' of ' || other.word,
       CASE WHEN n %% 10 < 9 THEN 'Publisher ' || n %% 5000 END, CASE WHEN n %% 8 < 7 THEN 1950 + n %% 77 || '-01-01' END,
       CASE WHEN n %% 4 < 3 THEN 'en' END, CASE WHEN n %% 2 = 0 THEN 100 + n %% 700 END,
       CASE WHEN n %% 5 = 0 THEN repeat('A long tale of the sea and those who sail on it. ', 12) END,
       CASE WHEN n %% 3 = 0 THEN ARRAY['Fiction', 'Sea stories'] ELSE '{}' END,
       CASE WHEN n %% 5 < 4 THEN 'https://covers.example/' || n || '.jpg' END, '{"title": "isbndb", "publisher": "isbndb"}',
       now() - random() ^ 2 * interval '60 days'
  FROM generate_series(1, %(editions)s) AS n
  JOIN bench_words AS one ON one.place = (1 + n %% (%(editions)s * 3 / 5)) * 31 %% 2800
  JOIN bench_words AS other ON other.place = (1 + n %% (%(editions)s * 3 / 5)) / 2800 * 17 %% 2800

-- name: edition_isbns
INSERT INTO edition_isbns (isbn, edition_key, is_first) SELECT bench_isbn(n), 'e' || n, true FROM generate_series(1, %(editions)s) AS n

-- name: contributions
INSERT INTO contributions (edition_key, position, statement, name)
SELECT 'e' || n, 0, 'By somebody', 'Somebody' FROM generate_series(1, %(editions)s) AS n WHERE n %% 20 < 19

-- name: source_records
INSERT INTO source_records (provider, kind, key, body, content_hash, retrieved_at, edition_key)
SELECT 'isbndb', 'edition', bench_isbn(n), '{}', decode(md5(n::text), 'hex'), now() - random() * interval '60 days', 'e' || n
  FROM generate_series(1, %(editions)s) AS n

-- name: covers
INSERT INTO covers_wanted (isbn13, url, found_at, state, due_at, reason, content_hash, width, height, bytes, stored_at)
SELECT bench_isbn(n), 'https://covers.example/' || n || '.jpg', now() - interval '60 days',
       state, CASE WHEN state = 'wanted' THEN now() END, CASE WHEN state = 'missing' THEN 'no picture' END,
       CASE WHEN state = 'stored' THEN sha256(n::text::bytea) END, CASE WHEN state = 'stored' THEN 400 END,
       CASE WHEN state = 'stored' THEN 600 END, CASE WHEN state = 'stored' THEN 40000 END,
       CASE WHEN state = 'stored' THEN now() - n * interval '60 days' / %(editions)s END
  FROM (SELECT n, CASE WHEN n %% 8 < 5 THEN 'stored' WHEN n %% 8 < 7 THEN 'wanted' ELSE 'missing' END AS state
          FROM generate_series(1, %(editions)s) AS n WHERE n %% 5 < 4) AS cover

-- name: reviews
INSERT INTO reviews (kind, subject, other, reason, created_at)
SELECT (ARRAY['isbn_shared', 'name_shared'])[1 + n %% 2], 'e' || n, 'e' || n + 1, 'two titles under one ISBN', now() - random() * interval '60 days'
  FROM generate_series(1, 5000) AS n

-- name: runs
-- Ten that are open, 1,500 items each, and five a day that have ended, 500 items each.
INSERT INTO harvest_runs (id, kind, lane, parameters, state, fresh_since, created_at, finished_at)
SELECT 'open-' || n, (ARRAY['authors', 'tiers', 'new_releases', 'isbns', 'gaps'])[1 + n %% 5], 'bulk', '{"tier": "top-1000"}'::jsonb, 'running',
       now() - interval '30 days', now() - n * interval '1 hour', NULL
  FROM generate_series(1, 10) AS n
 UNION ALL
SELECT 'done-' || n, (ARRAY['authors', 'tiers', 'new_releases', 'isbns', 'gaps'])[1 + n %% 5], 'bulk', '{"tier": "top-1000"}'::jsonb, 'done',
       now() - interval '60 days', ended_at - interval '4 hours', ended_at
  FROM (SELECT n, now() - (n + 3) * interval '288 minutes' AS ended_at FROM generate_series(1, 150) AS n) AS ended

-- name: items
INSERT INTO harvest_items (run_id, position, target, subject, name, state, next_page, total, editions_found, editions_new, works_new,
                           covers_wanted, units_expected, editions_expected, updated_at)
SELECT run.id, n, 'author', 'OL' || n || 'A', 'Author ' || n,
       CASE WHEN run.state = 'done' OR n %% 5 < 3 THEN 'done' ELSE 'pending' END, 2, 180, 150, 40, 20, 60, 2, 50,
       coalesce(run.finished_at, now()) - random() * interval '1 hour'
  FROM harvest_runs AS run
  JOIN generate_series(1, 1500) AS n ON run.state = 'running' OR n <= 500

-- name: account
INSERT INTO quota_accounts (provider, key_hash, day) VALUES ('isbndb', %(key_hash)s, (now() AT TIME ZONE 'UTC')::date)

-- name: windows
INSERT INTO quota_windows (provider, key_hash, day, units_charged)
SELECT 'isbndb', %(key_hash)s, (now() AT TIME ZONE 'UTC')::date - n, 0 FROM generate_series(0, %(entries)s / 2 / 15000) AS n

-- name: reservations
-- Fifteen thousand a day; what items cost is charged in their name.
INSERT INTO quota_reservations (request_id, provider, key_hash, day, lane, consumer, job, units, requests, not_before, use_before, state,
                                units_charged, reserved_at, settled_at)
SELECT gen_random_uuid(), 'isbndb', %(key_hash)s, at::date, (ARRAY['bulk', 'scheduled', 'interactive'])[1 + n %% 3],
       (ARRAY['author-bibliography', 'bulk-authors', 'new-releases', 'batch-direct', 'gaps'])[1 + run %% 5],
       CASE WHEN n < 30000 THEN 'open-' || run || '/' || 1 + n / 2 %% 1500 ELSE 'done-' || run || '/' || 1 + n / 5 %% 500 END,
       1, 1, at AT TIME ZONE 'UTC', (at + interval '1 minute') AT TIME ZONE 'UTC', 'settled', 1, at AT TIME ZONE 'UTC', at AT TIME ZONE 'UTC'
  FROM (SELECT n, CASE WHEN n < 30000 THEN 1 + n / 2 / 1500 ELSE 1 + n / 5 / 500 %% 150 END AS run,
               ((now() AT TIME ZONE 'UTC')::date - n / 15000 + n %% 15000 * interval '4 seconds') AS at
          FROM generate_series(0, %(entries)s / 2 - 1) AS n) AS call

-- name: ledger
INSERT INTO quota_ledger (provider, key_hash, day, request_id, kind, units, recorded_at)
SELECT provider, key_hash, day, request_id, kind, CASE kind WHEN 'reserve' THEN 1 ELSE 0 END, reserved_at
  FROM quota_reservations CROSS JOIN unnest(ARRAY['reserve', 'settle']) AS kind

-- name: charge
UPDATE quota_windows AS quota_window SET units_charged = charged.units, used = charged.used
  FROM (SELECT day, sum(units)::int AS units, jsonb_object_agg(spender, units) AS used
          FROM (SELECT day, lane || '/' || consumer AS spender, sum(units_charged) AS units
                  FROM quota_reservations GROUP BY 1, 2) AS spent GROUP BY day) AS charged
 WHERE charged.day = quota_window.day

-- name: spans
-- Eight endpoints of four providers that are asked all day for a month.
INSERT INTO meter_spans (span_at, sample, labels, value)
SELECT span_at, 'alexandria_provider_calls_total', jsonb_build_object('provider', provider, 'endpoint', endpoint, 'outcome', outcome), 90
  FROM generate_series(date_bin('10 minutes', now(), 'epoch') - interval '31 days', now(), '10 minutes') AS span_at,
       unnest(ARRAY['isbndb', 'openlibrary', 'google_books', 'wikidata']) AS provider, unnest(ARRAY['one', 'two']) AS endpoint,
       unnest(ARRAY['delivered', 'absent', 'failed']) AS outcome
 UNION ALL
SELECT span_at, 'alexandria_provider_call_seconds' || sample, jsonb_build_object('provider', provider, 'endpoint', endpoint) || labels, 270
  FROM generate_series(date_bin('10 minutes', now(), 'epoch') - interval '31 days', now(), '10 minutes') AS span_at,
       unnest(ARRAY['isbndb', 'openlibrary', 'google_books', 'wikidata']) AS provider, unnest(ARRAY['one', 'two']) AS endpoint,
       (SELECT '_bucket' AS sample, jsonb_build_object('le', le) AS labels
          FROM unnest(ARRAY['0.05', '0.1', '0.2', '0.35', '0.5', '0.75', '1.0', '2.0', '5.0', '10.0', '30.0', '100.0', '+Inf']) AS le
         UNION ALL VALUES ('_count', '{}'::jsonb), ('_sum', '{}'::jsonb)) AS samples

-- name: days
INSERT INTO meter_days (day, sample, labels, value)
SELECT (span_at AT TIME ZONE 'UTC')::date, sample, labels, sum(value) FROM meter_spans GROUP BY 1, 2, 3

-- name: forget
DROP TABLE bench_words
