//! A schedule: text in, and from any instant the next and the previous occurrence. Owns the choice between its forms;
//! what each of them means is the business of `cron`, `every`, `after` and `recur`.

use std::fmt;

use crate::after::After;
use crate::bounds::Bounded;
use crate::cron::Cron;
use crate::error::{Error, quoted, too_much};
use crate::every::Every;
use crate::foreign;
use crate::fuel::Fuel;
use crate::limits;
use crate::moment::{Moment, Once};
use crate::options::Options;
use crate::recur::Recur;
use crate::time::{Timestamp, parse_duration};

/// What follows `every`, `after` and `at` is shorter than this, whatever it says.
const AFTER_WORD_BYTES_MAX: usize = 100;

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the times of a cron expression.
    Cron(Cron),
    /// At a fixed interval.
    Every(Every),
    /// A fixed delay after the end of the run before.
    After(After),
    /// At the times of an RFC 5545 recurrence.
    Recur(Recur),
    /// Once.
    At(Timestamp),
    /// At a wall time of a zone.
    Once(Once),
    /// At the times of each of several; an instant of two of them is one occurrence.
    Union(Vec<Schedule>),
    /// Only within bounds.
    Bounded(Box<Bounded>),
    /// Never by itself.
    OnRequest,
}

impl Schedule {
    /// Reads a schedule: a cron expression (`0 2 * * *`, `@daily`), `every 10s`, `after 10m`, `at 2026-12-01T08:00:00+01:00`, or
    /// `at 2026-12-01T08:00` on the zone's wall, `rrule FREQ=WEEKLY;BYDAY=MO`, or nothing for only on request.
    ///
    /// # Errors
    /// Names the field that can't be read and what would be right. What can never fire is refused as well.
    pub fn parse(text: Option<&str>, options: &Options) -> Result<Self, Error> {
        Self::parse_by(text, options, &Fuel::endless())
    }

    /// The same with fuel: what a recurrence counts, and whether it ever fires, is looked for with it.
    ///
    /// # Errors
    /// As [`Schedule::parse`]; what can't be worked out with the fuel is refused as well.
    pub fn parse_by(text: Option<&str>, options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        Self::read(text, options, fuel).map_err(|error| {
            let named = text.and_then(|text| foreign::named(text, options));
            named.filter(|_| !error.never_fires).unwrap_or(error)
        })
    }

