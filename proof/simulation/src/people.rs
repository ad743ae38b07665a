//! What people do meanwhile, through the production control functions over the true store: define, trigger, submit,
//! cancel, pause, edit, delete, resign. They are told at once what became of it, so the oracle knows every schedule
//! exactly; what the engine was about to do with the old state is what is tested.

mod delays;
mod holds;

use std::sync::Arc;
use std::time::Duration;

use campanile_ask::{
    Apply, Backfill, Control, Definitions, Editor, Error, KeyQuery, Limit, NewPause, NewRun, Parts,
};
use campanile_core::actor::Actor;
use campanile_core::decide::permits::LimitKey;
use campanile_core::id::{Mint, RunId};
use campanile_core::port::clock::Clock;
use campanile_core::run::Origin;
use campanile_core::system::{Pool, Random};
use campanile_core::task::{StartMode, Task, TaskSpec};
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::time::Timestamp;
use serde_json::json;
use tokio::runtime::Runtime;

use self::holds::Holding;
use crate::net::{HOME, Net};
use crate::oracle::{Deleted, Grid, Known, Span};
use crate::plan::{Plan, between, payload, percent, pick, schedule};
use crate::process::Services;
use crate::tally::{Fault, Seen};
use crate::time::NodeClock;

/// The people.
pub struct People {
    net: Arc<Net>,
    control: Editor,
    services: Arc<Services>,
    /// What they know of the tasks.
    pub known: Vec<Known>,
    keyed: Option<(NewRun, RunId)>,
    paused: Vec<(String, u64)>,
    held: Option<Holding>,
}

impl People {
    /// People before a control of their own.
    pub fn new(net: &Arc<Net>, services: &Arc<Services>, dice: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(NodeClock::new(Arc::clone(&net.time), 1));
        let random = Arc::new(Random::from_seed(dice));
        let control = Control::new(Parts {
            store: Arc::clone(&services.store) as _,
            lock: Arc::new(services.lock.handle()),
            time: DatabaseTime::new(Arc::clone(&clock)),
            clock,
            mint: Arc::new(Mint::new(Arc::clone(&random))),
            random,
            metrics: Arc::default(),
            pool: Pool::inline(),
            on_work: Arc::new(|| {}),
        });
        Self {
            net: Arc::clone(net),
            control: control.by(Actor::new("people", "the simulation")),
            services: Arc::clone(services),
            known: Vec::new(),
            keyed: None,
            paused: Vec::new(),
            held: None,
        }
    }

    /// Defines the tasks of the plan.
    pub fn define(&mut self, home: &Runtime, plan: &Plan) {
        let limits = plan.group_limit.map(limit_of_group);
        let wanted = Definitions {
            tasks: plan.tasks.iter().map(|t| t.spec.clone()).collect(),
            limits: limits.into_iter().collect(),
            ..Definitions::default()
        };
        let how = Apply::default();
        if let Err(error) = home.block_on(self.control.apply(&wanted, &how)) {
            return self
                .net
                .violation(format!("the tasks were not applied: {error}"));
        }
        for planned in &plan.tasks {
            let Some(task) = self.look(home, &planned.spec.name) else {
                continue;
            };
            let span = planned.grid.map(|grid| Span {
                grid,
                from_ms: task.created_at.as_ms(),
                until_ms: None,
                edited: false,
            });
            self.known.push(Known {
                id: task.id,
                name: task.spec.name.clone(),
                exclusive: task.spec.is_exclusive(),
                at_most_once: task.spec.start == StartMode::AtMostOnce,
                chained: task.spec.after().is_some(),
                spans: span.into_iter().collect(),
                deleted: None,
            });
        }
    }

    fn look(&self, home: &Runtime, name: &str) -> Option<Task> {
        match home.block_on(self.control.task(name)) {
            Ok(row) => Some(row.task),
            Err(error) => {
                self.net
                    .violation(format!("task {name} is not there: {error}"));
                None
            }
        }
    }

    fn some_task(&self, dice: &Random) -> Option<usize> {
        let here = self
            .known
            .iter()
            .enumerate()
            .filter(|(_, k)| k.deleted.is_none());
        let here: Vec<usize> = here.map(|(at, _)| at).collect();
        (!here.is_empty()).then(|| pick(dice, &here))
    }

