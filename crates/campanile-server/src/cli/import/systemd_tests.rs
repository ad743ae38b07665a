//! Timers as tasks: what systemd says of them is kept or named, and what is written is taken.

use std::path::Path;

use campanile_core::task::{CommandSpec, HandlerSpec, Misfire, Overlap, TaskSpec};
use proptest::prelude::*;

use super::*;
use crate::taskfile::TaskFile;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-29T12:00:00Z").unwrap()
}

fn unit(name: &str, text: &str) -> Unit {
    let mut unit = Unit::new(name, name);
    unit.read(name, text);
    unit
}

fn import(units: &[Unit]) -> (Vec<TaskSpec>, Converted) {
    let converted = convert(units, "Europe/Berlin", now());
    let file = TaskFile::parse(&converted.tasks.join("\n"), Path::new("t.toml")).unwrap();
    (file.definitions.tasks, converted)
}

/// A timer with a service of one plain program.
fn timer(lines: &str) -> [Unit; 2] {
    [
        unit("a.timer", &format!("[Timer]\n{lines}")),
        unit(
            "a.service",
            "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        ),
    ]
}

fn command(task: &TaskSpec) -> &CommandSpec {
    match &task.handler {
        HandlerSpec::Command(command) => command,
        other => panic!("{other:?}"),
    }
}

fn texts(task: &TaskSpec) -> Vec<&str> {
    let all = task.schedule.as_ref().unwrap().as_slice();
    all.iter().map(String::as_str).collect()
}

fn said(converted: &Converted) -> String {
    let lines = converted.remarks.iter();
    lines.map(|(at, text)| format!("{at}: {text}\n")).collect()
}

#[test]
fn what_counts_from_the_end_of_a_run_is_after_it() {
    let (tasks, converted) = import(&timer(
        "OnBootSec=1min\nOnUnitInactiveSec=10min\nRandomizedDelaySec=5s\n",
    ));
    assert_eq!((tasks.len(), texts(&tasks[0])), (1, vec!["after 10m"]));
    assert_eq!(
        (tasks[0].jitter, converted.refused),
        (std::time::Duration::ZERO, 0)
    );
    assert!(said(&converted).contains("RandomizedDelaySec= is dropped"));
    let (tasks, converted) = import(&timer("OnCalendar=daily\nOnUnitInactiveSec=10min\n"));
    assert_eq!((tasks.len(), converted.refused), (0, 1));
    assert!(
        said(&converted).contains("stands alone"),
        "{}",
        said(&converted)
    );
}

#[test]
fn a_timer_and_its_service_become_a_task() {
    let units = [
        unit(
            "backup.timer",
            "[Unit]\nDescription=Backup timer\n\n[Timer]\n# nightly\nOnCalendar=Mon..Fri *-*-* 02:30\nOnCalendar=Sun 04:00\n\
             RandomizedDelaySec=10min\nFixedRandomDelay=true\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
        ),
        unit(
            "backup.service",
            "[Unit]\nDescription=Back up\n[Service]\nType=oneshot\nUser=backup\nWorkingDirectory=/srv\n\
             Environment=A=1 \"B=two words\"\nTimeoutStartSec=1h 30min\nExecStart=/usr/bin/backup --to \\\n  'far away' %p\n",
        ),
    ];
    let (tasks, converted) = import(&units);
    let [task] = tasks.as_slice() else {
        panic!("{tasks:?}")
    };
    assert_eq!(task.name, "backup");
    assert_eq!(task.description.as_deref(), Some("Back up"));
    assert_eq!(texts(task), ["30 2 * * MON-FRI", "0 4 * * SUN"]);
    assert_eq!(task.timezone, "Europe/Berlin");
    assert_eq!(task.misfire, Misfire::Last);
    assert_eq!(task.overlap, Overlap::Skip);
    assert_eq!(
        (task.jitter.as_secs(), task.timeout.as_secs()),
        (600, 5_400)
    );
    let command = command(task);
    assert_eq!(
        command.argv,
        ["/usr/bin/backup", "--to", "far away", "backup"]
    );
    assert_eq!(command.env["B"], "two words");
    assert_eq!(command.dir.as_deref(), Some("/srv"));
    assert_eq!(
        said(&converted),
        "backup.service line 5: runs as the worker's own user, not as `backup`: give its queue a worker that runs as that \
         user\n"
    );
}

#[test]
fn each_thing_that_is_dropped_is_said_with_its_line() {
    let units = [
        unit(
            "a.timer",
            "[Unit]\nConditionACPower=true\n[Timer]\nOnBootSec=5min\nOnUnitActiveSec=1h\nAccuracySec=1us\nWakeSystem=true\n\
             RandomizedDelaySec=30\n",
        ),
        unit(
            "a.service",
            "[Service]\nType=forking\nExecStart=-/bin/a\nNice=10\nEnvironmentFile=/etc/default/a\nProtectSystem=strict\n\
             Restart=on-failure\nRestartSec=30\n[Unit]\nAfter=network.target\n",
        ),
    ];
    let (tasks, converted) = import(&units);
    assert_eq!(texts(&tasks[0]), ["every 1h"]);
    assert_eq!(tasks[0].misfire, Misfire::Skip);
    assert_eq!(command(&tasks[0]).argv[2], "set -e; /bin/a || true");
    let retry = &tasks[0].retry;
    assert_eq!((retry.max_attempts, retry.initial.as_secs()), (5, 30));
    let said = said(&converted);
    for expected in [
        "a.timer line 2: ConditionACPower= is dropped",
        "a.timer line 4: OnBootSec= is dropped",
        "a.timer line 6: AccuracySec= is dropped",
        "a.timer line 7: WakeSystem= is dropped",
        "a.timer line 8: RandomizedDelaySec= is jitter here",
        "a.service line 2: Type=forking is dropped",
        "a.service line 4: Nice= is dropped",
        "a.service line 5: EnvironmentFile= is dropped",
        "a.service line 6: ProtectSystem= is dropped",
        "a.service line 7: Restart=on-failure is 5 attempts here",
        "a.service line 10: After= is dropped",
    ] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    assert_eq!(converted.remarks.len(), 11, "{said}");
}

#[test]
fn several_programs_are_one_script_and_variables_are_the_shells() {
    let service = "[Service]\nEnvironment=DIR=/x\nExecStartPre=/bin/mkdir -p ${DIR}/y\nExecStart=/bin/a \"it's\" $MORE\n\
                   ExecStart=-/bin/b 100%% $$5\n";
    let units = [
        unit("a.timer", "[Timer]\nOnCalendar=daily\n"),
        unit("a.service", service),
    ];
    let (tasks, _) = import(&units);
    assert_eq!(
        command(&tasks[0]).argv,
        [
            "/bin/sh",
            "-c",
            "set -e; /bin/mkdir -p \"${DIR}/y\"; /bin/a 'it'\\''s' $MORE; /bin/b 100% \"\\$5\" || true"
        ]
    );
}

#[test]
fn what_a_drop_in_takes_back_does_not_count() {
    let mut timer = unit("a.timer", "[Timer]\nOnCalendar=daily\nOnCalendar=hourly\n");
    timer.read(
        "a.timer.d/x.conf",
        "[Timer]\nOnCalendar=\nOnCalendar=weekly\n",
    );
    let service = unit("a.service", "[Service]\nExecStart=/bin/true\n");
    let (tasks, _) = import(&[timer, service]);
    assert_eq!(texts(&tasks[0]), ["0 0 * * MON"]);
}

#[test]
fn events_of_several_zones_are_several_tasks() {
    let units =
        timer("OnCalendar=10:00 Asia/Tokyo\nOnCalendar=11:00\nOnCalendar=12:00 Asia/Tokyo\n");
    let (tasks, converted) = import(&units);
    let shown: Vec<_> = tasks
        .iter()
        .map(|t| (t.name.as_str(), t.timezone.as_str(), texts(t)))
        .collect();
    assert_eq!(
        shown,
        [
            ("a", "Asia/Tokyo", vec!["0 10 * * *", "0 12 * * *"]),
            ("a-2", "Europe/Berlin", vec!["0 11 * * *"]),
        ]
    );
    assert!(said(&converted).contains("several zones"));
}

#[test]
fn what_can_not_be_taken_says_why() {
    let alone = unit("a.timer", "[Timer]\nOnCalendar=daily\nUnit=b.service\n");
    let (tasks, converted) = import(&[alone]);
    assert!(tasks.is_empty());
    let said_of = said(&converted);
    assert!(
        said_of.contains("a.timer line 3: not taken: it starts `b.service`, which is not among"),
        "{said_of}"
    );
    for (lines, part) in [
        ("OnBootSec=5min\n", "it has no OnCalendar="),
        ("OnCalendar=Mon 2027-1-1..7\n", "at once"),
        (
            "OnCalendar=25:00\n",
            "line 2: not taken: `25:00` is not understood",
        ),
        ("OnUnitActiveSec=0\n", "no length of time"),
        ("OnCalendar=2020-01-01 00:00\n", "can never fire"),
    ] {
        let (tasks, converted) = import(&timer(lines));
        assert!(tasks.is_empty(), "{lines}");
        assert_eq!(converted.refused, 1);
        let said = said(&converted);
        assert!(said.contains(part), "{lines}: {said}");
    }
    for (service, part) in [
        ("[Service]\nType=oneshot\n", "no ExecStart="),
        (
            "[Service]\nExecStart=%h/bin/x\n",
            "`%h` in `%h/bin/x` is known to systemd alone",
        ),
        (
            "[Service]\nExecStart=/bin/a 'open\n",
            "a quote that is not closed",
        ),
        (
            "[Service]\nExecStart=/bin/a ; /bin/b\n",
            "several commands in one line",
        ),
        (
            "[Service]\nExecStart=/bin/a\nEnvironment=x\n",
            "is no assignment",
        ),
    ] {
        let units = [
            unit("a.timer", "[Timer]\nOnCalendar=daily\n"),
            unit("a.service", service),
        ];
        let (tasks, converted) = import(&units);
        assert!(tasks.is_empty(), "{service}");
        let said = said(&converted);
        assert!(said.contains(part), "{service}: {said}");
    }
}

proptest! {
    /// Whatever units hold: nothing panics, what is written is taken, and a timer that is not is counted.
    #[test]
    fn any_units_are_taken_or_refused(
        timer in "(\\[(Timer|Unit)\\]\n)?((OnCalendar|OnUnitActiveSec|Unit|Persistent|RandomizedDelaySec)=[ -~µ\\\\]{0,20}\n){0,6}",
        service in "(\\[Service\\]\n)?((ExecStart|Environment|User|TimeoutStartSec|Restart)=[ -~\\\\\"']{0,20}\n){0,6}",
    ) {
        let (tasks, converted) = import(&[unit("a.timer", &timer), unit("a.service", &service)]);
        prop_assert!(!tasks.is_empty() || converted.refused > 0);
    }
}
