//! One RFC 5545 recurrence rule as numbers, and the search for its wall times. Owns which days and times a rule allows;
//! it reads no text and knows no zone.
//!
//! A search never goes through what came before. Days are found month by month, from a set of the month's allowed days;
//! the period (every second week, say) that a day belongs to is a division. So a rule is asked about any year at the
//! same cost, and a COUNT becomes a last wall time once, when the rule is read.

mod days;

use crate::civil::{DAY_S, Date, YEAR_MAX, date_of, days_of};
use crate::fuel::Fuel;
use crate::walls::Walls;

/// Months searched for an allowed day: all of the calendar's 400 years.
const MONTHS_MAX: u32 = 4_800;
/// Steps of one search. Whole days repeat after 146,097 periods at most, so only rules in hours, minutes or seconds that
/// fire less than once in so many of them are cut short.
const STEPS_MAX: u32 = 200_000;

/// How often a rule's periods come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freq {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A rule. Empty sets and zero masks allow everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) freq: Freq,
    pub(crate) interval: i64,
    /// The first day of a week, Sunday 0.
    pub(crate) week_start: u32,
    /// Bit m: the month m.
    pub(crate) months: u32,
    /// Bit d: the day d of a month.
    pub(crate) month_days: u32,
    /// Bit d: the day d from the end of a month.
    pub(crate) month_days_back: u32,
    pub(crate) year_days: Vec<i64>,
    pub(crate) weeks: Vec<i64>,
    /// Bit w: each weekday w.
    pub(crate) weekdays: u32,
    /// The nth (from the end if negative) of a weekday, in the month or the year.
    pub(crate) nth_weekdays: Vec<(i64, u32)>,
    /// Bit h, m, s. In rules by days they are spelled out in `times`.
    pub(crate) hours: u64,
    pub(crate) minutes: u64,
    pub(crate) seconds: u64,
    pub(crate) positions: Vec<i64>,
    /// Seconds from the beginning of a day (of an hour, a minute or a second in rules by those), in order.
    pub(crate) times: Vec<i64>,
    /// From where the periods are counted.
    pub(crate) start_s: i64,
    /// The first wall time there is: the start, or what comes after it where the start was not written.
    pub(crate) first_s: i64,
    /// The last wall time there is; a count of a rule that follows elapsed time has a last instant beside it.
    pub(crate) last_s: i64,
}

impl Rule {
    /// Whether it goes on in hours, minutes or seconds, some of them not listed: then it follows elapsed time where the
    /// clocks are changed, as a cron expression with an open step does.
    pub(crate) fn is_elapsed(&self) -> bool {
        let open_hours = self.freq < Freq::Daily && self.hours == 0;
        let open_minutes = self.freq < Freq::Hourly && self.minutes == 0;
        open_hours || open_minutes
    }

    /// The first wall time at or after another.
    pub(super) fn next_wall(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let from_s = from_s.max(self.first_s);
        let found = match self.freq {
            Freq::Secondly | Freq::Minutely | Freq::Hourly => self.next_by_units(from_s, fuel),
            _ if self.positions.is_empty() => self.next_by_days(from_s, fuel),
            _ => self.next_by_positions(from_s, fuel),
        };
        found.filter(|w| *w <= self.last_s)
    }

    /// The last wall time at or before another.
    pub(super) fn previous_wall(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let to_s = to_s.min(self.last_s);
        if to_s < self.first_s {
            return None;
        }
        let found = match self.freq {
            Freq::Secondly | Freq::Minutely | Freq::Hourly => self.previous_by_units(to_s, fuel),
            _ if self.positions.is_empty() => self.previous_by_days(to_s, fuel),
            _ => self.previous_by_positions(to_s, fuel),
        };
        found.filter(|w| *w >= self.first_s)
    }

    fn next_by_days(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut day = from_s.div_euclid(DAY_S);
        for _ in 0..STEPS_MAX {
            if !fuel.burn() {
                return None;
            }
            let allowed = self.allowed_from(day, fuel)?;
            let (first, _) = self.period_from(allowed)?;
            if first > allowed {
                day = first;
                continue;
            }
            if let Some(time) = self.time_from(from_s - allowed * DAY_S) {
                return Some(allowed * DAY_S + time);
            }
            day = allowed + 1;
        }
        None
    }

    fn previous_by_days(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut day = to_s.div_euclid(DAY_S);
        for _ in 0..STEPS_MAX {
            if !fuel.burn() {
                return None;
            }
            let allowed = self.allowed_until(day, fuel)?;
            let (_, end) = self.period_until(allowed)?;
            if end <= allowed {
                day = end - 1;
                continue;
            }
            if let Some(time) = self.time_until(to_s - allowed * DAY_S) {
                return Some(allowed * DAY_S + time);
            }
            day = allowed - 1;
        }
        None
    }

