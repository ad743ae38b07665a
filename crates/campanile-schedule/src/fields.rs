//! What a cron expression allows, as bit sets, and the search through them: the next or the previous allowed wall time
//! from a given one. Month, then day, then time of day: every step is a jump to the next set bit, none a walk. Knows
//! no zone and no text.

use crate::civil::{DAY_S, Date, YEAR_MAX, date_of, days_in_month, days_of, weekday_of};
use crate::fuel::Fuel;
use crate::walls::Walls;

/// The first year that a year field can name.
pub(super) const YEAR_FIELD_MIN: u16 = 1970;
/// The last year that a year field can name (Quartz's own range).
pub(super) const YEAR_FIELD_MAX: u16 = 2199;
/// The days 1 to 31.
pub(super) const ALL_DATES: u32 = !1;
/// Sunday to Saturday.
pub(super) const ALL_WEEKDAYS: u8 = 0x7f;
/// The calendar repeats after this many years: what isn't found within them never comes.
const SEARCH_YEARS: i32 = 400;

/// The days of a month that an expression allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Days {
    /// Bit d: the day d.
    pub(super) dates: u32,
    /// Bit n: the day n before the month's last (`L`, `L-n`).
    pub(super) from_last: u32,
    /// Bit n: the weekday nearest to the day n before the month's last (`LW`, `L-nW`).
    pub(super) near_from_last: u32,
    /// Bit d: the weekday nearest to the day d (`dW`).
    pub(super) near: u32,
    /// Bit w (0 = Sunday): each such day of the week.
    pub(super) weekdays: u8,
    /// Bit w: the month's last such day (`wL`).
    pub(super) last_weekdays: u8,
    /// Element k-1, bit w: the month's k-th such day (`w#k`).
    pub(super) nth_weekdays: [u8; 5],
    /// Whether one of the two day fields is enough (unix, both restricted), or both must allow the day.
    pub(super) either: bool,
}

impl Days {
    /// The same days in the plainest form: where one of two fields is enough and one allows every day, neither
    /// restricts anything; and a day of the week that is allowed anyway needs no number.
    pub(super) fn plain(&self) -> Self {
        let mut plain = self.clone();
        if plain.dates == ALL_DATES {
            (plain.from_last, plain.near, plain.near_from_last) = (0, 0, 0);
        }
        plain.last_weekdays &= !plain.weekdays;
        plain.nth_weekdays = plain.nth_weekdays.map(|set| set & !plain.weekdays);
        let open = plain.dates == ALL_DATES || plain.weekdays == ALL_WEEKDAYS;
        if self.either && open {
            return Self {
                dates: ALL_DATES,
                weekdays: ALL_WEEKDAYS,
                ..Self::default()
            };
        }
        plain
    }

    /// The allowed days of one month: bit d for day d.
    fn of_month(&self, year: i32, month: u32) -> u32 {
        let length = days_in_month(year, month);
        let first = weekday_of(days_of(Date {
            year,
            month,
            day: 1,
        }));
        let dates = self.by_date(length, first);
        let weekdays = self.by_weekday(length, first);
        let all = u32::MAX >> (31 - length) & !1;
        all & if self.either {
            dates | weekdays
        } else {
            dates & weekdays
        }
    }

    fn by_date(&self, length: u32, first: u32) -> u32 {
        let mut mask = self.dates;
        for n in bits(self.from_last) {
            mask |= if n < length { 1 << (length - n) } else { 0 };
        }
        for n in bits(self.near_from_last) {
            mask |= if n < length {
                1 << nearest_weekday(length - n, length, first)
            } else {
                0
            };
        }
        for day in bits(self.near) {
            mask |= if day <= length {
                1 << nearest_weekday(day, length, first)
            } else {
                0
            };
        }
        mask
    }

