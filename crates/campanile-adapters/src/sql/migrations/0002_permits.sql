-- Whether a run needs permits, and until when its first attempt must have started.
ALTER TABLE campanile_run ADD COLUMN limited SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE campanile_run ADD COLUMN deadline_at BIGINT;

-- While a task rests: the instant from which on its occurrences do not run.
ALTER TABLE campanile_task ADD COLUMN rests_from BIGINT;

-- Who may be handed to workers under a limit: the key refuses a second holder of one permit.
CREATE TABLE campanile_permit (
    limit_key @name NOT NULL,
    n INTEGER NOT NULL,
    run BIGINT NOT NULL,
    PRIMARY KEY (limit_key, n)
) @clustered;
CREATE INDEX campanile_permit_run ON campanile_permit (run);

-- Runs that wait for a permit, in the order in which they go on: place 0 is priority 9.
CREATE TABLE campanile_parked (
    limit_key @name NOT NULL,
    place SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    run BIGINT NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (limit_key, place, at, run)
) @clustered;
CREATE INDEX campanile_parked_run ON campanile_parked (run);

-- Limits of queues and groups (queue:NAME, group:NAME). Those of tasks are in their definitions.
CREATE TABLE campanile_concurrency_limit (
    limit_key @name PRIMARY KEY,
    max_running INTEGER NOT NULL
);

CREATE TABLE campanile_calendar (
    name @name PRIMARY KEY,
    version BIGINT NOT NULL,
    definition TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
