//! `model`: the protocol under the model checker. The small scenes and the mutants are ordinary tests and run with
//! `test` too; this verb shows their counts, and with `--deep` checks the large scenes, optimised, for minutes.

use super::{Steps, cargo};

/// Checks the model; with `deep` the large scenes too.
pub fn run(deep: bool) -> bool {
    let mut steps = Steps::default();
    let (name, build, which): (_, &[&str], &[&str]) = if deep {
        let ci = &["--profile", "ci"];
        ("all scenes and mutants", ci, &["--include-ignored"])
    } else {
        ("small scenes and mutants", &[], &[])
    };
    let mut test = cargo(&["test", "-p", "campanile", "--test", "main"]);
    // One at a time: each check uses all cores by itself, and its counts belong together on the screen.
    let runner = ["--nocapture", "--test-threads", "1"];
    test.args(build)
        .args(["model::", "--"])
        .args(runner)
        .args(which);
    steps.program(name, &mut test);
    steps.report("model");
    steps.passed()
}
