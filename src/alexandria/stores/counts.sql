-- Counts that triggers keep (migrations/0015_kept_counts.sql): reading them costs the same however large the catalogue is.

-- name: list_growth
SELECT day, counted, sum(rows)::bigint AS rows
  FROM catalogue_counts
 WHERE day BETWEEN %(first_day)s AND %(last_day)s AND counted = ANY(%(counted)s)
 GROUP BY day, counted
 ORDER BY day, counted

-- name: list_gains
SELECT day, consumer, sum(editions_found)::bigint AS editions_found, sum(editions_new)::bigint AS editions_new,
       sum(works_new)::bigint AS works_new, sum(covers_wanted)::bigint AS covers_wanted
  FROM harvest_gains
 WHERE day BETWEEN %(first_day)s AND %(last_day)s
 GROUP BY day, consumer

-- name: claim_gathering
-- Whoever gets a row does it. A clock that was set back must not keep it from being done.
UPDATE upkeep
   SET due_at = clock_timestamp() + %(every)s::interval, finished_at = clock_timestamp()
 WHERE task = 'counts'
   AND (due_at <= clock_timestamp() OR due_at > clock_timestamp() + 2 * %(every)s::interval)
RETURNING true

-- name: gather_counts
-- One statement: a reader sees the rows as they were or brought together. Those that are added meanwhile wait for the next time.
WITH crowded AS (
    SELECT counted, day FROM catalogue_counts GROUP BY counted, day HAVING count(*) > 1
), taken AS (
    DELETE FROM catalogue_counts AS known USING crowded
     WHERE known.counted = crowded.counted AND known.day = crowded.day
    RETURNING known.counted, known.day, known.rows
)
INSERT INTO catalogue_counts (counted, day, rows)
SELECT counted, day, sum(rows) FROM taken GROUP BY counted, day HAVING sum(rows) <> 0

-- name: gather_gains
WITH crowded AS (
    SELECT day, consumer FROM harvest_gains GROUP BY day, consumer HAVING count(*) > 1
), taken AS (
    DELETE FROM harvest_gains AS known USING crowded
     WHERE known.day = crowded.day AND known.consumer = crowded.consumer
    RETURNING known.*
)
INSERT INTO harvest_gains (day, consumer, editions_found, editions_new, works_new, covers_wanted)
SELECT day, consumer, sum(editions_found), sum(editions_new), sum(works_new), sum(covers_wanted) FROM taken GROUP BY day, consumer
