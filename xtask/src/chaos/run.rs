//! One part of a campaign, from the first server to the last verdict: start, apply, break for so long, mend, pause, wait
//! until all has ended, gather, judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use xtask::servers::holds_within;

use super::campaign::{Campaign, People, lock};
use super::faults;
use super::judge::{self, Evidence};
use super::ledger::Ledger;
use super::load::{self, Kind, Task};
use super::node::TOKEN;
use super::report::Report;
use super::seen;
use super::stand::{Stand, Which};
use super::watch::Watch;
use crate::field::{Outcome, http, programs, wall_ms};
use crate::verbs::say;

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

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Over which store.
    pub which: Which,
    /// Whether there is a lock; without one, nothing else is broken.
    pub locked: bool,
    /// For how long.
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
    std::fs::create_dir_all(folder)?;
    say(&format!(
        "── {}: servers, 3 scheduler nodes, 2 workers; then {} s",
        part.name(),
        part.time.as_secs()
    ));
    let stand = Stand::start(part.which, part.locked, program, folder)?;
    let tasks = apply(&stand, folder)?;
    let ledger = Ledger::default();
    let watch = Watch::default();
    let campaign = Campaign {
        stand: &stand,
        ledger: &ledger,
        tasks: &tasks,
        seed: part.seed,
        end: Instant::now() + part.time,
        wiped: Mutex::default(),
        people: Mutex::default(),
        trouble: Mutex::default(),
    };
    expect(&campaign, part);
    let mut report = Report {
        stand: part.name(),
        seed: part.seed,
        seconds: part.time.as_secs(),
        ..Report::default()
    };
    let mut evidence = Evidence {
        tasks: tasks.clone(),
        ..Evidence::default()
    };
    std::thread::scope(|scope| {
        for node in &stand.nodes {
            scope.spawn(|| watch.node(node));
        }
        scope.spawn(|| watch.store(&stand));
        scope.spawn(|| watch.beliefs(&stand));
        break_things(&campaign, part);
        if !part.locked {
            end_the_duel(&campaign);
        }
        let ended = finish(&campaign, &mut evidence);
        watch.end();
        report.broken.extend(ended.err().map(|e| e.to_string()));
    });
    for node in &stand.nodes {
        watch.scrape(node);
    }
    evidence.leftovers = stand.store.books().leftovers()?;
    evidence.left = stand.stop_all(STOP_LIMIT);
    let trouble = lock(&campaign.trouble).clone();
    report.broken.extend(trouble);
    gather(&campaign, &watch, &mut evidence)?;
    sum_up(&campaign, part, &watch, &evidence, &mut report);
    if !report.passed() {
        stand.keep_logs();
    }
    write_tables(&evidence, &ledger, folder)?;
    Ok(report)
}

