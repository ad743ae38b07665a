-- Deleted tasks are found by the name that they had.
CREATE INDEX task_former ON task (name, deleted_at) WHERE deleted_at IS NOT NULL;
