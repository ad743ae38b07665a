//! The program as a process: the first minute of a newcomer, and how it ends.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use xtask::servers::{TempDir, free_port, holds_within, wait_until};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed with its test.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub fn start(folder: &TempDir, args: &[&str]) -> Self {
        Self::start_in(folder, args, &[])
    }

    /// With these variables, and no other.
    pub fn start_in(folder: &TempDir, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .args(args)
            .current_dir(folder.path())
            .env_clear()
            .envs(environment.iter().copied())
            .stdout(std::fs::File::create(folder.join("out")).unwrap())
            .stderr(std::fs::File::create(folder.join("err")).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub fn status_within(&mut self, limit: Duration) -> Option<i32> {
        let mut code = None;
        holds_within(limit, || {
            code = self.0.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|c| c.code())
    }
}

/// A client command of the same folder: it finds the token by itself.
pub fn ask(folder: &TempDir, url: &str, words: &str) -> Option<Value> {
    let got = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(words.split(' '))
        .args(["--url", url, "--output", "json"])
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    serde_json::from_slice(&got.stdout).ok()
}

pub fn count(page: Option<Value>) -> usize {
    page.and_then(|p| p["items"].as_array().map(Vec::len))
        .unwrap_or(0)
}

#[test]
fn dev_shows_runs_logs_and_retries_within_its_first_minute() {
    let folder = TempDir::new("dev").unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let mut dev = Process::start(&folder, &["dev", "--listen", &listen]);
    for (what, words) in [
        (
            "a check succeeds",
            "run list --task self-check --state succeeded",
        ),
        (
            "a command succeeds",
            "run list --task disk-usage --state succeeded",
        ),
        (
            "a run fails for good",
            "run list --task always-failing --state failed",
        ),
    ] {
        wait_until(what, PATIENCE, || count(ask(&folder, &url, words)) > 0);
    }
    let page = ask(
        &folder,
        &url,
        "run list --task disk-usage --state succeeded",
    )
    .unwrap();
    let id = page["items"][0]["id"].as_str().unwrap();
    let logs = ask(&folder, &url, &format!("run logs {id}")).unwrap();
    assert!(
        logs["items"][0]["text"]
            .as_str()
            .unwrap()
            .contains("Filesystem"),
        "{logs}"
    );
    let page = ask(
        &folder,
        &url,
        "run list --task always-failing --state failed",
    )
    .unwrap();
    assert_eq!(page["items"][0]["attempt"], 3);
    let said = std::fs::read_to_string(folder.join("out")).unwrap();
    assert!(
        said.contains(&format!("page   {url}/")) && said.contains("token  cmp_"),
        "{said}"
    );
    dev.signal("INT");
    assert_eq!(
        dev.status_within(PATIENCE),
        Some(0),
        "{}",
        std::fs::read_to_string(folder.join("err")).unwrap()
    );
}

#[test]
fn dev_leaves_a_store_that_was_there_as_it_is() {
    let folder = TempDir::new("dev-again").unwrap();
    let start = || {
        let listen = format!("127.0.0.1:{}", free_port());
        let dev = Process::start(&folder, &["dev", "--listen", &listen]);
        let url = format!("http://{listen}");
        // The examples are put before it greets.
        wait_until("dev greets", PATIENCE, || {
            let said = std::fs::read_to_string(folder.join("out"));
            said.is_ok_and(|said| said.contains("Ctrl-C ends it"))
        });
        (dev, url)
    };
    let stop = |mut dev: Process| {
        dev.signal("INT");
        assert_eq!(dev.status_within(PATIENCE), Some(0));
    };
    let (dev, url) = start();
    let all = count(ask(&folder, &url, "task list"));
    wait_until("an example is deleted", PATIENCE, || {
        ask(&folder, &url, "task delete disk-usage").is_some()
    });
    stop(dev);
    let (dev, url) = start();
    assert_eq!(count(ask(&folder, &url, "task list")), all - 1);
    let said = std::fs::read_to_string(folder.join("out")).unwrap();
    assert!(said.contains("Its tasks are those that it had"), "{said}");
    stop(dev);
}

#[test]
fn a_node_that_is_asked_to_stop_drains_and_leaves_and_one_that_is_asked_twice_ends() {
    let folder = TempDir::new("stop").unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let task =
        "[[task]]\nname = \"long\"\nhandler = { command = { argv = [\"/bin/sleep\", \"600\"] } }\n";
    std::fs::write(folder.join("t.toml"), task).unwrap();
    let args = [
        "serve",
        "--listen",
        &listen,
        "--allow-commands",
        "/bin/sleep",
        "--tasks",
        "t.toml",
        "--drain",
        "1s",
    ];
    let mut node = Process::start(&folder, &args);
    wait_until("it answers", PATIENCE, || {
        count(ask(&folder, &url, "task list")) == 1
    });
    let submitted = ask(&folder, &url, "task trigger long").unwrap();
    let id = submitted["id"].as_str().unwrap().to_owned();
    let running = |id: &str| {
        ask(&folder, &url, &format!("run show {id}")).is_some_and(|r| r["state"] == "running")
    };
    wait_until("it runs", PATIENCE, || running(&id));
    node.signal("TERM");
    assert_eq!(node.status_within(PATIENCE), Some(0));
    // The run was given back: the next start takes it up again, as its second attempt.
    let mut args = args.to_vec();
    let last = args.len() - 1;
    args[last] = "10m";
    let mut node = Process::start(&folder, &args);
    wait_until("it runs again", PATIENCE, || running(&id));
    let run = ask(&folder, &url, &format!("run show {id}")).unwrap();
    assert_eq!(
        (
            run["attempt"].as_u64(),
            run["failures"].as_u64(),
            run["losses"].as_u64()
        ),
        (Some(2), Some(0), Some(0)),
        "{run}"
    );
    node.signal("TERM");
    let err = folder.join("err");
    wait_until("it drains", PATIENCE, || {
        std::fs::read_to_string(&err).unwrap().contains("stopping")
    });
    assert_eq!(node.0.try_wait().unwrap(), None);
    node.signal("TERM");
    assert_eq!(node.status_within(PATIENCE), Some(1));
}

#[test]
fn what_a_node_is_told_in_secret_stands_nowhere_that_programs_can_read() {
    let folder = TempDir::new("handover").unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let secret = [
        ("CAMPANILE_TOKEN", "cmp_Vq8tZ2xLr6YwKd1MhNc5"),
        ("CAMPANILE_SECRET_KEY", "hush-of-a-task"),
        ("AWS_SECRET_ACCESS_KEY", "hush-of-another"),
        ("PGPASSWORD", "hush-of-a-library"),
    ];
    let harmless = [("PATH", "/usr/bin"), ("TZ", "UTC")];
    let environment = [&secret[..], &harmless[..]].concat();
    let args = ["serve", "--listen", &listen, "--name", "hidden"];
    let node = Process::start_in(&folder, &args, &environment);
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.args(["node", "list", "--url", &url]).env_clear();
    command.env(secret[0].0, secret[0].1);
    // The token came over, though it is nowhere to be seen.
    wait_until("it answers to its token", PATIENCE, || {
        let got = command.output().unwrap();
        String::from_utf8_lossy(&got.stdout).contains("hidden")
    });
    let read = |name: &str| {
        let bytes = std::fs::read(format!("/proc/{}/{name}", node.0.id())).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let seen = read("environ");
    for (name, value) in secret {
        assert!(!seen.contains(name) && !seen.contains(value), "{seen:?}");
    }
    for (name, value) in harmless {
        assert!(seen.contains(&format!("{name}={value}")), "{seen:?}");
    }
    assert!(read("cmdline").contains("serve\0--listen"));
    // What carried it is closed: the number is free, or another's.
    let number = seen
        .split('\0')
        .find_map(|v| v.strip_prefix("CAMPANILE_HANDED_OVER="));
    let link = format!("/proc/{}/fd/{}", node.0.id(), number.unwrap());
    let link = std::fs::read_link(link).unwrap_or_default();
    assert!(!link.display().to_string().starts_with("pipe:"), "{link:?}");
    let said = std::fs::read_to_string(folder.join("err")).unwrap();
    assert!(said.contains("PGPASSWORD is not used"), "{said}");
}
