//! What brokers do beyond the port: every adapter claims it, and each claim is tried on the real server, so that what a
//! broker lacks is known to lack, and never passed over. How a thing is tried is the broker's own matter ([`Trials`]);
//! that all are tried, and that claim and trial agree, is judged here.
#![expect(clippy::print_stdout, reason = "the report is what people read of it")]

use async_trait::async_trait;

use crate::broker::Fixture;

/// A claim: the ability by its name, and whether the broker is said to have it.
pub type Claim = (&'static str, bool);

/// How a broker's abilities are tried. Each answers whether it is there.
#[async_trait]
pub trait Trials: Send + Sync {
    /// A subscription that chooses by a property is given those messages alone.
    async fn selectors(&self) -> bool;
    /// A message that its consumer gave up is in a queue that takes those of its queue alone.
    async fn own_dead_letters(&self) -> bool;
    /// A message that was given back comes again after one that was sent later.
    async fn delayed_redelivery(&self) -> bool;
    /// Of several sends that belong together and of which one fails, none is seen.
    async fn transactions(&self) -> bool;
    /// A client can ask who consumes a queue.
    async fn visible_consumers(&self) -> bool;
}

/// Tries all that there is, prints what was found, and holds the claims against it.
///
/// # Panics
/// When a claim is missing, or is not what the trial shows.
pub async fn every_claim_is_tried(
    broker: &str,
    fixture: &Fixture,
    trials: &dyn Trials,
    claims: &[Claim],
) {
    let found = [
        ("priorities", crate::broker::goes_by_priority(fixture).await),
        ("selectors", trials.selectors().await),
        ("own dead letters", trials.own_dead_letters().await),
        ("delayed redelivery", trials.delayed_redelivery().await),
        ("transactions", trials.transactions().await),
        ("visible consumers", trials.visible_consumers().await),
    ];
    for (name, is_there) in found {
        println!("{broker}: {name}: {}", if is_there { "yes" } else { "no" });
    }
    assert_eq!(
        claims, found,
        "what is claimed of {broker} is not what it does"
    );
}
