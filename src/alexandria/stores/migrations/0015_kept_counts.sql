-- Counts that are kept instead of counted: whoever looks at a large installation reads some hundred rows (docs/performance.md).
--
-- Both tables of counts are only ever added to, so that nobody who writes waits for another; rows of one kind are brought together
-- from time to time (stores/counts.sql). What they add up to is what counting would give, whoever wrote and however.

-- How many rows there are, by the day on which they came.
CREATE TABLE catalogue_counts (
    counted text   NOT NULL,
    day     date   NOT NULL,
    rows    bigint NOT NULL
);
COMMENT ON COLUMN catalogue_counts.counted IS 'a table, or covers_ and a state';
COMMENT ON COLUMN catalogue_counts.day IS 'by UTC: when the row was made, when a cover was stored, when an address for it was found, when a record was retrieved. Records that are retrieved again are not counted anew, so of source_records only the sum over all days is exact';

-- What items brought, by the day on which they brought it.
CREATE TABLE harvest_gains (
    day            date   NOT NULL,
    consumer       text   NOT NULL,
    editions_found bigint NOT NULL,
    editions_new   bigint NOT NULL,
    works_new      bigint NOT NULL,
    covers_wanted  bigint NOT NULL
);
CREATE INDEX harvest_gains_day ON harvest_gains (day);

-- Rows with a time of their own, by table: `changed` are those of one statement.
CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_TABLE_NAME
        WHEN 'source_records' THEN
            INSERT INTO catalogue_counts (counted, day, rows)
            SELECT TG_TABLE_NAME, (retrieved_at AT TIME ZONE 'UTC')::date, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
              FROM changed GROUP BY 2;
        WHEN 'covers_wanted' THEN
            INSERT INTO catalogue_counts (counted, day, rows)
            SELECT 'covers_' || state, (coalesce(stored_at, found_at) AT TIME ZONE 'UTC')::date,
                   CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
              FROM changed GROUP BY 1, 2;
        ELSE
            INSERT INTO catalogue_counts (counted, day, rows)
            SELECT TG_TABLE_NAME, (created_at AT TIME ZONE 'UTC')::date, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
              FROM changed GROUP BY 2;
    END CASE;
    RETURN NULL;
END
$$;

-- A cover that has come, or is wanted again, is counted elsewhere from now on.
CREATE FUNCTION count_cover_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO catalogue_counts (counted, day, rows)
    VALUES ('covers_' || OLD.state, (coalesce(OLD.stored_at, OLD.found_at) AT TIME ZONE 'UTC')::date, -1),
           ('covers_' || NEW.state, (coalesce(NEW.stored_at, NEW.found_at) AT TIME ZONE 'UTC')::date, 1);
    RETURN NULL;
END
$$;

CREATE FUNCTION keep_gain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO harvest_gains (day, consumer, editions_found, editions_new, works_new, covers_wanted)
    SELECT (NEW.updated_at AT TIME ZONE 'UTC')::date, harvester.consumer,
           NEW.editions_found - CASE TG_OP WHEN 'UPDATE' THEN OLD.editions_found ELSE 0 END,
           NEW.editions_new - CASE TG_OP WHEN 'UPDATE' THEN OLD.editions_new ELSE 0 END,
           NEW.works_new - CASE TG_OP WHEN 'UPDATE' THEN OLD.works_new ELSE 0 END,
           NEW.covers_wanted - CASE TG_OP WHEN 'UPDATE' THEN OLD.covers_wanted ELSE 0 END
      FROM harvest_runs AS run
      JOIN harvesters AS harvester ON harvester.name = run.kind
     WHERE run.id = NEW.run_id;
    RETURN NULL;
END
$$;

-- From here to the end of this migration nobody else writes, so that what is there now is counted once. Locked in the order in which
-- who brings records writes (enrich.py): in that of the triggers below each would wait for the other.
LOCK TABLE source_records, authors, works, editions, reviews, covers_wanted, harvest_items IN SHARE ROW EXCLUSIVE MODE;

