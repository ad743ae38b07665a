-- One role for each purpose. Run it as the database's administrator, in the database that Campanile is to have:
--     psql --dbname campanile --file grants.sql
-- Then give each role that a node uses a password (\password campanile_worker), and let the owner make the tables:
--     campanile migrate --store postgres://campanile_owner@host/campanile
--     psql --dbname campanile --file grants.sql          -- once more, now that there are tables: and after each upgrade
--
-- Nodes: roles = "worker" -> campanile_worker, "scheduler" -> campanile_scheduler, "api" -> campanile_api. A node that
-- has several roles needs a login that is a member of each: GRANT campanile_scheduler, campanile_api TO some_login.

DO $$
DECLARE
    wanted TEXT;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['campanile_owner', 'campanile_scheduler', 'campanile_worker', 'campanile_api'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', wanted);
        END IF;
    END LOOP;
END $$;

-- The owner makes and changes the tables, and is used for nothing else.
GRANT CREATE, USAGE ON SCHEMA public TO campanile_owner;
GRANT USAGE ON SCHEMA public TO campanile_scheduler, campanile_worker, campanile_api;

DO $$
DECLARE
    -- Who may do what to a table, which is called campanile_ and this. Everybody reads all of them but passwords and sessions: a worker reads definitions, `doctor` reads everything.
    rule RECORD;
    one TEXT;
BEGIN
    FOR rule IN
        SELECT * FROM (VALUES
            ('leader', 'UPDATE', 'UPDATE (seq)', 'UPDATE'),
            ('queue', 'INSERT, UPDATE', 'INSERT, UPDATE', 'INSERT, UPDATE'),
            ('task_label', 'INSERT, UPDATE, DELETE', '', 'INSERT, UPDATE, DELETE'),
            ('task', 'UPDATE', '', 'INSERT, UPDATE, DELETE'),
            ('pause', 'INSERT, UPDATE, DELETE', '', 'INSERT, UPDATE, DELETE'),
            ('chain', 'INSERT, UPDATE, DELETE', 'UPDATE', 'INSERT, UPDATE, DELETE'),
            ('due', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE'),
            ('run', 'INSERT, UPDATE, DELETE', 'UPDATE, DELETE', 'INSERT, UPDATE, DELETE'),
            ('run_history', 'INSERT, DELETE, UPDATE', 'INSERT', 'INSERT'),
            ('run_spec', 'DELETE', '', 'INSERT, DELETE'),
            ('run_attempt run_log run_chunk', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE', 'INSERT, UPDATE, DELETE'),
            ('submission run_key', 'INSERT, UPDATE, DELETE', '', 'INSERT, UPDATE, DELETE'),
            ('inbox', 'DELETE', '', 'INSERT'),
            ('inbox_settled', 'INSERT, DELETE', '', ''),
            ('quarantine', 'INSERT', 'INSERT', 'DELETE'),
            ('outbox', 'INSERT, UPDATE, DELETE', '', ''),
            ('offer', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE', ''),
            ('deletion', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE', 'INSERT, UPDATE'),
            ('answered', 'INSERT, DELETE', '', ''),
            ('node', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE'),
            ('node_name', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE', 'INSERT, UPDATE'),
            ('permit blocked', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE'),
            ('concurrency_limit calendar', '', '', 'INSERT, UPDATE, DELETE'),
            ('setting', 'INSERT, UPDATE', 'INSERT', 'INSERT, UPDATE'),
            ('user session', '', '', 'INSERT, UPDATE, DELETE'),
            ('audit', 'INSERT, DELETE', '', 'INSERT'),
            ('audit_head', 'UPDATE', '', 'UPDATE'),
            ('token', '', '', 'INSERT, UPDATE'),
            ('schema_version', '', '', ''),
            ('store_lock', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE', 'INSERT, UPDATE, DELETE')
        ) AS r (tables, scheduler, worker, api)
    LOOP
        FOREACH one IN ARRAY string_to_array(rule.tables, ' ') LOOP
            CONTINUE WHEN to_regclass('public.campanile_' || one) IS NULL;
            EXECUTE format('REVOKE ALL ON campanile_%s FROM campanile_scheduler, campanile_worker, campanile_api', one);
            EXECUTE format('GRANT SELECT ON campanile_%s TO campanile_scheduler, campanile_worker, campanile_api', one);
            IF rule.scheduler <> '' THEN
                EXECUTE format('GRANT %s ON campanile_%s TO campanile_scheduler', rule.scheduler, one);
            END IF;
            IF rule.worker <> '' THEN
                EXECUTE format('GRANT %s ON campanile_%s TO campanile_worker', rule.worker, one);
            END IF;
            IF rule.api <> '' THEN
                EXECUTE format('GRANT %s ON campanile_%s TO campanile_api', rule.api, one);
            END IF;
        END LOOP;
    END LOOP;
    -- What is kept of passwords and sessions is read by nodes that let people in, and by nobody else.
    FOREACH one IN ARRAY ARRAY['user', 'session'] LOOP
        CONTINUE WHEN to_regclass('public.campanile_' || one) IS NULL;
        EXECUTE format('REVOKE SELECT ON campanile_%s FROM campanile_scheduler, campanile_worker', one);
    END LOOP;
END $$;

-- Numbers of queues are counted by the database.
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO campanile_scheduler, campanile_worker, campanile_api;
