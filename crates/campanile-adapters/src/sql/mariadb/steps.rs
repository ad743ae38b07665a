//! Statements that no rule gives: what another database says in one, MariaDB is told in several, or in another way. The
//! names are those of the statements that they stand for. Decisions that rest on a row that somebody else may change are
//! writes of that row here, never locks alone: on a cluster of servers (Galera) a lock is known to one of them.

/// The clock of a statement: read once, unlike `@now`, and never later than it.
macro_rules! at_once {
    () => {
        "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
    };
}
/// Waiting runs that a claim names, found by the primary key.
macro_rules! claimed {
    () => {
        "@runs(lo int, hi int, a int) AS v STRAIGHT_JOIN campanile_run AS run FORCE INDEX (PRIMARY)
         ON run.id BETWEEN v.lo AND v.hi AND run.attempt = v.a"
    };
}

/// The node's row is written, so that an eviction and a hold come before the claim or after it; then the runs; then it says
/// what it has.
pub(in crate::sql) const CLAIM: &[&str] = &[
    "UPDATE campanile_node SET claims = claims + 1 WHERE id = :node AND held = 0",
    concat!(
        "UPDATE ",
        claimed!(),
        " SET run.state = 3, run.claim = :claim, run.worker = :node, run.started_at = ",
        at_once!(),
        " WHERE run.ready_at <= ",
        at_once!(),
        " AND ((run.state IN (1, 2) AND (run.deadline_at IS NULL
         OR (run.attempt > 1 AND run.started_at IS NOT NULL) OR run.deadline_at > ",
        at_once!(),
        ")) OR (run.state = 3 AND run.claim = :claim))
         AND (run.limited = 0 OR NOT EXISTS (SELECT 1 FROM campanile_blocked AS blocked WHERE blocked.run = run.id))"
    ),
    concat!(
        "SELECT run.id, run.attempt, NULLIF(run.task, 0),
         CASE WHEN :versions = 1 THEN (SELECT t.version FROM campanile_task AS t WHERE t.id = run.task AND t.live_name IS NOT NULL) END,
         run.origin, run.due_at, run.started_at, NULLIF(run.failures, 0), NULLIF(run.losses, 0), NULLIF(run.limited, 0),
         CASE WHEN run.own = 0 THEN NULL ELSE 1 END FROM ",
        claimed!(),
        " WHERE run.state = 3 AND run.claim = :claim"
    ),
];

/// A second one waits for the first, which takes the first rows, and then takes those behind.
pub(in crate::sql) const HAND_ON: &[&str] = &[
    "DELETE FROM campanile_blocked WHERE limit_key = :key ORDER BY place, at, run LIMIT :most RETURNING queue, at, run",
];

/// The permits are written, so that none is given back meanwhile.
pub(in crate::sql) const HOLD_PERMITS: &[&str] = &[
    "UPDATE @rows(k text, p int) AS v STRAIGHT_JOIN campanile_permit AS permit ON permit.limit_key = v.k AND permit.n = v.p
     SET permit.seen = permit.seen + 1",
    "SELECT 1 FROM @rows(k text, p int) AS v STRAIGHT_JOIN campanile_permit AS permit ON permit.limit_key = v.k AND permit.n = v.p",
];

/// One that is taken already makes all of it fail, and none is taken.
pub(in crate::sql) const TAKE_PERMITS: &[&str] = &[
    "INSERT INTO campanile_permit (limit_key, n, run) SELECT k, p, r FROM @rows(k text, p int, r int) AS v",
];

/// The head is written, then read as it is now.
pub(in crate::sql) const NEXT_LINE: &[&str] = &[
    "UPDATE campanile_audit_head SET seq = seq + 1, at = GREATEST(at, @now) WHERE id = 1",
    "SELECT seq, at, hash FROM campanile_audit_head WHERE id = 1",
];

/// One that lets nobody in any more goes; one that does makes this fail.
pub(in crate::sql) const PUT_TOKEN: &[&str] = &[
    "DELETE FROM campanile_token WHERE name = :name AND (revoked_at IS NOT NULL OR expires_at <= :at)",
    "INSERT INTO campanile_token (name, digest, role, data, scope, created_at, created_by, expires_at)
     VALUES (:name, :digest, :role, :data, :scope, :created_at, :created_by, NULLIF(:expires_at, 0))",
];

