-- Version 1 of the leases, in a file of their own. TEXT only, so that the same SQL could serve PostgreSQL.

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

PRAGMA user_version = 1;
