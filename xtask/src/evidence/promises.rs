//! Which test each promise of the README rests on, by the names that the tests themselves use: a test below looks every
//! name up where it is said to be, so that the table can't drift from the code.

/// Where the names of an instrument stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Predicates.
    Invariants,
    /// What a message and an attempt carry.
    Message,
    /// Properties of the model.
    Model,
    /// What the simulation judges and counts.
    Simulation,
    /// Scenes of the stepped stores.
    Stepping,
    /// What is judged after a failpoint.
    Failpoints,
    /// Verdicts of the chaos campaign.
    Chaos,
    /// Verdicts of the cluster test.
    Cluster,
}
use Source::{Chaos, Cluster, Failpoints, Invariants, Message, Model, Simulation, Stepping};

/// A promise, with what it rests on.
pub struct Promise {
    /// Its number and what it says in short.
    pub says: &'static str,
    /// The numbers of its invariants.
    pub invariants: &'static str,
    /// The names, by instrument.
    pub names: &'static [(Source, &'static str)],
}

impl Promise {
    /// The row of the page's table.
    pub fn cells(&self) -> Vec<String> {
        let of = |sources: &[Source]| {
            let names = self.names.iter();
            let names = names.filter(|(source, _)| sources.contains(source));
            let names: Vec<String> = names.map(|(source, name)| spelled(*source, name)).collect();
            names.join("; ")
        };
        let invariants = [self.invariants.to_owned(), of(&[Invariants, Message])];
        let invariants: Vec<String> = invariants.into_iter().filter(|s| !s.is_empty()).collect();
        vec![
            self.says.to_owned(),
            invariants.join(": "),
            of(&[Model]),
            of(&[Simulation]),
            of(&[Stepping, Failpoints]),
            of(&[Chaos, Cluster]),
        ]
    }
}

/// A name with what tells where it belongs, where a column holds two instruments.
fn spelled(source: Source, name: &str) -> String {
    match source {
        Invariants | Message => format!("`{name}`"),
        Model | Simulation | Chaos => name.to_owned(),
        Stepping => format!("step: {name}"),
        Failpoints => format!("failpoints: {name}"),
        Cluster => format!("cluster: {name}"),
    }
}

