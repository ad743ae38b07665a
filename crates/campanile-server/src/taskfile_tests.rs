//! Task files in their three forms, and the places that errors name: people fix a file by its line, so the lines are
//! tested as exactly as the words.

use super::*;

#[path = "taskfile_wrong_tests.rs"]
mod wrong;

const GOOD: &str = r#"
[[task]]
name = "a"
schedule = "every 10s"
handler = { http = { url = "http://127.0.0.1:9/" } }

[[task]]
name = "b"
handler.command.argv = ["/usr/bin/df", "-h"]
[task.retry]
max_attempts = 3
"#;

fn parse(text: &str, name: &str) -> Result<TaskFile, Error> {
    TaskFile::parse(text, Path::new(name))
}

#[test]
fn three_forms_say_the_same() {
    let toml = parse(GOOD, "t.toml").unwrap().definitions.tasks;
    let json = serde_json::json!({ "task": [
        {"name": "a", "schedule": "every 10s", "handler": {"http": {"url": "http://127.0.0.1:9/"}}},
        {"name": "b", "handler": {"command": {"argv": ["/usr/bin/df", "-h"]}}, "retry": {"max_attempts": 3}},
    ]});
    let yaml = "task:\n  - name: a\n    schedule: every 10s\n    handler: {http: {url: 'http://127.0.0.1:9/'}}\n\
                \u{20} - name: b\n    handler:\n      command:\n        argv: [/usr/bin/df, -h]\n    retry: {max_attempts: 3}\n";
    assert_eq!(
        parse(&json.to_string(), "t.json")
            .unwrap()
            .definitions
            .tasks,
        toml
    );
    assert_eq!(parse(yaml, "t.yaml").unwrap().definitions.tasks, toml);
    assert!(parse("", "t.toml").unwrap().definitions.tasks.is_empty());
}

/// What is changed in the good file, and what is said of it.
const CHANGED: &[(&str, &str, &str)] = &[
    (
        "schedule =",
        "shedule =",
        "t.toml line 4: task `a`: shedule: is not a field of a task: did you mean `schedule`?",
    ),
    (
        "url =",
        "uri =",
        "t.toml line 5: task `a`: handler.http.uri: is not known here: did you mean `url`?",
    ),
    (
        "max_attempts = 3",
        "max_attempts = \"x\"",
        "t.toml line 11: task `b`: retry.max_attempts: the text \"x\" stands where a whole number from 0 to 4294967295 belongs",
    ),
    (
        "name = \"b\"",
        "name = \"a\"",
        "t.toml line 8: task `a`: name: is defined at line 3 already",
    ),
    (
        "name = \"b\"",
        "",
        "t.toml line 7: task 2: name: is missing: write name = \"nightly-report\"",
    ),
    (
        "handler.command.argv = ",
        "x = ",
        "task `b`: x: is not a field of a task",
    ),
    ("\"every 10s\"", "every 10s", "t.toml line 4: "),
    (
        "[[task]]",
        "[[tasks]]",
        "t.toml line 2: `tasks` is not known at the top of a task file: tasks are under `task`",
    ),
];

/// Whole files, and what is said of them.
const BROKEN: &[(&str, &str, &str)] = &[
    (
        "t.toml",
        "[task]\nname = 1",
        "`task` is not a list: write [[task]] before each task",
    ),
    (
        "t.json",
        "{\"task\": [\n {\n  \"name\": \"a\",\n  \"handler\": {\"native\": \"x\"},\n  \"priority\": \"high\"\n }\n]}",
        "t.json line 5: task `a`: priority: the text \"high\" stands where a whole number from 0 (last) to 9 (first) belongs: write \"priority\": 9",
    ),
    ("t.json", "{\n \"task\": [\n}", "t.json line 3: "),
    (
        "t.yaml",
        "task:\n  - name: a\n    handler: {native: x}\n    timeout: 5 parsecs\n",
        "t.yaml line 4: task `a`: timeout: `5 parsecs` is not a duration",
    ),
    ("t.yaml", "task:\n  - name: a\n  handler\n", "t.yaml line "),
    (
        "t.ini",
        "",
        "t.ini: `.ini` is not a form of task files: write .toml, .yaml or .json",
    ),
];

#[test]
fn what_is_wrong_is_named_with_file_line_task_and_field() {
    let changed = CHANGED
        .iter()
        .map(|(from, to, expected)| ("t.toml", GOOD.replace(from, to), *expected));
    let broken = BROKEN
        .iter()
        .map(|(name, text, expected)| (*name, (*text).to_owned(), *expected));
    for (name, text, expected) in changed.chain(broken) {
        let said = parse(&text, name).expect_err(expected).to_string();
        assert!(said.contains(expected), "{said}\nshould hold\n{expected}");
    }
}

