//! One scene: a process works and is killed with runs in its hands; the next one is armed, works on, and dies at its
//! failpoint; the next one must put everything right. In a cluster a second scheduler waits and takes over.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_core::failpoint::Failpoint;
use xtask::servers::{ActiveMq, Postgres, Process, Redis, TempDir};

use super::facts::{self, OLD_RUN};
use super::judge::{Own, RULE, Verdict, verdict};
use super::load::{Place, list};
use super::people::People;
use crate::book::Book;
use crate::judge::{Circumstances, Evidence};
use crate::load::{Asked, Kind, Task};
use crate::scenes::pause_all;
use crate::stand::node::{Node, Role};
use crate::stand::servers::{Lock, Servers, Store};
use crate::stand::{Design, Stand};
use crate::{Outcome as Result, wall_ms};

/// How long a fact may take to come true on a machine that does other things beside.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(40);
/// The variable that names a process's failpoint.
const VARIABLE: &str = "CAMPANILE_FAILPOINT";
/// From the application of the tasks to their first instant.
const HEAD_START_MS: i64 = 1_500;

/// What a process does at its failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Dies,
    /// It stops where it stands.
    Stops,
}

/// What one scene is about.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub point: Failpoint,
    pub fate: Fate,
}

/// What came of one scene.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Processes that died at their points.
    pub killed: usize,
    /// Processes that stopped at their points.
    pub stopped: usize,
    /// From a leader's stop to the next leader, in milliseconds; 0 in other scenes.
    pub takeover_ms: i64,
    /// Processes that were started again.
    pub restarts: usize,
    /// The ends of the logs, if something is wrong.
    pub logs: String,
}

impl Plan {
    /// As the program's variable spells it.
    fn spelled(self) -> String {
        let word = match self.fate {
            Fate::Dies => "",
            Fate::Stops => ":1:stop",
        };
        format!("{}{word}", self.point.name())
    }

    /// Points that only a worker's process reaches, or reaches first.
    pub(super) fn is_workers(self) -> bool {
        use Failpoint as F;
        matches!(
            self.point,
            F::HeartbeatBefore
                | F::HeartbeatCommitted
                | F::MessageReceived
                | F::OfferAgainBefore
                | F::OfferAgainConfirmed
                | F::ClaimBefore
                | F::ClaimCommitted
                | F::ClaimAcknowledged
                | F::Start
                | F::Refused
                | F::LogsBefore
                | F::LogsWritten
                | F::LogsCommitted
                | F::HandlerEnded
                | F::FinishBefore
                | F::FinishWritten
                | F::FinishCommitted
                | F::FinishAnnounced
                | F::EndMoved
                | F::ChainTaken
                | F::RequeuePut
                | F::PermitsHandedOn
        ) || self.is_at_the_end()
    }

    /// Points that a worker reaches whose slots are taken while groups come.
    fn splits_groups(self) -> bool {
        use Failpoint as F;
        matches!(self.point, F::OfferAgainBefore | F::OfferAgainConfirmed)
    }

    /// Points that a process reaches when it is asked to end.
    pub(super) fn is_at_the_end(self) -> bool {
        use Failpoint as F;
        matches!(self.point, F::Drain | F::LeaveBefore | F::LeaveCommitted)
    }
}

/// The servers that the scenes of a cluster share.
#[derive(Clone)]
pub struct Shared {
    pub postgres: Arc<Postgres>,
    pub redis: Arc<Redis>,
    pub broker: Arc<ActiveMq>,
}

pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) stand: Stand,
    pub(super) book: Book,
    pub(super) cluster: bool,
    pub(super) tasks: Vec<Task>,
    made: Asked,
    pub(super) people: People,
    pub(super) takeover_ms: i64,
}

/// Plays one scene to its end and judges it.
pub fn play(name: &str, plan: Plan, program: &Path, shared: Option<&Shared>) -> Outcome {
    let broken = |why: String, logs: String| Outcome {
        verdict: Verdict {
            wrong: vec![why],
            ..Verdict::default()
        },
        logs,
        ..Outcome::default()
    };
    let played = TempDir::new("failpoints").map_err(Into::into);
    let played = played.and_then(|folder: TempDir| {
        let mut scene = begin(name, plan, program, shared, folder.path())?;
        let outcome = scene.run();
        let logs = || scene.logs();
        Ok(match outcome {
            Ok(outcome) if outcome.verdict.wrong.is_empty() => outcome,
            Ok(outcome) => Outcome {
                logs: logs(),
                ..outcome
            },
            Err(why) => broken(why.to_string(), logs()),
        })
    });
    played.unwrap_or_else(|why: Box<dyn std::error::Error + Send + Sync>| {
        broken(why.to_string(), String::new())
    })
}

