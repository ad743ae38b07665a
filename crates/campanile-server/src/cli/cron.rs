//! `cron next` and `cron explain`: what an expression means, without a service. `next` prints, strictly after an
//! instant, one RFC 3339 instant a line; in batches one line for each expression, so that thousands can be compared
//! with another system's. `explain` is for people: a sentence, the next instants with each change of the clocks, and
//! the same in the other dialects.

use std::io::Read as _;
use std::path::Path;

use campanile_core::misread::{self, Subject};
use campanile_core::system;
use campanile_schedule::instant::parse as parse_instant;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{
    Cron, Dialect, Dst, Error, Line, LineKind, Options, Schedule, TimeZoneName, format_in_zone,
    weekday_in_zone,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failure;
use super::args::{CronExplain, CronNext, CronReading, Form};
use super::out::Out;

/// `cron next`
pub fn next(next: &CronNext, out: Out) -> Result<(), Failure> {
    let (options, from) = read(&next.reading)?;
    if let Some(path) = &next.batch {
        return batch(path, &options, next.count, out);
    }
    let expression = next.expr.as_deref().unwrap_or_default();
    let schedule = parse(expression, &options)?;
    let instants = instants(&schedule, &options.timezone, from, next.count);
    match out.form {
        Form::Json => out.json(&instants),
        Form::Table => instants.iter().for_each(|t| out.line(t)),
    }
    Ok(())
}

/// `cron explain`
pub fn explain(explain: &CronExplain, out: Out) -> Result<(), Failure> {
    let (options, from) = read(&explain.reading)?;
    let schedule = parse(&explain.expr, &options)?;
    let cron = match &schedule {
        Schedule::Cron(cron) => Some(cron),
        _ => None,
    };
    let count = usize::try_from(explain.count).unwrap_or(usize::MAX);
    let lines = schedule.explain(from, count);
    let explained = Explained {
        expression: schedule.to_string(),
        dialect: cron.map(|cron| cron.dialect().to_string()),
        timezone: options.timezone.name().to_owned(),
        description: schedule.describe(),
        lines: lines
            .into_iter()
            .map(|line| ExplainedLine::new(line, &options.timezone))
            .collect(),
        translations: cron.map(translations).unwrap_or_default(),
    };
    out.show(&explained, |out, explained| table(explained, out));
    Ok(())
}

/// What the options say, and the instant to begin after.
fn read(reading: &CronReading) -> Result<(Options, Timestamp), Failure> {
    let zone =
        TimeZoneName::parse(&reading.tz).map_err(|e| Failure::Usage(format!("--tz: {e}")))?;
    let now = system::wall_now();
    let from = match &reading.from {
        Some(text) => parse_instant(text, zone.name(), now).map_err(|m| {
            Failure::Usage(format!("--from: {}", m.replace("the task's zone", "--tz")))
        })?,
        None => now,
    };
    let dialect: Dialect = reading
        .dialect
        .parse()
        .map_err(|e: Error| Failure::Usage(format!("--{e}")))?;
    let options = Options {
        dialect,
        timezone: zone,
        dst: Dst {
            gap: named("--gap", &reading.gap)?,
            repeat: named("--repeat", &reading.repeat)?,
        },
        anchor: from,
        name_for_hash: reading.name.clone(),
    };
    Ok((options, from))
}

/// A rule by the name that a task file gives it as well.
fn named<T: DeserializeOwned>(flag: &str, name: &str) -> Result<T, Failure> {
    let value = serde_json::Value::String(name.to_owned());
    misread::read(&value, &Subject::plain("a rule"))
        .map_err(|e| Failure::Usage(format!("{flag}: {e}")))
}

fn parse(expression: &str, options: &Options) -> Result<Schedule, Failure> {
    Schedule::parse(Some(expression), options).map_err(|e| Failure::Usage(pointing(expression, &e)))
}

fn instants(schedule: &Schedule, zone: &TimeZoneName, from: Timestamp, count: u32) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = from;
    for _ in 0..count {
        let Some(next) = schedule.next(at) else { break };
        out.push(format_in_zone(next, zone));
        at = next;
    }
    out
}

/// The message, with the expression and a mark under the character at fault.
fn pointing(expression: &str, error: &Error) -> String {
    let before = expression
        .get(..error.at)
        .unwrap_or_default()
        .chars()
        .count();
    // A tab or a line end in the expression would move the mark away from its character.
    let shown: String = expression
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("{error}\n  {shown}\n  {}^", " ".repeat(before))
}

/// What `cron explain` says.
#[derive(Debug, Serialize)]
struct Explained {
    expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<String>,
    timezone: String,
    description: String,
    lines: Vec<ExplainedLine>,
    translations: Vec<Translation>,
}

/// An occurrence, or a change of the clocks.
#[derive(Debug, Serialize)]
struct ExplainedLine {
    kind: &'static str,
    weekday: &'static str,
    /// RFC 3339 with the zone's offset.
    at: String,
    note: Option<String>,
}

