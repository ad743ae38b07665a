-- The field's words: a node's heartbeat, a paused task, a blocked run.
ALTER TABLE campanile_node RENAME COLUMN beat_seq TO heartbeat_seq;
ALTER TABLE campanile_node RENAME COLUMN beat_at TO heartbeat_at;
ALTER TABLE campanile_task RENAME COLUMN rests_from TO paused_from;
ALTER TABLE campanile_parked RENAME TO campanile_blocked;
DROP INDEX campanile_parked_run;
CREATE INDEX campanile_blocked_run ON campanile_blocked (run);
