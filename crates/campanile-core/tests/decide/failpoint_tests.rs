//! The names of the failpoints: each is there once, and leads back to its point.

use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_unique_and_lead_back() {
    let names: BTreeSet<_> = Failpoint::ALL.iter().map(|p| p.name()).collect();
    assert_eq!(names.len(), Failpoint::ALL.len());
    for point in Failpoint::ALL {
        assert_eq!(Failpoint::find(point.name()), Some(*point));
        assert!(point.meaning().ends_with('.'), "{}", point.name());
    }
    assert_eq!(Failpoint::find("fire"), None);
}
