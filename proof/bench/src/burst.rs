//! `burst`: runs stored beforehand, all due at one instant. The time that counts goes from that instant until the last
//! end is durably recorded: until the store has answered the finish that held it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use campanile_ask::NewRun;
use campanile_core::engine::Node;
use campanile_core::limits;
use campanile_core::port::ask::RunFilter;
use campanile_core::system::pause;
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;
use serde::Serialize;

use super::clock::{StoreClock, now_us, seconds_since};
use super::figures::{Percentiles, ms, per_second, rounded};
use super::history::{Counts, Key};
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{self, Place, Site};
use super::tally::{self, Numbers};
use super::usage::{self, Cpu, Memory, Watched};
use super::{Error, Line};
use campanile_server::compose::App;

/// Runs that go through the whole engine first, so that connections, plans and caches are warm.
pub const WARM_UP: usize = 1_000;
/// Between the end of the inserts and the instant: more than the look-ahead, so that the leader has its usual time.
const MARGIN: Duration = Duration::from_millis(3_000);
/// Without any end recorded for so long, the rest is counted as missed.
const STALL: Duration = Duration::from_secs(30);

/// `campanile-bench burst`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Runs
    #[arg(short = 'n', long = "runs", value_name = "N", default_value_t = 20_000)]
    runs: usize,
    /// Bytes of each run's own payload; 0 = none, the task's is used
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    payload: usize,
}

/// The figures of one burst.
#[derive(Debug, Clone, Serialize)]
pub struct Burst {
    /// Runs stored a second, before the instant.
    pub insert_per_s: f64,
    /// Runs a second, from the instant to the last end.
    pub runs_per_s: f64,
    /// From the instant to the last end.
    pub seconds: f64,
    /// From the instant to the first start.
    pub first_start_ms: Option<f64>,
    /// Start minus instant.
    pub lateness_ms: Option<Percentiles>,
    /// What is missing or too much.
    #[serde(flatten)]
    pub counts: Counts,
    /// From the end of the inserts to the last end: what the leader does ahead of the instant is counted too.
    pub cpu_s: Cpu,
    /// At the end.
    pub memory: Memory,
    /// How far the store's clock can be off the stopwatch.
    pub clock_doubt_ms: f64,
}

/// What bursts need that come one after another.
pub struct Stand<'a> {
    /// Where.
    pub site: &'a Site,
    /// The program.
    pub app: &'a App,
    /// Its record.
    pub record: &'a Record,
    /// Whose runs.
    pub task: &'a Task,
    /// Each run's own payload.
    pub payload: Option<serde_json::Value>,
    /// Whose CPU time is read.
    pub watched: Watched,
}

impl Stand<'_> {
    async fn submit(
        &self,
        count: usize,
        at: Timestamp,
        progress: &Progress,
    ) -> Result<prepare::Submitted, Error> {
        let one: NewRun = prepare::request(self.task, at, self.payload.as_ref());
        Ok(prepare::submit(&self.app.control, &one, count, prepare::BATCH, progress).await?)
    }
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("burst", &site);
    let record = Record::with_room(args.runs + WARM_UP);
    let app = site.lead(&record).await?;
    let measured = measure(args, &site, &app, &record).await;
    site::stop(app).await;
    let figures = measured?;
    let line = line
        .with("n", args.runs)
        .with("payload_bytes", args.payload);
    Ok(line.counted(figures.counts).all(&figures))
}

async fn measure(args: &Args, site: &Site, app: &App, record: &Record) -> Result<Burst, Error> {
    let task = prepare::task(site, &app.control, "burst").await?;
    let stand = Stand {
        site,
        app,
        record,
        task: &task,
        payload: prepare::payload(args.payload),
        watched: args.place.watched(),
    };
    once(&stand, args.runs).await
}

