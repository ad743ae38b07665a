//! The samples in `deploy/`: a cluster of four processes on servers that are set up by these files and nothing else, with
//! one database role for each purpose.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use xtask::servers::{ActiveMq, ActiveMqOptions, Postgres, Redis, TempDir, free_port, wait_until};

use crate::support::TOKEN;

const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "only-for-this-test-7f3a";

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(sample(name)).unwrap()
}

/// A program that failed fails the test with what it said.
fn succeeded(done: &std::process::Output) {
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

/// Runs the sample of grants in a database.
fn grant(server: &Postgres, database: &str) {
    let mut psql = server.psql(database);
    let done = psql
        .arg("--file")
        .arg(sample("postgres/grants.sql"))
        .output()
        .unwrap();
    succeeded(&done);
}

/// The servers.
struct Servers {
    postgres: Postgres,
    redis: Redis,
    activemq: ActiveMq,
    database: String,
    _folder: TempDir,
}

impl Servers {
    fn start() -> Option<Self> {
        let folder = TempDir::new("samples").unwrap();
        let postgres = xtask::or_skip(Postgres::start())?;
        let database = postgres.create_database("samples").unwrap();
        let acl = folder.join("users.acl");
        std::fs::write(&acl, read("redis/users.acl").replace("CHANGE-ME", PASSWORD)).unwrap();
        let mut arguments = vec!["--aclfile".to_owned(), acl.display().to_string()];
        // A line of redis.conf is an argument of the program.
        for line in read("redis/redis.conf").lines() {
            if let Some((name, value)) = line.split_once(' ').filter(|(name, _)| *name != "#") {
                arguments.extend([format!("--{name}"), value.trim_matches('"').to_owned()]);
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let redis = xtask::or_skip(Redis::start_with(&arguments))?;
        let passwords = ["campanile.password", "listeners.password"];
        let properties = passwords.map(|name| (name.to_owned(), PASSWORD.to_owned()));
        let activemq = xtask::or_skip(ActiveMq::start_with(ActiveMqOptions {
            config: Some((read("activemq/activemq.xml"), properties.to_vec())),
            ..ActiveMqOptions::default()
        }))?;
        Some(Self {
            postgres,
            redis,
            activemq,
            database,
            _folder: folder,
        })
    }

    /// The database's URL for a role.
    fn store(&self, role: &str) -> String {
        let (_, rest) = self.database.split_once('@').unwrap();
        format!("postgres://{role}@{rest}")
    }

    fn grant(&self) {
        grant(&self.postgres, &self.database);
    }

    /// What a role is told when it does this; empty if it may.
    fn refusal(&self, role: &str, statement: &str) -> String {
        let mut psql = self.postgres.psql(&self.store(role));
        let done = psql.args(["--command", statement]).output().unwrap();
        String::from_utf8_lossy(&done.stderr).into_owned()
    }
}

/// A node, killed with its test.
struct Node {
    child: Child,
    log: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), log.as_bytes());
        }
    }
}

/// A cluster whose nodes read the sample file.
struct Cluster {
    servers: Arc<Servers>,
    folder: TempDir,
    config: PathBuf,
    url: String,
}

