//! `cron next`: what an expression means, without a service. Strictly after an instant, one RFC 3339 instant a line; in
//! batches one line for each expression, so that thousands can be compared with another system's.

use std::io::Read as _;
use std::path::Path;

use campanile::schedule::{Dialect, Dst, Options, Schedule, TimeZoneName, format_in_zone};
use campanile::system;
use campanile::time::Timestamp;

use super::Failure;
use super::args::{CronNext, Form};
use super::out::Out;

/// `cron next`
pub fn next(next: &CronNext, out: Out) -> Result<(), Failure> {
    if let Some(path) = &next.batch {
        return batch(path, next.count, out);
    }
    let expression = next.expr.as_deref().unwrap_or_default();
    let from = match &next.from {
        Some(text) => Timestamp::parse(text).map_err(|m| Failure::Usage(format!("--from: {m}")))?,
        None => system::wall_now(),
    };
    let zone = TimeZoneName::parse(&next.tz).map_err(|e| Failure::Usage(format!("--tz: {e}")))?;
    let dialect: Dialect = next
        .dialect
        .parse()
        .map_err(|e: campanile::schedule::Error| Failure::Usage(format!("--{e}")))?;
    let schedule = parse(expression, dialect, &zone, from)
        .map_err(|e| Failure::Usage(pointing(expression, &e)))?;
    let instants = instants(&schedule, &zone, from, next.count);
    match out.form {
        Form::Json => out.json(&instants),
        Form::Table => instants.iter().for_each(|t| out.line(t)),
    }
    Ok(())
}

fn parse(
    expression: &str,
    dialect: Dialect,
    zone: &TimeZoneName,
    anchor: Timestamp,
) -> Result<Schedule, campanile::schedule::Error> {
    let options = Options {
        dialect,
        timezone: zone.clone(),
        dst: Dst::default(),
        anchor,
        name_for_hash: "cron-next".to_owned(),
    };
    Schedule::parse(Some(expression), &options)
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

/// The message, with the expression and a mark under the piece at fault.
fn pointing(expression: &str, error: &campanile::schedule::Error) -> String {
    let before = expression
        .get(..error.at)
        .unwrap_or_default()
        .chars()
        .count();
    format!("{error}\n  {expression}\n  {}^", " ".repeat(before))
}

fn batch(path: &Path, count: u32, out: Out) -> Result<(), Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|t| text = t)
    };
    read.map_err(|e| Failure::Usage(format!("can't read {}: {e}", path.display())))?;
    let lines: Vec<String> = text.lines().map(|line| batch_line(line, count)).collect();
    match out.form {
        Form::Json => out.json(&lines),
        Form::Table => out.text(&lines.iter().map(|l| format!("{l}\n")).collect::<String>()),
    }
    Ok(())
}

fn batch_line(line: &str, count: u32) -> String {
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
    match parse(expression, dialect, &zone, from) {
        Ok(schedule) => instants(&schedule, &zone, from, count).join(" "),
        // Well-formed, and no day satisfies it: it has no instants.
        Err(error) if error.never_fires() => String::new(),
        Err(_) => refused,
    }
}
