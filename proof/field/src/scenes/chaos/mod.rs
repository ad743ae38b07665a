//! `cargo xtask chaos`: the whole system in real processes under faults that never stop and overlap as the dice fall, over
//! PostgreSQL and over one SQLite file; and three schedulers without any lock. What became of it is judged from outside.
//!
//! Read `load.rs` for what runs, `faults/` for what breaks, `judge.rs` for what must hold all the same.

mod campaign;
mod dice;
mod faults;
mod judge;
mod ledger;
mod load;
mod run;
mod seen;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use run::Part;

use crate::scenes::report::Report;
use crate::{build, say};

/// Sessions that PostgreSQL takes: enough for all nodes, and few enough to use up.
const CONNECTIONS_MAX: usize = 90;
/// How long three schedulers without a lock run, at most.
const NO_LOCK_MAX: Duration = Duration::from_secs(300);
/// Which part of a campaign without `--no-lock` that is, at most.
const NO_LOCK_SHARE: u32 = 5;

/// Which store is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Postgres,
    /// One file that all nodes open.
    Sqlite,
}

/// What the campaign is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    minutes: u32,
    stores: Vec<Which>,
    seed: u64,
    /// Only the schedulers without a lock.
    no_lock: bool,
    keep: bool,
    profile: String,
}

impl Options {
    /// From the words behind its name; nothing if one of them is unknown.
    pub fn read(arguments: &[String]) -> Option<Self> {
        let mut options = Self {
            minutes: 25,
            stores: vec![Which::Postgres, Which::Sqlite],
            seed: 1,
            no_lock: false,
            keep: false,
            profile: "ci".to_owned(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--keep" => options.keep = true,
                "--no-lock" => options.no_lock = true,
                "--minutes" => options.minutes = rest.next()?.parse().ok().filter(|m| *m > 0)?,
                "--seed" => options.seed = rest.next()?.parse().ok()?,
                "--profile" => options.profile.clone_from(rest.next()?),
                "--store" => {
                    options.stores = match rest.next()?.as_str() {
                        "postgres" => vec![Which::Postgres],
                        "sqlite" => vec![Which::Sqlite],
                        "both" => vec![Which::Postgres, Which::Sqlite],
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(options)
    }

    /// The parts of the campaign: how long, on what.
    fn parts(&self) -> Vec<Part> {
        let all = Duration::from_secs(60) * self.minutes;
        let part = |which, locked, time| Part {
            which,
            locked,
            time,
            seed: self.seed,
        };
        if self.no_lock {
            return vec![part(Which::Postgres, false, all)];
        }
        let last = (all / NO_LOCK_SHARE).min(NO_LOCK_MAX);
        let count = u32::try_from(self.stores.len()).unwrap_or(1).max(1);
        let each = (all - last) / count;
        let mut parts: Vec<Part> = self
            .stores
            .iter()
            .map(|which| part(*which, true, each))
            .collect();
        parts.push(part(Which::Postgres, false, last));
        parts
    }
}

/// Runs the campaign; true if everything held.
pub fn run(options: &Options) -> bool {
    let folder = build::target()
        .join("chaos")
        .join(std::process::id().to_string());
    say("── build");
    let program = match build::build(&options.profile) {
        Ok(program) => program,
        Err(error) => {
            say(&format!("chaos: {error}"));
            return false;
        }
    };
    let mut reports = Vec::new();
    for part in options.parts() {
        let own = folder.join(part.name());
        let report = match run::play(&part, &program, &own) {
            Ok(report) => report,
            Err(error) => Report {
                record: "chaos",
                stand: part.name(),
                broken: vec![format!("the campaign broke off: {error}")],
                ..Report::default()
            },
        };
        report.tell();
        if report.passed() && !options.keep {
            let _ = std::fs::remove_dir_all(&own);
        } else {
            say(&format!("logs and tables: {}", own.display()));
        }
        reports.push(report);
    }
    let passed = reports.iter().all(Report::passed);
    say(if passed {
        "chaos: passed"
    } else {
        "chaos: FAILED"
    });
    let sum = sum(&reports);
    say(&sum.to_string());
    passed
}

/// All stands together, as one more line.
pub fn sum(reports: &[Report]) -> Value {
    let mut all = Map::new();
    for part in ["faults", "seen", "verdicts", "counts"] {
        let mut total: BTreeMap<String, u64> = BTreeMap::new();
        for report in reports {
            let json = report.json();
            let own = json[part].as_object().into_iter().flatten();
            for (name, value) in own {
                *total.entry(name.clone()).or_default() += value.as_u64().unwrap_or(0);
            }
        }
        all.insert(part.to_owned(), json!(total));
    }
    let seconds: u64 = reports.iter().map(|report| report.seconds).sum();
    let happened: u64 = reports.iter().map(Report::happened).sum();
    all.insert("record".to_owned(), json!("chaos"));
    all.insert("part".to_owned(), json!("all"));
    all.insert(
        "seed".to_owned(),
        json!(reports.first().and_then(|r| r.seed)),
    );
    all.insert("seconds".to_owned(), json!(seconds));
    all.insert("happened".to_owned(), json!(happened));
    all.insert(
        "passed".to_owned(),
        json!(!reports.is_empty() && reports.iter().all(Report::passed)),
    );
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes::report::Row;

    fn read(text: &str) -> Option<Options> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Options::read(&words)
    }

    #[test]
    fn arguments_are_read_and_others_refused() {
        let options = read("--minutes 3 --store sqlite --seed 9 --keep").unwrap();
        assert_eq!((options.minutes, options.seed, options.keep), (3, 9, true));
        assert_eq!(options.stores, [Which::Sqlite]);
        for wrong in ["--minutes", "--minutes 0", "--store oracle", "--what"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn minutes_are_shared_among_the_parts() {
        let minutes = |text: &str| -> Vec<(bool, u64)> {
            let parts = read(text).unwrap().parts();
            let told = parts.iter().map(|p| (p.locked, p.time.as_secs() / 60));
            told.collect()
        };
        assert_eq!(minutes(""), [(true, 10), (true, 10), (false, 5)]);
        assert_eq!(
            minutes("--minutes 65"),
            [(true, 30), (true, 30), (false, 5)]
        );
        assert_eq!(minutes("--no-lock --minutes 7"), [(false, 7)]);
    }

    #[test]
    fn the_sum_is_of_all_stands() {
        let report = || Report {
            faults: [(
                "kill".to_owned(),
                Row {
                    happened: 1,
                    ..Row::default()
                },
            )]
            .into(),
            ..Report::default()
        };
        let wrong = Report {
            broken: vec!["it broke off".to_owned()],
            ..report()
        };
        let total = sum(&[report(), wrong]);
        assert_eq!(total["passed"], json!(false));
        assert_eq!(total["faults"]["kill"], json!(2));
        assert_eq!(total["happened"], json!(2));
    }
}
