-- Version 1: the journal. TEXT and BIGINT only, for SQLite and PostgreSQL alike (`dialect.rs` says in what they differ).

-- What happened. Each row's checksum covers the checksum of the row before it in the same run.
CREATE TABLE events (
    run      TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    checksum TEXT   NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

-- What the events add up to, changed in the same transaction; knows how many there are and how their chain ends.
CREATE TABLE runs (
    run         TEXT   NOT NULL PRIMARY KEY,
    service     TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    release     TEXT   NOT NULL,
    intent      TEXT   NOT NULL,
    owner       TEXT   NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    outcome     TEXT,
    events      BIGINT NOT NULL,
    head        TEXT   NOT NULL,
    checksum    TEXT   NOT NULL
) WITHOUT ROWID;

-- Every deployment asks for these, of a history of any length.
CREATE INDEX runs_unfinished ON runs (run) WHERE outcome IS NULL;
