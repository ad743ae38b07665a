//! One item of a cron field: a number, a name, a range, a step, `*`, or `H`. Owns the grammar that all fields share,
//! and its errors; what a field is called, what it allows and what else it knows comes as a [`Kind`].

use std::time::Duration;

use crate::spread::fingerprint;
use crate::time::format_duration;
use crate::{Dialect, Error, error::quoted};

/// A piece of an expression and where it begins in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Item<'a> {
    pub(super) text: &'a str,
    /// Bytes from the expression's beginning.
    pub(super) at: usize,
}

impl<'a> Item<'a> {
    /// A part of an item, at its own place.
    pub(super) fn part(self, text: &'a str) -> Self {
        let before = (text.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let at = self.at + before.min(self.text.len());
        Self { text, at }
    }

    /// The comma-separated items of a field.
    pub(super) fn list(self) -> impl Iterator<Item = Item<'a>> {
        let mut at = self.at;
        self.text.split(',').map(move |text| {
            let item = Item { text, at };
            at += text.len() + 1;
            item
        })
    }
}

/// What a field is and allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) low: u16,
    pub(super) high: u16,
    /// Where `*` begins.
    pub(super) star_low: u16,
    /// The last number that `H` may pick.
    pub(super) spread_high: u16,
    pub(super) names: &'static [&'static str],
    /// The number of the first name.
    pub(super) names_from: u16,
    /// Whether `low` and `high` are the same day, so that a range may end on it or begin with it.
    pub(super) sunday_twice: bool,
    /// What would be right, for errors.
    pub(super) valid: &'static str,
}

/// A range of numbers, before steps.
struct Range {
    from: u16,
    to: u16,
    /// Without an end of its own: `*`, `a/n`, `H/n`.
    open: bool,
}

impl Kind {
    /// A field of plain numbers.
    pub(super) const fn of(name: &'static str, low: u16, high: u16, valid: &'static str) -> Self {
        let names: &[&str] = &[];
        Self {
            name,
            low,
            high,
            star_low: low,
            spread_high: high,
            names,
            names_from: 0,
            sunday_twice: false,
            valid,
        }
    }

    /// An error about an item of this field.
    pub(super) fn wrong(&self, item: Item<'_>, why: &str) -> Error {
        Error::new(
            self.name,
            item.at,
            format!("{} {why}; {}", quoted(item.text), self.valid),
        )
    }

    /// An error about an item, at the part of it that is wrong.
    pub(super) fn wrong_part(&self, item: Item<'_>, part: Item<'_>, why: &str) -> Error {
        Error {
            at: part.at,
            ..self.wrong(item, why)
        }
    }

    /// Hands every number that an item means to `take`; answers whether the item is open.
    pub(super) fn spread(
        &self,
        item: Item<'_>,
        dialect: Dialect,
        hash_name: &str,
        take: &mut dyn FnMut(u16),
    ) -> Result<bool, Error> {
        let (body, step) = match item.text.split_once('/') {
            Some((body, step)) => (body, Some(self.step(item, item.part(step))?)),
            None => (item.text, None),
        };
        let Range { from, mut to, open } = if body == "*" {
            Range {
                from: self.star_low,
                to: self.high,
                open: true,
            }
        } else if let Some(rest) = body.strip_prefix(['H', 'h']) {
            self.hashed(item, rest, step, hash_name)?
        } else if let Some((from, to)) = body.split_once('-') {
            self.range(item, from, to)?
        } else {
            self.single(item, body, step, dialect)?
        };
        let step = step.unwrap_or(1);
        self.check_width(item, step, open && dialect == Dialect::Quartz)?;
        let span = self.high - self.low + 1;
        if from > to {
            self.check_wrap(item, dialect)?;
            to += span;
        }
        for n in (from..=to).step_by(usize::from(step)) {
            take(self.low + (n - self.low) % span);
        }
        Ok(open)
    }

    /// Refuses a step that leads out of the field from wherever it begins: the one time that is left of it is hardly what
    /// was meant. Quartz refuses a few more, where the step has no end of its own.
    fn check_width(&self, item: Item<'_>, step: u16, as_quartz: bool) -> Result<(), Error> {
        let numbers = self.high - self.low + 1 - u16::from(self.sunday_twice);
        if step <= numbers && !(as_quartz && step > self.high) {
            return Ok(());
        }
        let unit_s = match self.name {
            "second" => 1,
            "minute" => 60,
            "hour" => 3_600,
            "day-of-month" | "day-of-week" => 86_400,
            _ => 0,
        };
        let remedy = match unit_s {
            0 => format!("list each {}", self.name),
            unit_s => {
                let interval = Duration::from_secs(unit_s * u64::from(step));
                format!(
                    "write schedule = `every {}`, or list the times",
                    format_duration(interval)
                )
            }
        };
        let why = format!("steps over the whole field, which has {numbers} numbers: {remedy}");
        Err(self.wrong(item, &why))
    }