CREATE TRIGGER rows_added AFTER INSERT ON authors REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_removed AFTER DELETE ON authors REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_added AFTER INSERT ON works REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_removed AFTER DELETE ON works REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_added AFTER INSERT ON editions REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_removed AFTER DELETE ON editions REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_added AFTER INSERT ON source_records REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_removed AFTER DELETE ON source_records REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_added AFTER INSERT ON reviews REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_removed AFTER DELETE ON reviews REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_added AFTER INSERT ON covers_wanted REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER rows_removed AFTER DELETE ON covers_wanted REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER row_changed AFTER UPDATE ON covers_wanted FOR EACH ROW
    WHEN ((OLD.state, OLD.stored_at, OLD.found_at) IS DISTINCT FROM (NEW.state, NEW.stored_at, NEW.found_at))
    EXECUTE FUNCTION count_cover_again();
CREATE TRIGGER gain_added AFTER INSERT ON harvest_items FOR EACH ROW
    WHEN (NEW.editions_found + NEW.editions_new + NEW.works_new + NEW.covers_wanted > 0) EXECUTE FUNCTION keep_gain();
CREATE TRIGGER gain_changed AFTER UPDATE ON harvest_items FOR EACH ROW
    WHEN ((OLD.editions_found, OLD.editions_new, OLD.works_new, OLD.covers_wanted)
          IS DISTINCT FROM (NEW.editions_found, NEW.editions_new, NEW.works_new, NEW.covers_wanted)) EXECUTE FUNCTION keep_gain();

INSERT INTO catalogue_counts (counted, day, rows)
SELECT 'authors', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM authors GROUP BY 2
 UNION ALL
SELECT 'works', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM works GROUP BY 2
 UNION ALL
SELECT 'editions', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM editions GROUP BY 2
 UNION ALL
SELECT 'source_records', (retrieved_at AT TIME ZONE 'UTC')::date, count(*) FROM source_records GROUP BY 2
 UNION ALL
SELECT 'reviews', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM reviews GROUP BY 2
 UNION ALL
SELECT 'covers_' || state, (coalesce(stored_at, found_at) AT TIME ZONE 'UTC')::date, count(*) FROM covers_wanted GROUP BY 1, 2;

-- Until now items are only known by the day on which they were last worked on.
INSERT INTO harvest_gains (day, consumer, editions_found, editions_new, works_new, covers_wanted)
SELECT (item.updated_at AT TIME ZONE 'UTC')::date, harvester.consumer, sum(item.editions_found), sum(item.editions_new),
       sum(item.works_new), sum(item.covers_wanted)
  FROM harvest_items AS item
  JOIN harvest_runs AS run ON run.id = item.run_id
  JOIN harvesters AS harvester ON harvester.name = run.kind
 WHERE item.editions_found + item.editions_new + item.works_new + item.covers_wanted > 0
 GROUP BY 1, 2;

-- Bringing rows of one kind together is the upkeep's, every few minutes.
INSERT INTO upkeep (task, due_at) VALUES ('counts', '-infinity');

-- Calls of whole days, for a year; `meter_spans` tells the last month more finely.
CREATE TABLE meter_days (
    day    date   NOT NULL,
    sample text   NOT NULL,
    labels jsonb  NOT NULL,
    value  float8 NOT NULL,
    PRIMARY KEY (day, sample, labels)
) WITH (fillfactor = 50);
COMMENT ON COLUMN meter_days.day IS 'by UTC and the database''s clock';
INSERT INTO meter_days (day, sample, labels, value)
SELECT (span_at AT TIME ZONE 'UTC')::date, sample, labels, sum(value) FROM meter_spans GROUP BY 1, 2, 3;

-- What waits for a person, the latest first.
CREATE INDEX reviews_latest ON reviews (created_at DESC, kind, subject, other);