/// All promises, in the README's order.
pub const PROMISES: &[Promise] = &[
    Promise {
        says: "G1 each due occurrence has exactly one run row",
        invariants: "I1",
        names: &[
            (Invariants, "one_run_per_occurrence"),
            (Model, "I1 an occurrence has one run"),
            (Simulation, "invariants::check"),
            (Stepping, "fire, begin"),
            (Failpoints, "doubled"),
            (Chaos, "no instant recorded twice"),
            (Cluster, "no instant recorded twice"),
        ],
    },
    Promise {
        says: "G2 no silent gap: a run, or a skip with its reason",
        invariants: "G2",
        names: &[
            (Invariants, "no_gap"),
            (Model, "G2 no gap"),
            (Simulation, "no_gap"),
            (Simulation, "nothing_invented"),
            (Failpoints, "lost"),
            (Chaos, "no instant lost"),
            (Chaos, "no instant made up"),
        ],
    },
    Promise {
        says: "G3 a run is started until one attempt's end is recorded",
        invariants: "I9, I10",
        names: &[
            (Invariants, "no_wedge"),
            (Model, "I9 whatever waits is kept"),
            (Model, "I9 work goes on"),
            (Simulation, "lost run recovered"),
            (Stepping, "claim, evict"),
            (Failpoints, "wedged"),
            (Chaos, "no run wedged"),
        ],
    },
    Promise {
        says: "G4 at-most-once: 0 or 1 starts",
        invariants: "I4",
        names: &[
            (Invariants, "started_once"),
            (Model, "a run ends lost"),
            (Simulation, "run failed(lost)"),
            (Stepping, "finish, lost"),
            (Chaos, "at-most-once tasks started at most once"),
        ],
    },
    Promise {
        says: "G5 one attempt, one worker; duplicate, late, forged messages start nothing",
        invariants: "I4, I6, I12",
        names: &[
            (Invariants, "started_once"),
            (Model, "I4 an attempt starts once"),
            (Model, "I6 a start follows its claim"),
            (Simulation, "stale claim refused"),
            (Simulation, "foreign message refused"),
            (Stepping, "claim, claim"),
            (Chaos, "no attempt started twice"),
            (Chaos, "no forged start"),
        ],
    },
    Promise {
        says: "G6 one end for each run, by the present claim alone",
        invariants: "I2, I5",
        names: &[
            (Invariants, "only_forward"),
            (Model, "I5 an end is final"),
            (Model, "I5 only the claim's holder ends a run"),
            (Simulation, "ends_agree"),
            (Stepping, "finish, finish"),
            (Stepping, "finish, lost"),
            (Chaos, "every run ended as it may"),
            (Chaos, "every success had its effect"),
        ],
    },
    Promise {
        says: "G7 every attempt carries the key of its occurrence",
        invariants: "",
        names: &[
            (Message, "effect_key"),
            (Chaos, "every success had its effect"),
            (Cluster, "the old listener got every message"),
        ],
    },
    Promise {
        says: "G8 nothing of a deposed leader commits",
        invariants: "I3",
        names: &[
            (Model, "I3 only the present term writes"),
            (
                Simulation,
                "takeover mid-transaction: deposed leader's write refused",
            ),
            (Stepping, "mark, begin"),
            (Chaos, "no term wrote after the next began"),
        ],
    },
    Promise {
        says: "G9 never early",
        invariants: "I6",
        names: &[
            (Invariants, "never_early"),
            (Model, "I6 nothing starts early"),
            (Simulation, "invariants::check"),
            (Chaos, "none started early"),
        ],
    },
    Promise {
        says: "G10 catch-up is bounded by policy",
        invariants: "I13",
        names: &[
            (Simulation, "caught up"),
            (Chaos, "instant missed, by policy"),
        ],
    },
    Promise {
        says: "overlap and limits, kept by the database",
        invariants: "I8",
        names: &[
            (Invariants, "permits_fit"),
            (Invariants, "one_at_a_time"),
            (Model, "I8 permits fit"),
            (Model, "I8 one at a time"),
            (Simulation, "blocked run handed on"),
            (Stepping, "drop, begin"),
            (Chaos, "exclusive tasks ran one at a time"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// All sources under a file or folder, as one text.
    fn text_of(path: &Path) -> String {
        if path.is_dir() {
            let mut all: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            all.sort();
            return all.iter().map(|path| text_of(path)).collect();
        }
        fs::read_to_string(path).unwrap()
    }

    const fn places(source: Source) -> &'static [&'static str] {
        match source {
            Invariants => &["crates/campanile-core/src/decide/invariants.rs"],
            Message => &["crates/campanile-core/src/decide/publish/message.rs"],
            Model => &["proof/model/src/model/properties.rs"],
            Simulation => &["proof/simulation/src"],
            Stepping => &["proof/stepping/src/stepping"],
            Failpoints => &["proof/field/src/scenes/failpoints"],
            Chaos => &["proof/field/src/judge", "proof/field/src/scenes/chaos"],
            Cluster => &["proof/field/src/judge", "proof/field/src/scenes/cluster"],
        }
    }

    #[test]
    fn every_name_is_where_it_is_said_to_be() {
        let root = xtask::tidy::root();
        for promise in PROMISES {
            for (source, name) in promise.names {
                let places = places(*source).iter();
                let text: String = places.map(|place| text_of(&root.join(place))).collect();
                assert!(text.contains(name), "{}: {source:?}: {name}", promise.says);
            }
        }
    }

    #[test]
    fn every_promise_of_the_readme_is_here() {
        let readme = text_of(&xtask::tidy::root().join("README.md"));
        let promised = readme.lines().filter_map(|line| line.strip_prefix("| G"));
        let promised: Vec<&str> = promised.filter_map(|line| line.split(' ').next()).collect();
        assert!(promised.len() >= 10, "{promised:?}");
        for number in promised {
            let head = format!("G{number} ");
            assert!(PROMISES.iter().any(|p| p.says.starts_with(&head)), "{head}");
        }
    }
}
