//! What every actor of a campaign shares: the stand, the account, when it is over, and what people asked for. An actor
//! owns its victim; actors know nothing of each other, so faults overlap as luck has it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Proof};
use super::load::Task;
use super::stand::Stand;

/// How soon an actor notices that the campaign is over.
const REACTION: Duration = Duration::from_millis(100);

/// What people did, as they know it themselves.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Runs that the API said it took, by id.
    pub accepted: Vec<String>,
    /// Rests of tasks: the name, when the pause was answered, when the resumption was asked for.
    pub rests: Vec<(String, i64, i64)>,
}

/// The shared part.
pub struct Campaign<'a> {
    /// What is broken.
    pub stand: &'a Stand,
    /// The account.
    pub ledger: &'a Ledger,
    /// What runs.
    pub tasks: &'a [Task],
    /// The seed of all dice.
    pub seed: u64,
    /// When it is over.
    pub end: Instant,
    /// When the broker lost what it had, by this machine's clock.
    pub wiped: Mutex<Vec<i64>>,
    /// What people did.
    pub people: Mutex<People>,
    /// What went wrong with the campaign itself.
    pub trouble: Mutex<Vec<String>>,
}

impl Campaign<'_> {
    /// Whether no new fault may begin.
    pub fn over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Waits so long, or until it is over.
    pub fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(REACTION));
        }
    }

    /// Notes a try.
    pub fn note(&self, kind: &str, victim: &str, proof: &Proof) {
        self.ledger.note(kind, victim, proof);
    }

    /// Notes what broke the campaign itself.
    pub fn broke(&self, what: String) {
        lock(&self.trouble).push(what);
    }
}

/// A mutex whose holder can't leave it half changed.
pub fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error as the reason why a fault did not happen.
pub fn why(error: impl std::fmt::Display) -> String {
    error.to_string()
}
