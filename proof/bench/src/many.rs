//! `many`: one leader, several workers and several API nodes on one database, each a process of its own. Clients ask the
//! API nodes for runs side by side; all are due at one instant; the workers share them. What is looked at: what it costs,
//! told apart by role, and whether the company of others costs more than it brings.

use std::path::PathBuf;
use std::time::Duration;

use campanile_core::id::RunId;
use campanile_core::port::ask::RunFilter;
use campanile_core::run::State;
use campanile_core::system::pause;
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::json;

use super::burst::WARM_UP;
use super::child::Child;
use super::clock::{StoreClock, now_us, seconds_since};
use super::failover::{wait_until, whole};
use super::figures::{Percentiles, ms, per_second, rounded};
use super::history::{Counts, Key};
use super::progress::Progress;
use super::record::Noted;
use super::site::{Place, Scratch, Site};
use super::tally::{self, Numbers};
use super::usage::{Watched, tree_cpu_s};
use super::{Error, Line, prepare};
use campanile_core::causes;

/// Runs of one request.
const BATCH: usize = 1_000;
/// Between the end of the inserts and the instant: more than the look-ahead, so that the leader has its usual time.
const MARGIN: Duration = Duration::from_secs(3);
/// How long the runs may take to end, beside a second for each thousand.
const PATIENCE_S: f64 = 60.0;
/// Where nodes listen that nobody asks.
const NOWHERE: &str = "127.0.0.1:0";
/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(90);

/// `campanile-bench many`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Runs
    #[arg(short = 'n', long = "runs", value_name = "N", default_value_t = 20_000)]
    runs: usize,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 8)]
    workers: usize,
    /// API processes, each asked by one client
    #[arg(long, value_name = "N", default_value_t = 3)]
    apis: usize,
}

/// CPU seconds, by role.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Cpu {
    leader: Option<f64>,
    /// Of all of them.
    workers: Option<f64>,
    /// Of all of them.
    apis: Option<f64>,
    database: Option<f64>,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    /// Runs stored a second, through all API nodes together.
    insert_per_s: f64,
    /// While they are stored.
    insert_cpu_s: Cpu,
    /// Runs a second, from the instant until no run is left.
    runs_per_s: f64,
    /// From the instant until no run is left, looked for every 50 ms.
    seconds: f64,
    /// From the end of the inserts until no run is left.
    run_cpu_s: Cpu,
    /// Start minus instant.
    lateness_ms: Option<Percentiles>,
    /// Of the runs that each worker started: the fewest and the most.
    fewest: usize,
    most: usize,
    #[serde(flatten)]
    counts: Counts,
    clock_doubt_ms: f64,
}

struct Company<'a> {
    site: &'a Site,
    args: &'a Args,
    scratch: Scratch,
    leader: Option<Child>,
    workers: Vec<Child>,
    records: Vec<PathBuf>,
    apis: Vec<(Child, String)>,
    client: reqwest::Client,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let apart = args.place.store.is_none() || args.place.broker.starts_with("memory:");
    if apart || args.workers == 0 || args.apis == 0 {
        return Err(Error::Impossible(
            "many needs what several processes can share, a --store and a --broker, and at least one worker and one API node"
                .to_owned(),
        ));
    }
    let site = Site::open(&args.place).await?;
    let line = Line::new("many", &site)
        .with("n", args.runs)
        .with("workers", args.workers)
        .with("apis", args.apis);
    let client = reqwest::Client::builder().no_proxy().build();
    let mut company = Company {
        site: &site,
        args,
        scratch: Scratch::new(&site.random)?,
        leader: None,
        workers: Vec::new(),
        records: Vec::new(),
        apis: Vec::new(),
        client: client.map_err(|e| Error::Unavailable(causes(&e)))?,
    };
    company.start().await?;
    let figures = company.measure().await?;
    company.stop().await?;
    Ok(line.counted(figures.counts).all(&figures))
}

