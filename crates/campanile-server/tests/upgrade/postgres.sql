CREATE TABLE public.campanile_answered (
    task bigint NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE public.campanile_blocked (
    limit_key text NOT NULL COLLATE pg_catalog."C",
    place smallint NOT NULL,
    at bigint NOT NULL,
    run bigint NOT NULL,
    queue integer NOT NULL
);
CREATE TABLE public.campanile_calendar (
    name text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    definition text NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE public.campanile_concurrency_limit (
    limit_key text NOT NULL COLLATE pg_catalog."C",
    max_running integer NOT NULL
);
CREATE TABLE public.campanile_deletion (
    task bigint NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE public.campanile_due (
    queue integer NOT NULL,
    at bigint NOT NULL,
    owner bigint NOT NULL,
    n smallint NOT NULL
);
CREATE TABLE public.campanile_inbox (
    id bigint NOT NULL,
    request text NOT NULL
);
ALTER TABLE public.campanile_inbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.campanile_inbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.campanile_inbox_settled (
    id bigint NOT NULL,
    at bigint NOT NULL,
    became smallint NOT NULL,
    run bigint,
    message text
);
CREATE TABLE public.campanile_leader (
    id smallint NOT NULL,
    epoch bigint NOT NULL,
    holder text COLLATE pg_catalog."C",
    node bigint,
    node_name text NOT NULL COLLATE pg_catalog."C",
    since bigint,
    seq bigint NOT NULL,
    edits bigint NOT NULL,
    resign_epoch bigint NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.campanile_node (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    roles text NOT NULL,
    queues text NOT NULL,
    slots bigint NOT NULL,
    busy bigint NOT NULL,
    lease_ms bigint NOT NULL,
    started_at bigint NOT NULL,
    heartbeat_seq bigint NOT NULL,
    heartbeat_at bigint NOT NULL,
    version text NOT NULL,
    abilities text
)
WITH (fillfactor='50');
CREATE TABLE public.campanile_outbox (
    id bigint NOT NULL,
    at bigint NOT NULL,
    runs bytea NOT NULL
);
CREATE TABLE public.campanile_permit (
    limit_key text NOT NULL COLLATE pg_catalog."C",
    n integer NOT NULL,
    run bigint NOT NULL
);
CREATE TABLE public.campanile_quarantine (
    id integer NOT NULL,
    task bigint NOT NULL,
    run bigint NOT NULL,
    attempt integer NOT NULL,
    queue integer NOT NULL,
    due_at bigint NOT NULL,
    at bigint NOT NULL,
    claim bigint,
    state smallint,
    reason smallint,
    ended_at bigint,
    ready_at bigint,
    what text NOT NULL,
    error text NOT NULL
);
ALTER TABLE public.campanile_quarantine ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.campanile_quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.campanile_queue (
    id integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE public.campanile_queue ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.campanile_queue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.campanile_run (
    id bigint NOT NULL,
    task bigint NOT NULL,
    due_at bigint NOT NULL,
    ready_at bigint NOT NULL,
    epoch bigint NOT NULL,
    queued_at bigint,
    started_at bigint,
    worker bigint,
    claim bigint,
    queue integer NOT NULL,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    losses integer NOT NULL,
    origin smallint NOT NULL,
    priority smallint NOT NULL,
    state smallint NOT NULL,
    cancel_requested smallint NOT NULL,
    error text,
    limited smallint DEFAULT 0 NOT NULL,
    deadline_at bigint
)
WITH (fillfactor='50');
CREATE TABLE public.campanile_run_attempt (
    run bigint NOT NULL,
    attempt integer NOT NULL,
    worker bigint,
    started_at bigint,
    finished_at bigint NOT NULL,
    reason smallint NOT NULL,
    error text,
    class text
);
CREATE TABLE public.campanile_run_history (
    id bigint NOT NULL,
    task bigint NOT NULL,
    due_at bigint NOT NULL,
    ready_at bigint NOT NULL,
    epoch bigint NOT NULL,
    queued_at bigint,
    started_at bigint,
    worker bigint,
    claim bigint,
    finished_at bigint NOT NULL,
    skipped_last bigint,
    skipped_count bigint,
    dedup bigint NOT NULL,
    queue integer NOT NULL,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    losses integer NOT NULL,
    origin smallint NOT NULL,
    priority smallint NOT NULL,
    state smallint NOT NULL,
    reason smallint NOT NULL,
    cancel_requested smallint NOT NULL,
    error text
);
CREATE TABLE public.campanile_run_key (
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    scope text NOT NULL COLLATE pg_catalog."C",
    run bigint NOT NULL,
    digest text,
    at bigint NOT NULL
);
CREATE TABLE public.campanile_run_log (
    run bigint NOT NULL,
    attempt integer NOT NULL,
    text text NOT NULL,
    result text,
    percent integer,
    progress text,
    progress_at bigint
);
CREATE TABLE public.campanile_run_spec (
    run bigint NOT NULL,
    handler text,
    payload text,
    rules text
);
CREATE TABLE public.campanile_schema_version (
    version bigint NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at bigint NOT NULL
);
CREATE TABLE public.campanile_setting (
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL
);
CREATE TABLE public.campanile_store_lock (
    name text NOT NULL COLLATE pg_catalog."C",
    holder text NOT NULL COLLATE pg_catalog."C",
    expires_at bigint NOT NULL
);
CREATE TABLE public.campanile_submission (
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    run bigint NOT NULL,
    at bigint NOT NULL
);
CREATE TABLE public.campanile_task (
    id bigint NOT NULL,
    live_name text COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    definition text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    paused_from bigint,
    owner text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C"
);
INSERT INTO public.campanile_blocked VALUES ('group:one-at-a-time', 5, 1795961185717, 914879983513155619, 1);
INSERT INTO public.campanile_calendar VALUES ('feasts', 1, '{"name":"feasts","dates":["2026-12-24","2026-12-25","2026-12-26"]}', 1795961185249);
INSERT INTO public.campanile_concurrency_limit VALUES ('group:one-at-a-time', 1);
INSERT INTO public.campanile_due VALUES (1, 1795961485249, 914879981551562631, 0);
INSERT INTO public.campanile_due VALUES (1, 1798768800000, 914879981551562774, 0);
INSERT INTO public.campanile_due VALUES (1, 1795961509346, 914879982927683694, 1);
INSERT INTO public.campanile_due VALUES (1, 4070908800000, 914879984898351407, 1);
INSERT INTO public.campanile_inbox OVERRIDING SYSTEM VALUE VALUES (1, '{"task": "spoken", "idempotency_key": "from-inbox"}');
INSERT INTO public.campanile_leader VALUES (1, 1795961185, '239edc731df0fd39517d7f697a46823f', 8629300002977141207, 'old', 1795961185090, 11, 3, 0);
INSERT INTO public.campanile_node VALUES (4133749283444285096, 'old', '["scheduler","worker","api"]', '["default"]', 64, 0, 10000, 1795961185056, 0, 1795961185062, '0.1.0', '{"native":[],"http":true,"commands":["/bin/echo","/bin/false","/bin/sh","/bin/sleep","/bin/true"],"partial":false,"refuses":[],"lane":"b20ce79fae49e28e"}');
INSERT INTO public.campanile_outbox VALUES (914879982186368858, 1795961185415, '\xb6bddea3f1cf93d90c01');
INSERT INTO public.campanile_outbox VALUES (914879982648953581, 1795961185517, '\xfaa0e9a2f3cf93d90c01');
INSERT INTO public.campanile_outbox VALUES (914879983020890623, 1795961185606, '\xeec094d4f4cf93d90c01');
INSERT INTO public.campanile_outbox VALUES (914879983301463515, 1795961185674, '\xe29cc2d0f5cf93d90c01');
INSERT INTO public.campanile_outbox VALUES (914879984127930639, 1795961185869, '\x87f39ceaf8cf93d90c01');
INSERT INTO public.campanile_outbox VALUES (914879984519695916, 1795961185975, '\xafe68eaffacf93d90c01');
INSERT INTO public.campanile_permit VALUES ('group:one-at-a-time', 0, 914879983188479586);
INSERT INTO public.campanile_queue OVERRIDING SYSTEM VALUE VALUES (1, 'default');
INSERT INTO public.campanile_queue OVERRIDING SYSTEM VALUE VALUES (2, 'later');
INSERT INTO public.campanile_run VALUES (914879983188479586, 914879981551568817, 1795961185640, 1795961185640, 1795961185, NULL, 1795961185678, 4133749283444285096, 8578540431084065005, 1, 1, 0, 0, 2, 4, 3, 0, NULL, 1, NULL);
INSERT INTO public.campanile_run VALUES (914879982927683694, 914879981551567046, 1795961185578, 1795961509346, 1795961185, NULL, 1795961185611, 4133749283444285096, NULL, 1, 2, 1, 0, 2, 4, 1, 0, 'exit status 1', 0, NULL);
INSERT INTO public.campanile_run VALUES (914879983513155619, 914879981551569805, 1795961185717, 1795961185717, 1795961185, NULL, NULL, NULL, NULL, 1, 1, 0, 0, 2, 4, 1, 0, NULL, 1, NULL);
INSERT INTO public.campanile_run VALUES (914879984047700359, 914879981551570366, 1795961185845, 1795961185845, 1795961185, NULL, 1795961185874, 4133749283444285096, 3144177763952549394, 1, 1, 0, 0, 2, 4, 3, 0, NULL, 0, NULL);
INSERT INTO public.campanile_run VALUES (914879984460608303, 914879981551571254, 1795961185943, 1795961185943, 1795961185, NULL, NULL, NULL, NULL, 2, 1, 0, 0, 2, 4, 1, 0, NULL, 0, NULL);
INSERT INTO public.campanile_run VALUES (914879984898351407, 914879981551565370, 4070908800000, 4070908800000, 0, NULL, NULL, NULL, NULL, 1, 1, 0, 0, 2, 4, 1, 0, NULL, 0, NULL);
INSERT INTO public.campanile_run_attempt VALUES (914879982555779194, 1, 4133749283444285096, 1795961185533, 1795961185559, 1, 'exit status 1', 'exit:1');
INSERT INTO public.campanile_run_attempt VALUES (914879982927683694, 1, 4133749283444285096, 1795961185611, 1795961185655, 1, 'exit status 1', 'exit:1');
INSERT INTO public.campanile_run_history VALUES (914879982020828854, 914879981551565370, 1795961185361, 1795961185361, 1795961185, NULL, 1795961185425, 4133749283444285096, 7537177509612742855, 1795961185486, NULL, NULL, 914879982020828854, 1, 1, 0, 0, 2, 4, 4, 0, 0, NULL);
INSERT INTO public.campanile_run_history VALUES (914879982555779194, 914879981551566102, 1795961185489, 1795961185489, 1795961185, NULL, 1795961185533, 4133749283444285096, 5139591446804310980, 1795961185559, NULL, NULL, 914879982555779194, 1, 1, 1, 0, 2, 4, 5, 1, 0, 'exit status 1');
INSERT INTO public.campanile_run_key VALUES ('in-2099', 'task:914879981551565370', 914879984898351407, '574180345daf3bd021bdec02db00bec930fb4dbc87128417b9eff511a49534c2', 1795961186075);
INSERT INTO public.campanile_run_log VALUES (914879982020828854, 1, 'said by the old program
', NULL, NULL, NULL, NULL);
INSERT INTO public.campanile_schema_version VALUES (1, 'first', '9ec9b83702b04f08', 1795961183863);
INSERT INTO public.campanile_schema_version VALUES (2, 'permits', '120e92d526d99018', 1795961183893);
INSERT INTO public.campanile_schema_version VALUES (3, 'former-tasks', 'a6cc82ac654d40d4', 1795961183904);
INSERT INTO public.campanile_schema_version VALUES (4, 'run-rules', '7893f8cf4eab2b29', 1795961183917);
INSERT INTO public.campanile_schema_version VALUES (5, 'run-keys', '8aa3133c7a7bb1cb', 1795961183939);
INSERT INTO public.campanile_schema_version VALUES (6, 'quarantine', 'ad2cbb442b2a70df', 1795961183960);
INSERT INTO public.campanile_schema_version VALUES (7, 'node-abilities', '10d86004ed2a816d', 1795961183978);
INSERT INTO public.campanile_schema_version VALUES (8, 'attempt-class', '9a3f9ad84a4426ab', 1795961183998);
INSERT INTO public.campanile_schema_version VALUES (9, 'owners', '3c405a4d0771ca5c', 1795961184019);
INSERT INTO public.campanile_schema_version VALUES (10, 'answered', 'e3e2bbd48e43a7e3', 1795961184041);
INSERT INTO public.campanile_schema_version VALUES (11, 'results', '427f5de501d6f3b1', 1795961184070);
INSERT INTO public.campanile_schema_version VALUES (12, 'inbox', '2d95141774b46ad7', 1795961184170);
INSERT INTO public.campanile_schema_version VALUES (13, 'words', '656c4d16725a4e74', 1795961184228);
INSERT INTO public.campanile_setting VALUES ('secret', '591deb99bb877187c009a948405631f4eb389a62bba3ddfadc6c9da449b1d16f');
INSERT INTO public.campanile_setting VALUES ('zone_rules', '2025b b5da40b5');
INSERT INTO public.campanile_store_lock VALUES ('campanile', '690d8852680d37110c68f96ec044a721', 1795961190078);
INSERT INTO public.campanile_task VALUES (914879981551562631, 'often', 'often', 1, '{"name":"often","owner":"finance","schedule":"every 5m","dialect":"auto","timezone":"UTC","anchor":"2026-11-29T14:06:25.249Z","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551562774, 'yearly', 'yearly', 1, '{"name":"yearly","owner":"finance","schedule":"0 3 1 1 *","dialect":"auto","timezone":"Europe/Berlin","calendars":"feasts","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551564472, 'resting', 'resting', 1, '{"name":"resting","owner":"finance","schedule":"every 2s","dialect":"auto","timezone":"UTC","anchor":"2026-11-29T14:06:25.249Z","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4,"paused":true}', 1795961185249, 1795961185249, NULL, 1795961185249, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551565370, 'spoken', 'spoken', 1, '{"name":"spoken","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/echo","said by the old program"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551566102, 'failing', 'failing', 1, '{"name":"failing","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/false"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551567046, 'second-try', 'second-try', 1, '{"name":"second-try","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/sh","-c","test $CAMPANILE_ATTEMPT -gt 1"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":3,"backoff":"fixed","initial":"5m","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551568817, 'killed', 'killed', 1, '{"name":"killed","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/sh","-c","test $CAMPANILE_ATTEMPT -gt 1 || sleep 3000"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","group":"one-at-a-time","timeout":"1h","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551569805, 'behind', 'behind', 1, '{"name":"behind","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","group":"one-at-a-time","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551570366, 'killed-once', 'killed-once', 1, '{"name":"killed-once","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/sleep","3000"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"1h","start":"at-most-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
INSERT INTO public.campanile_task VALUES (914879981551571254, 'elsewhere', 'elsewhere', 1, '{"name":"elsewhere","owner":"finance","dialect":"auto","timezone":"UTC","queue":"later","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}', 1795961185249, 1795961185249, NULL, NULL, 'finance');
SELECT pg_catalog.setval('public.campanile_inbox_id_seq', 1, true);
SELECT pg_catalog.setval('public.campanile_quarantine_id_seq', 1, false);
SELECT pg_catalog.setval('public.campanile_queue_id_seq', 2, true);
ALTER TABLE ONLY public.campanile_answered
    ADD CONSTRAINT campanile_answered_pkey PRIMARY KEY (task, at);
ALTER TABLE ONLY public.campanile_calendar
    ADD CONSTRAINT campanile_calendar_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.campanile_concurrency_limit
    ADD CONSTRAINT campanile_concurrency_limit_pkey PRIMARY KEY (limit_key);
ALTER TABLE ONLY public.campanile_deletion
    ADD CONSTRAINT campanile_deletion_pkey PRIMARY KEY (task);
ALTER TABLE ONLY public.campanile_due
    ADD CONSTRAINT campanile_due_pkey PRIMARY KEY (queue, at, owner, n);
ALTER TABLE ONLY public.campanile_inbox
    ADD CONSTRAINT campanile_inbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_inbox_settled
    ADD CONSTRAINT campanile_inbox_settled_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_leader
    ADD CONSTRAINT campanile_leader_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_node
    ADD CONSTRAINT campanile_node_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_outbox
    ADD CONSTRAINT campanile_outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_blocked
    ADD CONSTRAINT campanile_parked_pkey PRIMARY KEY (limit_key, place, at, run);
ALTER TABLE ONLY public.campanile_permit
    ADD CONSTRAINT campanile_permit_pkey PRIMARY KEY (limit_key, n);
ALTER TABLE ONLY public.campanile_quarantine
    ADD CONSTRAINT campanile_quarantine_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_queue
    ADD CONSTRAINT campanile_queue_name_key UNIQUE (name);
ALTER TABLE ONLY public.campanile_queue
    ADD CONSTRAINT campanile_queue_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_run_attempt
    ADD CONSTRAINT campanile_run_attempt_pkey PRIMARY KEY (run, attempt);
ALTER TABLE ONLY public.campanile_run_history
    ADD CONSTRAINT campanile_run_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_run_key
    ADD CONSTRAINT campanile_run_key_pkey PRIMARY KEY (idempotency_key, scope);
ALTER TABLE ONLY public.campanile_run_log
    ADD CONSTRAINT campanile_run_log_pkey PRIMARY KEY (run, attempt);
ALTER TABLE ONLY public.campanile_run
    ADD CONSTRAINT campanile_run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campanile_run_spec
    ADD CONSTRAINT campanile_run_spec_pkey PRIMARY KEY (run);
ALTER TABLE ONLY public.campanile_schema_version
    ADD CONSTRAINT campanile_schema_version_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.campanile_setting
    ADD CONSTRAINT campanile_setting_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.campanile_store_lock
    ADD CONSTRAINT campanile_store_lock_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.campanile_submission
    ADD CONSTRAINT campanile_submission_pkey PRIMARY KEY (idempotency_key);
ALTER TABLE ONLY public.campanile_task
    ADD CONSTRAINT campanile_task_live_name_key UNIQUE (live_name);
ALTER TABLE ONLY public.campanile_task
    ADD CONSTRAINT campanile_task_pkey PRIMARY KEY (id);
CREATE INDEX campanile_blocked_run ON public.campanile_blocked USING btree (run);
CREATE UNIQUE INDEX campanile_due_task ON public.campanile_due USING btree (owner) WHERE (n = 0);
CREATE INDEX campanile_permit_run ON public.campanile_permit USING btree (run);
CREATE UNIQUE INDEX campanile_quarantine_run ON public.campanile_quarantine USING btree (run) WHERE (run <> 0);
CREATE UNIQUE INDEX campanile_run_history_occurrence ON public.campanile_run_history USING btree (task, due_at, dedup);
CREATE INDEX campanile_run_history_state ON public.campanile_run_history USING btree (state, id) WHERE (state <> 4);
CREATE INDEX campanile_run_key_run ON public.campanile_run_key USING btree (run);
CREATE INDEX campanile_submission_run ON public.campanile_submission USING btree (run);
CREATE INDEX campanile_task_former ON public.campanile_task USING btree (name, deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX campanile_task_owner ON public.campanile_task USING btree (owner, live_name) WHERE (live_name IS NOT NULL);
