-- A rekey is written into two trees of pages instead of four: under load the pages that each commit changes are most of its cost.
-- That a certificate has one rekey is seen by the check of the database.
CREATE TABLE rekeys_in_one_tree (
    old_serial  BLOB   NOT NULL,
    new_key     BLOB   NOT NULL,
    new_serial  BLOB   NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (old_serial, new_key)
) WITHOUT ROWID;
INSERT INTO rekeys_in_one_tree SELECT old_serial, new_key, new_serial, recorded_at FROM rekeys;
DROP TABLE rekeys;
ALTER TABLE rekeys_in_one_tree RENAME TO rekeys;
CREATE INDEX rekeys_by_time ON rekeys (old_serial, recorded_at DESC, new_serial);