/// Some runs through the whole engine. Says how long storing them took.
async fn warm_up(stand: &Stand<'_>) -> Result<Duration, Error> {
    let target = ended(&stand.app.node) + WARM_UP as u64;
    let now = stand.site.now().await?;
    let progress = Progress::new("warm-up", WARM_UP);
    let stored = stand.submit(WARM_UP, now, &progress).await?;
    if wait_ended(&stand.app.node, target, STALL, &progress).await < target {
        return Err(Error::Impossible(
            "the runs of the warm-up don't end; see the log".to_owned(),
        ));
    }
    Ok(Duration::from_secs_f64(stored.seconds))
}

/// One burst, after a warm-up.
///
/// # Errors
/// The store's; inserts that are not done before the instant; witnesses that differ.
pub async fn once(stand: &Stand<'_>, count: usize) -> Result<Burst, Error> {
    let (site, node) = (stand.site, &stand.app.node);
    let a_batch = warm_up(stand).await?;
    let before = StoreClock::measure(site.store()).await?;
    // Twice what the warm-up says: what is stored later is stored more slowly.
    let batches = u32::try_from(count.div_ceil(prepare::BATCH)).unwrap_or(u32::MAX);
    let inserting = a_batch.saturating_mul(batches).saturating_mul(2);
    let due = site.now().await?.plus(inserting).plus(MARGIN);
    let _ = stand.record.take();
    let progress = Progress::new("insert", count);
    let inserted = stand.submit(count, due, &progress).await?;
    drop(progress);
    let left_us = before.reading_us(due.as_ms()) - now_us();
    if left_us < i64::try_from(limits::LOOK_AHEAD.as_micros()).unwrap_or(i64::MAX) {
        return Err(Error::Impossible(format!(
            "storing {count} runs took until {} ms before they were due: the store is busier than a moment ago; try again",
            left_us / 1_000
        )));
    }
    let mark = stand.watched.mark();
    let target = ended(node) + count as u64;
    let running = Progress::new("run", count);
    site.sleep_until(&before, due).await;
    let _ = wait_ended(node, target, STALL, &running).await;
    let last_us = now_us();
    let cpu_s = stand.watched.since(&mark);
    let memory = usage::memory();
    let clock = before.and(StoreClock::measure(site.store()).await?);
    let seconds = ms(last_us - clock.reading_us(due.as_ms())) / 1_000.0;
    let expected: Vec<Key> = inserted.runs.iter().copied().map(Key::Run).collect();
    let verdict = verdict(stand, due, &expected, &clock).await?;
    Ok(Burst {
        insert_per_s: per_second(count, inserted.seconds),
        runs_per_s: per_second(count - verdict.counts.missed.min(count), seconds),
        seconds: rounded(seconds),
        first_start_ms: verdict.first_us.map(ms),
        lateness_ms: verdict.lateness,
        counts: verdict.counts,
        cpu_s,
        memory,
        clock_doubt_ms: rounded(clock.doubt_ms()),
    })
}

async fn verdict(
    stand: &Stand<'_>,
    due: Timestamp,
    expected: &[Key],
    clock: &StoreClock,
) -> Result<tally::Verdict, Error> {
    let filter = RunFilter {
        tasks: vec![stand.task.id],
        since: Some(due),
        until: Some(due.plus(Duration::from_millis(1))),
        ..RunFilter::default()
    };
    let rows = tally::runs(stand.site.store(), &filter).await?;
    let notes = stand.record.take();
    Ok(tally::verdict(
        expected,
        &rows,
        &notes,
        &Numbers::default(),
        clock,
    )?)
}

/// Ends that the store has answered.
pub fn ended(node: &Node) -> u64 {
    let metrics = node.metrics();
    metrics.attempts_succeeded.load(Ordering::Relaxed)
}

/// Waits until so many ends are recorded, or none came for too long; says how many there are.
pub async fn wait_ended(node: &Node, target: u64, stall: Duration, progress: &Progress) -> u64 {
    let from = ended(node);
    let (mut last, mut moved_us) = (from, now_us());
    loop {
        let now = ended(node);
        if now >= target || (now == last && seconds_since(moved_us) > stall.as_secs_f64()) {
            return now;
        }
        if now != last {
            (last, moved_us) = (now, now_us());
            progress.at(usize::try_from(now - from).unwrap_or(usize::MAX));
        }
        pause(Duration::from_millis(1)).await;
    }
}