    fn step(&self, item: Item<'_>, text: Item<'_>) -> Result<u16, Error> {
        let wrong = |why| Err(self.wrong_part(item, text, why));
        match digits(text.text) {
            Some(0) => wrong("has a step of zero: the least step is 1"),
            Some(n) => Ok(n),
            None => wrong("has no number after `/`"),
        }
    }

    /// `a-b`. Where the week has two Sundays, one that ends a range is its last day and one that begins it its first.
    fn range(&self, item: Item<'_>, from: &str, to: &str) -> Result<Range, Error> {
        let mut from = self.number(item.part(from), item)?;
        let mut to = self.number(item.part(to), item)?;
        if self.sunday_twice && from == self.high && to != self.high {
            from = self.low;
        }
        if self.sunday_twice && to == self.low && from != self.low {
            to = self.high;
        }
        Ok(Range {
            from,
            to,
            open: false,
        })
    }

    fn single(
        &self,
        item: Item<'_>,
        body: &str,
        step: Option<u16>,
        dialect: Dialect,
    ) -> Result<Range, Error> {
        let n = self.number(item.part(body), item)?;
        match step {
            None => Ok(Range {
                from: n,
                to: n,
                open: false,
            }),
            Some(step) if dialect == Dialect::Unix => {
                let why = format!(
                    "is read in two ways by crons: write {n}-{}/{step}",
                    self.high
                );
                Err(self.wrong(item, &why))
            }
            Some(_) => Ok(Range {
                from: n,
                to: self.high,
                open: true,
            }),
        }
    }

    /// `H`, `H(a-b)`, and either with a step: a number that is a task's own and stays the same on every machine.
    fn hashed(
        &self,
        item: Item<'_>,
        rest: &str,
        step: Option<u16>,
        hash_name: &str,
    ) -> Result<Range, Error> {
        if hash_name.is_empty() || self.name == "year" {
            return Err(self.wrong(
                item,
                "needs a task's name to be spread by, and is not for years",
            ));
        }
        let range = match rest
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
        {
            _ if rest.is_empty() => Range {
                from: self.low,
                to: self.spread_high,
                open: true,
            },
            Some(inner) => match inner.split_once('-') {
                Some((from, to)) => self.range(item, from, to)?,
                None => return Err(self.wrong(item, "has no range in its brackets, as in H(0-29)")),
            },
            None => return Err(self.wrong(item, "is not understood")),
        };
        if range.from > range.to {
            return Err(self.wrong(item, "runs backwards"));
        }
        let width = u64::from(range.to - range.from) + 1;
        let choices = step.map_or(width, |step| width.min(u64::from(step)));
        let pick = u16::try_from(fingerprint(hash_name, self.name) % choices).unwrap_or(0);
        let from = range.from + pick;
        Ok(Range {
            from,
            to: if step.is_some() { range.to } else { from },
            open: range.open && step.is_some(),
        })
    }

    fn check_wrap(&self, item: Item<'_>, dialect: Dialect) -> Result<(), Error> {
        if dialect != Dialect::Quartz {
            return Err(self.wrong(item, "runs backwards: write two ranges, joined by a comma"));
        }
        if self.name == "year" {
            return Err(self.wrong(item, "runs backwards"));
        }
        Ok(())
    }

    /// A number or a name, within the field's bounds. `item` is what an error shows.
    pub(super) fn number(&self, text: Item<'_>, item: Item<'_>) -> Result<u16, Error> {
        let named = self
            .names
            .iter()
            .zip(self.names_from..)
            .find(|(name, _)| name.eq_ignore_ascii_case(text.text));
        if let Some((_, n)) = named {
            return Ok(n);
        }
        match digits(text.text) {
            Some(n) if n > self.high => {
                Err(self.wrong_part(item, text, &format!("is above {}", self.high)))
            }
            Some(n) if n < self.low => {
                Err(self.wrong_part(item, text, &format!("is below {}", self.low)))
            }
            Some(n) => Ok(n),
            None => Err(self.wrong_part(item, strange(text), "is not understood")),
        }
    }
}

/// The part of a number from the first character that belongs to none; the whole of a number that is too long.
fn strange(text: Item<'_>) -> Item<'_> {
    match text.text.trim_start_matches(|c: char| c.is_ascii_digit()) {
        "" => text,
        rest => text.part(rest),
    }
}

/// A number of one to four digits.
fn digits(text: &str) -> Option<u16> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
