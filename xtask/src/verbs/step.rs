//! `step`: the SQL stores under the driver that lets one session send one statement at a time. The ordinary number of
//! interleavings is part of `test` too; this verb shows the counts, and walks as many as it is told.

use super::{Steps, cargo};
use crate::evidence;

/// Interleavings by dice of each scene.
const ROUNDS_VARIABLE: &str = "CAMPANILE_STEP_ROUNDS";
/// The first seed.
const SEED_VARIABLE: &str = "CAMPANILE_STEP_SEED";

/// What to walk; without a wish what `test` walks.
#[derive(Debug, Default)]
pub struct Options {
    rounds: Option<u64>,
    seed: Option<u64>,
}

impl Options {
    /// Reads `--rounds N` and `--seed N`; `None` for anything else.
    pub fn read(arguments: &[String]) -> Option<Self> {
        let mut options = Self::default();
        for pair in arguments.chunks(2) {
            let [name, number] = pair else { return None };
            let number = Some(number.parse().ok()?);
            match name.as_str() {
                "--rounds" => options.rounds = number,
                "--seed" => options.seed = number,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Steps the stores.
pub fn run(options: &Options) -> bool {
    let mut steps = Steps::default();
    // Cargo's own runner: it ends no test that takes its time.
    let mut test = cargo(&["test", "-p", "campanile-stepping", "--lib"]);
    test.args(["--", "--nocapture"]);
    for (variable, number) in [
        (ROUNDS_VARIABLE, options.rounds),
        (SEED_VARIABLE, options.seed),
    ] {
        if let Some(number) = number {
            test.env(variable, number.to_string());
        }
    }
    let mut command = "cargo xtask step".to_owned();
    for (name, number) in [("rounds", options.rounds), ("seed", options.seed)] {
        if let Some(number) = number {
            command.push_str(&format!(" --{name} {number}"));
        }
    }
    steps.step("the stores, statement by statement", || {
        evidence::watch("stepping", &command, &mut test)
    });
    steps.report("step");
    steps.passed()
}
