-- What kind of failure ended an attempt: a status, an exit code, a word.
ALTER TABLE run_attempt ADD COLUMN class TEXT;
