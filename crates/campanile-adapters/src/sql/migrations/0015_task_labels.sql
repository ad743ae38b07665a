-- Labels of living tasks, as `key=value`, with the task's name: so a page of those that have one is a walk over this index.
CREATE TABLE campanile_task_label (
    label @name NOT NULL,
    name @name NOT NULL,
    task BIGINT NOT NULL,
    PRIMARY KEY (label, name)
) @clustered;
CREATE INDEX campanile_task_label_task ON campanile_task_label (task);