/// The same in another dialect, or why there is none.
#[derive(Debug, Serialize)]
struct Translation {
    dialect: String,
    expression: Option<String>,
    reason: Option<String>,
}

impl ExplainedLine {
    fn new(line: Line, zone: &TimeZoneName) -> Self {
        Self {
            kind: match line.kind {
                LineKind::Occurrence => "occurrence",
                LineKind::Change => "change",
            },
            weekday: weekday_in_zone(line.at, zone),
            at: format_in_zone(line.at, zone),
            note: line.note,
        }
    }

    /// `Mon 2026-03-30 02:30:00 +02:00`, a change set off from the occurrences.
    fn row(&self) -> String {
        let date = self.at.get(..10).unwrap_or_default();
        let rest = self.at.get(11..).unwrap_or_default();
        let (time, offset) = rest.split_at(rest.find(['Z', '+', '-']).unwrap_or(rest.len()));
        let day = self.weekday.get(..3).unwrap_or_default();
        let note = self.note.as_deref().unwrap_or_default();
        let mark = if self.kind == "change" { "~" } else { " " };
        let row = format!("{mark} {day} {date} {time} {offset:<6}  {note}");
        row.trim_end().to_owned()
    }
}

/// What each of the other dialects makes of an expression.
fn translations(cron: &Cron) -> Vec<Translation> {
    let own = cron.dialect();
    let others = [Dialect::Unix, Dialect::Spring, Dialect::Quartz];
    let one = |dialect: Dialect| {
        let (expression, reason) = match cron.translate(dialect) {
            Ok(expression) => (Some(expression), None),
            Err(reason) => (None, Some(reason.to_string())),
        };
        Translation {
            dialect: dialect.to_string(),
            expression,
            reason,
        }
    };
    others.into_iter().filter(|d| *d != own).map(one).collect()
}

fn table(explained: &Explained, out: Out) {
    out.line(&explained.description);
    out.line("");
    for line in &explained.lines {
        out.line(line.row());
    }
    if explained.lines.is_empty() {
        out.line("  there is no occurrence any more");
    }
    let Some(dialect) = &explained.dialect else {
        return;
    };
    out.line("");
    out.line(format!("{dialect:<7} {}   (as read)", explained.expression));
    for other in &explained.translations {
        let text = match (&other.expression, &other.reason) {
            (Some(expression), _) => expression.clone(),
            (None, Some(reason)) => format!("none: {reason}"),
            (None, None) => String::new(),
        };
        out.line(format!("{:<7} {text}", other.dialect));
    }
    let extended = |t: &Translation| {
        let letters = ['L', 'W', '#'];
        let text = t.expression.as_deref().unwrap_or_default();
        t.dialect == "unix"
            && text
                .split(' ')
                .any(|field| field.contains(letters) && !is_name(field))
    };
    if explained.translations.iter().any(extended) {
        out.line(
            "        (L, W and # are an addition to unix cron here; Debian's does not know them)",
        );
    }
}

/// Whether the letters of a field are names of days or months alone, as in `WED` or `JUL`.
fn is_name(field: &str) -> bool {
    let items = field.split([',', '-', '/']);
    let plain = |item: &str| item.len() == 3 || item.chars().all(|c| c.is_ascii_digit());
    !field.contains('#') && items.into_iter().all(plain)
}

fn batch(path: &Path, options: &Options, count: u32, out: Out) -> Result<(), Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|t| text = t)
    };
    read.map_err(|e| Failure::Usage(format!("can't read {}: {e}", path.display())))?;
    let lines: Vec<String> = text
        .lines()
        .map(|line| batch_line(line, options, count))
        .collect();
    match out.form {
        Form::Json => out.json(&lines),
        Form::Table => out.text(&lines.iter().map(|l| format!("{l}\n")).collect::<String>()),
    }
    Ok(())
}

fn batch_line(line: &str, options: &Options, count: u32) -> String {
    let refused = "!".to_owned();
    let mut columns = line.split('\t');
    let (Some(dialect), Some(zone), Some(from), Some(expression)) = (
        columns.next(),
        columns.next(),
        columns.next(),
        columns.next(),
    ) else {
        return refused;
    };
    let (Ok(dialect), Ok(zone), Ok(from)) = (
        dialect.parse(),
        TimeZoneName::parse(zone),
        Timestamp::parse(from),
    ) else {
        return refused;
    };
    let options = Options {
        dialect,
        timezone: zone,
        anchor: from,
        ..options.clone()
    };
    match Schedule::parse(Some(expression), &options) {
        Ok(schedule) => instants(&schedule, &options.timezone, from, count).join(" "),
        // Well-formed, and no day satisfies it: it has no instants.
        Err(error) if error.never_fires() => String::new(),
        Err(_) => refused,
    }
}