    /// Does something.
    pub fn act(&mut self, home: &Runtime, dice: &Random) {
        let Some(at) = self.some_task(dice) else {
            return;
        };
        let name = self.known[at].name.clone();
        match dice.below(22) {
            0..=6 => self.trigger(home, dice, &name),
            7..=8 => self.submit_later(home, dice, &name),
            9 => {
                if percent(dice, 50) {
                    self.submit_again(home);
                } else {
                    self.move_keyed(home, dice);
                }
            }
            10..=11 => self.cancel_some(home, dice),
            12..=13 => self.pause(home, dice, &name),
            14..=15 => self.edit(home, dice, &name),
            16 => self.reschedule(home, dice, at),
            17 => {
                if percent(dice, 30) {
                    self.delete(home, at);
                }
            }
            18 => self.set_limit(home, dice),
            19 => self.backfill(home, dice, &name),
            20 => self.hold(home, dice),
            _ => self.resign(home),
        }
    }

    fn done<T>(&self, what: &'static str, name: &str, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.net.event(HOME, what, || name.to_owned());
                Some(answer)
            }
            Err(Error::Unavailable(error)) => {
                self.net.violation(format!("{what} {name}: {error}"));
                None
            }
            Err(error) => {
                self.net.event(HOME, what, || format!("{name}: {error}"));
                None
            }
        }
    }

    fn trigger(&self, home: &Runtime, dice: &Random, name: &str) {
        let payload = match dice.below(12) {
            0 => {
                self.net
                    .fault(HOME, Fault::PoisonPayload, || name.to_owned());
                Some(json!({"ms": "not a number"}))
            }
            1 => Some(json!({"kills": true})),
            2..=7 => Some(payload(dice)),
            _ => None,
        };
        let answer = home.block_on(self.control.trigger(name, payload));
        self.done("trigger", name, answer);
    }

    fn submit_later(&mut self, home: &Runtime, dice: &Random, name: &str) {
        let later = i64::try_from(dice.below(30_000)).unwrap_or(0);
        let request = NewRun {
            task: Some(name.to_owned()),
            run_at: Some(Timestamp::from_ms(self.net.time.wall().as_ms() + later)),
            idempotency_key: Some(format!("key {}", dice.next())),
            ..NewRun::default()
        };
        let answer = home.block_on(self.control.submit_one(&request));
        if let Some(submitted) = self.done("submit", name, answer) {
            self.keyed = Some((request, submitted.run));
        }
    }

    fn submit_again(&mut self, home: &Runtime) {
        let Some((request, first)) = self.keyed.take() else {
            return;
        };
        let answer = home.block_on(self.control.submit_one(&request));
        let Some(second) = self.done("submit again", &first.to_string(), answer) else {
            return;
        };
        if second.run != first || second.created {
            let what = format!("one idempotency key, two runs: {first} and {}", second.run);
            self.net.violation(what);
        }
        self.net.seen(HOME, Seen::SameKey, 1, || first.to_string());
    }

    /// The run of a key starts at another instant, or has begun to.
    fn move_keyed(&mut self, home: &Runtime, dice: &Random) {
        let Some((request, run)) = self.keyed.clone() else {
            return;
        };
        let query = KeyQuery {
            key: request.idempotency_key.clone().unwrap_or_default(),
            ..KeyQuery::default()
        };
        let found = match home.block_on(self.control.run_of_key(&query)) {
            Ok(found) => found,
            // Retention has taken it.
            Err(Error::NotFound { .. }) => return,
            Err(error) => return self.net.violation(format!("the key of {run}: {error}")),
        };
        if found != run {
            return self
                .net
                .violation(format!("the key of {run} stands for {found}"));
        }
        let later = i64::try_from(dice.below(20_000)).unwrap_or(0);
        let to = Timestamp::from_ms(self.net.time.wall().as_ms() + later - 2_000);
        let answer = home.block_on(self.control.move_run(run, to));
        let seen = match answer {
            Ok(_) => Seen::MovedByKey,
            Err(_) => Seen::MoveRefused,
        };
        self.net.seen(HOME, seen, 1, || run.to_string());
        self.done("move", &run.to_string(), answer);
        // What says something else is not the same request.
        let other = NewRun {
            priority: Some(9),
            ..request
        };
        self.submit_otherwise(home, &other, run);
    }

    fn submit_otherwise(&self, home: &Runtime, other: &NewRun, run: RunId) {
        match home.block_on(self.control.submit_one(other)) {
            Err(Error::KeyTaken { run: first, .. }) if first == run => {
                self.net.seen(HOME, Seen::KeyRefused, 1, || run.to_string());
            }
            // Its task may be gone or disabled.
            Err(Error::NotFound { .. } | Error::Conflict(_)) => {}
            answer => {
                let what = format!("a request with the key of {run} and other content: {answer:?}");
                self.net.violation(what);
            }
        }
    }

    fn cancel_some(&self, home: &Runtime, dice: &Random) {
        let runs = self.services.store.snapshot().runs;
        let live: Vec<RunId> = runs
            .iter()
            .filter(|r| !r.state.is_terminal())
            .map(|r| r.id)
            .collect();
        if !live.is_empty() {
            let run = pick(dice, &live);
            let answer = home.block_on(self.control.cancel(run));
            self.done("cancel", &run.to_string(), answer);
        }
    }

    fn pause(&mut self, home: &Runtime, dice: &Random, name: &str) {
        // Rather one of which something is planned ahead: that is taken back.
        let names = self.known.iter().map(|k| &k.name);
        let ahead: Vec<&String> = names
            .filter(|name| !self.planned(name).is_empty())
            .collect();
        let name = if ahead.is_empty() || percent(dice, 30) {
            name.to_owned()
        } else {
            pick(dice, &ahead).clone()
        };
        let name = name.as_str();
        let before = self.planned(name);
        let length_ms = between(dice, 100, 15_000);
        let by_itself = percent(dice, 40);
        let end = self.net.time.wall().plus(Duration::from_millis(length_ms));
        let pause = NewPause {
            reason: by_itself.then(|| "for a while".to_owned()),
            until: by_itself.then_some(end),
        };
        let answer = home.block_on(self.control.pause_with(name, &pause));
        self.done("pause", name, answer);
        self.note_taken_back(&before, name);
        // What ends by itself is resumed by nobody before the faults end.
        let until = match by_itself {
            true => u64::MAX,
            false => self.net.time.now_ms() + length_ms,
        };
        self.paused.push((name.to_owned(), until));
    }

    /// The runs of a task that wait for an instant that is still to come.
    fn planned(&self, name: &str) -> Vec<RunId> {
        let (now, known) = (self.net.time.wall(), &self.known);
        let task = known.iter().find(|k| k.name == name && k.deleted.is_none());
        let ahead = |r: &&campanile_core::run::Run| {
            r.origin == Origin::Schedule
                && task.is_some_and(|k| r.task == Some(k.id))
                && r.due_at > now
        };
        let runs = self.services.store.snapshot().runs;
        runs.iter().filter(ahead).map(|r| r.id).collect()
    }

    fn note_taken_back(&self, before: &[RunId], name: &str) {
        let after = self.planned(name);
        let gone = before.iter().filter(|run| !after.contains(run)).count();
        self.net
            .seen(HOME, Seen::TakenBack, gone, || name.to_owned());
    }

    /// Resumes what has rested long enough; all of it, if somebody says so.
    pub fn resume_rested(&mut self, home: &Runtime, all: bool) {
        let now = self.net.time.now_ms();
        let due = self
            .paused
            .extract_if(.., |(_, until)| all || *until <= now);
        for (name, _) in due.collect::<Vec<_>>() {
            let answer = home.block_on(self.control.resume(&name));
            self.done("resume", &name, answer);
        }
    }

    /// Releases what the store refused, now that it takes it.
    pub fn release_all(&self, home: &Runtime) {
        let aside = match home.block_on(self.control.quarantine(None, 1_000)) {
            Ok(page) => page,
            Err(error) => return self.net.violation(format!("the quarantine: {error}")),
        };
        for row in aside.items {
            let answer = home.block_on(self.control.release(row.entry.id));
            self.net
                .seen(HOME, Seen::ReleasedAside, 1, || row.entry.what.clone());
            self.done("release", &row.entry.what, answer);
        }
    }

    /// Lets every schedule rest for good.
    pub fn pause_all(&self, home: &Runtime) {
        for known in self.known.iter().filter(|k| k.deleted.is_none()) {
            let answer = home.block_on(self.control.pause(&known.name));
            self.done("pause", &known.name, answer);
        }
    }

    /// Asks for what was due lately to run after all.
    fn backfill(&self, home: &Runtime, dice: &Random, name: &str) {
        let now = self.net.time.wall();
        let back = Duration::from_millis(between(dice, 2_000, 40_000));
        let what = Backfill {
            from: now.minus(back),
            until: now.minus(Duration::from_millis(100)),
            all: percent(dice, 20),
            dry_run: false,
            per_second: 10,
        };
        let answer = home.block_on(self.control.backfill(name, &what));
        let made = self.done("backfill", name, answer).map_or(0, |a| a.created);
        self.net
            .seen(HOME, Seen::Backfilled, made, || name.to_owned());
    }

    fn put(&self, home: &Runtime, what: &'static str, spec: &TaskSpec) -> Option<Task> {
        let answer = home.block_on(self.control.put_task(spec));
        self.done(what, &spec.name, answer).map(|(row, _)| row.task)
    }

    /// Changes what does not touch its instants.
    fn edit(&self, home: &Runtime, dice: &Random, name: &str) {
        let Some(task) = self.look(home, name) else {
            return;
        };
        let spec = TaskSpec {
            payload: payload(dice),
            priority: u8::try_from(dice.below(10)).unwrap_or(4),
            ..task.spec
        };
        self.put(home, "edit", &spec);
    }

    fn reschedule(&mut self, home: &Runtime, dice: &Random, at: usize) {
        let Some(task) = self.look(home, &self.known[at].name) else {
            return;
        };
        if task.spec.schedule.is_none() || task.spec.paused {
            return;
        }
        let (text, anchor, grid) = schedule(dice);
        if self.known[at].chained {
            return self.change_delay(home, task, grid);
        }
        let spec = TaskSpec {
            schedule: Some(text.as_str().into()),
            anchor,
            ..task.spec
        };
        if self.put(home, "change of schedule", &spec).is_some() {
            self.changed(at, grid);
        }
    }

    fn changed(&mut self, at: usize, grid: Grid) {
        let now = self.net.time.wall().as_ms();
        let spans = &mut self.known[at].spans;
        if let Some(last) = spans.last_mut() {
            last.until_ms = Some(now);
        }
        spans.push(Span {
            grid,
            from_ms: now,
            until_ms: None,
            edited: true,
        });
    }

    fn delete(&mut self, home: &Runtime, at: usize) {
        let name = self.known[at].name.clone();
        let told = home.block_on(self.control.deletion(&name));
        let Some(told) = self.done("look at a deletion", &name, told) else {
            return;
        };
        if told.confirm.is_some() {
            let unasked = home.block_on(self.control.delete_task(&name, None));
            if !matches!(unasked, Err(Error::Conflict(_))) {
                let what = format!("{name} was deleted unasked, with runs that wait for it");
                self.net.violation(what);
            }
        }
        let confirm = told.confirm.as_deref();
        let answer = home.block_on(self.control.delete_task(&name, confirm));
        if self.done("delete", &name, answer).is_some() {
            let known = &mut self.known[at];
            let now = self.net.time.wall().as_ms();
            let starts = self.net.ledger().starts.len();
            let runs = self.services.store.snapshot().runs;
            known.deleted = Some(Deleted::of(known.id, &runs, starts));
            if let Some(last) = known.spans.last_mut() {
                last.until_ms = Some(now);
            }
        }
    }

    fn set_limit(&self, home: &Runtime, dice: &Random) {
        let wanted = Definitions {
            limits: vec![limit_of_group(
                1 + u32::try_from(dice.below(3)).unwrap_or(0),
            )],
            ..Definitions::default()
        };
        let answer = home.block_on(self.control.apply(&wanted, &Apply::default()));
        self.done("limit", "g", answer);
    }

    fn resign(&self, home: &Runtime) {
        let answer = home.block_on(self.control.resign());
        self.done("resign", "", answer);
    }
}

fn limit_of_group(max_running: u32) -> Limit {
    Limit {
        limit: LimitKey::Group("g".to_owned()),
        max_running,
    }
}