    fn next_by_positions(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut day = from_s.div_euclid(DAY_S);
        for _ in 0..STEPS_MAX {
            if !fuel.burn() {
                return None;
            }
            let (first, end) = self.period_from(day)?;
            let later = self
                .in_period(first, end, fuel)
                .into_iter()
                .filter(|w| *w >= from_s);
            if let Some(wall) = later.min() {
                return Some(wall);
            }
            // The period of the next allowed day may be one that is left out: then the one after it is meant.
            day = self.allowed_from(end, fuel)?;
        }
        None
    }

    fn previous_by_positions(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut day = to_s.div_euclid(DAY_S);
        for _ in 0..STEPS_MAX {
            if !fuel.burn() {
                return None;
            }
            let (first, end) = self.period_until(day)?;
            let earlier = self
                .in_period(first, end, fuel)
                .into_iter()
                .filter(|w| *w <= to_s);
            if let Some(wall) = earlier.max() {
                return Some(wall);
            }
            day = self.allowed_until(first - 1, fuel)?;
        }
        None
    }

    /// The wall times of one period at the asked-for positions.
    fn in_period(&self, first: i64, end: i64, fuel: &Fuel) -> Vec<i64> {
        let next = |day: &i64| self.allowed_from(day + 1, fuel).filter(|d| *d < end);
        let days = std::iter::successors(self.allowed_from(first, fuel).filter(|d| *d < end), next);
        let days: Vec<i64> = days.collect();
        let (times, total) = (self.times.len(), days.len() * self.times.len());
        let wall = |position: &i64| {
            let index = index_of(*position, total)?;
            Some(days.get(index / times)? * DAY_S + self.times.get(index % times)?)
        };
        self.positions.iter().filter_map(wall).collect()
    }

    /// The first time of a period at or after so many seconds of it.
    fn time_from(&self, s: i64) -> Option<i64> {
        let at = self.times.partition_point(|t| *t < s);
        self.times.get(at).copied()
    }

    /// The last time of a period at or before so many seconds of it.
    fn time_until(&self, s: i64) -> Option<i64> {
        let end = self.times.partition_point(|t| *t <= s);
        self.times.get(end.checked_sub(1)?).copied()
    }

    /// Fuel for one month's days: its lists are gone through for each of them.
    fn month_units(&self) -> u64 {
        let lists = self.year_days.len() + self.weeks.len() + self.nth_weekdays.len();
        1 + u64::try_from(lists).unwrap_or(0)
    }

    /// The first day at or after another that the rule's days allow.
    fn allowed_from(&self, day: i64, fuel: &Fuel) -> Option<i64> {
        let date = date_of(day);
        let (mut year, mut month, mut least) = (date.year, date.month, date.day);
        for _ in 0..=MONTHS_MAX {
            if !fuel.burn_units(self.month_units()) {
                return None;
            }
            if year > YEAR_MAX {
                return None;
            }
            let set = self.days_of_month(year, month) & u32::MAX.checked_shl(least).unwrap_or(0);
            if set != 0 {
                let day = set.trailing_zeros();
                return Some(days_of(Date { year, month, day }));
            }
            (year, month) = if month == 12 {
                (year + 1, 1)
            } else {
                (year, month + 1)
            };
            least = 1;
        }
        None
    }

    /// The last day at or before another that the rule's days allow.
    fn allowed_until(&self, day: i64, fuel: &Fuel) -> Option<i64> {
        let date = date_of(day);
        let (mut year, mut month, mut most) = (date.year, date.month, date.day);
        let start_year = date_of(self.start_s.div_euclid(DAY_S)).year;
        for _ in 0..=MONTHS_MAX {
            if !fuel.burn_units(self.month_units()) {
                return None;
            }
            if year < start_year {
                return None;
            }
            let set = self.days_of_month(year, month) & (u32::MAX >> (31 - most.min(31)));
            if set != 0 {
                let day = 31 - set.leading_zeros();
                return Some(days_of(Date { year, month, day }));
            }
            (year, month) = if month == 1 {
                (year - 1, 12)
            } else {
                (year, month - 1)
            };
            most = 31;
        }
        None
    }

    /// The first day of a period that counts, and the day after it: the one that holds a day, or the next.
    fn period_from(&self, day: i64) -> Option<(i64, i64)> {
        let away = self.periods_to(day);
        let periods =
            away.div_euclid(self.interval) + i64::from(away.rem_euclid(self.interval) != 0);
        self.period(periods * self.interval)
    }

    /// The same, but the one that holds a day, or the one before.
    fn period_until(&self, day: i64) -> Option<(i64, i64)> {
        let away = self.periods_to(day);
        if away < 0 {
            return None;
        }
        self.period(away / self.interval * self.interval)
    }

