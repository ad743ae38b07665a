//! Cron expressions as text: which dialect an expression is in, and what each of its fields allows. Turns text into
//! [`Fields`] or into an [`Error`] that points at the bad piece; searches nothing, knows no zone.
//!
//! The dialects differ in the number of fields, in the numbering of weekdays, and in what two restricted day fields
//! mean; what one dialect alone can spell is refused in the others rather than guessed at.

use crate::fields::{ALL_DATES, ALL_WEEKDAYS, Fields, YEAR_FIELD_MAX, YEAR_FIELD_MIN};
use crate::item::{Item, Kind};
use crate::{Dialect, Error, error::quoted};

/// Longer expressions are refused: the longest useful one (every number of every field listed) is a third of this.
const EXPRESSION_BYTES_MAX: usize = 1_000;

const MONTHS: &[&str] = &[
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const SECOND: Kind = Kind::of(
    "second",
    0,
    59,
    "write 0-59, `*`, a list (0,30), a range (10-20) or a step (*/15)",
);
const MINUTE: Kind = Kind {
    name: "minute",
    ..SECOND
};
const HOUR: Kind = Kind::of(
    "hour",
    0,
    23,
    "write 0-23, `*`, a list (8,20), a range (9-17) or a step (*/2)",
);
const DATE: Kind = Kind {
    spread_high: 28,
    ..Kind::of(
        "day-of-month",
        1,
        31,
        "write 1-31, `*`, a list, a range, a step, or L, L-3, LW, 15W",
    )
};
const MONTH: Kind = Kind {
    names: MONTHS,
    names_from: 1,
    ..Kind::of(
        "month",
        1,
        12,
        "write 1-12 or JAN-DEC, `*`, a list, a range (JUN-AUG) or a step (*/3)",
    )
};
const YEAR: Kind = Kind::of(
    "year",
    YEAR_FIELD_MIN,
    YEAR_FIELD_MAX,
    "write 1970-2199, `*`, a list, a range or a step (2026/2)",
);
/// Sunday is 0, and 7 as well.
const WEEKDAY_UNIX: Kind = Kind {
    names: WEEKDAYS,
    sunday_twice: true,
    spread_high: 6,
    ..Kind::of(
        "day-of-week",
        0,
        7,
        "write 0-7 (0 and 7 are SUN) or SUN-SAT, `*`, a list, a range, 5L or MON#2",
    )
};
/// As in unix, but `*` counts from Monday (seen only in a step: `*/2` is Monday, Wednesday, Friday, Sunday).
const WEEKDAY_SPRING: Kind = Kind {
    star_low: 1,
    ..WEEKDAY_UNIX
};
const WEEKDAY_QUARTZ: Kind = Kind {
    names: WEEKDAYS,
    names_from: 1,
    ..Kind::of(
        "day-of-week",
        1,
        7,
        "write 1-7 (1 is SUN) or SUN-SAT, `*`, `?`, a list, a range, L, 6L or MON#2",
    )
};

/// An expression that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) fields: Fields,
    /// Never [`Dialect::Auto`].
    pub(super) dialect: Dialect,
    /// One space between fields, names in capitals, macros in small letters.
    pub(super) text: String,
    /// Whether both the minute and the hour are listed, none given as `*` or as an open step.
    pub(super) listed: bool,
}

/// Reads an expression. `hash_name` is what `H` is spread by.
pub(super) fn expression(text: &str, dialect: Dialect, hash_name: &str) -> Result<Parsed, Error> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(Error::new(
            "schedule",
            0,
            format!("is longer than {EXPRESSION_BYTES_MAX} bytes"),
        ));
    }
    let pieces = pieces(text);
    let parsed = match pieces.as_slice() {
        [] => {
            return Err(Error::new(
                "schedule",
                0,
                "is empty: write a cron expression, `every 10s`, `after 10m` or `at INSTANT`",
            ));
        }
        [one] if one.text.starts_with('@') => macro_expression(one, dialect)?,
        _ => fielded(&pieces, dialect, hash_name)?,
    };
    if !parsed.fields.can_fire() {
        let at = pieces
            .len()
            .saturating_sub(3 + usize::from(pieces.len() == 7));
        let at = pieces.get(at).map_or(0, |piece| piece.at);
        let message = format!(
            "{} can never fire: no allowed month has such a day",
            quoted(text.trim())
        );
        return Err(Error::never("day-of-month", at, message));
    }
    Ok(parsed)
}

/// The fields of an expression, each with its place in the text.
fn pieces(text: &str) -> Vec<Item<'_>> {
    let start = text.as_ptr() as usize;
    text.split_ascii_whitespace()
        .map(|piece| Item {
            text: piece,
            at: piece.as_ptr() as usize - start,
        })
        .collect()
}

