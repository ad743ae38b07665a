//! `import`: a crontab, or a calendar file, as a task file. What can't be taken over is named on standard error, with its line, and
//! so is what behaves otherwise than under cron.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use campanile::calendar::{CalendarSpec, ics};
use campanile::schedule::crontab::{self, Entry, Form};
use campanile::system;
use campanile::task::{CommandSpec, HandlerSpec};
use serde::Serialize;

use super::Failure;
use super::args::{ImportCrontab, ImportIcs};
use super::out::Out;

/// cron sets no limit; a task must have one.
const TIMEOUT: &str = "1d";
/// How far events that repeat are spelled out.
const YEARS_AHEAD: i32 = 10;

/// `import crontab FILE`
pub fn crontab(import: &ImportCrontab, out: Out) -> Result<ExitCode, Failure> {
    let from_stdin = import.file == Path::new("-");
    let text = read(&import.file, from_stdin)?;
    let place = (!from_stdin).then_some(import.file.as_path());
    let form = match (import.system, import.user) {
        (true, _) => Form::System,
        (_, true) => Form::User,
        _ => Form::detect(place, &text),
    };
    let zone = import.timezone.clone().unwrap_or_else(machine_zone);
    let table = crontab::parse(&text, form);
    let shown = import.file.display();
    for refused in &table.refused {
        out.remark(format!(
            "{shown} line {}: not taken: {} ({})",
            refused.line,
            refused.reason,
            refused.text.trim()
        ));
    }
    let (mut names, mut said) = (BTreeMap::new(), BTreeSet::new());
    let mut file = format!(
        "# From {shown}. A worker runs these with `--allow-commands` naming the shell (/bin/sh).\n"
    );
    for entry in &table.entries {
        for remark in remarks(entry) {
            // Most remarks are about all lines: once is enough.
            if said.insert(remark.clone()) {
                out.remark(format!("{shown} line {}: {remark}", entry.line));
            }
        }
        let document = Document {
            task: [task(entry, &zone, &mut names)],
        };
        let text = toml::to_string(&document)
            .map_err(|e| Failure::Failed(format!("failed to write a task: {e}")))?;
        file.push_str(&format!("\n{text}"));
    }
    if table.entries.is_empty() {
        return Err(Failure::Failed(format!("{shown}: no line could be taken")));
    }
    let counts = (table.entries.len(), table.refused.len());
    write(import.out.as_deref(), &file, counts, out)?;
    Ok(ExitCode::SUCCESS)
}

/// `import ics FILE`
pub fn ics(import: &ImportIcs, out: Out) -> Result<ExitCode, Failure> {
    let text = read(&import.file, import.file == Path::new("-"))?;
    let through = import.through.unwrap_or_else(|| this_year() + YEARS_AHEAD);
    let shown = import.file.display();
    let imported = ics::parse(&text, &import.name, through)
        .map_err(|e| Failure::Usage(format!("{shown}: {e}")))?;
    for remark in &imported.remarks {
        out.remark(format!("{shown} {remark}"));
    }
    let document = CalendarDocument {
        calendar: [&imported.spec],
    };
    let calendar = toml::to_string(&document)
        .map_err(|e| Failure::Failed(format!("failed to write the calendar: {e}")))?;
    let file =
        format!("# From {shown}; what repeats is spelled out to the end of {through}.\n{calendar}");
    let taken = imported.spec.dates.len() + imported.spec.ranges.len();
    let left_out = imported.remarks.iter().filter(|r| r.left_out).count();
    write(import.out.as_deref(), &file, (taken, left_out), out)?;
    Ok(ExitCode::SUCCESS)
}

fn this_year() -> i32 {
    let now = jiff::Timestamp::from_millisecond(system::wall_now().as_ms());
    let now = now.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    i32::from(now.to_zoned(jiff::tz::TimeZone::UTC).year())
}

/// A calendar as a task file holds it.
#[derive(Debug, Serialize)]
struct CalendarDocument<'a> {
    calendar: [&'a CalendarSpec; 1],
}

/// To a file, or to standard output; `counts` are what was taken and what was not.
fn write(
    to: Option<&Path>,
    file: &str,
    (taken, refused): (usize, usize),
    out: Out,
) -> Result<(), Failure> {
    let Some(path) = to else {
        out.text(file);
        return Ok(());
    };
    std::fs::write(path, file)
        .map_err(|e| Failure::Failed(format!("can't write {}: {e}", path.display())))?;
    out.remark(format!(
        "{taken} taken, {refused} refused; next: campanile apply --dry-run {}",
        path.display()
    ));
    Ok(())
}