/// Applies the tasks through the product's own command line.
fn apply(stand: &Stand, folder: &Path) -> Outcome<Vec<Task>> {
    let tasks = load::tasks((wall_ms() + HEAD_START_MS) / 1_000 * 1_000);
    let script = stand.script.display().to_string();
    let specs = tasks.iter();
    let specs = specs.map(|task| load::definition(task, &stand.effects, &script, 0));
    let file = folder.join("tasks.json");
    let text = serde_json::json!({"task": specs.collect::<Vec<_>>()});
    std::fs::write(&file, text.to_string())?;
    stand.cli(&["apply", &file.display().to_string()])?;
    Ok(tasks)
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
fn finish(campaign: &Campaign<'_>, evidence: &mut Evidence) -> Outcome<()> {
    let stand = campaign.stand;
    for task in campaign.tasks.iter().filter(|t| t.kind == Kind::People) {
        ask(stand, &format!("/api/v1/tasks/{}/resume", task.name))?;
    }
    let books = stand.store.books();
    let calm = holds_within(CALM_LIMIT, || {
        let until = wall_ms() - OVERDUE_MS;
        let overdue = format!("SELECT COUNT(*) FROM due WHERE n = 0 AND at < {until}");
        books.number(&overdue).is_ok_and(|count| count == 0)
    });
    for task in campaign.tasks {
        let asked = wall_ms();
        ask(stand, &format!("/api/v1/tasks/{}/pause", task.name))?;
        evidence
            .pauses
            .insert(task.name.clone(), (asked, wall_ms()));
    }
    let began = Instant::now();
    let drained = holds_within(DRAIN_LIMIT, || {
        let left = books.leftovers().unwrap_or_default();
        !left.is_empty() && left.iter().all(|(_, count)| *count == 0)
    });
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
    let mut said = String::new();
    let done = holds_within(ASK_LIMIT, || {
        let Some(port) = stand.api_port() else {
            return false;
        };
        match http::ask(port, "POST", path, TOKEN) {
            Ok(_) => true,
            Err(error) => {
                said = error.to_string();
                false
            }
        }
    });
    if done {
        return Ok(());
    }
    Err(format!("{path}: {said}").into())
}

fn gather(campaign: &Campaign<'_>, watch: &Watch, evidence: &mut Evidence) -> Outcome<()> {
    let stand = campaign.stand;
    let books = stand.store.books();
    evidence.runs = books.runs()?;
    evidence.attempts = books.attempts()?;
    evidence.rest_from = books.rests()?.into_iter().collect();
    evidence.effects = stand.effects.all();
    evidence.orders = stand.listener.all();
    evidence.people = lock(&campaign.people).clone();
    evidence.wiped = lock(&campaign.wiped).clone();
    evidence.sealed = watch.sealed();
    evidence.fired = books.fired()?.into_iter().collect();
    let log = format!("{}.log", stand.script.display());
    // Without a file no program ever started, which the verdict on ends then says.
    let text = std::fs::read_to_string(log).unwrap_or_default();
    evidence.programs = programs::read_programs(&text);
    Ok(())
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
    report.checks = judge::judge(evidence);
    report.seen = if part.locked {
        seen::events(evidence, watch)
    } else {
        seen::without_lock(evidence, watch)
    };
    let instants: usize = evidence
        .pauses
        .iter()
        .map(|(name, (asked, _))| {
            let task = evidence.tasks.iter().find(|task| task.name == *name);
            task.map_or(0, |task| task.instants(*asked).count())
        })
        .sum();
    let programs = evidence.programs.iter().filter(|line| line.start).count();
    let people: &People = &evidence.people;
    let liars = &campaign.stand.liars;
    let figures: BTreeMap<&'static str, u64> = [
        ("instants", instants as u64),
        ("runs", evidence.runs.len() as u64),
        ("starts", (evidence.effects.len() + programs) as u64),
        ("orders", evidence.orders.len() as u64),
        ("requests_accepted", people.accepted.len() as u64),
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
    ]
    .into();
    report.counts = figures.into_iter().collect();
    let unknown = liars.iter().flat_map(|liar| liar.unknown());
    let unknown: BTreeSet<String> = unknown.collect();
    if !unknown.is_empty() {
        report
            .broken
            .push(format!("the lying Redis did not know {unknown:?}"));
    }
}

/// Writes what the verdict rests on to files, for whoever looks for the reason of a failure.
fn write_tables(evidence: &Evidence, ledger: &Ledger, folder: &Path) -> Outcome<()> {
    let lines = |rows: Vec<String>| rows.join("\n") + "\n";
    let runs = evidence.runs.iter().map(|run| format!("{run:?}"));
    std::fs::write(folder.join("runs.txt"), lines(runs.collect()))?;
    let attempts = evidence.attempts.iter().map(|a| format!("{a:?}"));
    std::fs::write(folder.join("attempts.txt"), lines(attempts.collect()))?;
    let effects = evidence.effects.iter().map(|e| format!("{e:?}"));
    std::fs::write(folder.join("effects.txt"), lines(effects.collect()))?;
    std::fs::write(folder.join("faults.tsv"), ledger.lines())?;
    Ok(())
}
