//! What the verbs share: steps that run one after another and are all reported, even after one failed, because a
//! developer wants the whole list at once. The one place of the tool that prints.

pub mod bench;
pub mod check;
pub mod deny;
pub mod failpoints;
pub mod field;
pub mod fuzz;
pub mod install;
pub mod model;
pub mod provider;
pub mod sim;
pub mod step;
pub mod test;

use std::process::Command;
use std::time::Instant;

pub use xtask::cargo::cargo;

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is the tool's output")]
pub fn say(line: &str) {
    println!("{line}");
}

/// The steps of a verb, with how each ended.
#[derive(Default)]
pub struct Steps {
    lines: Vec<String>,
    failed: bool,
}

impl Steps {
    /// Runs a step and notes its end.
    pub fn step(&mut self, name: &str, run: impl FnOnce() -> bool) {
        say(&format!("── {name}"));
        let start = Instant::now();
        let passed = run();
        let word = if passed { "passed" } else { "FAILED" };
        self.lines.push(format!(
            "  {word}  {name} ({:.1} s)",
            start.elapsed().as_secs_f64()
        ));
        self.failed |= !passed;
    }

    /// Runs a program as a step.
    pub fn program(&mut self, name: &str, command: &mut Command) {
        self.step(name, || match command.status() {
            Ok(status) => status.success(),
            Err(error) => {
                say(&format!(
                    "failed to run {}: {error}",
                    command.get_program().display()
                ));
                false
            }
        });
    }

    /// Notes what belongs in the summary.
    pub fn note(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Whether no step has failed.
    pub const fn passed(&self) -> bool {
        !self.failed
    }

    /// Prints every step's end.
    pub fn report(&self, verb: &str) {
        say(&format!("── {verb}"));
        for line in &self.lines {
            say(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_verb_and_the_others_still_run() {
        let mut steps = Steps::default();
        let mut ran = 0;
        for passed in [true, false, true] {
            steps.step("a step", || {
                ran += 1;
                passed
            });
        }
        steps.program("a program", &mut Command::new("true"));
        assert_eq!(ran, 3);
        assert!(!steps.passed());
        assert_eq!(
            steps
                .lines
                .iter()
                .filter(|line| line.contains("passed"))
                .count(),
            3
        );
        steps.program("no program", &mut Command::new("no-such-program-anywhere"));
        assert!(steps.lines[4].contains("FAILED"));
    }
}
