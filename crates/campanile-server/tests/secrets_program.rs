//! Secrets of the real program: what a command is given, what its output and the node's log keep, and what `config check` and
//! `doctor` say.

use std::process::Command;

use serde_json::{Value, json};
use xtask::servers::{TempDir, free_port, wait_until};

use crate::process::Process;
use crate::secrets::{VALUE, has_value, nothing_is_kept};
use crate::support::{PATIENCE, TOKEN};

/// What a client command of the program answers.
fn told(folder: &TempDir, url: &str, words: &[&str]) -> Value {
    let got = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(words)
        .args(["--url", url, "--output", "json"])
        .current_dir(folder.path())
        .env_clear()
        .env("CAMPANILE_TOKEN", TOKEN)
        .output()
        .unwrap();
    serde_json::from_slice(&got.stdout).unwrap_or_default()
}

/// The real program: a command gets its secret where it asked for it, and neither the node's log, at its most talkative, nor
/// the supervisor's environment and arguments have it.
#[test]
fn a_program_gets_a_secret_and_its_output_is_clean_while_it_is_written() {
    let folder = TempDir::new("secrets").unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let rules = "store = \"sqlite:c.db\"\nlog_level = \"trace\"\nallow_commands = [\"/bin/sh\"]\nallow_env = [\"KEY\"]\n[[secret]]\n\
                 name = \"API_KEY\"\ntasks = [\"bill\"]\nowners = [\"finance\"]\nprograms = [\"/bin/sh\"]\n";
    std::fs::write(folder.join("node.toml"), rules).unwrap();
    // Two writes with the value across them; standard input; base64; what the supervisor has.
    let script = "printf '%s' \"${KEY%????????}\"; printf '%s|' \"${KEY#?????????}\"; cat; printf '%s' \"$1\"; \
                  printf '%s' \"u:$KEY\" | base64; cat /proc/$PPID/environ /proc/$PPID/cmdline > seen-by-a-thief; \
                  echo \"with $KEY\" >&2";
    let task = json!({ "task": [{ "name": "bill", "owner": "finance", "handler": { "command": {
        "argv": ["/bin/sh", "-c", script, "x", "${secret:API_KEY}"], "dir": folder.path().to_str(),
        "env": { "KEY": "${secret:API_KEY}" }, "stdin": "in ${secret:API_KEY} out|" } } }] });
    std::fs::write(folder.join("tasks.json"), task.to_string()).unwrap();
    let environment = [
        ("CAMPANILE_SECRET_API_KEY", VALUE),
        ("CAMPANILE_TOKEN", TOKEN),
    ];
    let listen = url.trim_start_matches("http://").to_owned();
    let serve = ["serve", "--config", "node.toml", "--listen", &listen];
    let node = Process::start_in(&folder, &serve, &environment);
    let mut applied = Value::Null;
    wait_until("the task is applied", PATIENCE, || {
        applied = told(&folder, &url, &["apply", "tasks.json"]);
        applied["applied"] == true
    });
    let warning = applied["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("handler.command.argv") && warning.contains("is no reference"),
        "{warning}"
    );
    let triggered = told(&folder, &url, &["task", "trigger", "bill"]);
    let id = triggered["id"].as_str().unwrap();
    let mut run = Value::Null;
    wait_until("the run is over", PATIENCE, || {
        run = told(&folder, &url, &["run", "show", id]);
        !run["finished_at"].is_null()
    });
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let logs = told(&folder, &url, &["run", "logs", id]);
    let log = logs["items"][0]["text"].as_str().unwrap();
    assert!(
        log.starts_with("***|in *** out|${secret:API_KEY}dTp***"),
        "{log}"
    );
    assert!(log.contains("with ***"), "{log}");
    drop(node);
    let seen = std::fs::read_to_string(folder.join("seen-by-a-thief")).unwrap();
    assert!(seen.contains("campanile"), "{seen}");
    let said = std::fs::read_to_string(folder.join("err")).unwrap();
    assert!(said.contains("the node runs"), "{said}");
    nothing_is_kept(folder.path());
}

#[test]
fn config_check_and_doctor_look_the_secrets_over_and_show_none() {
    let folder = TempDir::new("secrets").unwrap();
    let rules = "store = \"sqlite:c.db\"\n[[secret]]\nname = \"API_KEY\"\ntasks = [\"bill\"]\nowners = [\"*\"]\n\
                 hosts = [\"api.example.com\"]\n[[secret]]\nname = \"GONE\"\ntasks = [\"x\"]\n";
    std::fs::write(folder.join("node.toml"), rules).unwrap();
    let said = |words: &[&str]| {
        let got = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .args(words)
            .args(["--config", "node.toml"])
            .current_dir(folder.path())
            .env_clear()
            .env("CAMPANILE_SECRET_API_KEY", VALUE)
            .env("CAMPANILE_SECRET_IDLE", "nobody may use it")
            .output()
            .unwrap();
        let text = String::from_utf8([got.stdout, got.stderr].concat()).unwrap();
        assert_eq!(has_value(text.as_bytes()), None, "{text}");
        assert!(!text.contains("nobody may use it"), "{text}");
        text
    };
    for words in [&["config", "check"][..], &["doctor"]] {
        let text = said(words);
        for part in [
            "API_KEY",
            "nobody may use the secret `GONE`: `owners` of its [[secret]] is empty",
            "the secret `GONE` is not on this worker",
            "the secret `IDLE` is here, and no [[secret]] says who may use it",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    assert!(
        said(&["config", "check"])
            .contains("tasks bill; owners *; hosts api.example.com; no programs")
    );
    for (rule, part) in [
        (
            "nmae = \"X\"",
            "node.toml line 2: `secret.nmae` is not a setting: did you mean `name`?",
        ),
        ("name = 1", "name: write one text"),
        (
            "name = \"X\"\nhosts = \"h\"",
            "node.toml line 3): hosts: write a list of strings",
        ),
        ("name = \"../X\"", "is not the name of a secret"),
        (
            "name = \"X\"\nhosts = [\"*\"]",
            "hosts: `*` allows more than a host",
        ),
        ("tasks = []", "name: is missing"),
    ] {
        std::fs::write(folder.join("node.toml"), format!("[[secret]]\n{rule}\n")).unwrap();
        let text = said(&["config", "check"]);
        assert!(text.contains(part), "{part} in {text}");
    }
}
