//! `cargo xtask cluster`: the whole system as it runs in the field, each part an operating-system process of its own,
//! broken on purpose while it works. What happened is judged from outside: from the store by plain SQL, from a log of
//! effects that the product doesn't keep, against a list of instants that shares no code with the product.
//!
//! Read `load.rs` for what runs, `faults.rs` for what breaks, `judge.rs` for what must hold all the same.

mod facts;
mod faults;
mod figures;
mod judge;
mod load;
mod scene;
mod terms;

use std::path::Path;
use std::time::{Duration, Instant};

use xtask::servers::Sentinel;

use scene::{Fault, Scene, until};
use terms::Terms;

use crate::judge::verdict::{Check, check};
use crate::judge::{Case, Evidence};
use crate::load::{LEGACY_QUEUE, QUEUES};
use crate::scenes::pause_all;
use crate::scenes::report::Report;
use crate::stand::node::Role;
use crate::stand::servers::{Lock, Servers, Store};
use crate::stand::{Design, Stand};
use crate::{Outcome, build, say, wall_ms};

/// How long the lock of a leader that died is waited for.
const LOCK_TTL: Duration = Duration::from_secs(5);
/// The same as the nodes are told.
const TIMES: [&str; 2] = ["--lock-ttl", "5s"];
/// From the application of the tasks to their first instant.
const HEAD_START_MS: i64 = 3_000;
/// How long a pause may take to be answered.
const PAUSE_LIMIT: Duration = Duration::from_secs(10);
/// How long the last runs may take to end: a message that got lost is published again after a minute.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// How long a node may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The goal of a clean hand-over.
const CLEAN_MS: i64 = 100;

/// What the run is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long the load runs at least; the faults may take longer.
    seconds: u64,
    /// The cargo profile of the program under test.
    profile: String,
    /// Whether logs stay after success too.
    keep: bool,
    /// How often the leader is killed, and how often it is asked to end.
    failovers: u32,
}

