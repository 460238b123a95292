-- The newest admission of each artifact in a repository of a scope: what an upgrade is compared with. It repeats what the bodies
-- say, and `witgate log verify` holds it against them.
CREATE TABLE admitted (
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    upstream    TEXT NOT NULL,
    repository  TEXT NOT NULL,
    artifact    BLOB NOT NULL CHECK (length(artifact) = 32),
    log_id      INTEGER NOT NULL REFERENCES log,
    idx         INTEGER NOT NULL CHECK (idx >= 0),
    PRIMARY KEY (tenant, environment, upstream, repository, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX admitted_newest ON admitted (tenant, environment, upstream, repository, log_id, idx);

INSERT INTO admitted (tenant, environment, upstream, repository, artifact, log_id, idx)
SELECT json_extract(said, '$.case.scope.tenant'), json_extract(said, '$.case.scope.environment'),
       json_extract(said, '$.case.reference.upstream'), json_extract(said, '$.case.reference.repository'), artifact, log_id, idx
FROM (SELECT artifact, log_id, idx, CAST(body AS TEXT) AS said FROM decision WHERE verdict = 'admit')
WHERE json_extract(said, '$.case.purpose') <> 'dry-run'
  AND coalesce(json_array_length(said, '$.decision.would_refuse'), 0) = 0
ORDER BY log_id, idx
ON CONFLICT DO UPDATE SET log_id = excluded.log_id, idx = excluded.idx;
