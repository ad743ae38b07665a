//! The text of a recurrence: properties apart by white space, and the dates in them. Turns text into a [`Set`] or into an
//! [`Error`] that points at the bad piece; searches nothing.

use super::Set;
use super::parts::{Start, rule_of};
use crate::civil::{DAY_S, Date, days_in_month, days_of};
use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::zone::TimeZoneName;
use crate::{Error, Options, error::quoted};

/// Longer texts are refused: a thousand exceptions fit.
const TEXT_BYTES_MAX: usize = 20_000;

/// A piece of the text and where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// A date or a date with a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall_s: i64,
    /// Where it is written in UTC.
    pub(super) instant: Option<Timestamp>,
    pub(super) whole_day: bool,
}

/// A property: `NAME;PARAMETER=…:VALUE`.
struct Property<'a> {
    name: &'static str,
    zone: Option<Piece<'a>>,
    value: Piece<'a>,
}

/// Reads the whole text.
pub(super) fn recurrence(text: &str, options: &Options, fuel: &Fuel) -> Result<Set, Error> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("is longer than {TEXT_BYTES_MAX} bytes: write a second schedule");
        return Err(Error::new("rrule", 0, message));
    }
    let zone = &options.timezone;
    let (mut start, mut rule) = (None, None);
    let mut set = Set {
        rule: None,
        added: Vec::new(),
        taken_out: Vec::new(),
        days_taken_out: Vec::new(),
        last: Timestamp::MAX,
        text: String::new(),
    };
    let mut properties = Vec::new();
    for (n, piece) in pieces(text).into_iter().enumerate() {
        if n == 0 && piece.text.eq_ignore_ascii_case("rrule") {
            continue;
        }
        properties.push(property(piece)?);
    }
    for property in &properties {
        match property.name {
            "DTSTART" if start.is_none() => start = Some(start_of(property, zone)?),
            "RRULE" if rule.is_none() => rule = Some(property.value),
            "DTSTART" | "RRULE" => {
                let message = "comes twice: write one, and a second schedule for the other";
                return Err(Error::new(property.name, property.value.at, message));
            }
            _ => {}
        }
    }
    let anchor_s = zone.wall_ms(options.anchor).div_euclid(1_000);
    let implied = start.is_none();
    // Without a written start, nobody means the second at which a task was created.
    let start_s = start.map_or(anchor_s - anchor_s.rem_euclid(60), |s| s.wall_s);
    if let Some(text) = rule {
        // A schedule's instants come after the task's creation.
        let first_s = if implied { anchor_s + 1 } else { start_s };
        let start = Start {
            start_s,
            first_s,
            implied,
        };
        let counted = rule_of(text, start, zone, fuel)?;
        (set.rule, set.last) = (Some(counted.rule), counted.last);
    }
    for property in &properties {
        for moment in dates_of(property, zone)? {
            match (property.name, moment.whole_day) {
                ("EXDATE", true) => set.days_taken_out.push(moment.wall_s.div_euclid(DAY_S)),
                ("EXDATE", false) => set.taken_out.push(moment.wall_s),
                (_, true) => set.added.push(moment.wall_s + start_s.rem_euclid(DAY_S)),
                (_, false) => set.added.push(moment.wall_s),
            }
        }
    }
    if rule.is_none() && set.added.is_empty() {
        let message = "has no rule: write RRULE:FREQ=…, or dates after RDATE:";
        return Err(Error::new("rrule", 0, message));
    }
    for list in [&mut set.added, &mut set.taken_out, &mut set.days_taken_out] {
        list.sort_unstable();
        list.dedup();
    }
    set.text = printed(text);
    Ok(set)
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let mut end = 0;
    for piece in text.split_ascii_whitespace() {
        let rest = text.get(end..).unwrap_or_default();
        let at = end + rest.find(piece).unwrap_or(0);
        end = at + piece.len();
        all.push(Piece { text: piece, at });
    }
    all
}

/// The text on one line; a bare rule gets its keyword.
fn printed(text: &str) -> String {
    let mut words: Vec<String> = text.split_ascii_whitespace().map(capitals).collect();
    if words.first().is_some_and(|w| w == "RRULE") {
        words.remove(0);
    }
    match words.as_slice() {
        [rule] => format!("rrule {}", rule.strip_prefix("RRULE:").unwrap_or(rule)),
        _ => words.join(" "),
    }
}

/// Capitals, but zones keep their spelling.
fn capitals(word: &str) -> String {
    match word.split_once(':') {
        Some((name, value)) if name.contains(';') => {
            let (name, parameters) = name.split_once(';').unwrap_or((name, ""));
            let name = name.to_ascii_uppercase();
            format!("{name};{parameters}:{}", value.to_ascii_uppercase())
        }
        _ => word.to_ascii_uppercase(),
    }
}

