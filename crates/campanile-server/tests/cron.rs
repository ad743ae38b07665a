//! `cron explain` and the rules for changes of the clocks, as people call them.

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.arg("cron").args(args).env_clear();
    command.output().unwrap()
}

fn out(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The page for users shows this very output.
const GUIDE: &str = include_str!("../../../docs/guide/schedules.md");

#[test]
fn explain_prints_what_the_guide_shows() {
    let got = out(&[
        "explain",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--from",
        "2026-03-27T12:00:00Z",
        "--count",
        "3",
    ]);
    assert!(GUIDE.contains(&got), "the guide does not show:\n{got}");
    assert!(
        got.contains("left out: 02:30, fires at the change"),
        "{got}"
    );
}

#[test]
fn explain_in_json_has_the_same() {
    let got = out(&[
        "explain",
        "0 0 2 ? * 6L",
        "--dialect",
        "quartz",
        "--tz",
        "America/New_York",
        "--from",
        "2026-10-20T00:00:00Z",
        "--count",
        "2",
        "--output",
        "json",
    ]);
    let value: Value = serde_json::from_str(&got).unwrap();
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap();
    assert_eq!(text("/dialect"), "quartz");
    assert_eq!(
        text("/description"),
        "At 02:00 on the last Friday of each month, in America/New_York"
    );
    assert_eq!(text("/lines/0/at"), "2026-10-30T02:00:00-04:00");
    assert_eq!(text("/lines/0/weekday"), "Friday");
    assert_eq!(text("/lines/1/kind"), "change");
    assert_eq!(text("/lines/2/at"), "2026-11-27T02:00:00-05:00");
    assert_eq!(text("/translations/0/expression"), "0 2 * * FRIL");
    let refused = out(&["explain", "30 0 2 * * *", "--output", "json"]);
    assert!(refused.contains("unix has no seconds"), "{refused}");
}

#[test]
fn rules_and_names_are_flags_of_both() {
    let next = |more: &[&str]| {
        let mut args = vec![
            "next",
            "30 2 * * *",
            "--tz",
            "Europe/Berlin",
            "--count",
            "1",
        ];
        args.extend(more);
        out(&args)
    };
    let (gap, repeat) = (
        ["--from", "2026-03-28T12:00:00Z"],
        ["--from", "2026-10-25T00:45:00Z"],
    );
    for (rule, instant) in [
        ("next-valid", "2026-03-29T03:00:00+02:00\n"),
        ("skip", "2026-03-30T02:30:00+02:00\n"),
        ("shift", "2026-03-29T03:30:00+02:00\n"),
    ] {
        assert_eq!(next(&[&gap[..], &["--gap", rule]].concat()), instant);
    }
    for (rule, instant) in [
        ("first", "2026-10-26T02:30:00+01:00\n"),
        ("both", "2026-10-25T02:30:00+01:00\n"),
        ("last", "2026-10-25T02:30:00+01:00\n"),
    ] {
        assert_eq!(next(&[&repeat[..], &["--repeat", rule]].concat()), instant);
    }
    let hashed = |name: &str| out(&["explain", "H H * * *", "--name", name, "--count", "1"]);
    assert_ne!(hashed("nightly-report"), hashed("weekly-report"));
    assert_eq!(
        run(&["next", "0 2 * * *", "--gap", "never"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_mark_stands_under_the_character_at_fault() {
    let output = run(&["explain", "0 9-99 * * *"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("  0 9-99"))
        .unwrap();
    let (shown, mark) = (lines[at], lines[at + 1]);
    assert_eq!(shown.find("99"), mark.find('^'), "{said}");
    assert!(
        said.contains("hour `9-99` is above 23; write 0-23"),
        "{said}"
    );
}
