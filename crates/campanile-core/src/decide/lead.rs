//! Who leads: one node's view, as a state machine. `waiting → holding (read, verify, begin) → leading → waiting`.
//!
//! The lock decides who tries; [`Effect::Begin`], a compare-and-set in the store, decides who leads. The belief "I lead"
//! ends at `trusted_until`, counted from *before* the request that won or renewed the lock was sent. A holder that is
//! fenced verifies its lock and begins again; one that lost the lock goes back to waiting.

pub mod clock;
pub mod clock_state;
pub mod hold;
pub mod jump;
pub mod zones;

use std::time::Duration;

use crate::port::Written;
use crate::port::lead::Term;
use crate::time::Monotonic;

/// The lock's life and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The lock's time to live.
    pub ttl: Duration,
}

impl Config {
    /// Subtracted from the lock's life before it is believed: covers rounding, and a lock service that counts faster.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.ttl / 10
    }

    /// How often a held lock is renewed.
    #[must_use]
    pub fn renew_period(&self) -> Duration {
        self.ttl / 3
    }

    /// How soon a renewal without an answer is tried again.
    #[must_use]
    pub fn retry_period(&self) -> Duration {
        self.ttl / 20
    }

    /// How long to stay away after the store failed: long enough for another node to win the lock.
    #[must_use]
    pub fn stand_back(&self) -> Duration {
        self.ttl / 2
    }

    /// Until when a lock that was asked for (or renewed) at `asked_at` may be believed.
    #[must_use]
    pub fn trusted_until(&self, asked_at: Monotonic) -> Monotonic {
        asked_at.plus(self.ttl.saturating_sub(self.margin()))
    }
}

/// Where the node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Somebody else has the lock, or nobody does.
    Waiting,
    /// The lock is ours; the store has not been asked yet, or not answered.
    Holding {
        /// Until when the lock may be believed.
        trusted_until: Monotonic,
        /// The epoch that was read while holding.
        read_epoch: Option<i64>,
    },
    /// The term is ours.
    Leading {
        term: Term,
        /// Until when the lock may be believed.
        trusted_until: Monotonic,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The lock is ours; the request was sent at this reading.
    LockTaken {
        /// Before the request was sent.
        asked_at: Monotonic,
    },
    /// The lock is another's.
    LockBusy {
        /// When it would end by itself.
        expires_in: Duration,
    },
    /// The lock service gave no answer.
    LockUnreachable,
    /// The leader row was read.
    EpochRead(i64),
    /// The lock was asked about while holding or leading (which also renews it).
    LockChecked {
        /// Before the request was sent.
        asked_at: Monotonic,
        /// Whether it was still ours.
        mine: bool,
    },
    /// The store answered the bid for this term.
    Begun(Term, Written),
    /// The store gave no answer, or an error, outside a term.
    StoreFailed,
    /// A guard matched no row, or a commit is in doubt: the term is over though the lock may be ours.
    TermBroken,
    Tick,
    /// Somebody asked this leader to step down, or the node stops.
    StepDown,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask for the lock.
    TryLock,
    /// Wait for a release, this long at most, then ask for the lock.
    WaitForLock(Duration),
    /// Read the leader row.
    ReadEpoch,
    /// Ask whether the lock is still ours (a renewal).
    CheckLock,
    /// Bid for the term after this epoch.
    Begin {
        /// The epoch that was read.
        read_epoch: i64,
    },
    /// Start what only a leader does, with empty memory.
    StartTerm(Term),
    /// Stop it and forget all of it.
    EndTerm,
    /// Renew the lock after this time.
    RenewIn(Duration),
    /// Give the lock back.
    Release,
    /// Stay away from the lock this long.
    StandBack(Duration),
}

#[must_use]
pub fn step(state: State, event: Event, now: Monotonic, config: &Config) -> (State, Vec<Effect>) {
    if let (State::Holding { trusted_until, .. } | State::Leading { trusted_until, .. }, false) =
        (&state, matches!(event, Event::LockTaken { .. }))
        && now >= *trusted_until
    {
        // Whatever the event says, the belief has run out: a check that was answered too late proves nothing.
        return give_up(&state, Effect::TryLock);
    }
    match (state, event) {
        (State::Waiting, Event::LockTaken { asked_at }) => {
            let trusted_until = config.trusted_until(asked_at);
            if now >= trusted_until {
                return (State::Waiting, vec![Effect::Release, Effect::TryLock]);
            }
            (
                State::Holding {
                    trusted_until,
                    read_epoch: None,
                },
                vec![Effect::ReadEpoch],
            )
        }
        (State::Waiting, Event::LockBusy { expires_in }) => {
            (State::Waiting, vec![Effect::WaitForLock(expires_in)])
        }
        (State::Waiting, Event::LockUnreachable) => (
            State::Waiting,
            vec![Effect::StandBack(config.retry_period())],
        ),
        (State::Waiting, Event::StepDown) => (State::Waiting, vec![]),
        (State::Waiting, _) => (State::Waiting, vec![Effect::TryLock]),
        (state @ State::Holding { .. }, event) => holding(state, event, config),
        (
            State::Leading {
                term,
                trusted_until,
            },
            event,
        ) => leading(term, trusted_until, &event, config),
    }
}

