//! What a service unit starts, as a command. Owns what of `[Service]` is kept; each other key is named where it stands.

use std::collections::BTreeMap;

use campanile_core::task::HandlerSpec;
use campanile_schedule::on_calendar::span;
use campanile_schedule::time::format_duration;

use super::super::task::{Retry, TIMEOUT, command, shown};
use super::Remarks;
use super::unit::{Entry, Unit, words};

const SECTION: &str = "Service";

/// What a task has of its service.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) handler: HandlerSpec,
    pub(super) timeout: String,
    pub(super) retry: Option<Retry>,
}

/// Keys with what is to be said where they are dropped. All others are dropped with one sentence.
const DROPPED: [(&str, &str); 12] = [
    ("Group", "the worker's own group runs it"),
    (
        "EnvironmentFile",
        "write its variables into handler.command.env (secrets by their names), or have the program read the file",
    ),
    ("PassEnvironment", "a command has no inherited environment"),
    ("UnsetEnvironment", "a command has no inherited environment"),
    ("ExecCondition", "let the program look for itself"),
    (
        "ExecStop",
        "an attempt that takes too long is ended by signals",
    ),
    ("ExecStopPost", "let the program clean up for itself"),
    ("ExecReload", "an attempt is not reloaded"),
    (
        "StandardOutput",
        "output is kept with its run (`campanile run logs`)",
    ),
    (
        "StandardError",
        "output is kept with its run (`campanile run logs`)",
    ),
    ("StandardInput", "the payload is on standard input"),
    ("SyslogIdentifier", "the run says which task it is of"),
];

/// Keys that are read here.
const READ: [&str; 13] = [
    "Type",
    "ExecStart",
    "ExecStartPre",
    "ExecStartPost",
    "User",
    "WorkingDirectory",
    "Environment",
    "TimeoutStartSec",
    "TimeoutSec",
    "RuntimeMaxSec",
    "Restart",
    "RestartSec",
    "StartLimitBurst",
];

/// Makes a command of a service.
///
/// # Errors
/// Why it can't be one, with the place.
pub(super) fn convert(unit: &Unit, remarks: &mut Remarks) -> Result<Taken, (String, String)> {
    say_dropped(unit, remarks);
    let argv = arguments(unit, remarks)?;
    let at = |entry: &Entry| entry.place.clone();
    let environment = environment(unit)?;
    let dir = unit.last(SECTION, "WorkingDirectory");
    let dir = dir.map(|e| (at(e), e.value.trim_start_matches('-')));
    let dir = match dir {
        Some((place, "~")) => {
            let remark = "WorkingDirectory=~ is dropped: write the folder into handler.command.dir";
            remarks.say(&place, remark);
            None
        }
        Some((_, dir)) => Some(dir),
        None => None,
    };
    let handler = command(&argv, &environment, dir).map_err(|e| (unit.shown.clone(), e))?;
    Ok(Taken {
        handler,
        timeout: timeout(unit)?,
        retry: retry(unit, remarks)?,
    })
}

fn say_dropped(unit: &Unit, remarks: &mut Remarks) {
    for entry in unit.entries.iter().filter(|e| e.section == SECTION) {
        let key = entry.key.as_str();
        if let Some((_, why)) = DROPPED.iter().find(|(known, _)| *known == key) {
            remarks.say(&entry.place, &format!("{key}= is dropped: {why}"));
        } else if !READ.contains(&key) {
            let remark = format!(
                "{key}= is dropped: the unit of the worker may say it for all that it starts"
            );
            remarks.say(&entry.place, &remark);
        }
    }
    if let Some(user) = unit.last(SECTION, "User") {
        let remark = format!(
            "runs as the worker's own user, not as `{}`: give its queue a worker that runs as that user",
            shown(&user.value)
        );
        remarks.say(&user.place, &remark);
    }
    let kind = unit.last(SECTION, "Type");
    let kind = kind.filter(|e| !matches!(e.value.as_str(), "oneshot" | "simple" | "exec"));
    if let Some(kind) = kind {
        let remark = format!(
            "Type={} is dropped: the run ends when the program does, and what it leaves running is killed",
            shown(&kind.value)
        );
        remarks.say(&kind.place, &remark);
    }
}

/// What is started: one program as it is, several (or one whose failure does not count, or with variables) by a shell.
fn arguments(unit: &Unit, remarks: &mut Remarks) -> Result<Vec<String>, (String, String)> {
    let mut lines = Vec::new();
    for key in ["ExecStartPre", "ExecStart", "ExecStartPost"] {
        for entry in unit.all(SECTION, key) {
            let line = Line::read(unit, entry, remarks);
            lines.push(line.map_err(|e| (entry.place.clone(), e))?);
        }
    }
    if unit.all(SECTION, "ExecStart").is_empty() {
        let reason = "its service has no ExecStart=".to_owned();
        return Err((unit.shown.clone(), reason));
    }
    match lines.as_slice() {
        [line] if line.is_plain() => Ok(line.words.clone()),
        lines => {
            let script: Vec<String> = lines.iter().map(Line::in_shell).collect();
            let script = format!("set -e; {}", script.join("; "));
            Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), script])
        }
    }
}

/// One line of `Exec…=`.
struct Line {
    words: Vec<String>,
    /// Its failure does not count.
    may_fail: bool,
    /// Variables are put in.
    expands: bool,
}

