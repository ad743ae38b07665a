//! The parts of a rule: `FREQ=WEEKLY;BYDAY=MO`. Turns them, and what the start says where they are silent, into a
//! [`Rule`] or into an [`Error`] that points at the bad part; searches nothing.

use super::read::{Piece, moment};
use super::rule::{Freq, Rule, index_of};
use crate::civil::{DAY_S, date_of, weekday_of};
use crate::fuel::Fuel;
use crate::limits;
use crate::time::Timestamp;
use crate::walls;
use crate::zone::TimeZoneName;
use crate::{Error, error::quoted};

/// Times of one day, or of one hour.
const TIMES_MAX: usize = 10_000;
/// Rules with a longer interval would not come twice.
const INTERVAL_MAX: i64 = 1_000_000;
const WEEKDAYS: [&str; 7] = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];
const FREQS: [(&str, Freq); 7] = [
    ("SECONDLY", Freq::Secondly),
    ("MINUTELY", Freq::Minutely),
    ("HOURLY", Freq::Hourly),
    ("DAILY", Freq::Daily),
    ("WEEKLY", Freq::Weekly),
    ("MONTHLY", Freq::Monthly),
    ("YEARLY", Freq::Yearly),
];

/// The parts of a rule as they are written, before the start fills in what is missing.
struct Parts<'a> {
    all: Vec<(&'static str, Piece<'a>)>,
    whole: Piece<'a>,
}

const PARTS: [&str; 14] = [
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "WKST",
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
];

impl<'a> Parts<'a> {
    fn read(whole: Piece<'a>) -> Result<Self, Error> {
        let mut all: Vec<(&'static str, Piece<'a>)> = Vec::new();
        let mut at = whole.at;
        for part in whole.text.split(';') {
            let (key, text) = part.split_once('=').unwrap_or((part, ""));
            let name = PARTS.into_iter().find(|p| p.eq_ignore_ascii_case(key));
            match name {
                Some(name) if all.iter().all(|(n, _)| *n != name) && !text.is_empty() => {
                    let at = at + key.len() + 1;
                    all.push((name, Piece { text, at }));
                }
                Some(name) => {
                    return Err(Error::new(
                        name,
                        at,
                        "is empty or comes twice: write it once",
                    ));
                }
                None if part.is_empty() => {}
                None => {
                    let message = format!(
                        "has {}, which is no part of a rule: the parts are {}",
                        quoted(part),
                        PARTS.join(", ")
                    );
                    return Err(Error::new("RRULE", at, message));
                }
            }
            at += part.len() + 1;
        }
        Ok(Self { all, whole })
    }

    fn get(&self, name: &str) -> Option<Piece<'a>> {
        self.all.iter().find(|(n, _)| *n == name).map(|(_, p)| *p)
    }

    /// The numbers of a part, each of whose amounts lies in a range; negative ones only where they count from an end.
    fn numbers(
        &self,
        name: &'static str,
        low: i64,
        high: i64,
        back: bool,
    ) -> Result<Vec<i64>, Error> {
        let Some(piece) = self.get(name) else {
            return Ok(Vec::new());
        };
        let mut at = piece.at;
        let mut all = Vec::new();
        for text in piece.text.split(',') {
            let n = text.parse::<i64>().ok();
            let fits = |n: &i64| (low..=high).contains(n) || (back && (-high..=-1).contains(n));
            let Some(n) = n.filter(fits) else {
                let range = if back { " or the same below zero" } else { "" };
                let message = format!(
                    "{} is out of range: write {low} to {high}{range}",
                    quoted(text)
                );
                return Err(Error::new(name, at, message));
            };
            all.push(n);
            at += text.len() + 1;
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    fn mask(&self, name: &'static str, low: i64, high: i64) -> Result<u64, Error> {
        Ok(self
            .numbers(name, low, high, false)?
            .iter()
            .fold(0, |set, n| set | 1 << n))
    }

    fn one(&self, name: &'static str, high: i64) -> Result<Option<i64>, Error> {
        let all = self.numbers(name, 1, high, false)?;
        match all.as_slice() {
            [] => Ok(None),
            [n] => Ok(Some(*n)),
            _ => Err(Error::new(
                name,
                self.whole.at,
                "has several numbers: write one",
            )),
        }
    }

    fn freq(&self) -> Result<Freq, Error> {
        let names = || FREQS.map(|(n, _)| n).join(", ");
        let Some(piece) = self.get("FREQ") else {
            let message = format!("is missing: write one of {}", names());
            return Err(Error::new("FREQ", self.whole.at, message));
        };
        let found = FREQS
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(piece.text));
        found.map(|(_, f)| *f).ok_or_else(|| {
            let message = format!(
                "{} is not known: write one of {}",
                quoted(piece.text),
                names()
            );
            Error::new("FREQ", piece.at, message)
        })
    }

    /// Refuses what RFC 5545 forbids together.
    fn check(&self, freq: Freq, nth_weekdays: bool) -> Result<(), Error> {
        let forbid = |name: &'static str, forbidden: bool, remedy: &str| match self.get(name) {
            Some(piece) if forbidden => Err(Error::new(name, piece.at, remedy)),
            _ => Ok(()),
        };
        let coarse = freq >= Freq::Monthly;
        forbid(
            "BYWEEKNO",
            freq != Freq::Yearly,
            "goes with FREQ=YEARLY alone: leave it out",
        )?;
        forbid(
            "BYYEARDAY",
            matches!(freq, Freq::Daily | Freq::Weekly | Freq::Monthly),
            "does not go with FREQ=DAILY, WEEKLY or MONTHLY: write FREQ=YEARLY",
        )?;
        forbid(
            "BYMONTHDAY",
            freq == Freq::Weekly,
            "does not go with FREQ=WEEKLY: write FREQ=MONTHLY or DAILY",
        )?;
        forbid(
            "BYDAY",
            nth_weekdays && (!coarse || self.get("BYWEEKNO").is_some()),
            "has a number before a weekday: that goes with FREQ=MONTHLY, or YEARLY without BYWEEKNO",
        )?;
        let others = self
            .all
            .iter()
            .any(|(n, _)| n.starts_with("BY") && *n != "BYSETPOS");
        forbid(
            "BYSETPOS",
            !others,
            "chooses among what other BY… parts give: write one of them too",
        )?;
        forbid(
            "COUNT",
            self.get("UNTIL").is_some(),
            "and UNTIL exclude each other: write one of the two",
        )
    }
}

