-- What the store refused to record, until somebody releases or drops it. A run stays in its table, in state 8.
CREATE TABLE campanile_quarantine (
    id @counted_id,
    -- 0 for what has none.
    task BIGINT NOT NULL,
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    at BIGINT NOT NULL,
    -- How an attempt ended, and under which claim. Without a state it waits for its start.
    claim BIGINT,
    state SMALLINT,
    reason SMALLINT,
    ended_at BIGINT,
    ready_at BIGINT,
    what TEXT NOT NULL,
    error TEXT NOT NULL
);
CREATE UNIQUE INDEX campanile_quarantine_run ON campanile_quarantine (run) WHERE run <> 0;
