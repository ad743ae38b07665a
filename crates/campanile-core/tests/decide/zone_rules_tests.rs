//! The zone rules of a process, and what is told of them to others who have theirs.

use super::*;

#[test]
fn rules_are_named_by_release_and_content() {
    let (release, print) = zone_rules().split_once(' ').unwrap();
    assert!(!release.is_empty() && print.len() == 8, "{}", zone_rules());
    assert_eq!(zone_rules(), zone_rules());
}
