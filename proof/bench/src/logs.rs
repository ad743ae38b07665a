//! `logs`: attempts that write all the time, and a burst beside them: what output costs that is kept while it is written, and
//! what it costs everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use campanile_core::id::RunId;
use campanile_core::port::handler::{Context, Failure, Handler};
use campanile_core::system::pause;
use campanile_core::task::{HandlerSpec, TaskSpec};
use serde_json::json;

use super::burst::{self, Burst, Stand};
use super::clock::{now_us, seconds_since};
use super::figures::rounded;
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{self, PREFIX, Place, Site};
use super::{Error, Line};
use campanile_server::compose::App;

/// How often a writer writes.
const TICK: Duration = Duration::from_millis(100);
/// How long the writers may take to start, and to write their first words into the store.
const START_WITHIN_S: f64 = 60.0;
/// Logs that are read back from the store.
const READ_BACK: usize = 20;

/// `campanile-bench logs`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Attempts that write at once
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    writers: usize,
    /// What each writes in a second
    #[arg(long, value_name = "BYTES", default_value_t = 1_000)]
    bytes_per_s: usize,
    /// Runs of the burst beside them
    #[arg(short = 'n', long = "runs", value_name = "N", default_value_t = 20_000)]
    runs: usize,
}

/// What the writers share.
#[derive(Debug, Default)]
struct Desk {
    over: AtomicBool,
    started: AtomicU64,
    bytes: AtomicU64,
}

/// Writes until all is over.
struct Writer(Arc<Desk>);

impl Handler for Writer {
    const NAME: &'static str = "bench-writer";
    type Args = usize;
    type Output = ();

    async fn run(&self, context: Context, bytes_per_s: usize) -> Result<(), Failure> {
        let desk = &self.0;
        desk.started.fetch_add(1, Ordering::Relaxed);
        let line =
            "what a program says, again and again, in words that a database can press a little\n";
        let each = (bytes_per_s / 10).max(1);
        let text: String = line.chars().cycle().take(each).collect();
        while !desk.over.load(Ordering::Relaxed) && !context.is_cancelled() {
            context.log.push(&text);
            desk.bytes.fetch_add(each as u64, Ordering::Relaxed);
            pause(TICK).await;
        }
        Ok(())
    }
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured; a log that is not in the store.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let place = Place {
        slots: args.place.slots + u32::try_from(args.writers).unwrap_or(0),
        ..args.place.clone()
    };
    let site = Site::open(&place).await?;
    let line = Line::new("logs", &site);
    let record = Record::with_room(args.runs + 1_000);
    let desk = Arc::new(Desk::default());
    let writer = Writer(Arc::clone(&desk));
    let app = site
        .lead_with(&record, |handlers| handlers.native(writer))
        .await?;
    let measured = measure(args, &site, &app, &record, &desk).await;
    desk.over.store(true, Ordering::Relaxed);
    site::stop(app).await;
    let (burst, log_bytes_per_s, kept) = measured?;
    let line = line
        .with("n", args.runs)
        .with("writers", args.writers)
        .with("bytes_per_s", args.bytes_per_s)
        .with("written_bytes_per_s", log_bytes_per_s)
        .with("kept_bytes_max", kept);
    Ok(line.counted(burst.counts).all(&burst))
}

async fn measure(
    args: &Args,
    site: &Site,
    app: &App,
    record: &Record,
    desk: &Desk,
) -> Result<(Burst, f64, usize), Error> {
    let spec = TaskSpec {
        name: format!("{PREFIX}writer"),
        payload: json!(args.bytes_per_s),
        timeout: Duration::from_secs(3_600),
        ..TaskSpec::for_handler(HandlerSpec::Native(Writer::NAME.to_owned()))
    };
    let specs = [prepare::spec("burst", None), spec];
    let tasks = prepare::tasks(site, &app.control, &specs).await?;
    let [task, writer] = tasks.as_slice() else {
        let message = "the tasks that were just stored are not there".to_owned();
        return Err(Error::Impossible(message));
    };
    let now = site.now().await?;
    let one = prepare::request(writer, now, None);
    let progress = Progress::new("writers", args.writers);
    let asked =
        prepare::submit(&app.control, &one, args.writers, prepare::BATCH, &progress).await?;
    until_they_write(site, desk, &asked.runs).await?;
    let (began, written) = (now_us(), desk.bytes.load(Ordering::Relaxed));
    let stand = Stand {
        site,
        app,
        record,
        task,
        payload: None,
        watched: args.place.watched(),
    };
    let burst = burst::once(&stand, args.runs).await?;
    let bytes = desk.bytes.load(Ordering::Relaxed) - written;
    let kept = kept(site, &asked.runs, desk).await?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of one run of the bench")]
    let per_s = rounded(bytes as f64 / seconds_since(began));
    Ok((burst, per_s, kept))
}

/// Waits until all write, and the store has some of each of those that are looked at.
async fn until_they_write(site: &Site, desk: &Desk, runs: &[RunId]) -> Result<(), Error> {
    let began = now_us();
    loop {
        let all = desk.started.load(Ordering::Relaxed) == runs.len() as u64;
        if all && lengths(site, runs).await?.iter().all(|bytes| *bytes > 0) {
            return Ok(());
        }
        if seconds_since(began) > START_WITHIN_S {
            let message =
                "the writers don't start, or what they write is not in the store; see the log";
            return Err(Error::Impossible(message.to_owned()));
        }
        pause(TICK).await;
    }
}

/// How much of some of the logs is in the store.
async fn lengths(site: &Site, runs: &[RunId]) -> Result<Vec<usize>, Error> {
    let mut all = Vec::with_capacity(READ_BACK);
    for run in runs.iter().step_by(runs.len().div_ceil(READ_BACK).max(1)) {
        let log = site.store().log(*run, 1, 0, usize::MAX).await?;
        all.push(log.iter().map(|(_, chunk)| chunk.text.len()).sum());
    }
    Ok(all)
}

/// How much the store keeps of one log at the most; none may stand still while it is written.
async fn kept(site: &Site, runs: &[RunId], desk: &Desk) -> Result<usize, Error> {
    let end = async || -> Result<Vec<u64>, Error> {
        let mut ends = Vec::new();
        for run in runs.iter().step_by(runs.len().div_ceil(READ_BACK).max(1)) {
            let log = site.store().log(*run, 1, 0, usize::MAX).await?;
            let last = log.last().map_or(0, |(_, chunk)| {
                chunk.at + u64::try_from(chunk.text.len()).unwrap_or(u64::MAX)
            });
            ends.push(last);
        }
        Ok(ends)
    };
    let before = end().await?;
    let began = now_us();
    loop {
        let now = end().await?;
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            break;
        }
        if seconds_since(began) > START_WITHIN_S || desk.over.load(Ordering::Relaxed) {
            let message = "a log stands still while it is written; see the log";
            return Err(Error::Impossible(message.to_owned()));
        }
        pause(TICK).await;
    }
    Ok(lengths(site, runs).await?.into_iter().max().unwrap_or(0))
}
