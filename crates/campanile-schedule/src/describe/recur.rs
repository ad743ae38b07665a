//! Recurrences as sentences: the period, then what of it, then the times, the bounds and the exceptions.

use super::days::{MONTHS, WEEKDAYS};
use super::words::{listed, number_list, numbers, ordinal};
use crate::Recur;
use crate::civil::{DAY_S, date_of};
use crate::recur::rule::{Freq, Rule};

/// More times of a day than this are counted, not listed.
const TIMES_MAX: usize = 6;

impl Recur {
    /// An English sentence, without a full stop.
    pub(super) fn describe(&self) -> String {
        let set = self.set();
        let mut out = set.rule.as_ref().map_or_else(|| "At".to_owned(), rule);
        let count = |n: usize, what: &str| match n {
            0 => String::new(),
            1 => format!(", {what} one written instant"),
            n => format!(", {what} {n} written instants"),
        };
        if set.rule.is_none() {
            out = format!("At {} written instants", set.added.len());
        } else {
            out.push_str(&count(set.added.len(), "and at"));
        }
        out.push_str(&count(set.taken_out.len(), "but not at"));
        if !set.days_taken_out.is_empty() {
            out.push_str(&format!(
                ", but not on {} written days",
                set.days_taken_out.len()
            ));
        }
        format!("{out}, in {}", self.timezone())
    }
}

fn rule(rule: &Rule) -> String {
    let unit = match rule.freq {
        Freq::Secondly => "second",
        Freq::Minutely => "minute",
        Freq::Hourly => "hour",
        Freq::Daily => "day",
        Freq::Weekly => "week",
        Freq::Monthly => "month",
        Freq::Yearly => "year",
    };
    let mut out = match rule.interval {
        1 => format!("Every {unit}"),
        n => format!("Every {n} {unit}s"),
    };
    for part in [
        days(rule),
        weeks(rule),
        months(rule),
        positions(rule),
        times(rule),
    ] {
        out.push_str(&part.map_or_else(String::new, |part| format!(" {part}")));
    }
    out.push_str(&format!(", from {}", wall(rule.start_s)));
    if rule.last_s < i64::MAX / 4 {
        out.push_str(&format!(" to {}", wall(rule.last_s)));
    }
    out
}

fn days(rule: &Rule) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let plain = numbers(u64::from(rule.month_days));
    if !plain.is_empty() {
        parts.push(format!("day {} of the month", number_list(&plain)));
    }
    for n in numbers(u64::from(rule.month_days_back)) {
        parts.push(format!(
            "the {} of the month",
            from_end(i64::from(n), "day")
        ));
    }
    let name = |w: u32| WEEKDAYS.get(usize::try_from(w).unwrap_or(0)).copied();
    let mut weekdays = numbers(u64::from(rule.weekdays));
    weekdays.sort_by_key(|w| (w + 6) % 7);
    parts.extend(weekdays.into_iter().filter_map(name).map(str::to_owned));
    for (n, weekday) in &rule.nth_weekdays {
        let weekday = name(*weekday).unwrap_or_default();
        parts.push(match *n {
            n if n < 0 => format!("the {}", from_end(-n, weekday)),
            n => format!("the {} {weekday}", ordinal(u32::try_from(n).unwrap_or(0))),
        });
    }
    for n in &rule.year_days {
        parts.push(match *n {
            n if n < 0 => format!("the {} of the year", from_end(-n, "day")),
            n => format!("day {n} of the year"),
        });
    }
    (!parts.is_empty()).then(|| format!("on {}", listed(&parts, "and")))
}

/// `last day`, `2nd last day`
fn from_end(n: i64, what: &str) -> String {
    match n {
        1 => format!("last {what}"),
        n => format!("{} last {what}", ordinal(u32::try_from(n).unwrap_or(0))),
    }
}

fn weeks(rule: &Rule) -> Option<String> {
    let weeks: Vec<String> = rule.weeks.iter().map(ToString::to_string).collect();
    (!weeks.is_empty()).then(|| format!("in week {} of the year", listed(&weeks, "and")))
}