fn property(piece: Piece<'_>) -> Result<Property<'_>, Error> {
    let Some((head, value)) = piece.text.split_once(':') else {
        if piece.text.contains('=') {
            return Ok(Property {
                name: "RRULE",
                zone: None,
                value: piece,
            });
        }
        let message = format!(
            "{} is not understood: write FREQ=…, or lines that begin with DTSTART, RRULE, EXDATE or RDATE",
            quoted(piece.text)
        );
        return Err(Error::new("rrule", piece.at, message));
    };
    let mut parts = head.split(';');
    let name = parts.next().unwrap_or_default();
    let known = ["DTSTART", "RRULE", "EXDATE", "RDATE"];
    let Some(name) = known.into_iter().find(|k| k.eq_ignore_ascii_case(name)) else {
        let remedy = "is not a property of a recurrence: write DTSTART, RRULE, EXDATE or RDATE";
        return Err(Error::new(
            "rrule",
            piece.at,
            format!("{} {remedy}", quoted(name)),
        ));
    };
    let mut zone = None;
    let mut at = piece.at + name.len() + 1;
    for part in parts {
        let (key, text) = part.split_once('=').unwrap_or((part, ""));
        match (
            key.to_ascii_uppercase().as_str(),
            text.to_ascii_uppercase().as_str(),
        ) {
            ("TZID", _) => {
                let at = at + key.len() + 1;
                zone = Some(Piece { text, at });
            }
            ("VALUE", "DATE" | "DATE-TIME") => {}
            _ => {
                let message = format!(
                    "has {}: write TZID=… or VALUE=DATE, or nothing",
                    quoted(part)
                );
                return Err(Error::new(name, at, message));
            }
        }
        at += part.len() + 1;
    }
    let value = Piece {
        text: value,
        at: piece.at + head.len() + 1,
    };
    Ok(Property { name, zone, value })
}

impl Property<'_> {
    /// Wall times are the task's: another zone can't be meant by one property alone.
    fn check_zone(&self, zone: &TimeZoneName) -> Result<(), Error> {
        match self.zone {
            Some(written) if !zone.is_named(written.text) => {
                let message = format!(
                    "is in {}, but the task's timezone is {zone}: write that zone as `timezone` of the task, and leave TZID out",
                    quoted(written.text)
                );
                Err(Error::new(self.name, written.at, message))
            }
            _ => Ok(()),
        }
    }
}

fn start_of(property: &Property<'_>, zone: &TimeZoneName) -> Result<Moment, Error> {
    property.check_zone(zone)?;
    if property.value.text.ends_with(['Z', 'z']) && !zone.is_named("UTC") {
        let message = format!(
            "is in UTC, but the task's timezone is {zone}: leave the Z off, or write timezone = \"UTC\""
        );
        return Err(Error::new("DTSTART", property.value.at, message));
    }
    moment(property.name, property.value, zone)
}

/// The dates of an EXDATE or RDATE; none of other properties.
fn dates_of(property: &Property<'_>, zone: &TimeZoneName) -> Result<Vec<Moment>, Error> {
    if !matches!(property.name, "EXDATE" | "RDATE") {
        return Ok(Vec::new());
    }
    property.check_zone(zone)?;
    let mut at = property.value.at;
    let mut all = Vec::new();
    for text in property.value.text.split(',') {
        all.push(moment(property.name, Piece { text, at }, zone)?);
        at += text.len() + 1;
    }
    Ok(all)
}

/// Reads `20260105`, `20260105T090000` or `20260105T080000Z`.
pub(super) fn moment(
    name: &'static str,
    piece: Piece<'_>,
    zone: &TimeZoneName,
) -> Result<Moment, Error> {
    let wrong = || {
        let remedy = "is not a date: write 20260105 or 20260105T090000";
        Error::new(name, piece.at, format!("{} {remedy}", quoted(piece.text)))
    };
    let number = |digits: &str| -> Option<u32> {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok())?
    };
    let text = piece.text.to_ascii_uppercase();
    let (date, time) = text
        .split_once('T')
        .map_or((text.as_str(), None), |(d, t)| (d, Some(t)));
    let part = |text: &str, from: usize, to: usize| text.get(from..to).and_then(number);
    let day = (date.len() == 8).then(|| {
        let year = i32::try_from(part(date, 0, 4)?).ok().filter(|y| *y > 0)?;
        let (month, day) = (part(date, 4, 6)?, part(date, 6, 8)?);
        let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        exists.then(|| days_of(Date { year, month, day }))
    });
    let day_s = day.flatten().ok_or_else(wrong)? * DAY_S;
    let Some(time) = time else {
        return Ok(Moment {
            wall_s: day_s,
            instant: None,
            whole_day: true,
        });
    };
    let digits = time.strip_suffix('Z').unwrap_or(time);
    let clock = (digits.len() == 6).then(|| {
        let (h, m, s) = (
            part(digits, 0, 2)?,
            part(digits, 2, 4)?,
            part(digits, 4, 6)?,
        );
        (h < 24 && m < 60 && s < 60).then(|| i64::from(h * 3_600 + m * 60 + s))
    });
    let mut wall_s = day_s + clock.flatten().ok_or_else(wrong)?;
    let instant = time
        .ends_with('Z')
        .then(|| Timestamp::from_ms(wall_s * 1_000));
    if let Some(instant) = instant {
        wall_s = zone.wall_ms(instant).div_euclid(1_000);
    }
    Ok(Moment {
        wall_s,
        instant,
        whole_day: false,
    })
}
