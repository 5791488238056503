-- Alerts: what stands, who was told, and what a reading is made of (docs/alerts.md).

-- name: lock_alerts
-- One evaluation at a time: what it decides by stays so until it is written.
SELECT pg_advisory_xact_lock(hashtextextended('alexandria alerts', 0));

-- name: claim_reading
-- Whoever gets a row takes the reading. A row that is not due is only read.
UPDATE upkeep SET due_at = %(now)s::timestamptz + %(every)s::interval, finished_at = %(now)s
 WHERE task = 'alerts'
   AND (due_at <= %(now)s
        -- A clock that was set back must not keep it from ever being taken.
        OR due_at > %(now)s::timestamptz + 2 * %(every)s::interval)
RETURNING true;

-- name: raise_alert
-- One that is open already is not raised again, and so is told once.
WITH raised AS (
    INSERT INTO alerts (kind, subject, message, severity, raised_at)
    VALUES (%(kind)s, %(subject)s, %(message)s, %(severity)s, %(now)s)
        ON CONFLICT (kind, subject) WHERE cleared_at IS NULL DO NOTHING
    RETURNING id
)
INSERT INTO alert_notices (alert_id, event, severity, title, body, created_at)
SELECT id, 'raised', %(severity)s, %(title)s, %(message)s, %(now)s FROM raised
RETURNING alert_id;

-- name: add_past_alert
INSERT INTO alerts (kind, subject, message, severity, raised_at, cleared_at)
VALUES (%(kind)s, %(subject)s, %(message)s, %(severity)s, %(raised_at)s, greatest(%(raised_at)s::timestamptz, %(cleared_at)s::timestamptz));

-- name: refresh_alert
UPDATE alerts SET message = %(message)s
 WHERE kind = %(kind)s AND subject = %(subject)s AND cleared_at IS NULL AND message IS DISTINCT FROM %(message)s;

-- name: clear_alert
-- What nobody was told of yet is not told any more, and then there is no all-clear either.
WITH cleared AS (
    UPDATE alerts SET cleared_at = greatest(raised_at, %(now)s)
     WHERE kind = %(kind)s AND subject = %(subject)s AND cleared_at IS NULL
    RETURNING id, message
), dropped AS (
    DELETE FROM alert_notices USING cleared WHERE alert_id = cleared.id AND distributed_at IS NULL
), told AS (
    INSERT INTO alert_notices (alert_id, event, severity, title, body, created_at)
    SELECT cleared.id, 'cleared', 'info', %(title)s, 'It was: ' || cleared.message, %(now)s
      FROM cleared JOIN alert_notices AS raised ON raised.alert_id = cleared.id AND raised.event = 'raised'
     WHERE %(is_told)s AND raised.distributed_at IS NOT NULL
)
SELECT id FROM cleared;

-- name: remind
-- A notice each of what was told so long ago and still stands; once, because an event of an alert is unique.
INSERT INTO alert_notices (alert_id, event, severity, title, body, created_at)
SELECT alert.id, 'reminded', alert.severity, 'Alexandria: still: ' || replace(alert.kind, '_', ' ') || ': ' || alert.subject,
       alert.message, %(now)s
  FROM alerts AS alert
  JOIN alert_notices AS raised ON raised.alert_id = alert.id AND raised.event = 'raised'
 WHERE alert.cleared_at IS NULL AND alert.severity <> 'info' AND raised.distributed_at <= %(before)s
    ON CONFLICT (alert_id, event) DO NOTHING;

-- name: list_alerts
SELECT alert.kind, alert.subject, alert.message, alert.raised_at, alert.cleared_at, alert.severity,
       (SELECT max(until) FROM alert_silences AS silence
         WHERE silence.kind = alert.kind AND (silence.subject IS NULL OR silence.subject = alert.subject)
           AND silence.until > %(now)s) AS silenced_until
  FROM alerts AS alert
 WHERE %(with_cleared)s OR cleared_at IS NULL
 ORDER BY raised_at DESC, id DESC
 LIMIT %(limit)s;

-- name: list_watches
SELECT kind, subject, standing, since FROM alert_watches WHERE kind = ANY(%(kinds)s) AND (%(subject)s::text IS NULL OR subject = %(subject)s);

-- name: save_watch
INSERT INTO alert_watches (kind, subject, standing, since) VALUES (%(kind)s, %(subject)s, %(standing)s, %(since)s)
    ON CONFLICT (kind, subject) DO UPDATE SET standing = excluded.standing, since = excluded.since;

-- name: forget_watch
DELETE FROM alert_watches WHERE kind = %(kind)s AND subject = %(subject)s;