fn months(rule: &Rule) -> Option<String> {
    let name = |m: u32| {
        MONTHS
            .get(usize::try_from(m).ok()?.checked_sub(1)?)
            .copied()
    };
    let months = numbers(u64::from(rule.months)).into_iter();
    let months: Vec<String> = months.filter_map(name).map(str::to_owned).collect();
    (!months.is_empty()).then(|| format!("in {}", listed(&months, "and")))
}

fn positions(rule: &Rule) -> Option<String> {
    let one = |n: &i64| match *n {
        n if n < 0 => from_end(-n, "one"),
        n => ordinal(u32::try_from(n).unwrap_or(0)),
    };
    let positions: Vec<String> = rule.positions.iter().map(one).collect();
    (!positions.is_empty())
        .then(|| format!("(of these only the {})", listed(&positions, "and the")))
}

fn times(rule: &Rule) -> Option<String> {
    if matches!(rule.freq, Freq::Secondly | Freq::Minutely | Freq::Hourly) {
        let fields = [
            ("hours", rule.hours),
            ("minutes", rule.minutes),
            ("seconds", rule.seconds),
        ];
        let fields = fields.iter().filter(|(_, set)| *set != 0);
        let parts: Vec<String> = fields
            .map(|(name, set)| format!("{name} {}", number_list(&numbers(*set))))
            .collect();
        return (!parts.is_empty()).then(|| format!("at {}", listed(&parts, "and")));
    }
    match rule.times.len() {
        0 => None,
        n if n > TIMES_MAX => Some(format!("at {n} times of the day")),
        _ => {
            let times: Vec<String> = rule.times.iter().map(|s| clock(*s)).collect();
            Some(format!("at {}", listed(&times, "and")))
        }
    }
}

fn clock(s: i64) -> String {
    let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
    match s {
        0 => format!("{h:02}:{m:02}"),
        s => format!("{h:02}:{m:02}:{s:02}"),
    }
}

/// A wall time as people write it.
fn wall(wall_s: i64) -> String {
    let date = date_of(wall_s.div_euclid(DAY_S));
    let time = clock(wall_s.rem_euclid(DAY_S));
    format!("{:04}-{:02}-{:02} {time}", date.year, date.month, date.day)
}

#[cfg(test)]
mod tests {
    use crate::{Options, Schedule, TimeZoneName};

    #[test]
    fn recurrences_read_as_sentences() {
        let start = "DTSTART:20260105T090000 RRULE:";
        for (rule, expected) in [
            ("FREQ=DAILY", "Every day at 09:00, from 2026-01-05 09:00"),
            (
                "FREQ=WEEKLY;INTERVAL=2;BYDAY=WE,MO",
                "Every 2 weeks on Monday and Wednesday at 09:00, from 2026-01-05 09:00",
            ),
            (
                "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=8,17",
                "Every month on the last Friday at 08:00 and 17:00, from 2026-01-05 09:00",
            ),
            (
                "FREQ=MONTHLY;BYMONTHDAY=1,15,-1;UNTIL=20270101T000000",
                "Every month on day 1 and 15 of the month and the last day of the month at 09:00, from 2026-01-05 \
                 09:00 to 2027-01-01 00:00",
            ),
            (
                "FREQ=YEARLY;BYMONTH=3,6;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
                "Every year on Monday, Tuesday, Wednesday, Thursday and Friday in March and June (of these only the \
                 last one) at 09:00, from 2026-01-05 09:00",
            ),
            (
                "FREQ=HOURLY;BYMINUTE=0,30 EXDATE:20260106T100000",
                "Every hour at minutes 0 and 30, from 2026-01-05 09:00, but not at one written instant",
            ),
        ] {
            let options = Options {
                timezone: TimeZoneName::parse("Europe/Berlin").unwrap(),
                ..Options::default()
            };
            let text = format!("{start}{rule}");
            let schedule = Schedule::parse(Some(&text), &options).unwrap();
            let told = schedule.describe();
            assert_eq!(told, format!("{expected}, in Europe/Berlin"), "{rule}");
        }
    }
}
