-- Meters of all processes (docs/decisions/0009-meters-are-summed-in-the-database.md). Times are the database's, which all machines share.

-- name: add_readings
-- In one order, so that two processes never wait for each other crosswise.
INSERT INTO meters AS known (sample, labels, value)
SELECT sample, labels, value
  FROM jsonb_to_recordset(%(readings)s) AS new (sample text, labels jsonb, value float8)
 ORDER BY sample, labels
    ON CONFLICT (sample, labels) DO UPDATE SET value = known.value + excluded.value

-- name: add_to_span
INSERT INTO meter_spans AS known (span_at, sample, labels, value)
SELECT date_bin(%(span)s::interval, clock_timestamp(), timestamptz 'epoch'), sample, labels, value
  FROM jsonb_to_recordset(%(readings)s) AS new (sample text, labels jsonb, value float8)
 ORDER BY sample, labels
    ON CONFLICT (span_at, sample, labels) DO UPDATE SET value = known.value + excluded.value

-- name: add_to_day
INSERT INTO meter_days AS known (day, sample, labels, value)
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, sample, labels, value
  FROM jsonb_to_recordset(%(readings)s) AS new (sample text, labels jsonb, value float8)
 ORDER BY sample, labels
    ON CONFLICT (day, sample, labels) DO UPDATE SET value = known.value + excluded.value

-- name: beat
INSERT INTO processes (id, started_at, seen_at, workers)
VALUES (%(id)s, clock_timestamp(), clock_timestamp(), %(workers)s)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, workers = excluded.workers

-- name: leave
DELETE FROM processes WHERE id = %(id)s

-- name: forget_processes
-- Whoever was killed did not take his leave.
DELETE FROM processes WHERE seen_at < clock_timestamp() - interval '1 day'

-- name: forget_spans
DELETE FROM meter_spans WHERE span_at < clock_timestamp() - %(keep)s::interval

-- name: forget_days
DELETE FROM meter_days WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(keep)s::int

-- name: list_readings
SELECT sample, labels, value FROM meters ORDER BY sample, labels

-- name: sum_spans
-- A moment that does not change within the statement, so that the spans are found by their index.
SELECT sample, labels, sum(value) AS value
  FROM meter_spans
 WHERE span_at >= date_bin(%(span)s::interval, statement_timestamp(), timestamptz 'epoch') - %(since)s::interval
 GROUP BY sample, labels

-- name: sum_days
SELECT sample, labels, sum(value) AS value
  FROM meter_days
 WHERE day > (statement_timestamp() AT TIME ZONE 'UTC')::date - %(days)s::int
 GROUP BY sample, labels

-- name: count_processes
SELECT count(*)::int AS processes, coalesce(sum(workers), 0)::int AS workers
  FROM processes
 WHERE seen_at > clock_timestamp() - %(silence)s::interval
