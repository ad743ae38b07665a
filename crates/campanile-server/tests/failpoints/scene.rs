//! One scene: a process works and is killed with runs in its hands; the next one is armed, works on, and dies at its
//! failpoint; the next one must put everything right. In a cluster a second scheduler waits and takes over.

use std::collections::BTreeMap;
use std::time::Duration;

use campanile::failpoint::Failpoint;
use campanile::system::{pause, wall_now};

use super::effects::{Effect, Effects};
use super::facts::{Facts, OLD_RUN};
use super::judge::{Evidence, Judged, Verdict};
use super::load::{Asked, Kind, Place, SCRIPT, Task, list};
use super::people::{People, ask_first};
use super::stand::{Fate, PATIENCE, Role, Servers, Stand, holds};

/// From the application of the tasks to their first instant.
const HEAD_START_MS: i64 = 1_500;
/// How much longer a stopped process stands when others have taken over: every lease and every session of it is over.
const STOPPED: Duration = Duration::from_secs(4);

/// What one scene is about.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where the process ends.
    pub point: Failpoint,
    /// How.
    pub fate: Fate,
}

/// What came of one scene.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// What was judged.
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
    /// Points that only a worker's process reaches, or reaches first.
    fn is_workers(self) -> bool {
        use Failpoint as F;
        matches!(
            self.point,
            F::BeatBefore
                | F::BeatCommitted
                | F::MessageReceived
                | F::ClaimBefore
                | F::ClaimCommitted
                | F::ClaimAcknowledged
                | F::Start
                | F::Refused
                | F::HandlerEnded
                | F::FinishBefore
                | F::FinishWritten
                | F::FinishCommitted
                | F::FinishAnnounced
                | F::EndMoved
                | F::RequeuePut
                | F::PermitsHandedOn
        ) || self.is_at_the_end()
    }

    /// Points that a process reaches when it is asked to end.
    fn is_at_the_end(self) -> bool {
        use Failpoint as F;
        matches!(self.point, F::Drain | F::LeaveBefore | F::LeaveCommitted)
    }
}

/// A scene under way.
struct Scene<'a> {
    plan: Plan,
    stand: Stand,
    effects: &'a Effects,
    facts: Facts,
    tasks: Vec<Task>,
    made: Asked,
    people: People,
    /// Processes of the beginning.
    first: usize,
    takeover_ms: i64,
}

