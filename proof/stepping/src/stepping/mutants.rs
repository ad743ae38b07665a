//! Statements with one guard taken away, put in the place of the store's own by the turnstile: what the stepping must
//! notice. A mutant that nothing can notice is in the list with its reason in `docs/contribute/interleavings.md`, and the
//! test asserts that it survives.

mod maria;

pub(super) use maria::ALL as ON_MARIADB;

/// A guard that is taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// Only statements with this in them.
    of: &'static str,
    find: &'static str,
    put: &'static str,
    /// The scene in which it must be noticed.
    pub(super) scene: &'static str,
    /// On which databases it is.
    pub(super) killed_on: &'static [&'static str],
}

/// The others are sent to MariaDB in another text: see [`maria`].
const BOTH: &[&str] = &["SQLite", "PostgreSQL"];
const EACH: &[&str] = &["SQLite", "PostgreSQL", "MariaDB"];
const POSTGRES: &[&str] = &["PostgreSQL"];

impl Mutant {
    /// The weakened statement, if it is this mutant's.
    pub(super) fn rewrite(&self, sql: &str) -> Option<String> {
        (sql.contains(self.of) && sql.contains(self.find)).then(|| sql.replace(self.find, self.put))
    }
}

const fn mutant(
    name: &'static str,
    of: &'static str,
    [find, put]: [&'static str; 2],
    scene: &'static str,
    killed_on: &'static [&'static str],
) -> Mutant {
    Mutant {
        name,
        of,
        find,
        put,
        scene,
        killed_on,
    }
}

const OF_ATTEMPT: &str =
    "run.id = e.id AND (e.attempt IS NULL OR run.attempt = e.attempt)\n         AND ";
const OF_ATTEMPT_AND_CLAIM: &str = "run.id = e.id AND (e.attempt IS NULL OR run.attempt = e.attempt)\n         AND ((e.claim IS NULL AND run.state IN (1, 2)) OR (run.state = 3 AND run.claim = e.claim))";

const PLAIN_ATTEMPT_AND_CLAIM: &str = "AND run.attempt = e.a AND run.state = 3 AND run.claim = e.c";

