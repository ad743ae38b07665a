//! How large the heart may be: whoever is new reads it whole. Suites of tests stand beside it and do not count.

use super::{File, Finding};

/// Where it is.
const HEART: &str = "crates/campanile-core/src/";
/// Lines of all its files together.
const LINES_MAX: usize = 20_000;

/// What is wrong with its size.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let heart = files.iter().filter(|file| file.path.starts_with(HEART));
    let lines: usize = heart.clone().map(|file| file.text.lines().count()).sum();
    let first = heart.min_by(|a, b| a.path.cmp(&b.path));
    first
        .filter(|_| lines > LINES_MAX)
        .map(|file| {
            let what = format!(
                "the heart has {lines} lines, the limit is {LINES_MAX}: what is not needed to explain a leader that was \
                 paused belongs in a crate beside it"
            );
            vec![file.finding(0, what)]
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_too_many_is_told() {
        let file = |path: &str, lines: usize| File {
            path: path.to_owned(),
            text: "x\n".repeat(lines),
        };
        let half = file("crates/campanile-core/src/a.rs", LINES_MAX / 2);
        let other = file("crates/campanile-core/src/b.rs", LINES_MAX / 2);
        let outside = file("crates/campanile-core/tests/c.rs", LINES_MAX);
        assert!(check(&[half.clone(), other.clone(), outside]).is_empty());
        let more = file("crates/campanile-core/src/c.rs", 1);
        assert_eq!(check(&[half, other, more]).len(), 1);
    }
}
