//! One part of a campaign, from the first server to the last verdict: start, apply, break for so long, mend, pause, wait
//! until all has ended, gather, judge.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xtask::servers::{Redis, holds_within, is_root};

use super::campaign::{Campaign, lock};
use super::ledger::Ledger;
use super::watch::Watch;
use super::{CONNECTIONS_MAX, Which, faults, judge, load, seen};
use crate::book::Book;
use crate::judge::{Case, Evidence};
use crate::load::{Kind, LEGACY_QUEUE, QUEUES};
use crate::scenes::pause_all;
use crate::scenes::report::Report;
use crate::stand::node::Role;
use crate::stand::servers::{Lock, Servers, Store};
use crate::stand::{Design, Stand};
use crate::{Outcome, say, wall_ms};

/// From this length on every kind of fault and every event must have come up.
const LONG_S: u64 = 360;
/// How long the lock of a leader that died is waited for.
const LOCK_TTL: Duration = Duration::from_secs(3);
/// Lock TTL, how long a worker may stay silent, and how long a node that is to end waits for its runs.
const TIMES: [&str; 6] = ["--lock-ttl", "3s", "--lease", "6s", "--drain", "3s"];
/// The scheduler nodes; the last one lives under a clock of its own where there can be one.
const SCHEDULERS: [&str; 3] = ["s1", "s2", "s3"];
const WORKERS: [&str; 2] = ["w1", "w2"];
/// The size of the store's disk in MiB: room for a campaign, and soon filled.
const DISK_MIB: u32 = 900;
/// Every term with the number of instants in its name.
const FIRED: &str = "SELECT r.epoch, COUNT(*) FROM (SELECT epoch, origin, 0 AS reason FROM campanile_run \
    UNION ALL SELECT epoch, origin, reason FROM campanile_run_history) r \
    WHERE r.epoch > 0 AND r.origin = 1 AND r.reason NOT IN (15, 16, 17) GROUP BY r.epoch";
/// From the application of the tasks to their first instant.
const HEAD_START_MS: i64 = 3_000;
/// How long it may take until no instant waits for its row, once nothing is broken any more.
const CALM_LIMIT: Duration = Duration::from_secs(180);
/// How long the last runs may take to end: what the broker lost is published again after a minute, then after two.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);
/// How long a node may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long one request of ours is tried again.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// An instant that waits for longer than this waits for a leader.
const OVERDUE_MS: i64 = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub which: Which,
    /// Whether there is a lock; without one, nothing else is broken.
    pub locked: bool,
    pub time: Duration,
    /// The seed of all dice.
    pub seed: u64,
}

impl Part {
    /// Its name in the report.
    pub const fn name(&self) -> &'static str {
        match (self.which, self.locked) {
            (Which::Postgres, true) => "postgres",
            (Which::Sqlite, true) => "sqlite",
            (_, false) => "no-lock",
        }
    }
}

/// Plays one part; `folder` takes logs and tables.
pub fn play(part: &Part, program: &Path, folder: &Path) -> Outcome<Report> {
    say(&format!(
        "── {}: servers, 3 scheduler nodes, 2 workers; then {} s",
        part.name(),
        part.time.as_secs()
    ));
    let stand = start(part, program, folder)?;
    let first_ms = (wall_ms() + HEAD_START_MS) / 1_000 * 1_000;
    let script = stand.script.display().to_string();
    let tasks = load::tasks(first_ms, &stand.effects, &script);
    stand.apply(&tasks)?;
    let book = stand.servers.store.book();
    let ledger = Ledger::default();
    let watch = Watch::default();
    let campaign = Campaign {
        stand: &stand,
        ledger: &ledger,
        tasks: &tasks,
        lock_ttl: LOCK_TTL,
        seed: part.seed,
        end: Instant::now() + part.time,
        wiped: Mutex::default(),
        people: Mutex::default(),
        trouble: Mutex::default(),
    };
    expect(&campaign, part);
    let mut report = Report {
        record: "chaos",
        stand: part.name(),
        seed: Some(part.seed),
        seconds: part.time.as_secs(),
        demands_all: part.time.as_secs() >= LONG_S,
        ..Report::default()
    };
    let mut evidence = Evidence {
        rule: judge::RULE,
        tasks: tasks.clone(),
        ..Evidence::default()
    };
    if let Err(error) = watched(&campaign, part, &watch, &book, &mut evidence) {
        report.broken.push(error.to_string());
    }
    evidence.leftovers = book.leftovers()?;
    evidence.left = stand.stop_all(STOP_LIMIT);
    let trouble = lock(&campaign.trouble).clone();
    report.broken.extend(trouble);
    evidence.people = lock(&campaign.people).clone();
    evidence.wiped = lock(&campaign.wiped).clone();
    evidence.gather(&stand, &book)?;
    let case = Case::of(&evidence);
    report.checks = crate::judge::judge(&case);
    report
        .checks
        .extend([case.rests_kept(), case.requests_kept()]);
    let fired = book.surely_pairs(FIRED)?;
    report
        .checks
        .push(judge::terms_sealed(&watch.sealed(), &fired));
    sum_up(&campaign, part, &watch, &evidence, &mut report);
    if !report.passed() {
        stand.servers.keep_logs(folder);
    }
    evidence.dump(folder)?;
    std::fs::write(folder.join("faults.tsv"), ledger.lines())?;
    Ok(report)
}

