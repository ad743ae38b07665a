//! The lines of a crontab as tasks. Owns names, what of cron's ways a task keeps, and the remarks on what it doesn't; it
//! reads no file and asks nobody.

use std::collections::{BTreeSet, HashSet};

use campanile_core::task::{CommandSpec, HandlerSpec};
use campanile_schedule::crontab::{Crontab, Entry};
use campanile_schedule::time::Timestamp;

use super::task::{Imported, TIMEOUT, shown, slug, unused, written};

/// Variables that are cron's own settings, and what becomes of what they set.
const SETTINGS: [(&str, &str); 4] = [
    (
        "MAILTO",
        "output is kept with its run (`campanile run logs`), not mailed",
    ),
    ("MAILFROM", "nothing is mailed"),
    ("CONTENT_TYPE", "nothing is mailed"),
    ("CONTENT_TRANSFER_ENCODING", "nothing is mailed"),
];

/// What became of a crontab.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// Each as a task file has it, in the order of the lines.
    pub(super) tasks: Vec<String>,
    /// Lines that were not taken.
    pub(super) refused: usize,
    /// What there is to say, with the line, in their order.
    pub(super) remarks: Vec<(usize, String)>,
    /// The shells that its tasks name.
    shells: BTreeSet<String>,
    /// The variables that they set.
    variables: BTreeSet<String>,
}

impl Converted {
    /// The shells that a worker has to allow, in one text.
    pub(super) fn shells(&self) -> String {
        let all: Vec<&str> = self.shells.iter().map(String::as_str).collect();
        all.join(", ").escape_debug().to_string()
    }

    /// The variables that a worker has to allow, as its flag takes them; empty = none.
    pub(super) fn variables(&self) -> String {
        let all: Vec<&str> = self.variables.iter().map(String::as_str).collect();
        all.join(",").escape_debug().to_string()
    }
}

/// Makes tasks of a crontab's entries. What `apply` would refuse is refused here, with its line.
pub(super) fn convert(table: &Crontab, zone: &str, now: Timestamp) -> Converted {
    let mut out = Converted {
        refused: table.refused.len(),
        ..Converted::default()
    };
    for refused in &table.refused {
        let (reason, text) = (&refused.reason, shown(refused.text.trim()));
        out.remarks
            .push((refused.line, format!("not taken: {reason} ({text})")));
    }
    let (mut names, mut said) = (HashSet::new(), BTreeSet::new());
    for entry in &table.entries {
        let name = name(&entry.command, &names);
        let task = task(entry, zone, &name);
        match written(&task, now) {
            Ok(text) => {
                out.tasks.push(text);
                if let Some(HandlerSpec::Command(command)) = &task.handler {
                    out.shells.extend(command.argv.first().cloned());
                    out.variables.extend(command.env.keys().cloned());
                }
            }
            Err(reason) => {
                out.refused += 1;
                let text = shown(&entry.command);
                out.remarks
                    .push((entry.line, format!("not taken: {reason} ({text})")));
                continue;
            }
        }
        names.insert(name);
        for remark in remarks(entry) {
            // Most remarks are about all lines: once is enough.
            if said.insert(remark.clone()) {
                out.remarks.push((entry.line, remark));
            }
        }
    }
    out.remarks.sort_by_key(|(line, _)| *line);
    out
}

/// What behaves otherwise than under cron.
fn remarks(entry: &Entry) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(user) = &entry.user {
        out.push(format!("runs as the worker's own user, not as `{user}`: give its queue a worker that runs as that user"));
    }
    for (name, instead) in SETTINGS {
        if entry.environment.contains_key(name) {
            out.push(format!("{name} is dropped: {instead}"));
        }
    }
    for name in ["LOGNAME", "USER"] {
        if entry.environment.contains_key(name) {
            out.push(format!(
                "{name} is dropped: it is the name of the worker's own user"
            ));
        }
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
    if entry
        .environment
        .get("SHELL")
        .is_some_and(|s| !s.starts_with('/'))
    {
        out.push("its SHELL is no absolute path: /bin/sh runs it".to_owned());
    }
    if entry
        .environment
        .get("HOME")
        .is_some_and(|h| !h.starts_with('/'))
    {
        out.push(
            "its HOME is no absolute path: it starts in the folder of the worker's user".to_owned(),
        );
    }
    if entry.schedule.contains('H') {
        out.push("`~` is `H` here: a number that the task keeps, also over restarts".to_owned());
    }
    if leaves_children(&entry.command) {
        out.push(
            "what it leaves running (`&`, `nohup`, `setsid`) is killed when the command ends: let the command wait for \
             it, start it as a service (`systemd-run`), or write `keep_children = true` beside `argv`, if it may go on"
                .to_owned(),
        );
    }
    out
}

