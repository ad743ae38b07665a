//! The verdict on one scene, from what was gathered outside the product: every instant has one answer, no attempt
//! started twice, nothing waits for ever, the counts agree, and what had ended did not change. Pure functions.

use std::collections::{BTreeMap, BTreeSet};

use super::effects::Effect;
use super::facts::{Run, id_of, state};
use super::load::{Asked, Kind, Task, instants};

/// `reason` as the store keeps it.
pub const LOST: i64 = 3;
const HANDED_OVER: i64 = 4;
const PAUSED: i64 = 15;
/// Attempts that may die with their worker.
pub const LOSSES_MAX: i64 = 3;

/// All that was gathered.
pub struct Evidence {
    /// The tasks.
    pub tasks: Vec<Judged>,
    /// What the store says of every run.
    pub runs: Vec<Run>,
    /// Every start.
    pub effects: Vec<Effect>,
    /// History right after the death, and at the end.
    pub ended: [Vec<String>; 2],
    /// What is left of what must be gone.
    pub left: Vec<String>,
    /// The runs that people got for their keys.
    pub asked: BTreeMap<&'static str, String>,
    /// Whether a worker was asked to end, and so gave runs back.
    pub drained: bool,
    /// Whether a worker said that a claim of its is in doubt: that uses attempts up, and counts as neither failure nor
    /// loss. On a busy machine the store may not answer in time.
    pub doubted: bool,
    /// Whether a process that lived was taken for dead: it loses its attempts beside those that the scene ends.
    pub late: bool,
}

/// A task with its life.
pub struct Judged {
    /// The task.
    pub task: Task,
    /// When it was made.
    pub made: Asked,
    /// When it was paused at last.
    pub paused: Asked,
    /// From which instant on it rests, by the store: the row of these is written when the rest ends.
    pub rests_from: i64,
}

/// What a scene counted, and what is wrong.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    /// Instants that must have an answer.
    pub instants: usize,
    /// Of them, those without one.
    pub lost: usize,
    /// Instants with two answers, attempts that started twice, at-most-once runs that did.
    pub doubled: usize,
    /// Runs and rows that are left.
    pub wedged: usize,
    /// Every broken rule.
    pub wrong: Vec<String>,
}

