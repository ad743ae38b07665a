//! Crontabs as tasks: what cron gives a command is kept, every line is taken or named, and what is written is taken.

use campanile_core::task::{HandlerSpec, TaskSpec};
use campanile_schedule::crontab::{Form, parse, parse_bytes};
use proptest::prelude::*;

use std::path::Path;

use super::*;
use crate::taskfile::TaskFile;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-28T12:00:00Z").unwrap()
}

fn tasks(converted: &Converted) -> Vec<TaskSpec> {
    let file = TaskFile::parse(&converted.tasks.join("\n"), Path::new("t.toml")).unwrap();
    file.definitions.tasks
}

fn import(text: &str) -> (Vec<TaskSpec>, Vec<(usize, String)>) {
    let converted = convert(&parse(text, Form::User), "Europe/Berlin", now());
    (tasks(&converted), converted.remarks)
}

fn command(task: &TaskSpec) -> &CommandSpec {
    match &task.handler {
        HandlerSpec::Command(command) => command,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_unused_also_where_they_end_in_numbers() {
    let names = |commands: &[&str]| -> Vec<String> {
        let lines: String = commands
            .iter()
            .map(|c| format!("0 1 * * * {c}\n"))
            .collect();
        import(&lines).0.into_iter().map(|t| t.name).collect()
    };
    assert_eq!(
        names(&["/opt/backup", "/opt/backup", "/opt/backup-2"]),
        ["backup", "backup-2", "backup-3"]
    );
    assert_eq!(
        names(&["/a/x-2", "/a/x", "/a/x", "/a/x-2"]),
        ["x-2", "x", "x-3", "x-4"]
    );
    assert_eq!(
        names(&["/a/x-9", "/b/x-9", "/c/x-10"]),
        ["x-9", "x-10", "x-11"]
    );
    assert_eq!(
        names(&["&&", "true", "/.", "/a/é"]),
        ["command", "command-2", "command-3", "command-4"]
    );
}

#[test]
fn the_command_gets_what_cron_gives_it() {
    let (all, remarks) = import(
        "0 6 * * * $HOME/bin/daily.job\nHOME=/srv/app\nSHELL=/bin/bash\nPATH=/opt/bin:/bin\nLOGNAME=joe\nMAILTO=\n\
         RANDOM_DELAY=45\n0 7 * * * cd ~/x && ./run.sh%in\nRANDOM_DELAY=0\nHOME=x\n0 8 * * * late\n",
    );
    let first = command(&all[0]);
    assert!(first.login && first.env.is_empty() && first.dir.is_none());
    assert_eq!(first.argv, ["/bin/sh", "-c", "$HOME/bin/daily.job"]);
    assert_eq!(first.stdin, None);
    let second = command(&all[1]);
    assert_eq!(second.dir.as_deref(), Some("/srv/app"));
    assert_eq!(second.stdin.as_deref(), Some("in\n"));
    let env: Vec<_> = second.env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(
        env,
        ["HOME=/srv/app", "PATH=/opt/bin:/bin", "SHELL=/bin/bash"]
    );
    assert_eq!(all[1].jitter, std::time::Duration::from_secs(45 * 60));
    assert_eq!(all[2].jitter, std::time::Duration::ZERO);
    assert_eq!(command(&all[2]).dir, None);
    let said: Vec<String> = remarks
        .iter()
        .map(|(line, text)| format!("{line}: {text}"))
        .collect();
    for part in [
        "8: MAILTO is dropped",
        "8: LOGNAME is dropped",
        "11: its HOME is no absolute path",
    ] {
        assert!(said.iter().any(|s| s.starts_with(part)), "{part}: {said:?}");
    }
}

#[test]
fn what_outlives_its_command_is_remarked() {
    let told = |command: &str| {
        let (_, remarks) = import(&format!("0 1 * * * {command}\n"));
        remarks
            .iter()
            .any(|(_, r)| r.contains("is killed when the command ends"))
    };
    for command in [
        "nohup /opt/x",
        "setsid /opt/x",
        "/opt/x &",
        "/opt/x >/dev/null 2>&1 & echo",
        "(/opt/x)& disown",
    ] {
        assert!(told(command), "{command}");
    }
    for command in [
        "a && b",
        "a 2>&1",
        "a &> x",
        "a >& x",
        "curl 'x?a=1\\&b=2'",
        "a |& b",
        "x-nohup-y",
    ] {
        assert!(!told(command), "{command}");
    }
}

#[test]
fn what_apply_would_refuse_is_refused_with_its_line() {
    let long = format!("0 1 * * * /opt/x {}\n", "y".repeat(200_000));
    let (all, remarks) = import(&format!("0 0 30 2 * never\n{long}5~9 1 * * * /opt/ok\n"));
    assert_eq!(all.len(), 1);
    assert_eq!(
        all[0].schedule.as_ref().unwrap().to_string(),
        "H(5-9) 1 * * *"
    );
    let lines: Vec<usize> = remarks
        .iter()
        .filter(|(_, r)| r.starts_with("not taken"))
        .map(|(l, _)| *l)
        .collect();
    assert_eq!(lines, [1, 2]);
    assert!(remarks.iter().all(|(_, r)| r.len() < 1_000), "{remarks:?}");
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[0-9*/,~-]{1,4} [0-9*/]{1,3} \\* \\* [0-7*]", "\\PC{0,20}")
            .prop_map(|(when, what)| format!("{when} {what}")),
        "0 [1-9] \\* \\* \\* (/opt/|)(x|y)(-[1-4])?( &|%a%b|)",
        "(HOME|SHELL|PATH|MAILTO|CRON_TZ|RANDOM_DELAY|A) ?= ?[\"']?[a-zA-Z/0-9:-]{0,9}[\"']?",
        "\\PC{0,30}",
        "@(daily|reboot|hourly|midnight) [a-z-]{1,9}",
    ]
}

proptest! {
    #[test]
    fn what_import_writes_apply_takes(lines in prop::collection::vec(line(), 0..20), junk in any::<[u8; 3]>(), system in any::<bool>()) {
        let mut bytes = lines.join("\n").into_bytes();
        bytes.push(b'\n');
        bytes.extend(junk);
        let form = if system { Form::System } else { Form::User };
        let table = parse_bytes(&bytes, form);
        let converted = convert(&table, "Europe/Berlin", now());
        prop_assert_eq!(converted.tasks.len() + converted.refused, table.entries.len() + table.refused.len());
        let named = converted.remarks.iter().filter(|(_, r)| r.starts_with("not taken")).count();
        prop_assert_eq!(named, converted.refused);
        // The file is read as a whole, so no two names are the same.
        for task in tasks(&converted) {
            prop_assert!(task.validate(now()).is_ok(), "{:?}", task);
            prop_assert!(task.timetable(now(), &|_| None).is_ok());
        }
    }
}
