//! Ranges: what goes into them comes out of them, and nothing else.

use proptest::prelude::*;

use super::*;

fn shown(ids: Vec<(i64, u32)>) -> Vec<(i64, i64, u32)> {
    let all = ranges(ids);
    all.iter().map(|r| (r.first, r.last, r.common)).collect()
}

#[test]
fn neighbours_that_are_alike_are_one() {
    let batch: Vec<(i64, u32)> = (10..1_010).map(|id| (id, 1)).collect();
    assert_eq!(shown(batch), [(10, 1_009, 1)]);
    assert_eq!(shown(Vec::new()), []);
}

#[test]
fn a_gap_or_a_difference_ends_a_range() {
    let mixed = vec![(4, 1), (1, 1), (2, 1), (5, 2), (6, 2), (8, 2), (8, 2)];
    assert_eq!(shown(mixed), [(1, 2, 1), (4, 4, 1), (5, 6, 2), (8, 8, 2)]);
    // Of one id that is asked for twice otherwise, each is asked for.
    assert_eq!(shown(vec![(1, 2), (1, 1)]), [(1, 1, 1), (1, 1, 2)]);
    let ends = vec![(i64::MAX, 1), (i64::MIN, 1), (i64::MAX - 1, 1)];
    let expected = [(i64::MIN, i64::MIN, 1), (i64::MAX - 1, i64::MAX, 1)];
    assert_eq!(shown(ends), expected);
}

proptest! {
    #[test]
    fn they_hold_these_and_no_others(ids in prop::collection::vec((0..60_i64, 0..3_u32), 0..80)) {
        let all = ranges(ids.clone());
        let held: Vec<(i64, u32)> = all.iter().flat_map(|r| (r.first..=r.last).map(|id| (id, r.common))).collect();
        let mut wanted = ids;
        wanted.sort_unstable();
        wanted.dedup();
        let mut sorted = held.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &wanted);
        // In the order of ids; and where no id is asked for twice, no two ranges could be one.
        prop_assert!(all.windows(2).all(|two| two[0].first <= two[1].first));
        if wanted.windows(2).all(|two| two[0].0 != two[1].0) {
            prop_assert_eq!(held, wanted);
            prop_assert!(all.windows(2).all(|two| two[0].last + 1 < two[1].first || two[0].common != two[1].common));
        }
    }
}