impl Evidence {
    /// Every verdict.
    pub fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for judged in &self.tasks {
            self.one_answer_each(judged, &mut verdict);
        }
        self.started_once(&mut verdict);
        self.ended_well(&mut verdict);
        self.counts_agree(&mut verdict);
        self.requests_answered(&mut verdict);
        let after: BTreeSet<&String> = self.ended[1].iter().collect();
        for row in self.ended[0].iter().filter(|row| !after.contains(row)) {
            verdict.wrong.push(format!("an ended run changed: {row}"));
        }
        verdict.wedged = self.left.len();
        let left = self.left.iter().map(|left| format!("left behind: {left}"));
        verdict.wrong.extend(left);
        verdict
    }

    fn one_answer_each(&self, judged: &Judged, verdict: &mut Verdict) {
        let task = &judged.task;
        let (must, may) = instants(task, judged.made, judged.paused);
        verdict.instants += must.len();
        let rows: Vec<&Run> = self
            .runs
            .iter()
            .filter(|run| run.task == task.name && run.scheduled)
            .collect();
        let covers = |run: &&&Run, at: i64| {
            run.due_ms == at || (run.skipped.1 > 0 && run.due_ms <= at && at <= run.skipped.0)
        };
        for at in must.iter().chain(&may) {
            let rests = judged.rests_from > 0 && *at >= judged.rests_from;
            let count = rows.iter().filter(|run| covers(run, *at)).count() + usize::from(rests);
            if count == 0 && must.contains(at) {
                verdict.lost += 1;
                verdict
                    .wrong
                    .push(format!("{} at {at}: no answer", task.name));
            }
            if count > 1 {
                verdict.doubled += 1;
                verdict
                    .wrong
                    .push(format!("{} at {at}: {count} answers", task.name));
            }
        }
        for run in rows {
            if !must.contains(&run.due_ms) && !may.contains(&run.due_ms) {
                verdict
                    .wrong
                    .push(format!("{} at {}: no instant of it", task.name, run.due_ms));
            }
        }
    }

    fn started_once(&self, verdict: &mut Verdict) {
        let runs: BTreeMap<i64, &Run> = self.runs.iter().map(|run| (run.id, run)).collect();
        let mut seen = BTreeSet::new();
        let mut keys: BTreeMap<&str, u32> = BTreeMap::new();
        for effect in &self.effects {
            if !seen.insert((&effect.run, effect.attempt)) {
                verdict.doubled += 1;
                let what = format!("{} attempt {} started twice", effect.key, effect.attempt);
                verdict.wrong.push(what);
            }
            *keys.entry(&effect.key).or_default() += 1;
            let Some(run) = id_of(&effect.run).and_then(|id| runs.get(&id)) else {
                verdict
                    .wrong
                    .push(format!("{} started and is not in the store", effect.key));
                continue;
            };
            if effect.attempt > run.attempt || run.task != effect.task {
                verdict
                    .wrong
                    .push(format!("{} is another run in the store", effect.key));
            }
            if effect.at_ms < run.due_ms {
                verdict.wrong.push(format!("{} started early", effect.key));
            }
        }
        let once: BTreeSet<&str> = self
            .tasks
            .iter()
            .map(|judged| &judged.task)
            .filter(|task| task.kind == Kind::Once)
            .map(|task| task.name)
            .collect();
        for effect in self
            .effects
            .iter()
            .filter(|e| once.contains(e.task.as_str()))
        {
            if keys.get(effect.key.as_str()).is_some_and(|n| *n > 1) {
                verdict.doubled += 1;
                verdict
                    .wrong
                    .push(format!("{} started more than once", effect.key));
            }
        }
    }

    fn ended_well(&self, verdict: &mut Verdict) {
        let started: BTreeSet<(i64, i64)> = self
            .effects
            .iter()
            .filter_map(|e| Some((id_of(&e.run)?, e.attempt)))
            .collect();
        let kinds: BTreeMap<&str, Kind> = self
            .tasks
            .iter()
            .map(|judged| (judged.task.name, judged.task.kind))
            .collect();
        for run in &self.runs {
            let kind = kinds.get(run.task.as_str()).copied();
            let had_effect = started.contains(&(run.id, run.attempt));
            let good = match (kind, run.state, run.reason) {
                (Some(Kind::Order), state::SUCCEEDED, HANDED_OVER) => true,
                (Some(Kind::Well | Kind::Once | Kind::Program), state::SUCCEEDED, 0) => had_effect,
                (Some(Kind::Once), state::FAILED, LOST) => run.losses > 0 || self.drained,
                (Some(Kind::Well | Kind::Program), state::FAILED, LOST) => {
                    self.late && run.losses == LOSSES_MAX
                }
                (Some(Kind::Never), state::FAILED, 1) => had_effect && run.failures == 2,
                (Some(Kind::Cancelled), state::CANCELLED, _) => true,
                (Some(_), state::SKIPPED, PAUSED) => run.task == "tick" && run.attempt == 1,
                _ => false,
            };
            if run.live || !good {
                let what = format!(
                    "{} at {}: state {} reason {} attempt {} losses {}{}{}",
                    run.task,
                    run.due_ms,
                    run.state,
                    run.reason,
                    run.attempt,
                    run.losses,
                    if had_effect { "" } else { ", without effect" },
                    if run.live { ", and live" } else { "" }
                );
                verdict.wrong.push(what);
            }
        }
    }

    /// An attempt more for each that failed, was lost, or was given back; the store has a row for each of the first two.
    fn counts_agree(&self, verdict: &mut Verdict) {
        for run in &self.runs {
            let bad = run.failures + run.losses;
            let last = i64::from(run.state != state::FAILED);
            let given_back = run.attempt - bad - last;
            let fits = given_back == 0
                || (given_back == 1 && self.drained)
                || (given_back > 0 && self.doubted);
            // A drain ends an at-most-once run for good, which counts as no loss.
            let drained_once = self.drained && run.state == state::FAILED && run.reason == LOST;
            // What its worker refuses is given back as often as a new one is asked; each refusal is noted.
            let refused = run.task == "strange";
            let noted =
                run.noted == bad || (refused && (bad..=bad + given_back).contains(&run.noted));
            if !(fits || refused || drained_once) || !noted || run.losses > LOSSES_MAX {
                verdict.wrong.push(format!(
                    "{} at {}: attempt {}, {} failures, {} losses, {} noted",
                    run.task, run.due_ms, run.attempt, run.failures, run.losses, run.noted
                ));
            }
        }
    }

    /// Each key stands for one run, and there are no other requests.
    fn requests_answered(&self, verdict: &mut Verdict) {
        let known: BTreeSet<i64> = self.asked.values().filter_map(|id| id_of(id)).collect();
        let there: BTreeSet<i64> = self
            .runs
            .iter()
            .filter(|run| !run.scheduled)
            .map(|run| run.id)
            .collect();
        verdict.lost += known.difference(&there).count();
        verdict.doubled += there.difference(&known).count();
        if known != there {
            verdict
                .wrong
                .push(format!("asked for {known:?}, in the store {there:?}"));
        }
    }
}
