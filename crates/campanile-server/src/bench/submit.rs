//! `submit`: one run at a time, nothing else going on: how long from the request to the start of the handler, for a run
//! that is due now, and how late one is that was asked for a moment ahead.

use std::time::Duration;

use campanile::engine::Node;
use campanile::id::RunId;
use campanile::port::store::Control as _;
use campanile::protocol::work::RunFilter;
use campanile::run::Run;
use campanile::system::{pause, within};
use campanile::task::Task;
use campanile::time::Timestamp;
use serde::Serialize;

use super::clock::{StoreClock, now_us};
use super::figures::{Percentiles, rounded};
use super::history::{Counts, Key};
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{Place, Site};
use super::tally::{self, Numbers};
use super::{Error, Line};

/// How far ahead the second half is asked for.
const AHEAD: Duration = Duration::from_millis(50);
/// Samples that only warm up.
const WARM_UP: usize = 50;
/// How long one start is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest of the random rests between two samples: none falls into step with a period of the engine's.
const REST_MS: u64 = 30;

/// `bench submit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Samples of each kind
    #[arg(short = 'n', long = "samples", value_name = "N", default_value_t = 1_000)]
    samples: usize,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    /// For now: request to start.
    library_now_ms: Option<Percentiles>,
    /// For 50 ms ahead: instant to start.
    library_ahead_ms: Option<Percentiles>,
    /// Of all samples.
    #[serde(flatten)]
    counts: Counts,
    clock_doubt_ms: f64,
}

struct Bench<'a> {
    site: &'a Site,
    node: &'a Node,
    record: &'a Record,
    task: &'a Task,
    runs: Vec<RunId>,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("submit", &site, &args.place);
    let record = Record::with_room(2 * args.samples + WARM_UP);
    let task = prepare::put(&site, &[prepare::spec("submit", None)]).await?.remove(0);
    let node = site.node(&record, args.place.slots).await?;
    let mut bench = Bench {
        site: &site,
        node: &node,
        record: &record,
        task: &task,
        runs: Vec::new(),
    };
    let measured = bench.measure(args.samples).await;
    let expected: Vec<Key> = bench.runs.iter().copied().map(Key::Run).collect();
    node.stop().await;
    let (clock, now_ms, ahead_ms, since) = measured?;
    let filter = RunFilter {
        task: Some(task.id),
        since: Some(since),
        ..RunFilter::default()
    };
    let rows: Vec<Run> = tally::runs(&*site.store, &filter).await?;
    let clock = clock.and(StoreClock::measure(&*site.store).await?);
    let verdict = tally::verdict(&expected, &rows, &record.take(), &Numbers::default(), &clock)?;
    let figures = Figures {
        library_now_ms: Percentiles::of_us(now_ms),
        library_ahead_ms: Percentiles::of_us(ahead_ms),
        counts: verdict.counts,
        clock_doubt_ms: rounded(clock.doubt_ms()),
    };
    Ok(line.with("samples", args.samples).counted(figures.counts).all(&figures))
}

type Measured = (StoreClock, Vec<i64>, Vec<i64>, Timestamp);

impl Bench<'_> {
    async fn measure(&mut self, samples: usize) -> Result<Measured, Error> {
        let clock = StoreClock::measure(&*self.site.store).await?;
        let since = self.site.now().await?;
        for _ in 0..WARM_UP {
            self.sample(Duration::ZERO, &clock).await?;
        }
        let progress = Progress::new("submit", 2 * samples);
        let (mut now, mut ahead) = (Vec::with_capacity(samples), Vec::with_capacity(samples));
        for n in 0..samples {
            let asked = now_us();
            now.push(self.sample(Duration::ZERO, &clock).await?.0 - asked);
            let (started, due_us) = self.sample(AHEAD, &clock).await?;
            ahead.push(started - due_us);
            progress.at(2 * n);
        }
        Ok((clock, now, ahead, since))
    }

    /// Asks for one run, waits for its start and a little longer. Says when it started and when it was due, on the
    /// stopwatch.
    async fn sample(&mut self, ahead: Duration, clock: &StoreClock) -> Result<(i64, i64), Error> {
        let due = self.node.time().now().plus(ahead);
        let batch = prepare::submissions(self.site, self.task, 1, due, None);
        let answers = self.site.store.submit(&batch).await?;
        self.node.wake();
        let run = answers.first().map(|s| s.run).ok_or_else(|| Error::Impossible("no answer to a submission".to_owned()))?;
        self.runs.push(run);
        let started = within(PATIENCE, self.record.start_of(run)).await;
        let started = started.ok_or_else(|| Error::Impossible(format!("run {run} did not start within {PATIENCE:?}")))?;
        pause(Duration::from_millis(5 + self.site.below(REST_MS))).await;
        Ok((started, clock.reading_us(due.as_ms())))
    }
}
