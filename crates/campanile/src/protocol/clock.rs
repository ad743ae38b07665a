//! Whether the store's clock may be believed. Each reading is compared with a clock of this machine that nobody sets
//! and that goes on while the machine sleeps. A step back is followed at once: nothing is early by it, and what it
//! means is said, with its end. A step forward is not followed before it has lasted: until then the time goes on as it
//! was, so that a clock set wrong for a moment makes nobody's payroll run. Pure: readings in, judgements out.

use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::clock_state::Settling;
use crate::time::Monotonic;

/// A step forward by more than this is not followed before it has lasted.
pub const JUMP_MIN: Duration = Duration::from_secs(60);
/// A step back by more than this is said.
pub const BACK_MIN: Duration = Duration::from_secs(1);
/// How many readings must agree before a step forward is followed.
pub const AGREE_READINGS: u32 = 3;
/// Over how long.
pub const AGREE_OVER: Duration = Duration::from_secs(10);
/// Who has not read for longer than this has not seen it last: it may have been taken back and made again meanwhile.
pub const UNSEEN_MAX: Duration = Duration::from_secs(5);
/// Who reads so seldom follows after so many looks that all show the same step.
pub const AGREE_LOOKS: u32 = 10;
/// While a step is not followed, whoever beats reads as often as this.
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
    /// After it answered.
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
    SetRight {
        /// By how much.
        by: Duration,
    },
    /// It went back by this much. Schedules wait until it is where it was.
    Back {
        /// By how much.
        by: Duration,
        /// Where it was.
        until: Timestamp,
    },
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
/// the store has a record of (`beat`, of nodes that did not leave in order).
#[must_use]
pub fn anchor(store: Timestamp, beat: Option<Timestamp>, wall: Timestamp) -> Option<Timestamp> {
    let is_ahead = store.since(wall) > JUMP_MIN;
    is_ahead.then(|| beat.map_or(wall, |beat| beat.min(wall)))
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

    /// Judges a reading.
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
        if reading.asked.since(step.last.answered) > UNSEEN_MAX {
            (step.first, step.readings) = (reading, 0);
            step.looks += 1;
        }
        (step.last, step.last_by) = (reading, by);
        step.readings += 1;
        let lasted = reading.answered.since(step.first.answered) >= AGREE_OVER;
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
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000;

    /// The store's clock shows this many seconds at this second of our own; the answer took `slow` seconds.
    fn read(own: u64, store: i64, slow: u64) -> Reading {
        Reading {
            store: Timestamp::from_ms((START + store) * 1_000),
            asked: Monotonic::from_ms((own - slow) * 1_000),
            answered: Monotonic::from_ms(own * 1_000),
        }
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_step_forward_is_followed_once_three_readings_over_ten_seconds_agree() {
        let mut watch = Watch::default();
        assert_eq!(watch.take(read(10, 10, 0)), Judgement::Follow);
        assert_eq!(watch.take(read(12, 3_612, 0)), Judgement::Hold(secs(3_600)));
        let still = Judgement::StillHold(secs(3_600));
        assert_eq!(watch.take(read(14, 3_614, 0)), still);
        assert_eq!(
            watch.take(read(18, 3_618, 0)),
            still,
            "three, but not over ten seconds"
        );
        assert_eq!(watch.held(), Some(secs(3_600)));
        assert_eq!(
            watch.take(read(22, 3_622, 0)),
            Judgement::Accept(secs(3_600))
        );
        assert_eq!(watch.held(), None);
        assert_eq!(watch.take(read(24, 3_624, 0)), Judgement::Follow);
    }

    /// Two steps of the same length, with nobody looking in between, are not one that lasted.
    #[test]
    fn a_step_that_nobody_watched_has_not_lasted() {
        let mut watch = Watch::default();
        watch.take(read(10, 10, 0));
        for own in [12, 14, 16] {
            assert!(!watch.take(read(own, own_plus(own), 0)).is_followed());
        }
        let still = Judgement::StillHold(secs(3_600));
        for own in [60, 63, 66, 69] {
            assert_eq!(watch.take(read(own, own_plus(own), 0)), still);
        }
        assert_eq!(
            watch.take(read(70, own_plus(70), 0)),
            Judgement::Accept(secs(3_600))
        );
        // A slow answer is no pause: the store was asked at once again.
        watch.take(read(100, own_plus(100), 0));
        let later = |own: u64| read(own, own_plus(own) + 3_600, 6);
        for own in [107, 114] {
            assert!(!watch.take(later(own)).is_followed());
        }
        assert!(watch.take(later(121)).is_followed());
    }

    #[test]
    fn who_seldom_looks_follows_after_many_looks() {
        let mut watch = Watch::default();
        watch.take(read(10, 10, 0));
        for look in 1..u64::from(AGREE_LOOKS) {
            let own = 10 + look * 300;
            assert!(!watch.take(read(own, own_plus(own), 0)).is_followed());
        }
        assert_eq!(
            watch.take(read(4_000, own_plus(4_000), 0)),
            Judgement::Accept(secs(3_600))
        );
    }

    fn own_plus(own: u64) -> i64 {
        i64::try_from(own).unwrap() + 3_600
    }

    #[test]
    fn a_step_settles_from_where_it_was_followed_and_no_more_once_it_is_set_right() {
        let mut watch = an_hour_ahead();
        let step = watch.settling().unwrap();
        assert_eq!(
            (step.by_ms, step.since),
            (3_600_000, read(22, 3_622, 0).store)
        );
        // Half of it goes back: the other half still counts from where it was followed.
        watch.take(read(24, 1_824, 0));
        let half = watch.settling().unwrap();
        assert_eq!(
            (half.by_ms, half.since),
            (1_800_000, read(22, 1_822, 0).store)
        );
        assert!(half.is_fresh(read(24, 1_824, 0).store));
        watch.take(read(26, 26, 0));
        assert_eq!(watch.settling(), None);
        assert_eq!(Watch::default().settling(), None);
    }

    #[test]
    fn a_step_that_is_taken_back_was_never_followed() {
        let mut watch = Watch::default();
        watch.take(read(10, 10, 0));
        for (own, store) in [(12, 400_000_000), (14, 400_000_002)] {
            assert!(!watch.take(read(own, store, 0)).is_followed());
        }
        assert_eq!(watch.take(read(16, 16, 0)), Judgement::Returned);
        assert_eq!((watch.held(), watch.behind_until()), (None, None));
    }

    /// Followed at second 22, an hour ahead.
    fn an_hour_ahead() -> Watch {
        let mut watch = Watch::default();
        watch.take(read(10, 10, 0));
        for own in [12, 14, 18] {
            watch.take(read(own, 3_600 + own as i64, 0));
        }
        let by = secs(3_600);
        assert_eq!(watch.take(read(22, 3_622, 0)), Judgement::Accept(by));
        watch
    }

    #[test]
    fn a_step_that_was_followed_and_is_taken_back_leaves_no_silence() {
        let mut watch = an_hour_ahead();
        let right = watch.take(read(300, 300, 0));
        assert_eq!(right, Judgement::SetRight { by: secs(3_600) });
        assert!(right.is_back() && right.is_followed());
        assert_eq!(watch.behind_until(), None);
        // It is over: another step back is one of its own.
        let again = watch.take(read(302, 202, 0));
        assert!(matches!(again, Judgement::Back { .. }), "{again:?}");

        // Further back than it was: what lies before the old line has been answered.
        let mut watch = an_hour_ahead();
        let right = watch.take(read(300, 270, 0));
        assert_eq!(right, Judgement::SetRight { by: secs(3_630) });
        let line = Timestamp::from_ms((START + 300) * 1_000);
        assert_eq!(watch.behind_until(), Some(line));

        // In two steps.
        let mut watch = an_hour_ahead();
        let most = watch.take(read(300, 900, 0));
        assert_eq!(most, Judgement::SetRight { by: secs(3_000) });
        let rest = watch.take(read(302, 302, 0));
        assert_eq!(rest, Judgement::SetRight { by: secs(600) });
    }

    #[test]
    fn a_step_back_that_is_another_is_said_with_its_end() {
        // A few minutes are no hour taken back; nor is a day.
        for back in [100, 86_400] {
            let mut watch = an_hour_ahead();
            let judged = watch.take(read(300, 3_900 - back, 0));
            let until = Timestamp::from_ms((START + 3_900) * 1_000);
            let by = secs(u64::try_from(back).unwrap());
            assert_eq!(judged, Judgement::Back { by, until });
        }
        // Nor is one after a week.
        let mut watch = an_hour_ahead();
        let week = 8 * 86_400;
        watch.take(read(week, 3_600 + week as i64, 0));
        let judged = watch.take(read(week + 2, week as i64 + 2, 0));
        assert!(matches!(judged, Judgement::Back { .. }), "{judged:?}");
    }

    #[test]
    fn readings_that_disagree_begin_anew() {
        let mut watch = Watch::default();
        watch.take(read(10, 10, 0));
        assert!(!watch.take(read(12, 1_000, 0)).is_followed());
        assert_eq!(watch.take(read(18, 9_018, 0)), Judgement::Hold(secs(9_000)));
        assert!(
            !watch.take(read(23, 9_023, 0)).is_followed(),
            "the first one does not count"
        );
    }

    #[test]
    fn a_step_back_is_followed_and_has_its_end() {
        let mut watch = Watch::default();
        watch.take(read(1_000, 1_000, 0));
        let until = Timestamp::from_ms((START + 1_002) * 1_000);
        let by = secs(600);
        assert_eq!(
            watch.take(read(1_002, 402, 0)),
            Judgement::Back { by, until }
        );
        assert_eq!(watch.take(read(1_300, 700, 0)), Judgement::Follow);
        assert_eq!(watch.behind_until(), Some(until));
        assert_eq!(watch.take(read(1_602, 1_002, 0)), Judgement::CaughtUp);
        assert_eq!(watch.behind_until(), None);
    }

    #[test]
    fn a_machine_that_slept_and_an_answer_that_was_slow_are_no_steps() {
        let mut watch = Watch::default();
        watch.take(read(10, 10, 0));
        // A night: this machine's own clock went on.
        assert_eq!(watch.take(read(30_010, 30_010, 0)), Judgement::Follow);
        // The store read its clock at the start of an answer that took nine seconds.
        assert_eq!(watch.take(read(30_030, 30_021, 9)), Judgement::Follow);
        assert_eq!(watch.take(read(30_031, 30_031, 0)), Judgement::Follow);
    }

    #[test]
    fn where_a_process_begins_is_the_earliest_that_is_known() {
        let at = |s: i64| Timestamp::from_ms((START + s) * 1_000);
        assert_eq!(anchor(at(100), None, at(90)), None, "a new cluster");
        assert_eq!(
            anchor(at(100), None, at(200)),
            None,
            "a wall clock ahead says nothing"
        );
        assert_eq!(anchor(at(100), Some(at(98)), at(90)), None);
        // An outage: nobody may be told that it is still the hour of the last beat.
        assert_eq!(anchor(at(4_000), Some(at(98)), at(4_000)), None);
        assert_eq!(anchor(at(4_000), Some(at(98)), at(120)), Some(at(98)));
        assert_eq!(anchor(at(4_000), Some(at(3_999)), at(100)), Some(at(100)));
    }

    #[test]
    fn a_process_that_has_read_nothing_compares_with_what_is_recorded() {
        let mut watch = Watch::default();
        let newest = Timestamp::from_ms((START + 10) * 1_000);
        watch.anchor(newest, Monotonic::from_ms(50_000));
        assert!(!watch.take(read(51, 4_000, 0)).is_followed());
        let mut fresh = Watch::default();
        fresh.anchor(newest, Monotonic::from_ms(50_000));
        assert_eq!(fresh.take(read(51, 40, 0)), Judgement::Follow);
    }
}