    /// Periods, also those that don't count, from that of the start to that of a day.
    fn periods_to(&self, day: i64) -> i64 {
        let start = self.start_s.div_euclid(DAY_S);
        let months = |day| {
            let date = date_of(day);
            i64::from(date.year) * 12 + i64::from(date.month)
        };
        match self.freq {
            Freq::Yearly => i64::from(date_of(day).year) - i64::from(date_of(start).year),
            Freq::Monthly => months(day) - months(start),
            Freq::Weekly => (self.week_start_of(day) - self.week_start_of(start)) / 7,
            _ => day - start,
        }
    }

    fn period(&self, n: i64) -> Option<(i64, i64)> {
        let start = self.start_s.div_euclid(DAY_S);
        let date = date_of(start);
        let month = |n: i64| {
            let year = i32::try_from(n.div_euclid(12))
                .ok()
                .filter(|y| *y <= YEAR_MAX + 1)?;
            let month = u32::try_from(n.rem_euclid(12)).ok()? + 1;
            Some(days_of(Date {
                year,
                month,
                day: 1,
            }))
        };
        let months = i64::from(date.year) * 12 + i64::from(date.month) - 1;
        match self.freq {
            Freq::Yearly => {
                let year = (i64::from(date.year) + n) * 12;
                Some((month(year)?, month(year + 12)?))
            }
            Freq::Monthly => Some((month(months + n)?, month(months + n + 1)?)),
            Freq::Weekly => {
                let first = self.week_start_of(start) + 7 * n;
                Some((first, first + 7))
            }
            _ => Some((start + n, start + n + 1)),
        }
    }

    /// Seconds of an hour, a minute or a second.
    fn unit_s(&self) -> i64 {
        match self.freq {
            Freq::Hourly => 3_600,
            Freq::Minutely => 60,
            _ => 1,
        }
    }

    fn next_by_units(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let (unit, base) = (
            self.unit_s(),
            self.start_s - self.start_s.rem_euclid(self.unit_s()),
        );
        let step = unit * self.interval;
        let mut cursor = from_s;
        for _ in 0..STEPS_MAX {
            if !fuel.burn() {
                return None;
            }
            let away = cursor.div_euclid(unit) * unit - base;
            let periods = away.div_euclid(step) + i64::from(away.rem_euclid(step) != 0);
            let at = base + periods * step;
            let day = self.allowed_from(at.div_euclid(DAY_S), fuel)?;
            cursor = if day > at.div_euclid(DAY_S) {
                day * DAY_S
            } else if let Some(refused) = self.refused_stretch(at) {
                (at.div_euclid(refused) + 1) * refused
            } else if let Some(time) = self.time_from(from_s - at) {
                return Some(at + time);
            } else {
                at + unit
            };
        }
        None
    }

    fn previous_by_units(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let (unit, base) = (
            self.unit_s(),
            self.start_s - self.start_s.rem_euclid(self.unit_s()),
        );
        let step = unit * self.interval;
        let mut cursor = to_s;
        for _ in 0..STEPS_MAX {
            if !fuel.burn() {
                return None;
            }
            if cursor < base {
                return None;
            }
            let at = base + (cursor - base) / step * step;
            let day = self.allowed_until(at.div_euclid(DAY_S), fuel)?;
            cursor = if day < at.div_euclid(DAY_S) {
                (day + 1) * DAY_S - 1
            } else if let Some(refused) = self.refused_stretch(at) {
                at.div_euclid(refused) * refused - 1
            } else if let Some(time) = self.time_until(to_s - at) {
                return Some(at + time);
            } else {
                at - 1
            };
        }
        None
    }

    /// The length of the hour, minute or second around a wall time that the rule refuses.
    fn refused_stretch(&self, at_s: i64) -> Option<i64> {
        let refuses = |set: u64, n: i64| set != 0 && set >> n & 1 == 0;
        if refuses(self.hours, at_s.rem_euclid(DAY_S) / 3_600) {
            Some(3_600)
        } else if self.freq <= Freq::Minutely && refuses(self.minutes, at_s.rem_euclid(3_600) / 60)
        {
            Some(60)
        } else if self.freq == Freq::Secondly && refuses(self.seconds, at_s.rem_euclid(60)) {
            Some(1)
        } else {
            None
        }
    }
}

impl Walls for Rule {
    fn next_wall(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        Self::next_wall(self, from_s, fuel)
    }

    fn previous_wall(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        Self::previous_wall(self, to_s, fuel)
    }
}

/// The index of a position that counts from 1, or from the end if it is negative.
pub(super) fn index_of(position: i64, total: usize) -> Option<usize> {
    let index = if position > 0 {
        usize::try_from(position - 1).ok()?
    } else {
        total.checked_sub(usize::try_from(-position).ok()?)?
    };
    (index < total).then_some(index)
}
