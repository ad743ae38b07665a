//! What `doctor` says of rows that can't be read: each with what it means and what to do, up to a bound.

use campanile_adapters::sql::Unreadable;

use super::out::short;

/// Rows that are told one by one.
const TOLD_MAX: usize = 20;

/// One sentence each, and one for the rest.
pub(super) fn told(found: &[Unreadable]) -> Vec<String> {
    let one = |row: &Unreadable| {
        let why = short(&row.why, 300);
        format!("{} can't be read ({why}): {}", row.what, row.remedy)
    };
    let mut told: Vec<String> = found.iter().take(TOLD_MAX).map(one).collect();
    let more = found.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        told.push(format!("{more} more rows can't be read"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_told_in_few_lines() {
        let row = |n: usize| Unreadable {
            what: format!("task `{n}`"),
            why: "cut".to_owned(),
            remedy: "mend it",
        };
        let all: Vec<Unreadable> = (0..25).map(row).collect();
        assert!(told(&all[..0]).is_empty());
        assert_eq!(told(&all[..1]), ["task `0` can't be read (cut): mend it"]);
        let said = told(&all);
        assert_eq!(
            (said.len(), said[20].as_str()),
            (21, "5 more rows can't be read")
        );
    }
}
