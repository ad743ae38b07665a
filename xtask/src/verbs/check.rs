//! `check` and `tidy`: what can be said about the code without running it. Warnings are errors here and nowhere else,
//! so that a half-done change still compiles at a developer's desk.

use super::{Steps, cargo, deny, say};
use crate::evidence;

/// Formatting, clippy, tidy, API docs, and what the dependencies may be.
pub fn run() -> bool {
    if xtask::skip::in_ci() {
        deny::install();
    }
    let mut steps = Steps::default();
    steps.program("format", &mut cargo(&["fmt", "--all", "--check"]));
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    steps.program("clippy", &mut cargo(&clippy));
    steps.step("tidy", tidy);
    steps.step("the evidence page", evidence::check);
    // Apart, because a library and a program of one name would write the same pages.
    for (name, kind) in [
        ("docs of the libraries", "--lib"),
        ("docs of the programs", "--bins"),
    ] {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--all-features", kind]);
        steps.program(name, doc.env("RUSTDOCFLAGS", "-D warnings"));
    }
    deny::run(&mut steps);
    steps.report("check");
    steps.passed()
}

/// The rules of the house.
pub fn tidy() -> bool {
    match xtask::tidy::check(&xtask::tidy::root()) {
        Ok(findings) => {
            for finding in &findings {
                say(&finding.to_string());
            }
            say(&format!("tidy: {} broken rules", findings.len()));
            findings.is_empty()
        }
        Err(error) => {
            say(&format!("failed to check the files: {error}"));
            false
        }
    }
}