-- name: forget_notices
-- Notices that nobody with a target came for, and what is long over.
WITH unclaimed AS (
    DELETE FROM alert_notices AS notice
     WHERE distributed_at IS NULL AND created_at < %(unclaimed_before)s
       -- One whose alert stands may only be silenced: it is told when the silence ends.
       AND NOT EXISTS (SELECT FROM alerts WHERE id = notice.alert_id AND cleared_at IS NULL)
), digests AS (
    DELETE FROM alert_notices WHERE event = 'digest' AND created_at < %(before)s
), silences AS (
    DELETE FROM alert_silences WHERE until <= %(now)s
)
DELETE FROM alerts WHERE cleared_at < %(before)s;

-- Telling

-- name: distribute
-- Each new notice becomes a delivery for each target, once: whoever marks it makes them. Silenced ones wait.
WITH fresh AS (
    SELECT notice.id, alert.kind
      FROM alert_notices AS notice
      LEFT JOIN alerts AS alert ON alert.id = notice.alert_id
     WHERE notice.distributed_at IS NULL
       AND NOT EXISTS (SELECT FROM alert_silences AS silence
                        WHERE silence.kind = alert.kind AND (silence.subject IS NULL OR silence.subject = alert.subject)
                          AND silence.until > %(now)s)
     ORDER BY notice.id
     LIMIT %(most)s
       FOR UPDATE OF notice SKIP LOCKED
), marked AS (
    UPDATE alert_notices AS notice SET distributed_at = %(now)s FROM fresh WHERE notice.id = fresh.id
    RETURNING notice.id, notice.alert_id, notice.severity, notice.event, fresh.kind
)
INSERT INTO alert_deliveries (notice_id, target, target_name, due_at)
SELECT marked.id, target, target_name, %(now)s
  FROM marked, unnest(%(targets)s::text[], %(target_names)s::text[]) AS of (target, target_name)
 -- An all-clear matters as much as what it ends; whoever was told of that one is told of it.
 WHERE marked.severity = ANY(%(severities)s) AND marked.event <> 'cleared'
       AND (marked.kind IS NULL OR marked.kind <> ALL(%(off)s::text[]))
    OR marked.event = 'digest'
    OR marked.event = 'cleared' AND EXISTS (
        SELECT FROM alert_deliveries AS earlier
          JOIN alert_notices AS raised ON raised.id = earlier.notice_id
         WHERE raised.event = 'raised' AND earlier.target = of.target
           AND raised.alert_id = marked.alert_id);

-- name: claim_deliveries
-- Committed before anything is sent: nobody else sends these before the lease ends. The oldest notices first.
UPDATE alert_deliveries AS delivery
   SET claimed_until = %(now)s::timestamptz + %(lease)s::interval, attempts = attempts + 1
  FROM (SELECT notice_id, target
          FROM alert_deliveries
         WHERE sent_at IS NULL AND given_up_at IS NULL AND target = ANY(%(targets)s) AND due_at <= %(now)s
           AND (claimed_until IS NULL OR claimed_until <= %(now)s)
         ORDER BY notice_id, target
         LIMIT %(most)s
           FOR UPDATE SKIP LOCKED) AS due,
       alert_notices AS notice
  LEFT JOIN alerts AS alert ON alert.id = notice.alert_id
 WHERE delivery.notice_id = due.notice_id AND delivery.target = due.target AND notice.id = delivery.notice_id
RETURNING notice.id::text, notice.event, notice.severity, notice.title, notice.body, notice.created_at, alert.kind, alert.subject,
          delivery.target, delivery.attempts;

-- name: record_sent
UPDATE alert_deliveries SET sent_at = %(now)s, claimed_until = NULL, error = NULL
 WHERE notice_id = %(notice)s::bigint AND target = %(target)s;

-- name: record_failure
UPDATE alert_deliveries
   SET claimed_until = NULL, due_at = %(due_at)s, error = %(error)s, given_up_at = CASE WHEN %(is_last)s THEN %(now)s::timestamptz END
 WHERE notice_id = %(notice)s::bigint AND target = %(target)s;

-- name: list_undelivered
SELECT notice.title, delivery.target_name AS target, delivery.attempts, delivery.error, delivery.given_up_at,
       CASE WHEN delivery.given_up_at IS NULL THEN delivery.due_at END AS next_try_at
  FROM alert_deliveries AS delivery
  JOIN alert_notices AS notice ON notice.id = delivery.notice_id
 WHERE delivery.sent_at IS NULL AND delivery.attempts > 0 AND (delivery.given_up_at IS NULL OR delivery.given_up_at > %(since)s)
 ORDER BY notice.id DESC, delivery.target_name
 LIMIT %(limit)s;

-- name: add_digest
INSERT INTO alert_notices (event, day, severity, title, body, created_at)
VALUES ('digest', %(day)s, 'info', %(title)s, %(body)s, %(now)s)
    ON CONFLICT (day) DO NOTHING
