//! The scenes that are checked: small ones in every test run, deep ones on request. Owns bounds and what each scene must
//! reach; a scene that no longer reaches it has become too small to say anything.

use serde_json::json;

use super::bounds::{Bounds, Left};
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
    cancels: 0,
    edits: 0,
    doubts: 0,
    unanswered_ends: 0,
    unanswered_claims: 0,
};

/// One leader that nothing happens to: what changes is among the workers.
fn steady() -> Bounds {
    Bounds {
        schedulers: 1,
        terms: 1,
        ..Bounds::default()
    }
}

/// Two occurrences of a task with this policy, and a worker that could run both at once.
fn exclusive(policy: &str) -> Bounds {
    Bounds {
        slots: 2,
        occurrences: 2,
        last_tick: 2,
        task: json!({"overlap": policy}),
        ..steady()
    }
}

fn of_leaders() -> Vec<Named> {
    vec![
        Named {
            name: "elections",
            bounds: Bounds {
                led: false,
                left: Left {
                    expiries: 2,
                    stops: 1,
                    ..NONE
                },
                ..Bounds::default()
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        },
        Named {
            name: "change",
            bounds: Bounds {
                left: Left {
                    expiries: 2,
                    losses: 1,
                    stops: 1,
                    ..NONE
                },
                ..Bounds::default()
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        },
        Named {
            name: "crash and change",
            bounds: Bounds {
                left: Left {
                    expiries: 1,
                    crashes: 1,
                    ..NONE
                },
                ..Bounds::default()
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::RECOVERED, p::LATE_REAPER],
        },
        Named {
            name: "doubt",
            bounds: Bounds {
                left: Left {
                    expiries: 1,
                    doubts: 1,
                    edits: 1,
                    ..NONE
                },
                ..Bounds::default()
            },
            reaches: &[p::ALL_DONE, p::EDITED, p::INHERITED],
        },
        Named {
            name: "exclusive and change",
            bounds: Bounds {
                schedulers: 2,
                terms: 2,
                first_tick: 2,
                left: Left {
                    expiries: 1,
                    ..NONE
                },
                ..exclusive("skip")
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::REFUSED],
        },
    ]
}

fn of_workers() -> Vec<Named> {
    let of = |left| Bounds { left, ..steady() };
    vec![
        Named {
            name: "early",
            bounds: Bounds {
                first_tick: 0,
                ..of(Left {
                    losses: 1,
                    duplicates: 1,
                    ..NONE
                })
            },
            reaches: &[p::ALL_DONE, p::TWICE],
        },
        Named {
            name: "crash",
            bounds: of(Left {
                crashes: 1,
                duplicates: 1,
                losses: 1,
                ..NONE
            }),
            reaches: &[p::ALL_DONE, p::STALE_CLAIM, p::TWICE, p::RECOVERED],
        },
        Named {
            name: "zombie",
            bounds: Bounds {
                workers: 2,
                ..of(Left {
                    zombies: 1,
                    unanswered_ends: 1,
                    ..NONE
                })
            },
            reaches: &[p::ALL_DONE, p::ZOMBIE, p::LATE_REAPER, p::RECOVERED],
        },
        Named {
            name: "leave",
            bounds: of(Left {
                leaves: 2,
                duplicates: 1,
                ..NONE
            }),
            reaches: &[p::ALL_DONE, p::DRAINED, p::STALE_CLAIM],
        },
        Named {
            name: "once",
            bounds: Bounds {
                workers: 2,
                task: json!({"start": "at-most-once"}),
                ..of(Left {
                    zombies: 1,
                    duplicates: 1,
                    ..NONE
                })
            },
            reaches: &[p::ALL_DONE, p::LOST, p::TWICE],
        },
        Named {
            name: "retry",
            bounds: Bounds {
                marks: true,
                slots: 2,
                ..of(Left {
                    failures: 1,
                    duplicates: 1,
                    cancels: 1,
                    ..NONE
                })
            },
            reaches: &[p::ALL_DONE, p::RETRIED, p::CANCELLED, p::STALE_CLAIM],
        },
    ]
}

fn of_permits() -> Vec<Named> {
    let failing = Left {
        failures: 1,
        ..NONE
    };
    vec![
        Named {
            name: "skip",
            bounds: Bounds {
                left: failing,
                ..exclusive("skip")
            },
            reaches: &[p::ALL_DONE, p::REFUSED, p::RETRIED],
        },
        Named {
            name: "queue",
            bounds: Bounds {
                left: failing,
                ..exclusive("queue")
            },
            reaches: &[p::ALL_DONE, p::WAITS, p::RETRIED],
        },
        Named {
            name: "replace",
            bounds: exclusive("replace"),
            reaches: &[p::ALL_DONE, p::WAITS, p::REPLACED, p::CANCELLED],
        },
        Named {
            name: "shared limit",
            bounds: Bounds {
                queue_limit: Some(1),
                left: failing,
                task: json!({}),
                ..exclusive("allow")
            },
            reaches: &[p::ALL_DONE, p::WAITS, p::RETRIED],
        },
    ]
}

/// The scenes that take minutes: several faults at once, changes of leaders in the middle of everything.
pub fn deep() -> Vec<Named> {
    let change = |bounds: Bounds| Bounds {
        schedulers: 2,
        terms: 2,
        ..bounds
    };
    let all = Left {
        expiries: 2,
        stops: 1,
        losses: 1,
        duplicates: 1,
        crashes: 1,
        ..NONE
    };
    vec![
        Named {
            name: "deep: three terms",
            bounds: Bounds {
                terms: 3,
                led: false,
                left: Left {
                    expiries: 3,
                    crashes: 0,
                    ..all
                },
                ..Bounds::default()
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        },
        Named {
            name: "deep: everything once",
            bounds: Bounds {
                workers: 2,
                marks: true,
                left: Left {
                    expiries: 1,
                    stops: 0,
                    zombies: 1,
                    ..all
                },
                ..Bounds::default()
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::RECOVERED, p::ZOMBIE, p::TWICE],
        },
        Named {
            name: "deep: two occurrences",
            bounds: Bounds {
                workers: 2,
                occurrences: 2,
                first_tick: 0,
                last_tick: 2,
                left: Left {
                    expiries: 1,
                    duplicates: 1,
                    doubts: 1,
                    ..NONE
                },
                ..change(steady())
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::INHERITED, p::TWICE],
        },
        Named {
            name: "deep: queue",
            bounds: Bounds {
                occurrences: 3,
                last_tick: 3,
                left: Left {
                    expiries: 1,
                    crashes: 1,
                    failures: 1,
                    cancels: 1,
                    ..NONE
                },
                ..change(exclusive("queue"))
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::WAITS, p::RECOVERED, p::RETRIED],
        },
        Named {
            name: "deep: replace",
            bounds: Bounds {
                occurrences: 3,
                last_tick: 3,
                left: Left {
                    expiries: 1,
                    duplicates: 1,
                    cancels: 1,
                    ..NONE
                },
                ..change(exclusive("replace"))
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::WAITS, p::REPLACED],
        },
        Named {
            name: "deep: shared limit",
            bounds: Bounds {
                queue_limit: Some(1),
                task: json!({}),
                left: Left {
                    expiries: 1,
                    crashes: 1,
                    leaves: 1,
                    failures: 1,
                    ..NONE
                },
                ..change(exclusive("allow"))
            },
            reaches: &[p::ALL_DONE, p::FENCED, p::WAITS, p::RECOVERED, p::DRAINED],
        },
    ]
}

/// The scenes of every test run.
pub fn small() -> Vec<Named> {
    let mut all = of_leaders();
    all.extend(of_workers());
    all.extend(of_permits());
    all
}

/// A small scene by its name.
pub fn find(name: &str) -> Bounds {
    let scene = small().into_iter().find(|scene| scene.name == name);
    scene.unwrap_or_else(|| panic!("no scene `{name}`")).bounds
}
