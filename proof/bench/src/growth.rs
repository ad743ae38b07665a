//! `growth`: the same burst on an empty store, on a growing heap of runs that are not due, and on as many finished ones.
//! The heap of waiting runs is asked for through the library; the finished ones are brought to their end through the
//! store's own calls, without engine and broker, which is marked in the line.

use std::time::Duration;

use serde::Serialize;

use super::burst::{self, Burst, Stand};
use super::figures::{median, rounded};
use super::flow::Flow;
use super::history::Counts;
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{self, Place, Site};
use super::usage::{Memory, memory};
use super::{Error, Line};
use campanile_server::compose::App;

/// Waiting runs under the bursts, step by step.
const WAITING: [usize; 5] = [0, 10_000, 100_000, 1_000_000, 10_000_000];
/// How far away they are due.
const FAR: Duration = Duration::from_secs(365 * 86_400);
/// Runs of one submission while the heap grows: the most that one takes.
const BATCH: usize = campanile_core::limits::SUBMIT_RUNS_MAX;
/// Finished runs that are made in one go.
const FINISHED_AT_ONCE: usize = 50_000;

/// `campanile-bench growth`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Runs of each burst
    #[arg(short = 'n', long = "runs", value_name = "N", default_value_t = 20_000)]
    runs: usize,
    /// Bursts on each heap; the figures are medians
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// The largest heap of waiting runs: 0, 10000, 100000, 1000000 or 10000000
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    waiting: usize,
    /// Finished runs, on top of the waiting ones
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    finished: usize,
}

/// The figures of one heap.
#[derive(Debug, Clone, Serialize)]
struct Step {
    waiting: usize,
    finished: usize,
    runs_per_s: Option<f64>,
    /// Of the rate without a heap.
    ratio: Option<f64>,
    insert_per_s: Option<f64>,
    lateness_p99_ms: Option<f64>,
    memory: Memory,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("growth", &site)
        .with("n", args.runs)
        .with("rounds", args.rounds);
    let record = Record::with_room(2 * args.runs);
    let mut counts = Counts::default();
    let mut steps: Vec<Step> = Vec::new();
    let mut heap = 0;
    for waiting in WAITING.into_iter().filter(|n| *n <= args.waiting) {
        let app = site.lead(&record).await?;
        let measured = async {
            grow(&site, &app, waiting - heap).await?;
            bursts(args, &site, &app, &record).await
        };
        let measured = measured.await;
        site::stop(app).await;
        steps.push(step(&mut counts, waiting, 0, &measured?));
        heap = waiting;
    }
    if args.finished > 0 {
        finish(&site, args.finished).await?;
        let app = site.lead(&record).await?;
        let measured = bursts(args, &site, &app, &record).await;
        site::stop(app).await;
        steps.push(step(&mut counts, heap, args.finished, &measured?));
    }
    let none = steps.first().and_then(|s| s.runs_per_s);
    for step in &mut steps {
        step.ratio = step
            .runs_per_s
            .zip(none)
            .map(|(with, without)| rounded(with / without));
    }
    let made = "directly through the store's calls";
    Ok(line
        .with("finished_made", made)
        .with("steps", steps)
        .counted(counts))
}

async fn grow(site: &Site, app: &App, more: usize) -> Result<(), Error> {
    let task = prepare::task(site, &app.control, "growth").await?;
    let one = prepare::request(&task, site.now().await?.plus(FAR), None);
    let progress = Progress::new("grow", more);
    let _ = prepare::submit(&app.control, &one, more, BATCH, &progress).await?;
    Ok(())
}

async fn finish(site: &Site, count: usize) -> Result<(), Error> {
    let flow = Flow::begin(site).await?;
    let mut left = count;
    while left > 0 {
        let some = left.min(FINISHED_AT_ONCE);
        let progress = Progress::new("finish", some);
        let _ = flow.lives(some, 2, &progress).await?;
        left -= some;
    }
    flow.end().await
}

async fn bursts(args: &Args, site: &Site, app: &App, record: &Record) -> Result<Vec<Burst>, Error> {
    let task = prepare::task(site, &app.control, "growth").await?;
    let stand = Stand {
        site,
        app,
        record,
        task: &task,
        payload: None,
        watched: args.place.watched(),
    };
    let mut bursts = Vec::new();
    for _ in 0..args.rounds {
        bursts.push(burst::once(&stand, args.runs).await?);
    }
    Ok(bursts)
}

fn step(counts: &mut Counts, waiting: usize, finished: usize, bursts: &[Burst]) -> Step {
    for burst in bursts {
        counts.add(burst.counts);
    }
    let of = |figure: fn(&Burst) -> Option<f64>| {
        median(&bursts.iter().filter_map(figure).collect::<Vec<_>>())
    };
    Step {
        waiting,
        finished,
        runs_per_s: of(|b| Some(b.runs_per_s)),
        ratio: None,
        insert_per_s: of(|b| Some(b.insert_per_s)),
        lateness_p99_ms: of(|b| b.lateness_ms.map(|p| p.p99)),
        memory: memory(),
    }
}
