//! A store is dumped while its cluster works, restored, and started held: nothing starts before somebody ends that. The
//! commands are those of `docs/guide/backup.md`.

use std::process::Command;

use serde_json::Value;
use xtask::servers::{TempDir, free_port, holds_within, wait_until};

use super::process::{PATIENCE, Process};

const TASKS: &str = r#"
[[task]]
name = "tick"
schedule = "every 1s"
misfire = "last"
handler = { command = { argv = ["/usr/bin/true"] } }
"#;

struct Node {
    _process: Process,
    url: String,
}

fn serve(folder: &TempDir, store: &str, more: &[&str]) -> Node {
    let listen = format!("127.0.0.1:{}", free_port());
    let words = [
        &[
            "serve",
            "--store",
            store,
            "--listen",
            &listen,
            "--tasks",
            "tasks.toml",
        ][..],
        &[
            "--allow-commands",
            "/usr/bin/true",
            "--lease",
            "3s",
            "--lock-ttl",
            "1s",
        ],
        more,
    ];
    Node {
        _process: Process::start(folder, &words.concat()),
        url: format!("http://{listen}"),
    }
}

/// A client command of the folder.
fn say(folder: &TempDir, node: &Node, words: &[&str]) -> (bool, String) {
    let got = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(words)
        .args(["--url", &node.url])
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    (
        got.status.success(),
        String::from_utf8_lossy(&got.stdout).into_owned(),
    )
}

fn ask(folder: &TempDir, node: &Node, words: &str) -> Option<Value> {
    let words: Vec<&str> = words.split(' ').chain(["--output", "json"]).collect();
    serde_json::from_str(&say(folder, node, &words).1).ok()
}

/// How many runs of `tick` ended well.
fn ended(folder: &TempDir, node: &Node) -> usize {
    let page = ask(
        folder,
        node,
        "run list --task tick --state succeeded --limit 1000",
    );
    page.map_or(0, |p| p["items"].as_array().map_or(0, Vec::len))
}

fn shell(folder: &TempDir, script: &str) {
    let done = Command::new("/bin/sh")
        .args(["-ec", script])
        .current_dir(folder.path())
        .status();
    assert!(done.unwrap().success(), "{script}");
}

#[test]
fn a_restored_store_starts_held_and_goes_on_when_somebody_says_so() {
    let folder = TempDir::new("backup").unwrap();
    std::fs::write(folder.join("tasks.toml"), TASKS).unwrap();
    let store = "sqlite:campanile.db";
    let old = serve(&folder, store, &["--name", "old"]);
    wait_until("it works", PATIENCE, || ended(&folder, &old) > 1);
    shell(&folder, "sqlite3 campanile.db '.backup copy.db'");
    let before = ended(&folder, &old);
    wait_until("it works on", PATIENCE, || ended(&folder, &old) > before);
    drop(old);
    shell(
        &folder,
        "rm -f campanile.db-wal campanile.db-shm; cp copy.db campanile.db",
    );
    let node = serve(&folder, store, &["--name", "new", "--paused"]);
    wait_until("it is held", PATIENCE, || {
        ask(&folder, &node, "hold show").is_some_and(|h| h["hold"]["cause"] == "start")
    });
    let told = say(&folder, &node, &["hold", "show"]).1;
    assert!(
        told.starts_with("held since ") && told.contains("node new"),
        "{told}"
    );
    // It leads, and removes the dead of the dump.
    wait_until("the dump's dead are gone", PATIENCE, || {
        let nodes = ask(&folder, &node, "node list");
        let leads = ask(&folder, &node, "leader show").is_some_and(|l| l["node"] == "new");
        leads && nodes.is_some_and(|n| n["items"].as_array().map_or(0, Vec::len) == 1)
    });
    let held = ended(&folder, &node);
    let triggered = say(&folder, &node, &["task", "trigger", "tick"]);
    assert!(triggered.0, "a request is taken, and waits");
    let id = triggered.1.trim().to_owned();
    let moved = holds_within(std::time::Duration::from_secs(3), || {
        ended(&folder, &node) != held
    });
    assert!(!moved, "something started while the cluster was held");
    let seen = [
        ("leader show", "/hold/cause"),
        ("task show tick", "/warning"),
    ];
    for (words, at) in seen {
        let answer = ask(&folder, &node, words).unwrap();
        assert!(
            answer.pointer(at).is_some_and(|v| !v.is_null()),
            "{words}: {answer}"
        );
    }
    let listed = say(&folder, &node, &["task", "list"]);
    assert!(listed.0);
    let why = say(&folder, &node, &["why", "tick", "next"]).1;
    assert!(why.contains("The cluster is held"), "{why}");
    assert!(say(&folder, &node, &["hold", "end"]).0);
    wait_until("it goes on", PATIENCE, || ended(&folder, &node) > held + 1);
    wait_until("the request has run", PATIENCE, || {
        ask(&folder, &node, &format!("run show {id}")).is_some_and(|r| r["state"] == "succeeded")
    });
}

#[test]
fn a_hold_and_a_pause_end_by_themselves() {
    let folder = TempDir::new("until").unwrap();
    std::fs::write(folder.join("tasks.toml"), TASKS).unwrap();
    let node = serve(&folder, "sqlite:campanile.db", &["--name", "one"]);
    wait_until("it works", PATIENCE, || ended(&folder, &node) > 1);
    let in_s = |s: i64| {
        let now = campanile_core::system::wall_now();
        campanile_schedule::time::Timestamp::from_ms(now.as_ms() + s * 1_000).to_string()
    };
    let late = say(
        &folder,
        &node,
        &["hold", "--why", "late", "--until", "2020-01-01T00:00:00Z"],
    );
    assert!(!late.0, "an end that has come is refused");
    assert!(
        !say(&folder, &node, &["hold"]).0,
        "without a reason it is refused"
    );
    assert!(
        say(
            &folder,
            &node,
            &["hold", "--why", "a look", "--until", &in_s(3)]
        )
        .0
    );
    wait_until("the hold has ended", PATIENCE, || {
        ask(&folder, &node, "hold show").is_some_and(|h| h["hold"].is_null())
    });
    let then = ended(&folder, &node);
    wait_until("it goes on", PATIENCE, || ended(&folder, &node) > then);
    let end = in_s(4);
    let paused = say(
        &folder,
        &node,
        &[
            "task",
            "pause",
            "tick",
            "--reason",
            "the disk is full",
            "--until",
            &end,
        ],
    );
    assert!(
        paused.0 && paused.1.contains("the disk is full"),
        "{paused:?}"
    );
    let row = ask(&folder, &node, "task show tick").unwrap();
    assert_eq!(row["pause"]["reason"], "the disk is full", "{row}");
    assert_eq!(row["pause"]["until"], end, "{row}");
    wait_until("the pause has ended", PATIENCE, || {
        ask(&folder, &node, "task show tick")
            .is_some_and(|t| t["paused"] != true && t["pause"].is_null())
    });
    let then = ended(&folder, &node);
    wait_until("it goes on", PATIENCE, || ended(&folder, &node) > then);
    let skipped = ask(&folder, &node, "run list --task tick --state skipped").unwrap();
    let rows = skipped["items"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["reason"] == "paused"), "{skipped}");
}
