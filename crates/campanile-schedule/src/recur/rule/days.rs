//! Which days of a month a rule allows: by the day's number, by weekdays and their places, by days and weeks of the year.

use super::{Freq, Rule};
use crate::civil::{Date, date_of, days_in_month, days_of, weekday_of};

impl Rule {
    /// Bit d: the day d of a month is allowed.
    pub(super) fn days_of_month(&self, year: i32, month: u32) -> u32 {
        if self.months != 0 && self.months >> month & 1 == 0 {
            return 0;
        }
        let length = days_in_month(year, month);
        let mut set = (u32::MAX >> (31 - length)) & !1;
        if self.month_days | self.month_days_back != 0 {
            let back = (1..=length).filter(|d| self.month_days_back >> (length + 1 - d) & 1 == 1);
            set &= back.fold(self.month_days, |set, d| set | 1 << d);
        }
        let first = days_of(Date {
            year,
            month,
            day: 1,
        });
        if self.weekdays != 0 || !self.nth_weekdays.is_empty() {
            set &= self.weekdays_of_month(year, month, first, length);
        }
        if set == 0 || (self.year_days.is_empty() && self.weeks.is_empty()) {
            return set;
        }
        let january = days_of(Date {
            year,
            month: 1,
            day: 1,
        });
        let year_length = days_of(Date {
            year: year + 1,
            month: 1,
            day: 1,
        }) - january;
        let wanted = |day: i64| {
            let n = day - january + 1;
            let by_day = self.year_days.is_empty()
                || self.year_days.contains(&n)
                || self.year_days.contains(&(n - year_length - 1));
            by_day && (self.weeks.is_empty() || self.has_week_of(day))
        };
        let days = (1..=length).filter(|d| set >> d & 1 == 1 && wanted(first + i64::from(*d) - 1));
        days.fold(0, |set, d| set | 1 << d)
    }

    fn weekdays_of_month(&self, year: i32, month: u32, first: i64, length: u32) -> u32 {
        let weekday = weekday_of(first);
        let plain = (1..=length).filter(|d| self.weekdays >> ((weekday + d - 1) % 7) & 1 == 1);
        let mut set = plain.fold(0, |set, d| set | 1 << d);
        let by_month = self.freq == Freq::Monthly || self.months != 0;
        let (scope, scope_end) = if by_month {
            (first, first + i64::from(length))
        } else {
            let january = |year| {
                days_of(Date {
                    year,
                    month: 1,
                    day: 1,
                })
            };
            (january(year), january(year + 1))
        };
        for (n, weekday) in &self.nth_weekdays {
            let day = if *n > 0 {
                let ahead = (weekday + 7 - weekday_of(scope)) % 7;
                scope + i64::from(ahead) + (n - 1) * 7
            } else {
                let back = (weekday_of(scope_end - 1) + 7 - weekday) % 7;
                scope_end - 1 - i64::from(back) + (n + 1) * 7
            };
            let date = date_of(day);
            if (scope..scope_end).contains(&day) && (date.year, date.month) == (year, month) {
                set |= 1 << date.day;
            }
        }
        set
    }

    /// Whether a day is in one of the rule's weeks. A week belongs to the year of its fourth day.
    fn has_week_of(&self, day: i64) -> bool {
        let (year, n) = self.week_of(day);
        let last = self
            .week_of(days_of(Date {
                year,
                month: 12,
                day: 28,
            }))
            .1;
        self.weeks.contains(&n) || self.weeks.contains(&(n - last - 1))
    }

    fn week_of(&self, day: i64) -> (i32, i64) {
        let fourth = self.week_start_of(day) + 3;
        let year = date_of(fourth).year;
        (
            year,
            (fourth
                - days_of(Date {
                    year,
                    month: 1,
                    day: 1,
                }))
                / 7
                + 1,
        )
    }

    pub(super) fn week_start_of(&self, day: i64) -> i64 {
        day - i64::from((weekday_of(day) + 7 - self.week_start) % 7)
    }
}