/// The first process at work, with its tasks.
fn begin(
    name: &str,
    plan: Plan,
    program: &Path,
    shared: Option<&Shared>,
    folder: &Path,
) -> Result<Scene> {
    let servers = match shared {
        None => Servers {
            store: Store::sqlite(None)?,
            lock: Lock::InStore,
            broker: None,
        },
        Some(shared) => Servers {
            store: Store::database(&shared.postgres, name)?,
            lock: Lock::Redis(Arc::clone(&shared.redis)),
            broker: Some(Arc::clone(&shared.broker)),
        },
    };
    // As short as a busy machine allows: what goes over servers is slower there.
    let (ttl, lease) = if shared.is_some() {
        ("2s", "3s")
    } else {
        ("1s", "2s")
    };
    let times = ["--lock-ttl", ttl, "--lease", lease, "--drain", "500ms"];
    let design = Design {
        program,
        folder,
        arguments: &[&times[..], &["--cluster", name]].concat(),
        queues: &format!("{name}-default,{name}-more"),
        slots: 32,
        program_s: "1.8",
        proxied: false,
        listens: &format!("legacy.{name}"),
    };
    let mut stand = Stand::new(servers, &design)?;
    stand.add("n0", Role::All, false)?;
    stand.node("n0")?.start()?;
    let place = Place {
        scene: name,
        effects: &stand.effects,
        crowded: plan.splits_groups(),
        script: &stand.script,
        base_ms: (wall_ms() + HEAD_START_MS) / 500 * 500,
    };
    let (tasks, people) = (place.tasks(), People::new(place.edited()));
    let leads = || stand.ask("GET", "/leader", None, &|| false).is_some();
    if !holds(PATIENCE, leads) {
        return Err("the first process never answered".into());
    }
    let asked_ms = wall_ms();
    let applied = stand.ask("POST", "/apply", Some(&list(&tasks)), &|| false);
    let answered_ms = wall_ms();
    if !matches!(applied, Some((200, _))) {
        return Err(format!("the tasks were refused: {applied:?}").into());
    }
    Ok(Scene {
        plan,
        book: stand.servers.store.book(),
        stand,
        cluster: shared.is_some(),
        tasks,
        made: Asked {
            asked_ms,
            answered_ms,
        },
        people,
        takeover_ms: 0,
    })
}

