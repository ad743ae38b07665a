-- Which run a caller's key made, by whom the key belongs to: a task, a handler, or the engine itself. The digest is of
-- what the request said; keys that are older have none, and stand for whatever is asked with them.
CREATE TABLE campanile_run_key (
    idempotency_key @name NOT NULL,
    scope @name NOT NULL,
    run BIGINT NOT NULL,
    digest TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (idempotency_key, scope)
) @clustered;
CREATE INDEX campanile_run_key_run ON campanile_run_key (run);

-- Keys that are there belong to their runs' tasks; without one, to the handler. Those of backfills are the engine's.
INSERT INTO campanile_run_key (idempotency_key, scope, run, digest, at)
SELECT s.idempotency_key,
    CASE WHEN r.origin = 3 THEN 'engine'
         WHEN r.task <> 0 THEN 'task:' || r.task
         WHEN p.handler LIKE '{"native":"%' THEN 'handler:' || 'native:' || substr(p.handler, 12, length(p.handler) - 13)
         WHEN p.handler LIKE '{"command"%' THEN 'handler:' || 'command'
         WHEN p.handler LIKE '{"external"%' THEN 'handler:' || 'external'
         ELSE 'handler:' || 'http' END,
    s.run, NULL, s.at
FROM campanile_submission AS s
JOIN (SELECT id, task, origin FROM campanile_run UNION ALL SELECT id, task, origin FROM campanile_run_history) AS r ON r.id = s.run
LEFT JOIN campanile_run_spec AS p ON p.run = s.run
WHERE true ON CONFLICT (idempotency_key, scope) DO NOTHING;

-- The table stays for nodes of the version before, until all of them are stopped; nothing of this version asks it.
DELETE FROM campanile_submission;