/// Files that hold a task, and where the refusal of a value in it stands.
const VALUES: &[(&str, &str, &str)] = &[
    (
        "t.toml",
        "[[task]]\nname = \"a\"\nhandler.native = \"x\"\n[task.payload]\ntotal = nan\n",
        "t.toml line 5: task 1: payload.total: `nan` is not a number that a task can hold",
    ),
    (
        "t.yaml",
        "task:\n  - name: a\n    name: b\n",
        "t.yaml line 3: task 1: name: is there twice",
    ),
    (
        "t.yaml",
        "name: a\nhandler: {native: x}\n",
        "t.yaml line 1: `name` is not known at the top of a task file: tasks are under `task`; write `task:` and below it",
    ),
    (
        "t.yaml",
        "task:\n  - just words\n",
        "t.yaml line 2: task 1: is not a task: write its fields, as in name: …",
    ),
    (
        "t.toml",
        "[[calendar]]\nname = \"c\"\ndates = \"2026-12-25\"\n",
        "t.toml line 3: calendar `c`: dates: the text \"2026-12-25\" stands where a list belongs: write dates = [\"2026-12-25\"]",
    ),
    (
        "t.toml",
        "[[limit]]\nlimit = \"queue\"\nmax_running = 1\n",
        "t.toml line 2: limit 1: limit: ",
    ),
    (
        "t.json",
        "{\"limit\": [{\"limit\": \"queue:a\",\n\"max_runing\": 1}]}",
        "t.json line 2: limit 1: max_runing: is not a field of a limit: did you mean `max_running`?",
    ),
];

#[test]
fn values_are_refused_where_they_stand() {
    for (name, text, expected) in VALUES {
        let said = parse(text, name).expect_err(expected).to_string();
        assert!(said.contains(expected), "{said}\nshould hold\n{expected}");
    }
}

#[test]
fn times_without_quotes_are_instants() {
    let toml = "[[task]]\nname = \"a\"\nschedule = \"every 1h\"\nanchor = 2027-01-01T00:00:00Z\n\
                starts_at = 2027-01-01 00:00:00+01:00\nends_at = 2028-01-01T00:00:00.5Z\nhandler.native = \"x\"\n\
                payload = { day = 2027-01-01, list = [07:30:00, 2027-01-01T07:30:00] }\n";
    let yaml = "task:\n  - name: a\n    schedule: every 1h\n    anchor: 2027-01-01T00:00:00Z\n    \
                starts_at: 2026-12-31T23:00:00Z\n    ends_at: 2028-01-01T00:00:00.500Z\n    handler: {native: x}\n    \
                payload: {day: 2027-01-01, list: [07:30:00, 2027-01-01T07:30:00]}\n";
    let read = |text: &str, name: &str| parse(text, name).unwrap().definitions.tasks;
    let tasks = read(toml, "t.toml");
    assert_eq!(tasks, read(yaml, "t.yaml"));
    assert_eq!(
        tasks[0].anchor.unwrap().to_string(),
        "2027-01-01T00:00:00.000Z"
    );
    let payload = r#"{"day":"2027-01-01","list":["07:30:00","2027-01-01T07:30:00"]}"#;
    assert_eq!(tasks[0].payload.to_string(), payload);
}

