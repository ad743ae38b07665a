//! `cargo xtask cluster`: the whole system as it runs in the field, each part an operating-system process of its own,
//! broken on purpose while it works. What happened is judged from outside: from the store by plain SQL, from a log of
//! effects that the product doesn't keep, against a list of instants that shares no code with the product.
//!
//! Read `load.rs` for what runs, `faults.rs` for what breaks, `judge.rs` for what must hold all the same.

mod facts;
mod faults;
mod judge;
mod load;
mod report;
mod scene;
mod stand;
mod terms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use facts::Facts;
use judge::Evidence;
use load::Task;
use report::Report;
use scene::{Fault, Scene, until};
use stand::{LOCK_TTL, SCHEDULERS, Servers, Stand, TOKEN, WORKERS};
use terms::Terms;

use crate::evidence;
use crate::field::effects::Effects;
use crate::field::listener::Listener;
use crate::field::verdict::Check;
use crate::field::{Outcome, build, http, programs, wall_ms};
use crate::verbs::{install, say};

/// From the application of the tasks to their first instant.
const HEAD_START_MS: i64 = 3_000;
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
    /// Reads the verb's arguments.
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
    install::servers();
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
            if report.passed() {
                let lines = vec![report.record()];
                evidence::keep("cluster", "cargo xtask cluster", report.seconds, lines);
            }
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
    let servers = Servers::start()?;
    let effects = Effects::start(&folder.join("effects.tsv"))?;
    let listener = Listener::start(servers.broker.stomp_port(), load::LEGACY_QUEUE);
    let mut stand = Stand::new(servers, program, folder.to_owned());
    let result = campaign(options, folder, &mut stand, &effects, &listener);
    if !result.as_ref().is_ok_and(Report::passed) || options.keep {
        stand.servers.keep_logs(folder);
    }
    result
}

fn campaign(
    options: &Options,
    folder: &Path,
    stand: &mut Stand,
    effects: &Effects,
    listener: &Listener,
) -> Outcome<Report> {
    for name in SCHEDULERS.into_iter().chain(WORKERS) {
        stand.start(name)?;
    }
    let (postgres, url) = (&stand.servers.postgres, &stand.servers.database);
    let facts = Facts::open(postgres, url)?;
    let terms = Terms::watch(postgres, url)?;
    let script = folder.join("program.sh");
    std::fs::write(&script, programs::SCRIPT)?;
    let tasks = apply(stand, effects, folder, &script)?;
    let started = Instant::now();
    let mut scene = Scene {
        stand,
        facts,
        effects,
        terms: &terms,
        killed: Vec::new(),
        refused_before: 0,
    };
    let mut report = Report::default();
    if let Err(error) = break_things(options, &mut scene, &mut report) {
        report.broken.push(error.to_string());
    }
    let least = Duration::from_secs(options.seconds);
    std::thread::sleep(least.saturating_sub(started.elapsed()));
    report.seconds = started.elapsed().as_secs();
    let mut evidence = Evidence {
        tasks,
        ..Evidence::default()
    };
    if let Err(error) = end(&mut scene, &mut evidence, &mut report) {
        report.broken.push(error.to_string());
    }
    gather(&mut scene, &mut evidence, &mut report, listener, &script)?;
    report.broken.extend(terms.trouble());
    let handovers = report
        .faults
        .iter()
        .filter(|f| f.handover.is_some())
        .count();
    report.terms = [evidence.terms.len(), handovers + 1];
    let lines: String = terms
        .all()
        .iter()
        .map(|t| format!("{}\t{}\t{}\n", t.since_ms, t.epoch, t.node))
        .collect();
    std::fs::write(folder.join("terms.tsv"), lines)?;
    report.lateness_ms = report::lateness(&evidence.effects, &report.faults);
    report.checks = evidence.judge();
    report.checks.extend(goals(&report.faults));
    if !report.passed() || options.keep {
        scene.facts.dump(folder)?;
    }
    Ok(report)
}

/// Applies the tasks through the product's own command line.
fn apply(stand: &Stand, effects: &Effects, folder: &Path, script: &Path) -> Outcome<Vec<Task>> {
    stand.wait_for_api();
    let tasks = load::tasks((wall_ms() + HEAD_START_MS) / 1_000 * 1_000);
    let file = folder.join("tasks.toml");
    std::fs::write(&file, load::file(&tasks, effects, script))?;
    let applied = stand.cli(&["apply", &file.display().to_string()])?;
    if wall_ms() >= tasks.iter().map(|t| t.anchor_ms).min().unwrap_or(0) {
        return Err("the tasks were applied too late for their first instants".into());
    }
    say(&format!(
        "── {} tasks applied: {}",
        tasks.len(),
        last_line(&applied)
    ));
    Ok(tasks)
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}

type Breaking = for<'a, 'b> fn(&'a mut Scene<'b>) -> Outcome<Fault>;

fn break_things(options: &Options, scene: &mut Scene<'_>, report: &mut Report) -> Outcome<()> {
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
        report.faults.push(fault);
    }
    scene.steady(0)?;
    Ok(())
}

/// Pauses every task, waits until the last run has ended, and ends every node.
fn end(scene: &mut Scene<'_>, evidence: &mut Evidence, report: &mut Report) -> Outcome<()> {
    say("── pause, drain, stop");
    let port = scene.stand.api_port().ok_or("no scheduler node answers")?;
    let mut pauses = BTreeMap::new();
    for task in &evidence.tasks {
        let asked = wall_ms();
        http::ask(
            port,
            "POST",
            &format!("/api/v1/tasks/{}/pause", task.name),
            TOKEN,
        )?;
        pauses.insert(task.name.clone(), (asked, wall_ms()));
    }
    evidence.pauses = pauses;
    let facts = &mut scene.facts;
    let drained = until("the last runs end", DRAIN_LIMIT, || {
        Ok(facts.due_rows()? == 0 && facts.unfinished(i64::MAX)? == 0)
    });
    report.memory = scene.stand.memory();
    let of = |name| scene.stand.counter(name, "claims_refused");
    evidence.refused = scene.refused_before + WORKERS.into_iter().map(of).sum::<u64>();
    evidence.left = scene.stand.stop_all(STOP_LIMIT);
    evidence.left.extend(scene.stand.left_behind());
    drained
}

fn gather(
    scene: &mut Scene<'_>,
    evidence: &mut Evidence,
    report: &mut Report,
    listener: &Listener,
    script: &Path,
) -> Outcome<()> {
    evidence.runs = scene.facts.runs()?;
    evidence.attempts = scene.facts.attempts()?;
    evidence.terms = scene.terms.all();
    evidence.killed.clone_from(&scene.killed);
    evidence.effects = scene.effects.all();
    evidence.orders = listener.all();
    let log: PathBuf = format!("{}.log", script.display()).into();
    match std::fs::read_to_string(&log) {
        Ok(text) => evidence.programs = programs::read_programs(&text),
        Err(error) => report.broken.push(format!("{}: {error}", log.display())),
    }
    Ok(())
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
            Check {
                name,
                passed,
                detail: format!(
                    "{gaps:?} ms; {word} {} ms, the goal is {limit} ms",
                    told.unwrap_or(0)
                ),
                violations: usize::from(!passed),
            }
        };
    let crash = i64::try_from(LOCK_TTL.as_millis()).unwrap_or(i64::MAX) + 1_000;
    let (killed, ended) = (of("leader kill -9"), of("leader SIGTERM"));
    let (longest, median) = (
        killed.1.iter().copied().max(),
        report::median(ended.1.clone()),
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
