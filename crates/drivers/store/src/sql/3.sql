-- Version 3: deliveries that can be taken up again, and the audit's chain, which `audit.rs` fills in for what is there.

-- `seq` is the order of arrival, rising within a store; 0 of what an older program kept. `service`, `environment` and `call`
-- (JSON) are absent there, too. `digest` is what is live by the answer; absent: nothing. `settled` is 1 of one that has had its
-- turn.
ALTER TABLE deliveries ADD COLUMN seq         BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN service     TEXT;
ALTER TABLE deliveries ADD COLUMN environment TEXT;
ALTER TABLE deliveries ADD COLUMN call        TEXT;
ALTER TABLE deliveries ADD COLUMN digest      TEXT;
ALTER TABLE deliveries ADD COLUMN settled     BIGINT NOT NULL DEFAULT 0;

CREATE INDEX deliveries_by_arrival ON deliveries (seq);
CREATE INDEX deliveries_by_run     ON deliveries (run);
CREATE INDEX deliveries_by_body    ON deliveries (project, endpoint, body, seq);
CREATE INDEX deliveries_by_place   ON deliveries (project, service, environment, seq);
-- A daemon asks for these when it starts, of a history of any length.
CREATE INDEX deliveries_unanswered ON deliveries (project, seq) WHERE answer IS NULL;
-- Few of them have made anything live.
CREATE INDEX deliveries_settled ON deliveries (project, service, environment, seq) WHERE settled = 1;
CREATE INDEX deliveries_live ON deliveries (project, service, environment, digest, seq) WHERE digest IS NOT NULL;
