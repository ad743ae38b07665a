//! "Why did X not run at 02:30?" answered from the ledger: the row of that instant if there is one, and otherwise what
//! the schedule, the task's history and the leader say. Every answer is a verdict for programs and sentences for people.

mod told;

use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::{Timestamp, format_duration};

use self::told::{told_by_deletion, told_by_row, told_by_task};
use super::runs::RunRow;
use super::{Control, Error};
use crate::id::TaskId;
use crate::protocol::limits;
use crate::protocol::permits::Rules;
use crate::protocol::work::RunFilter;
use crate::run::Origin;
use crate::task::Task;
use campanile_schedule::instant::{self, show};

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

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The task's name.
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
struct Asked {
    task: Task,
    deleted_at: Option<Timestamp>,
}

impl Control {
    /// What became of an instant of a task. `instant` is RFC 3339, a wall time in the task's zone, `last` (the schedule's
    /// latest instant that is not to come) or `next` (its first that is). A deleted task answers too, for what was before
    /// its name went to another.
    ///
    /// # Errors
    /// [`Error::NotFound`]; an instant that can't be read.
    pub async fn why(&self, name: &str, instant: &str) -> Result<Why, Error> {
        let now = self.now().await?;
        let (asked, at) = self.asked(name, instant, now).await?;
        let task = asked.task;
        let (rules, _) = self.rules_for(std::slice::from_ref(&task.spec)).await?;
        let (looked_at, pool) = (task.clone(), &self.parts.pool);
        let look = move |fuel: &Fuel| seen(&looked_at, at, &rules, fuel);
        let seen = pool.run_with(limits::TASK_FUEL * 2, look).await??;
        let mut why = Why {
            task: task.spec.name.clone(),
            instant: at,
            timezone: task.spec.timezone.clone(),
            verdict: Verdict::NoRecord,
            run: None,
            previous: seen.previous,
            next: seen.next,
            sentences: Vec::new(),
        };
        if let Some(run) = self.parts.store.occurrence(task.id, at).await? {
            let row = self.row(run).await?;
            (why.verdict, why.sentences) = told_by_row(&row, &task, at, now);
            let blocked = self.blocked_by(&row, None, Some(&task), now).await?;
            let told = blocked.map(|trouble| format!("It is blocked: {trouble}"));
            why.sentences.extend(told);
            why.sentences
                .extend(self.told_by_backfills(&task, at).await?);
            why.run = Some(row);
            return Ok(why);
        }
        let told = match asked.deleted_at {
            Some(deleted_at) if at > deleted_at => Some(told_by_deletion(&task, deleted_at)),
            _ => told_by_task(&task, &why, seen.is_instant, now),
        };
        let (verdict, sentences) = match told {
            Some(told) => told,
            None if self.is_set_aside(task.id, at).await? => told_by_quarantine(&task),
            None => self.told_by_plan(&task, at, now).await?,
        };
        (why.verdict, why.sentences) = (verdict, sentences);
        if matches!(verdict, Verdict::NotDueYet | Verdict::NotPlannedYet) {
            let next = self.parts.store.next_due(task.id).await?;
            let clock = self.told_by_clock(&task, next);
            let sentence = |told: String| match told.strip_prefix("the store") {
                Some(rest) => format!("The store{rest}."),
                None => format!("It is {told}."),
            };
            why.sentences.extend(clock.map(sentence));
        }
        if let Some((name, version)) = seen.excluded_by {
            why.sentences.push(format!(
                "By the present calendar `{name}` (version {version}) the task does not run at that instant."
            ));
        }
        why.sentences
            .extend(self.told_by_backfills(&task, at).await?);
        Ok(why)
    }

    /// The instant that is meant: by the schedule, whole, or on the wall of the task's zone.
    async fn read_instant(
        &self,
        task: &Task,
        text: &str,
        now: Timestamp,
    ) -> Result<Timestamp, Error> {
        let wrong = |message| Error::invalid("at", message);
        let text = text.trim();
        if text != "last" && text != "next" {
            return instant::parse(text, &task.spec.timezone, now).map_err(wrong);
        }
        let (asked, pool) = (task.clone(), &self.parts.pool);
        let look = move |fuel: &Fuel| around(&asked, now, fuel);
        let (last, next) = pool.run_with(limits::TASK_FUEL * 2, look).await??;
        let name = &task.spec.name;
        let none = |which| {
            wrong(format!(
                "`{name}` has {which}: name an instant, as in 2026-11-22T02:30 or 02:30"
            ))
        };
        if text == "next" {
            return next.ok_or_else(|| none("no instant to come"));
        }
        let last = last.filter(|at| *at > task.created_at);
        last.ok_or_else(|| match next {
            Some(next) => wrong(format!(
                "`{name}` has had no instant yet: its first is {}; ask for `next`",
                show(next, &task.spec.timezone)
            )),
            None => none("had no instant yet"),
        })
    }

