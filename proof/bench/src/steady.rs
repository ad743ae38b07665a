//! `steady`: many tasks that recur every second, for a while; their phases spread over the second, or all on it. What is
//! looked at begins a little after the tasks do: the first seconds warm everything up.

use std::time::Duration;

use campanile_ask::Editor;
use campanile_core::port::ask::RunFilter;
use campanile_core::system::pause;
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;
use serde::Serialize;

use super::clock::{StoreClock, now_us, seconds_since};
use super::figures::{Percentiles, rounded};
use super::history::{Counts, Key};
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{self, Place, Site};
use super::tally::{self, Numbers};
use super::usage::{self, Cpu, Memory};
use super::{Error, Line};
use campanile_server::compose::App;

/// The tasks' interval.
pub const EVERY: Duration = Duration::from_secs(1);
/// Between the storing of the tasks and their first instant.
const LEAD_IN: Duration = Duration::from_secs(3);
/// Instants that only warm up.
const WARM_UP: Duration = Duration::from_secs(3);
/// After the last instant, what has not started by then is counted as missed.
const PATIENCE_S: f64 = 30.0;

/// `campanile-bench steady`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Tasks, each every second
    #[arg(short = 'n', long = "tasks", value_name = "N", default_value_t = 1_000)]
    tasks: usize,
    /// For how long
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u32,
    /// All on the same instant instead of spread over the second
    #[arg(long)]
    aligned: bool,
}

/// Tasks that recur every second, and which of their instants are looked at.
#[derive(Debug)]
pub struct Heartbeat {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Their first instants after the warm-up.
    firsts: Vec<Timestamp>,
    /// The first instant that is looked at.
    pub from: Timestamp,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    lateness_ms: Option<Percentiles>,
    lateness_histogram: Vec<(f64, usize)>,
    #[serde(flatten)]
    counts: Counts,
    cpu_s: Cpu,
    memory: Memory,
    clock_doubt_ms: f64,
}

impl Heartbeat {
    /// Stores the tasks; they begin a few seconds from now.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(
        site: &Site,
        control: &Editor,
        tasks: usize,
        aligned: bool,
    ) -> Result<Self, Error> {
        let progress = Progress::new("tasks", tasks);
        let lead_in = LEAD_IN.saturating_add(Duration::from_millis(tasks as u64));
        let now_ms = site.now().await?.plus(lead_in).as_ms();
        let first = Timestamp::from_ms(now_ms - now_ms % 1_000 + 1_000);
        let spread_ms = |n: usize| {
            if aligned {
                0
            } else {
                (n * 1_000 / tasks.max(1)) as u64
            }
        };
        let anchors: Vec<Timestamp> = (0..tasks)
            .map(|n| first.plus(Duration::from_millis(spread_ms(n))))
            .collect();
        let specs: Vec<_> = anchors
            .iter()
            .enumerate()
            .map(|(n, anchor)| prepare::spec(&format!("steady-{n:05}"), Some((EVERY, *anchor))))
            .collect();
        let tasks = prepare::tasks(site, control, &specs).await?;
        drop(progress);
        Ok(Self {
            tasks,
            firsts: anchors.into_iter().map(|a| a.plus(WARM_UP)).collect(),
            from: first.plus(WARM_UP),
        })
    }

    /// Deletes the tasks.
    ///
    /// # Errors
    /// The store's.
    pub async fn end(&self, site: &Site, control: &Editor) -> Result<(), Error> {
        prepare::task(site, control, "none").await.map(drop)
    }

    /// What is expected until an instant (not included).
    #[must_use]
    pub fn expected(&self, until: Timestamp) -> Vec<Key> {
        let mut keys = Vec::new();
        for (number, first) in (0_u32..).zip(&self.firsts) {
            let mut at = *first;
            while at < until {
                keys.push(Key::Occurrence(number, at.as_ms()));
                at = at.plus(EVERY);
            }
        }
        keys
    }

    /// The tasks' numbers.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let named: Vec<_> = self
            .tasks
            .iter()
            .map(|t| (t.id, t.spec.name.clone()))
            .collect();
        Numbers::of(&named)
    }

    /// The rows of the instants that are looked at.
    #[must_use]
    pub fn filter(&self, until: Timestamp) -> RunFilter {
        RunFilter {
            since: Some(self.from),
            until: Some(until),
            ..RunFilter::default()
        }
    }
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("steady", &site);
    let record = Record::with_room(args.tasks * (args.seconds as usize + 20));
    let app = site.lead(&record).await?;
    let figures = measure(args, &site, &record, app).await?;
    let line = line.with("tasks", args.tasks).with("seconds", args.seconds);
    Ok(line
        .with("aligned", args.aligned)
        .counted(figures.counts)
        .all(&figures))
}

async fn measure(args: &Args, site: &Site, record: &Record, app: App) -> Result<Figures, Error> {
    let before = StoreClock::measure(site.store()).await?;
    let heartbeat = Heartbeat::start(site, &app.control, args.tasks, args.aligned).await?;
    let until = heartbeat
        .from
        .plus(Duration::from_secs(args.seconds.into()));
    let expected = heartbeat.expected(until);
    let watched = args.place.watched();
    site.sleep_until(&before, heartbeat.from).await;
    let mark = watched.mark();
    let progress = Progress::new("steady", args.seconds as usize);
    for second in 0..args.seconds {
        site.sleep_until(
            &before,
            heartbeat.from.plus(Duration::from_secs(second.into())),
        )
        .await;
        progress.at(second as usize);
    }
    site.sleep_until(&before, until).await;
    let cpu_s = watched.since(&mark);
    let memory = usage::memory();
    let late_from = now_us();
    while record.due_within(heartbeat.from.as_ms(), until.as_ms()) < expected.len()
        && seconds_since(late_from) < PATIENCE_S
    {
        pause(Duration::from_millis(20)).await;
    }
    heartbeat.end(site, &app.control).await?;
    site::stop(app).await;
    let clock = before.and(StoreClock::measure(site.store()).await?);
    let rows = tally::runs(site.store(), &heartbeat.filter(until)).await?;
    let mut notes = record.take();
    notes.retain(|n| (heartbeat.from.as_ms()..until.as_ms()).contains(&n.due_ms));
    let verdict = tally::verdict(&expected, &rows, &notes, &heartbeat.numbers(), &clock)?;
    Ok(Figures {
        lateness_ms: verdict.lateness,
        lateness_histogram: verdict.histogram,
        counts: verdict.counts,
        cpu_s,
        memory,
        clock_doubt_ms: rounded(clock.doubt_ms()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_of_every_task_is_expected_once() {
        let heartbeat = Heartbeat {
            tasks: Vec::new(),
            firsts: vec![Timestamp::from_ms(10_000), Timestamp::from_ms(10_500)],
            from: Timestamp::from_ms(10_000),
        };
        let expected = heartbeat.expected(Timestamp::from_ms(12_000));
        let due: Vec<i64> = expected
            .iter()
            .map(|key| match key {
                Key::Occurrence(_, due) => *due,
                Key::Run(_) => 0,
            })
            .collect();
        assert_eq!(due, [10_000, 11_000, 10_500, 11_500]);
    }
}
