//! An expression in another dialect, where one says exactly the same. Owns the spelling of sets in each dialect and the
//! reasons why there is none. It proposes and never trusts itself: a proposal counts only if the parser reads the same
//! fields out of it.

use crate::fields::{ALL_DATES, ALL_WEEKDAYS, Days, Fields, YEAR_FIELD_MAX};
use crate::{Cron, Dialect, parse};

/// The days of the week as ranges name them; Sunday is last, because not every dialect begins a range with it.
const WEEK: [(u32, &str); 7] = [
    (1, "MON"),
    (2, "TUE"),
    (3, "WED"),
    (4, "THU"),
    (5, "FRI"),
    (6, "SAT"),
    (0, "SUN"),
];

/// Why a dialect can't say what an expression means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTranslation {
    /// Seconds other than 0, and a dialect without any.
    #[error("{0} has no seconds")]
    Seconds(Dialect),
    /// Years, and a dialect without any.
    #[error("{0} has no years")]
    Years(Dialect),
    /// Either of two day fields is enough, and the dialect wants both.
    #[error("{0} can't say that one of two day fields is enough: it wants both, or has only one")]
    EitherDay(Dialect),
    /// Both of two day fields count, and the dialect takes either or has only one.
    #[error("{0} can't say that two day fields both count: either is enough to it, or it has one")]
    BothDays(Dialect),
    /// Times whose steps the dialect can spell as a list only, which a change of the clocks treats otherwise.
    #[error(
        "{0} could only list these times, and listed times follow the wall where the clocks are changed"
    )]
    OpenTimes(Dialect),
}

impl Cron {
    /// The same in another dialect: read there, it allows the same times, and follows a change of the clocks alike.
    /// [`Dialect::Auto`] and the own dialect give the expression back. `H` is translated as the number it stands for.
    ///
    /// # Errors
    /// Says what the dialect lacks.
    ///
    /// ```
    /// use campanile_schedule::{Cron, Dialect, Options};
    ///
    /// let cron = Cron::parse("0 2 * * MON-FRI", &Options::default())?;
    /// assert_eq!(cron.translate(Dialect::Quartz).as_deref(), Ok("0 0 2 ? * MON-FRI"));
    /// let every_second = Cron::parse("* * * * * *", &Options::default())?;
    /// assert!(every_second.translate(Dialect::Unix).is_err());
    /// # Ok::<(), campanile_schedule::Error>(())
    /// ```
    pub fn translate(&self, to: Dialect) -> Result<String, NoTranslation> {
        if to == Dialect::Auto || to == self.dialect() {
            return Ok(self.to_string());
        }
        let fields = self.fields();
        let days = fields.days.plain();
        if to == Dialect::Unix && fields.seconds != 1 {
            return Err(NoTranslation::Seconds(to));
        }
        if to != Dialect::Quartz && fields.years.is_some() {
            return Err(NoTranslation::Years(to));
        }
        let two = days.dates != ALL_DATES && days.weekdays != ALL_WEEKDAYS;
        if two && days.either && to != Dialect::Unix {
            return Err(NoTranslation::EitherDay(to));
        }
        if two && !days.either && to == Dialect::Quartz {
            return Err(NoTranslation::BothDays(to));
        }
        let lists_days = two && !days.either && to == Dialect::Unix && star_days(&days).is_empty();
        if lists_days {
            return Err(NoTranslation::BothDays(to));
        }
        let means_this = |text: &String| {
            parse::expression(text, to, "").is_ok_and(|parsed| {
                parsed.listed == self.is_listed() && parsed.fields.plain() == fields.plain()
            })
        };
        proposals(fields, &days, to)
            .find(means_this)
            .ok_or(NoTranslation::OpenTimes(to))
    }
}

impl Fields {
    /// The same in the plainest form, in which equal meanings are equal.
    pub(super) fn plain(&self) -> Self {
        Self {
            days: self.days.plain(),
            ..self.clone()
        }
    }
}

/// The spellings that could be right, the most usual first.
fn proposals(fields: &Fields, days: &Days, to: Dialect) -> impl Iterator<Item = String> {
    let open_steps = to != Dialect::Unix;
    let seconds = match to {
        Dialect::Unix => String::new(),
        _ => format!("{} ", first(spellings(fields.seconds, 0, 59, open_steps))),
    };
    let minutes = spellings(fields.minutes, 0, 59, open_steps);
    let hours = spellings(fields.hours, 0, 23, open_steps);
    let months = first(spellings(fields.months, 1, 12, open_steps));
    let years = match fields.listed_years() {
        Some(years) => format!(" {}", year_list(&years)),
        None => String::new(),
    };
    let days = day_spellings(days, to);
    let times = minutes.into_iter().flat_map(move |minute| {
        hours
            .clone()
            .into_iter()
            .map(move |hour| format!("{minute} {hour}"))
    });
    times.flat_map(move |time| {
        let rest = days.clone().into_iter();
        let (seconds, months, years) = (seconds.clone(), months.clone(), years.clone());
        rest.map(move |(date, weekday)| format!("{seconds}{time} {date} {months} {weekday}{years}"))
    })
}

pub(super) fn first(spellings: Vec<String>) -> String {
    spellings.into_iter().next().unwrap_or_default()
}