impl Company<'_> {
    async fn start(&mut self) -> Result<(), Error> {
        let mut names = vec!["bench-leader".to_owned()];
        let leader = self.spawn("bench-leader", "scheduler", NOWHERE)?;
        self.leader = Some(leader);
        for n in 1..=self.args.workers {
            let name = format!("bench-worker-{n}");
            self.workers.push(self.spawn(&name, "worker", NOWHERE)?);
            self.records.push(self.scratch.path().join(&name));
            names.push(name);
        }
        for n in 1..=self.args.apis {
            let address = free_address()?;
            let api = self.spawn(&format!("bench-api-{n}"), "api", &address)?;
            self.apis.push((api, format!("http://{address}")));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let store = self.site.store();
        wait_until("all nodes to join", || whole(store, &names)).await?;
        let ready = || async {
            for (_, url) in &self.apis {
                let answer = self.client.get(format!("{url}/readyz")).send().await;
                if !answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        wait_until("all API nodes to be ready", ready).await
    }

    fn spawn(&self, name: &str, roles: &str, listen: &str) -> Result<Child, Error> {
        let token = self.scratch.path().join("token");
        std::fs::write(&token, self.site.token()).map_err(|source| Error::File {
            path: token.clone(),
            source,
        })?;
        let token = token.to_string_lossy();
        let more = [
            ("--roles", roles),
            ("--listen", listen),
            ("--token-file", &token),
        ];
        let record = self.scratch.path().join(name);
        Child::spawn(&self.args.place, name, &record, &more)
    }

    async fn stop(&mut self) -> Result<(), Error> {
        for (api, _) in self.apis.drain(..) {
            api.stop(STOP).await?;
        }
        for worker in self.workers.drain(..) {
            worker.stop(STOP).await?;
        }
        match self.leader.take() {
            Some(leader) => leader.stop(STOP).await,
            None => Ok(()),
        }
    }

    async fn measure(&self) -> Result<Figures, Error> {
        let task = prepare::task(self.site, &self.site.control(), "many").await?;
        let before = StoreClock::measure(self.site.store()).await?;
        let now = self.site.now().await?;
        let (_, took) = self.submit(&task, now, WARM_UP.max(self.args.apis)).await?;
        self.wait_ended(&task, now, WARM_UP).await?;
        // Twice what the warm-up says: what is stored later is stored more slowly.
        let batches = u32::try_from(self.args.runs.div_ceil(WARM_UP)).unwrap_or(u32::MAX);
        let inserting = took.saturating_mul(batches).saturating_mul(2);
        let due = self.site.now().await?.plus(inserting).plus(MARGIN);
        let start = self.cpu();
        let (runs, took) = self.submit(&task, due, self.args.runs).await?;
        let inserted = self.cpu();
        if before.reading_us(due.as_ms()) < now_us() {
            let what = "storing the runs took until after their instant: the machine is busier than a moment ago; try again";
            return Err(Error::Impossible(what.to_owned()));
        }
        self.site.sleep_until(&before, due).await;
        self.wait_ended(&task, due, self.args.runs).await?;
        let last_us = now_us();
        let ended = self.cpu();
        let clock = before.and(StoreClock::measure(self.site.store()).await?);
        let seconds = ms(last_us - clock.reading_us(due.as_ms())) / 1_000.0;
        let rows = tally::runs(self.site.store(), &at(&task, due)).await?;
        let notes = self.notes(due)?;
        let expected: Vec<Key> = runs.into_iter().map(Key::Run).collect();
        let all: Vec<Noted> = notes.iter().flatten().cloned().collect();
        let verdict = tally::verdict(&expected, &rows, &all, &Numbers::default(), &clock)?;
        Ok(Figures {
            insert_per_s: per_second(self.args.runs, took.as_secs_f64()),
            insert_cpu_s: inserted.since(&start),
            runs_per_s: per_second(self.args.runs, seconds),
            seconds: rounded(seconds),
            run_cpu_s: ended.since(&inserted),
            lateness_ms: verdict.lateness,
            fewest: notes.iter().map(Vec::len).min().unwrap_or(0),
            most: notes.iter().map(Vec::len).max().unwrap_or(0),
            counts: verdict.counts,
            clock_doubt_ms: rounded(clock.doubt_ms()),
        })
    }

    /// Asks all API nodes for runs at once, each for its share; the runs, and how long it took.
    async fn submit(
        &self,
        task: &Task,
        at: Timestamp,
        count: usize,
    ) -> Result<(Vec<RunId>, Duration), Error> {
        let progress = Progress::new("insert", count);
        let began = now_us();
        let share = count.div_ceil(self.apis.len());
        let asking = self.apis.iter().enumerate().map(|(n, (_, url))| {
            let mine = share.min(count.saturating_sub(n * share));
            self.ask(url, task, at, mine)
        });
        let runs = try_join_all(asking).await?.concat();
        progress.at(runs.len());
        Ok((runs, Duration::from_secs_f64(seconds_since(began))))
    }

    async fn ask(
        &self,
        url: &str,
        task: &Task,
        at: Timestamp,
        count: usize,
    ) -> Result<Vec<RunId>, Error> {
        let one = json!({ "task": task.spec.name, "run_at": at });
        let mut runs = Vec::with_capacity(count);
        while runs.len() < count {
            let body = json!({ "runs": vec![&one; BATCH.min(count - runs.len())] });
            let submitted = self.site.ask(&self.client, url, &body).await?;
            let ids = submitted["runs"].as_array().into_iter().flatten();
            let before = runs.len();
            runs.extend(ids.filter_map(|run| run["id"].as_str()?.parse::<RunId>().ok()));
            if runs.len() == before {
                let what = "the API's answer holds no runs".to_owned();
                return Err(Error::Unavailable(what));
            }
        }
        Ok(runs)
    }

    /// Waits until no run of this instant is left that has not ended.
    async fn wait_ended(&self, task: &Task, due: Timestamp, count: usize) -> Result<(), Error> {
        let (began, patience) = (now_us(), PATIENCE_S + figures_of(count));
        let left = |state| RunFilter {
            state: Some(state),
            ..at(task, due)
        };
        for state in [State::Scheduled, State::Queued, State::Running] {
            let filter = left(state);
            while !self.site.store().runs(&filter, None, 1).await?.is_empty() {
                if seconds_since(began) > patience {
                    let what = "the runs don't end; see the nodes' logs".to_owned();
                    return Err(Error::Impossible(what));
                }
                pause(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn notes(&self, due: Timestamp) -> Result<Vec<Vec<Noted>>, Error> {
        let of = |path: &PathBuf| {
            let mut notes = super::record::read_file(path)?;
            notes.retain(|noted| noted.due_ms == due.as_ms());
            Ok(notes)
        };
        self.records.iter().map(of).collect()
    }

    fn cpu(&self) -> Cpu {
        let of = |child: &Child| child.id().and_then(tree_cpu_s);
        let sum = |all: Vec<&Child>| all.into_iter().map(of).sum::<Option<f64>>();
        let Watched { database, .. } = self.args.place.watched();
        Cpu {
            leader: self.leader.as_ref().and_then(of),
            workers: sum(self.workers.iter().collect()),
            apis: sum(self.apis.iter().map(|(child, _)| child).collect()),
            database: database.and_then(tree_cpu_s),
        }
    }
}

impl Cpu {
    fn since(&self, before: &Self) -> Self {
        let less = |now: Option<f64>, then: Option<f64>| Some(rounded(now? - then?));
        Self {
            leader: less(self.leader, before.leader),
            workers: less(self.workers, before.workers),
            apis: less(self.apis, before.apis),
            database: less(self.database, before.database),
        }
    }
}

fn at(task: &Task, due: Timestamp) -> RunFilter {
    RunFilter {
        tasks: vec![task.id],
        since: Some(due),
        until: Some(due.plus(Duration::from_millis(1))),
        ..RunFilter::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of runs are small")]
fn figures_of(count: usize) -> f64 {
    count as f64 / 1_000.0
}

fn free_address() -> Result<String, Error> {
    let failed = |e: std::io::Error| Error::Unavailable(e.to_string());
    let free = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    Ok(free.local_addr().map_err(failed)?.to_string())
}
