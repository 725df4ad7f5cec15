-- Version 2: what a run is about beside its service, so that several projects share a journal and runs are found by their
-- bytes; leases; and what else outlives runs.

-- `subject` is a checksum over run, project and digest: `checksum` stays as it was, for a program of version 1 may be in the
-- middle of a run while this is done. Empty in a row that such a program begins afterwards; `backfill.rs` fills it in.
ALTER TABLE runs ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN digest  TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN subject TEXT NOT NULL DEFAULT '';

-- Each list is read from the end of one of these, however long the history. Ids of runs begin with the time.
CREATE INDEX runs_by_project     ON runs (project, run);
CREATE INDEX runs_by_service     ON runs (project, service, run);
CREATE INDEX runs_by_environment ON runs (project, environment, run);
CREATE INDEX runs_by_both        ON runs (project, service, environment, run);
CREATE INDEX runs_by_digest      ON runs (digest, run);
-- Every deployment asks for those of its service and environment.
DROP INDEX runs_unfinished;
CREATE INDEX runs_unfinished ON runs (project, service, environment, run) WHERE outcome IS NULL;

CREATE TABLE leases (
    name   TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL
) WITHOUT ROWID;

-- Plans of runs: a record is read before every action, a plan by who takes a run over.
CREATE TABLE plans (
    lease   TEXT NOT NULL,
    file    TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (lease, file)
) WITHOUT ROWID;

-- `verdict` is the whole as JSON, `id` its SHA-256, so that one that is given twice is one.
CREATE TABLE verdicts (
    project     TEXT   NOT NULL,
    service     TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    id          TEXT   NOT NULL,
    verdict     TEXT   NOT NULL,
    PRIMARY KEY (project, service, environment, digest, at, id)
) WITHOUT ROWID;

-- `release` is JSON; `until` is absent while nobody has seen anything else.
CREATE TABLE presence (
    project     TEXT   NOT NULL,
    service     TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    since       BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    until       BIGINT,
    digest      TEXT   NOT NULL,
    release     TEXT   NOT NULL,
    run         TEXT,
    PRIMARY KEY (project, service, environment, since)
) WITHOUT ROWID;

CREATE UNIQUE INDEX presence_open ON presence (project, service, environment) WHERE until IS NULL;

-- `digest` is empty where it is not known; `ok` is 0 or 1.
CREATE TABLE observations (
    project     TEXT   NOT NULL,
    service     TEXT   NOT NULL,
    environment TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    probe       TEXT   NOT NULL,
    seen_by     TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    ok          BIGINT NOT NULL,
    latency     BIGINT,
    seen        TEXT   NOT NULL,
    PRIMARY KEY (project, service, environment, at, probe, seen_by)
) WITHOUT ROWID;

-- `answer` is JSON, written once.
CREATE TABLE deliveries (
    project  TEXT   NOT NULL,
    endpoint TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    run      TEXT   NOT NULL,
    answer   TEXT,
    PRIMARY KEY (project, endpoint, id)
) WITHOUT ROWID;

CREATE INDEX deliveries_by_time ON deliveries (project, at, id);

-- Rows are added and never changed or removed. `entry` is JSON; `chain` is for a checksum over this entry and the one before,
-- and is empty until there is one.
CREATE TABLE audit (
    seq     BIGINT NOT NULL PRIMARY KEY,
    project TEXT   NOT NULL,
    entry   TEXT   NOT NULL,
    chain   TEXT   NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE INDEX audit_by_project ON audit (project, seq);
