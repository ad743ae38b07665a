-- All tables as they are at version 22, for MariaDB 10.6 and later. A change of a table commits there by itself, so this can end
-- half-way: every statement of it may be made again, and changes nothing that is there.

CREATE TABLE IF NOT EXISTS campanile_leader (
    id SMALLINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder VARCHAR(255),
    node BIGINT,
    node_name VARCHAR(255) NOT NULL,
    since BIGINT,
    seq BIGINT NOT NULL,
    edits BIGINT NOT NULL,
    resign_epoch BIGINT NOT NULL,
    -- The one hold of the cluster: 0 = none, else what made it. Its end: 0 = it has none.
    hold_cause SMALLINT NOT NULL DEFAULT 0,
    hold_by LONGTEXT NOT NULL DEFAULT '',
    hold_why LONGTEXT NOT NULL DEFAULT '',
    hold_since BIGINT NOT NULL DEFAULT 0,
    hold_until BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT INTO campanile_leader (id, epoch, holder, node, node_name, since, seq, edits, resign_epoch)
VALUES (1, 0, NULL, NULL, '', NULL, 0, 0, 0) ON DUPLICATE KEY UPDATE id = id;

-- Names of queues, as small numbers.
CREATE TABLE IF NOT EXISTS campanile_queue (
    id INTEGER AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(255) NOT NULL UNIQUE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What people defined. A deleted task keeps its row, so that history can name it; its name is free again.
CREATE TABLE IF NOT EXISTS campanile_task (
    id BIGINT PRIMARY KEY,
    live_name VARCHAR(255) UNIQUE,
    name VARCHAR(255) NOT NULL,
    version BIGINT NOT NULL,
    definition LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    -- While a task is paused: the instant from which on its occurrences do not run.
    paused_from BIGINT,
    -- Who put it; empty = nobody in particular.
    owner VARCHAR(255) NOT NULL DEFAULT '',
    KEY campanile_task_former (name, deleted_at),
    KEY campanile_task_owner (owner, live_name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Instants and what they are for: a task's next occurrence (n = 0), a run's start or retry (n = 1).
CREATE TABLE IF NOT EXISTS campanile_due (
    queue INTEGER NOT NULL,
    at BIGINT NOT NULL,
    owner BIGINT NOT NULL,
    n SMALLINT NOT NULL,
    -- A task has one next occurrence; of nothing there may be many.
    one SMALLINT AS (CASE WHEN n = 0 THEN 0 END) PERSISTENT,
    PRIMARY KEY (queue, at, owner, n),
    UNIQUE KEY campanile_due_task (owner, one)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Live runs. No other index: every transition changes its row in place.
CREATE TABLE IF NOT EXISTS campanile_run (
    id BIGINT PRIMARY KEY,
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
    error LONGTEXT,
    -- Whether it needs permits, and until when its first attempt must have started.
    limited SMALLINT NOT NULL DEFAULT 0,
    deadline_at BIGINT,
    -- Who submitted it, where that is known. Occurrences have none.
    submitter LONGTEXT,
    -- Whether it carries anything of its own: 0 = no, 1 = yes.
    own SMALLINT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Runs that ended and occurrences that did not run. Rows are put once and removed by age, never changed.
CREATE TABLE IF NOT EXISTS campanile_run_history (
    id BIGINT PRIMARY KEY,
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
    -- 0 for an occurrence of a schedule, else the run's own id.
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
    error LONGTEXT,
    submitter LONGTEXT,
    -- One answer for each occurrence of a schedule; requests are single by their ids.
    one SMALLINT AS (CASE WHEN dedup = 0 THEN 0 END) PERSISTENT,
    UNIQUE KEY campanile_run_history_occurrence (task, due_at, one),
    KEY campanile_run_history_task (task, id),
    KEY campanile_run_history_state (state, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What a submitted run carries of its own.
CREATE TABLE IF NOT EXISTS campanile_run_spec (
    run BIGINT PRIMARY KEY,
    handler LONGTEXT,
    payload LONGTEXT,
    rules LONGTEXT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Attempts that ended other than well.
CREATE TABLE IF NOT EXISTS campanile_run_attempt (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    worker BIGINT,
    started_at BIGINT,
    finished_at BIGINT NOT NULL,
    reason SMALLINT NOT NULL,
    error LONGTEXT,
    class LONGTEXT,
    PRIMARY KEY (run, attempt)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What an attempt leaves beside its output: what it returned, as JSON, and how far it last said that it was.
CREATE TABLE IF NOT EXISTS campanile_run_log (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    text LONGTEXT NOT NULL,
    result LONGTEXT,
    percent INTEGER,
    progress LONGTEXT,
    progress_at BIGINT,
    PRIMARY KEY (run, attempt)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What attempts write, as it comes: each piece from its first byte on, counted over all that the attempt wrote.
CREATE TABLE IF NOT EXISTS campanile_run_chunk (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    text LONGTEXT NOT NULL,
    PRIMARY KEY (run, attempt, at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Which run a caller's key made, by whom the key belongs to: a task, a handler, or the engine itself.
CREATE TABLE IF NOT EXISTS campanile_run_key (
    idempotency_key VARCHAR(255) NOT NULL,
    scope VARCHAR(255) NOT NULL,
    run BIGINT NOT NULL,
    digest LONGTEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (idempotency_key, scope),
    KEY campanile_run_key_run (run)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Runs that are the leader's to publish, one row for each firing.
CREATE TABLE IF NOT EXISTS campanile_outbox (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    runs LONGBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- The members.
CREATE TABLE IF NOT EXISTS campanile_node (
    id BIGINT PRIMARY KEY,
    name LONGTEXT NOT NULL,
    roles LONGTEXT NOT NULL,
    queues LONGTEXT NOT NULL,
    slots BIGINT NOT NULL,
    busy BIGINT NOT NULL,
    lease_ms BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    heartbeat_seq BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    version LONGTEXT NOT NULL,
    -- What a worker can carry out, as it announced it.
    abilities LONGTEXT,
    -- Whether the cluster is held: a claim reads it.
    held SMALLINT NOT NULL DEFAULT 0,
    -- Counted up by each claim: so a claim and what removes or holds its node are never both first.
    claims BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What nodes are called, also those that are gone: runs know them by their numbers.
CREATE TABLE IF NOT EXISTS campanile_node_name (
    id BIGINT PRIMARY KEY,
    name LONGTEXT NOT NULL,
    gone_at BIGINT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS campanile_setting (
    name VARCHAR(255) PRIMARY KEY,
    value LONGTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Leases on names, for clusters without another lock service.
CREATE TABLE IF NOT EXISTS campanile_store_lock (
    name VARCHAR(255) PRIMARY KEY,
    holder VARCHAR(255) NOT NULL,
    expires_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Who may be handed to workers under a limit: the key refuses a second holder of one permit.
CREATE TABLE IF NOT EXISTS campanile_permit (
    limit_key VARCHAR(512) NOT NULL,
    n INTEGER NOT NULL,
    run BIGINT NOT NULL,
    -- Counted up by a firing that rests on this permit being held.
    seen BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (limit_key, n),
    KEY campanile_permit_run (run)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Runs that are blocked for want of a permit, in the order in which they go on: place 0 is priority 9.
CREATE TABLE IF NOT EXISTS campanile_blocked (
    limit_key VARCHAR(512) NOT NULL,
    place SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    run BIGINT NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (limit_key, place, at, run),
    KEY campanile_blocked_run (run)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Limits of queues and groups (queue:NAME, group:NAME). Those of tasks are in their definitions.
CREATE TABLE IF NOT EXISTS campanile_concurrency_limit (
    limit_key VARCHAR(512) PRIMARY KEY,
    max_running INTEGER NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS campanile_calendar (
    name VARCHAR(255) PRIMARY KEY,
    version BIGINT NOT NULL,
    definition LONGTEXT NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What the store refused to record, until somebody releases or drops it. A run stays in its table, in state 8.
CREATE TABLE IF NOT EXISTS campanile_quarantine (
    id INTEGER AUTO_INCREMENT PRIMARY KEY,
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
    what LONGTEXT NOT NULL,
    error LONGTEXT NOT NULL,
    one SMALLINT AS (CASE WHEN run <> 0 THEN 0 END) PERSISTENT,
    UNIQUE KEY campanile_quarantine_run (run, one)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Deleted tasks whose waiting runs the leader still looks for.
CREATE TABLE IF NOT EXISTS campanile_deletion (
    task BIGINT PRIMARY KEY,
    at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Instants of schedules that were answered before they came, while the store's clock was ahead: they do not fire again.
CREATE TABLE IF NOT EXISTS campanile_answered (
    task BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (task, at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Requests for runs that other programs leave inside transactions of their own. Nobody but the leader ever takes a row out;
-- this table never changes, for programs in any language insert into it.
CREATE TABLE IF NOT EXISTS campanile_inbox (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    request LONGTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What has become of its rows.
CREATE TABLE IF NOT EXISTS campanile_inbox_settled (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    became SMALLINT NOT NULL,
    run BIGINT,
    message LONGTEXT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Labels of living tasks, as `key=value`, with the task's name: so a page of those that have one is a walk over this index.
CREATE TABLE IF NOT EXISTS campanile_task_label (
    label VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    task BIGINT NOT NULL,
    PRIMARY KEY (label, name),
    KEY campanile_task_label_task (task)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Local users. What is kept of a password is a hash (argon2id, PHC).
CREATE TABLE IF NOT EXISTS campanile_user (
    name VARCHAR(255) PRIMARY KEY,
    password LONGTEXT NOT NULL,
    role LONGTEXT NOT NULL,
    data SMALLINT NOT NULL,
    scope LONGTEXT NOT NULL,
    disabled SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    password_at BIGINT NOT NULL,
    version BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Sessions of browsers, by the digest of what their cookies hold.
CREATE TABLE IF NOT EXISTS campanile_session (
    digest VARCHAR(255) PRIMARY KEY,
    kind LONGTEXT NOT NULL,
    subject LONGTEXT NOT NULL,
    name LONGTEXT NOT NULL,
    group_names LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    address LONGTEXT NOT NULL,
    agent LONGTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Who paused a task, why, and until when.
CREATE TABLE IF NOT EXISTS campanile_pause (
    task BIGINT PRIMARY KEY,
    by_whom LONGTEXT NOT NULL,
    reason LONGTEXT,
    since BIGINT NOT NULL,
    until BIGINT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- API tokens: of each its digest alone.
CREATE TABLE IF NOT EXISTS campanile_token (
    name VARCHAR(255) PRIMARY KEY,
    digest VARCHAR(255) NOT NULL,
    role LONGTEXT NOT NULL,
    data SMALLINT NOT NULL,
    scope LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by LONGTEXT NOT NULL,
    expires_at BIGINT,
    used_at BIGINT,
    revoked_at BIGINT,
    UNIQUE KEY campanile_token_digest (digest)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What everybody did: lines that are only ever added, and from the beginning on removed.
CREATE TABLE IF NOT EXISTS campanile_audit (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor VARCHAR(700) NOT NULL,
    object VARCHAR(700) NOT NULL,
    line LONGTEXT NOT NULL,
    hash LONGTEXT NOT NULL,
    KEY campanile_audit_at (at),
    KEY campanile_audit_actor (actor, seq),
    KEY campanile_audit_object (object, seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- The last line, and the last that was removed.
CREATE TABLE IF NOT EXISTS campanile_audit_head (
    id BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    hash LONGTEXT NOT NULL,
    pruned_seq BIGINT NOT NULL,
    pruned_hash LONGTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT INTO campanile_audit_head (id, seq, at, hash, pruned_seq, pruned_hash) VALUES (1, 0, 0, '', 0, '')
ON DUPLICATE KEY UPDATE id = id;

-- Tasks whose schedules go on from the ends of their runs: the run whose end puts the next due row (none: a due row is
-- there), and when that is due. A run that is one of these has 4 in its column `limited`.
CREATE TABLE IF NOT EXISTS campanile_chain (
    task BIGINT PRIMARY KEY,
    run BIGINT,
    queue BIGINT NOT NULL,
    delay_ms BIGINT NOT NULL,
    first_at BIGINT,
    last_at BIGINT,
    rests SMALLINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Messages, when the store is the broker: what waits for whom, by priority and time; until when it is somebody's.
CREATE TABLE IF NOT EXISTS campanile_offer (
    destination VARCHAR(255) NOT NULL,
    place BIGINT NOT NULL,
    held_until BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    body LONGTEXT NOT NULL,
    signature VARCHAR(255) NOT NULL,
    -- Who took it last: an update answers nothing there.
    taker BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (destination, place)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
