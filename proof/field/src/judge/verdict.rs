//! The shape of a verdict: one thing that holds, or doesn't, with its figures or its first broken cases.

use crate::say;

/// How many broken cases one line shows.
const SHOWN_MAX: usize = 5;

/// One thing that holds, or doesn't.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: &'static str,
    pub passed: bool,
    /// The figures, or the broken cases.
    pub detail: String,
    pub wrong: Vec<String>,
}

/// A verdict that holds when nothing is `wrong`; else it shows the first cases.
pub fn check(name: &'static str, wrong: Vec<String>, good: String) -> Check {
    let passed = wrong.is_empty();
    let detail = if passed {
        good
    } else {
        let shown: Vec<&str> = wrong.iter().take(SHOWN_MAX).map(String::as_str).collect();
        format!("{} cases: {}", wrong.len(), shown.join("; "))
    };
    Check {
        name,
        passed,
        detail,
        wrong,
    }
}

/// Prints all verdicts, and what broke the scene itself.
pub fn tell(checks: &[Check], broken: &[String]) {
    say("── verdicts");
    for check in checks {
        let word = if check.passed { "holds " } else { "BROKEN" };
        say(&format!("  {word}  {:<44} {}", check.name, check.detail));
    }
    for line in broken {
        say(&format!("  BROKEN  {line}"));
    }
}