RETURNING id;

-- name: has_digest
SELECT EXISTS (SELECT FROM alert_notices WHERE day = %(day)s);

-- Silences

-- name: silence
INSERT INTO alert_silences (kind, subject, until, created_at) VALUES (%(kind)s, %(subject)s, %(until)s, %(now)s)
    ON CONFLICT (kind, subject) DO UPDATE SET until = excluded.until, created_at = excluded.created_at
RETURNING id, kind, subject, until, created_at;

-- name: unsilence
DELETE FROM alert_silences WHERE kind = %(kind)s AND subject IS NOT DISTINCT FROM %(subject)s AND until > %(now)s RETURNING id;

-- name: unsilence_by_id
DELETE FROM alert_silences WHERE id = %(id)s AND until > %(now)s RETURNING id;

-- name: list_silences
SELECT id, kind, subject, until, created_at FROM alert_silences WHERE until > %(now)s ORDER BY until, id;

-- What a reading is made of

-- name: list_queues
-- PgQueuer's table, by its own clock, which is the server's.
SELECT entrypoint AS kind,
       greatest(coalesce(max(clock_timestamp() - greatest(created, execute_after)) FILTER (WHERE status = 'queued'), interval '0'),
                interval '0') AS oldest_waits,
       (count(*) FILTER (WHERE status = 'failed'))::int AS dead_letters
  FROM pgqueuer
 GROUP BY entrypoint
 ORDER BY entrypoint;

-- name: list_quiet_runs
-- Running runs that something is due of, and when anything of them was last done.
SELECT run.id AS run_id,
       %(now)s::timestamptz - greatest(run.created_at, run.resumed_at,
                                      (SELECT max(item.updated_at) FROM harvest_items AS item WHERE item.run_id = run.id)) AS quiet_for
  FROM harvest_runs AS run
  JOIN harvesters AS harvester ON harvester.name = run.kind
 WHERE run.state = 'running' AND harvester.is_enabled AND harvester.paused_at IS NULL
   AND EXISTS (SELECT FROM harvest_items AS item
                WHERE item.run_id = run.id AND item.state IN ('pending', 'partial', 'running')
                  AND (item.retry_at IS NULL OR item.retry_at <= %(now)s))
 ORDER BY run.id;

-- name: sample_backlogs
-- At most one sample of a backlog in so long a time.
INSERT INTO alert_samples (backlog, sampled_at, size)
SELECT backlog, %(now)s, size
  FROM (SELECT 'items' AS backlog, count(*) AS size
          FROM harvest_items JOIN harvest_runs AS run ON run.id = run_id
         WHERE run.state IN ('running', 'paused') AND harvest_items.state IN ('pending', 'partial', 'running')
         UNION ALL
        SELECT 'covers', count(*) FROM covers_wanted WHERE due_at IS NOT NULL AND due_at <= %(now)s) AS counted
 WHERE NOT EXISTS (SELECT FROM alert_samples WHERE sampled_at > %(now)s::timestamptz - %(every)s::interval AND sampled_at <= %(now)s);

-- name: forget_samples
DELETE FROM alert_samples WHERE sampled_at < %(before)s OR sampled_at > %(now)s;

-- name: list_samples
SELECT backlog, sampled_at, size FROM alert_samples ORDER BY backlog, sampled_at;

-- name: compare_day
-- In one statement, so that both are of the same moment.
SELECT units_charged AS window_units,
       (SELECT coalesce(sum(units), 0)::int FROM quota_ledger AS entry
         WHERE entry.provider = quota_window.provider AND entry.key_hash = quota_window.key_hash AND entry.day = quota_window.day)
           AS ledger_units
  FROM quota_windows AS quota_window
 WHERE provider = %(provider)s AND key_hash = %(key_hash)s AND day = %(day)s;

-- name: read_harvest
-- What the harvests of a span brought, for the digest.
SELECT (SELECT coalesce(sum(editions_new), 0)::int FROM harvest_items WHERE updated_at >= %(since)s AND updated_at < %(until)s) AS editions,
       (SELECT count(*)::int FROM harvest_items WHERE state = 'failed' AND updated_at >= %(since)s AND updated_at < %(until)s) AS items_failed,
       (SELECT count(*)::int FROM covers_wanted WHERE stored_at >= %(since)s AND stored_at < %(until)s) AS covers,
       (SELECT count(*)::int FROM harvest_runs WHERE finished_at >= %(since)s AND finished_at < %(until)s) AS runs_ended,
       (SELECT count(*)::int FROM harvest_runs WHERE state IN ('running', 'paused')) AS runs_open,
       (SELECT count(*)::int FROM alerts WHERE cleared_at IS NULL) AS alerts_open;
