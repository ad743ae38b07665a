//! How ids are minted, how they are spelled, and that what was spelled is read back.

use std::sync::Arc;

use super::*;

/// Two processes that ask for one run each in the same millisecond, a thousand times: by the batch alone one in 4,096
/// such pairs would be the same, and among so many of one millisecond some would.
#[test]
fn two_processes_seldom_mint_the_same() {
    let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
    let ids: std::collections::BTreeSet<RunId> = (0..1_000)
        .flat_map(|seed| Mint::new(Arc::new(Random::from_seed(seed))).runs(now, 1))
        .collect();
    assert!(ids.len() >= 999, "{}", ids.len());
    assert!(ids.iter().all(|id| id.minted_at() == now));
}

#[test]
fn one_process_never_mints_twice_and_knows_its_time() {
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
    let mut ids = mint.runs(now, 3_000);
    ids.extend(mint.runs(now, 10));
    let sorted: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(sorted.len(), ids.len());
    assert!(ids.windows(2).all(|w| w[0] < w[1]));
    assert_eq!(ids[0].minted_at(), now);
    assert_eq!(ids[5].number() - ids[0].number(), 5);
    assert_eq!(ids[0].batch(), ids[1023].batch());
    assert!(RunId::floor(now) <= ids[0]);
}
