//! The production engine over the memory adapters, on simulated time, with everything around it broken by the dice of a
//! seed: one seed, one history. Every process has its own runtime on the one thread, so that to crash it is to drop the
//! runtime at whatever await its tasks stand, and to pause it is not to run it. `docs/contribute/simulation.md` says what is
//! simulated and what is not.
//!
//! Read `world.rs` for the driver, `plan.rs` for what a seed decides, `faults.rs` for what strikes, `net.rs`, `store.rs`,
//! `broker.rs` and `lock.rs` for what calls meet, `oracle.rs` for what is judged.

mod broker;
mod faults;
mod handler;
mod lock;
mod logs;
mod net;
mod offers;
mod oracle;
mod people;
mod plan;
mod process;
mod store;
pub mod tally;
mod time;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::tally::Tally;
use crate::world::World;

/// What came of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was broken; `None` = nothing.
    pub violation: Option<String>,
    /// The counts.
    pub tally: Tally,
    /// The same for the same seed.
    pub hash: u64,
    /// The history, line by line, if it was asked for.
    pub history: String,
}

/// How to run a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// It ends after a minute and a half at most: for the tests of every day.
    pub short: bool,
    /// The store's clock jumps ahead again and again for longer than the time after which that is followed, and back. Apart
    /// from the other histories, so that those stay as they are.
    pub jumps: bool,
    /// The broker is a table of the store. Apart from the other histories, as above.
    pub store_broker: bool,
    /// Keep the history for people.
    pub verbose: bool,
}

impl How {
    /// The options that make a history be run so.
    #[must_use]
    pub fn words(self) -> String {
        let all = [
            (self.short, " --short"),
            (self.jumps, " --jumps"),
            (self.store_broker, " --store-broker"),
        ];
        let said = all.into_iter().filter_map(|(is, word)| is.then_some(word));
        said.collect()
    }
}

/// Runs the history of a seed.
#[must_use]
pub fn run(seed: u64, how: How) -> Outcome {
    let mut world = World::new(seed, how);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match result {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => Some(format!("panicked: {}", text_of(&*panic))),
    };
    let (tally, hash, history) = world.into_tally();
    Outcome {
        seed,
        violation,
        tally,
        hash,
        history,
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a word".to_owned())
}
