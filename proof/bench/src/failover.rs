//! `failover`: steady load on three nodes, each a process of its own and scheduler and worker at once; again and again
//! the leader is killed or stopped, and comes back as a waiting node. What is looked at: how long nothing started, how
//! late the runs of that time were, and whether anything was lost or doubled over all of it.

use std::path::PathBuf;
use std::time::Duration;

use campanile_core::port::store::Store;
use campanile_core::system::{pause, within};
use campanile_schedule::time::Timestamp;
use serde::Serialize;

use super::child::Child;
use super::clock::{StoreClock, now_us};
use super::figures::{Percentiles, rounded, timeline};
use super::progress::Progress;
use super::record::Noted;
use super::site::{Place, Scratch, Site};
use super::steady::Heartbeat;
use super::{Error, Line, tally};

/// Nodes.
const NODES: usize = 3;
/// Between two faults, beside what the take-over takes: all nodes are back and the load is steady.
const BETWEEN: Duration = Duration::from_secs(5);
/// How long a take-over, or a node's coming back, may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long around a fault lateness and gaps are looked for.
const AROUND: Duration = Duration::from_secs(4);
/// How much of the time before a fault is told.
const BEFORE_US: i64 = 2_000_000;
/// After the last instant: leases of killed workers run out meanwhile.
const TAIL: Duration = Duration::from_secs(20);

/// `campanile-bench failover`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Tasks, each every second
    #[arg(short = 'n', long = "tasks", value_name = "N", default_value_t = 1_000)]
    tasks: usize,
    /// How often the leader is killed, and how often it is stopped
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// How long a leader that died is waited for, as for `serve`
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    lock_ttl: String,
}

/// How the leader went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Stopped,
    Killed,
}

/// One fault.
#[derive(Debug, Clone, Copy)]
struct Event {
    fault: Fault,
    at_us: i64,
}

/// The figures of one kind of fault.
#[derive(Debug, Serialize)]
struct Kind {
    rounds: usize,
    /// The longest time without any start.
    gap_ms: Option<Percentiles>,
    /// The latest start of a first attempt.
    lateness_ms: Option<Percentiles>,
    /// Starts in each tenth of a second around the first fault: the fault is at the end of the second second.
    timeline: Vec<usize>,
}

struct Cluster<'a> {
    site: &'a Site,
    args: &'a Args,
    scratch: Scratch,
    children: Vec<Child>,
    records: Vec<PathBuf>,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let apart = args.place.store.is_none() || args.place.broker.starts_with("memory:");
    if apart {
        return Err(Error::Impossible(
            "failover needs what several processes can share: name a --store and a --broker"
                .to_owned(),
        ));
    }
    let site = Site::open(&args.place).await?;
    let line = Line::new("failover", &site)
        .with("tasks", args.tasks)
        .with("lock_ttl", &args.lock_ttl);
    let mut cluster = Cluster {
        site: &site,
        args,
        scratch: Scratch::new(&site.random)?,
        children: Vec::new(),
        records: Vec::new(),
    };
    cluster.measure(line).await
}

impl Cluster<'_> {
    async fn measure(&mut self, line: Line) -> Result<Line, Error> {
        for n in 1..=NODES {
            self.spawn(n)?;
        }
        self.wait_whole().await?;
        let before = StoreClock::measure(self.site.store()).await?;
        let heartbeat =
            Heartbeat::start(self.site, &self.site.control(), self.args.tasks, false).await?;
        self.site.sleep_until(&before, heartbeat.from).await;
        let events = self.faults().await?;
        let until = self.site.now().await?;
        let until = Timestamp::from_ms(until.as_ms() - until.as_ms() % 1_000);
        // The tasks stay meanwhile: a run that a killed worker had starts again, and needs its task for that.
        pause(TAIL).await;
        let rows = tally::settled_runs(self.site.store(), &heartbeat.filter(until)).await?;
        heartbeat.end(self.site, &self.site.control()).await?;
        for child in std::mem::take(&mut self.children) {
            child.stop(PATIENCE).await?;
        }
        let clock = before.and(StoreClock::measure(self.site.store()).await?);
        let mut notes = self.notes()?;
        notes.retain(|n| (heartbeat.from.as_ms()..until.as_ms()).contains(&n.due_ms));
        let expected = heartbeat.expected(until);
        let verdict = tally::verdict(&expected, &rows, &notes, &heartbeat.numbers(), &clock)?;
        let line = line.with("occurrences", expected.len());
        let line = line.with("stopped", kind(Fault::Stopped, &events, &notes, &clock));
        let line = line.with("killed", kind(Fault::Killed, &events, &notes, &clock));
        let line = line.with("clock_doubt_ms", rounded(clock.doubt_ms()));
        Ok(line.counted(verdict.counts).all(&verdict.counts))
    }

    fn spawn(&mut self, number: usize) -> Result<(), Error> {
        let path = self
            .scratch
            .path()
            .join(format!("record-{}", self.records.len()));
        let more = [("--lock-ttl", self.args.lock_ttl.as_str())];
        let child = Child::spawn(&self.args.place, &format!("bench-{number}"), &path, &more)?;
        self.children.push(child);
        self.records.push(path);
        Ok(())
    }

    /// Stops and kills leaders in turn; says when.
    async fn faults(&mut self) -> Result<Vec<Event>, Error> {
        let progress = Progress::new("failover", 2 * self.args.rounds);
        let mut events = Vec::new();
        for round in 0..2 * self.args.rounds {
            self.wait_whole().await?;
            pause(BETWEEN).await;
            let fault = if round % 2 == 0 {
                Fault::Stopped
            } else {
                Fault::Killed
            };
            events.push(self.fault(fault).await?);
            progress.at(round);
        }
        self.wait_whole().await?;
        pause(BETWEEN).await;
        Ok(events)
    }

    async fn fault(&mut self, fault: Fault) -> Result<Event, Error> {
        let row = self.site.store().leader().await?;
        let at = self.children.iter().position(|c| c.name == row.node_name);
        let leader = at.map(|at| self.children.remove(at));
        let leader = leader.ok_or_else(|| {
            Error::Impossible(format!("the leader `{}` is not ours", row.node_name))
        })?;
        let number = leader
            .name
            .rsplit('-')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(1);
        let at_us = now_us();
        match fault {
            Fault::Stopped => leader.stop(PATIENCE).await?,
            Fault::Killed => leader.kill().await?,
        }
        let store = self.site.store();
        wait_until("another node to lead", || next_term(store, row.epoch)).await?;
        self.spawn(number)?;
        Ok(Event { fault, at_us })
    }

    /// Waits until every node has joined and one of them leads.
    async fn wait_whole(&self) -> Result<(), Error> {
        let names: Vec<&str> = self.children.iter().map(|c| c.name.as_str()).collect();
        let store = self.site.store();
        wait_until("all nodes to join", || whole(store, &names)).await
    }

    fn notes(&self) -> Result<Vec<Noted>, Error> {
        let mut all = Vec::new();
        for path in &self.records {
            all.extend(super::record::read_file(path)?);
        }
        Ok(all)
    }
}

