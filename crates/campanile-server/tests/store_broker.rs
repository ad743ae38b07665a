//! A cluster on one database and nothing else: what it can't carry waits and says why; and real processes of it are killed,
//! the leader and a worker, while what they did is written down by the programs that they started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};
use xtask::servers::{Postgres, TempDir, free_port, wait_until};

use crate::cli::{campanile, client, done, err, out, run};
use crate::process::{PATIENCE, Process};
use crate::support::{TOKEN, start};

const WHY: &str = "the cluster's broker is `store:`, which carries messages to our own workers alone, and the handler is \
                   `external`";

const TASKS: &str = "[[task]]\nname = \"legacy\"\nqueue = \"old\"\nhandler = { external = { destination = \"legacy.orders\", reply = \"none\" } }\n\
                     [[task]]\nname = \"fine\"\nhandler = { command = { argv = [\"/bin/true\"] } }\n";

/// A listener that is not ours can't be reached: the definition is taken with a warning, and its runs wait and say why.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_broker_waits_and_every_view_says_why() {
    let s = start(&[("broker", "store:"), ("allow_commands", "/bin/true")]).await;
    s.until("/nodes", |nodes| {
        nodes["items"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await;
    std::fs::write(s.folder.join("t.toml"), TASKS).unwrap();
    let applied = client(&s, &["apply", "t.toml"]).await;
    assert!(applied.status.success(), "{}", err(&applied));
    let said = format!("{}{}", out(&applied), err(&applied));
    assert!(said.contains(&format!("task `legacy`: {WHY}")), "{said}");
    assert!(!said.contains("`fine`"), "{said}");
    let mut ids = BTreeMap::new();
    for task in ["legacy", "fine"] {
        let answer = s.post(&format!("/tasks/{task}/trigger"), json!({})).await;
        ids.insert(task, answer.body["id"].as_str().unwrap().to_owned());
    }
    s.until(&format!("/runs/{}", ids["fine"]), |run| {
        run["state"] == "succeeded"
    })
    .await;
    let queues = s
        .until("/queues", |queues| {
            let mut all = queues["items"].as_array().unwrap().iter();
            all.any(|q| q["name"] == "old" && q["blocked"] == 1)
        })
        .await;
    assert!(queues.to_string().contains(WHY), "{queues}");
    let shown = s.get(&format!("/runs/{}", ids["legacy"])).await.body;
    assert_eq!(shown["state"], "scheduled", "{shown}");
    assert!(shown["blocked"].as_str().unwrap().contains(WHY), "{shown}");
    let listed = client(&s, &["task", "list"]).await;
    assert!(format!("{}{}", out(&listed), err(&listed)).contains(WHY));
    let told = done(&s, &format!("run show {}", ids["legacy"])).await;
    assert!(told.contains(WHY), "{told}");
    let store = format!("sqlite:{}", s.folder.join("c.db").display());
    let doctor = client(&s, &["doctor", "--store", &store, "--broker", "store:"]).await;
    let doctor = format!("{}{}", out(&doctor), err(&doctor));
    assert!(doctor.contains("`campanile_offer`"), "{doctor}");
    assert!(
        doctor.contains("1 runs of queue `old` are blocked"),
        "{doctor}"
    );
    s.stop().await;
}

#[test]
fn a_url_with_something_behind_it_is_refused() {
    let folder = TempDir::new("url").unwrap();
    let checked = run(&folder, &["config", "check", "--broker", "store:queue"]);
    assert_eq!(checked.status.code(), Some(2), "{}", err(&checked));
    let said = format!("{}{}", out(&checked), err(&checked));
    assert!(
        said.contains("write `store:` and nothing behind it"),
        "{said}"
    );
    // A node that only schedules has a broker to share with others.
    let args = [
        "config",
        "check",
        "--broker",
        "store:",
        "--roles",
        "scheduler",
    ];
    let checked = run(&folder, &args);
    assert!(checked.status.success(), "{}", err(&checked));
}

/// Tasks of the cluster, each due every second.
const EACH_SECOND: usize = 6;
/// How long what is left may take to end: a lease, and attempts again.
const LONG: Duration = Duration::from_secs(120);
const LOCK_TTL: &str = "1s";
const LEASE: &str = "2s";

struct Cluster {
    /// Of all nodes: the programs' own account is there.
    folder: TempDir,
    nodes: BTreeMap<&'static str, (TempDir, Process, String)>,
}

impl Cluster {
    fn start(store: &str, nodes: &[(&'static str, &str)]) -> Self {
        let mut cluster = Self {
            folder: TempDir::new("cluster").unwrap(),
            nodes: BTreeMap::new(),
        };
        for (name, roles) in nodes {
            let folder = TempDir::new(name).unwrap();
            let listen = format!("127.0.0.1:{}", free_port());
            let args = [
                "serve",
                "--store",
                store,
                "--broker",
                "store:",
                "--name",
                name,
                "--roles",
                roles,
                "--listen",
                &listen,
                "--lock-ttl",
                LOCK_TTL,
                "--allow-commands",
                "/bin/sh -c ...",
            ];
            let environment = [("CAMPANILE_TOKEN", TOKEN), ("CAMPANILE_LEASE", LEASE)];
            let process = Process::start_in(&folder, &args, &environment);
            let url = format!("http://{listen}");
            wait_until("it runs", PATIENCE, || {
                let said = std::fs::read_to_string(folder.join("err")).unwrap();
                said.contains("the node runs")
            });
            cluster.nodes.insert(*name, (folder, process, url));
        }
        cluster
    }

    /// Asks the schedulers that live, one after the other.
    fn ask(&self, words: &str) -> Option<Value> {
        let schedulers = self.nodes.iter().filter(|(name, _)| name.starts_with('s'));
        schedulers
            .map(|(_, node)| node)
            .find_map(|(folder, _, url)| {
                let got = campanile(folder)
                    .args(words.split(' '))
                    .args(["--url", url, "--output", "json"])
                    .env("CAMPANILE_TOKEN", TOKEN)
                    .output()
                    .unwrap();
                serde_json::from_slice(&got.stdout).ok()
            })
    }

    fn kill(&mut self, name: &str) {
        let (_, mut process, _) = self.nodes.remove(name).unwrap();
        process.signal("KILL");
        // Its exit has no code: it was killed.
        assert_eq!(process.status_within(PATIENCE), None);
    }

    /// Run and attempt of each start, as the programs wrote it.
    fn starts(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.folder.join("starts")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(run, attempt)| (run.to_owned(), attempt.to_owned()))
            .collect()
    }

    fn until_more(&self, what: &str, more: usize) {
        let before = self.starts().len();
        wait_until(what, PATIENCE, || self.starts().len() >= before + more);
    }

    fn leader(&self) -> Option<String> {
        let leader = self.ask("leader show")?;
        leader["node"].as_str().map(str::to_owned)
    }
}

/// All that ended, of all tasks.
fn all_runs(cluster: &Cluster) -> Vec<Value> {
    let mut all = Vec::new();
    for n in 0..EACH_SECOND {
        let page = cluster
            .ask(&format!("run list --task t{n} --limit 500"))
            .unwrap();
        assert_eq!(page["next_cursor"], Value::Null, "more runs than one page");
        all.extend(page["items"].as_array().unwrap().iter().cloned());
    }
    all
}

/// The leader dies, and a worker with what it had in its hands: every instant has its one run, every run ends well, and
/// no attempt is started twice.
fn survives(store: &str) {
    let mut cluster = Cluster::start(
        store,
        &[
            ("s1", "scheduler,api"),
            ("s2", "scheduler,api"),
            ("w1", "worker"),
            ("w2", "worker"),
        ],
    );
    define(&cluster);
    cluster.until_more("the cluster works", EACH_SECOND * 3);
    let leader = cluster.leader().unwrap();
    cluster.kill(&leader);
    wait_until("another leads", PATIENCE, || {
        cluster.leader().is_some_and(|next| next != leader)
    });
    cluster.until_more("the cluster works on", EACH_SECOND * 3);
    cluster.kill("w1");
    cluster.until_more("the other worker goes on", EACH_SECOND * 3);
    for n in 0..EACH_SECOND {
        assert!(cluster.ask(&format!("task pause t{n}")).is_some());
    }
    let waits = ["scheduled", "queued", "running"];
    wait_until("all that was due has ended", LONG, || {
        let mut runs = all_runs(&cluster).into_iter();
        runs.all(|run| waits.iter().all(|state| run["state"] != *state))
    });
    judge(&cluster);
}

/// The tasks: what each start writes down is enough to judge by.
fn define(cluster: &Cluster) {
    let starts = cluster.folder.join("starts").display().to_string();
    let script = format!("echo \"$CAMPANILE_RUN $CAMPANILE_ATTEMPT\" >>{starts}; sleep 0.5");
    let argv = json!(["/bin/sh", "-c", script]);
    let tasks: Vec<String> = (0..EACH_SECOND)
        .map(|n| {
            format!(
                "[[task]]\nname = \"t{n}\"\nschedule = \"every 1s\"\nmisfire = \"all\"\npriority = {n}\n\
                 handler = {{ command = {{ argv = {argv} }} }}\nretry = {{ max_attempts = 5, initial = \"100ms\" }}\n"
            )
        })
        .collect();
    for (folder, ..) in cluster.nodes.values() {
        std::fs::write(folder.join("t.toml"), tasks.join("\n")).unwrap();
    }
    assert!(
        cluster.ask("apply t.toml").is_some(),
        "the tasks were not applied"
    );
}

fn ms(text: &str) -> i64 {
    let at: Timestamp = serde_json::from_value(json!(text)).unwrap();
    at.as_ms()
}

/// Of all runs and all starts.
fn judge(cluster: &Cluster) {
    let runs = all_runs(cluster);
    let mut instants: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in &runs {
        assert_eq!(run["state"], "succeeded", "{run}");
        let (task, due) = (
            run["task"].as_str().unwrap(),
            run["due_at"].as_str().unwrap(),
        );
        assert!(
            instants.entry(task).or_default().insert(due),
            "twice: {run}"
        );
    }
    for (task, instants) in &instants {
        let all: Vec<i64> = instants.iter().map(|text| ms(text)).collect();
        let gaps = all.windows(2).filter(|pair| pair[1] - pair[0] != 1_000);
        assert_eq!(gaps.count(), 0, "{task} misses an instant: {all:?}");
        assert!(all.len() >= 6, "{task}: {all:?}");
    }
    assert_eq!(instants.len(), EACH_SECOND);
    let starts = cluster.starts();
    let distinct: BTreeSet<&(String, String)> = starts.iter().collect();
    assert_eq!(starts.len(), distinct.len(), "an attempt was started twice");
    let started: BTreeSet<&str> = starts.iter().map(|(run, _)| run.as_str()).collect();
    for run in &runs {
        assert!(
            started.contains(run["id"].as_str().unwrap()),
            "not started: {run}"
        );
    }
}

#[test]
fn a_killed_leader_and_a_killed_worker_lose_and_double_nothing_on_postgres() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    survives(&server.create_database("cluster").unwrap());
}

#[test]
fn a_killed_leader_and_a_killed_worker_lose_and_double_nothing_on_one_sqlite_file() {
    let folder = TempDir::new("one-file").unwrap();
    survives(&format!("sqlite:{}", folder.join("c.db").display()));
}
