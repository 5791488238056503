-- name: save_page
INSERT INTO harvest_pages (provider, query, page, fetched_at, page_size, total, has_more, record_keys, dropped)
VALUES (%(provider)s, %(query)s, %(page)s, %(fetched_at)s, %(page_size)s, %(total)s, %(has_more)s, %(record_keys)s, %(dropped)s)
ON CONFLICT (provider, query, page) DO UPDATE
   SET fetched_at = excluded.fetched_at, page_size = excluded.page_size, total = excluded.total, has_more = excluded.has_more,
       record_keys = excluded.record_keys, dropped = excluded.dropped, absorbed_at = NULL

-- name: find_page
SELECT provider, query, page, fetched_at, page_size, total, has_more, record_keys, dropped, absorbed_at
  FROM harvest_pages
 WHERE provider = %(provider)s AND query = %(query)s AND page = %(page)s AND fetched_at >= %(fresh_since)s

-- name: mark_page_absorbed
UPDATE harvest_pages SET absorbed_at = %(now)s WHERE provider = %(provider)s AND query = %(query)s AND page = %(page)s

-- name: count_fresh_pages
-- For each query, how many of its first pages need not be asked again, and whether the last of them ends it.
SELECT query, count(*)::int AS pages, bool_or(NOT has_more) AND count(*) = max(page) AS is_whole
  FROM harvest_pages
 WHERE provider = %(provider)s AND query = ANY(%(queries)s) AND fetched_at >= %(fresh_since)s
 GROUP BY query

-- name: list_whole_queries
-- Queries of which every page was fetched at or after `since`, and when the oldest of these pages was.
SELECT query, min(fetched_at) AS fetched_at
  FROM harvest_pages
 WHERE provider = %(provider)s AND query = ANY(%(queries)s) AND fetched_at >= %(since)s
 GROUP BY query
HAVING bool_or(NOT has_more) AND count(*) = max(page)

-- name: list_totals
-- How many results the provider last said each query has.
SELECT DISTINCT ON (query) query, total
  FROM harvest_pages
 WHERE provider = %(provider)s AND query = ANY(%(queries)s) AND total IS NOT NULL
 ORDER BY query, fetched_at DESC