impl Line {
    fn read(unit: &Unit, entry: &Entry, remarks: &mut Remarks) -> Result<Self, String> {
        let rest = entry
            .value
            .trim_start_matches(['@', '-', ':', '+', '!', '|']);
        let head = entry.value.get(..entry.value.len() - rest.len());
        let head = head.unwrap_or_default();
        if head.contains(['+', '!']) {
            let remark = "`+` and `!` are dropped: it has the rights of the worker's own user";
            remarks.say(&entry.place, remark);
        }
        if head.contains('|') {
            return Err("is run by a login shell (`|`): write the command out".to_owned());
        }
        let mut all = words(rest)?;
        if head.contains('@') && all.len() > 1 {
            all.remove(1);
            let remark = "`@` is dropped: the program is called by its own name";
            remarks.say(&entry.place, remark);
        }
        let all: Result<Vec<String>, String> = all.iter().map(|w| specified(unit, w)).collect();
        let all = all?;
        if all.iter().any(|word| word == ";") {
            return Err(
                "has several commands in one line: write an ExecStart= for each".to_owned(),
            );
        }
        Ok(Self {
            expands: !head.contains(':') && all.iter().any(|word| word.contains('$')),
            may_fail: head.contains('-'),
            words: all,
        })
    }

    fn is_plain(&self) -> bool {
        !self.may_fail && !self.expands && self.words.first().is_some_and(|w| w.starts_with('/'))
    }

    fn in_shell(&self) -> String {
        let words = self.words.iter().map(|word| self.quoted(word));
        let line = words.collect::<Vec<_>>().join(" ");
        if self.may_fail {
            format!("{line} || true")
        } else {
            line
        }
    }

    fn quoted(&self, word: &str) -> String {
        let whole_variable = word.strip_prefix('$').is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        if self.expands && whole_variable {
            return word.to_owned();
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
        if !word.is_empty() && word.bytes().all(plain) {
            return word.to_owned();
        }
        if self.expands && word.contains('$') {
            // `${NAME}` is put in, `$$` is one dollar.
            let text = word.replace('\\', "\\\\").replace('"', "\\\"");
            let text = text.replace('`', "\\`").replace("$$", "\\$");
            return format!("\"{text}\"");
        }
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A word with systemd's specifiers put in, as far as they are of the unit's name.
fn specified(unit: &Unit, word: &str) -> Result<String, String> {
    let stem = unit.name.rsplit_once('.').map_or("", |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut out = String::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(&unit.name),
            Some('N') => out.push_str(stem),
            Some('p' | 'P') => out.push_str(prefix),
            Some('i' | 'I') => out.push_str(instance),
            other => {
                let other = other.map_or(String::new(), |c| c.escape_debug().to_string());
                return Err(format!(
                    "`%{other}` in `{}` is known to systemd alone: write what it stands for",
                    shown(word)
                ));
            }
        }
    }
    Ok(out)
}

fn environment(unit: &Unit) -> Result<BTreeMap<String, String>, (String, String)> {
    let mut out = BTreeMap::new();
    for entry in unit.all(SECTION, "Environment") {
        let wrong = |e: String| (entry.place.clone(), e);
        for word in words(&entry.value).map_err(wrong)? {
            let Some((name, value)) = word.split_once('=') else {
                return Err(wrong(format!("`{}` is no assignment", shown(&word))));
            };
            let value = specified(unit, value).map_err(wrong)?;
            out.insert(name.to_owned(), value);
        }
    }
    Ok(out)
}

/// How long an attempt may take: systemd bounds a oneshot only where it is told to.
fn timeout(unit: &Unit) -> Result<String, (String, String)> {
    for key in ["TimeoutStartSec", "RuntimeMaxSec", "TimeoutSec"] {
        let Some(entry) = unit.last(SECTION, key) else {
            continue;
        };
        let long = span(&entry.value).map_err(|e| (entry.place.clone(), e))?;
        if let Some(long) = long.filter(|long| !long.is_zero()) {
            return Ok(format_duration(long));
        }
    }
    Ok(TIMEOUT.to_owned())
}

/// `Restart=on-failure` as attempts.
fn retry(unit: &Unit, remarks: &mut Remarks) -> Result<Option<Retry>, (String, String)> {
    let Some(entry) = unit.last(SECTION, "Restart") else {
        return Ok(None);
    };
    match entry.value.as_str() {
        "no" => return Ok(None),
        "on-failure" | "on-abnormal" | "on-abort" | "on-watchdog" => {}
        other => {
            let remark = format!(
                "Restart={} is dropped: what ended well is started again by its schedule alone",
                shown(other)
            );
            remarks.say(&entry.place, &remark);
            return Ok(None);
        }
    }
    let wait = match unit.last(SECTION, "RestartSec") {
        Some(entry) => span(&entry.value).map_err(|e| (entry.place.clone(), e))?,
        None => None,
    };
    let wait = wait.filter(|wait| wait.as_millis() > 0);
    let wait = wait.map_or("1s".to_owned(), format_duration);
    let limit = unit.last("Unit", "StartLimitBurst");
    let limit = limit.or_else(|| unit.last(SECTION, "StartLimitBurst"));
    let attempts = limit.and_then(|e| e.value.parse::<u32>().ok());
    let max_attempts = attempts.unwrap_or(5).clamp(2, 1_000);
    let remark = format!(
        "Restart={} is {max_attempts} attempts here",
        shown(&entry.value)
    );
    remarks.say(&entry.place, &remark);
    Ok(Some(Retry {
        max_attempts,
        backoff: "fixed",
        initial: wait.clone(),
        max: wait,
    }))
}
