//! The shape of a verdict: one thing that holds, or doesn't, with its figures or its first broken cases.

/// How many broken cases one line shows.
const SHOWN_MAX: usize = 5;

/// One thing that holds, or doesn't.
#[derive(Debug, Clone)]
pub struct Check {
    /// What should hold.
    pub name: &'static str,
    /// Whether it does.
    pub passed: bool,
    /// The figures, or the broken cases.
    pub detail: String,
    /// How many cases are broken.
    pub violations: usize,
}

/// A verdict that holds when nothing is `wrong`; else it shows the first cases.
pub fn check(name: &'static str, wrong: &[String], good: String) -> Check {
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
        violations: wrong.len(),
    }
}
