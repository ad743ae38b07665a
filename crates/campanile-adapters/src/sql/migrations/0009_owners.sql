-- Who put a task; empty = nobody in particular.
ALTER TABLE campanile_task ADD COLUMN owner @name NOT NULL DEFAULT '';
-- An owner's living tasks by name.
CREATE INDEX campanile_task_owner ON campanile_task (owner, live_name) WHERE live_name IS NOT NULL;

-- Deleted tasks whose waiting runs the leader still looks for.
CREATE TABLE campanile_deletion (
    task @row_id,
    at BIGINT NOT NULL
);
-- What waits for tasks that were deleted before this.
INSERT INTO campanile_deletion (task, at) SELECT id, deleted_at FROM campanile_task WHERE deleted_at IS NOT NULL;
