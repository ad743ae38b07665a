//! `bench`: the workloads on private servers that write to the disk for true, each burst beside the limits that store and
//! broker reach in the same minutes. Every line that the program prints goes to `target/bench.jsonl` and to the output;
//! at the end the medians and ratios. It judges nothing: the goals stand in `docs/contribute/performance.md`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use xtask::servers::{ActiveMq, ActiveMqOptions, Error, Postgres, PostgresOptions, Redis};
use xtask::tidy;

use super::{Steps, cargo, say};

/// How often a burst and its limit are measured in turn.
const PAIRS: usize = 5;
/// The profile that the program is built with.
const PROFILE: &str = "ci";

/// What there is to measure, and with what.
const GROUPS: [(&str, Run); 6] = [
    ("burst", Bench::bursts),
    ("steady", Bench::steady),
    ("submit", Bench::submit),
    ("idle", Bench::idle),
    ("growth", Bench::growth),
    ("failover", Bench::failover),
];

type Run = fn(&mut Bench);

/// A store and a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    PostgresMemory,
    PostgresActiveMq,
    Sqlite,
    Nothing,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::PostgresMemory => "PostgreSQL + memory",
            Self::PostgresActiveMq => "PostgreSQL + ActiveMQ",
            Self::Sqlite => "SQLite + memory",
            Self::Nothing => "engine alone",
        }
    }
}

/// The servers.
struct Servers {
    postgres: Postgres,
    activemq: ActiveMq,
    redis: Redis,
}

struct Bench {
    program: PathBuf,
    servers: Servers,
    steps: Steps,
    /// What is reported at the end: a name, and the figures of each round.
    figures: Vec<(String, Vec<f64>)>,
}

/// Runs these groups; all without any.
pub fn run(groups: &[String]) -> bool {
    let unknown = groups
        .iter()
        .find(|g| *g != "servers" && GROUPS.iter().all(|(name, _)| name != g));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        say(&format!(
            "`{unknown}` is no group: there are {}, and `servers`",
            names.join(", ")
        ));
        return false;
    }
    let servers = match Servers::start() {
        Ok(servers) => servers,
        Err(error) => {
            say(&format!("failed to start the servers: {error}"));
            return false;
        }
    };
    if groups.iter().any(|g| g == "servers") {
        return servers.wait();
    }
    let mut steps = Steps::default();
    let build = [
        "build",
        "--profile",
        PROFILE,
        "--package",
        "campanile-bench",
    ];
    steps.program("build", &mut cargo(&build));
    let mut bench = Bench {
        program: tidy::root()
            .join("target")
            .join(PROFILE)
            .join("campanile-bench"),
        servers,
        steps,
        figures: Vec::new(),
    };
    if bench.steps.passed() {
        for (name, run) in GROUPS {
            if groups.is_empty() || groups.iter().any(|g| g == name) {
                run(&mut bench);
            }
        }
    }
    bench.report()
}

impl Servers {
    fn start() -> Result<Self, Error> {
        let activemq = ActiveMqOptions {
            heap_mib: Some(1_024),
            optimise: true,
            ..ActiveMqOptions::default()
        };
        Ok(Self {
            postgres: Postgres::start_with(PostgresOptions {
                fsync: true,
                ..PostgresOptions::default()
            })?,
            activemq: ActiveMq::start_with(activemq)?,
            redis: Redis::start()?,
        })
    }

    /// Says where they are, and keeps them until its input ends.
    fn wait(&self) -> bool {
        say(&format!(
            "--store {} --database-pid {}",
            self.postgres.url(),
            self.postgres.pid()
        ));
        say(&format!(
            "--broker {} --broker-pid {}",
            self.activemq.stomp_url(),
            self.activemq.pid()
        ));
        say(&format!("--lock {}", self.redis.url()));
        say("They run until the input ends (Ctrl-D).");
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).is_ok()
    }
}

impl Bench {
    /// The arguments that name a place; a database of its own for each run.
    fn place(&self, place: Place) -> Option<Vec<String>> {
        let database = || {
            let url = self.servers.postgres.create_database("bench").ok()?;
            let pid = self.servers.postgres.pid().to_string();
            Some(vec![
                "--store".to_owned(),
                url,
                "--database-pid".to_owned(),
                pid,
            ])
        };
        let broker = || {
            let pid = self.servers.activemq.pid().to_string();
            [
                "--broker".to_owned(),
                self.servers.activemq.stomp_url(),
                "--broker-pid".to_owned(),
                pid,
            ]
        };
        match place {
            Place::PostgresMemory => database(),
            Place::PostgresActiveMq => {
                let mut both = database()?;
                both.extend(broker());
                Some(both)
            }
            Place::Sqlite => Some(Vec::new()),
            Place::Nothing => Some(vec!["--store".to_owned(), "memory:".to_owned()]),
        }
    }

    /// Runs one workload; its line.
    fn measure(&mut self, name: &str, place: Place, arguments: &[&str]) -> Option<Value> {
        let place = self.place(place)?;
        let mut command = Command::new(&self.program);
        command.args(arguments).args(&place).stdout(Stdio::piped());
        let mut line = None;
        self.steps.step(name, || {
            let Ok(output) = command.output() else {
                return false;
            };
            say(String::from_utf8_lossy(&output.stderr).trim_end());
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            say(&text);
            keep(&text);
            line = serde_json::from_str(&text).ok();
            output.status.success()
        });
        line
    }

    /// Keeps a figure for the report.
    fn note(&mut self, name: String, figure: Option<f64>) {
        let Some(figure) = figure else {
            return;
        };
        match self.figures.iter_mut().find(|(known, _)| *known == name) {
            Some((_, figures)) => figures.push(figure),
            None => self.figures.push((name, vec![figure])),
        }
    }

