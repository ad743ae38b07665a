//! Programs under the real node: one that stops its supervisor and won't end, one that reads what the worker was started
//! with, and what a worker refuses of a command while it runs others of the same program.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xtask::servers::{TempDir, free_port, wait_until};

use super::process::{PATIENCE, Process, ask};

/// Three attempts, each of which waits for the grace of one that won't end.
const LONG: Duration = Duration::from_secs(240);

struct Node {
    folder: TempDir,
    url: String,
    _process: Process,
}

impl Node {
    /// A node over these tasks, each a name, what follows in its table, and a script of /bin/sh.
    fn start(tasks: &[(&str, &str, &str)], args: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new("programs").unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{listen}");
        let text: Vec<String> = tasks
            .iter()
            .map(|(name, more, script)| {
                let script = script.replace("FOLDER", folder.path().to_str().unwrap());
                let argv = serde_json::json!(["/bin/sh", "-c", script]);
                format!("[[task]]\nname = \"{name}\"\nhandler = {{ command = {{ argv = {argv} }} }}\n{more}\n")
            })
            .collect();
        std::fs::write(folder.join("t.toml"), text.join("\n")).unwrap();
        let usual = ["serve", "--listen", &listen, "--tasks", "t.toml"];
        let process = Process::start_in(&folder, &[&usual[..], args].concat(), environment);
        let node = Self {
            folder,
            url,
            _process: process,
        };
        wait_until("it runs", PATIENCE, || {
            node.said().contains("the node runs")
        });
        node
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("err")).unwrap()
    }

    fn ask(&self, words: &str) -> Option<Value> {
        ask(&self.folder, &self.url, words)
    }

    /// Triggers a task and waits until its run is in this state.
    fn run(&self, task: &str, state: &str, patience: Duration) -> Value {
        let mut id = None;
        wait_until("it is taken", PATIENCE, || {
            let made = self.ask(&format!("task trigger {task}"));
            id = made.and_then(|run| run["id"].as_str().map(str::to_owned));
            id.is_some()
        });
        let show = format!("run show {}", id.unwrap());
        let mut last = Value::Null;
        wait_until("the run is as wanted", patience, || {
            last = self.ask(&show).unwrap_or_default();
            last["state"] == state
        });
        last
    }
}

#[test]
fn one_that_stops_its_supervisor_is_never_there_twice() {
    // A lock that the kernel gives back when the last process that holds it is gone.
    let script = "cd FOLDER; exec 9>lock; flock -n 9 || echo twice >>twice; echo >>starts; trap '' TERM; kill -STOP $PPID;
                  while :; do sleep 1000; done";
    let more = "schedule = \"every 1s\"\noverlap = \"skip\"\ntimeout = \"1s\"\n\
                retry = { max_attempts = 3, initial = \"100ms\", max = \"100ms\" }\n";
    let node = Node::start(
        &[("stubborn", more, script)],
        &["--allow-commands", "/bin/sh -c ...", "--cgroup", "off"],
        &[],
    );
    wait_until("three attempts have failed", LONG, || {
        let page = node.ask("run list --task stubborn --state failed");
        page.is_some_and(|page| page["items"][0]["attempt"] == 3)
    });
    let starts = std::fs::read_to_string(node.folder.join("starts")).unwrap();
    assert!(starts.lines().count() >= 3);
    assert!(
        !node.folder.join("twice").exists(),
        "two copies lived at once"
    );
}

#[test]
fn a_program_reads_no_secret_of_its_worker() {
    let script = "worker=$(cut -d' ' -f4 /proc/$PPID/stat); for pid in $worker $PPID; do tr '\\0' ' ' </proc/$pid/environ; \
                  tr '\\0' ' ' </proc/$pid/cmdline; done; env";
    let token = "cmp_Vq8tZ2xLr6YwKd1MhNc5";
    let node = Node::start(
        &[("nosy", "", script)],
        &["--allow-commands", "/bin/sh"],
        &[
            ("CAMPANILE_TOKEN", token),
            ("CAMPANILE_SECRET_X", "hush-hush"),
            ("TZ", "UTC"),
        ],
    );
    let ask = |words: &str| -> Option<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
        command
            .args(words.split(' '))
            .args(["--url", &node.url, "--output", "json"]);
        let got = command
            .env_clear()
            .env("CAMPANILE_TOKEN", token)
            .output()
            .unwrap();
        serde_json::from_slice(&got.stdout).ok()
    };
    let id = ask("task trigger nosy").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    wait_until("it is done", PATIENCE, || {
        ask(&format!("run show {id}")).is_some_and(|run| run["state"] == "succeeded")
    });
    let log = ask(&format!("run logs {id}")).unwrap()["items"][0]["text"].to_string();
    assert!(
        log.contains("TZ=UTC") && log.contains("serve --listen") && log.contains("__supervise"),
        "{log}"
    );
    assert!(!log.contains(token) && !log.contains("hush"), "{log}");
}

#[test]
fn what_is_refused_of_one_command_is_not_refused_of_another() {
    let tasks = [("bad", "", "echo ../up"), ("good", "", "echo fine")];
    let node = Node::start(&tasks, &["--allow-commands", "/bin/sh -c *"], &[]);
    let refused = node.ask("task trigger bad").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    wait_until("it is given back", PATIENCE, || {
        node.said()
            .contains("argument 2 `echo ../up` does not fit `*`")
    });
    // The worker that refused the one takes the other at once.
    node.run("good", "succeeded", PATIENCE);
    let run = node.ask(&format!("run show {refused}")).unwrap();
    assert_eq!(run["failures"], 0, "{run}");
    // What contains programs here is said at the start.
    assert!(
        node.said()
            .contains("programs run as this worker's own user"),
        "{}",
        node.said()
    );
}
