-- What kind of failure ended an attempt: a status, an exit code, a word.
ALTER TABLE campanile_run_attempt ADD COLUMN class TEXT;