fn macro_expression(item: &Item<'_>, dialect: Dialect) -> Result<Parsed, Error> {
    let name = item.text.to_ascii_lowercase();
    let wrong = |message: String| Err(Error::new("schedule", item.at, message));
    let expansion = match name.as_str() {
        "@reboot" => {
            return wrong(
                "`@reboot` names the start of a machine, which is no instant of a cluster: leave it to that machine (a \
                 systemd unit with WantedBy=multi-user.target that runs the program, or `campanile task trigger NAME` where \
                 the run is to be recorded), or write `every 10m` for what is to go on for ever"
                    .to_owned(),
            );
        }
        _ if dialect == Dialect::Quartz => {
            return wrong(format!(
                "{} is not in the quartz dialect: write the fields out",
                quoted(item.text)
            ));
        }
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => {
            let known = "@hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually";
            return wrong(format!("{} is not known: write {known}", quoted(item.text)));
        }
    };
    let dialect = if dialect == Dialect::Auto {
        Dialect::Unix
    } else {
        dialect
    };
    Ok(Parsed {
        text: name,
        dialect,
        ..fielded(&pieces(expansion), Dialect::Unix, "")?
    })
}

fn fielded(pieces: &[Item<'_>], dialect: Dialect, hash_name: &str) -> Result<Parsed, Error> {
    let read = |dialect| Reader { dialect, hash_name }.read(pieces);
    match (dialect, pieces.len()) {
        (Dialect::Auto | Dialect::Unix, 5) => read(Dialect::Unix),
        (Dialect::Spring, 6) => read(Dialect::Spring),
        (Dialect::Quartz, 6) | (Dialect::Auto | Dialect::Quartz, 7) => read(Dialect::Quartz),
        (Dialect::Auto, 6) => six_fields(pieces, read(Dialect::Spring), read(Dialect::Quartz)),
        (_, found) => {
            let wanted = match dialect {
                Dialect::Unix => "unix cron has 5 (minute hour day-of-month month day-of-week)",
                Dialect::Spring => {
                    "spring has 6 (second minute hour day-of-month month day-of-week)"
                }
                Dialect::Quartz => {
                    "quartz has 6 or 7 (second minute hour day-of-month month day-of-week [year])"
                }
                Dialect::Auto => {
                    "write 5 (minute hour day-of-month month day-of-week), 6 (second first) or 7 (year last)"
                }
            };
            let at = pieces.first().map_or(0, |piece| piece.at);
            let text = quoted(
                &pieces
                    .iter()
                    .map(|piece| piece.text)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
            let fields = if found == 1 { "field" } else { "fields" };
            Err(Error::new(
                "schedule",
                at,
                format!("{text} has {found} {fields}: {wanted}"),
            ))
        }
    }
}

/// Six fields are spring's and quartz's shape alike: what only one of them understands is that one's; where both do
/// and mean other days, guessing would fire on a wrong day in silence.
fn six_fields(
    pieces: &[Item<'_>],
    spring: Result<Parsed, Error>,
    quartz: Result<Parsed, Error>,
) -> Result<Parsed, Error> {
    match (spring, quartz) {
        (Ok(spring), Ok(quartz)) if spring.fields != quartz.fields => {
            let weekday = pieces.last().copied().unwrap_or_default();
            let why = "means other days to spring (0 and 7 are SUN) than to quartz (1 is SUN)";
            let remedy = "write names (MON-FRI), or say which with dialect `spring` or `quartz`";
            Err(Error::new(
                "day-of-week",
                weekday.at,
                format!("{} {why}: {remedy}", quoted(weekday.text)),
            ))
        }
        (Err(_), Ok(quartz)) => Ok(quartz),
        (spring, _) => spring,
    }
}

/// Reads the fields of one dialect.
struct Reader<'a> {
    dialect: Dialect,
    hash_name: &'a str,
}

impl Reader<'_> {
    /// `pieces` has as many fields as the dialect demands: seconds are missing at five, the year up to six.
    fn read(&self, pieces: &[Item<'_>]) -> Result<Parsed, Error> {
        let mut rest = pieces.iter();
        let mut next = || rest.next().copied().unwrap_or_default();
        let mut fields = Fields {
            seconds: 1,
            ..Fields::default()
        };
        if pieces.len() > 5 {
            fields.seconds = self.set(&SECOND, next())?.0;
        }
        let (minutes, minute_open) = self.set(&MINUTE, next())?;
        let (hours, hour_open) = self.set(&HOUR, next())?;
        let (date, month, weekday, year) = (next(), next(), next(), next());
        fields.minutes = minutes;
        fields.hours = hours;
        fields.months = self.set(&MONTH, month)?.0;
        self.check_question_marks(date, weekday)?;
        self.dates(date, &mut fields)?;
        self.weekdays(weekday, &mut fields)?;
        let star = date.text.starts_with('*') || weekday.text.starts_with('*');
        fields.days.either = self.dialect == Dialect::Unix && !star;
        if !year.text.is_empty() && year.text != "*" {
            fields.years = Some(Box::new(self.years(year)?));
        }
        let text = pieces
            .iter()
            .map(|piece| piece.text.to_ascii_uppercase())
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Parsed {
            fields,
            dialect: self.dialect,
            text,
            listed: !minute_open && !hour_open,
        })
    }

    /// The numbers below 64 that a field allows, and whether any of its items is open (`*`, or a step without end).
    fn set(&self, kind: &Kind, field: Item<'_>) -> Result<(u64, bool), Error> {
        let (mut set, mut open) = (0_u64, false);
        for item in field.list() {
            open |= self.spread(kind, item, &mut |n| set |= 1_u64 << n)?;
        }
        Ok((set, open))
    }

    fn spread(
        &self,
        kind: &Kind,
        item: Item<'_>,
        take: &mut dyn FnMut(u16),
    ) -> Result<bool, Error> {
        kind.spread(item, self.dialect, self.hash_name, take)
    }

    fn years(&self, field: Item<'_>) -> Result<[u64; 4], Error> {
        let mut set = [0_u64; 4];
        for item in field.list() {
            self.spread(&YEAR, item, &mut |year| {
                let index = usize::from(year - YEAR_FIELD_MIN);
                if let Some(word) = set.get_mut(index / 64) {
                    *word |= 1 << (index % 64);
                }
            })?;
        }
        Ok(set)
    }

    /// Quartz wants `?` in exactly one day field; spring reads it as `*`; unix doesn't know it.
    fn check_question_marks(&self, date: Item<'_>, weekday: Item<'_>) -> Result<(), Error> {
        const QUARTZ: &str = "quartz wants `?` in exactly one of them";
        const UNIX: &str = "`?` is not in unix cron: write `*`";
        let marks = (date.text == "?", weekday.text == "?");
        let both = |state| {
            let (date_text, weekday_text) = (quoted(date.text), quoted(weekday.text));
            let message =
                format!("{date_text} and day-of-week {weekday_text} are both {state}: {QUARTZ}");
            Err(Error::new("day-of-month", date.at, message))
        };
        match (self.dialect, marks) {
            (Dialect::Quartz, (true, true)) => both("open"),
            (Dialect::Quartz, (false, false)) => both("given"),
            (Dialect::Unix, (true, _)) => Err(Error::new("day-of-month", date.at, UNIX)),
            (Dialect::Unix, (_, true)) => Err(Error::new("day-of-week", weekday.at, UNIX)),
            _ => Ok(()),
        }
    }

    fn dates(&self, field: Item<'_>, fields: &mut Fields) -> Result<(), Error> {
        let days = &mut fields.days;
        if field.text == "?" {
            days.dates = ALL_DATES;
            return Ok(());
        }
        for item in field.list() {
            if let Some(rest) = item.text.strip_prefix(['L', 'l']) {
                let near = rest.strip_suffix(['W', 'w']);
                let set = if near.is_some() {
                    &mut days.near_from_last
                } else {
                    &mut days.from_last
                };
                *set |= 1 << days_before_last(item, near.unwrap_or(rest))?;
            } else if let Some(day) = item.text.strip_suffix(['W', 'w']) {
                days.near |= 1 << DATE.number(item.part(day), item)?;
            } else {
                self.spread(&DATE, item, &mut |day| days.dates |= 1 << day)?;
            }
        }
        Ok(())
    }

    fn weekdays(&self, field: Item<'_>, fields: &mut Fields) -> Result<(), Error> {
        let days = &mut fields.days;
        let (kind, first) = match self.dialect {
            Dialect::Quartz => (&WEEKDAY_QUARTZ, 1),
            Dialect::Spring => (&WEEKDAY_SPRING, 0),
            Dialect::Unix | Dialect::Auto => (&WEEKDAY_UNIX, 0),
        };
        let bit = |n: u16| 1_u8 << ((n - first) % 7);
        if field.text == "?" {
            days.weekdays = ALL_WEEKDAYS;
            return Ok(());
        }
        for item in field.list() {
            if let Some((day, nth)) = item.text.split_once('#') {
                let day = kind.number(item.part(day), item)?;
                let week = match nth.as_bytes() {
                    [digit @ b'1'..=b'5'] => usize::from(digit - b'1'),
                    _ => {
                        let why = "names no week of a month: `#` takes 1 to 5";
                        return Err(kind.wrong_part(item, item.part(nth), why));
                    }
                };
                if let Some(set) = days.nth_weekdays.get_mut(week) {
                    *set |= bit(day);
                }
            } else if let Some(day) = item.text.strip_suffix(['L', 'l']) {
                let day = match (day, self.dialect) {
                    ("", Dialect::Quartz) => {
                        days.weekdays |= bit(7);
                        continue;
                    }
                    ("", _) => {
                        return Err(
                            kind.wrong(item, "names no day: write the day before it, as in 5L")
                        );
                    }
                    _ => kind.number(item.part(day), item)?,
                };
                days.last_weekdays |= bit(day);
            } else {
                self.spread(kind, item, &mut |n| days.weekdays |= bit(n))?;
            }
        }
        Ok(())
    }
}

/// The n of `L-n`; none for `L` alone.
fn days_before_last(item: Item<'_>, rest: &str) -> Result<u32, Error> {
    if rest.is_empty() {
        return Ok(0);
    }
    let digits = rest
        .strip_prefix('-')
        .filter(|n| (1..=2).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|n| n.parse().ok()) {
        Some(n) if n <= 30 => Ok(n),
        _ => {
            let why = "is no day before the last: L-1 to L-30 are";
            Err(DATE.wrong_part(item, item.part(rest), why))
        }
    }
}