/// Plays one scene to its end and judges it.
pub async fn play(name: &str, plan: Plan, effects: &Effects, servers: Option<Servers>) -> Outcome {
    let mut stand = Stand::new(name, servers);
    let script = stand.folder.join("program.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    stand.start("n0", Role::All, None);
    if !holds(PATIENCE, async || {
        stand.ask("GET", "/leader", None).await.is_some()
    })
    .await
    {
        return broken("the first process never answered", &stand);
    }
    let place = Place {
        scene: name,
        effects,
        script: &script,
        base_ms: (wall_now().as_ms() + HEAD_START_MS) / 500 * 500,
    };
    let tasks = place.tasks();
    let asked_ms = wall_now().as_ms();
    let applied = stand.ask("POST", "/apply", Some(&list(&tasks))).await;
    let made = Asked {
        asked_ms,
        answered_ms: wall_now().as_ms(),
    };
    if !matches!(applied, Some((200, _))) {
        return broken(&format!("the tasks were refused: {applied:?}"), &stand);
    }
    let facts = Facts::open(&stand.store).await;
    let people = People::new(place.edited());
    let mut scene = Scene {
        plan,
        stand,
        effects,
        facts,
        tasks,
        made,
        people,
        first: 0,
        takeover_ms: 0,
    };
    scene.first = scene.stand.nodes.len();
    match scene.run().await {
        Ok(mut outcome) => {
            if !outcome.verdict.wrong.is_empty() {
                outcome.logs = scene.stand.tails();
            }
            outcome
        }
        Err(why) => broken(&why, &scene.stand),
    }
}

fn broken(why: &str, stand: &Stand) -> Outcome {
    Outcome {
        verdict: Verdict {
            wrong: vec![why.to_owned()],
            ..Verdict::default()
        },
        logs: stand.tails(),
        ..Outcome::default()
    }
}

impl Scene<'_> {
    async fn run(&mut self) -> Result<Outcome, String> {
        let holds_asked = self.die_with_runs_in_hand().await?;
        self.facts.disturb().await;
        self.die_at_the_point().await?;
        let after = self.facts.ended().await;
        self.check_old_run().await?;
        self.go_on().await?;
        let kept =
            "SELECT COUNT(*) FROM setting WHERE name = 'zone_rules' AND value NOT LIKE 'moving%'";
        if !holds(PATIENCE, async || self.facts.number(kept).await == 1).await {
            return Err("the zone rules were never kept again".to_owned());
        }
        let far = self.facts.far_due().await;
        let paused = self.pause_all().await?;
        let drained = holds(PATIENCE, async || self.facts.left().await.is_empty()).await;
        let left = self.facts.left().await;
        let late = self.stand.took_a_living_one_for_dead();
        self.end_all(drained).await?;
        let mut tasks = Vec::new();
        for task in &self.tasks {
            let made = if task.name == "extra" {
                self.people.edited()
            } else {
                self.made
            };
            tasks.push(Judged {
                task: task.clone(),
                made,
                paused: paused[task.name],
                rests_from: self.facts.rests_from(task.name).await,
            });
        }
        let mut asked = self.people.runs.clone();
        asked.extend(holds_asked);
        let evidence = Evidence {
            tasks,
            runs: self.facts.runs().await,
            effects: self.starts(),
            ended: [after, self.facts.ended().await],
            left,
            asked,
            drained: self.plan.is_at_the_end(),
            doubted: self.stand.nodes.iter().any(|n| n.said("is in doubt")),
            late,
        };
        let mut verdict = evidence.judge();
        let anchor = self
            .tasks
            .iter()
            .find(|t| t.kind == Kind::Far)
            .map(|t| t.anchor_ms);
        if Some(far) != anchor {
            verdict
                .wrong
                .push(format!("the far task is due at {far}, not at {anchor:?}"));
        }
        Ok(Outcome {
            verdict,
            killed: usize::from(self.plan.fate == Fate::Dies),
            stopped: usize::from(self.plan.fate == Fate::Stops),
            takeover_ms: self.takeover_ms,
            restarts: self.stand.nodes.len() - self.first,
            ..Outcome::default()
        })
    }

    /// The first process holds two runs when it is killed: one that may start again, one that may not. A third one it
    /// has refused, and nobody else can do it. A fourth one waits for a year that nobody waits for.
    async fn die_with_runs_in_hand(&mut self) -> Result<BTreeMap<&'static str, String>, String> {
        let asked = ask_first(&self.stand).await?;
        let blocked = "SELECT COUNT(*) FROM parked WHERE limit_key LIKE 'needs:%'";
        if !holds(PATIENCE, async || self.facts.number(blocked).await == 1).await {
            return Err("what nobody can do was never blocked".to_owned());
        }
        let begun = self.tasks.iter().map(|t| t.anchor_ms).min().unwrap_or(0) + 1_000;
        let (scene, effects) = (self.stand.scene.clone(), self.effects);
        let is_held = async || {
            let starts = effects.of(&scene);
            let held = |name: &str| starts.iter().any(|e| e.task == name);
            held("hold") && held("hold-once") && held("tick") && wall_now().as_ms() > begun
        };
        if !holds(PATIENCE, is_held).await {
            return Err("the first process never held its runs".to_owned());
        }
        let kept =
            "SELECT COUNT(*) FROM setting WHERE name = 'zone_rules' AND value NOT LIKE 'moving%'";
        if !holds(PATIENCE, async || self.facts.number(kept).await == 1).await {
            return Err("the first leader never kept its zone rules".to_owned());
        }
        for node in self.stand.living() {
            node.process.kill9();
        }
        Ok(asked)
    }

    /// Starts the armed process, and keeps people asking until it is dead, or stands.
    async fn die_at_the_point(&mut self) -> Result<(), String> {
        let armed = Some((self.plan.point, self.plan.fate));
        let name = if !self.stand.is_cluster() {
            self.stand.start("n1", Role::All, armed);
            "n1"
        } else if self.plan.is_workers() {
            self.stand.start("s1", Role::Scheduler, None);
            self.stand.start("w1", Role::Worker, armed);
            "w1"
        } else {
            self.stand.start("s1", Role::Scheduler, armed);
            self.stand.start("w1", Role::Worker, None);
            "s1"
        };
        let mut asked_to_end = false;
        let deadline = wall_now().plus(PATIENCE);
        while self.stand.node(name).process.is_alive() {
            if wall_now() > deadline {
                let (point, wish) = (self.plan.point.name(), self.people.wish());
                let state = self.facts.state().await.join("; ");
                return Err(format!(
                    "{point} was never reached; people wish {wish}; {state}"
                ));
            }
            if self.plan.fate == Fate::Stops && self.stand.node(name).reached(self.plan.point) {
                return self.wake_later(name).await;
            }
            self.successor_waits();
            self.step_or_stop(name).await;
            if self.people.is_content() && self.plan.is_at_the_end() && !asked_to_end {
                self.stand.node(name).process.sigterm();
                asked_to_end = true;
            }
            let needs_an_end = [Failpoint::TermEnded, Failpoint::LockReleased];
            if self.people.is_content() && needs_an_end.contains(&self.plan.point) {
                self.people.resign_again();
            }
            pause(Duration::from_millis(20)).await;
        }
        let node = self.stand.node(name);
        let status = node.process.wait_exit(Duration::from_secs(5));
        let killed = status.is_some_and(|s| {
            use std::os::unix::process::ExitStatusExt as _;
            s.signal() == Some(9)
        });
        if !killed || !node.reached(self.plan.point) {
            return Err(format!("{name} did not die at its point: {status:?}"));
        }
        Ok(())
    }

    /// Lets people ask; a process that stands does not answer, which must not be waited for.
    async fn step_or_stop(&mut self, name: &str) {
        let (stand, plan) = (&self.stand, self.plan);
        let stops = async {
            let stands = async || stand.node(name).reached(plan.point);
            if plan.fate == Fate::Dies || !holds(PATIENCE, stands).await {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.people.step(stand) => {}
            () = stops => {}
        }
    }

    /// In a cluster a second scheduler waits for the lock, once the first one leads. If it gets the lead before the first
    /// one has reached its point (a leader was asked to resign, or was slow), it is ended: the lead goes back.
    fn successor_waits(&mut self) {
        if !self.stand.is_cluster() || self.plan.is_workers() {
            return;
        }
        let successor = self.stand.nodes.iter().rfind(|n| n.name == "s2");
        match successor {
            None if self.stand.node("s1").said("leading: term") => {
                self.stand.start("s2", Role::Scheduler, None);
            }
            Some(s2) if s2.said("leading: term") => s2.process.kill9(),
            _ => {}
        }
    }

    /// A stopped process stays so until others took over what was its own; then it goes on where it stood.
    async fn wake_later(&mut self, name: &str) -> Result<(), String> {
        let stopped = wall_now();
        if !self.plan.is_workers() && !self.stand.living().any(|n| n.name == "s2") {
            self.stand.start("s2", Role::Scheduler, None);
        }
        let stand = &self.stand;
        let fact = if self.plan.is_workers() {
            "node `w1` was silent for its lease"
        } else {
            "leading: term"
        };
        let others = async || {
            let mut others = stand.living().filter(|n| n.name != name);
            others.any(|n| (n.name == "s2" || self.plan.is_workers()) && n.said(fact))
        };
        if !holds(PATIENCE, others).await {
            return Err(format!("nobody took over from {name}, which stands"));
        }
        if !self.plan.is_workers() {
            self.takeover_ms = wall_now().as_ms() - stopped.as_ms();
        }
        pause(STOPPED).await;
        self.stand.node(name).process.sigcont();
        Ok(())
    }

    /// What a death inside the transaction must undo, and one after its commit must not.
    async fn check_old_run(&mut self) -> Result<(), String> {
        let is_there = self
            .facts
            .number(&format!(
                "SELECT COUNT(*) FROM run_history WHERE id = {OLD_RUN}"
            ))
            .await
            == 1;
        let must_be = self.plan.point != Failpoint::PruneCommitted;
        if is_there == must_be {
            return Ok(());
        }
        Err(format!(
            "the old run is {}there",
            if is_there { "" } else { "not " }
        ))
    }

    /// Starts what died again, without its point, and lets people have the rest of their wishes.
    async fn go_on(&mut self) -> Result<(), String> {
        if !self.stand.is_cluster() {
            self.stand.start("n2", Role::All, None);
        } else {
            for name in ["s1", "w1"] {
                let is_there = self.stand.living().any(|n| n.name == name);
                let role = if name == "w1" {
                    Role::Worker
                } else {
                    Role::Scheduler
                };
                if !is_there {
                    self.stand.start(name, role, None);
                }
            }
        }
        let started = wall_now().as_ms();
        let deadline = wall_now().plus(PATIENCE);
        while !self.people.is_content() {
            if wall_now() > deadline {
                let (wish, state) = (self.people.wish(), self.facts.state().await.join("; "));
                return Err(format!("people were never answered: {wish}; {state}"));
            }
            self.people.step(&self.stand).await;
            pause(Duration::from_millis(20)).await;
        }
        self.tasks.extend(self.people.new_tasks());
        let (scene, effects) = (self.stand.scene.clone(), self.effects);
        let goes_on = async || {
            let starts = effects.of(&scene);
            let since = |name: &str| starts.iter().any(|e| e.task == name && e.at_ms > started);
            since("tick") && since("once") && since("extra")
        };
        if holds(PATIENCE, goes_on).await {
            Ok(())
        } else {
            Err("the load does not go on after the restart".to_owned())
        }
    }

    async fn pause_all(&mut self) -> Result<BTreeMap<&'static str, Asked>, String> {
        let mut paused = BTreeMap::new();
        for task in &self.tasks {
            let path = format!("/tasks/{}/pause", task.name);
            let asked_ms = wall_now().as_ms();
            let stand = &self.stand;
            // One that people deleted has no schedule, and nothing to pause.
            let answered = async || match stand.ask("POST", &path, None).await {
                Some((200, _)) => true,
                Some((404, _)) => task.period_ms.is_none(),
                _ => false,
            };
            if !holds(PATIENCE, answered).await {
                return Err(format!("{} could not be paused", task.name));
            }
            let answered_ms = wall_now().as_ms();
            paused.insert(
                task.name,
                Asked {
                    asked_ms,
                    answered_ms,
                },
            );
        }
        Ok(paused)
    }

    /// Asks every process to end; a scene that is stuck already need not wait for that.
    async fn end_all(&self, drained: bool) -> Result<(), String> {
        let living: Vec<_> = self.stand.living().collect();
        for node in &living {
            node.process.sigterm();
        }
        for node in living.iter().filter(|_| drained) {
            holds(Duration::from_secs(30), async || !node.process.is_alive()).await;
            match node.process.wait_exit(Duration::ZERO) {
                Some(status) if status.success() => {}
                status => return Err(format!("{} ended with {status:?}", node.name)),
            }
        }
        Ok(())
    }

    /// Every start of every attempt, by HTTP or as a program.
    fn starts(&self) -> Vec<Effect> {
        let mut starts = self.effects.of(&self.stand.scene);
        let log = self.stand.folder.join("program.sh.log");
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let read = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [key, run, attempt] = words.as_slice() else {
                return None;
            };
            Some(Effect {
                scene: self.stand.scene.clone(),
                task: "program".to_owned(),
                key: (*key).to_owned(),
                run: (*run).to_owned(),
                attempt: attempt.parse().ok()?,
                at_ms: i64::MAX,
            })
        };
        starts.extend(text.lines().filter_map(read));
        starts
    }
}