/// The leader row is written: a hold is set before it or waits for it.
pub(in crate::sql) const JOIN: &[&str] = &[
    "UPDATE campanile_leader SET seq = seq + 1 WHERE id = 1",
    "INSERT INTO campanile_node (id, name, roles, queues, slots, busy, lease_ms, started_at, heartbeat_seq, heartbeat_at, version, abilities, held)
     VALUES (:id, :name, :roles, :queues, :slots, :busy, :lease, :started, :seq, @now, :version, NULLIF(:abilities, ''),
     (SELECT CASE hold_cause WHEN 0 THEN 0 ELSE 1 END FROM campanile_leader WHERE id = 1))
     ON DUPLICATE KEY UPDATE held = VALUES(held), heartbeat_at = VALUES(heartbeat_at), heartbeat_seq = campanile_node.heartbeat_seq + 1",
];

/// A row of the same key serves as well; one that stands in the way by another key is an error: its owner can't be nothing.
pub(in crate::sql) const PUT_DUE: &[&str] = &[
    "INSERT INTO campanile_due (queue, at, owner, n) SELECT q, t, o, k FROM @rows(q int, t int, o int, k int) AS v
     ON DUPLICATE KEY UPDATE campanile_due.owner = IF(campanile_due.queue = VALUES(queue) AND campanile_due.at = VALUES(at)
     AND campanile_due.n = VALUES(n), campanile_due.owner, NULL)",
];

/// Of each task the rows that were made last: those above the one behind them.
pub(in crate::sql) const LAST_SUCCESSES: &[&str] = &[
    "SELECT v.i, (SELECT MAX(h.finished_at) FROM campanile_run_history AS h WHERE h.task = v.i AND h.state = 4
     AND h.id > COALESCE((SELECT behind.id FROM campanile_run_history AS behind WHERE behind.task = v.i
     ORDER BY behind.task DESC, behind.id DESC LIMIT 1 OFFSET :look), -1)) FROM @ids(i int) AS v",
];

/// There is no limit on a list that another statement asks for.
pub(in crate::sql) const DROP_MORE_SESSIONS: &[&str] = &[
    "DELETE s FROM (SELECT digest FROM campanile_session WHERE kind = :kind AND subject = :subject
     ORDER BY seen_at DESC, digest DESC LIMIT 1000000 OFFSET :keep) AS old
     STRAIGHT_JOIN campanile_session AS s ON s.digest = old.digest",
];

/// The same.
pub(in crate::sql) const FORGET_SETTLED: &[&str] =
    &["DELETE FROM campanile_inbox_settled WHERE at < :before ORDER BY id LIMIT :limit"];

/// The same.
pub(in crate::sql) const FORGET_DELETIONS: &[&str] =
    &["DELETE FROM campanile_deletion WHERE at <= :before ORDER BY task LIMIT :limit"];

/// Whose name is taken makes it fail.
pub(in crate::sql) const ADD_USER: &[&str] = &[
    "INSERT INTO campanile_user (name, password, role, data, scope, disabled, created_at, password_at, version)
     VALUES (:name, :password, :role, :data, :scope, :disabled, :created_at, :password_at, 1)",
];

/// Both columns by the same condition, whichever is set first.
pub(in crate::sql) const ACQUIRE_LOCK: &[&str] = &[
    "INSERT INTO campanile_store_lock (name, holder, expires_at) VALUES (:name, :holder, @now + :ttl)
     ON DUPLICATE KEY UPDATE
     holder = IF(campanile_store_lock.holder = VALUES(holder) OR campanile_store_lock.expires_at <= @now, VALUES(holder), campanile_store_lock.holder),
     expires_at = IF(campanile_store_lock.holder = VALUES(holder) OR campanile_store_lock.expires_at <= @now, VALUES(expires_at), campanile_store_lock.expires_at)",
];

/// What rows ask for: text of our character set, whatever the stranger's was.
pub(in crate::sql) const OPEN_INBOX: &[&str] = &[
    "SELECT id, request FROM campanile_inbox WHERE id IN (SELECT id FROM @ids(id int) AS v) ORDER BY id",
];

/// In the order of their places, so that a second taker waits for the first, and then takes those behind.
pub(in crate::sql) const TAKE_OFFERS: &[&str] = &[
    "UPDATE campanile_offer SET held_until = @now + :hold, taken = taken + 1, taker = :taker
     WHERE destination = :d AND (held_until <= @now OR held_until > @now + :hold) ORDER BY place LIMIT :most",
    "SELECT place, held_until, taken, body, signature FROM campanile_offer WHERE destination = :d AND taker = :taker",
];