fn holding(state: State, event: Event, config: &Config) -> (State, Vec<Effect>) {
    let State::Holding {
        trusted_until,
        read_epoch,
    } = state
    else {
        return (state, vec![]);
    };
    let held = |read_epoch| State::Holding {
        trusted_until,
        read_epoch,
    };
    match (event, read_epoch) {
        (Event::EpochRead(epoch), _) => (held(Some(epoch)), vec![Effect::CheckLock]),
        (
            Event::LockChecked {
                asked_at,
                mine: true,
            },
            Some(epoch),
        ) => {
            let trusted_until = config.trusted_until(asked_at);
            (
                State::Holding {
                    trusted_until,
                    read_epoch,
                },
                vec![Effect::Begin { read_epoch: epoch }],
            )
        }
        (Event::LockChecked { mine: false, .. }, _) => (State::Waiting, vec![Effect::TryLock]),
        (Event::Begun(term, Written::Applied), _) => (
            State::Leading {
                term: term.clone(),
                trusted_until,
            },
            vec![
                Effect::StartTerm(term),
                Effect::RenewIn(config.renew_period()),
            ],
        ),
        // Somebody began a term between the reading and the bid: read again, as long as the lock is ours.
        (Event::Begun(_, Written::Stale), _) => (held(None), vec![Effect::ReadEpoch]),
        (Event::StoreFailed, _) => (
            State::Waiting,
            vec![Effect::Release, Effect::StandBack(config.stand_back())],
        ),
        (Event::StepDown, _) => (State::Waiting, vec![Effect::Release]),
        // A service that fails at once would be asked without a pause.
        (Event::LockUnreachable, _) => (held(None), vec![Effect::StandBack(config.retry_period())]),
        (Event::Tick, _) => (held(None), vec![Effect::ReadEpoch]),
        (_, _) => (held(read_epoch), vec![]),
    }
}

fn leading(
    term: Term,
    trusted_until: Monotonic,
    event: &Event,
    config: &Config,
) -> (State, Vec<Effect>) {
    match event {
        Event::LockChecked {
            asked_at,
            mine: true,
        } => (
            State::Leading {
                term,
                trusted_until: config.trusted_until(*asked_at),
            },
            vec![Effect::RenewIn(config.renew_period())],
        ),
        Event::LockChecked { mine: false, .. } => {
            (State::Waiting, vec![Effect::EndTerm, Effect::TryLock])
        }
        Event::LockUnreachable => (
            State::Leading {
                term,
                trusted_until,
            },
            vec![Effect::RenewIn(config.retry_period())],
        ),
        Event::TermBroken => (
            State::Holding {
                trusted_until,
                read_epoch: None,
            },
            vec![Effect::EndTerm, Effect::ReadEpoch],
        ),
        Event::StepDown => (
            State::Waiting,
            vec![
                Effect::EndTerm,
                Effect::Release,
                Effect::StandBack(config.stand_back()),
            ],
        ),
        _ => (
            State::Leading {
                term,
                trusted_until,
            },
            vec![],
        ),
    }
}

fn give_up(state: &State, then: Effect) -> (State, Vec<Effect>) {
    let mut effects = Vec::new();
    if matches!(state, State::Leading { .. }) {
        effects.push(Effect::EndTerm);
    }
    effects.push(then);
    (State::Waiting, effects)
}

/// The epoch to bid for: greater than the one read, and than any that a restored backup could have seen before (wall
/// seconds), so that numbers seldom come back; the holder's name covers what is left.
#[must_use]
pub fn next_epoch(read_epoch: i64, wall_seconds: i64) -> i64 {
    (read_epoch + 1).max(wall_seconds)
}

#[cfg(test)]
#[path = "../../tests/decide/lead_tests.rs"]
mod tests;
