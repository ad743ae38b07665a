//! `submit`: one run at a time, nothing else going on: how long from the request to the start of the handler, for a run
//! that is due now, and how late one is that was asked for a moment ahead.

use std::time::Duration;

use campanile_core::id::RunId;
use campanile_core::port::ask::RunFilter;
use campanile_core::run::Run;
use campanile_core::system::within;
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::clock::{StoreClock, now_us};
use super::figures::{Percentiles, rounded};
use super::history::{Counts, Key};
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{self, Place, Site};
use super::tally::{self, Numbers};
use super::{Error, Line};
use campanile_core::causes;
use campanile_server::compose::App;

/// How far ahead the second half is asked for.
const AHEAD: Duration = Duration::from_millis(50);
/// Samples that only warm up.
const WARM_UP: usize = 50;
/// How far the node's idea of the store's time may lag.
const LAG_MAX: Duration = Duration::from_secs(1);
/// How long one start is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The rest between two samples.
const REST: Duration = Duration::from_millis(5);
/// The longest of the random rests between two samples: none falls into step with a period of the engine's.
const REST_MS: u64 = 30;

/// `campanile-bench submit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Samples of each kind
    #[arg(
        short = 'n',
        long = "samples",
        value_name = "N",
        default_value_t = 1_000
    )]
    samples: usize,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Submit {
    /// By the library, for now: request to start.
    library_now_ms: Option<Percentiles>,
    /// By the library, for 50 ms ahead: instant to start.
    library_ahead_ms: Option<Percentiles>,
    /// By the API on loopback, for now: request to start.
    api_now_ms: Option<Percentiles>,
    /// By the API on loopback, for 50 ms ahead: instant to start.
    api_ahead_ms: Option<Percentiles>,
    /// Of all samples.
    #[serde(flatten)]
    counts: Counts,
    clock_doubt_ms: f64,
}

/// How a run is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Library,
    Api,
}

struct Bench<'a> {
    site: &'a Site,
    app: &'a App,
    record: &'a Record,
    task: &'a Task,
    client: reqwest::Client,
    clock: StoreClock,
    runs: Vec<RunId>,
}

/// The samples of one way to ask, in microseconds.
#[derive(Debug, Default)]
struct Samples {
    now: Vec<i64>,
    ahead: Vec<i64>,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("submit", &site);
    let record = Record::with_room(4 * (args.samples + WARM_UP));
    let app = site.lead(&record).await?;
    let measured = measure(args.samples, &site, &app, &record).await;
    site::stop(app).await;
    let figures = measured?;
    Ok(line
        .with("samples", args.samples)
        .counted(figures.counts)
        .all(&figures))
}

async fn measure(samples: usize, site: &Site, app: &App, record: &Record) -> Result<Submit, Error> {
    let task = prepare::task(site, &app.control, "submit").await?;
    let client = reqwest::Client::builder().no_proxy().build();
    // Runs are asked for by the node's idea of the store's time, which is never ahead of it.
    let since = site.now().await?.minus(LAG_MAX);
    let mut bench = Bench {
        site,
        app,
        record,
        task: &task,
        client: client.map_err(|e| Error::Unavailable(causes(&e)))?,
        clock: StoreClock::measure(site.store()).await?,
        runs: Vec::new(),
    };
    let library = bench.samples(By::Library, samples).await?;
    let api = bench.samples(By::Api, samples).await?;
    let expected: Vec<Key> = bench.runs.iter().copied().map(Key::Run).collect();
    let clock = bench.clock.and(StoreClock::measure(site.store()).await?);
    let filter = RunFilter {
        tasks: vec![task.id],
        since: Some(since),
        ..RunFilter::default()
    };
    let rows: Vec<Run> = tally::settled_runs(site.store(), &filter).await?;
    let verdict = tally::verdict(
        &expected,
        &rows,
        &record.take(),
        &Numbers::default(),
        &clock,
    )?;
    Ok(Submit {
        library_now_ms: Percentiles::of_us(library.now),
        library_ahead_ms: Percentiles::of_us(library.ahead),
        api_now_ms: Percentiles::of_us(api.now),
        api_ahead_ms: Percentiles::of_us(api.ahead),
        counts: verdict.counts,
        clock_doubt_ms: rounded(clock.doubt_ms()),
    })
}

impl Bench<'_> {
    async fn samples(&mut self, by: By, count: usize) -> Result<Samples, Error> {
        for _ in 0..WARM_UP {
            let _ = self.sample(by, Duration::ZERO).await?;
        }
        let progress = Progress::new("submit", count);
        let mut samples = Samples::default();
        for n in 0..count {
            let (asked, started, _) = self.sample(by, Duration::ZERO).await?;
            samples.now.push(started - asked);
            let (_, started, due) = self.sample(by, AHEAD).await?;
            samples.ahead.push(started - due);
            progress.at(n);
        }
        Ok(samples)
    }

    /// Asks for one run, waits for its start and a little longer. Says when it was asked for, when it started and when
    /// it was due, on the stopwatch.
    async fn sample(&mut self, by: By, ahead: Duration) -> Result<(i64, i64, i64), Error> {
        let due = self.app.node.time().now().plus(ahead);
        let asked = now_us();
        let run = match by {
            By::Library => self.by_library(due).await?,
            By::Api => self.by_api(due).await?,
        };
        self.runs.push(run);
        let started = within(PATIENCE, self.record.start_of(run)).await;
        let late = || Error::Impossible(format!("run {run} did not start within {PATIENCE:?}"));
        let started = started.ok_or_else(late)?;
        self.site.rest(REST, REST_MS).await;
        Ok((asked, started, self.clock.reading_us(due.as_ms())))
    }

    async fn by_library(&self, due: Timestamp) -> Result<RunId, Error> {
        let request = prepare::request(self.task, due, None);
        Ok(self.app.control.submit_one(&request).await?.run)
    }

    async fn by_api(&self, due: Timestamp) -> Result<RunId, Error> {
        let url = format!("http://{}", self.app.address);
        let body = json!({ "task": self.task.spec.name, "run_at": due });
        let submitted = self.site.ask(&self.client, &url, &body).await?;
        let id = submitted["id"].as_str().unwrap_or_default();
        id.parse()
            .map_err(|e| Error::Unavailable(format!("the API's answer has no run: {e}")))
    }
}
