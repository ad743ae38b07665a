CREATE TABLE campanile_leader (
    id SMALLINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder @name,
    node BIGINT,
    node_name @name NOT NULL,
    since BIGINT,
    seq BIGINT NOT NULL,
    edits BIGINT NOT NULL,
    resign_epoch BIGINT NOT NULL
) @in_place;
INSERT INTO campanile_leader (id, epoch, holder, node, node_name, since, seq, edits, resign_epoch)
VALUES (1, 0, NULL, NULL, '', NULL, 0, 0, 0);

-- Names of queues, as small numbers.
CREATE TABLE campanile_queue (
    id @counted_id,
    name @name NOT NULL UNIQUE
);

-- What people defined. A deleted task keeps its row, so that history can name it; its name is free again.
CREATE TABLE campanile_task (
    id @row_id,
    live_name @name UNIQUE,
    name @name NOT NULL,
    version BIGINT NOT NULL,
    definition TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

-- Instants and what they are for: a task's next occurrence (n = 0), a run's start or retry (n = 1).
CREATE TABLE campanile_due (
    queue INTEGER NOT NULL,
    at BIGINT NOT NULL,
    owner BIGINT NOT NULL,
    n SMALLINT NOT NULL,
    PRIMARY KEY (queue, at, owner, n)
) @clustered;
-- A task has one next occurrence, found by the task when it changes.
CREATE UNIQUE INDEX campanile_due_task ON campanile_due (owner) WHERE n = 0;

-- Live runs. No other index: every transition changes its row in place.
CREATE TABLE campanile_run (
    id @row_id,
    task BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    ready_at BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    queued_at BIGINT,
    started_at BIGINT,
    worker BIGINT,
    claim BIGINT,
    queue INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    origin SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    cancel_requested SMALLINT NOT NULL,
    error TEXT
) @in_place;

-- Runs that ended and occurrences that did not run. Rows are put once and removed by age, never changed.
CREATE TABLE campanile_run_history (
    id @row_id,
    task BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    ready_at BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    queued_at BIGINT,
    started_at BIGINT,
    worker BIGINT,
    claim BIGINT,
    finished_at BIGINT NOT NULL,
    skipped_last BIGINT,
    skipped_count BIGINT,
    -- 0 for an occurrence of a schedule, else the run's own id: one answer for each (task, instant).
    dedup BIGINT NOT NULL,
    queue INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    origin SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    reason SMALLINT NOT NULL,
    cancel_requested SMALLINT NOT NULL,
    error TEXT
);
CREATE UNIQUE INDEX campanile_run_history_occurrence ON campanile_run_history (task, due_at, dedup);
-- Most runs end well; those that did not are found by what became of them.
CREATE INDEX campanile_run_history_state ON campanile_run_history (state, id) WHERE state <> 4;

-- What a submitted run carries of its own.
CREATE TABLE campanile_run_spec (
    run @row_id,
    handler TEXT,
    payload TEXT
);

-- Attempts that ended other than well.
CREATE TABLE campanile_run_attempt (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    worker BIGINT,
    started_at BIGINT,
    finished_at BIGINT NOT NULL,
    reason SMALLINT NOT NULL,
    error TEXT,
    PRIMARY KEY (run, attempt)
) @clustered;

CREATE TABLE campanile_run_log (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, attempt)
);

-- Which run a submission's key made.
CREATE TABLE campanile_submission (
    idempotency_key @name PRIMARY KEY,
    run BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX campanile_submission_run ON campanile_submission (run);

-- Runs that are the leader's to publish, one row for each firing.
CREATE TABLE campanile_outbox (
    id @row_id,
    at BIGINT NOT NULL,
    runs @bytes NOT NULL
);

-- The living.
CREATE TABLE campanile_node (
    id @row_id,
    name @name NOT NULL,
    roles TEXT NOT NULL,
    queues TEXT NOT NULL,
    slots BIGINT NOT NULL,
    busy BIGINT NOT NULL,
    lease_ms BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    beat_seq BIGINT NOT NULL,
    beat_at BIGINT NOT NULL,
    version TEXT NOT NULL
) @in_place;

CREATE TABLE campanile_setting (
    name @name PRIMARY KEY,
    value TEXT NOT NULL
);

-- Leases on names, for clusters without another lock service.
CREATE TABLE campanile_store_lock (
    name @name PRIMARY KEY,
    holder @name NOT NULL,
    expires_at BIGINT NOT NULL
);
