//! `midnight`: many tasks that are all due at one instant, as everybody's nightly task is; with a jitter, each at its own
//! place behind it. The instant is a few seconds ahead and stands for 00:00. Shown are lateness, the leader's firings in
//! their batches, and memory while it all happens. The tasks are stored in portions and forgotten here, so that what is
//! measured is the node's memory and not this workload's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use campanile_adapters::sql;
use campanile_ask::Editor;
use campanile_core::id::TaskId;
use campanile_core::metrics::Metrics;
use campanile_core::port::ask::RunFilter;
use campanile_core::system::{dedicated, pause};
use campanile_schedule::hash_spread;
use campanile_schedule::time::{Timestamp, duration_ms, parse_duration};
use serde::Serialize;

use super::burst::{ended, wait_ended};
use super::clock::{StoreClock, now_us, seconds_since};
use super::figures::{Percentiles, ms, per_second, rounded, timeline};
use super::history::{Counts, Key};
use super::prepare;
use super::progress::Progress;
use super::record::{Noted, Record};
use super::site::{self, Place, Site};
use super::tally::{self, Numbers};
use super::usage::{self, Cpu, Memory};
use super::{Error, Line};
use campanile_server::compose::App;

/// The tasks' interval: nobody waits for the second midnight.
const EVERY: Duration = Duration::from_secs(86_400);
/// Tasks of one portion.
const PORTION: usize = 1_000;
/// Tasks that are stored first, to learn how long it takes.
const WARM_UP: usize = 2 * PORTION;
/// Between the last task stored and the instant: more than the look-ahead.
const MARGIN: Duration = Duration::from_secs(5);
/// How long before the instant watching begins.
const WATCH_BEFORE: Duration = Duration::from_secs(2);
/// Without any end recorded for so long, the rest is counted as missed.
const STALL: Duration = Duration::from_secs(30);
/// How much of the starts is told step by step.
const TIMELINE_US: i64 = 60_000_000;
/// Looks at the leader's counter between two looks at memory.
const LOOKS_PER_MEMORY: u32 = 50;

/// `campanile-bench midnight`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Tasks
    #[arg(
        short = 'n',
        long = "tasks",
        value_name = "N",
        default_value_t = 100_000
    )]
    tasks: usize,
    /// The tasks' jitter, as in 10m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    jitter: Duration,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    /// Tasks stored a second.
    stored_per_s: f64,
    /// From the instant to the last end.
    seconds: f64,
    /// Start minus the task's own place behind the instant.
    lateness_ms: Option<Percentiles>,
    #[serde(flatten)]
    counts: Counts,
    firings: Firings,
    starts_per_s: Rate,
    /// Starts in each tenth of a second from the instant on, for a minute at most.
    timeline: Vec<usize>,
    /// Statements that this process sent, from a little before the instant to the last end; null = no SQL.
    statements: Option<u64>,
    statements_per_run: Option<f64>,
    cpu_s: Cpu,
    /// Before the instant, when all tasks are stored.
    memory_before: Memory,
    /// The most resident memory seen from then to the last end.
    memory_at_work_mb: Option<f64>,
    /// At the end.
    memory: Memory,
    clock_doubt_ms: f64,
}

/// The leader's transactions, as the steps in which its counter of fired runs rose: looked at every millisecond, so two
/// that follow each other faster are seen as one.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Firings {
    seen: usize,
    rows_p50: u64,
    rows_max: u64,
}

/// How evenly runs start.
#[derive(Debug, Serialize, PartialEq)]
struct Rate {
    /// Over the jitter, or from the first start to the last.
    mean: f64,
    /// The most of one second.
    peak: usize,
    /// The most of one second by the tasks' places alone.
    planned_peak: usize,
}

/// What the watching thread sees.
#[derive(Debug, Default)]
struct Seen {
    steps: Vec<u64>,
    resident_mb: Option<f64>,
}

/// A thread that looks at the leader's counter and at this process's memory.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: std::thread::JoinHandle<()>,
}

/// The tasks, and when they are due.
struct Crowd {
    named: Vec<(TaskId, String)>,
    at: Timestamp,
    jitter: Duration,
    stored_per_s: f64,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("midnight", &site);
    let record = Record::with_room(args.tasks);
    let app = site.lead(&record).await?;
    let measured = measure(args, &site, &app, &record).await;
    if args.place.store.is_some() {
        let _ = prepare::task(&site, &app.control, "none").await;
    }
    site::stop(app).await;
    let figures = measured?;
    let line = line
        .with("tasks", args.tasks)
        .with("jitter_ms", duration_ms(args.jitter));
    Ok(line.counted(figures.counts).all(&figures))
}

