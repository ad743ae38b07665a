use super::*;

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
    let toml = parse(GOOD, "t.toml").unwrap().tasks;
    let json = serde_json::json!({ "task": [
        {"name": "a", "schedule": "every 10s", "handler": {"http": {"url": "http://127.0.0.1:9/"}}},
        {"name": "b", "handler": {"command": {"argv": ["/usr/bin/df", "-h"]}}, "retry": {"max_attempts": 3}},
    ]});
    let yaml = "task:\n  - name: a\n    schedule: every 10s\n    handler: {http: {url: 'http://127.0.0.1:9/'}}\n\
                \u{20} - name: b\n    handler:\n      command:\n        argv: [/usr/bin/df, -h]\n    retry: {max_attempts: 3}\n";
    assert_eq!(parse(&json.to_string(), "t.json").unwrap().tasks, toml);
    assert_eq!(parse(yaml, "t.yaml").unwrap().tasks, toml);
    assert!(parse("", "t.toml").unwrap().tasks.is_empty());
}

#[test]
fn what_is_wrong_is_named_with_file_line_task_and_field() {
    let json = "{\"task\": [\n  {\n    \"name\": \"a\",\n    \"handler\": {\"native\": \"x\"},\n    \"priority\": \"high\"\n  }\n]}";
    let cases: &[(&str, String, &str)] = &[
        (
            "t.toml",
            GOOD.replace("schedule =", "shedule ="),
            "t.toml line 4: task `a`: shedule: is not a field of a task: did you mean `schedule`?",
        ),
        (
            "t.toml",
            GOOD.replace("url =", "uri ="),
            "t.toml line 5: task `a`: handler.http.uri: is not known here: did you mean `url`?",
        ),
        (
            "t.toml",
            GOOD.replace("max_attempts = 3", "max_attempts = \"x\""),
            "t.toml line 10: task `b`: retry: invalid type",
        ),
        (
            "t.toml",
            GOOD.replace("name = \"b\"", "name = \"a\""),
            "t.toml line 8: task `a`: name: is defined at line 3 already",
        ),
        (
            "t.toml",
            GOOD.replace("name = \"b\"", ""),
            "t.toml line 7: task 2: name: is missing",
        ),
        (
            "t.toml",
            GOOD.replace("handler.command.argv = ", "x = "),
            "task `b`: ",
        ),
        (
            "t.toml",
            GOOD.replace("\"every 10s\"", "every 10s"),
            "t.toml line 4: ",
        ),
        (
            "t.toml",
            GOOD.replace("[[task]]", "[[tasks]]"),
            "t.toml line 2: `tasks` is not known at the top of a task file: tasks are under `task`",
        ),
        (
            "t.toml",
            "[task]\nname = 1".to_owned(),
            "`task` is not a list: write [[task]] before each task",
        ),
        (
            "t.json",
            json.to_owned(),
            "t.json line 5: task `a`: priority: invalid type: string \"high\", expected u8",
        ),
        ("t.json", "{\n \"task\": [\n}".to_owned(), "t.json line 3: "),
        (
            "t.yaml",
            "task:\n  - name: a\n    handler: {native: x}\n    timeout: 5 parsecs\n".to_owned(),
            "t.yaml line 4: task `a`: timeout: `5 parsecs` is not a duration",
        ),
        (
            "t.yaml",
            "task:\n  - name: a\n  handler\n".to_owned(),
            "t.yaml line ",
        ),
        (
            "t.ini",
            String::new(),
            "t.ini: `.ini` is not a form of task files: write .toml, .yaml or .json",
        ),
    ];
    for (name, text, expected) in cases {
        let said = parse(text, name).expect_err(expected).to_string();
        assert!(said.contains(expected), "{said}\nshould hold\n{expected}");
    }
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