fn weekday(text: &str) -> Option<u32> {
    let n = WEEKDAYS.iter().position(|w| w.eq_ignore_ascii_case(text))?;
    u32::try_from(n).ok()
}

/// `MO`, `1MO`, `-1FR`: plain weekdays as a set, and those with a number.
fn weekdays(parts: &Parts<'_>, freq: Freq) -> Result<(u32, Vec<(i64, u32)>), Error> {
    let (mut set, mut nth) = (0, Vec::new());
    let Some(piece) = parts.get("BYDAY") else {
        return Ok((0, nth));
    };
    let most = if freq == Freq::Yearly { 53 } else { 5 };
    let mut at = piece.at;
    for text in piece.text.split(',') {
        let split = text.len().saturating_sub(2);
        let (number, name) = (text.get(..split), text.get(split..));
        let n = number.filter(|n| !n.is_empty()).map(str::parse::<i64>);
        match (n, name.and_then(weekday)) {
            (None, Some(day)) => set |= 1 << day,
            (Some(Ok(n)), Some(day)) if n != 0 && n.abs() <= most => nth.push((n, day)),
            _ => {
                let message = format!(
                    "{} is not understood: write SU, MO, TU, WE, TH, FR, SA, or as in 1MO or -1FR",
                    quoted(text)
                );
                return Err(Error::new("BYDAY", at, message));
            }
        }
        at += text.len() + 1;
    }
    Ok((set, nth))
}

/// Where a rule begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// From where its periods are counted.
    pub(super) start_s: i64,
    /// Its first wall time that counts.
    pub(super) first_s: i64,
    /// Whether it was not written.
    pub(super) implied: bool,
}

/// A rule, and the last instant that it may have beside its last wall time.
pub(super) struct Counted {
    pub(super) rule: Rule,
    pub(super) last: Timestamp,
}

/// Reads a rule.
pub(super) fn rule_of(
    text: Piece<'_>,
    start: Start,
    zone: &TimeZoneName,
    fuel: &Fuel,
) -> Result<Counted, Error> {
    let Start {
        start_s, implied, ..
    } = start;
    let parts = Parts::read(text)?;
    let freq = parts.freq()?;
    let (weekdays, nth_weekdays) = weekdays(&parts, freq)?;
    parts.check(freq, !nth_weekdays.is_empty())?;
    let month_days = parts.numbers("BYMONTHDAY", 1, 31, true)?;
    let side = |sign: i64| {
        month_days
            .iter()
            .filter(move |d| **d * sign > 0)
            .fold(0, |set, d| set | 1 << d.abs())
    };
    let week_start = match parts.get("WKST") {
        None => 1,
        Some(piece) => weekday(piece.text).ok_or_else(|| {
            Error::new(
                "WKST",
                piece.at,
                "is not a weekday: write MO, or SU and the like",
            )
        })?,
    };
    let (last_s, mut last) = match parts.get("UNTIL") {
        None => (i64::MAX / 2, Timestamp::MAX),
        Some(piece) => {
            let until = moment("UNTIL", piece, zone)?;
            let last_s = until.wall_s + if until.whole_day { DAY_S - 1 } else { 0 };
            (last_s, until.instant.unwrap_or(Timestamp::MAX))
        }
    };
    let months = parts.mask("BYMONTH", 1, 12)?;
    let mut rule = Rule {
        freq,
        interval: parts.one("INTERVAL", INTERVAL_MAX)?.unwrap_or(1),
        week_start,
        months: u32::try_from(months).unwrap_or(0),
        month_days: side(1),
        month_days_back: side(-1),
        year_days: parts.numbers("BYYEARDAY", 1, 366, true)?,
        weeks: parts.numbers("BYWEEKNO", 1, 53, true)?,
        weekdays,
        nth_weekdays,
        hours: parts.mask("BYHOUR", 0, 23)?,
        minutes: parts.mask("BYMINUTE", 0, 59)?,
        seconds: parts.mask("BYSECOND", 0, 59)?,
        positions: parts.numbers("BYSETPOS", 1, 366, true)?,
        times: Vec::new(),
        start_s,
        first_s: start_s,
        last_s,
    };
    fill_days(&mut rule);
    fill_times(&mut rule, implied, &parts)?;
    if let Some(count) = parts.one("COUNT", i64::from(limits::MAX_COUNT_MAX))? {
        // Without a written start, what lies between the start that is thought of and the task's creation never was.
        rule.first_s = start.first_s;
        if rule.is_elapsed() {
            last = last_instant(&rule, zone, count, fuel);
        } else {
            rule.last_s = last_wall(&rule, count, fuel);
        }
    }
    if !rule.is_elapsed() {
        last = Timestamp::MAX;
    }
    Ok(Counted { rule, last })
}