/// Whether a command starts something that is to outlive it. `a && b`, `2>&1` and `&>` do not.
fn leaves_children(command: &str) -> bool {
    let mut words =
        command.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-' && c != '.');
    let outlives = |w: &str| {
        matches!(
            w,
            "nohup" | "setsid" | "disown" | "daemonize" | "start-stop-daemon"
        )
    };
    if words.any(outlives) {
        return true;
    }
    let bytes = command.as_bytes();
    let at = |n: usize| bytes.get(n).copied();
    (0..bytes.len()).any(|n| {
        let before = n.checked_sub(1).and_then(at);
        at(n) == Some(b'&')
            && !matches!(before, Some(b'&' | b'>' | b'<' | b'\\' | b'|'))
            && !matches!(at(n + 1), Some(b'&' | b'>'))
    })
}

fn task(entry: &Entry, zone: &str, name: &str) -> Imported {
    let environment = &entry.environment;
    let absolute = |name: &str| environment.get(name).filter(|path| path.starts_with('/'));
    let shell = absolute("SHELL").map_or("/bin/sh", String::as_str);
    let home = absolute("HOME");
    let passed = |name: &str| {
        let setting = SETTINGS.iter().any(|(setting, _)| *setting == name);
        let left_out = setting
            || name.starts_with("CAMPANILE_")
            || matches!(name, "LOGNAME" | "USER")
            || (name == "HOME" && home.is_none());
        !left_out
    };
    let command = CommandSpec {
        argv: vec![shell.to_owned(), "-c".to_owned(), entry.command.clone()],
        env: environment
            .iter()
            .filter(|(name, _)| passed(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        dir: home.cloned(),
        stdin: entry.stdin.clone(),
        login: true,
        keep_children: false,
    };
    let zone = entry.timezone.as_ref().map_or(zone, |z| z.name());
    let delay = entry.random_delay_minutes;
    Imported {
        name: name.to_owned(),
        description: Some(format!("line {} of its crontab", entry.line)),
        schedule: entry.schedule.clone().into(),
        dialect: (!entry.schedule.starts_with('@')).then_some("unix"),
        timezone: Some(zone.to_owned()),
        jitter: (delay > 0).then(|| format!("{delay}m")),
        // cron starts nothing late.
        misfire: Some("skip"),
        timeout: Some(TIMEOUT.to_owned()),
        handler: Some(HandlerSpec::Command(command)),
        ..Imported::default()
    }
}

/// A name that its reader will know again: the program of the first part that is more than a check, and for
/// `run-parts` its folder. A name that is taken gets a number, the first that is free.
fn name(command: &str, taken: &HashSet<String>) -> String {
    let base = command
        .split(['&', ';', '|', '{', '}'])
        .find_map(program_of)
        .unwrap_or_else(|| "command".to_owned());
    unused(&base, taken)
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
    let base = last_part(program)?;
    match words.filter(|w| w.starts_with('/')).find_map(last_part) {
        Some(folder) if base == "run-parts" => Some(format!("{base}-{folder}")),
        _ => Some(base),
    }
}

/// The last part of a path, as far as a name can hold it.
fn last_part(word: &str) -> Option<String> {
    slug(word.rsplit('/').find(|p| !p.is_empty())?)
}

#[cfg(test)]
#[path = "crontab_tests.rs"]
mod tests;