#[test]
fn a_payload_keeps_the_order_of_its_keys() {
    let text = "[[task]]\nname = \"a\"\nhandler.native = \"x\"\npayload = { z = 1, a = { y = 1, b = 2 } }\n";
    let tasks = parse(text, "t.toml").unwrap().definitions.tasks;
    let stored = serde_json::to_string(&tasks[0]).unwrap();
    assert!(
        stored.contains(r#""payload":{"z":1,"a":{"y":1,"b":2}}"#),
        "{stored}"
    );
    // To be the same, two payloads need not have their keys in one order.
    let other = text.replace("z = 1, a = { y = 1, b = 2 }", "a = { b = 2, y = 1 }, z = 1");
    assert_eq!(parse(&other, "t.toml").unwrap().definitions.tasks, tasks);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_line() {
    let path = std::env::temp_dir().join(format!("campanile-latin1-{}.toml", std::process::id()));
    std::fs::write(&path, b"[[task]]\nname = \"gr\xfc\xdfe\"\n").unwrap();
    let said = TaskFile::read(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(
        said.contains("toml line 2: the byte 0xFC is not UTF-8"),
        "{said}"
    );
}

#[test]
fn an_error_of_the_server_finds_its_line() {
    let file = parse(GOOD, "t.toml").unwrap();
    assert_eq!(
        file.place_of("b", Some("retry.max_attempts")).unwrap(),
        "t.toml line 11"
    );
    assert_eq!(
        file.place_of("a", Some("schedule")).unwrap(),
        "t.toml line 4"
    );
    assert_eq!(file.place_of("z", None), None);
}

const DEFAULTS_TOML: &str = r#"
[defaults]
owner = "finance"
timezone = "Europe/Berlin"
retry = { max_attempts = 5, initial = "2s" }
labels = { team = "billing", tier = "1" }
starts_at = 2027-01-01T08:00:00

[[task]]
name = "a"
handler.native = "x"

[[task]]
name = "b"
handler.native = "x"
timezone = "UTC"
retry = { max_attempts = 2 }
labels = { tier = "2", area = "eu" }
owner = "ops"
"#;

#[test]
fn what_a_task_leaves_out_is_as_the_files_defaults_say() {
    let file = parse(DEFAULTS_TOML, "t.toml").unwrap();
    assert_eq!(file.definitions.owner.as_deref(), Some("finance"));
    let [a, b] = file.definitions.tasks.as_slice() else {
        panic!()
    };
    let labels = |task: &campanile_core::task::TaskSpec| {
        let pairs = task.labels.iter().map(|(k, v)| format!("{k}={v}"));
        pairs.collect::<Vec<_>>().join(",")
    };
    assert_eq!(
        (a.timezone.as_str(), a.retry.max_attempts),
        ("Europe/Berlin", 5)
    );
    assert_eq!(labels(a), "team=billing,tier=1");
    assert_eq!(a.starts_at.unwrap().to_string(), "2027-01-01T08:00:00");
    assert_eq!((b.timezone.as_str(), b.retry.max_attempts), ("UTC", 2));
    // Whole: nothing of the default's own `initial` is left.
    assert_eq!(b.retry.initial, std::time::Duration::from_secs(1));
    assert_eq!(labels(b), "area=eu,team=billing,tier=2");
    assert_eq!(b.owner.as_deref(), Some("ops"));
    let inherited = file.inherited();
    assert_eq!(
        inherited["b"],
        r#"labels = {"team":"billing"}, starts_at = "2027-01-01T08:00:00""#
    );
    assert!(inherited["a"].contains(r#"timezone = "Europe/Berlin""#));
    let yaml = "defaults:\n  owner: finance\n  timezone: Europe/Berlin\n  retry: {max_attempts: 5, initial: 2s}\n  \
                labels: {team: billing, tier: '1'}\n  starts_at: 2027-01-01T08:00:00\ntask:\n- {name: a, handler: {native: x}}\n\
                - {name: b, handler: {native: x}, timezone: UTC, retry: {max_attempts: 2}, labels: {tier: '2', area: eu}, \
                owner: ops}\n";
    assert_eq!(parse(yaml, "t.yaml").unwrap().definitions, file.definitions);
    let json =
        r#"{"task": [{"name": "a", "handler": {"native": "x"}}], "defaults": {"queue": "q"}}"#;
    let tasks = parse(json, "t.json").unwrap().definitions.tasks;
    assert_eq!(tasks[0].queue.as_str(), "q");
}

#[test]
fn a_wrong_default_is_refused_once_and_where_it_stands() {
    let task = "[[task]]\nname = \"a\"\nhandler.native = \"x\"\n";
    for (defaults, expected) in [
        (
            "queu = \"x\"",
            "t.toml line 2: defaults.queu: is not a field of a task: did you mean `queue`?",
        ),
        (
            "timezone = \"Mars/Base\"",
            "t.toml line 2: defaults.timezone: ",
        ),
        (
            "priority = 12",
            "t.toml line 2: defaults.priority: 12 is out of range",
        ),
        ("retry = 3", "t.toml line 2: defaults.retry: "),
        (
            "handler = { native = \"x\" }",
            "t.toml line 2: defaults.handler: is each task's own",
        ),
        (
            "schedule = \"@daily\"",
            "defaults.schedule: is each task's own",
        ),
        ("labels = { team = 1 }", "defaults.labels.team: "),
        (
            "labels = { \"a b\" = \"x\" }",
            "defaults.labels: `a b` is not the key of a label",
        ),
    ] {
        let text = format!("[defaults]\n{defaults}\n{task}");
        let said = parse(&text, "t.toml").expect_err(expected).to_string();
        assert!(said.contains(expected), "{said}\nshould hold\n{expected}");
    }
    let twice = format!("owner = \"a\"\ndefaults = {{ owner = \"b\" }}\n{task}");
    let said = parse(&twice, "t.toml").unwrap_err().to_string();
    assert!(
        said.contains("defaults.owner: is `b`, and the file's own `owner` is `a`"),
        "{said}"
    );
    let list = format!("defaults = 3\n{task}");
    let said = parse(&list, "t.toml").unwrap_err().to_string();
    assert!(
        said.contains("t.toml line 1: defaults: is not a table"),
        "{said}"
    );
    // What fits only some tasks is refused with the task, and the place is that of the default.
    let text = format!("[defaults]\nqueue = \"q\"\nmax_running = 3\n{task}overlap = \"skip\"\n");
    let file = parse(&text, "t.toml").unwrap();
    assert_eq!(
        file.place_of("a", Some("max_running")).unwrap(),
        "t.toml line 3"
    );
    assert_eq!(
        file.place_of("a", Some("overlap")).unwrap(),
        "t.toml line 7"
    );
}
