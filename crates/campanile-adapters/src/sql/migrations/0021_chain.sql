-- Tasks whose schedules go on from the ends of their runs: the run whose end puts the next due row (none: a due row is
-- there), and when that is due. A run that is one of these has 4 in its column `limited`.
CREATE TABLE campanile_chain (
    task @row_id,
    run BIGINT,
    queue BIGINT NOT NULL,
    delay_ms BIGINT NOT NULL,
    first_at BIGINT,
    last_at BIGINT,
    rests SMALLINT NOT NULL
);