    fn note_of(&mut self, place: Place, line: Option<&Value>, name: &str, path: &str) {
        let figure = line
            .and_then(|line| line.pointer(path))
            .and_then(Value::as_f64);
        self.note(format!("{}, {name}", place.name()), figure);
    }

    fn bursts(&mut self) {
        for place in [
            Place::PostgresMemory,
            Place::PostgresActiveMq,
            Place::Sqlite,
            Place::Nothing,
        ] {
            for _ in 0..PAIRS {
                self.pair(place);
            }
        }
    }

    /// A limit and a burst, one after the other, and their ratio.
    fn pair(&mut self, place: Place) {
        let limit = self.measure("limit", place, &["limit", "--rounds", "1"]);
        let burst = self.measure("burst", place, &["burst"]);
        let of = |line: &Option<Value>, path: &str| line.as_ref()?.pointer(path)?.as_f64();
        let rate = of(&burst, "/runs_per_s");
        self.note(format!("{}, burst, runs/s", place.name()), rate);
        self.note_of(place, burst.as_ref(), "burst, insert/s", "/insert_per_s");
        self.note_of(
            place,
            burst.as_ref(),
            "burst, first start, ms",
            "/first_start_ms",
        );
        let limits = [
            ("store's lives/s", "/store_limit/best_lives_per_s"),
            ("broker's messages/s", "/broker_limit/messages_per_s"),
        ];
        for (name, path) in limits {
            let most = of(&limit, path);
            self.note(format!("{}, limit, {name}", place.name()), most);
            let ratio = rate.zip(most).map(|(rate, most)| rate / most);
            self.note(format!("{}, burst / {name}", place.name()), ratio);
        }
    }

    fn steady(&mut self) {
        for place in [
            Place::PostgresMemory,
            Place::PostgresActiveMq,
            Place::Sqlite,
        ] {
            for more in [&["steady"][..], &["steady", "--aligned"]] {
                let line = self.measure("steady", place, more);
                let name = more.join(" ");
                for part in ["p50", "p99"] {
                    let path = format!("/lateness_ms/{part}");
                    self.note_of(place, line.as_ref(), &format!("{name}, {part}, ms"), &path);
                }
                self.note_of(
                    place,
                    line.as_ref(),
                    &format!("{name}, node's CPU s"),
                    "/cpu_s/node",
                );
            }
        }
    }

    fn submit(&mut self) {
        for place in [
            Place::PostgresMemory,
            Place::PostgresActiveMq,
            Place::Sqlite,
        ] {
            let line = self.measure("submit", place, &["submit"]);
            for way in [
                "library_now_ms",
                "library_ahead_ms",
                "api_now_ms",
                "api_ahead_ms",
            ] {
                let path = format!("/{way}/p99");
                self.note_of(place, line.as_ref(), &format!("submit, {way}, p99"), &path);
            }
        }
    }

    fn idle(&mut self) {
        let redis = self.servers.redis.url();
        for place in [Place::PostgresActiveMq, Place::Sqlite] {
            let locked = ["idle", "--lock", redis.as_str()];
            let arguments: &[&str] = if place == Place::Sqlite {
                &["idle"]
            } else {
                &locked
            };
            let line = self.measure("idle", place, arguments);
            for (name, path) in [
                ("node's CPU s a minute", "/node_cpu_s_per_minute"),
                ("database's CPU s", "/cpu_s/database"),
                ("statements/s", "/statements_per_s"),
                ("Redis commands/s", "/redis_commands_per_s"),
                ("MB", "/memory/resident_mb"),
            ] {
                self.note_of(place, line.as_ref(), &format!("idle, {name}"), path);
            }
        }
    }

    fn growth(&mut self) {
        for place in [Place::PostgresMemory, Place::Sqlite] {
            let line = self.measure("growth", place, &["growth"]);
            let steps = line
                .as_ref()
                .and_then(|line| line.pointer("/steps"))
                .and_then(Value::as_array);
            for step in steps.into_iter().flatten() {
                let heap = format!("{} waiting, {} finished", step["waiting"], step["finished"]);
                self.note(
                    format!("{}, growth, {heap}: ratio", place.name()),
                    step["ratio"].as_f64(),
                );
            }
        }
    }

    fn failover(&mut self) {
        let redis = self.servers.redis.url();
        for lock in ["store:", &redis] {
            let place = Place::PostgresActiveMq;
            let line = self.measure("failover", place, &["failover", "--lock", lock]);
            let kind = lock.split(':').next().unwrap_or_default();
            for fault in ["stopped", "killed"] {
                for figure in ["gap_ms", "lateness_ms"] {
                    let path = format!("/{fault}/{figure}/max");
                    self.note_of(
                        place,
                        line.as_ref(),
                        &format!("lock {kind}, leader {fault}: {figure} max"),
                        &path,
                    );
                }
            }
        }
    }

    fn report(mut self) -> bool {
        for (name, mut figures) in std::mem::take(&mut self.figures) {
            figures.sort_unstable_by(f64::total_cmp);
            let (least, most) = (figures[0], figures[figures.len() - 1]);
            let median = figures[(figures.len() - 1) / 2];
            let spread = if figures.len() > 1 {
                format!(" [{least:.2} to {most:.2}, {}]", figures.len())
            } else {
                String::new()
            };
            self.steps.note(format!("  {median:>10.2}  {name}{spread}"));
        }
        self.steps.report("bench");
        self.steps.passed()
    }
}

/// Adds a line to the file of all lines.
fn keep(line: &str) {
    let path = tidy::root().join("target").join("bench.jsonl");
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        let _ = writeln!(file, "{line}");
    }
}
