-- What attempts write, as it comes: each piece from its first byte on, counted over all that the attempt wrote. What attempts of
-- before wrote stays in campanile_run_log.
CREATE TABLE campanile_run_chunk (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, attempt, at)
);

-- What nodes are called, also those that are gone: runs know them by their numbers.
CREATE TABLE campanile_node_name (
    id @row_id,
    name @name NOT NULL,
    gone_at BIGINT
);
INSERT INTO campanile_node_name (id, name) SELECT id, name FROM campanile_node;