impl Cluster {
    fn new(servers: Arc<Servers>) -> Self {
        let folder = TempDir::new("samples-nodes").unwrap();
        let token = folder.join("api.token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let mut chmod = Command::new("chmod");
        assert!(chmod.arg("600").arg(&token).status().unwrap().success());
        let listen = format!("127.0.0.1:{}", free_port());
        let text = read("campanile/campanile.toml")
            .replace("/etc/campanile/api.token", &token.display().to_string())
            .replace("127.0.0.1:7070", &listen);
        let config = folder.join("campanile.toml");
        std::fs::write(&config, text).unwrap();
        Self {
            servers,
            folder,
            config,
            url: format!("http://{listen}"),
        }
    }

    fn campanile(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
        command.env_clear().current_dir(self.folder.path());
        command
    }

    /// Starts a node under the database role of its purpose, with the passwords in its environment as the sample says.
    fn node(&self, role: &str, flags: &[&str]) -> Node {
        let log = self.folder.join(&format!("{role}.log"));
        let lock = format!(
            "redis://campanile:{PASSWORD}@127.0.0.1:{}",
            self.servers.redis.port()
        );
        let child = self
            .campanile()
            .args(["serve", "--roles", role, "--name", role, "--config"])
            .arg(&self.config)
            .args(flags)
            .env(
                "CAMPANILE_STORE",
                self.servers.store(&format!("campanile_{role}")),
            )
            .env("CAMPANILE_LOCK", lock)
            .env(
                "CAMPANILE_BROKER",
                self.servers.activemq.stomp_url_as("campanile", PASSWORD),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Node { child, log }
    }

    fn migrate(&self) {
        let store = self.servers.store("campanile_owner");
        let done = self
            .campanile()
            .args(["migrate", "--store", &store])
            .output()
            .unwrap();
        succeeded(&done);
    }

    fn ask(&self, words: &[&str]) -> (bool, String) {
        let done = self
            .campanile()
            .args(words)
            .args(["--output", "json", "--url", &self.url])
            .env("CAMPANILE_TOKEN", TOKEN)
            .output()
            .unwrap();
        let mut said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        if !done.status.success() {
            said.push_str(&format!(" ({})", done.status));
        }
        (done.status.success(), said)
    }

    fn done(&self, words: &[&str]) -> Value {
        let (done, said) = self.ask(words);
        assert!(done, "{words:?}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Waits until a list has as many items.
    fn until(&self, what: &str, words: &[&str], at_least: usize) {
        wait_until(what, PATIENCE, || {
            let (done, said) = self.ask(words);
            let page: Value = serde_json::from_str(&said).unwrap_or_default();
            done && page["items"]
                .as_array()
                .is_some_and(|items| items.len() >= at_least)
        });
    }
}

const TASKS: &str = r#"
[[calendar]]
name = "never"
dates = ["2199-01-01"]

[[limit]]
limit = "group:few"
max_running = 1

[[task]]
name = "works"
schedule = "every 300ms"
overlap = "queue"
group = "few"
calendars = "never"
handler = { http = { url = "URL/healthz" } }

[[task]]
name = "fails"
schedule = "every 1s"
handler = { http = { url = "http://127.0.0.1:9/" } }
retry = { max_attempts = 2, initial = "50ms", max = "50ms" }

[[task]]
name = "listener"
handler = { external = { destination = "legacy.orders", body = "payload", reply = "none" } }
"#;

#[test]
fn a_cluster_runs_on_the_sample_files_with_one_database_role_for_each_purpose() {
    let Some(servers) = Servers::start() else {
        return;
    };
    let servers = Arc::new(servers);
    let cluster = Cluster::new(Arc::clone(&servers));
    servers.grant();
    cluster.migrate();
    servers.grant();
    let api = cluster.node("api", &[]);
    let scheduler = cluster.node(
        "scheduler",
        &["--listen", "127.0.0.1:0", "--lock-ttl", "2s"],
    );
    let worker = cluster.node(
        "worker",
        &["--listen", "127.0.0.1:0", "--allow-private-targets"],
    );
    cluster.until("three nodes live", &["node", "list"], 3);

    let file = cluster.folder.join("tasks.toml");
    std::fs::write(&file, TASKS.replace("URL", &cluster.url)).unwrap();
    cluster.done(&["apply", "tasks.toml"]);
    let succeeded = ["run", "list", "--task", "works", "--state", "succeeded"];
    cluster.until("runs succeed", &succeeded, 3);
    let failed = ["run", "list", "--task", "fails", "--state", "failed"];
    cluster.until("a run fails after its retry", &failed, 1);
    cluster.done(&["task", "trigger", "listener"]);
    let handed = ["run", "list", "--task", "listener", "--state", "succeeded"];
    cluster.until("a run is handed over", &handed, 1);
    let later = "run submit --task works --run-at 2199-01-01T00:00:00Z";
    let later = cluster.done(&later.split(' ').collect::<Vec<_>>());
    cluster.done(&["run", "cancel", later["id"].as_str().unwrap()]);
    cluster.done(&["task", "pause", "fails"]);
    cluster.done(&["limit", "set", "queue:default", "5"]);
    cluster.done(&["limit", "lift", "queue:default"]);
    cluster.done(&["leader", "resign"]);
    let epoch = cluster.done(&["leader", "show"])["epoch"].as_i64();
    wait_until("another term begins", PATIENCE, || {
        cluster.done(&["leader", "show"])["epoch"].as_i64() > epoch
    });
    cluster.done(&["task", "delete", "fails"]);
    // A worker that dies is found out, and what it ran is requeued.
    drop(worker);
    let worker = cluster.node(
        "worker",
        &["--listen", "127.0.0.1:0", "--allow-private-targets"],
    );
    let before = cluster.done(&["run", "list", "--task", "works", "--limit", "1"]);
    let since = before["items"][0]["due_at"].as_str().unwrap().to_owned();
    let later = [&succeeded[..], &["--since", &since]].concat();
    cluster.until("runs succeed after it", &later, 3);
    for node in [&api, &scheduler, &worker] {
        let log = std::fs::read_to_string(&node.log).unwrap();
        let refused = log.to_lowercase();
        let refused = refused.contains("denied") || refused.contains("noperm");
        assert!(!refused, "{}: {log}", node.log.display());
    }

    refuses_what_is_not_for_a_role(&servers);
}

/// Each role is refused what is not its purpose.
fn refuses_what_is_not_for_a_role(servers: &Servers) {
    for (role, statement) in [
        (
            "campanile_worker",
            "INSERT INTO campanile_task SELECT * FROM campanile_task",
        ),
        ("campanile_worker", "DELETE FROM campanile_task"),
        (
            "campanile_worker",
            "UPDATE campanile_leader SET epoch = epoch + 1",
        ),
        (
            "campanile_worker",
            "INSERT INTO campanile_run SELECT * FROM campanile_run",
        ),
        ("campanile_worker", "DELETE FROM campanile_run_history"),
        (
            "campanile_scheduler",
            "INSERT INTO campanile_task SELECT * FROM campanile_task",
        ),
        (
            "campanile_scheduler",
            "UPDATE campanile_calendar SET version = 1",
        ),
        ("campanile_api", "DELETE FROM campanile_outbox"),
        ("campanile_api", "DELETE FROM campanile_run_history"),
        ("campanile_api", "CREATE TABLE mine (id int)"),
    ] {
        let said = servers.refusal(role, statement);
        assert!(
            said.contains("permission denied"),
            "{role}: {statement}: {said}"
        );
    }
}

#[test]
fn every_table_has_a_line_in_the_sample_of_grants() {
    let Some(server) = xtask::or_skip(Postgres::start()) else {
        return;
    };
    let url = server.create_database("grants").unwrap();
    let mut migrate = Command::new(env!("CARGO_BIN_EXE_campanile"));
    let done = migrate
        .env_clear()
        .args(["migrate", "--store", &url])
        .output()
        .unwrap();
    succeeded(&done);
    grant(&server, &url);
    let unread_by = |role: &str| {
        let select = format!(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
             AND NOT has_table_privilege('{role}', oid, 'SELECT') ORDER BY relname"
        );
        let names = server.sql_at(&url, &select).unwrap();
        names.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        unread_by("campanile_api"),
        "",
        "deploy/postgres/grants.sql has no line for these"
    );
    // What is kept of passwords and sessions is for nodes that let people in.
    for role in ["campanile_worker", "campanile_scheduler"] {
        assert_eq!(
            unread_by(role),
            "campanile_session campanile_user",
            "{role}"
        );
    }
}

#[test]
fn the_sample_of_settings_is_one_that_the_program_takes() {
    let folder = TempDir::new("settings").unwrap();
    let token = folder.join("api.token");
    std::fs::write(&token, TOKEN).unwrap();
    let text = read("campanile/campanile.toml")
        .replace("/etc/campanile/api.token", &token.display().to_string());
    std::fs::write(folder.join("c.toml"), text).unwrap();
    let mut chmod = Command::new("chmod");
    assert!(chmod.arg("600").arg(&token).status().unwrap().success());
    let done = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(["config", "check", "--config", "c.toml"])
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    succeeded(&done);
}

#[test]
fn the_sample_of_a_unit_starts_the_program_and_gives_it_the_time_to_end() {
    let unit = read("systemd/campanile.service");
    let value = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}"))
    };
    let words = xtask::pages::words("/usr/local/bin/campanile", value("ExecStart="));
    let known = campanile_server::cli::knows(&words.unwrap());
    assert!(known.is_ok(), "{}", known.unwrap_err());
    // A drain of 30 s, and the 25 s after which the program ends itself.
    assert!(value("TimeoutStopSec=").parse::<u64>().unwrap() > 30 + 25);
    assert_eq!(value("KillMode="), "mixed", "commands are drained");
    assert_eq!(value("RestartPreventExitStatus="), "2", "wrong settings");
}
