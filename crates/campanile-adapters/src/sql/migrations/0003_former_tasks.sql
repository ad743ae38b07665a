-- Deleted tasks are found by the name that they had.
CREATE INDEX campanile_task_former ON campanile_task (name, deleted_at) WHERE deleted_at IS NOT NULL;
