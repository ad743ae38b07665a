//! The times of a sentence: seconds, minutes and hours, from `At 02:00` to `Every 15 minutes from 09:00 to 17:59`.

use super::words::{Shape, listed, number_list, numbers, ordinal, shape};
use crate::fields::Fields;

/// Times of day that are listed one by one; more are told by their hours and minutes.
const TIMES_MAX: usize = 8;

/// The phrase, and whether it is a list of times of day, which ` every day` may follow.
pub(super) fn phrase(fields: &Fields) -> (String, bool) {
    let (seconds, minutes) = (numbers(fields.seconds), numbers(fields.minutes));
    let hours = numbers(fields.hours);
    if let ([second], [minute]) = (seconds.as_slice(), minutes.as_slice())
        && let Some(phrase) = hourly(*second, *minute, &hours)
    {
        return (phrase, false);
    }
    if let [second] = seconds.as_slice()
        && minutes.len() * hours.len() <= TIMES_MAX
    {
        return (format!("At {}", clocks(*second, &minutes, &hours)), true);
    }
    (by_unit(&seconds, &minutes, &hours), false)
}

/// Each minute of each hour: `09:00, 09:30, 12:00 and 12:30`.
fn clocks(second: u32, minutes: &[u32], hours: &[u32]) -> String {
    let of_hour = |hour: &u32| {
        let minutes = minutes.iter().map(|minute| clock(*hour, *minute, second));
        minutes.collect::<Vec<_>>()
    };
    listed(&hours.iter().flat_map(of_hour).collect::<Vec<_>>(), "and")
}

/// One minute of hours that follow each other in equal steps.
fn hourly(second: u32, minute: u32, hours: &[u32]) -> Option<String> {
    let from_to = |from, to| {
        let (from, to) = (clock(from, minute, second), clock(to, minute, second));
        format!(" from {from} to {to}")
    };
    match shape(hours, 0, 23) {
        Shape::All if (minute, second) == (0, 0) => Some("Every hour".to_owned()),
        Shape::All => Some(format!("Every hour at {}", past(minute, second))),
        Shape::Run(from, to) if hours.len() > 3 => Some(format!("Every hour{}", from_to(from, to))),
        Shape::Every { step, from } if hours.len() > 3 => {
            let to = hours.last().copied().unwrap_or(from);
            Some(format!("Every {step} hours{}", from_to(from, to)))
        }
        Shape::Steps { step, from, to } => Some(format!("Every {step} hours{}", from_to(from, to))),
        _ => None,
    }
}

/// `minute 5`, or with seconds `minute 5, second 30`.
fn past(minute: u32, second: u32) -> String {
    match second {
        0 => format!("minute {minute}"),
        _ => format!("minute {minute}, second {second}"),
    }
}

/// The finest unit that says something, of the units above it.
fn by_unit(seconds: &[u32], minutes: &[u32], hours: &[u32]) -> String {
    if seconds == [0] {
        let (minute, open) = head(minutes, "minute");
        return format!("{minute}{}", of_hours(hours, open));
    }
    let (second, open) = head(seconds, "second");
    if minutes.len() * hours.len() <= TIMES_MAX {
        return format!("{second} of {}", clocks(0, minutes, hours));
    }
    let minute = match shape(minutes, 0, 59) {
        Shape::All if open => String::new(),
        Shape::All => " of every minute".to_owned(),
        Shape::One(minute) => format!(" of minute {minute}"),
        Shape::Every { step, from: 0 } => format!(" of every {} minute", ordinal(step)),
        Shape::Every { step, from } => {
            format!(" of every {} minute from minute {from}", ordinal(step))
        }
        Shape::Steps { step, from, to } => {
            format!(
                " of every {} minute from minute {from} to {to}",
                ordinal(step)
            )
        }
        Shape::Run(..) | Shape::Mixed => format!(" of the minutes {}", number_list(minutes)),
    };
    let open = open && minutes.len() == 60;
    format!("{second}{minute}{}", of_hours(hours, open))
}

/// How a sentence begins with a unit, and whether that goes on without a pause.
fn head(set: &[u32], unit: &str) -> (String, bool) {
    match shape(set, 0, 59) {
        Shape::All => (format!("Every {unit}"), true),
        Shape::Every { step, from: 0 } => (format!("Every {step} {unit}s"), true),
        Shape::Every { step, from } => (format!("Every {step} {unit}s from {unit} {from}"), false),
        Shape::Steps { step, from, to } => (
            format!("Every {step} {unit}s from {unit} {from} to {to}"),
            false,
        ),
        Shape::One(n) => (format!("At {unit} {n}"), false),
        Shape::Run(..) | Shape::Mixed => (format!("At the {unit}s {}", number_list(set)), false),
    }
}

/// The hours that the rest of the phrase is about; `open` where it needs none if they are all.
fn of_hours(hours: &[u32], open: bool) -> String {
    let every = if open { "" } else { " of every hour" };
    match shape(hours, 0, 23) {
        Shape::All => every.to_owned(),
        Shape::One(hour) if open => format!(" from {hour:02}:00 to {hour:02}:59"),
        Shape::One(hour) => format!(" of hour {hour}"),
        Shape::Run(from, to) => format!("{every} from {from:02}:00 to {to:02}:59"),
        Shape::Every { step, from } => {
            let to = hours.last().copied().unwrap_or(from);
            format!(" of every {} hour from {from} to {to}", ordinal(step))
        }
        Shape::Steps { step, from, to } => {
            format!(" of every {} hour from {from} to {to}", ordinal(step))
        }
        Shape::Mixed => format!(" of the hours {}", number_list(hours)),
    }
}

/// `02:00`, or with seconds `02:00:30`.
fn clock(hour: u32, minute: u32, second: u32) -> String {
    match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    }
}
