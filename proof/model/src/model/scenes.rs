//! The scenes that are checked: small ones in every test run, deep ones on request. Owns bounds and what each scene must
//! reach; a scene that no longer reaches it has become too small to say anything.

use std::time::Duration;

use serde_json::json;

use super::bounds::{Bounds, Left, occurrence};
use super::properties as p;

/// A scene: its bounds, and the things that must be possible in it.
pub struct Named {
    pub name: &'static str,
    pub bounds: Bounds,
    pub reaches: &'static [&'static str],
}

/// No faults.
pub const NONE: Left = Left {
    expiries: 0,
    stops: 0,
    losses: 0,
    duplicates: 0,
    crashes: 0,
    zombies: 0,
    leaves: 0,
    failures: 0,
    refusals: 0,
    cancels: 0,
    edits: 0,
    deletes: 0,
    pauses: 0,
    pause_ends: 0,
    holds: 0,
    doubts: 0,
    unanswered_ends: 0,
    unanswered_claims: 0,
    late_claims: 0,
};

/// These faults and no others.
macro_rules! left {
    ($($kind:ident: $times:literal),*) => {
        $crate::model::bounds::Left { $($kind: $times,)* ..$crate::model::scenes::NONE }
    };
}
pub(super) use left;

pub const fn named(name: &'static str, bounds: Bounds, reaches: &'static [&'static str]) -> Named {
    Named {
        name,
        bounds,
        reaches,
    }
}

/// One leader that nothing happens to: what goes wrong goes wrong among broker and workers.
pub fn steady(left: Left) -> Bounds {
    Bounds {
        schedulers: 1,
        terms: 1,
        left,
        ..Bounds::default()
    }
}

/// Two nodes that may lead, one after the other.
pub fn change(left: Left) -> Bounds {
    Bounds {
        left,
        ..Bounds::default()
    }
}

/// Occurrences of a task with this overlap policy, and a worker that could run two at once.
fn exclusive(policy: &str, occurrences: u8, bounds: Bounds) -> Bounds {
    Bounds {
        slots: 2,
        occurrences: u32::from(occurrences),
        last_tick: occurrences,
        task: json!({"overlap": policy}),
        ..bounds
    }
}

fn of_leaders() -> Vec<Named> {
    let elections = Bounds {
        led: false,
        ..change(left!(expiries: 2, stops: 1))
    };
    let late = Bounds {
        first_tick: 2,
        ..exclusive("skip", 2, change(left!(expiries: 1)))
    };
    let zones = Bounds {
        zones: true,
        first_tick: 0,
        last_tick: 0,
        ..change(left!(expiries: 2, stops: 1))
    };
    vec![
        named(
            "zone rules",
            zones,
            &[p::FENCED, p::MOVE_TAKEN_OVER, p::ZONES_MOVED],
        ),
        named(
            "elections",
            elections,
            &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        ),
        named(
            "change",
            change(left!(expiries: 2, losses: 1, stops: 1)),
            &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        ),
        named(
            "crash and change",
            change(left!(expiries: 1, crashes: 1)),
            &[p::ALL_DONE, p::FENCED, p::RECOVERED, p::LATE_REAPER],
        ),
        named(
            "doubt",
            change(left!(expiries: 1, doubts: 1, edits: 1)),
            &[p::ALL_DONE, p::EDITED, p::INHERITED],
        ),
        named(
            "exclusive and change",
            late,
            &[p::ALL_DONE, p::FENCED, p::REFUSED],
        ),
    ]
}

/// Two workers, who begin in the same state.
fn two(left: Left) -> Bounds {
    Bounds {
        workers: 2,
        ..steady(left)
    }
}

/// Workers that come, go, die, and are cut off; and pauses.
fn of_workers() -> Vec<Named> {
    let early = Bounds {
        first_tick: 0,
        ..steady(left!(losses: 1, duplicates: 1))
    };
    let paused = |bounds| Bounds {
        first_tick: 0,
        ..bounds
    };
    vec![
        named(
            "pause",
            paused(steady(left!(pauses: 1, duplicates: 1))),
            &[p::ALL_DONE, p::TAKEN_BACK, p::RESUMED, p::EDITED],
        ),
        named(
            "pause and change",
            paused(change(left!(pauses: 1, expiries: 1))),
            &[p::ALL_DONE, p::TAKEN_BACK, p::RESUMED, p::FENCED],
        ),
        named(
            "pause until",
            paused(change(left!(pauses: 1, pause_ends: 1, expiries: 1))),
            &[p::ALL_DONE, p::RESUMED, p::FENCED, p::LATE_END],
        ),
        named(
            "hold",
            paused(steady(left!(holds: 1, duplicates: 1))),
            &[p::ALL_DONE, p::HELD_MAIL, p::HELD_PLAN],
        ),
        named(
            "hold and change",
            paused(change(left!(holds: 1, expiries: 1))),
            &[p::ALL_DONE, p::HELD_MAIL, p::FENCED],
        ),
        named("early", early, &[p::ALL_DONE, p::TWICE]),
        named(
            "crash",
            steady(left!(crashes: 1, duplicates: 1, losses: 1)),
            &[p::ALL_DONE, p::STALE_CLAIM, p::TWICE, p::RECOVERED],
        ),
        named(
            "zombie",
            two(left!(zombies: 1, unanswered_ends: 1)),
            &[p::ALL_DONE, p::ZOMBIE, p::LATE_REAPER, p::RECOVERED],
        ),
        named(
            "leave",
            steady(left!(leaves: 2, duplicates: 1)),
            &[p::ALL_DONE, p::DRAINED, p::STALE_CLAIM],
        ),
    ]
}

/// A task whose instants an edit moves by half a second, from before the first of them on.
fn edited(bounds: Bounds) -> Bounds {
    let from = occurrence(0).plus(Duration::from_millis(500));
    Bounds {
        first_tick: 0,
        edited: json!({"anchor": from, "starts_at": from}),
        ..bounds
    }
}

/// Edits, between any two steps of a leader; and deletions.
fn of_edits() -> Vec<Named> {
    let cancelled = Bounds {
        first_tick: 0,
        ..steady(left!(pauses: 1, cancels: 1))
    };
    let deleted = |bounds| Bounds {
        first_tick: 0,
        ..bounds
    };
    vec![
        named(
            "edited",
            edited(steady(left!(edits: 1, duplicates: 1))),
            &[p::ALL_DONE, p::STALE_EDIT, p::LEFT, p::UNPLANNED, p::EDITED],
        ),
        named(
            "edited and change",
            edited(change(left!(edits: 1, expiries: 1))),
            &[p::ALL_DONE, p::STALE_EDIT, p::LEFT, p::UNPLANNED, p::FENCED],
        ),
        named(
            "edited while paused",
            edited(steady(left!(edits: 1, pauses: 1))),
            &[p::ALL_DONE, p::STALE_EDIT, p::UNPLANNED, p::RESUMED],
        ),
        named(
            "paused and cancelled",
            cancelled,
            &[p::ALL_DONE, p::TAKEN_BACK, p::CANCELLED, p::RESUMED],
        ),
        named(
            "deleted",
            deleted(steady(left!(deletes: 1, failures: 1, duplicates: 1))),
            &[p::ALL_DONE, p::STALE_EDIT, p::LEFT, p::ORPHANED, p::EDITED],
        ),
        named(
            "deleted and change",
            deleted(change(left!(deletes: 1, expiries: 1))),
            &[p::ALL_DONE, p::STALE_EDIT, p::LEFT, p::ORPHANED, p::FENCED],
        ),
    ]
}

/// Claims nobody heard of, refusals, and runs that may start once.
fn of_claims() -> Vec<Named> {
    let once = Bounds {
        task: json!({"start": "at-most-once"}),
        ..two(left!(zombies: 1, duplicates: 1))
    };
    let refusal = Bounds {
        task: json!({"retry": {"max_attempts": 1}}),
        ..two(left!(refusals: 2, duplicates: 1))
    };
    let refused_once = Bounds {
        task: json!({"start": "at-most-once", "retry": {"max_attempts": 1}}),
        ..steady(left!(refusals: 1, duplicates: 1))
    };
    let retry = Bounds {
        marks: true,
        slots: 2,
        ..steady(left!(failures: 1, duplicates: 1, cancels: 1))
    };
    vec![
        named(
            "claims in doubt",
            steady(left!(unanswered_claims: 1, crashes: 1, duplicates: 1)),
            &[p::ALL_DONE, p::DRAINED, p::RECOVERED],
        ),
        named(
            "late claims",
            steady(left!(unanswered_claims: 1, late_claims: 1, duplicates: 1)),
            &[p::ALL_DONE, p::DRAINED, p::STALE_CLAIM],
        ),
        named(
            "refusal",
            refusal,
            &[p::ALL_DONE, p::GIVEN_BACK, p::STALE_CLAIM],
        ),
        named(
            "refused once",
            refused_once,
            &[p::ALL_DONE, p::GIVEN_BACK, p::STALE_CLAIM],
        ),
        named("once", once, &[p::ALL_DONE, p::LOST, p::TWICE]),
        named(
            "retry",
            retry,
            &[p::ALL_DONE, p::RETRIED, p::CANCELLED, p::STALE_CLAIM],
        ),
    ]
}

/// Runs that share a queue's one permit, beside no policy of their task.
fn shared(bounds: Bounds) -> Bounds {
    Bounds {
        queue_limit: Some(1),
        ..exclusive("allow", 2, bounds)
    }
}

/// The same, of which the first two were missed together and both are to run.
fn missed(policy: &str, occurrences: u8, bounds: Bounds) -> Bounds {
    Bounds {
        first_tick: 2,
        task: json!({"overlap": policy, "misfire": "all"}),
        ..exclusive(policy, occurrences, bounds)
    }
}

fn of_permits() -> Vec<Named> {
    let failing = || steady(left!(failures: 1));
    vec![
        named(
            "skip",
            exclusive("skip", 2, failing()),
            &[p::ALL_DONE, p::REFUSED, p::RETRIED],
        ),
        named(
            "queue",
            exclusive("queue", 2, failing()),
            &[p::ALL_DONE, p::WAITS, p::RETRIED],
        ),
        named(
            "cancelled",
            exclusive("queue", 2, steady(left!(failures: 1, cancels: 1))),
            &[p::ALL_DONE, p::WAITS, p::CANCELLED],
        ),
        named(
            "replace",
            exclusive("replace", 2, failing()),
            &[p::ALL_DONE, p::WAITS, p::REPLACED, p::CANCELLED],
        ),
        named(
            "missed together, skip",
            missed("skip", 2, failing()),
            &[p::ALL_DONE, p::WAITS, p::ALL_MISSED_RAN, p::RETRIED],
        ),
        named(
            "missed together, replace",
            missed("replace", 3, steady(NONE)),
            &[p::ALL_DONE, p::WAITS, p::ALL_MISSED_RAN],
        ),
        named(
            "shared limit",
            shared(failing()),
            &[p::ALL_DONE, p::WAITS, p::RETRIED],
        ),
    ]
}

/// The scenes of every test run.
pub fn small() -> Vec<Named> {
    let mut all = of_leaders();
    all.extend(of_workers());
    all.extend(of_edits());
    all.extend(of_claims());
    all.extend(of_permits());
    all.extend(super::chains::of_chains());
    all
}

/// The scenes that take minutes: several faults at once, changes of leaders in the middle of everything.
pub fn deep() -> Vec<Named> {
    let mut all = deep_edits();
    all.extend(deep_runs());
    all
}

/// Two occurrences of a schedule that is edited; a deletion beside an edit.
fn deep_edits() -> Vec<Named> {
    let edits = Bounds {
        occurrences: 2,
        last_tick: 2,
        ..edited(change(left!(expiries: 1, edits: 1)))
    };
    let deletes = edited(change(left!(expiries: 1, edits: 1, deletes: 1)));
    vec![
        named(
            "deep: edits",
            edits,
            &[p::ALL_DONE, p::FENCED, p::STALE_EDIT, p::LEFT, p::UNPLANNED],
        ),
        named(
            "deep: deletions",
            deletes,
            &[p::ALL_DONE, p::FENCED, p::STALE_EDIT, p::LEFT, p::ORPHANED],
        ),
    ]
}

fn deep_runs() -> Vec<Named> {
    let terms = Bounds {
        terms: 3,
        led: false,
        ..change(left!(expiries: 3, stops: 1, losses: 1, duplicates: 1))
    };
    let workers = Bounds {
        workers: 2,
        ..change(left!(expiries: 1, duplicates: 1, zombies: 1))
    };
    let occurrences = Bounds {
        occurrences: 2,
        first_tick: 0,
        last_tick: 2,
        ..change(left!(expiries: 1, duplicates: 1, doubts: 1))
    };
    let queue = change(left!(expiries: 1, failures: 1));
    let crashes = steady(left!(crashes: 1, failures: 1, cancels: 1));
    let three = steady(left!(failures: 1));
    let replace = change(left!(expiries: 1, failures: 1));
    let limit = change(left!(expiries: 1, crashes: 1));
    vec![
        named(
            "deep: three terms",
            terms,
            &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        ),
        named(
            "deep: zombies",
            workers,
            &[p::ALL_DONE, p::FENCED, p::RECOVERED, p::ZOMBIE, p::TWICE],
        ),
        named(
            "deep: two occurrences",
            occurrences,
            &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        ),
        named(
            "deep: queue",
            exclusive("queue", 2, queue),
            &[p::ALL_DONE, p::FENCED, p::WAITS, p::RETRIED],
        ),
        named(
            "deep: queue and crashes",
            exclusive("queue", 2, crashes),
            &[p::ALL_DONE, p::WAITS, p::RECOVERED, p::CANCELLED],
        ),
        named(
            "deep: replace",
            exclusive("replace", 2, replace),
            &[p::ALL_DONE, p::FENCED, p::WAITS, p::REPLACED],
        ),
        named(
            "deep: three replaced",
            exclusive("replace", 3, three),
            &[p::ALL_DONE, p::WAITS, p::REPLACED, p::RETRIED],
        ),
        named(
            "deep: shared limit",
            shared(limit),
            &[p::ALL_DONE, p::FENCED, p::WAITS, p::RECOVERED],
        ),
    ]
}

/// A small scene by its name.
pub fn find(name: &str) -> Bounds {
    let scene = small().into_iter().find(|scene| scene.name == name);
    scene.unwrap_or_else(|| panic!("no scene `{name}`")).bounds
}
