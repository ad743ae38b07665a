-- API tokens: of each its digest alone.
CREATE TABLE campanile_token (
    name @name NOT NULL PRIMARY KEY,
    digest @name NOT NULL,
    role TEXT NOT NULL,
    data SMALLINT NOT NULL,
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    used_at BIGINT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX campanile_token_digest ON campanile_token (digest);

-- What everybody did: lines that are only ever added, and from the beginning on removed.
CREATE TABLE campanile_audit (
    seq @row_id,
    at BIGINT NOT NULL,
    actor @name NOT NULL,
    object @name NOT NULL,
    line TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX campanile_audit_at ON campanile_audit (at);
CREATE INDEX campanile_audit_actor ON campanile_audit (actor, seq);
CREATE INDEX campanile_audit_object ON campanile_audit (object, seq);

-- The last line, and the last that was removed.
CREATE TABLE campanile_audit_head (
    id @row_id,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    hash TEXT NOT NULL,
    pruned_seq BIGINT NOT NULL,
    pruned_hash TEXT NOT NULL
);
INSERT INTO campanile_audit_head (id, seq, at, hash, pruned_seq, pruned_hash) VALUES (1, 0, 0, '', 0, '');
