//! Whether the store's clock may be believed. Each reading is compared with a clock of this machine that nobody sets
//! and that goes on while the machine sleeps. A step back is followed at once: nothing is early by it, and what it
//! means is said, with its end. A step forward is not followed before it has lasted: until then the time goes on as it
//! was, so that a clock set wrong for a moment makes nobody's payroll run. Pure: readings in, judgements out.

use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::lead::clock_state::Settling;
use crate::time::Monotonic;

/// A step forward by more than this is not followed before it has lasted.
pub const JUMP_MIN: Duration = Duration::from_secs(60);
/// A step back by more than this is said.
pub const BACK_MIN: Duration = Duration::from_secs(1);
/// How many readings must agree before a step forward is followed.
pub const AGREE_READINGS: u32 = 3;
pub const AGREE_OVER: Duration = Duration::from_secs(10);
/// Who has not read for longer than this has not seen it last: it may have been taken back and made again meanwhile.
pub const UNSEEN_MAX: Duration = Duration::from_secs(5);
/// Who reads so seldom follows after so many looks that all show the same step.
pub const AGREE_LOOKS: u32 = 10;
/// While a step is not followed, whoever heartbeats reads as often as this.
pub const READ_WHILE_HELD: Duration = Duration::from_secs(2);
/// For how long a step forward that was followed may turn out to have been a mistake.
pub const STEP_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Readings agree if they are no further apart than the slowest answer of a store, both ways.
const AGREE_WITHIN: Duration = Duration::from_secs(20);

/// The store's clock as somebody read it, between two readings of this machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What the store's clock showed.
    pub store: Timestamp,
    /// Before it was asked.
    pub asked: Monotonic,
    pub answered: Monotonic,
}

/// What a reading says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It goes on as it should.
    Follow,
    /// It stepped forward by this much: not to be followed yet.
    Hold(Duration),
    /// The same step, seen again: not to be followed yet.
    StillHold(Duration),
    /// The step forward was taken back before it was followed.
    Returned,
    /// The step forward has lasted: to be followed, and what it passed over is caught up.
    Accept(Duration),
    /// It went back by this much, to about where it would be without a step forward that was followed: what was planned in
    /// that step, and has not started, is taken back.
    SetRight { by: Duration },
    /// It went back by this much. Schedules wait until it is where it was.
    Back { by: Duration, until: Timestamp },
    /// It is where it was before it went back.
    CaughtUp,
}

impl Judgement {
    /// Whether the store's clock is to be followed.
    #[must_use]
    pub const fn is_followed(self) -> bool {
        !matches!(self, Self::Hold(_) | Self::StillHold(_))
    }

    /// Whether it went back.
    #[must_use]
    pub const fn is_back(&self) -> bool {
        matches!(self, Self::SetRight { .. } | Self::Back { .. })
    }
}

/// A step forward that is not followed yet.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The first reading of those that came close behind each other.
    first: Reading,
    last: Reading,
    last_by: Duration,
    readings: u32,
    /// How often it was seen after a while without a reading.
    looks: u32,
}

/// The watch over one store's clock.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    trusted: Option<Reading>,
    step: Option<Step>,
    followed: Option<Followed>,
    settling: Option<Settling>,
    behind_until: Option<Timestamp>,
}

/// A step forward that was followed, and may still be taken back.
#[derive(Debug, Clone, Copy)]
struct Followed {
    by: Duration,
    since: Timestamp,
}

impl Followed {
    /// Whether a step back is this one's end, by and large.
    fn is_ended_by(&self, back: Duration, now: Timestamp) -> bool {
        let fresh = now <= self.since.plus(STEP_KEPT);
        fresh && back * 2 >= self.by && back <= self.by + JUMP_MIN
    }
}

fn ms(reading: Monotonic) -> i64 {
    i64::try_from(reading.as_ms()).unwrap_or(i64::MAX)
}

