//! The proleptic Gregorian calendar as whole numbers: days since 1970-01-01, and seconds since that day's midnight on
//! the wall of some zone. Owns the arithmetic alone; it knows no zone, no field and no clock. Plain integers, because
//! the search for a fire time lives in here and must cost nanoseconds.

/// Seconds in a day on the wall.
pub(crate) const DAY_S: i64 = 86_400;
/// The last year that an instant can name.
pub(crate) const YEAR_MAX: i32 = 9_999;

/// A date on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i32,
    /// 1 to 12.
    pub(crate) month: u32,
    /// 1 to 31.
    pub(crate) day: u32,
}

/// Days since 1970-01-01. Years begin in March here, so that the leap day is a year's last.
pub(crate) fn days_of(date: Date) -> i64 {
    let year = i64::from(date.year) - i64::from(date.month <= 2);
    let month = (i64::from(date.month) + 9) % 12;
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + i64::from(date.day) - 1;
    cycle * 146_097 + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year
        - 719_468
}

/// The date of a day number: the inverse of [`days_of`].
pub(crate) fn date_of(days: i64) -> Date {
    let shifted = days + 719_468;
    let cycle = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let date_day = day_of_year - (153 * month + 2) / 5 + 1;
    let date_month = if month < 10 { month + 3 } else { month - 9 };
    let date_year = year + cycle * 400 + i64::from(date_month <= 2);
    Date {
        year: narrow(date_year),
        month: narrow(date_month).unsigned_abs(),
        day: narrow(date_day).unsigned_abs(),
    }
}

/// Years of instants fit `i32` a thousand times over; out of that range the nearest stands in.
fn narrow(n: i64) -> i32 {
    i32::try_from(n).unwrap_or(if n < 0 { i32::MIN } else { i32::MAX })
}

/// 28 to 31.
pub(crate) fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// 0 is Sunday, 6 is Saturday.
pub(crate) fn weekday_of(days: i64) -> u32 {
    narrow((days + 4).rem_euclid(7)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_and_agree_with_an_independent_calendar() {
        let epoch = jiff::civil::date(1970, 1, 1);
        for days in (-719_100..2_932_800).step_by(37) {
            let date = date_of(days);
            assert_eq!(days_of(date), days);
            let theirs = epoch.checked_add(jiff::Span::new().days(days)).unwrap();
            let ours = (date.year, date.month, date.day);
            let (month, day) = (theirs.month().unsigned_abs(), theirs.day().unsigned_abs());
            assert_eq!(
                ours,
                (i32::from(theirs.year()), u32::from(month), u32::from(day))
            );
            assert_eq!(
                weekday_of(days),
                u32::from(theirs.weekday().to_sunday_zero_offset().unsigned_abs())
            );
            let length = u32::from(theirs.days_in_month().unsigned_abs());
            assert_eq!(days_in_month(date.year, date.month), length);
        }
    }
}