/// What a rule says nothing about, its start says.
fn fill_days(rule: &mut Rule) {
    let day = rule.start_s.div_euclid(DAY_S);
    let date = date_of(day);
    let free = rule.weekdays == 0
        && rule.nth_weekdays.is_empty()
        && rule.year_days.is_empty()
        && rule.month_days | rule.month_days_back == 0;
    match rule.freq {
        _ if !free => {}
        Freq::Weekly => rule.weekdays = 1 << weekday_of(day),
        Freq::Yearly if !rule.weeks.is_empty() => rule.weekdays = 1 << weekday_of(day),
        Freq::Monthly => rule.month_days = 1 << date.day,
        Freq::Yearly => {
            rule.month_days = 1 << date.day;
            if rule.months == 0 {
                rule.months = 1 << date.month;
            }
        }
        _ => {}
    }
}

/// The times of a day, or of the hour, minute or second that a rule's periods are.
fn fill_times(rule: &mut Rule, implied: bool, parts: &Parts<'_>) -> Result<(), Error> {
    let second_of_day = rule.start_s.rem_euclid(DAY_S);
    // Without a written start, `BYHOUR=9` means nine o'clock.
    let minute = if implied && rule.hours != 0 {
        0
    } else {
        second_of_day / 60 % 60
    };
    let bits = |set: u64, default: i64| -> Vec<i64> {
        if set == 0 {
            return vec![default];
        }
        (0..60).filter(|n| set >> n & 1 == 1).collect()
    };
    let hours = if rule.freq >= Freq::Daily {
        bits(rule.hours, second_of_day / 3_600)
    } else {
        vec![0]
    };
    let minutes = if rule.freq >= Freq::Hourly {
        bits(rule.minutes, minute)
    } else {
        vec![0]
    };
    let seconds = if rule.freq >= Freq::Minutely {
        bits(rule.seconds, second_of_day % 60)
    } else {
        vec![0]
    };
    if hours.len() * minutes.len() * seconds.len() > TIMES_MAX {
        let message = format!("has more than {TIMES_MAX} times a day: write a finer FREQ instead");
        return Err(Error::new("RRULE", parts.whole.at, message));
    }
    for hour in &hours {
        for minute in &minutes {
            rule.times
                .extend(seconds.iter().map(|s| hour * 3_600 + minute * 60 + s));
        }
    }
    if rule.freq < Freq::Daily && !rule.positions.is_empty() {
        let total = rule.times.len();
        let mut chosen: Vec<usize> = rule
            .positions
            .iter()
            .filter_map(|p| index_of(*p, total))
            .collect();
        chosen.sort_unstable();
        chosen.dedup();
        rule.times = chosen
            .iter()
            .filter_map(|n| rule.times.get(*n).copied())
            .collect();
        rule.positions.clear();
    }
    Ok(())
}

/// The wall time at which a count is used up.
fn last_wall(rule: &Rule, count: i64, fuel: &Fuel) -> i64 {
    let mut last = rule.first_s - 1;
    for _ in 0..count {
        match rule.next_wall(last + 1, fuel) {
            Some(wall) => last = wall,
            None => break,
        }
    }
    last
}

/// The instant at which a count is used up, where a wall time may come twice.
fn last_instant(rule: &Rule, zone: &TimeZoneName, count: i64, fuel: &Fuel) -> Timestamp {
    // No wall shows the start before this instant.
    let mut last = Timestamp::from_ms((rule.first_s - 2 * DAY_S) * 1_000);
    for _ in 0..count {
        match walls::next(rule, zone, walls::ELAPSED, last, fuel) {
            Some(at) => last = at,
            None => break,
        }
    }
    last
}
