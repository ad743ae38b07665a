//! `cargo xtask chaos`: the whole system in real processes under faults that never stop and overlap as the dice fall, over
//! PostgreSQL and over one SQLite file; and three schedulers without any lock. What became of it is judged from outside.
//!
//! Read `load.rs` for what runs, `faults/` for what breaks, `judge.rs` for what must hold all the same.

mod books;
mod campaign;
mod dice;
mod faults;
mod judge;
mod ledger;
mod load;
mod node;
mod report;
mod run;
mod seen;
mod stand;
mod watch;

use std::time::Duration;

use report::Report;
use run::Part;
use stand::Which;

use crate::evidence;
use crate::field::build;
use crate::verbs::{install, say};

/// How long three schedulers without a lock run, at most.
const NO_LOCK_MAX: Duration = Duration::from_secs(300);
/// Which part of a campaign without `--no-lock` that is, at most.
const NO_LOCK_SHARE: u32 = 5;

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
    /// Reads the verb's arguments.
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
    install::tools();
    xtask::servers::sweep();
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
    let sum = report::sum(&reports);
    say(&sum.to_string());
    if passed {
        let seconds = reports.iter().map(|report| report.seconds).sum();
        let command = format!(
            "cargo xtask chaos --minutes {} --seed {}",
            options.minutes, options.seed
        );
        let lines = reports.iter().map(Report::json).chain([sum]);
        evidence::keep("chaos", &command, seconds, lines.collect());
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