/// Breaks everything, lets it all come to its end, and looks on meanwhile.
fn watched(
    campaign: &Campaign<'_>,
    part: &Part,
    watch: &Watch,
    book: &Book,
    evidence: &mut Evidence,
) -> Outcome<()> {
    let stand = campaign.stand;
    let ended = std::thread::scope(|scope| {
        for node in &stand.nodes {
            scope.spawn(|| watch.node(node));
        }
        scope.spawn(|| watch.store(stand));
        scope.spawn(|| watch.beliefs(stand));
        break_things(campaign, part);
        if !part.locked {
            end_the_duel(campaign);
        }
        let ended = finish(campaign, book, evidence);
        watch.end();
        ended
    });
    for node in &stand.nodes {
        watch.scrape(node);
    }
    ended
}

/// Starts servers and nodes. Without a lock every scheduler is told that it has it.
fn start(part: &Part, program: &Path, folder: &Path) -> Outcome<Stand> {
    let connections = CONNECTIONS_MAX.to_string();
    let settings = [
        ("max_connections", connections.as_str()),
        ("max_wal_size", "64MB"),
        ("min_wal_size", "32MB"),
    ];
    let store = || match part.which {
        Which::Postgres => Store::postgres(&settings, is_root().then_some(DISK_MIB)),
        Which::Sqlite => Store::sqlite(Some(DISK_MIB)),
    };
    let redis = || Ok(Lock::Redis(Arc::new(Redis::start()?)));
    let lie = || Ok(Lock::Lie);
    let servers = if part.locked {
        Servers::start(store, redis)?
    } else {
        Servers::start(store, lie)?
    };
    let design = Design {
        program,
        folder,
        arguments: &TIMES,
        queues: QUEUES,
        slots: 64,
        program_s: "4",
        proxied: true,
        listens: LEGACY_QUEUE,
    };
    let mut stand = Stand::new(servers, &design)?;
    for name in SCHEDULERS {
        // A file's clock is that of whoever writes: there a step is the store's own, which no node can tell.
        let skewed = name == SCHEDULERS[2] && part.which == Which::Postgres;
        stand.add(name, Role::Scheduler, skewed)?;
    }
    for name in WORKERS {
        stand.add(name, Role::Worker, false)?;
    }
    for node in &stand.nodes {
        node.start()?;
    }
    Ok(stand)
}

/// Puts every kind of fault into the account, so that none is missing from it.
fn expect(campaign: &Campaign<'_>, part: &Part) {
    if !part.locked {
        return;
    }
    let ledger = campaign.ledger;
    let nodes = campaign.stand.nodes.iter().flat_map(faults::nodes::kinds);
    let mut kinds: BTreeSet<String> = nodes.collect();
    let others = [
        faults::store::kinds(campaign),
        faults::lock::kinds(),
        faults::broker::kinds(),
        faults::forger::kinds(),
        faults::people::kinds(),
    ];
    kinds.extend(others.into_iter().flatten().map(str::to_owned));
    kinds.insert(faults::nodes::ROUND.to_owned());
    for kind in kinds {
        ledger.expect(&kind);
    }
    let skewed = campaign.stand.nodes.iter().any(|node| node.clock.is_some());
    if part.which == Which::Postgres && !skewed {
        ledger.cannot("clock of one node set: Debian's faketime is missing".to_owned());
    }
}