impl Options {
    /// From the words behind its name; nothing if one of them is unknown.
    pub fn read(arguments: &[String]) -> Option<Self> {
        let mut options = Self {
            seconds: 75,
            profile: "ci".to_owned(),
            keep: false,
            failovers: 3,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--keep" => options.keep = true,
                "--seconds" => options.seconds = rest.next()?.parse().ok()?,
                "--profile" => options.profile.clone_from(rest.next()?),
                "--failovers" => options.failovers = rest.next()?.parse().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Runs the test; true if everything held.
pub fn run(options: &Options) -> bool {
    let folder = build::target()
        .join("cluster")
        .join(std::process::id().to_string());
    if let Err(error) = std::fs::create_dir_all(&folder) {
        say(&format!("failed to make {}: {error}", folder.display()));
        return false;
    }
    let passed = match play(options, &folder) {
        Ok(report) => {
            report.tell();
            report.passed()
        }
        Err(error) => {
            say(&format!("the test broke off: {error}"));
            false
        }
    };
    if passed && !options.keep {
        let _ = std::fs::remove_dir_all(&folder);
    } else {
        say(&format!("logs and tables: {}", folder.display()));
    }
    say(if passed {
        "cluster: passed"
    } else {
        "cluster: FAILED"
    });
    passed
}

fn play(options: &Options, folder: &Path) -> Outcome<Report> {
    say("── build");
    let program = build::build(&options.profile)?;
    say("── start: PostgreSQL, 3 Redis under 3 Sentinels, ActiveMQ, 3 scheduler nodes, 2 workers");
    let sentinel = || Ok(Lock::Sentinel(Sentinel::start(3, 2)?));
    let servers = Servers::start(|| Store::postgres(&[], None), sentinel)?;
    let design = Design {
        program: &program,
        folder,
        arguments: &TIMES,
        queues: QUEUES,
        slots: 64,
        program_s: "4",
        proxied: false,
        listens: LEGACY_QUEUE,
    };
    let mut stand = Stand::new(servers, &design)?;
    for name in ["s1", "s2", "s3"] {
        stand.add(name, Role::Scheduler, false)?;
    }
    for name in ["w1", "w2"] {
        stand.add(name, Role::Worker, false)?;
    }
    let result = campaign(options, &stand);
    if !result.as_ref().is_ok_and(Report::passed) || options.keep {
        stand.servers.keep_logs(folder);
    }
    result
}

fn campaign(options: &Options, stand: &Stand) -> Outcome<Report> {
    for node in &stand.nodes {
        faults::start(node)?;
    }
    let terms = Terms::watch(stand.servers.store.book());
    let script = stand.script.display().to_string();
    let first_ms = (wall_ms() + HEAD_START_MS) / 1_000 * 1_000;
    let tasks = load::tasks(first_ms, &stand.effects, &script);
    let applied = stand.apply(&tasks)?;
    let last_line = applied.trim_end().lines().next_back().unwrap_or_default();
    say(&format!("── {} tasks applied: {last_line}", tasks.len()));
    let started = Instant::now();
    let mut scene = Scene {
        stand,
        book: stand.servers.store.book(),
        effects: &stand.effects,
        terms: &terms,
        killed: Vec::new(),
        refused_before: 0,
    };
    let mut report = Report {
        record: "cluster",
        stand: "PostgreSQL, Sentinel, ActiveMQ",
        demands_all: true,
        ..Report::default()
    };
    let mut faults = Vec::new();
    if let Err(error) = break_things(options, &mut scene, &mut faults) {
        report.broken.push(error.to_string());
    }
    let least = Duration::from_secs(options.seconds);
    std::thread::sleep(least.saturating_sub(started.elapsed()));
    report.seconds = started.elapsed().as_secs();
    let mut evidence = Evidence {
        rule: judge::RULE,
        tasks,
        ..Evidence::default()
    };
    let refused = end(&scene, &mut evidence, &mut report).unwrap_or_else(|error| {
        report.broken.push(error.to_string());
        0
    });
    evidence.gather(stand, &scene.book)?;
    report.broken.extend(terms.trouble());
    let terms = terms.all();
    tell_faults(&faults, &mut report);
    // More terms than the first and the faults account for are no harm to a run; but a leader that gave up and led again
    // without a fault has a reason that somebody should know.
    let explained = 1 + faults.iter().filter(|f| f.handover.is_some()).count();
    let counts = [("terms", terms.len()), ("terms explained", explained)];
    let counts = counts.map(|(name, n)| (name.to_owned(), n as u64));
    report.figures.extend([
        ("counts", counts.into()),
        (
            "lateness away from faults, ms",
            figures::lateness(&evidence.effects, &faults),
        ),
        ("longest time without an effect, ms", figures::gaps(&faults)),
    ]);
    report.checks = crate::judge::judge(&Case::of(&evidence));
    report.checks.extend([
        judge::explained(&evidence, &scene.killed),
        judge::duplicates(refused),
        judge::one_term_at_a_time(&terms, &evidence.runs),
    ]);
    report.checks.extend(goals(&faults));
    if !report.passed() || options.keep {
        let lines = |rows: Vec<String>| rows.join("\n") + "\n";
        let terms = terms.iter().map(|term| format!("{term:?}")).collect();
        std::fs::write(stand.folder.join("terms.txt"), lines(terms))?;
        evidence.dump(&stand.folder)?;
    }
    Ok(report)
}

type Breaking = for<'a, 'b> fn(&'a mut Scene<'b>) -> Outcome<Fault>;

fn break_things(options: &Options, scene: &mut Scene<'_>, faults: &mut Vec<Fault>) -> Outcome<()> {
    let often = options.failovers as usize;
    let mut plan: Vec<(&str, Breaking)> = vec![("leader kill -9", faults::kill_leader); often];
    plan.extend([
        ("leader SIGSTOP", faults::stop_leader as Breaking),
        ("worker kill -9", faults::kill_worker),
        ("Redis master kill -9", faults::kill_redis_master),
        ("broker kill -9", faults::kill_broker),
    ]);
    plan.extend(vec![
        ("leader SIGTERM", faults::end_leader as Breaking);
        often
    ]);
    plan.push(("messages in flight", faults::end_leader_in_flight));
    for (name, fault) in plan {
        let broke_off = |error| format!("{name}: {error}");
        scene.steady(0).map_err(broke_off)?;
        let fault = fault(scene).map_err(broke_off)?;
        say(&format!(
            "── {}: steady after {} ms",
            fault.name, fault.steady_ms
        ));
        faults.push(fault);
    }
    scene.steady(0)?;
    Ok(())
}

/// What became of each fault: its row, what was seen of it, and what was wrong.
fn tell_faults(faults: &[Fault], report: &mut Report) {
    for fault in faults {
        let row = report.faults.entry(fault.name.to_owned()).or_default();
        row.tried += 1;
        row.happened += 1;
        row.proof = fault.figures();
        report.notes.push(format!("{}:", fault.name));
        let seen = fault.seen.iter().chain(&fault.wrong);
        report.notes.extend(seen.map(|line| format!("  {line}")));
        let wrong = fault.wrong.iter();
        let wrong = wrong.map(|wrong| format!("{}: {wrong}", fault.name));
        report.broken.extend(wrong);
    }
}

/// Pauses every task, waits until the last run has ended, and ends every node; gives how many claims were refused.
fn end(scene: &Scene<'_>, evidence: &mut Evidence, report: &mut Report) -> Outcome<u64> {
    say("── pause, drain, stop");
    evidence.pauses = pause_all(scene.stand, &evidence.tasks, PAUSE_LIMIT)?;
    let drained = until("the last runs end", DRAIN_LIMIT, || {
        Ok(scene.book.is_drained())
    });
    evidence.leftovers = scene.book.leftovers()?;
    report
        .figures
        .insert("memory, MiB at most", figures::memory(scene.stand));
    let refused = scene.refused_before + faults::sum(scene.stand.workers(), "claims_refused");
    evidence.left = scene.stand.stop_all(STOP_LIMIT);
    drained.map(|()| refused)
}

/// How soon another node must lead, and how soon it did: after a crash always, after a clean end in the median.
fn goals(faults: &[Fault]) -> Vec<Check> {
    let of = |name: &str| -> (usize, Vec<i64>) {
        let all: Vec<&Fault> = faults.iter().filter(|f| f.name == name).collect();
        let gaps = all.iter().filter_map(|f| Some(f.handover.as_ref()?.gap_ms));
        (all.len(), gaps.collect())
    };
    let goal =
        |name, (count, gaps): (usize, Vec<i64>), told: Option<i64>, word: &str, limit: i64| {
            let passed = gaps.len() == count && told.is_none_or(|told| told <= limit);
            let detail = format!(
                "{gaps:?} ms; {word} {} ms, the goal is {limit} ms",
                told.unwrap_or(0)
            );
            let wrong = (!passed).then(|| detail.clone()).into_iter().collect();
            check(name, wrong, detail)
        };
    let crash = i64::try_from(LOCK_TTL.as_millis()).unwrap_or(i64::MAX) + 1_000;
    let (killed, ended) = (of("leader kill -9"), of("leader SIGTERM"));
    let (longest, median) = (
        killed.1.iter().copied().max(),
        figures::median(ended.1.clone()),
    );
    vec![
        goal(
            "a killed leader is followed within TTL + 1 s",
            killed,
            longest,
            "the longest",
            crash,
        ),
        goal(
            "a leader that ends hands over at once",
            ended,
            median,
            "the median",
            CLEAN_MS,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_others_refused() {
        let read = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Options::read(&words)
        };
        let options = read("--seconds 5 --keep --failovers 1").unwrap();
        assert_eq!(
            (options.seconds, options.keep, options.failovers),
            (5, true, 1)
        );
        assert_eq!(options.profile, "ci");
        for wrong in ["--seconds", "--seconds x", "--what"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
