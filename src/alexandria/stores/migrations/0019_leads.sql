-- The evidence that a translation belongs to a work: the same person and an ISBN that one edition bears or names as related and
-- another one bears or names as well. As with titles, whoever writes the row first decides, and everybody else finds it: that keeps
-- two workers, one with the original and one with the translation, from making two works.
CREATE TABLE work_leads (
    person   text NOT NULL,
    isbn     text NOT NULL,
    work_key text NOT NULL REFERENCES works ON DELETE CASCADE,
    language text NOT NULL,
    PRIMARY KEY (person, isbn)
);
COMMENT ON COLUMN work_leads.person IS 'as in work_titles';
COMMENT ON COLUMN work_leads.language IS 'of the edition that bears or names the ISBN: within one language, titles decide';
CREATE INDEX work_leads_work ON work_leads (work_key);

-- Works that turned out to be others: whoever kept their keys still finds them.
CREATE TABLE work_redirects (
    key       text PRIMARY KEY,
    work_key  text NOT NULL REFERENCES works ON DELETE CASCADE,
    editions  text[] NOT NULL,
    merged_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN work_redirects.editions IS 'what was moved: with their records it says why, and is what a person needs to take it back';
CREATE INDEX work_redirects_work ON work_redirects (work_key);

ALTER TABLE work_titles ADD COLUMN title text;
COMMENT ON COLUMN work_titles.title IS 'the whole title that was claimed, where the work is called otherwise: a translation''s';