/// A set as `*`, as a step, and as a list of numbers and ranges. `open_steps`: whether `a/n` is known.
pub(super) fn spellings(set: u64, low: u32, high: u32, open_steps: bool) -> Vec<String> {
    let numbers: Vec<u32> = (low..=high).filter(|n| set >> n & 1 == 1).collect();
    let mut out = Vec::new();
    if numbers.len() == usize::try_from(high - low + 1).unwrap_or(0) {
        out.push("*".to_owned());
    }
    let list = ranges(&numbers);
    // Few numbers are plainer as a list, wherever that is right as well.
    if numbers.len() <= 2 {
        out.push(list.clone());
    }
    if let (Some(from), Some(step)) = (numbers.first(), step_to_the_end(&numbers, high)) {
        if *from == low {
            out.push(format!("*/{step}"));
        }
        if open_steps {
            out.push(format!("{from}/{step}"));
        }
    }
    out.push(list);
    out
}

/// The step with which numbers go on to the end of the field; of a single one, a step that leads out of it.
fn step_to_the_end(numbers: &[u32], high: u32) -> Option<u32> {
    let (first, last) = (numbers.first()?, numbers.last()?);
    let step = match numbers {
        [only] => (high - only + 1).max(2),
        [a, b, ..] => b - a,
        [] => return None,
    };
    let even = numbers
        .iter()
        .zip((*first..).step_by(usize::try_from(step).ok()?))
        .all(|(have, want)| *have == want);
    (even && last + step > high).then_some(step)
}

/// `1,3,5-9`
pub(super) fn ranges(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, to)) if *to + 1 == *n => *to = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let text = |(from, to): (u32, u32)| match to - from {
        0 => from.to_string(),
        1 => format!("{from},{to}"),
        _ => format!("{from}-{to}"),
    };
    runs.into_iter().map(text).collect::<Vec<_>>().join(",")
}

fn year_list(years: &[u32]) -> String {
    let steps = (years.len() > 2)
        .then(|| step_to_the_end(years, u32::from(YEAR_FIELD_MAX)))
        .flatten();
    match (years.first(), steps) {
        (Some(from), Some(step)) if step > 1 => format!("{from}/{step}"),
        _ => ranges(years),
    }
}

/// The two day fields, in the ways that could be right.
fn day_spellings(days: &Days, to: Dialect) -> Vec<(String, String)> {
    let (any_date, any_weekday) = (days.dates == ALL_DATES, days.weekdays == ALL_WEEKDAYS);
    let (dates, weekdays) = (date_list(days), weekday_list(days));
    let star = "*".to_owned();
    let mark = match to {
        Dialect::Quartz => "?".to_owned(),
        _ => star.clone(),
    };
    match (any_date, any_weekday) {
        (true, true) => vec![(star, mark)],
        (true, false) => vec![(mark, weekdays)],
        (false, true) => vec![(dates, mark)],
        // Unix takes both for either, unless one of them begins with a star.
        (false, false) if to == Dialect::Unix && !days.either => star_days(days),
        (false, false) => vec![(dates, weekdays)],
    }
}

/// The two day fields, one of them as a step of `*`; none where neither is such a step.
fn star_days(days: &Days) -> Vec<(String, String)> {
    let star = |set: u64, low, high| {
        let spellings = spellings(set, low, high, false).into_iter();
        spellings
            .filter(|text| text.starts_with("*/"))
            .collect::<Vec<_>>()
    };
    let plain_dates = days.near | days.from_last | days.near_from_last == 0;
    let dates = if plain_dates {
        star(u64::from(days.dates), 1, 31)
    } else {
        Vec::new()
    };
    let plain_weekdays = days.last_weekdays == 0 && days.nth_weekdays == [0; 5];
    // A step of `*` counts the second Sunday as well.
    let twice = u64::from(days.weekdays);
    let weekdays = if plain_weekdays {
        let both = [
            twice,
            twice & !1 | (twice & 1) << 7,
            twice | (twice & 1) << 7,
        ];
        both.iter().flat_map(|set| star(*set, 0, 7)).collect()
    } else {
        Vec::new()
    };
    let by_date = dates.into_iter().map(|date| (date, weekday_list(days)));
    let by_weekday = weekdays.into_iter().map(|day| (date_list(days), day));
    by_date.chain(by_weekday).collect()
}

fn date_list(days: &Days) -> String {
    let bits = |set: u32| (0..32_u32).filter(move |n| set >> n & 1 == 1);
    let mut parts: Vec<String> = Vec::new();
    let numbers: Vec<u32> = bits(days.dates).collect();
    if !numbers.is_empty() {
        parts.push(ranges(&numbers));
    }
    parts.extend(bits(days.near).map(|day| format!("{day}W")));
    let last = |n: u32| match n {
        0 => "L".to_owned(),
        n => format!("L-{n}"),
    };
    parts.extend(bits(days.from_last).map(last));
    parts.extend(bits(days.near_from_last).map(|n| format!("{}W", last(n))));
    parts.join(",")
}

fn weekday_list(days: &Days) -> String {
    let has = |set: u8, day: u32| set >> day & 1 == 1;
    let mut runs: Vec<Vec<&str>> = vec![Vec::new()];
    for (day, name) in WEEK {
        match runs.last_mut() {
            Some(run) if has(days.weekdays, day) && day != 0 => run.push(name),
            _ if has(days.weekdays, day) => runs.push(vec![name]),
            _ => runs.push(Vec::new()),
        }
    }
    let mut parts: Vec<String> = Vec::new();
    for run in runs {
        match run.as_slice() {
            [first, _, .., last] => parts.push(format!("{first}-{last}")),
            few => parts.extend(few.iter().map(|name| (*name).to_owned())),
        }
    }
    for (nth, set) in (1..).zip(days.nth_weekdays) {
        let named = WEEK.iter().filter(|(day, _)| has(set, *day));
        parts.extend(named.map(|(_, name)| format!("{name}#{nth}")));
    }
    let last = WEEK.iter().filter(|(day, _)| has(days.last_weekdays, *day));
    parts.extend(last.map(|(_, name)| format!("{name}L")));
    parts.join(",")
}
