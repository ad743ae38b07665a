//! `model`: the protocol under the model checker. The small scenes and the mutants are ordinary tests and run with
//! `test` too; this verb shows their counts, and with `--deep` checks the large scenes, optimised, for minutes.

use super::{Steps, cargo};
use crate::evidence;

/// Tells the model's tests to check the deep scenes.
const DEEP_VARIABLE: &str = "CAMPANILE_MODEL_DEEP";

/// Checks the model; with `deep` the large scenes too.
pub fn run(deep: bool) -> bool {
    let mut steps = Steps::default();
    let (name, build): (_, &[&str]) = if deep {
        ("all scenes and mutants", &["--profile", "ci"])
    } else {
        ("small scenes and mutants", &[])
    };
    let mut test = cargo(&["test", "-p", "campanile-model", "--lib"]);
    // One at a time: each check uses all cores by itself, and its counts belong together on the screen.
    let runner = ["--", "--nocapture", "--test-threads", "1"];
    test.args(build).args(runner);
    if deep {
        test.env(DEEP_VARIABLE, "1");
    }
    let command = if deep {
        "cargo xtask model --deep"
    } else {
        "cargo xtask model"
    };
    steps.step(name, || evidence::watch("model", command, &mut test));
    steps.report("model");
    steps.passed()
}
