-- Times are microseconds since 1970 (UTC). Serials are unsigned big-endian without leading zeros.

-- What was intended (tbs) and, once signed, what was issued (der, which holds the same tbs).
CREATE TABLE certificates (
    serial           BLOB   NOT NULL PRIMARY KEY,
    tbs              BLOB,
    der              BLOB,
    subject          TEXT   NOT NULL,
    names            TEXT   NOT NULL,
    key_digest       BLOB   NOT NULL,
    not_before       BIGINT NOT NULL,
    not_after        BIGINT NOT NULL,
    provisioner_type TEXT,
    provisioner_name TEXT,
    provisioner_id   TEXT,
    predecessor      BLOB,
    lineage          BLOB   NOT NULL,
    recorded_at      BIGINT NOT NULL,
    issued_at        BIGINT,
    first_seen_at    BIGINT,
    CHECK ((tbs IS NULL) <> (der IS NULL)),
    CHECK ((der IS NULL) = (issued_at IS NULL))
);
CREATE INDEX certificates_by_key ON certificates (key_digest);
CREATE INDEX certificates_by_lineage ON certificates (lineage);
CREATE INDEX certificates_by_time ON certificates (recorded_at);
CREATE INDEX certificates_unsigned ON certificates (recorded_at) WHERE der IS NULL;

-- One answer for each (old certificate, new key): what makes a rekey idempotent.
CREATE TABLE rekeys (
    old_serial  BLOB   NOT NULL,
    new_key     BLOB   NOT NULL,
    new_serial  BLOB   NOT NULL UNIQUE,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (old_serial, new_key)
);
-- The newest successor of one certificate is found without reading the others.
CREATE INDEX rekeys_by_time ON rekeys (old_serial, recorded_at DESC, new_serial);

CREATE TABLE revocations (
    serial      BLOB   NOT NULL PRIMARY KEY,
    revoked_at  BIGINT NOT NULL,
    reason_code BIGINT NOT NULL,
    reason      TEXT   NOT NULL,
    revoked_by  TEXT   NOT NULL,
    expires_at  BIGINT
);

-- Certificates that are to be revoked as superseded: when the successor is seen, at the latest at due_at.
CREATE TABLE supersessions (
    old_serial BLOB   NOT NULL PRIMARY KEY,
    successor  BLOB   NOT NULL,
    due_at     BIGINT NOT NULL,
    when_seen  BIGINT NOT NULL
);
CREATE INDEX supersessions_by_due ON supersessions (due_at);
CREATE INDEX supersessions_by_successor ON supersessions (successor);

CREATE TABLE used_tokens (
    token      TEXT   NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_tokens_by_expiry ON used_tokens (expires_at);

CREATE TABLE crls (
    number      BIGINT NOT NULL PRIMARY KEY,
    tbs         BLOB,
    der         BLOB,
    this_update BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    CHECK ((tbs IS NULL) <> (der IS NULL))
);

CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('crl', 0);

CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    fence      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
