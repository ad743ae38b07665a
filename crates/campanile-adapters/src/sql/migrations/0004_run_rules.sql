-- Rules of retry and time that a submitted run brings with it.
ALTER TABLE campanile_run_spec ADD COLUMN rules TEXT;
