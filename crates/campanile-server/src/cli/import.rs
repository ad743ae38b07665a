//! `import`: a crontab, systemd's timers, Kubernetes' CronJobs or a calendar file, as a task file. What can't be taken over
//! is named on standard error, with its line, and so is what behaves otherwise than there. Owns the way from files to a
//! file; what becomes of what they hold is the business of each, and of a calendar's events the library's.

mod crontab;
mod kubernetes;
mod systemd;
mod task;
mod units;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use campanile_core::system;
use campanile_schedule::calendar::{CalendarSpec, ics};
use campanile_schedule::crontab::Form;
use campanile_schedule::limits::CRONTAB_BYTES_MAX;
use serde::Serialize;

use super::Failure;
use super::args::{Import, ImportCrontab, ImportIcs, ImportKubernetes, ImportSystemd};
use super::out::Out;
use crate::document;

/// How far events that repeat are spelled out.
const YEARS_AHEAD: i32 = 10;

/// `import …`
pub fn run(import: &Import, out: Out) -> Result<ExitCode, Failure> {
    match import {
        Import::Crontab(import) => crontab(import, out),
        Import::Systemd(import) => systemd(import, out),
        Import::Kubernetes(import) => kubernetes(import, out),
        Import::Ics(import) => ics(import, out),
    }
}

/// `import crontab FILE`
fn crontab(import: &ImportCrontab, out: Out) -> Result<ExitCode, Failure> {
    let bytes = read(&import.file, CRONTAB_BYTES_MAX)?;
    let shown = import.file.display();
    let place = (import.file != Path::new("-")).then_some(import.file.as_path());
    let (form, told) = match (import.system, import.user) {
        (true, _) => (Form::System, true),
        (_, true) => (Form::User, true),
        _ => (Form::detect(place, &String::from_utf8_lossy(&bytes)), false),
    };
    let zone = import.timezone.clone().unwrap_or_else(machine_zone);
    let table = campanile_schedule::crontab::parse_bytes(&bytes, form);
    if let (false, Some(doubt)) = (told, form.doubt(&table)) {
        let (read_as, other) = match form {
            Form::User => (
                "a user's own table",
                "--system if its lines name a user, --user if not",
            ),
            Form::System => (
                "a system table",
                "--user if its lines name no user, --system if they do",
            ),
        };
        return Err(Failure::Usage(format!(
            "{shown} line {}: {}, but the file would be read as {read_as}: say {other}",
            doubt.line, doubt.message
        )));
    }
    let converted = crontab::convert(&table, &zone, system::wall_now());
    for (line, remark) in &converted.remarks {
        out.remark(format!("{shown} line {line}: {remark}"));
    }
    if converted.tasks.is_empty() {
        return Err(Failure::Failed(format!(
            "{shown}: no line could be taken: a line is five fields and a command, as in 0 2 * * * /usr/bin/backup"
        )));
    }
    let mut file = format!(
        "# From {}. A worker runs these with `--allow-commands` naming the shell ({}).\n",
        shown.to_string().escape_debug(),
        converted.shells()
    );
    let variables = converted.variables();
    if !variables.is_empty() {
        file.push_str(&format!(
            "# They set variables, which it must allow: `--allow-env {variables}`.\n"
        ));
        out.remark(format!(
            "{shown}: these tasks set variables, and a worker runs them only with `--allow-env {variables}`"
        ));
    }
    for task in &converted.tasks {
        file.push_str(&format!("\n{task}"));
    }
    let counts = (converted.tasks.len(), converted.refused);
    write(import.out.as_deref(), import.force, &file, counts, out)?;
    Ok(ExitCode::SUCCESS)
}

/// `import systemd FILE|DIR…`
fn systemd(import: &ImportSystemd, out: Out) -> Result<ExitCode, Failure> {
    let units = units::gather(&import.files)?;
    let zone = import.timezone.clone().unwrap_or_else(machine_zone);
    let converted = systemd::convert(&units, &zone, system::wall_now());
    for (place, remark) in &converted.remarks {
        out.remark(format!("{place}: {remark}"));
    }
    let from = import.files.iter().map(|file| file.display().to_string());
    let from = from.collect::<Vec<_>>().join(", ");
    if converted.tasks.is_empty() {
        return Err(Failure::Failed(format!(
            "{from}: no timer could be taken: a timer is a file NAME.timer with OnCalendar= in its [Timer], beside its NAME.service"
        )));
    }
    let file = task_file(&from, &converted.tasks);
    let counts = (converted.tasks.len(), converted.refused);
    write(import.out.as_deref(), import.force, &file, counts, out)?;
    Ok(ExitCode::SUCCESS)
}

