-- What an attempt leaves beside its log: what it returned, as JSON, and how far it last said that it was.
ALTER TABLE campanile_run_log ADD COLUMN result TEXT;
ALTER TABLE campanile_run_log ADD COLUMN percent INTEGER;
ALTER TABLE campanile_run_log ADD COLUMN progress TEXT;
ALTER TABLE campanile_run_log ADD COLUMN progress_at BIGINT;
