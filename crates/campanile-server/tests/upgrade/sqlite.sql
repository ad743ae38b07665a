PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE campanile_schema_version (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
INSERT INTO campanile_schema_version VALUES(1,'first','f3861445227235a9',1795961180935);
INSERT INTO campanile_schema_version VALUES(2,'permits','29d3dab05602adba',1795961180962);
INSERT INTO campanile_schema_version VALUES(3,'former-tasks','a6cc82ac654d40d4',1795961180989);
INSERT INTO campanile_schema_version VALUES(4,'run-rules','7893f8cf4eab2b29',1795961181005);
INSERT INTO campanile_schema_version VALUES(5,'run-keys','99c8f7d5f2e5c4b6',1795961181023);
INSERT INTO campanile_schema_version VALUES(6,'quarantine','d662a5e4615817fb',1795961181039);
INSERT INTO campanile_schema_version VALUES(7,'node-abilities','10d86004ed2a816d',1795961181061);
INSERT INTO campanile_schema_version VALUES(8,'attempt-class','9a3f9ad84a4426ab',1795961181087);
INSERT INTO campanile_schema_version VALUES(9,'owners','bfa5cf0f16789861',1795961181115);
INSERT INTO campanile_schema_version VALUES(10,'answered','e3e2bbd48e43a7e3',1795961181158);
INSERT INTO campanile_schema_version VALUES(11,'results','427f5de501d6f3b1',1795961181260);
INSERT INTO campanile_schema_version VALUES(12,'inbox','69874ea994e96497',1795961181315);
INSERT INTO campanile_schema_version VALUES(13,'words','656c4d16725a4e74',1795961181393);
CREATE TABLE campanile_leader (
    id SMALLINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    holder TEXT COLLATE BINARY,
    node BIGINT,
    node_name TEXT COLLATE BINARY NOT NULL,
    since BIGINT,
    seq BIGINT NOT NULL,
    edits BIGINT NOT NULL,
    resign_epoch BIGINT NOT NULL
);
INSERT INTO campanile_leader VALUES(1,1795961182,'b04498ccca766fcdb7d9011b5b71cb82',601153602010322679,'old',1795961182504,11,3,0);
CREATE TABLE campanile_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT COLLATE BINARY NOT NULL UNIQUE
);
INSERT INTO campanile_queue VALUES(1,'default');
INSERT INTO campanile_queue VALUES(2,'later');
CREATE TABLE campanile_task (
    id INTEGER PRIMARY KEY,
    live_name TEXT COLLATE BINARY UNIQUE,
    name TEXT COLLATE BINARY NOT NULL,
    version BIGINT NOT NULL,
    definition TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
, paused_from BIGINT, owner TEXT COLLATE BINARY NOT NULL DEFAULT '');
INSERT INTO campanile_task VALUES(914879970757327509,'often','often',1,'{"name":"often","owner":"finance","schedule":"every 5m","dialect":"auto","timezone":"UTC","anchor":"2026-11-29T14:06:22.676Z","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759116410,'yearly','yearly',1,'{"name":"yearly","owner":"finance","schedule":"0 3 1 1 *","dialect":"auto","timezone":"Europe/Berlin","calendars":"feasts","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759117067,'resting','resting',1,'{"name":"resting","owner":"finance","schedule":"every 2s","dialect":"auto","timezone":"UTC","anchor":"2026-11-29T14:06:22.676Z","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4,"paused":true}',1795961182676,1795961182676,NULL,1795961182676,'finance');
INSERT INTO campanile_task VALUES(914879970759118236,'spoken','spoken',1,'{"name":"spoken","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/echo","said by the old program"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759119661,'failing','failing',1,'{"name":"failing","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/false"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759120721,'second-try','second-try',1,'{"name":"second-try","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/sh","-c","test $CAMPANILE_ATTEMPT -gt 1"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":3,"backoff":"fixed","initial":"5m","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759121849,'killed','killed',1,'{"name":"killed","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/sh","-c","test $CAMPANILE_ATTEMPT -gt 1 || sleep 3000"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","group":"one-at-a-time","timeout":"1h","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759122670,'behind','behind',1,'{"name":"behind","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","group":"one-at-a-time","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759123856,'killed-once','killed-once',1,'{"name":"killed-once","owner":"finance","dialect":"auto","timezone":"UTC","queue":"default","handler":{"command":{"argv":["/bin/sleep","3000"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"1h","start":"at-most-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
INSERT INTO campanile_task VALUES(914879970759124496,'elsewhere','elsewhere',1,'{"name":"elsewhere","owner":"finance","dialect":"auto","timezone":"UTC","queue":"later","handler":{"command":{"argv":["/bin/true"]}},"misfire":"last","misfire_limit":"1m","overlap":"allow","timeout":"5m","start":"at-least-once","retry":{"max_attempts":1,"backoff":"exponential","initial":"1s","max":"5m"},"priority":4}',1795961182676,1795961182676,NULL,NULL,'finance');
CREATE TABLE campanile_due (
    queue INTEGER NOT NULL,
    at BIGINT NOT NULL,
    owner BIGINT NOT NULL,
    n SMALLINT NOT NULL,
    PRIMARY KEY (queue, at, owner, n)
) WITHOUT ROWID;
INSERT INTO campanile_due VALUES(1,1795961482676,914879970757327509,0);
INSERT INTO campanile_due VALUES(1,1795961509415,914879971997802107,1);
INSERT INTO campanile_due VALUES(1,1798768800000,914879970759116410,0);
INSERT INTO campanile_due VALUES(1,4070908800000,914879973615716872,1);
CREATE TABLE campanile_run (
    id INTEGER PRIMARY KEY,
    task BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    ready_at BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    queued_at BIGINT,
    started_at BIGINT,
    worker BIGINT,
    claim BIGINT,
    queue INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    origin SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    cancel_requested SMALLINT NOT NULL,
    error TEXT
, limited SMALLINT NOT NULL DEFAULT 0, deadline_at BIGINT);
INSERT INTO campanile_run VALUES(914879971997802107,914879970759120721,1795961182972,1795961509415,1795961182,NULL,1795961182987,2304300735902262839,NULL,1,2,1,0,2,4,1,0,'exit status 1',0,NULL);
INSERT INTO campanile_run VALUES(914879972346374063,914879970759121849,1795961183055,1795961183055,1795961182,NULL,1795961183078,2304300735902262839,7531290111963131798,1,1,0,0,2,4,3,0,NULL,1,NULL);
INSERT INTO campanile_run VALUES(914879972600360182,914879970759122670,1795961183115,1795961183115,1795961182,NULL,NULL,NULL,NULL,1,1,0,0,2,4,1,0,NULL,1,NULL);
INSERT INTO campanile_run VALUES(914879972788701750,914879970759123856,1795961183160,1795961183160,1795961182,NULL,1795961183172,2304300735902262839,9205652015907730471,1,1,0,0,2,4,3,0,NULL,0,NULL);
INSERT INTO campanile_run VALUES(914879973157523978,914879970759124496,1795961183248,1795961183248,1795961182,NULL,NULL,NULL,NULL,2,1,0,0,2,4,1,0,NULL,0,NULL);
INSERT INTO campanile_run VALUES(914879973615716872,914879970759118236,4070908800000,4070908800000,0,NULL,NULL,NULL,NULL,1,1,0,0,2,4,1,0,NULL,0,NULL);
CREATE TABLE campanile_run_history (
    id INTEGER PRIMARY KEY,
    task BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    ready_at BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    queued_at BIGINT,
    started_at BIGINT,
    worker BIGINT,
    claim BIGINT,
    finished_at BIGINT NOT NULL,
    skipped_last BIGINT,
    skipped_count BIGINT,
    -- 0 for an occurrence of a schedule, else the run's own id: one answer for each (task, instant).
    dedup BIGINT NOT NULL,
    queue INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    origin SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    reason SMALLINT NOT NULL,
    cancel_requested SMALLINT NOT NULL,
    error TEXT
);
INSERT INTO campanile_run_history VALUES(914879971241464058,914879970759118236,1795961182791,1795961182791,1795961182,NULL,1795961182826,2304300735902262839,5830824706873950747,1795961182851,NULL,NULL,914879971241464058,1,1,0,0,2,4,4,0,0,NULL);
INSERT INTO campanile_run_history VALUES(914879971594208039,914879970759119661,1795961182875,1795961182875,1795961182,NULL,1795961182893,2304300735902262839,6003174321976370217,1795961182921,NULL,NULL,914879971594208039,1,1,1,0,2,4,5,1,0,'exit status 1');
CREATE TABLE campanile_run_spec (
    run INTEGER PRIMARY KEY,
    handler TEXT,
    payload TEXT
, rules TEXT);
CREATE TABLE campanile_run_attempt (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    worker BIGINT,
    started_at BIGINT,
    finished_at BIGINT NOT NULL,
    reason SMALLINT NOT NULL,
    error TEXT, class TEXT,
    PRIMARY KEY (run, attempt)
) WITHOUT ROWID;
INSERT INTO campanile_run_attempt VALUES(914879971594208039,1,2304300735902262839,1795961182893,1795961182921,1,'exit status 1','exit:1');
INSERT INTO campanile_run_attempt VALUES(914879971997802107,1,2304300735902262839,1795961182987,1795961183024,1,'exit status 1','exit:1');
CREATE TABLE campanile_run_log (
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    text TEXT NOT NULL, result TEXT, percent INTEGER, progress TEXT, progress_at BIGINT,
    PRIMARY KEY (run, attempt)
);
INSERT INTO campanile_run_log VALUES(914879971241464058,1,replace('said by the old program\n','\n',char(10)),NULL,NULL,NULL,NULL);
CREATE TABLE campanile_submission (
    idempotency_key TEXT COLLATE BINARY PRIMARY KEY,
    run BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE TABLE campanile_outbox (
    id INTEGER PRIMARY KEY,
    at BIGINT NOT NULL,
    runs BLOB NOT NULL
);
INSERT INTO campanile_outbox VALUES(914879971288501523,1795961182810,X'faa1de8fc9cf93d90c01');
INSERT INTO campanile_outbox VALUES(914879971646415765,1795961182890,X'a786f8b7cacf93d90c01');
INSERT INTO campanile_outbox VALUES(914879972037968441,1795961182985,X'fbbcb1f8cbcf93d90c01');
INSERT INTO campanile_outbox VALUES(914879972414808054,1795961183074,X'afcfcc9ecdcf93d90c01');
INSERT INTO campanile_outbox VALUES(914879972819521884,1795961183170,X'b694c2f1cecf93d90c01');
INSERT INTO campanile_outbox VALUES(914879973205643455,1795961183263,X'8aa4b1a1d0cf93d90c01');
CREATE TABLE campanile_node (
    id INTEGER PRIMARY KEY,
    name TEXT COLLATE BINARY NOT NULL,
    roles TEXT NOT NULL,
    queues TEXT NOT NULL,
    slots BIGINT NOT NULL,
    busy BIGINT NOT NULL,
    lease_ms BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    heartbeat_seq BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    version TEXT NOT NULL
, abilities TEXT);
INSERT INTO campanile_node VALUES(2304300735902262839,'old','["scheduler","worker","api"]','["default"]',64,0,10000,1795961182450,0,1795961182451,'0.1.0','{"native":[],"http":true,"commands":["/bin/echo","/bin/false","/bin/sh","/bin/sleep","/bin/true"],"partial":false,"refuses":[],"lane":"b20ce79fae49e28e"}');
CREATE TABLE campanile_setting (
    name TEXT COLLATE BINARY PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO campanile_setting VALUES('secret','0316e6b52605e5f59db977b2947473fa8dc6c78a5fcbf654ce33da2302219b74');
INSERT INTO campanile_setting VALUES('zone_rules','2025b b5da40b5');
CREATE TABLE campanile_store_lock (
    name TEXT COLLATE BINARY PRIMARY KEY,
    holder TEXT COLLATE BINARY NOT NULL,
    expires_at BIGINT NOT NULL
);
INSERT INTO campanile_store_lock VALUES('campanile','ce8c6677246b90ca8b3274c8240465fa',1795961187501);
CREATE TABLE campanile_permit (
    limit_key TEXT COLLATE BINARY NOT NULL,
    n INTEGER NOT NULL,
    run BIGINT NOT NULL,
    PRIMARY KEY (limit_key, n)
) WITHOUT ROWID;
INSERT INTO campanile_permit VALUES('group:one-at-a-time',0,914879972346374063);
CREATE TABLE IF NOT EXISTS "campanile_blocked" (
    limit_key TEXT COLLATE BINARY NOT NULL,
    place SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    run BIGINT NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (limit_key, place, at, run)
) WITHOUT ROWID;
INSERT INTO campanile_blocked VALUES('group:one-at-a-time',5,1795961183115,914879972600360182,1);
CREATE TABLE campanile_concurrency_limit (
    limit_key TEXT COLLATE BINARY PRIMARY KEY,
    max_running INTEGER NOT NULL
);
INSERT INTO campanile_concurrency_limit VALUES('group:one-at-a-time',1);
CREATE TABLE campanile_calendar (
    name TEXT COLLATE BINARY PRIMARY KEY,
    version BIGINT NOT NULL,
    definition TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO campanile_calendar VALUES('feasts',1,'{"name":"feasts","dates":["2026-12-24","2026-12-25","2026-12-26"]}',1795961182676);
CREATE TABLE campanile_run_key (
    idempotency_key TEXT COLLATE BINARY NOT NULL,
    scope TEXT COLLATE BINARY NOT NULL,
    run BIGINT NOT NULL,
    digest TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (idempotency_key, scope)
) WITHOUT ROWID;
INSERT INTO campanile_run_key VALUES('in-2099','task:914879970759118236',914879973615716872,'927923cc2e1024bd6471196fac7a2244adb0495d12394ab346d5437ceee6cf22',1795961183361);
CREATE TABLE campanile_quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 0 for what has none.
    task BIGINT NOT NULL,
    run BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    at BIGINT NOT NULL,
    -- How an attempt ended, and under which claim. Without a state it waits for its start.
    claim BIGINT,
    state SMALLINT,
    reason SMALLINT,
    ended_at BIGINT,
    ready_at BIGINT,
    what TEXT NOT NULL,
    error TEXT NOT NULL
);
CREATE TABLE campanile_deletion (
    task INTEGER PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE TABLE campanile_answered (
    task BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (task, at)
);
CREATE TABLE campanile_inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL
);
INSERT INTO campanile_inbox VALUES(1,'{"task": "spoken", "idempotency_key": "from-inbox"}');
CREATE TABLE campanile_inbox_settled (
    id INTEGER PRIMARY KEY,
    at BIGINT NOT NULL,
    became SMALLINT NOT NULL,
    run BIGINT,
    message TEXT
);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('campanile_queue',2);
INSERT INTO sqlite_sequence VALUES('campanile_inbox',1);
CREATE UNIQUE INDEX campanile_due_task ON campanile_due (owner) WHERE n = 0;
CREATE UNIQUE INDEX campanile_run_history_occurrence ON campanile_run_history (task, due_at, dedup);
CREATE INDEX campanile_run_history_state ON campanile_run_history (state, id) WHERE state <> 4;
CREATE INDEX campanile_submission_run ON campanile_submission (run);
CREATE INDEX campanile_permit_run ON campanile_permit (run);
CREATE INDEX campanile_task_former ON campanile_task (name, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX campanile_run_key_run ON campanile_run_key (run);
CREATE UNIQUE INDEX campanile_quarantine_run ON campanile_quarantine (run) WHERE run <> 0;
CREATE INDEX campanile_task_owner ON campanile_task (owner, live_name) WHERE live_name IS NOT NULL;
CREATE INDEX campanile_blocked_run ON campanile_blocked (run);
COMMIT;