    fn by_weekday(&self, length: u32, first: u32) -> u32 {
        let mut mask = 0;
        for weekday in 0..7 {
            let bit = 1_u8 << weekday;
            let first_day = 1 + (weekday + 7 - first) % 7;
            if self.weekdays & bit != 0 {
                mask |= 0x1020_4081_u32 << first_day & !1;
            }
            if self.last_weekdays & bit != 0 {
                mask |= 1 << (first_day + (length - first_day) / 7 * 7);
            }
            for (week, nth) in (0_u32..).zip(self.nth_weekdays) {
                let day = first_day + week * 7;
                mask |= if nth & bit != 0 && day <= length {
                    1 << day
                } else {
                    0
                };
            }
        }
        mask
    }
}

/// The day from Monday to Friday nearest to a day, never in another month.
fn nearest_weekday(day: u32, length: u32, first: u32) -> u32 {
    match (first + day - 1) % 7 {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    }
}

/// What an expression allows: all its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fields {
    /// Bit s: the second s.
    pub(super) seconds: u64,
    /// Bit m: the minute m.
    pub(super) minutes: u64,
    /// Bit h: the hour h.
    pub(super) hours: u64,
    /// Bit m: the month m (1 = January).
    pub(super) months: u64,
    pub(super) days: Days,
    /// Bit y - 1970 over the words: the year y. `None` allows every year.
    pub(super) years: Option<Box<[u64; 4]>>,
}

impl Fields {
    /// Whether any day of the whole calendar is allowed.
    pub(super) fn can_fire(&self) -> bool {
        let start = if self.years.is_some() {
            i32::from(YEAR_FIELD_MIN)
        } else {
            2_000
        };
        self.next_wall(
            days_of(Date {
                year: start,
                month: 1,
                day: 1,
            }) * DAY_S,
            &Fuel::endless(),
        )
        .is_some()
    }

    /// The years that are allowed, if not all are.
    pub(super) fn listed_years(&self) -> Option<Vec<u32>> {
        let words = self.years.as_ref()?;
        let is_allowed = |year: &u16| {
            let n = usize::from(year - YEAR_FIELD_MIN);
            words.get(n / 64).is_some_and(|w| w >> (n % 64) & 1 == 1)
        };
        let years = (YEAR_FIELD_MIN..=YEAR_FIELD_MAX).filter(is_allowed);
        Some(years.map(u32::from).collect())
    }

    fn has_year(&self, year: i32) -> bool {
        let Some(years) = &self.years else {
            return true;
        };
        let Ok(index) = usize::try_from(year - i32::from(YEAR_FIELD_MIN)) else {
            return false;
        };
        years
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// The first day of the next allowed month of this year, or of the next year's January.
    fn month_after(&self, date: Date) -> Date {
        match at_or_after(self.months, date.month + 1) {
            Some(month) if self.has_year(date.year) => Date {
                month,
                day: 1,
                ..date
            },
            _ => Date {
                year: date.year + 1,
                month: 1,
                day: 1,
            },
        }
    }

    /// The last day of the previous allowed month of this year, or of the previous year's December.
    fn month_before(&self, date: Date) -> Date {
        match at_or_before(self.months, date.month - 1) {
            Some(month) if self.has_year(date.year) => Date {
                month,
                day: 31,
                ..date
            },
            _ => Date {
                year: date.year - 1,
                month: 12,
                day: 31,
            },
        }
    }

    fn time_at_or_after(&self, from_s: i64) -> Option<i64> {
        let (hour, minute, second) = clock(from_s);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(s) = at_or_after(self.seconds, second)
            {
                return Some(seconds_of(hour, minute, s));
            }
            if let Some(m) = at_or_after(self.minutes, minute + 1) {
                return Some(seconds_of(hour, m, at_or_after(self.seconds, 0)?));
            }
        }
        let h = at_or_after(self.hours, hour + 1)?;
        Some(seconds_of(
            h,
            at_or_after(self.minutes, 0)?,
            at_or_after(self.seconds, 0)?,
        ))
    }

