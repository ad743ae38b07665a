-- Who submitted a run, where that is known. Occurrences have none.
ALTER TABLE campanile_run ADD COLUMN submitter TEXT;
ALTER TABLE campanile_run_history ADD COLUMN submitter TEXT;
