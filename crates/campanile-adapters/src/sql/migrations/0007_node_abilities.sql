-- What a worker can carry out, as it announced it; NULL = it did not say.
ALTER TABLE campanile_node ADD COLUMN abilities TEXT;