/// Lets every actor do its worst until the time is over and all is whole again.
fn break_things(campaign: &Campaign<'_>, part: &Part) {
    std::thread::scope(|scope| {
        if !part.locked {
            campaign.rest(part.time);
            return;
        }
        for node in &campaign.stand.nodes {
            scope.spawn(|| faults::nodes::act(campaign, node));
        }
        scope.spawn(|| faults::nodes::rounds(campaign));
        scope.spawn(|| faults::store::act(campaign));
        scope.spawn(|| faults::lock::act(campaign));
        scope.spawn(|| faults::broker::act(campaign));
        scope.spawn(|| faults::forger::act(campaign));
        scope.spawn(|| faults::people::act(campaign));
    });
    say(&format!(
        "── {}: the last fault is mended; pause, drain",
        part.name()
    ));
}

/// Ends all schedulers but one: without a lock no term lasts long enough for what a leader does once a second, and how
/// soon that gets done is not what this part is about.
fn end_the_duel(campaign: &Campaign<'_>) {
    for node in campaign.stand.schedulers().skip(1) {
        let status = node.with(|process| {
            process.sigterm();
            process.wait_exit(STOP_LIMIT)
        });
        let well = matches!(&status, Ok(Some(status)) if status.success());
        if !well {
            campaign.broke(format!("{} did not end well: {status:?}", node.name));
        }
    }
}

/// Waits until no instant waits for a leader, pauses every task, and waits until the last run has ended.
fn finish(campaign: &Campaign<'_>, book: &Book, evidence: &mut Evidence) -> Outcome<()> {
    let stand = campaign.stand;
    for task in campaign.tasks.iter().filter(|t| t.kind == Kind::People) {
        ask(stand, &format!("/tasks/{}/resume", task.name))?;
    }
    let calm = holds_within(CALM_LIMIT, || {
        let until = wall_ms() - OVERDUE_MS;
        let overdue = format!("SELECT COUNT(*) FROM campanile_due WHERE n = 0 AND at < {until}");
        book.number(&overdue).is_ok_and(|count| count == 0)
    });
    evidence.pauses = pause_all(stand, campaign.tasks, ASK_LIMIT)?;
    let began = Instant::now();
    let drained = holds_within(DRAIN_LIMIT, || book.is_drained());
    say(&format!(
        "── all runs had ended {} s after the last pause",
        began.elapsed().as_secs()
    ));
    if !calm {
        return Err(
            format!("instants waited for a leader {CALM_LIMIT:?} after the last fault").into(),
        );
    }
    if !drained {
        return Err(format!("something was left {DRAIN_LIMIT:?} after the last pause").into());
    }
    Ok(())
}

/// Posts to whichever scheduler answers, until one does as it is asked.
fn ask(stand: &Stand, path: &str) -> Outcome<()> {
    let mut said = None;
    let done = holds_within(ASK_LIMIT, || {
        said = stand.ask("POST", path, None, &|| false);
        matches!(said, Some((200..300, _)))
    });
    if done {
        return Ok(());
    }
    Err(format!("{path}: {said:?}").into())
}

fn sum_up(
    campaign: &Campaign<'_>,
    part: &Part,
    watch: &Watch,
    evidence: &Evidence,
    report: &mut Report,
) {
    report.faults = campaign.ledger.rows();
    report.not_run = campaign.ledger.not_run();
    report.seen = if part.locked {
        seen::events(evidence, watch)
    } else {
        seen::without_lock(evidence, watch)
    };
    let liars = &campaign.stand.liars;
    let figures = [
        ("instants", evidence.instants() as u64),
        ("runs", evidence.runs.len() as u64),
        ("starts", evidence.starts().count() as u64),
        ("orders", evidence.orders.iter().flatten().count() as u64),
        ("requests_accepted", evidence.people.accepted.len() as u64),
        ("duplicates_refused", watch.sum("claims_refused")),
        ("terms", watch.sum("terms_begun")),
        ("attempts_lost", watch.sum("attempts_lost")),
        ("looks_at_beliefs", watch.believed().1),
        (
            "locks_granted_by_a_lie",
            liars.iter().map(|l| l.granted()).sum(),
        ),
        (
            "locks_renewed_by_a_lie",
            liars.iter().map(|l| l.renewed()).sum(),
        ),
    ];
    let figures = figures.map(|(name, count)| (name.to_owned(), count));
    report.figures.insert("counts", figures.into());
    let unknown = liars.iter().flat_map(|liar| liar.unknown());
    let unknown: BTreeSet<String> = unknown.collect();
    if !unknown.is_empty() {
        report
            .broken
            .push(format!("the lying Redis did not know {unknown:?}"));
    }
}
