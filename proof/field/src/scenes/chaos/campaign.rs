//! What every actor of a campaign shares: the stand, the account, when it is over, and what people asked for. An actor
//! owns its victim; actors know nothing of each other, so faults overlap as luck has it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dice::{Deck, Dice, Named};
use super::ledger::{Ledger, Proof};
use crate::judge::People;
use crate::load::Task;
use crate::stand::Stand;

/// How soon an actor notices that the campaign is over.
const REACTION: Duration = Duration::from_millis(100);

pub struct Campaign<'a> {
    pub stand: &'a Stand,
    pub ledger: &'a Ledger,
    pub tasks: &'a [Task],
    /// How long the lock of a leader that died is waited for.
    pub lock_ttl: Duration,
    /// The seed of all dice.
    pub seed: u64,
    pub end: Instant,
    /// When the broker lost what it had, by this machine's clock.
    pub wiped: Mutex<Vec<i64>>,
    pub people: Mutex<People>,
    /// What went wrong with the campaign itself.
    pub trouble: Mutex<Vec<String>>,
}

impl Campaign<'_> {
    /// Whether no new fault may begin.
    pub fn over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Draws from a deck of its own, again and again until it is over, and notes what came of each card and on whom; the
    /// pauses in between are this long, in milliseconds.
    pub fn act<C: Copy>(
        &self,
        actor: &str,
        (least, most): (usize, usize),
        cards: &[Named<C>],
        mut play: impl FnMut(C, &mut Dice) -> (String, Proof),
    ) {
        let mut dice = Dice::new(self.seed, actor);
        let cards = cards
            .iter()
            .map(|(card, kind, often)| ((*card, *kind), *often));
        let mut deck = Deck::new(&cards.collect::<Vec<_>>());
        while !self.over() {
            self.rest(dice.ms(least, most));
            let Some((card, kind)) = deck.draw(&mut dice).filter(|_| !self.over()) else {
                return;
            };
            let (victim, proof) = play(card, &mut dice);
            self.note(kind, &victim, &proof);
        }
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
