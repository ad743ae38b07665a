//! Fuel: how much computing somebody may have. A walk whose length a stranger chooses burns a unit with each step, and
//! stops when none is left or when nobody waits for its answer any more. Pure: it reads no clock, so the same input
//! takes the same fuel on every machine and in every test. What is done about work that ran out is its caller's.
//!
//! A walk that runs out answers "nothing", and the fuel stays empty: so whoever uses such an answer asks
//! [`Fuel::check`] first, and an answer that was cut short never passes for a whole one.
//!
//! ```
//! use campanile_schedule::fuel::{Fuel, Spent};
//! use campanile_schedule::{Options, Schedule, Timestamp};
//!
//! let secondly = Schedule::parse(Some("* * * * * *"), &Options::default())?;
//! let fuel = Fuel::of(1_000);
//! assert!(secondly.steps(Timestamp::MIN, &fuel).count() < 1_000);
//! assert_eq!(fuel.check(), Err(Spent::Empty { units: 1_000 }));
//! # Ok::<(), campanile_schedule::Error>(())
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many units are burnt between two looks at whether anybody still waits: about a hundredth of a millisecond.
const LOOK_EVERY_UNITS: u64 = 256;

/// Says from outside that an answer is not wanted any more. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    all: Option<Arc<AtomicBool>>,
}

impl Cancel {
    /// Not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is cancelled with this one, and also by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            own: Arc::default(),
            all: Some(Arc::clone(&self.own)),
        }
    }

    /// Cancels: what burns fuel of it stops within moments.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Whether it is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let set = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        set(&self.own) || self.all.as_ref().is_some_and(set)
    }
}

/// Cancels when it is dropped: whoever waited is gone, or has the answer.
#[derive(Debug)]
pub struct CancelOnDrop(pub Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Why a walk was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    /// It would have taken more than it was given.
    #[error("takes more than {units} steps to work out, which is the limit")]
    Empty {
        /// What it was given.
        units: u64,
    },
    /// Nobody waits for it any more.
    #[error("was given up, because nobody waits for the answer")]
    Cancelled,
}

/// Units that may still be burnt. One unit stands for a step of some tens to hundreds of nanoseconds.
#[derive(Debug, Default)]
pub struct Fuel {
    units: u64,
    left: AtomicU64,
    cancel: Option<Cancel>,
    /// Set once; see the head of this file.
    spent: AtomicBool,
}

impl Fuel {
    /// So many units.
    #[must_use]
    pub fn of(units: u64) -> Self {
        Self {
            units,
            left: AtomicU64::new(units),
            cancel: None,
            spent: AtomicBool::new(false),
        }
    }

    /// So many units, as long as nobody cancels.
    #[must_use]
    pub fn cancelled_by(units: u64, cancel: Cancel) -> Self {
        Self {
            cancel: Some(cancel),
            ..Self::of(units)
        }
    }

    /// More than any walk burns: for what is bounded otherwise.
    #[must_use]
    pub fn endless() -> Self {
        Self::of(u64::MAX)
    }

    /// Takes one unit; false when the walk has to stop.
    pub fn burn(&self) -> bool {
        self.burn_units(1)
    }

    /// Takes some units at once, or what is left and says that the walk has to stop. One walk burns at a time; who
    /// shares fuel between threads may burn a few units twice.
    pub fn burn_units(&self, units: u64) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left < units {
            self.stop();
            return false;
        }
        let rest = left - units;
        self.left.store(rest, Ordering::Relaxed);
        if left / LOOK_EVERY_UNITS != rest / LOOK_EVERY_UNITS && self.is_cancelled() {
            self.stop();
            return false;
        }
        true
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(Cancel::is_cancelled)
    }

    fn stop(&self) {
        self.left.store(0, Ordering::Relaxed);
        self.spent.store(true, Ordering::Relaxed);
    }

    /// Whether all that was worked out with it is whole.
    ///
    /// # Errors
    /// [`Spent`], when a walk had to stop.
    pub fn check(&self) -> Result<(), Spent> {
        match self.spent.load(Ordering::Relaxed) {
            false => Ok(()),
            true if self.is_cancelled() => Err(Spent::Cancelled),
            true => Err(Spent::Empty { units: self.units }),
        }
    }

    /// The units that were burnt; all of them once it is empty.
    #[must_use]
    pub fn burnt(&self) -> u64 {
        self.units - self.left.load(Ordering::Relaxed)
    }

    /// A part of it for one piece of work: at most so many units, or what is left. What the piece burns is taken from
    /// here by [`Fuel::settle`].
    #[must_use]
    pub fn share(&self, units: u64) -> Self {
        let units = units.min(self.left.load(Ordering::Relaxed));
        Self {
            cancel: self.cancel.clone(),
            ..Self::of(units)
        }
    }

    /// Takes what a share has burnt. The share's own check says whether its piece is whole.
    pub fn settle(&self, share: &Self) {
        let left = self.left.load(Ordering::Relaxed);
        self.left
            .store(left.saturating_sub(share.burnt()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_burns_to_the_last_unit_and_stays_empty() {
        let fuel = Fuel::of(3);
        assert!(fuel.burn() && fuel.burn_units(2));
        assert_eq!(fuel.check(), Ok(()));
        assert!(!fuel.burn());
        assert_eq!(fuel.check(), Err(Spent::Empty { units: 3 }));
        assert!(!fuel.burn_units(0) || fuel.check().is_err());
        assert_eq!(fuel.burnt(), 3);
    }

    #[test]
    fn who_cancels_stops_a_walk_that_has_enough() {
        let cancel = Cancel::new();
        let fuel = Fuel::cancelled_by(u64::MAX, cancel.child());
        assert!(fuel.burn());
        cancel.cancel();
        let steps = (0..10_000).take_while(|_| fuel.burn()).count();
        assert!(steps <= 256, "{steps}");
        assert_eq!(fuel.check(), Err(Spent::Cancelled));
    }

    #[test]
    fn a_child_does_not_cancel_its_parent() {
        let parent = Cancel::new();
        let (one, other) = (parent.child(), parent.child());
        one.cancel();
        assert!(one.is_cancelled() && !other.is_cancelled() && !parent.is_cancelled());
    }

    #[test]
    fn a_share_is_taken_from_the_whole() {
        let whole = Fuel::of(100);
        let share = whole.share(30);
        assert!(share.burn_units(30) && !share.burn());
        whole.settle(&share);
        assert_eq!((whole.burnt(), whole.check()), (30, Ok(())));
        assert_eq!(whole.share(1_000).check(), Ok(()));
        assert!(!whole.share(1_000).burn_units(71));
    }
}
