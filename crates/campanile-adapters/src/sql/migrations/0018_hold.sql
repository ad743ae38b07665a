-- The one hold of the cluster: 0 = none, else what made it. Its end: 0 = it has none.
ALTER TABLE campanile_leader ADD COLUMN hold_cause SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE campanile_leader ADD COLUMN hold_by TEXT NOT NULL DEFAULT '';
ALTER TABLE campanile_leader ADD COLUMN hold_why TEXT NOT NULL DEFAULT '';
ALTER TABLE campanile_leader ADD COLUMN hold_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE campanile_leader ADD COLUMN hold_until BIGINT NOT NULL DEFAULT 0;
-- The same with each member, whose row a claim reads and keeps in any case.
ALTER TABLE campanile_node ADD COLUMN held SMALLINT NOT NULL DEFAULT 0;

-- Who paused a task, why, and until when. A task that is paused without a row was paused by an older program.
CREATE TABLE campanile_pause (
    task @row_id,
    by_whom TEXT NOT NULL,
    reason TEXT,
    since BIGINT NOT NULL,
    until BIGINT
);