pub(super) fn holds(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !fact() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

impl Scene {
    fn run(&mut self) -> Result<Outcome> {
        let mut asked = self.die_with_runs_in_hand()?;
        facts::disturb(&self.book)?;
        self.die_at_the_point()?;
        let died_ms = wall_ms();
        let after = facts::ended(&self.book)?;
        self.check_old_run()?;
        self.go_on()?;
        if !holds(PATIENCE, || self.is_one(facts::ZONES_KEPT)) {
            return Err("the zone rules were never kept again".into());
        }
        // Whatever died, the task that is due after its ends goes on.
        if !holds(PATIENCE, || self.is_one(&facts::went_on(died_ms))) {
            return Err("the task that is due after its ends stands still".into());
        }
        let far = self.book.number(facts::FAR_DUE)?;
        let mut evidence = Evidence {
            rule: RULE,
            pauses: pause_all(&self.stand, &self.tasks, PATIENCE)?,
            ..Evidence::default()
        };
        let drained = holds(PATIENCE, || self.book.is_drained());
        evidence.leftovers = self.book.leftovers()?;
        let nodes = &self.stand.nodes;
        evidence.circumstances = Circumstances {
            drained: self.plan.is_at_the_end(),
            doubted: nodes.iter().any(|n| n.said().contains("is in doubt")),
            late: self.took_a_living_one_for_dead(),
        };
        self.end_all(drained)?;
        evidence.made = self
            .tasks
            .iter()
            .map(|t| (t.name.clone(), self.made))
            .collect();
        evidence
            .made
            .insert("extra".to_owned(), self.people.edited());
        evidence.tasks.clone_from(&self.tasks);
        evidence.gather(&self.stand, &self.book)?;
        evidence.runs.retain(|run| run.id() != OLD_RUN);
        asked.extend(self.people.runs.clone());
        asked.insert("left", facts::of_inbox(&self.book)?.to_string());
        let own = Own {
            ended: [after, facts::ended(&self.book)?],
            asked,
        };
        let mut verdict = verdict(&evidence, &own);
        let mut anchors = self.tasks.iter().filter(|t| t.kind == Kind::Far);
        let anchor = anchors.next().map(|t| t.anchor_ms);
        if Some(far) != anchor {
            let what = format!("the far task is due at {far}, not at {anchor:?}");
            verdict.wrong.push(what);
        }
        let lives: u64 = self.stand.nodes.iter().map(Node::lives).sum();
        Ok(Outcome {
            verdict,
            killed: usize::from(self.plan.fate == Fate::Dies),
            stopped: usize::from(self.plan.fate == Fate::Stops),
            takeover_ms: self.takeover_ms,
            restarts: usize::try_from(lives)?.saturating_sub(1),
            ..Outcome::default()
        })
    }

    /// Whether a question is answered by 1.
    pub(super) fn is_one(&self, question: &str) -> bool {
        self.book.number(question).is_ok_and(|count| count == 1)
    }

    /// Starts a process under this name, new or once more, and tells it where to end.
    pub(super) fn start(
        &mut self,
        name: &'static str,
        role: Role,
        armed: Option<Plan>,
    ) -> Result<()> {
        if self.stand.node(name).is_err() {
            self.stand.add(name, role, false)?;
        }
        let point = armed.map(Plan::spelled);
        let variables: Vec<_> = point.iter().map(|p| (VARIABLE, p.as_str())).collect();
        self.stand.node(name)?.spawn(&variables)
    }

    /// Whether the armed process said that it reached its point, and was not to go on.
    pub(super) fn is_reached(&self, node: &Node) -> bool {
        node.says(&format!("failpoint {} reached: ", self.plan.point.name()))
    }

    /// Whether a process that lived was taken for dead: on a busy machine its heartbeats may come late. Each process that
    /// did die may be said to be silent once.
    fn took_a_living_one_for_dead(&self) -> bool {
        let logs: String = self.stand.nodes.iter().map(Node::said).collect();
        self.stand.nodes.iter().any(|node| {
            let deaths = node.lives() - u64::from(node.is_alive());
            let said = format!("node `{}` was silent for its lease", node.name);
            logs.matches(&said).count() as u64 > deaths
        })
    }

    /// The ends of all logs, for whoever looks for the reason of a failure.
    fn logs(&self) -> String {
        let tail = |node: &Node| {
            let tail = node.with(Process::log_tail).unwrap_or_default();
            format!("--- {}\n{tail}\n", node.name)
        };
        self.stand.nodes.iter().map(tail).collect()
    }

    /// What a death inside the transaction must undo, and one after its commit must not.
    fn check_old_run(&self) -> Result<()> {
        let there = format!("SELECT COUNT(*) FROM campanile_run_history WHERE id = {OLD_RUN}");
        let is_there = self.book.number(&there)? == 1;
        let must_be = self.plan.point != Failpoint::PruneCommitted;
        if is_there == must_be {
            return Ok(());
        }
        let word = if is_there { "" } else { "not " };
        Err(format!("the old run is {word}there").into())
    }

    /// Starts what died again, without its point, and lets people have the rest of their wishes.
    fn go_on(&mut self) -> Result<()> {
        if self.cluster {
            for (name, role) in [("s1", Role::Scheduler), ("w1", Role::Worker)] {
                if !self.stand.living().any(|n| n.name == name) {
                    self.start(name, role, None)?;
                }
            }
        } else {
            self.start("n2", Role::All, None)?;
        }
        let started = wall_ms();
        let deadline = Instant::now() + PATIENCE;
        while !self.people.is_content() {
            if Instant::now() > deadline {
                let (wish, state) = (self.people.wish(), facts::state(&self.book));
                return Err(format!("people were never answered: {wish}; {state}").into());
            }
            self.ask_on("nobody");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.tasks.extend(self.people.new_tasks());
        let goes_on = || {
            let starts = self.stand.effects.all();
            let since = |name: &str| starts.iter().any(|e| e.task == name && e.at_ms > started);
            since("tick") && since("once") && since("extra")
        };
        if holds(PATIENCE, goes_on) {
            return Ok(());
        }
        Err("the load does not go on after the restart".into())
    }

    /// Asks every process to end; a scene that is stuck already need not wait for that.
    fn end_all(&self, drained: bool) -> Result<()> {
        let living: Vec<_> = self.stand.living().collect();
        for node in &living {
            node.with(Process::sigterm)?;
        }
        for node in living.iter().filter(|_| drained) {
            match node.with(|process| process.wait_exit(Duration::from_secs(30)))? {
                Some(status) if status.success() => {}
                status => return Err(format!("{} ended with {status:?}", node.name).into()),
            }
        }
        Ok(())
    }
}