fn length(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Where a process that has read nothing yet begins. Two clocks that agree are believed: `None`, the store's clock is
/// followed at once, and what lies between the last record and now was an outage. Where the store's clock is far ahead of
/// this machine's own wall clock, one of them is wrong: then it begins at the earlier of that and the newest moment that
/// the store has a record of (`seen`: a heartbeat, of nodes that did not leave in order).
#[must_use]
pub fn anchor(store: Timestamp, seen: Option<Timestamp>, wall: Timestamp) -> Option<Timestamp> {
    let is_ahead = store.since(wall) > JUMP_MIN;
    is_ahead.then(|| seen.map_or(wall, |seen| seen.min(wall)))
}

impl Watch {
    /// By how much a step forward goes that is not followed yet.
    #[must_use]
    pub fn held(&self) -> Option<Duration> {
        self.step.map(|step| step.last_by)
    }

    /// While the store's clock is behind where it was: where that is.
    #[must_use]
    pub const fn behind_until(&self) -> Option<Timestamp> {
        self.behind_until
    }

    /// Steps forward that were followed and have not stood for long.
    #[must_use]
    pub const fn settling(&self) -> Option<Settling> {
        self.settling
    }

    /// For a process that has read nothing yet and must not believe the store's clock at once: where the time goes on from
    /// meanwhile.
    pub fn anchor(&mut self, newest: Timestamp, now: Monotonic) {
        self.trusted.get_or_insert(Reading {
            store: newest,
            asked: now,
            answered: now,
        });
    }

    pub fn take(&mut self, reading: Reading) -> Judgement {
        let Some(trusted) = self.trusted else {
            self.trusted = Some(reading);
            return Judgement::Follow;
        };
        let line = trusted.store.as_ms().saturating_sub(ms(trusted.answered));
        let ahead = reading.store.as_ms() - line.saturating_add(ms(reading.answered));
        if ahead > i64::try_from(JUMP_MIN.as_millis()).unwrap_or(i64::MAX) {
            return self.stepped_forward(reading, length(ahead));
        }
        let returned = self.step.take().is_some();
        self.trusted = Some(reading);
        let expected = line.saturating_add(ms(reading.asked));
        let back = length(expected.saturating_sub(reading.store.as_ms()));
        if back > BACK_MIN {
            self.settling = self.settling.and_then(|step| step.without(back));
            let before = Timestamp::from_ms(expected);
            let followed = self.followed.filter(|f| f.is_ended_by(back, reading.store));
            if let Some(followed) = followed {
                return self.set_right(followed, back, before);
            }
            let until = self.behind_until.map_or(before, |t| t.max(before));
            self.behind_until = Some(until);
            return Judgement::Back { by: back, until };
        }
        if self.behind_until.is_some_and(|t| t <= reading.store) {
            self.behind_until = None;
            return Judgement::CaughtUp;
        }
        if returned {
            Judgement::Returned
        } else {
            Judgement::Follow
        }
    }

    /// Back to about the line from before a step: only what lies before that line has been answered.
    fn set_right(&mut self, followed: Followed, by: Duration, before: Timestamp) -> Judgement {
        let left = followed.by.saturating_sub(by);
        self.followed = (left > JUMP_MIN).then_some(Followed {
            by: left,
            ..followed
        });
        let further = by.saturating_sub(followed.by);
        if further > BACK_MIN {
            let line = before.minus(followed.by);
            self.behind_until = Some(self.behind_until.map_or(line, |t| t.max(line)));
        }
        Judgement::SetRight { by }
    }

    fn stepped_forward(&mut self, reading: Reading, by: Duration) -> Judgement {
        let agrees = |step: &Step| {
            let store = reading.store.as_ms() - step.first.store.as_ms();
            let own = ms(reading.answered) - ms(step.first.answered);
            length((store - own).abs()) <= AGREE_WITHIN
        };
        let Some(step) = self.step.as_mut().filter(|step| agrees(step)) else {
            self.step = Some(Step {
                first: reading,
                last: reading,
                last_by: by,
                readings: 1,
                looks: 1,
            });
            return Judgement::Hold(by);
        };
        // Nor was it seen by who stood still between a question and the answer.
        let unseen = |from: Monotonic, to: Monotonic| to.since(from) > UNSEEN_MAX;
        if unseen(step.last.answered, reading.asked) || unseen(reading.asked, reading.answered) {
            (step.first, step.readings) = (reading, 0);
            step.looks += 1;
        }
        (step.last, step.last_by) = (reading, by);
        step.readings += 1;
        // From an answer to a question: what passes while an answer is under way, or its reader stands still, shows nothing.
        let lasted = reading.asked.since(step.first.answered) >= AGREE_OVER;
        let seen = step.readings >= AGREE_READINGS && lasted;
        if !seen && step.looks < AGREE_LOOKS {
            return Judgement::StillHold(by);
        }
        self.step = None;
        self.trusted = Some(reading);
        self.followed = Some(Followed {
            by,
            since: reading.store,
        });
        self.settling = Some(Settling::and(self.settling, by, reading.store));
        if self.behind_until.is_some_and(|t| t <= reading.store) {
            self.behind_until = None;
        }
        Judgement::Accept(by)
    }
}

#[cfg(test)]
#[path = "../../../tests/decide/lead/clock_tests.rs"]
mod tests;
