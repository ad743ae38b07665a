//! A cron schedule: the wall times that an expression allows, in a zone. Owns which rule they follow where the clocks
//! are changed; the search for an allowed wall time is [`Fields`]'s, the mapping to instants that of `walls`.
//!
//! A schedule that lists its hours and minutes is about the wall, and its [`Dst`] says what happens to a time that is
//! left out and to one that comes twice; the default is the rule of Debian's cron. A schedule with `*` or an open step
//! in hours or minutes is about elapsed time, whatever its [`Dst`] says: it fires in both passes, and has nothing to
//! fire in a gap.

use std::fmt;

use crate::fields::Fields;
use crate::fuel::Fuel;
use crate::parse::{self, Parsed};
use crate::time::Timestamp;
use crate::walls;
use crate::zone::TimeZoneName;
use crate::{Dialect, Dst, Error, Options};

/// A cron expression in its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    fields: Fields,
    zone: TimeZoneName,
    text: Box<str>,
    dialect: Dialect,
    /// Whether hours and minutes are listed; see the head of this file.
    listed: bool,
    dst: Dst,
}

impl Cron {
    /// Reads an expression; see [`super::Schedule::parse`].
    ///
    /// # Errors
    /// Names the field that can't be read, and what would be right.
    pub fn parse(text: &str, options: &Options) -> Result<Self, Error> {
        let Parsed {
            fields,
            dialect,
            text,
            listed,
        } = parse::expression(text, options.dialect, &options.name_for_hash)?;
        let cron = Self {
            fields,
            zone: options.timezone.clone(),
            text: text.into(),
            dialect,
            listed,
            dst: options.dst,
        };
        if cron.next(Timestamp::MIN).is_none() {
            let message = format!(
                "`{cron}` can never fire in {}: the clocks leave its times out, and it has no others",
                cron.zone
            );
            return Err(Error::never("schedule", 0, message));
        }
        Ok(cron)
    }

    /// The dialect that the expression was read in; never [`Dialect::Auto`].
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The zone whose wall time the expression is about.
    #[must_use]
    pub fn timezone(&self) -> &TimeZoneName {
        &self.zone
    }

    /// What the expression allows.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What happens to listed times where the clocks are changed.
    #[must_use]
    pub fn dst(&self) -> Dst {
        self.dst
    }

    /// Whether hours and minutes are all listed, so that the rules of [`Dst`] apply; otherwise the expression follows
    /// elapsed time.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// The first fire time strictly after an instant. Bounded: it looks 400 years ahead at most (the calendar
    /// repeats after them) and at 1,000 changes of the clocks; what is not found within them is `None`. It jumps from
    /// one allowed field to the next and never walks seconds.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_by(after, &Fuel::endless())
    }

    /// The last fire time strictly before an instant, within the bounds of [`Self::next`].
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        self.previous_by(before, &Fuel::endless())
    }

    pub(super) fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        walls::next(&self.fields, &self.zone, self.rule(), after, fuel)
    }

    pub(super) fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        walls::previous(&self.fields, &self.zone, self.rule(), before, fuel)
    }

    fn rule(&self) -> Dst {
        if self.listed {
            self.dst
        } else {
            walls::ELAPSED
        }
    }
}

impl fmt::Display for Cron {
    /// The expression as it was written, with one space between fields and names in capitals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