async fn next_term(store: &dyn Store, epoch: i64) -> Result<bool, Error> {
    Ok(store.leader().await?.epoch > epoch)
}

/// Whether all of these have joined, and one of them leads.
pub async fn whole(store: &dyn Store, names: &[&str]) -> Result<bool, Error> {
    let living = store.nodes().await?;
    let leader = store.leader().await?.node_name;
    let all = names
        .iter()
        .all(|name| living.iter().any(|node| node.name == *name));
    Ok(all && names.contains(&leader.as_str()))
}

/// Waits for a fact of the cluster.
///
/// # Errors
/// It is waited for in vain.
pub async fn wait_until<F: Future<Output = Result<bool, Error>>>(
    what: &str,
    fact: impl Fn() -> F,
) -> Result<(), Error> {
    let waiting = async {
        while !fact().await? {
            pause(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    let late = || Error::Impossible(format!("waited {PATIENCE:?} in vain for {what}"));
    within(PATIENCE, waiting).await.ok_or_else(late)?
}

fn kind(fault: Fault, events: &[Event], notes: &[Noted], clock: &StoreClock) -> Kind {
    let mine: Vec<&Event> = events.iter().filter(|e| e.fault == fault).collect();
    let mut starts: Vec<i64> = notes.iter().map(|n| n.at_us).collect();
    starts.sort_unstable();
    let gaps = mine.iter().map(|e| longest_gap(&starts, e.at_us)).collect();
    let late = mine
        .iter()
        .filter_map(|e| latest(notes, clock, e.at_us))
        .collect();
    let around = |event: &&Event| {
        let (from, until) = (
            event.at_us - BEFORE_US,
            event.at_us + around_us() + BEFORE_US,
        );
        timeline(starts.iter().copied(), from, until)
    };
    Kind {
        rounds: mine.len(),
        timeline: mine.first().map(around).unwrap_or_default(),
        gap_ms: Percentiles::of_us(gaps),
        lateness_ms: Percentiles::of_us(late),
    }
}

/// The longest time without a start that ends after the fault and begins before the load was steady again.
fn longest_gap(starts: &[i64], fault_us: i64) -> i64 {
    let end_us = fault_us + around_us();
    let pairs = starts
        .windows(2)
        .filter(|w| w[1] > fault_us && w[0] < end_us);
    pairs.map(|w| w[1] - w[0]).max().unwrap_or(0)
}

/// The latest first attempt of those that were due around the fault.
fn latest(notes: &[Noted], clock: &StoreClock, fault_us: i64) -> Option<i64> {
    let due_us = |n: &Noted| clock.reading_us(n.due_ms);
    let around = |n: &&Noted| {
        n.attempt == 1 && (fault_us - 1_000_000..fault_us + around_us()).contains(&due_us(n))
    };
    notes
        .iter()
        .filter(around)
        .map(|n| n.at_us - due_us(n))
        .max()
}

fn around_us() -> i64 {
    i64::try_from(AROUND.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_silence_behind_the_fault() {
        let starts = [0, 900_000, 1_000_000, 1_001_000, 1_400_000, 1_401_000];
        assert_eq!(longest_gap(&starts, 1_000_500), 399_000);
        // A silence that begins long after the fault is another story.
        let late = 1_000_500 + around_us() + 1_000;
        assert_eq!(longest_gap(&[late, late + 9_000_000], 1_000_500), 0);
        // A fault that nobody noticed.
        assert_eq!(longest_gap(&starts[2..4], 1_000_500), 1_000);
        assert_eq!(longest_gap(&[], 0), 0);
    }
}
