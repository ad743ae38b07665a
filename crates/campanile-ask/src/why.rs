//! "Why did X not run at 02:30?" answered from the ledger: the row of that instant if there is one, and otherwise what
//! the schedule, the task's history and the leader say. Every answer is a verdict for programs and sentences for people.

mod chain;
mod look;
mod meant;
mod told;

use campanile_access::Right;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::{Timestamp, format_duration};

use self::look::{Seen, around, seen};
use self::meant::{Asked, by_clocks, other_of_two};
use self::told::{
    told_by_deletion, told_by_jitter, told_by_move, told_by_pause, told_by_row, told_by_task,
};
use crate::runs::RunRow;
use crate::{Control, Editor, Error};
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::ask::RunFilter;
use campanile_core::run::{Origin, Run};
use campanile_core::task::Task;
use campanile_schedule::instant::{read, show};

/// What became of an instant, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has a run, which started or ended.
    Ran,
    /// It has a run, which has not started.
    Waiting,
    /// It was skipped, with a reason.
    Skipped,
    /// It has a run that was cancelled before it started.
    Cancelled,
    /// The schedule has no such instant.
    NotAnInstant,
    /// The task was created later.
    NotCreatedYet,
    /// The task is paused.
    Paused,
    /// The task is disabled by its definition.
    Disabled,
    /// The task was deleted before the instant.
    TaskDeleted,
    /// The store refused to record it; it is set aside.
    Quarantined,
    /// The instant is still to come.
    NotDueYet,
    /// It is due, and no leader has planned it yet.
    NotPlannedYet,
    /// It has passed and the ledger has no row of it.
    NoRecord,
}

impl Verdict {
    /// The word in API and CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::NotAnInstant => "not-an-instant",
            Self::NotCreatedYet => "not-created-yet",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::TaskDeleted => "task-deleted",
            Self::Quarantined => "quarantined",
            Self::NotDueYet => "not-due-yet",
            Self::NotPlannedYet => "not-planned-yet",
            Self::NoRecord => "no-record",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    pub task: String,
    /// The instant that was asked about.
    pub instant: Timestamp,
    /// The task's zone, on whose wall the sentences tell instants.
    pub timezone: String,
    /// The answer in one word.
    pub verdict: Verdict,
    /// The row, if the instant has one.
    pub run: Option<RunRow>,
    /// The schedule's last instant before.
    pub previous: Option<Timestamp>,
    /// The schedule's first instant after.
    pub next: Option<Timestamp>,
    /// The answer in sentences.
    pub sentences: Vec<String>,
}

/// So many deleted tasks of one name are looked through.
const FORMER_TASKS_MAX: usize = 100;

/// A task that is asked about, living or not.
struct Subject {
    task: Task,
    deleted_at: Option<Timestamp>,
}

impl Editor {
    /// What became of an instant of a task. `instant` is RFC 3339, a wall time in the task's zone, `last` (the schedule's
    /// latest instant that is not to come) or `next` (its first that is). A deleted task answers too, for what was before
    /// its name went to another.
    ///
    /// # Errors
    /// [`Error::NotFound`]; an instant that can't be read.
    pub async fn why(&self, name: &str, instant: &str) -> Result<Why, Error> {
        self.may(Right::See)?;
        let now = self.control.now().await?;
        let (subject, asked) = self.subject(name, instant, now).await?;
        let (rules, _) = self
            .rules_for(std::slice::from_ref(&subject.task.spec))
            .await?;
        let (looked_at, pool) = (subject.task.clone(), &self.parts.pool);
        let look = move |fuel: &Fuel| seen(&looked_at, asked.at, &rules, fuel);
        let mut seen = pool.run_with(limits::TASK_FUEL * 2, look).await??;
        let task = &subject.task;
        if task.spec.after().is_some() {
            self.look_at_chain(task, &mut seen).await?;
        }
        if asked.dropped {
            seen.what = None;
        }
        let mut why = Why {
            task: task.spec.name.clone(),
            instant: seen.at,
            timezone: task.spec.timezone.clone(),
            verdict: Verdict::NoRecord,
            run: None,
            previous: seen.previous,
            next: seen.next,
            sentences: Vec::new(),
        };
        let row = self.parts.store.occurrence(task.id, seen.at).await?;
        match row.filter(|_| !asked.dropped) {
            Some(run) => self.tell_row(&mut why, task, run, now).await?,
            None => self.tell_rest(&mut why, &subject, &seen, now).await?,
        }
        if why.verdict == Verdict::NotAnInstant {
            let other = other_of_two(task, seen.at).filter(|_| asked.told.is_none());
            why.sentences.extend(other);
        } else {
            why.sentences.extend(told_by_jitter(task, seen.at));
        }
        why.sentences.extend(asked.told);
        self.tell_hold_and_pause(&mut why, task).await?;
        why.sentences.extend(told_by_move(task, &seen));
        let backfills = self.told_by_backfills(task, seen.at).await?;
        why.sentences.extend(backfills);
        Ok(why)
    }

