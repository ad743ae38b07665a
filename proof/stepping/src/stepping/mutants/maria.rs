//! Guards taken away from statements that only MariaDB is sent. Most others stand in the list that all databases share; a
//! statement of another text is another mutant.

use super::{Mutant, mutant};

const MARIADB: &[&str] = &["MariaDB"];

const END: &str = "AS e STRAIGHT_JOIN campanile_run AS run ON run.id = e.id";
const OF_END: &str = "(e.attempt IS NULL OR run.attempt = e.attempt)\n         AND ((e.claim IS NULL AND run.state IN (1, 2)) OR (run.state = 3 AND run.claim = e.claim))";

/// Each step of a statement is weakened alike.
pub(in super::super) const ALL: &[Mutant] = &[
    mutant(
        "a claim of a run that runs (steps)",
        "SET run.state = 3",
        ["run.state IN (1, 2) AND", "run.state IN (1, 2, 3) AND"],
        "claim, claim",
        MARIADB,
    ),
    mutant(
        "a claim of another attempt (steps)",
        "campanile_run AS run FORCE INDEX (PRIMARY)",
        ["run.attempt = v.a", "v.a = v.a"],
        "claim of an old message, give-back",
        MARIADB,
    ),
    mutant(
        "a claim by a node that is evicted (steps)",
        "SET claims = claims + 1",
        ["WHERE id = ?", "WHERE 0 <> ?"],
        "claim, evict",
        MARIADB,
    ),
    mutant(
        "a claim while the cluster is held (steps)",
        "SET claims = claims + 1",
        [" AND held = 0", ""],
        "hold, claim",
        MARIADB,
    ),
    mutant(
        "a member that joins beside a hold (steps)",
        "UPDATE campanile_leader SET seq = seq + 1 WHERE id = 1",
        [
            "campanile_leader SET seq = seq + 1",
            "campanile_audit_head SET seq = seq + 0",
        ],
        "hold, join and claim",
        // What the insert asks of the leader row keeps it there too, on one server.
        &[],
    ),
    mutant(
        "a mark over a claim (joined)",
        "SET state = 2",
        [" AND run.state = 1 SET", " SET"],
        "claim, mark",
        MARIADB,
    ),
    mutant(
        "a firing of a timer that was put again for the next attempt (joined)",
        "SET epoch = ",
        [" AND run.attempt = v.a", ""],
        "fire of a timer, claim and give-back at its instant",
        MARIADB,
    ),
    mutant(
        "an end without the attempt and the claim (steps)",
        END,
        [
            OF_END,
            "((e.claim IS NULL AND run.state IN (1, 2)) OR (run.state = 3 AND e.claim IS NOT NULL))",
        ],
        "finish and claim again, finish of the first claim",
        MARIADB,
    ),
    mutant(
        "an end without a claim of a run that runs (steps)",
        END,
        [
            "e.claim IS NULL AND run.state IN (1, 2)",
            "e.claim IS NULL AND run.state IN (1, 2, 3)",
        ],
        "orphans, claim",
        MARIADB,
    ),
    mutant(
        "a rest that takes nothing back (joined)",
        "STRAIGHT_JOIN campanile_run ON campanile_run.id = v.r",
        ["AND attempt = 1", "AND attempt = 0"],
        "rest, fire of what is next",
        MARIADB,
    ),
    mutant(
        "a abandonment sets another's run aside (steps)",
        "campanile_run",
        [
            "state IN (1, 2)) OR (state = 3",
            "state IN (1, 2, 3)) OR (state = 3",
        ],
        "claim, set aside of another's abandonment",
        MARIADB,
    ),
    mutant(
        "a permit that is taken goes to the next (its own insert)",
        "INSERT INTO campanile_permit",
        ["INSERT INTO", "REPLACE INTO"],
        "fire, fire of one permit",
        // The count says that it was taken.
        &[],
    ),
    mutant(
        "a key that is taken goes to the next (duplicate key)",
        "INSERT INTO campanile_run_key",
        [
            "campanile_run_key.idempotency_key = campanile_run_key.idempotency_key",
            "campanile_run_key.run = VALUES(run)",
        ],
        "submit, submit of one key",
        MARIADB,
    ),
    mutant(
        "an end takes its task's chain from whoever holds it (joined)",
        "STRAIGHT_JOIN campanile_chain",
        [" AND campanile_chain.run = v.r", ""],
        "end of a run of before, fire of its chain",
        MARIADB,
    ),
    mutant(
        "a run that is put back is not locked first (steps)",
        "SELECT v.i, run.queue, run.limited",
        ["FOR UPDATE", ""],
        "requeue, finish",
        MARIADB,
    ),
];