fn read(path: &Path, from_stdin: bool) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if from_stdin {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|b| bytes = b)
    };
    read.map_err(|e| Failure::Usage(format!("can't read {}: {e}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The zone that this machine's clock shows.
fn machine_zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// What behaves otherwise than under cron.
fn remarks(entry: &Entry) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(user) = &entry.user {
        out.push(format!("runs as the worker's own user, not as `{user}`: give its queue a worker that runs as that user"));
    }
    if entry
        .environment
        .get("MAILTO")
        .is_some_and(|to| !to.is_empty())
    {
        out.push("its output is kept with its run (`campanile run logs`), not mailed".to_owned());
    }
    if entry
        .environment
        .keys()
        .any(|name| name.starts_with("CAMPANILE_"))
    {
        out.push(
            "its variables that begin with CAMPANILE_ are left out: that prefix is ours".to_owned(),
        );
    }
    out
}

/// A task as it is written, its fields in the order in which people read them.
#[derive(Debug, Serialize)]
struct Imported {
    name: String,
    description: String,
    schedule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'static str>,
    timezone: String,
    misfire: &'static str,
    timeout: &'static str,
    handler: HandlerSpec,
}

/// The root of a task file.
#[derive(Debug, Serialize)]
struct Document {
    task: [Imported; 1],
}

fn task(entry: &Entry, zone: &str, names: &mut BTreeMap<String, usize>) -> Imported {
    let environment = &entry.environment;
    let shell = environment.get("SHELL").filter(|s| s.starts_with('/'));
    let shell = shell.map_or("/bin/sh", String::as_str);
    let passed = |name: &str| !name.starts_with("CAMPANILE_") && name != "MAILTO";
    let command = CommandSpec {
        argv: vec![shell.to_owned(), "-c".to_owned(), entry.command.clone()],
        env: environment
            .iter()
            .filter(|(name, _)| passed(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        dir: environment.get("HOME").cloned(),
        stdin: entry.stdin.clone(),
    };
    let zone = entry.timezone.as_ref().map_or(zone, |z| z.name());
    Imported {
        name: name(&entry.command, names),
        description: format!("line {} of its crontab", entry.line),
        schedule: entry.schedule.clone(),
        dialect: (!entry.schedule.starts_with('@')).then_some("unix"),
        timezone: zone.to_owned(),
        // cron starts nothing late.
        misfire: "skip",
        timeout: TIMEOUT,
        handler: HandlerSpec::Command(command),
    }
}

/// A name that its reader will know again: the program of the first part that is more than a check, and for
/// `run-parts` its folder. A name that is taken gets a number.
fn name(command: &str, names: &mut BTreeMap<String, usize>) -> String {
    let base = command
        .split(['&', ';', '|', '{', '}'])
        .find_map(program_of)
        .unwrap_or_else(|| "command".to_owned());
    let seen = names.entry(base.clone()).or_insert(0);
    *seen += 1;
    if *seen == 1 {
        base
    } else {
        format!("{base}-{seen}")
    }
}

/// What a part of a command line runs; `None` if it only checks or prepares.
fn program_of(part: &str) -> Option<String> {
    let assignment = |word: &str| word.contains('=') && !word.starts_with('/');
    let around = |word: &str| matches!(word, "exec" | "nice" | "ionice" | "env" | "sudo" | "!");
    let mut words = part
        .split_whitespace()
        .skip_while(|w| assignment(w) || around(w));
    let program = words.find(|w| !w.starts_with('-'))?;
    if matches!(program, "test" | "[" | "command" | "cd" | "true" | ":") {
        return None;
    }
    let base = slug(program)?;
    match words.filter(|w| w.starts_with('/')).find_map(slug) {
        Some(folder) if base == "run-parts" => Some(format!("{base}-{folder}")),
        _ => Some(base),
    }
}

/// The last part of a path, as far as a name can hold it.
fn slug(word: &str) -> Option<String> {
    let last = word.rsplit('/').find(|p| !p.is_empty())?;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '-'
        }
    };
    let slug: String = last.chars().map(plain).take(60).collect();
    let slug = slug.trim_matches(|c| c == '-' || c == '.');
    (!slug.is_empty()).then(|| slug.to_owned())
}