    /// Who is asked about: the task that has the name and lived at the instant, or had it then; else the one that has
    /// it now, or had it last.
    async fn subject(
        &self,
        name: &str,
        instant: &str,
        now: Timestamp,
    ) -> Result<(Subject, Asked), Error> {
        let mut latest = None;
        if let Some(task) = self.lookup_task(name).await? {
            // Before anything of its instants is told.
            self.may_task(Right::See, &task.spec)?;
            let asked = self.read_instant(&task, instant, now).await?;
            let lived = asked.at >= task.created_at;
            let subject = Subject {
                task,
                deleted_at: None,
            };
            if lived {
                return Ok((subject, asked));
            }
            latest = Some((subject, asked));
        }
        let former = self.parts.store.former_tasks(name, FORMER_TASKS_MAX);
        for former in former.await? {
            self.may_task(Right::See, &former.task.spec)?;
            let asked = self.read_instant(&former.task, instant, now).await?;
            let lived = asked.at >= former.task.created_at;
            let subject = Subject {
                task: former.task,
                deleted_at: Some(former.deleted_at),
            };
            if lived {
                return Ok((subject, asked));
            }
            latest = latest.or(Some((subject, asked)));
        }
        latest.ok_or_else(|| Error::no_task(name))
    }
}

impl Control {
    /// What waits or is to come does so while the cluster is held, or its task is paused: by whom and why.
    async fn tell_hold_and_pause(&self, why: &mut Why, task: &Task) -> Result<(), Error> {
        let waits = matches!(
            why.verdict,
            Verdict::Waiting | Verdict::NotDueYet | Verdict::NotPlannedYet
        );
        if let Some(held) = self.held().await?.filter(|_| waits) {
            let told = held.told();
            why.sentences
                .push(format!("{}.", told.replacen("the", "The", 1)));
        }
        if why.verdict == Verdict::Paused {
            let pauses = self.parts.store.pauses(&[task.id]).await?;
            why.sentences
                .extend(pauses.get(&task.id).map(|pause| told_by_pause(task, pause)));
        }
        Ok(())
    }

    /// What the row of the instant says.
    async fn tell_row(
        &self,
        why: &mut Why,
        task: &Task,
        run: Run,
        now: Timestamp,
    ) -> Result<(), Error> {
        let row = self.row(run).await?;
        let held_back = self.held_back(&row.run, Some(task), now).await?;
        let instant = why.instant;
        (why.verdict, why.sentences) = told_by_row(&row, task, instant, now, held_back.as_deref());
        if held_back.is_none() {
            let blocked = self.blocked_by(&row, None, Some(task), now).await?;
            let told = blocked.map(|trouble| format!("It is blocked: {trouble}"));
            why.sentences.extend(told);
        }
        why.run = Some(row);
        Ok(())
    }

    /// What is known of an instant without a row.
    async fn tell_rest(
        &self,
        why: &mut Why,
        subject: &Subject,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (task, at) = (&subject.task, why.instant);
        let chained = task.spec.after().is_some() && seen.what.is_none();
        let told = match subject.deleted_at {
            Some(deleted_at) if at > deleted_at => Some(told_by_deletion(task, deleted_at)),
            _ if chained && !task.spec.is_paused() => {
                Some(self.told_no_instant(task, (at, seen.next)).await?)
            }
            _ => told_by_task(task, why, seen.what, now),
        };
        (why.verdict, why.sentences) = match told {
            Some(told) => told,
            None if self.is_set_aside(task.id, at).await? => told_by_quarantine(task),
            None => self.told_by_plan(task, at, now).await?,
        };
        if matches!(why.verdict, Verdict::NotDueYet | Verdict::NotPlannedYet) {
            let next = self.parts.store.next_due(task.id).await?;
            let clock = self.told_by_clock(task, next);
            let sentence = |told: String| match told.strip_prefix("the store") {
                Some(rest) => format!("The store{rest}."),
                None => format!("It is {told}."),
            };
            why.sentences.extend(clock.map(sentence));
        }
        if let Some((name, version)) = &seen.excluded_by {
            why.sentences.push(format!(
                "By the present calendar `{name}` (version {version}) the task does not run at that instant."
            ));
        }
        Ok(())
    }