    fn read(text: Option<&str>, options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(Self::OnRequest);
        };
        let start = text.len() - text.trim_start().len();
        let (word, rest) = text
            .trim()
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((text.trim(), ""));
        let rest_at = (start + word.len() + 1).min(text.len());
        match word {
            "every" | "after" | "at" if rest.len() > AFTER_WORD_BYTES_MAX => {
                let message = format!(
                    "{} is longer than {AFTER_WORD_BYTES_MAX} bytes: write `every 10s`, `after 10m` or `at 2026-12-01T08:00:00Z`",
                    quoted(rest)
                );
                Err(Error::new("schedule", rest_at, message))
            }
            "every" => {
                let interval = parse_duration(rest)
                    .map_err(|message| Error::new("interval", rest_at, message))?;
                let every =
                    Every::new(interval, options.anchor).map_err(|e| Error { at: rest_at, ..e })?;
                Ok(Self::Every(every))
            }
            "after" => {
                let delay = parse_duration(rest)
                    .map_err(|message| Error::new("delay", rest_at, message))?;
                let after = After::new(delay).map_err(|e| Error { at: rest_at, ..e })?;
                Ok(Self::After(after))
            }
            "at" => {
                let moment = Moment::parse(rest.trim())
                    .map_err(|message| Error::new("at", rest_at, message))?;
                match moment {
                    Moment::Instant(instant) => Ok(Self::At(instant)),
                    Moment::Wall(wall) => Once::new(wall, options.timezone.clone(), options.dst)
                        .map(Self::Once)
                        .map_err(|e| Error { at: rest_at, ..e }),
                }
            }
            _ if Recur::is_meant(word) => {
                let recur = Recur::parse_by(text, options, fuel);
                // Run out, it looks as if it never fired.
                fuel.check().map_err(|spent| too_much(&spent))?;
                recur.map(Self::Recur)
            }
            _ => Cron::parse(text, options).map(Self::Cron),
        }
    }

    /// Reads several schedules as one: none = only on request.
    ///
    /// # Errors
    /// As [`Schedule::parse`]; of several, the one at fault is named by its number.
    pub fn parse_all(texts: &[String], options: &Options) -> Result<Self, Error> {
        Self::parse_all_by(texts, options, &Fuel::endless())
    }

    /// The same with fuel; see [`Schedule::parse_by`].
    ///
    /// # Errors
    /// As [`Schedule::parse_by`]; of several, the one at fault is named by its number.
    pub fn parse_all_by(texts: &[String], options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        if texts.len() > limits::SCHEDULES_MAX {
            let message = format!(
                "has {} entries: write {} at most",
                texts.len(),
                limits::SCHEDULES_MAX
            );
            return Err(Error::new("schedule", 0, message));
        }
        match texts {
            [] => Ok(Self::OnRequest),
            [one] => Self::parse_by(Some(one), options, fuel),
            many => {
                let one = |(n, text): (usize, &String)| {
                    Self::parse_by(Some(text), options, fuel).map_err(|e| Error {
                        message: format!("{} (in schedule {} of the list)", e.message, n + 1),
                        ..e
                    })
                };
                let all = many.iter().enumerate().map(one);
                let all = all.collect::<Result<Vec<Self>, Error>>()?;
                if let Some(after) = all.iter().find_map(Self::after) {
                    let message = format!(
                        "`{after}` stands alone, for its next run is due when the one before has ended: leave the others out, \
                         or make them a task of their own"
                    );
                    return Err(Error::new("schedule", 0, message));
                }
                Ok(Self::Union(all))
            }
        }
    }

    /// The delay that it is, within bounds or without, if it is one.
    #[must_use]
    pub fn after(&self) -> Option<After> {
        match self {
            Self::After(after) => Some(*after),
            Self::Bounded(bounded) => bounded.inner().after(),
            _ => None,
        }
    }

    /// The first occurrence strictly after an instant; of a delay, as if a run had ended there. `None` when there is none any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_by(after, &Fuel::endless())
    }

    /// The last occurrence strictly before an instant; `None` when there was none, or when only runs could tell.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        self.previous_by(before, &Fuel::endless())
    }

    /// [`Schedule::next`] with fuel: the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        match self {
            _ if !fuel.burn() => None,
            Self::Cron(cron) => cron.next_by(after, fuel),
            Self::Every(every) => every.next(after),
            Self::After(delay) => delay.next(after),
            Self::Recur(recur) => recur.next_by(after, fuel),
            Self::At(instant) => (*instant > after).then_some(*instant),
            Self::Once(once) => once.next_by(after, fuel),
            Self::Union(all) => all.iter().filter_map(|s| s.next_by(after, fuel)).min(),
            Self::Bounded(bounded) => bounded.next_by(after, fuel),
            Self::OnRequest => None,
        }
    }

    /// [`Schedule::previous`] with fuel: the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        match self {
            _ if !fuel.burn() => None,
            Self::Cron(cron) => cron.previous_by(before, fuel),
            Self::Every(every) => every.previous(before),
            Self::Recur(recur) => recur.previous_by(before, fuel),
            Self::At(instant) => (*instant < before).then_some(*instant),
            Self::Once(once) => once.previous_by(before, fuel),
            Self::Union(all) => all.iter().filter_map(|s| s.previous_by(before, fuel)).max(),
            Self::Bounded(bounded) => bounded.previous_by(before, fuel),
            Self::After(_) | Self::OnRequest => None,
        }
    }
}

impl fmt::Display for Schedule {
    /// What [`Schedule::parse`] reads back; `on request` where there is nothing to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(cron) => cron.fmt(f),
            Self::Every(every) => every.fmt(f),
            Self::After(after) => after.fmt(f),
            Self::Recur(recur) => recur.fmt(f),
            Self::At(instant) => write!(f, "at {instant}"),
            Self::Once(once) => write!(f, "at {}", once.wall()),
            Self::Union(all) => {
                let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join("; "))
            }
            Self::Bounded(bounded) => bounded.inner().fmt(f),
            Self::OnRequest => f.write_str("on request"),
        }
    }
}