/// A conjunct `column = :parameter` is made true by asking the same of a constant: the parameter keeps its place.
pub(super) const ALL: &[Mutant] = &[
    mutant(
        "a term begins whatever epoch was read",
        "SET epoch = ",
        ["AND epoch = ", "AND 0 <= "],
        "begin, begin",
        EACH,
    ),
    mutant(
        "the fence without the epoch and the holder",
        "UPDATE campanile_leader SET seq = seq + 1, edits = edits + ",
        ["WHERE id = 1 AND epoch = ", "WHERE id = 1 OR 0 = "],
        "mark, begin",
        EACH,
    ),
    mutant(
        "a firing without the edit counter",
        "UPDATE campanile_leader SET seq = seq + 1, edits = edits + ",
        ["IN (edits, -1)", ">= -1"],
        "fire, pause",
        EACH,
    ),
    mutant(
        "a firing consumes the task's due row wherever it stands",
        "DELETE FROM campanile_due",
        ["due.at = v.t AND due.owner BETWEEN", "due.owner BETWEEN"],
        "fire, fire of one occurrence",
        BOTH,
    ),
    mutant(
        "a firing of a timer that was put again for the next attempt",
        "UPDATE campanile_run AS run SET epoch = ",
        [" AND run.attempt = v.a", ""],
        "fire of a timer, claim and give-back at its instant",
        BOTH,
    ),
    mutant(
        "a plain end without the attempt and the claim",
        "run.limited = 0",
        [PLAIN_ATTEMPT_AND_CLAIM, "AND run.state = 3"],
        "requeue and claim again, plain end of the first claim",
        EACH,
    ),
    mutant(
        "a plain end without the claim; the attempt says the same",
        "run.limited = 0",
        [PLAIN_ATTEMPT_AND_CLAIM, "AND run.attempt = e.a AND run.state = 3"],
        "requeue and claim again, plain end of the first claim",
        &[],
    ),
    mutant(
        "a plain end that keeps its permits",
        PLAIN_ATTEMPT_AND_CLAIM,
        [" AND run.limited = 0", ""],
        "plain end of a holder, fire that blocks",
        EACH,
    ),
    mutant(
        "rows that are taken out stay in the inbox",
        "DELETE FROM campanile_inbox WHERE",
        [
            "DELETE FROM campanile_inbox WHERE",
            "UPDATE campanile_inbox SET request = request WHERE",
        ],
        "drain, drain",
        BOTH,
    ),
    mutant(
        "a rest that takes nothing back",
        "DELETE FROM campanile_run WHERE id IN (SELECT r FROM",
        [
            "AND attempt = 1 RETURNING id",
            "AND attempt = 0 RETURNING id",
        ],
        "rest, fire of what is next",
        BOTH,
    ),
    mutant(
        "a claim of a run that runs",
        "UPDATE campanile_run AS run SET state = 3",
        ["run.state IN (1, 2) AND", "run.state IN (1, 2, 3) AND"],
        "claim, claim",
        BOTH,
    ),
    mutant(
        "a claim of another attempt",
        "UPDATE campanile_run AS run SET state = 3",
        ["run.attempt = v.a", "v.a = v.a"],
        "claim of an old message, give-back",
        BOTH,
    ),
    mutant(
        "a claim by a node that is evicted",
        "UPDATE campanile_run AS run SET state = 3",
        ["AS node WHERE node.id = ", "AS node WHERE 0 <> "],
        "claim, evict",
        BOTH,
    ),
    mutant(
        "a claim while the cluster is held",
        "UPDATE campanile_run AS run SET state = 3",
        ["AND node.held = 0", ""],
        "hold, claim",
        BOTH,
    ),
    mutant(
        "a hold that waits for no claim",
        "SELECT id FROM campanile_node AS node ORDER BY id",
        ["FOR UPDATE", ""],
        "hold, claim",
        &[],
    ),
    mutant(
        "a member that joins beside a hold",
        "INSERT INTO campanile_node",
        ["FOR SHARE", ""],
        "hold, join and claim",
        POSTGRES,
    ),
    mutant(
        "another hold is ended",
        "hold_until <= ",
        ["AND hold_until = ", "AND 0 <> "],
        "end of a hold, another hold",
        EACH,
    ),
    mutant(
        "a mark over a claim",
        "UPDATE campanile_run AS run SET state = 2",
        ["AND run.state = 1", ""],
        "claim, mark",
        BOTH,
    ),
    mutant(
        "an end without the claim",
        "INSERT INTO campanile_run_history",
        [
            "(run.state = 3 AND run.claim = e.claim)",
            "(run.state = 3 AND e.claim IS NOT NULL)",
        ],
        "finish and claim again, finish of the first claim",
        &[],
    ),
    mutant(
        "an end without the attempt",
        "INSERT INTO campanile_run_history",
        [OF_ATTEMPT, "run.id = e.id\n         AND "],
        "finish and claim again, finish of the first claim",
        &[],
    ),
    mutant(
        "an end without the attempt and the claim",
        "INSERT INTO campanile_run_history",
        [
            OF_ATTEMPT_AND_CLAIM,
            "run.id = e.id\n         AND ((e.claim IS NULL AND run.state IN (1, 2)) OR (run.state = 3 AND e.claim IS NOT NULL))",
        ],
        "finish and claim again, finish of the first claim",
        BOTH,
    ),
    mutant(
        "output of an attempt that is not held",
        "INSERT INTO campanile_run_chunk AS chunk",
        [
            " AND run.attempt = v.a AND run.state = 3 AND run.claim = v.c",
            "",
        ],
        "lost and append, begin",
        BOTH,
    ),
    mutant(
        "an end of a run that does not run",
        "INSERT INTO campanile_run_history",
        ["run.state = 3 AND ", ""],
        "requeue, finish",
        &[],
    ),
    mutant(
        "an end without a claim of a run that runs",
        "INSERT INTO campanile_run_history",
        [
            "e.claim IS NULL AND run.state IN (1, 2)",
            "e.claim IS NULL AND run.state IN (1, 2, 3)",
        ],
        "orphans, claim",
        BOTH,
    ),
    mutant(
        "a abandonment sets another's run aside",
        "UPDATE campanile_run SET state = 8",
        [
            "state IN (1, 2)) OR (state = 3",
            "state IN (1, 2, 3)) OR (state = 3",
        ],
        "claim, set aside of another's abandonment",
        BOTH,
    ),
    mutant(
        "a run that waits is not set aside with its abandonment",
        "UPDATE campanile_run SET state = 8",
        [
            "state IN (1, 2)) OR (state = 3",
            "state IN (9)) OR (state = 3",
        ],
        "claim, set aside of its abandonment",
        EACH,
    ),
    mutant(
        "whoever waits is let go with the blocked",
        "FROM campanile_blocked",
        ["WHERE limit_key = ", "WHERE '' <> "],
        "unblock, cancel",
        EACH,
    ),
    mutant(
        "the sweep lets the blocked go",
        "UNION SELECT limit_key FROM campanile_blocked AS blocked",
        ["AND blocked.limit_key NOT LIKE 'needs:%'", ""],
        "unblock, sweep",
        EACH,
    ),
    mutant(
        "a permit that is taken goes to the next",
        "INSERT INTO campanile_permit",
        ["DO NOTHING", "DO UPDATE SET run = excluded.run"],
        "fire, fire of one permit",
        BOTH,
    ),
    mutant(
        "a key that is taken goes to the next",
        "INSERT INTO campanile_run_key",
        ["DO NOTHING", "DO UPDATE SET run = excluded.run"],
        "submit, submit of one key",
        // Where one writes after the other, the second sees the first one's key before it keeps its own.
        POSTGRES,
    ),
    mutant(
        "a run is moved that runs",
        "UPDATE campanile_run SET due_at = ",
        ["AND state = 1", "AND state > 0"],
        "move, claim",
        EACH,
    ),
    mutant(
        "a run is moved from where it does not stand",
        "UPDATE campanile_run SET due_at = ",
        ["AND ready_at = ", "AND 0 <> "],
        "move, move",
        EACH,
    ),
    mutant(
        "a run is moved after its firing",
        "UPDATE campanile_run SET due_at = ",
        ["AND epoch = 0", "AND epoch >= 0"],
        "move, fire of its timer",
        &[],
    ),
    mutant(
        "an end takes its task's chain from whoever holds it",
        "UPDATE campanile_chain SET run = NULL",
        ["WHERE (task, run) IN (SELECT t, r ", "WHERE task IN (SELECT t "],
        "end of a run of before, fire of its chain",
        BOTH,
    ),
    mutant(
        "an end keeps its chain",
        "UPDATE campanile_chain SET run = NULL",
        ["SET run = NULL", "SET run = run"],
        "end of a chain, its loss",
        BOTH,
    ),
    mutant(
        "an end puts no next due row",
        "INSERT INTO campanile_due (queue, at, owner, n) SELECT q, t, o, 0",
        ["WHERE true", "WHERE false"],
        "end of a chain, its loss",
        EACH,
    ),
    mutant(
        "an edit puts a due row beside the run",
        "INSERT INTO campanile_chain",
        ["RETURNING task, run", "RETURNING task, NULLIF(run, run)"],
        "change of a chain's delay and its end, begin",
        EACH,
    ),
    mutant(
        "an edit takes the chain from its run",
        "INSERT INTO campanile_chain",
        ["rests = excluded.rests", "rests = excluded.rests, run = NULL"],
        "change of a chain's delay and its end, begin",
        BOTH,
    ),
    mutant(
        "an edit leaves the chain of another schedule",
        "DELETE FROM campanile_chain",
        ["WHERE task IN", "WHERE 0 = 1 AND task IN"],
        "end of a chain, change to an interval",
        POSTGRES,
    ),
    mutant(
        "permits that make a key full are not locked",
        "SELECT 1 FROM campanile_permit",
        ["FOR KEY SHARE", ""],
        "end, fire that blocks",
        POSTGRES,
    ),
    mutant(
        "a run that is put back is not locked first",
        "SELECT v.i, run.queue, run.limited",
        ["FOR UPDATE OF run", ""],
        "requeue, finish",
        POSTGRES,
    ),
    mutant(
        "the claimer's row is not locked",
        "UPDATE campanile_run AS run SET state = 3",
        ["FOR KEY SHARE", ""],
        "claim, claim, evict and begin",
        &[],
    ),
    mutant(
        "two that hand on wait for each other",
        "WITH next_ones",
        ["FOR UPDATE SKIP LOCKED", "FOR UPDATE"],
        "two ends that hand on",
        &[],
    ),
    mutant(
        "the next that wait are looked for more than once",
        "FOR UPDATE SKIP LOCKED",
        [
            "IN (SELECT limit_key, place, at, run FROM next_ones)",
            "IN (SELECT limit_key, place, at, run FROM campanile_blocked WHERE limit_key = $1 ORDER BY place, at, run LIMIT $2
             FOR UPDATE SKIP LOCKED)",
        ],
        "end, cancel of who is next",
        POSTGRES,
    ),
];