/// `import kubernetes FILE`
fn kubernetes(import: &ImportKubernetes, out: Out) -> Result<ExitCode, Failure> {
    let bytes = read(&import.file, kubernetes::MANIFESTS_BYTES_MAX)?;
    let shown = import.file.display();
    let text = String::from_utf8(bytes).map_err(|e| {
        let wrong = document::not_text(e.as_bytes(), e.utf8_error().valid_up_to());
        Failure::Usage(format!("{shown}: {}", wrong.message))
    })?;
    let runner = import.run_with.as_deref().unwrap_or_default();
    let runner: Vec<String> = runner.split_whitespace().map(str::to_owned).collect();
    if runner
        .first()
        .is_some_and(|program| !program.starts_with('/'))
    {
        return Err(Failure::Usage(format!(
            "--run-with: `{}` is not an absolute path: write it whole, as in \"/usr/bin/podman run --rm\"",
            runner.join(" ").escape_debug()
        )));
    }
    let converted = kubernetes::convert(&text, &runner, system::wall_now());
    for (line, remark) in &converted.remarks {
        out.remark(format!("{shown} line {line}: {remark}"));
    }
    if converted.tasks.is_empty() {
        return Err(Failure::Failed(format!(
            "{shown}: no CronJob could be taken: it is a document with kind: CronJob, a schedule and one container with a command"
        )));
    }
    let file = task_file(&shown.to_string(), &converted.tasks);
    let counts = (converted.tasks.len(), converted.refused);
    write(import.out.as_deref(), import.force, &file, counts, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Tasks under a line that says where they come from.
fn task_file(from: &str, tasks: &[String]) -> String {
    let head = format!(
        "# From {}. A worker runs these with `--allow-commands` naming their programs.\n",
        from.escape_debug()
    );
    let tasks = tasks.iter().map(|task| format!("\n{task}"));
    head + &tasks.collect::<String>()
}

/// `import ics FILE`
fn ics(import: &ImportIcs, out: Out) -> Result<ExitCode, Failure> {
    let bytes = read(&import.file, ics::TEXT_BYTES_MAX as u64)?;
    let through = import.through.unwrap_or_else(|| this_year() + YEARS_AHEAD);
    let shown = import.file.display();
    let imported = ics::parse_bytes(&bytes, &import.name, through)
        .map_err(|e| Failure::Usage(format!("{shown}: {e}")))?;
    for remark in &imported.remarks {
        out.remark(format!("{shown} {remark}"));
    }
    if imported.taken == 0 {
        return Err(Failure::Failed(format!(
            "{shown}: no event could be taken: days are taken from events that last whole days"
        )));
    }
    let document = CalendarDocument {
        calendar: [&imported.spec],
    };
    let calendar = toml::to_string(&document)
        .map_err(|e| Failure::Failed(format!("failed to write the calendar: {e}")))?;
    let file = format!(
        "# From {}; what repeats is spelled out to the end of {through}.\n{calendar}",
        shown.to_string().escape_debug()
    );
    let left_out = imported.remarks.iter().filter(|r| r.left_out).count();
    write(
        import.out.as_deref(),
        import.force,
        &file,
        (imported.taken, left_out),
        out,
    )?;
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
    force: bool,
    file: &str,
    (taken, refused): (usize, usize),
    out: Out,
) -> Result<(), Failure> {
    let Some(path) = to else {
        out.text(file);
        return Ok(());
    };
    if !force && path.is_file() {
        return Err(Failure::Usage(format!(
            "{} is there already: name another file with --out, or say --force to write over it",
            path.display()
        )));
    }
    std::fs::write(path, file)
        .map_err(|e| Failure::Failed(format!("can't write {}: {e}", path.display())))?;
    out.remark(format!(
        "{taken} taken, {refused} refused; next: campanile apply --dry-run {}",
        path.display()
    ));
    Ok(())
}

/// The bytes of a file, or of standard input, as far as there may be.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let unread = |e: std::io::Error| Failure::Usage(format!("can't read {}: {e}", path.display()));
    let mut input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(unread)?)
    };
    let mut bytes = Vec::new();
    (&mut input)
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() as u64 > most {
        return Err(Failure::Usage(format!(
            "{} is over the limit of {most} bytes: leave out what has passed, or make several files of it",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The zone that this machine's clock shows.
fn machine_zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    zone.iana_name().unwrap_or("UTC").to_owned()
}
