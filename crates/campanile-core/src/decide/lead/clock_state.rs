//! What the leader says of the store's clock in the store, so that whoever reads the store alone, and whoever leads after a
//! crash, knows it: a step forward that is held, a silence after a step back, and a step that was followed and has not
//! stood for long. Pure; it is written only when it changes.

use std::time::Duration;

use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decide::lead::clock::JUMP_MIN;

/// For how long after a step forward that was followed history is still removed by the time before it: what a clock that is
/// years ahead takes for old can't be brought back.
pub const STEP_SETTLES: Duration = Duration::from_secs(86_400);

/// Steps forward that were followed, taken together, and have not stood for long yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// By how much, in milliseconds.
    pub by_ms: u64,
    /// When the last of them was followed, by the clock after it.
    pub since: Timestamp,
}

impl Settling {
    /// Whether it still is to be reckoned with: it was not undone (by a clock that nobody of us saw go back), and has not
    /// stood for long.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.since.minus(JUMP_MIN) <= now && now < self.since.plus(STEP_SETTLES)
    }

    /// The time by which history is removed: without a step that has not stood for long.
    #[must_use]
    pub fn time_of_removals(settling: impl IntoIterator<Item = Self>, now: Timestamp) -> Timestamp {
        let fresh = settling.into_iter().filter(|step| step.is_fresh(now));
        let most = fresh.map(|step| step.by_ms).max().unwrap_or(0);
        now.minus(Duration::from_millis(most))
    }

    pub(super) fn and(before: Option<Self>, by: Duration, since: Timestamp) -> Self {
        let first = since.minus(by);
        let before = before.filter(|step| step.is_fresh(first));
        let more = before.map_or(0, |step| step.by_ms);
        Self {
            by_ms: whole_ms(by).saturating_add(more),
            since,
        }
    }

    pub(super) fn without(self, back: Duration) -> Option<Self> {
        let by_ms = self.by_ms.saturating_sub(whole_ms(back));
        let since = self.since.minus(back);
        (by_ms > 0).then_some(Self { by_ms, since })
    }
}

fn whole_ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// As one leader sees the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockState {
    /// Its term. What an earlier one saw may be over.
    pub epoch: i64,
    /// By how much a step forward goes that is not followed yet, in milliseconds.
    pub held_ms: Option<u64>,
    /// The clock is behind where it was: where that is, in milliseconds since 1970.
    pub behind_until_ms: Option<i64>,
    /// Steps that were followed.
    pub settling: Option<Settling>,
}

impl ClockState {
    /// Of a node's own watch, and what the store has of earlier ones' steps.
    #[must_use]
    pub fn of(
        epoch: i64,
        held: Option<Duration>,
        behind_until: Option<Timestamp>,
        settling: [Option<Settling>; 2],
        now: Timestamp,
    ) -> Self {
        let [own, kept] = settling.map(|step| step.filter(|step| step.is_fresh(now)));
        let reach = |step: Settling| step.by_ms.saturating_add(whole_ms(JUMP_MIN));
        let settling = match (own, kept) {
            (Some(own), Some(kept)) if own.by_ms <= reach(kept) => Some(kept),
            (own, kept) => own.or(kept),
        };
        Self {
            epoch,
            held_ms: held.map(whole_ms),
            behind_until_ms: behind_until.map(Timestamp::as_ms),
            settling,
        }
    }

    /// Whether it is worth a write, where this is what the store has.
    #[must_use]
    pub fn is_news(&self, kept: Option<&Self>) -> bool {
        let none = Self::default();
        let kept = kept.unwrap_or(&none);
        let is_other_step = match (self.held_ms, kept.held_ms) {
            (Some(ours), Some(theirs)) => ours.abs_diff(theirs) > whole_ms(JUMP_MIN),
            (ours, theirs) => ours.is_some() != theirs.is_some(),
        };
        let says_much = self.held_ms.is_some() || self.behind_until_ms.is_some();
        is_other_step
            || self.behind_until_ms != kept.behind_until_ms
            || (self.settling.is_some() && self.settling != kept.settling)
            || (says_much && self.epoch != kept.epoch)
    }

    /// As it is kept.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From what is kept. What can't be read says nothing: it is written again when the clock next does something.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
#[path = "../../../tests/decide/lead/clock_state_tests.rs"]
mod tests;