    /// The instant that is meant: by the schedule, whole, or on the wall of the task's zone.
    async fn read_instant(&self, task: &Task, text: &str, now: Timestamp) -> Result<Asked, Error> {
        let wrong = |message| Error::invalid("at", message);
        let text = text.trim();
        if text != "last" && text != "next" {
            let meant = read(text, &task.spec.timezone, now).map_err(wrong)?;
            return Ok(by_clocks(task, meant));
        }
        let name = &task.spec.name;
        if task.spec.schedule.is_none() {
            return Err(wrong(told::has_no_schedule(name)));
        }
        if task.spec.after().is_some() {
            return self.instant_of_chain(task, text).await.map(Asked::from);
        }
        let (rules, _) = self.rules_for(std::slice::from_ref(&task.spec)).await?;
        let (asked, pool) = (task.clone(), &self.parts.pool);
        let look = move |fuel: &Fuel| around(&asked, now, &rules, fuel);
        let (last, next) = pool.run_with(limits::TASK_FUEL * 2, look).await??;
        let none = |which| {
            wrong(format!(
                "`{name}` has {which}: name an instant, as in 2026-11-22T02:30 or 02:30"
            ))
        };
        if text == "next" {
            return next
                .map(Asked::from)
                .ok_or_else(|| none("no instant to come"));
        }
        let last = last.filter(|at| *at > task.created_at);
        last.map(Asked::from).ok_or_else(|| match next {
            Some(next) => wrong(format!(
                "`{name}` has had no instant yet: its first is {}; ask for `next`",
                show(next, &task.spec.timezone)
            )),
            None => none("had no instant yet"),
        })
    }

    /// Whether the task's next occurrence is set aside, and this instant is that one or comes after it.
    async fn is_set_aside(&self, task: TaskId, at: Timestamp) -> Result<bool, Error> {
        let store = &self.parts.store;
        let aside = store.quarantine(None, limits::PAGE_ROWS_MAX).await?;
        Ok(aside
            .iter()
            .any(|entry| entry.run.is_none() && entry.task == Some(task) && entry.due_at <= at))
    }

    /// What backfills made of the instant.
    async fn told_by_backfills(&self, task: &Task, at: Timestamp) -> Result<Vec<String>, Error> {
        let filter = RunFilter {
            tasks: vec![task.id],
            since: Some(at),
            until: Some(Timestamp::from_ms(at.as_ms() + 1)),
            ..RunFilter::default()
        };
        let runs = self.parts.store.runs(&filter, None, 10).await?;
        let runs = runs
            .into_iter()
            .filter(|run| run.origin == Origin::Backfill);
        let told = runs.map(|run| {
            let state = run.state.as_str();
            format!(
                "A backfill has made run {} for this instant: {state}.",
                run.id
            )
        });
        Ok(told.collect())
    }

    /// A past instant of the schedule without a row: not planned yet, or not kept any more.
    async fn told_by_plan(
        &self,
        task: &Task,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<(Verdict, Vec<String>), Error> {
        let offset = task.spec.jitter_offset();
        let stored = self.parts.store.next_due(task.id).await?;
        let told = show(at, &task.spec.timezone);
        if stored.is_some_and(|due| due.minus(offset) <= at) {
            let leader = self.present_leader().await?;
            let node = leader.node.unwrap_or_default();
            let ago = format_duration(now.since(at.plus(offset)));
            let mut said = vec![format!(
                "{told} was due {ago} ago and has not been planned yet: its due row is waiting for the leader."
            )];
            said.push(if leader.epoch == 0 {
                "Nobody has led yet: start a node with the role `scheduler`.".to_owned()
            } else if leader.alive {
                format!(
                    "Node `{}` leads (term {}); if this lasts, look at its log and at `campanile queue list`: a full \
                     queue holds its tasks back.",
                    node, leader.epoch
                )
            } else {
                format!(
                    "Node `{}` led last (term {}) and is not alive: when a node with the role `scheduler` leads, the \
                     instant runs or is recorded as skipped, by the task's misfire policy.",
                    node, leader.epoch
                )
            });
            return Ok((Verdict::NotPlannedYet, said));
        }
        let mut said = vec![format!(
            "{told} has passed, and the ledger has no row of it."
        )];
        said.push(if task.updated_at > at {
            format!(
                "The task was changed at {}, after that instant: by then it may have had another schedule, or have been \
                 paused.",
                show(task.updated_at, &task.spec.timezone)
            )
        } else {
            "Rows older than the retention are pruned: if the instant is older than that, it can't be told any more."
                .to_owned()
        });
        Ok((Verdict::NoRecord, said))
    }
}

/// Its next occurrence can't be recorded, and so none is planned.
fn told_by_quarantine(task: &Task) -> (Verdict, Vec<String>) {
    let name = &task.spec.name;
    let said = format!(
        "The store refused to record the next occurrence of `{name}`, which is set aside: the task stands still. `campanile \
         quarantine list` says why; mend that, then `campanile quarantine release ID`."
    );
    (Verdict::Quarantined, vec![said])
}