    /// Who is asked about: the task that has the name and lived at the instant, or had it then; else the one that has
    /// it now, or had it last.
    async fn asked(
        &self,
        name: &str,
        instant: &str,
        now: Timestamp,
    ) -> Result<(Asked, Timestamp), Error> {
        let read = async |task: &Task| self.read_instant(task, instant, now).await;
        let mut latest = None;
        if let Some(task) = self.lookup_task(name).await? {
            let (at, created_at) = (read(&task).await?, task.created_at);
            let asked = Asked {
                task,
                deleted_at: None,
            };
            if at >= created_at {
                return Ok((asked, at));
            }
            latest = Some((asked, at));
        }
        let former = self.parts.store.former_tasks(name, FORMER_TASKS_MAX);
        for former in former.await? {
            let (at, created_at) = (read(&former.task).await?, former.task.created_at);
            let asked = Asked {
                task: former.task,
                deleted_at: Some(former.deleted_at),
            };
            if at >= created_at {
                return Ok((asked, at));
            }
            latest = latest.or(Some((asked, at)));
        }
        latest.ok_or_else(|| Error::no_task(name))
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
        let stored = self.parts.store.next_due(task.id).await?;
        let told = show(at, &task.spec.timezone);
        if stored.is_some_and(|due| due <= at) {
            let leader = self.leader().await?;
            let ago = format_duration(now.since(at));
            let mut said = vec![format!(
                "{told} was due {ago} ago and has not been planned yet: its due row is waiting for the leader."
            )];
            said.push(if leader.epoch == 0 {
                "Nobody has led yet: start a node with the role `scheduler`.".to_owned()
            } else if leader.alive {
                format!(
                    "Node `{}` leads (term {}); if this lasts, look at its log and at `campanile queue list`: a full \
                     queue holds its tasks back.",
                    leader.name, leader.epoch
                )
            } else {
                format!(
                    "Node `{}` led last (term {}) and is not alive: when a node with the role `scheduler` leads, the \
                     instant runs or is recorded as skipped, by the task's misfire policy.",
                    leader.name, leader.epoch
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

/// What a task's schedule and calendars say about an instant and around it.
struct Seen {
    previous: Option<Timestamp>,
    next: Option<Timestamp>,
    is_instant: bool,
    /// The calendar's name and version.
    excluded_by: Option<(String, i64)>,
}

fn seen(task: &Task, at: Timestamp, rules: &Rules, fuel: &Fuel) -> Result<Seen, Error> {
    let find = |name: &str| rules.calendar(name);
    let timetable = task.spec.timetable_by(task.created_at, &find, fuel)?;
    let schedule = timetable.schedule();
    let before = Timestamp::from_ms(at.as_ms().saturating_sub(1));
    let calendar = timetable.excluded_by(at);
    let seen = Seen {
        previous: schedule.previous_by(at, fuel),
        next: schedule.next_by(at, fuel),
        is_instant: timetable
            .next_by(before, fuel)
            .is_some_and(|event| event.at == at),
        excluded_by: calendar.map(|c| (c.spec.name.clone(), c.version)),
    };
    check(fuel)?;
    Ok(seen)
}

/// The instants around another: what a schedule had last, and what it has next.
fn around(
    task: &Task,
    now: Timestamp,
    fuel: &Fuel,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
    let schedule = task.spec.compile_by(task.created_at, fuel)?;
    let last = schedule.previous_by(Timestamp::from_ms(now.as_ms() + 1), fuel);
    let next = schedule.next_by(now, fuel);
    check(fuel)?;
    Ok((last, next))
}

fn check(fuel: &Fuel) -> Result<(), Error> {
    let remedy = "the task's schedules and calendars are too much for one question; give it fewer";
    fuel.check()
        .map_err(|spent| Error::spent("schedule", spent, remedy))
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