async fn measure(args: &Args, site: &Site, app: &App, record: &Record) -> Result<Figures, Error> {
    let crowd = Crowd::gather(args, site, &app.control).await?;
    let before = StoreClock::measure(site.store()).await?;
    if before.reading_us(crowd.at.minus(WATCH_BEFORE).as_ms()) < now_us() {
        return Err(Error::Impossible(format!(
            "storing {} tasks took until they were due: the store is busier than a moment ago; try again",
            args.tasks
        )));
    }
    site.sleep_until(&before, crowd.at.minus(WATCH_BEFORE))
        .await;
    let memory_before = usage::memory();
    let (statements, mark) = (sql::statements(), args.place.watched().mark());
    let watch = Watch::start(app.node.metrics())?;
    let target = ended(&app.node) + args.tasks as u64;
    let progress = Progress::new("run", args.tasks);
    site.sleep_until(&before, crowd.at).await;
    let _ = wait_ended(&app.node, target, STALL, &progress).await;
    let last_us = now_us();
    let statements = sql::statements() - statements;
    let cpu_s = args.place.watched().since(&mark);
    let seen = watch.end();
    let memory = usage::memory();
    drop(progress);
    let clock = before.and(StoreClock::measure(site.store()).await?);
    let notes = record.take();
    let (counts, lateness) = crowd.judge(site, &notes, &clock).await?;
    let is_sql = statements > 0;
    Ok(Figures {
        stored_per_s: crowd.stored_per_s,
        seconds: rounded(ms(last_us - clock.reading_us(crowd.at.as_ms())) / 1_000.0),
        lateness_ms: Percentiles::of_us(lateness),
        counts,
        firings: Firings::of(seen.steps),
        starts_per_s: crowd.rate(&notes, &clock),
        timeline: crowd.timeline(&notes, &clock),
        statements: is_sql.then_some(statements),
        statements_per_run: is_sql.then(|| share(statements, args.tasks)),
        cpu_s,
        memory_before,
        memory_at_work_mb: seen.resident_mb,
        memory,
        clock_doubt_ms: rounded(clock.doubt_ms()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn share(part: u64, whole: usize) -> f64 {
    rounded(part as f64 / whole.max(1) as f64)
}

impl Crowd {
    /// Stores the tasks, due at one instant that is far enough ahead.
    async fn gather(args: &Args, site: &Site, control: &Editor) -> Result<Self, Error> {
        let _ = prepare::task(site, control, "none").await?;
        let progress = Progress::new("tasks", args.tasks);
        let far = site.now().await?.plus(EVERY * 2);
        let began = now_us();
        for portion in 0..WARM_UP / PORTION {
            let specs = specs("warm", portion, PORTION, far, Duration::ZERO);
            let _ = prepare::add(site, control, &specs).await?;
        }
        // Twice what the warm-up says: what is stored later is stored more slowly.
        let portions = u32::try_from(args.tasks.div_ceil(PORTION)).unwrap_or(u32::MAX);
        let each = Duration::from_secs_f64(seconds_since(began)) / 2;
        let storing = each.saturating_mul(portions).saturating_mul(2);
        let at_ms = site.now().await?.plus(storing).plus(MARGIN).as_ms();
        let at = Timestamp::from_ms(at_ms - at_ms % 1_000 + 1_000);
        let mut named = Vec::with_capacity(args.tasks);
        let began = now_us();
        while named.len() < args.tasks {
            let count = PORTION.min(args.tasks - named.len());
            let specs = specs("night", named.len() / PORTION, count, at, args.jitter);
            let stored = prepare::add(site, control, &specs).await?;
            if stored.len() < count {
                let message = "tasks that were just stored are not there".to_owned();
                return Err(Error::Impossible(message));
            }
            named.extend(stored.into_iter().map(|t| (t.id, t.spec.name)));
            progress.at(named.len());
        }
        Ok(Self {
            stored_per_s: per_second(named.len(), seconds_since(began)),
            named,
            at,
            jitter: args.jitter,
        })
    }

    /// When a task is to start, in microseconds after the instant.
    fn place_us(&self, task: &str) -> i64 {
        duration_ms(hash_spread(task, self.jitter)) * 1_000
    }

    /// What is missing or too much, and how late each start was against its own place.
    async fn judge(
        &self,
        site: &Site,
        notes: &[Noted],
        clock: &StoreClock,
    ) -> Result<(Counts, Vec<i64>), Error> {
        let due_ms = self.at.as_ms();
        let expected: Vec<Key> = (0_u32..)
            .zip(&self.named)
            .map(|(n, _)| Key::Occurrence(n, due_ms))
            .collect();
        let filter = RunFilter {
            since: Some(self.at),
            until: Some(self.at.plus(Duration::from_millis(1))),
            ..RunFilter::default()
        };
        let rows = tally::settled_runs(site.store(), &filter).await?;
        let numbers = Numbers::of(&self.named);
        let mut counts = tally::verdict(&expected, &rows, notes, &numbers, clock)?.counts;
        let place = |n: &Noted| due_ms * 1_000 + self.place_us(&n.task);
        let early = notes.iter().filter(|n| clock.latest_us(n.at_us) < place(n));
        counts.early = counts.early.max(early.count());
        let late = notes.iter().map(|n| clock.at_us(n.at_us) - place(n));
        Ok((counts, late.collect()))
    }

    /// When everything started, counted from the instant.
    fn after_us(&self, notes: &[Noted], clock: &StoreClock) -> Vec<i64> {
        let after = |n: &Noted| clock.at_us(n.at_us) - self.at.as_ms() * 1_000;
        notes.iter().map(after).collect()
    }

    fn timeline(&self, notes: &[Noted], clock: &StoreClock) -> Vec<usize> {
        let after = self.after_us(notes, clock);
        let last = after.iter().max().copied().unwrap_or(0) + 100_000;
        timeline(after.into_iter(), 0, last.min(TIMELINE_US))
    }

    fn rate(&self, notes: &[Noted], clock: &StoreClock) -> Rate {
        let after_us = self.after_us(notes, clock);
        let lasted_us = after_us.iter().max().copied().unwrap_or(0);
        let jitter_us = duration_ms(self.jitter) * 1_000;
        Rate {
            mean: per_second(notes.len(), ms(lasted_us.max(jitter_us)) / 1_000.0),
            peak: peak_per_s(after_us.into_iter()),
            planned_peak: peak_per_s(self.named.iter().map(|(_, name)| self.place_us(name))),
        }
    }
}

/// A portion of the tasks.
fn specs(
    name: &str,
    portion: usize,
    count: usize,
    at: Timestamp,
    jitter: Duration,
) -> Vec<campanile_core::task::TaskSpec> {
    let first = portion * PORTION;
    let spec = |n| {
        let mut spec = prepare::spec(&format!("{name}-{n:06}"), Some((EVERY, at)));
        spec.jitter = jitter;
        spec
    };
    (first..first + count).map(spec).collect()
}

/// The most of one second, of instants in microseconds.
fn peak_per_s(instants_us: impl Iterator<Item = i64>) -> usize {
    let mut seconds: HashMap<i64, usize> = HashMap::new();
    for at_us in instants_us {
        *seconds.entry(at_us.div_euclid(1_000_000)).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or(0)
}

impl Firings {
    fn of(mut steps: Vec<u64>) -> Self {
        steps.sort_unstable();
        Self {
            seen: steps.len(),
            rows_p50: steps.get(steps.len() / 2).copied().unwrap_or(0),
            rows_max: steps.last().copied().unwrap_or(0),
        }
    }
}

impl Watch {
    fn start(metrics: Arc<Metrics>) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (ended, into) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = dedicated("bench-watch", move || look(metrics, ended, into))
            .map_err(|e| Error::Unavailable(format!("failed to start a thread: {e}")))?;
        Ok(Self { stop, seen, thread })
    }

    fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        // It only looks: when it failed, there is less to see.
        let _ = self.thread.join();
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn look(metrics: Arc<Metrics>, stop: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    let mut fired = metrics.runs_fired.load(Ordering::Relaxed);
    let mut looks: u32 = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = metrics.runs_fired.load(Ordering::Relaxed);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if now > fired {
                seen.steps.push(now - fired);
                fired = now;
            }
            if looks.is_multiple_of(LOOKS_PER_MEMORY)
                && let Some(resident) = usage::memory().resident_mb
            {
                seen.resident_mb = Some(seen.resident_mb.map_or(resident, |m| m.max(resident)));
            }
        }
        looks = looks.wrapping_add(1);
        pause(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::site::PREFIX;
    use super::*;

    #[test]
    fn portions_number_their_tasks_on_and_share_the_instant() {
        let at = Timestamp::from_ms(1_800_000_000_000);
        let some = specs("night", 2, 3, at, Duration::from_secs(600));
        let names: Vec<&str> = some.iter().map(|s| s.name.as_str()).collect();
        let expected =
            ["night-002000", "night-002001", "night-002002"].map(|n| format!("{PREFIX}{n}"));
        assert_eq!(names, expected);
        assert!(
            some.iter()
                .all(|s| s.anchor == Some(at) && s.jitter_offset() < s.jitter)
        );
    }

    #[test]
    fn peaks_and_firings_are_plain() {
        assert_eq!(peak_per_s([0, 999_999, 1_000_000, -1].into_iter()), 2);
        assert_eq!(peak_per_s(std::iter::empty()), 0);
        let firings = Firings::of(vec![1_024, 300, 1_024]);
        assert_eq!(
            (firings.seen, firings.rows_p50, firings.rows_max),
            (3, 1_024, 1_024)
        );
    }
}
