//! What the leader says of the store's clock in the store, so that whoever reads the store alone, and whoever leads after a
//! crash, knows it: a step forward that is held, a silence after a step back, and a step that was followed and has not
//! stood for long. Pure; it is written only when it changes.

use std::time::Duration;

use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::clock::JUMP_MIN;

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

    /// From what is kept. What can't be read says nothing: it is written anew when the clock next does something.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_800_000_000_000 + s * 1_000)
    }

    #[test]
    fn history_is_not_removed_by_a_step_that_has_not_stood_for_a_day() {
        let step = Settling::and(None, YEARS, at(0).plus(YEARS));
        let removal = |now: Timestamp| Settling::time_of_removals([step], now);
        let day = Duration::from_secs(86_400);
        for (now, expected) in [
            (at(0).plus(YEARS), at(0)),
            (at(3_600).plus(YEARS), at(3_600)),
            (at(0).plus(YEARS).plus(day), at(0).plus(YEARS).plus(day)),
            // It went back while nobody looked: there is no step any more.
            (at(50), at(50)),
        ] {
            assert_eq!(removal(now), expected, "{now}");
        }
        assert_eq!(Settling::time_of_removals([], at(7)), at(7));
        // A second step on the same day adds to the first; one long after it doesn't.
        let now = at(600).plus(YEARS).plus(YEARS);
        let two = Settling::and(Some(step), YEARS, now);
        assert_eq!(Settling::time_of_removals([step, two], now), at(600));
        let later = now.plus(day);
        let alone = Settling::and(Some(step), YEARS, later);
        assert_eq!(
            Settling::time_of_removals([alone], later),
            later.minus(YEARS)
        );
        // What is taken back of it does not count, and with all of it nothing is left.
        let half = two.without(YEARS).unwrap();
        assert_eq!(
            Settling::time_of_removals([half], now.minus(YEARS)),
            at(600)
        );
        assert_eq!(two.without(YEARS + YEARS), None);
    }

    #[test]
    fn it_is_written_when_it_begins_changes_and_ends_and_by_each_term_that_sees_it() {
        let of = |epoch, held: Option<u64>, until: Option<Timestamp>| {
            let held = held.map(Duration::from_secs);
            ClockState::of(epoch, held, until, [None; 2], at(0))
        };
        let calm = of(1, None, None);
        assert!(!calm.is_news(None), "a clock that is right costs no write");
        let held = of(1, Some(3_600), None);
        assert!(held.is_news(None) && held.is_news(Some(&calm)));
        assert!(!of(1, Some(3_601), None).is_news(Some(&held)));
        assert!(of(1, Some(7_200), None).is_news(Some(&held)));
        assert!(calm.is_news(Some(&held)), "its end");
        assert!(of(2, Some(3_600), None).is_news(Some(&held)));
        assert!(!of(2, None, None).is_news(Some(&calm)));
        let behind = of(1, None, Some(at(60)));
        assert!(behind.is_news(Some(&calm)) && !behind.is_news(Some(&behind)));
        assert!(of(1, None, Some(at(90))).is_news(Some(&behind)));
        assert_eq!(ClockState::read(&behind.text()), Some(behind));
        assert_eq!(ClockState::read("not ours"), None);
    }

    #[test]
    fn a_step_that_an_earlier_leader_followed_goes_on_to_settle_under_the_next() {
        let step = Settling {
            by_ms: whole_ms(YEARS),
            since: at(0),
        };
        let fresh = |own, kept| ClockState::of(1, None, None, [own, kept], at(10)).settling;
        assert_eq!(fresh(None, Some(step)), Some(step));
        let alike = Settling {
            since: at(1),
            ..step
        };
        assert_eq!(
            fresh(Some(alike), Some(step)),
            Some(step),
            "the same one, seen by two"
        );
        let more = Settling::and(Some(step), YEARS, at(10));
        assert!(fresh(Some(more), Some(step)).is_some_and(|s| s.by_ms >= step.by_ms));
        let settled = ClockState::of(2, None, None, [None, Some(step)], at(86_401));
        assert_eq!(settled.settling, None);
        let kept = ClockState {
            settling: Some(step),
            ..ClockState::default()
        };
        assert!(!settled.is_news(Some(&kept)), "its end needs no write");
    }
}