    fn time_at_or_before(&self, to_s: i64) -> Option<i64> {
        let (hour, minute, second) = clock(to_s);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(s) = at_or_before(self.seconds, second)
            {
                return Some(seconds_of(hour, minute, s));
            }
            if let Some(m) = minute
                .checked_sub(1)
                .and_then(|m| at_or_before(self.minutes, m))
            {
                return Some(seconds_of(hour, m, at_or_before(self.seconds, 59)?));
            }
        }
        let h = hour
            .checked_sub(1)
            .and_then(|h| at_or_before(self.hours, h))?;
        Some(seconds_of(
            h,
            at_or_before(self.minutes, 59)?,
            at_or_before(self.seconds, 59)?,
        ))
    }
}

impl Walls for Fields {
    /// The earliest allowed wall time at or after `from_s`.
    fn next_wall(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut date = date_of(from_s.div_euclid(DAY_S));
        let mut time = from_s.rem_euclid(DAY_S);
        if self.years.is_some() && date.year < i32::from(YEAR_FIELD_MIN) {
            (date, time) = (
                Date {
                    year: i32::from(YEAR_FIELD_MIN),
                    month: 1,
                    day: 1,
                },
                0,
            );
        }
        let last_year = date.year.saturating_add(SEARCH_YEARS).min(YEAR_MAX);
        while date.year <= last_year && fuel.burn() {
            if self.has_year(date.year) && self.months >> date.month & 1 == 1 {
                let days = u64::from(self.days.of_month(date.year, date.month));
                while let Some(day) = at_or_after(days, date.day) {
                    if day != date.day {
                        time = 0;
                    }
                    if let Some(s) = self.time_at_or_after(time) {
                        return Some(days_of(Date { day, ..date }) * DAY_S + s);
                    }
                    date.day = day + 1;
                    time = 0;
                }
            }
            date = self.month_after(date);
            time = 0;
        }
        None
    }

    /// The latest allowed wall time at or before `to_s`.
    fn previous_wall(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut date = date_of(to_s.div_euclid(DAY_S));
        let mut time = to_s.rem_euclid(DAY_S);
        if self.years.is_some() && date.year > i32::from(YEAR_FIELD_MAX) {
            (date, time) = (
                Date {
                    year: i32::from(YEAR_FIELD_MAX),
                    month: 12,
                    day: 31,
                },
                DAY_S - 1,
            );
        }
        let first_year = date.year.saturating_sub(SEARCH_YEARS).max(0);
        while date.year >= first_year && fuel.burn() {
            if self.has_year(date.year) && self.months >> date.month & 1 == 1 {
                let days = u64::from(self.days.of_month(date.year, date.month));
                while let Some(day) = at_or_before(days, date.day) {
                    if day != date.day {
                        time = DAY_S - 1;
                    }
                    if let Some(s) = self.time_at_or_before(time) {
                        return Some(days_of(Date { day, ..date }) * DAY_S + s);
                    }
                    date.day = day - 1;
                    time = DAY_S - 1;
                }
            }
            date = self.month_before(date);
            time = DAY_S - 1;
        }
        None
    }
}

/// Hour, minute and second of a time of day.
fn clock(s: i64) -> (u32, u32, u32) {
    let s = u32::try_from(s).unwrap_or(0);
    (s / 3_600, s / 60 % 60, s % 60)
}

fn seconds_of(hour: u32, minute: u32, second: u32) -> i64 {
    i64::from(hour * 3_600 + minute * 60 + second)
}

/// The lowest set bit from `n` upwards.
fn at_or_after(set: u64, n: u32) -> Option<u32> {
    let rest = u64::MAX.checked_shl(n).unwrap_or(0) & set;
    (rest != 0).then(|| rest.trailing_zeros())
}

/// The highest set bit from `n` downwards.
fn at_or_before(set: u64, n: u32) -> Option<u32> {
    let rest = (u64::MAX >> (63 - n.min(63))) & set;
    (rest != 0).then(|| 63 - rest.leading_zeros())
}

/// The numbers of the set bits.
fn bits(mut set: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros())?;
        set &= set - 1;
        Some(lowest)
    })
}
