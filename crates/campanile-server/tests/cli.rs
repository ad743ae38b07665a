//! The program as people call it: exit status, what is said and where.

use std::process::{Command, Output};

use serde_json::Value;
use xtask::servers::TempDir;

use crate::support::{Service, TOKEN, start};

pub fn campanile(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.current_dir(folder.path()).env_clear();
    command
}

pub fn run(folder: &TempDir, args: &[&str]) -> Output {
    campanile(folder).args(args).output().unwrap()
}

pub async fn client(service: &Service, args: &[&str]) -> Output {
    let mut command = campanile(&service.folder);
    command
        .args(args)
        .env("CAMPANILE_URL", &service.url)
        .env("CAMPANILE_TOKEN", TOKEN);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is typed, the exit status, and part of what is said.
const REFUSED: &[(&[&str], i32, &str)] = &[
    (
        &["serve", "--config", "c.toml"],
        2,
        "c.toml line 1: `sotre` is not a setting: did you mean `store`?",
    ),
    (
        &["serve", "--config", "nowhere.toml"],
        2,
        "can't read nowhere.toml",
    ),
    (&["serve", "--sotre", "x"], 2, "--store"),
    (
        &["serve", "--store", "mongodb://h"],
        2,
        "the scheme of `mongodb://h` is not known: begin it with one of sqlite:",
    ),
    (
        &["serve", "--listen", "0.0.0.0:0"],
        2,
        "set `tls_cert` and `tls_key`, listen on 127.0.0.1, or say `insecure`",
    ),
    (
        &["serve", "--token", "hunter2"],
        2,
        "`--token` is refused: every user of this machine can read a command line",
    ),
    (
        &["serve", "--store", "sqlite:/nowhere/at/all.db"],
        1,
        "/nowhere/at/all.db",
    ),
    (
        &[
            "serve",
            "--store",
            "sqlite:x.db",
            "--listen",
            "127.0.0.1:0",
            "--tasks",
            "t.toml",
        ],
        2,
        "t.toml line 3: task `a`: shedule: is not a field of a task: did you mean `schedule`?",
    ),
    (
        &[
            "serve",
            "--store",
            "sqlite:x.db",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            "c.toml",
            "--tls-key",
            "c.toml",
        ],
        1,
        "setting `tls_cert`",
    ),
    (&["apply", "t.toml"], 2, "t.toml line 3: task `a`: shedule"),
    (
        &["apply", "two.toml"],
        2,
        "two.toml line 5: task `a`: name: is defined at line 2 already",
    ),
    (&["apply", "nowhere.toml"], 2, "nowhere.toml: can't be read"),
    (&["cron", "next", "0 25 * * *"], 2, "hour"),
    (&["cron", "next", "0 0 30 2 *"], 2, "can never fire"),
    (
        &["cron", "next", "* * * * *", "--tz", "Mars/Base"],
        2,
        "--tz",
    ),
    (
        &["cron", "next", "* * * * *", "--dialect", "latin"],
        2,
        "write auto, unix, spring or quartz",
    ),
    (&["cron", "next", "* * * * *", "--from", "now"], 2, "--from"),
    (&["import", "crontab", "empty"], 1, "no line could be taken"),
    (&["task", "list"], 2, "set CAMPANILE_TOKEN"),
    (
        &["task", "list", "--url", "localhost"],
        2,
        "is not the address of a service",
    ),
    (&["run", "submit"], 2, "--task"),
    (&["frobnicate"], 2, "frobnicate"),
];

#[test]
fn what_is_wrong_is_said_with_its_remedy_and_a_status() {
    let folder = TempDir::new("cli").unwrap();
    std::fs::write(folder.join("c.toml"), "sotre = \"x\"\n").unwrap();
    std::fs::write(
        folder.join("t.toml"),
        "[[task]]\nname = \"a\"\nshedule = \"x\"\nhandler = { native = \"x\" }\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("two.toml"),
        "[[task]]\nname = \"a\"\nhandler = { native = \"x\" }\n".repeat(2),
    )
    .unwrap();
    std::fs::write(folder.join("empty"), "# nothing\n").unwrap();
    for (args, status, expected) in REFUSED {
        let got = run(&folder, args);
        assert_eq!(got.status.code(), Some(*status), "{args:?}: {}", err(&got));
        assert!(
            err(&got).contains(expected),
            "{args:?}: {} should hold {expected}",
            err(&got)
        );
        assert!(out(&got).is_empty(), "{args:?}: {}", out(&got));
    }
    let mut unknown = campanile(&folder);
    let got = unknown
        .args(["serve"])
        .env("CAMPANILE_STOR", "x")
        .output()
        .unwrap();
    assert_eq!(got.status.code(), Some(2));
    assert!(
        err(&got).contains("did you mean `CAMPANILE_STORE`?"),
        "{}",
        err(&got)
    );
    let mut nobody = campanile(&folder);
    let port = format!("http://127.0.0.1:{}", xtask::servers::free_port());
    let got = nobody
        .args(["task", "list", "--url", &port])
        .env("CAMPANILE_TOKEN", TOKEN)
        .output()
        .unwrap();
    assert_eq!(got.status.code(), Some(1));
    assert!(err(&got).contains("campanile dev"), "{}", err(&got));
}

#[test]
fn cron_next_keeps_its_contract() {
    let folder = TempDir::new("cron").unwrap();
    let got = run(
        &folder,
        &[
            "cron",
            "next",
            "30 2 * * *",
            "--tz",
            "Europe/Berlin",
            "--from",
            "2026-12-01T02:30:00+01:00",
            "--count",
            "2",
        ],
    );
    assert_eq!(
        out(&got),
        "2026-12-02T02:30:00+01:00\n2026-12-03T02:30:00+01:00\n"
    );
    let batch = "unix\tUTC\t2026-01-01T00:00:00Z\t0 0 1 1 *\tmore\nquartz\tUTC\t2026-01-01T00:00:00Z\t0 0 0 30 2 ?\n\
                 unix\tUTC\t2026-01-01T00:00:00Z\t0 0 0 0\nquartz\tUTC\t2199-12-31T23:59:59Z\t0 0 0 1 1 ? 2000\nnonsense\n";
    std::fs::write(folder.join("b.tsv"), batch).unwrap();
    let got = run(
        &folder,
        &["cron", "next", "--batch", "b.tsv", "--count", "2"],
    );
    assert_eq!(
        out(&got),
        "2027-01-01T00:00:00Z 2028-01-01T00:00:00Z\n\n!\n\n!\n"
    );
    assert_eq!(got.status.code(), Some(0));
}

#[test]
fn a_crontab_becomes_a_task_file_and_nothing_is_dropped_in_silence() {
    let folder = TempDir::new("crontab").unwrap();
    let text = "SHELL=/bin/bash\nMAILTO=root\nCRON_TZ=Europe/Berlin\n*/5 * * * * cd /srv && ./backup.sh --all\n\
                @reboot x\n0 3 * * 0 cat > f%a%b\nbad line\n@daily /usr/bin/backup.sh\n";
    std::fs::write(folder.join("table"), text).unwrap();
    let got = run(&folder, &["import", "crontab", "table", "-o", "t.toml"]);
    assert_eq!(got.status.code(), Some(0), "{}", err(&got));
    for expected in [
        "table line 5: not taken",
        "table line 7: not taken",
        "MAILTO is dropped: output is kept with its run (`campanile run logs`), not mailed",
        "3 taken, 2 refused",
    ] {
        assert!(err(&got).contains(expected), "{}", err(&got));
    }
    let file = campanile_server::taskfile::TaskFile::read(&folder.join("t.toml")).unwrap();
    let names: Vec<&str> = file
        .definitions
        .tasks
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(names, ["backup.sh", "cat", "backup.sh-2"]);
    let campanile_core::task::HandlerSpec::Command(command) = &file.definitions.tasks[1].handler
    else {
        panic!()
    };
    assert_eq!(command.argv, ["/bin/bash", "-c", "cat > f"]);
    assert_eq!(command.stdin.as_deref(), Some("a\nb\n"));
    assert_eq!(file.definitions.tasks[1].timezone, "Europe/Berlin");
    for task in &file.definitions.tasks {
        task.validate(campanile_schedule::time::Timestamp::MIN)
            .unwrap();
    }
}

#[test]
fn config_check_shows_values_sources_and_no_secrets() {
    let folder = TempDir::new("check").unwrap();
    std::fs::write(folder.join("c.toml"), "slots = 3\n").unwrap();
    let mut command = campanile(&folder);
    command
        .args([
            "config", "check", "--config", "c.toml", "--lease", "20s", "--output", "json",
        ])
        .env("CAMPANILE_TOKEN", TOKEN)
        .env("CAMPANILE_BROKER", "stomp://u:verysecret@h:61613");
    let got = command.output().unwrap();
    assert_eq!(got.status.code(), Some(0), "{}", err(&got));
    let all: Vec<Value> = serde_json::from_str(&out(&got)).unwrap();
    let of = |name: &str| all.iter().find(|s| s["setting"] == name).unwrap().clone();
    assert_eq!(of("slots")["source"], "c.toml line 1");
    assert_eq!(
        (of("lease")["value"].clone(), of("lease")["source"].clone()),
        ("20s".into(), "--lease".into())
    );
    assert_eq!(of("broker")["value"], "stomp://u:***@h:61613");
    assert!(!out(&got).contains(TOKEN) && !out(&got).contains("verysecret"));
}

#[test]
fn migrate_and_doctor_say_how_things_stand() {
    let folder = TempDir::new("doctor").unwrap();
    let args = |verb: &'static str| [verb, "--store", "sqlite:x.db", "--listen", "127.0.0.1:0"];
    let doctor = run(&folder, &args("doctor"));
    assert!(
        out(&doctor).contains("campanile migrate"),
        "{}{}",
        out(&doctor),
        err(&doctor)
    );
    assert!(!folder.join("x.db").exists());
    let mut dry = args("migrate").to_vec();
    dry.push("--dry-run");
    assert!(out(&run(&folder, &dry)).contains("nothing was done"));
    assert!(out(&run(&folder, &args("migrate"))).ends_with("done\n"));
    assert!(out(&run(&folder, &args("migrate"))).contains("up to date"));
    let doctor = run(&folder, &args("doctor"));
    assert_eq!(doctor.status.code(), Some(0), "{}", out(&doctor));
    assert!(
        out(&doctor).contains("nobody has led yet"),
        "{}",
        out(&doctor)
    );
    let mut bad = args("doctor").to_vec();
    let (redis, broker) = (xtask::servers::free_port(), xtask::servers::free_port());
    let (redis, broker) = (
        format!("redis://127.0.0.1:{redis}"),
        format!("stomp://127.0.0.1:{broker}"),
    );
    bad.extend(["--lock", &redis, "--broker", &broker]);
    let doctor = run(&folder, &bad);
    assert_eq!(doctor.status.code(), Some(1));
    let said = out(&doctor);
    assert!(
        said.contains("that Redis runs") && said.contains("listens for STOMP"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_program_is_left_alone() {
    let s = start(&[]).await;
    let file = s.folder.join("c.db");
    let url = format!("sqlite:{}", file.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO campanile_schema_version SELECT 999, name, checksum, applied_at FROM campanile_schema_version WHERE version = 1")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let got = client(&s, &["serve", "--store", &url, "--listen", "127.0.0.1:0"]).await;
    assert_eq!(got.status.code(), Some(1));
    assert!(err(&got).contains("run a newer campanile"), "{}", err(&got));
    s.stop().await;
}

/// Calls the program with words that hold no blanks; it must succeed. Answers its result.
pub async fn done(service: &Service, words: &str) -> String {
    let args: Vec<&str> = words.split(' ').collect();
    let got = client(service, &args).await;
    assert_eq!(got.status.code(), Some(0), "{words}: {}", err(&got));
    out(&got)
}

pub fn two_tasks(service: &Service) -> String {
    format!(
        "[[task]]\nname = \"check\"\nschedule = \"every 200ms\"\nhandler = {{ http = {{ url = \"{}/healthz\" }} }}\n\
         [[task]]\nname = \"manual\"\nhandler = {{ native = \"nobody\" }}\n",
        service.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_applied_with_its_difference_shown() {
    let s = start(&[]).await;
    let file = two_tasks(&s);
    std::fs::write(s.folder.join("t.toml"), &file).unwrap();
    let dry = done(&s, "apply t.toml --dry-run").await;
    assert!(dry.starts_with("+ check\n+ manual\n2 to create"), "{dry}");
    assert!(
        done(&s, "apply t.toml")
            .await
            .ends_with("0 unchanged: done\n")
    );
    let bad = file.replace("every 200ms", "0 25 * * *");
    std::fs::write(s.folder.join("bad.toml"), bad).unwrap();
    let bad = client(&s, &["apply", "bad.toml"]).await;
    assert_eq!(bad.status.code(), Some(2));
    let said = err(&bad);
    assert!(
        said.contains("bad.toml line 3: task `check`: schedule: "),
        "{said}"
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_shown_explained_and_cancelled() {
    let s = start(&[]).await;
    std::fs::write(s.folder.join("t.toml"), two_tasks(&s)).unwrap();
    done(&s, "apply t.toml").await;
    s.until("/runs?task=check&state=succeeded", |b| {
        !b["items"].as_array().unwrap().is_empty()
    })
    .await;
    let list = done(&s, "run list --task check --state succeeded --output json").await;
    let page: Value = serde_json::from_str(&list).unwrap();
    let id = page["items"][0]["id"].as_str().unwrap();
    let due = page["items"][0]["due_at"].as_str().unwrap();
    assert!(done(&s, "run list").await.contains("succeeded"));
    assert!(
        done(&s, &format!("run show {id}"))
            .await
            .contains("succeeded")
    );
    assert!(
        done(&s, &format!("why check {due}"))
            .await
            .contains("It succeeded")
    );
    let why = done(&s, "why check").await;
    assert!(why.contains("Run "), "{why}");
    assert!(done(&s, "why check next").await.contains(" due "));
    done(&s, &format!("run logs {id}")).await;
    assert_eq!(done(&s, &format!("run retry {id}")).await.trim().len(), 13);
    let submit = "run submit --task manual --run-at 2199-01-01T00:00:00Z --payload {\"a\":1}";
    let id = done(&s, submit).await.trim().to_owned();
    let cancel = format!("run cancel {id}");
    assert!(done(&s, &cancel).await.contains("is cancelled"));
    let again = client(&s, &["run", "cancel", &id]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("has ended already"));
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_the_cluster_are_looked_at_and_changed() {
    let s = start(&[]).await;
    std::fs::write(s.folder.join("t.toml"), two_tasks(&s)).unwrap();
    done(&s, "apply t.toml").await;
    s.until("/leader", |l| l["node"] == "test").await;
    s.until("/nodes", |n| !n["items"].as_array().unwrap().is_empty())
        .await;
    for (words, expected) in [
        ("task list", "manual"),
        ("task show check", "every 200ms"),
        ("task pause check", "check is paused"),
        ("task resume check", "check goes on; next: 2"),
        ("node list", "scheduler,worker,api"),
        ("leader show", "test leads since"),
        ("leader resign", "asked to hand over"),
        ("queue list", "QUEUE"),
        ("task delete check", "check is deleted"),
    ] {
        let said = done(&s, words).await;
        assert!(said.contains(expected), "{words}: {said}");
    }
    assert_eq!(done(&s, "queue key default").await.trim().len(), 64);
    let missing = client(&s, &["task", "show", "check"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("no task `check`"));
    s.stop().await;
}

#[test]
fn doctor_tests_the_store_of_dev_where_there_is_no_other() {
    let folder = TempDir::new("doctor").unwrap();
    std::fs::write(folder.join("campanile-dev.db"), "").unwrap();
    let said = out(&run(&folder, &["doctor"]));
    assert!(
        said.contains("the one of `campanile dev` (sqlite:./campanile-dev.db)"),
        "{said}"
    );
    // Another one is there, or is named: then that is meant.
    let named = out(&run(&folder, &["doctor", "--store", "sqlite:x.db"]));
    assert!(!named.contains("campanile dev` ("), "{named}");
    std::fs::write(folder.join("campanile.db"), "").unwrap();
    let other = out(&run(&folder, &["doctor"]));
    assert!(!other.contains("campanile dev` ("), "{other}");
}
