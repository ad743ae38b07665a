//! Schedules as English sentences, for people who want to know whether they wrote what they meant. Owns the order of a
//! sentence: times, then days, then years, then the zone; `times` and `days` own its parts, `words` what both count
//! with. Sentences come from what an expression allows, not from how it is spelt, so equal expressions read alike and
//! an `H` shows the number that it stands for. Nothing reads them back.

mod days;
mod recur;
mod times;
mod words;

use self::words::{Shape, listed, runs, shape};
use crate::fields::{Fields, YEAR_FIELD_MAX, YEAR_FIELD_MIN};
use crate::time::{Timestamp, format_duration};
use crate::{Bounded, Cron, Schedule};

impl Schedule {
    /// An English sentence, without a full stop.
    ///
    /// ```
    /// use campanile_schedule::{Options, Schedule};
    ///
    /// let schedule = Schedule::parse(Some("*/15 9-17 L * *"), &Options::default())?;
    /// assert_eq!(schedule.describe(), "Every 15 minutes from 09:00 to 17:59 on the last day of each month, in UTC");
    /// # Ok::<(), campanile_schedule::Error>(())
    /// ```
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Cron(cron) => cron.describe(),
            Self::Every(every) => {
                let interval = format_duration(every.interval());
                format!("Every {interval}, counted from {}", every.anchor())
            }
            Self::After(after) => {
                let delay = format_duration(after.delay());
                format!("{delay} after the end of the run before")
            }
            Self::Recur(recur) => recur.describe(),
            Self::At(instant) => format!("Once, at {instant}"),
            Self::Once(once) => format!("Once, at {}, in {}", once.wall(), once.timezone()),
            Self::Union(all) => {
                let sentences: Vec<String> = all.iter().map(Self::describe).collect();
                sentences.join("; and also: ")
            }
            Self::Bounded(bounded) => self.bounds_described(bounded),
            Self::OnRequest => "Only on request".to_owned(),
        }
    }

    /// The inner sentence, and the first and the last occurrence where a bound cuts others off.
    fn bounds_described(&self, bounded: &Bounded) -> String {
        let inner = bounded.inner();
        let mut sentence = inner.describe();
        let first = self.next(Timestamp::MIN);
        if first != inner.next(Timestamp::MIN) {
            let first = first.map_or_else(|| "never".to_owned(), |t| t.to_string());
            sentence.push_str(&format!("; first {first}"));
        }
        let end = *bounded.window().end();
        if inner.after().is_some() && end < Timestamp::MAX {
            sentence.push_str(&format!("; none after {end}"));
        }
        let last = self.previous(Timestamp::MAX);
        if let Some(last) = last.filter(|last| Some(*last) != inner.previous(Timestamp::MAX)) {
            sentence.push_str(&format!("; last {last}"));
        }
        sentence
    }
}

impl Cron {
    /// An English sentence, without a full stop.
    #[must_use]
    pub fn describe(&self) -> String {
        let fields = self.fields();
        let (times, daily) = times::phrase(fields);
        let days = days::phrase(fields, daily);
        let years = years(fields);
        format!("{times}{days}{years}, in {}", self.timezone())
    }
}

/// `, from 2026 to 2030`; nothing where every year is allowed.
fn years(fields: &Fields) -> String {
    let Some(years) = fields.listed_years() else {
        return String::new();
    };
    let (low, high) = (u32::from(YEAR_FIELD_MIN), u32::from(YEAR_FIELD_MAX));
    let until = |to: u32, step: u32| match to + step > high {
        true => String::new(),
        false => format!(" to {to}"),
    };
    match shape(&years, low, high) {
        Shape::All => format!(", from {low} to {high}"),
        Shape::One(year) => format!(", in {year}"),
        Shape::Run(from, to) if to == high => format!(", from {from} on"),
        Shape::Run(from, to) => format!(", from {from} to {to}"),
        Shape::Every { step, from } => format!(", every {step} years from {from}"),
        Shape::Steps { step, from, to } => {
            format!(", every {step} years from {from}{}", until(to, step))
        }
        Shape::Mixed => {
            let parts: Vec<String> = runs(&years)
                .into_iter()
                .map(|(from, to)| match from == to {
                    true => from.to_string(),
                    false => format!("{from} to {to}"),
                })
                .collect();
            format!(", in {}", listed(&parts, "and"))
        }
    }
}
