-- Whether a live run carries anything of its own: 0 = no, 1 = yes; nothing = an older program made it, and one has to look.
ALTER TABLE campanile_run ADD COLUMN own SMALLINT;

-- One answer for each occurrence of a schedule; requests are single by their ids. A task's runs are read in the order of ids.
DROP INDEX campanile_run_history_occurrence;
CREATE UNIQUE INDEX campanile_run_history_occurrence ON campanile_run_history (task, due_at) WHERE dedup = 0;
CREATE INDEX campanile_run_history_task ON campanile_run_history (task, id);
@hot_tables
