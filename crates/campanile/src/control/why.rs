//! "Why did X not run at 02:30?" answered from the ledger: the row of that instant if there is one, and otherwise what
//! the schedule, the task's history and the leader say. Every answer is a verdict for programs and sentences for people.

use super::runs::RunRow;
use super::{Control, Error};
use crate::protocol::work::RunFilter;
use crate::run::{Origin, Reason, State};
use crate::task::Task;
use crate::time::{Timestamp, format_duration};

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
    /// What became of an instant of a task. `instant` is RFC 3339, or a wall time in the task's zone. A deleted task
    /// answers too, for what was before its name went to another.
    ///
    /// # Errors
    /// [`Error::NotFound`]; an instant that can't be read.
    pub async fn why(&self, name: &str, instant: &str) -> Result<Why, Error> {
        let now = self.now().await?;
        let (asked, at) = self.asked(name, instant, now).await?;
        let task = asked.task;
        let (rules, _) = self.rules_for(std::slice::from_ref(&task.spec)).await?;
        let find = |name: &str| rules.calendar(name);
        let timetable = task.spec.timetable(task.created_at, &find)?;
        let schedule = timetable.schedule();
        let mut why = Why {
            task: task.spec.name.clone(),
            instant: at,
            verdict: Verdict::NoRecord,
            run: None,
            previous: schedule.previous(at),
            next: schedule.next(at),
            sentences: Vec::new(),
        };
        if let Some(run) = self.parts.store.occurrence(task.id, at).await? {
            let row = self.row(run).await?;
            (why.verdict, why.sentences) = told_by_row(&row, &task, at, now);
            why.sentences
                .extend(self.told_by_backfills(&task, at).await?);
            why.run = Some(row);
            return Ok(why);
        }
        let event = timetable.next(Timestamp::from_ms(at.as_ms() - 1));
        let event = event.filter(|event| event.at == at);
        let told = match asked.deleted_at {
            Some(deleted_at) if at > deleted_at => Some(told_by_deletion(&task, deleted_at)),
            _ => told_by_task(&task, &why, event.is_some(), now),
        };
        let (verdict, sentences) = match told {
            Some(told) => told,
            None => self.told_by_plan(&task, at, now).await?,
        };
        (why.verdict, why.sentences) = (verdict, sentences);
        if let Some(calendar) = timetable.excluded_by(at) {
            let name = &calendar.spec.name;
            why.sentences.push(format!(
                "By the present calendar `{name}` (version {}) the task does not run at that instant.",
                calendar.version
            ));
        }
        why.sentences
            .extend(self.told_by_backfills(&task, at).await?);
        Ok(why)
    }

    /// Who is asked about: the task that has the name and lived at the instant, or had it then; else the one that has
    /// it now, or had it last.
    async fn asked(
        &self,
        name: &str,
        instant: &str,
        now: Timestamp,
    ) -> Result<(Asked, Timestamp), Error> {
        let read = |task: &Task| {
            super::parse_instant(instant, &task.spec.timezone, now)
                .map_err(|message| Error::invalid("at", message))
        };
        let mut latest = None;
        if let Some(task) = self.lookup_task(name).await? {
            let (at, created_at) = (read(&task)?, task.created_at);
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
            let (at, created_at) = (read(&former.task)?, former.task.created_at);
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

    /// What backfills made of the instant.
    async fn told_by_backfills(&self, task: &Task, at: Timestamp) -> Result<Vec<String>, Error> {
        let filter = RunFilter {
            task: Some(task.id),
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
        if stored.is_some_and(|due| due <= at) {
            let leader = self.leader().await?;
            let ago = format_duration(now.since(at));
            let mut said = vec![format!(
                "{at} was due {ago} ago and has not been planned yet: its due row is waiting for the leader."
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
        let mut said = vec![format!("{at} has passed, and the ledger has no row of it.")];
        said.push(if task.updated_at > at {
            format!(
                "The task was changed at {}, after that instant: by then it may have had another schedule, or have been \
                 paused.",
                task.updated_at
            )
        } else {
            "Rows older than the retention are pruned: if the instant is older than that, it can't be told any more."
                .to_owned()
        });
        Ok((Verdict::NoRecord, said))
    }
}

/// What the row of the instant says.
fn told_by_row(row: &RunRow, task: &Task, at: Timestamp, now: Timestamp) -> (Verdict, Vec<String>) {
    let run = &row.run;
    let worker = row
        .worker
        .clone()
        .or_else(|| run.worker.map(|id| id.to_string()));
    let by = worker.map_or(String::new(), |w| format!(" on worker `{w}`"));
    let late = run.lateness_ms().unwrap_or(0);
    let mut said = Vec::new();
    let verdict = match run.state {
        State::Skipped => {
            said.push(skipped_sentence(row, task, at));
            Verdict::Skipped
        }
        State::Cancelled if run.started_at.is_none() => {
            let why = match run.reason {
                Reason::TaskDeleted => "because its task was deleted",
                Reason::Replaced => "because a later occurrence took its place",
                _ => "because somebody asked",
            };
            said.push(format!(
                "Run {} of {at} was cancelled before it started, {why}.",
                run.id
            ));
            Verdict::Cancelled
        }
        State::Scheduled | State::Queued => {
            let when = if run.attempt > 1 {
                format!(
                    "attempt {} may start at {}, after {} failed and {} lost",
                    run.attempt, run.ready_at, run.failures, run.losses
                )
            } else if run.ready_at > now {
                format!("it is due at {}", run.ready_at)
            } else {
                format!(
                    "it has been due for {} and waits in queue `{}` for a free worker",
                    format_duration(now.since(run.ready_at)),
                    run.queue
                )
            };
            said.push(format!("Run {} of {at} has not started: {when}.", run.id));
            Verdict::Waiting
        }
        _ => {
            said.push(format!(
                "Run {} of {at} started {late} ms after its instant{by}, at attempt {}.",
                run.id, run.attempt
            ));
            said.push(ended_sentence(row));
            Verdict::Ran
        }
    };
    if let Some(error) = &run.error {
        said.push(format!("Its last error: {error}"));
    }
    (verdict, said)
}

fn ended_sentence(row: &RunRow) -> String {
    let run = &row.run;
    let end = run
        .finished_at
        .map_or(String::new(), |t| format!(" at {t}"));
    match (run.state, run.reason) {
        (State::Succeeded, Reason::HandedOver) => {
            format!("It was handed over to its external listener{end}, which does not answer.")
        }
        (State::Succeeded, _) => format!("It succeeded{end}."),
        (State::Failed, Reason::Timeout) => {
            format!("It failed{end}: it took longer than its timeout, and no attempt was left.")
        }
        (State::Failed, Reason::Lost) => format!(
            "It failed{end}: its worker died, and it may not start again (lost {} times).",
            run.losses.max(1)
        ),
        (State::Failed, Reason::NotAllowed) => {
            format!("It failed{end}: the worker's own settings do not allow its handler.")
        }
        (State::Failed, _) => format!("It failed{end}, and no attempt was left."),
        (State::Cancelled, Reason::Replaced) => {
            format!(
                "It was cancelled{end} while it ran: a later occurrence took its place (`overlap = \"replace\"`)."
            )
        }
        (State::Cancelled, _) => format!("It was cancelled{end} while it ran."),
        _ => "It is still running.".to_owned(),
    }
}

fn skipped_sentence(row: &RunRow, task: &Task, at: Timestamp) -> String {
    let run = &row.run;
    let range = match run.skipped {
        Some((last, count)) if count > 1 => {
            format!(", with {count} instants from {} to {last}", run.due_at)
        }
        _ => String::new(),
    };
    let when = run
        .finished_at
        .map_or(String::new(), |t| format!(" (recorded at {t})"));
    let spec = &task.spec;
    let why = match run.reason {
        Reason::Misfire => format!(
            "when the scheduler came to it, it was later than the task's misfire limit of {}, and the policy `misfire = \
             \"{}\"` drops such instants",
            format_duration(spec.misfire_limit),
            word(&spec.misfire)
        ),
        Reason::TooLate => {
            "when the scheduler came to it, it was older than the task's max_lateness".to_owned()
        }
        Reason::CatchUpLimit => {
            "more instants were missed than catch-up takes, and it was not among the latest"
                .to_owned()
        }
        Reason::Overlap => format!(
            "an earlier run of the task was active, and the policy `overlap = \"{}\"` lets no more wait",
            word(&spec.overlap)
        ),
        Reason::StartDeadline => {
            "it had not started when its start_deadline passed".to_owned()
        }
        Reason::Calendar => "a calendar of the task excluded it".to_owned(),
        Reason::Moved => format!(
            "a calendar of the task excluded it, and it was moved to {} (`on_excluded = \"{}\"`)",
            run.ready_at,
            word(&spec.on_excluded)
        ),
        Reason::Paused => "the task was paused".to_owned(),
        Reason::Disabled => "the task was disabled by its definition (`enabled = false`)".to_owned(),
        Reason::Changed => {
            "it was overdue when the task's schedule was changed, and the new schedule begins after that".to_owned()
        }
        Reason::TaskDeleted => {
            "it was overdue when its task was deleted, and nobody had planned it yet".to_owned()
        }
        Reason::Replaced => {
            "a later occurrence took its place before it started (`overlap = \"replace\"`)".to_owned()
        }
        other => format!("the reason recorded is `{}`", other.as_str()),
    };
    format!("{at} was skipped{range}: {why}{when}.")
}

/// A policy as it is written.
fn word<T: serde::Serialize>(policy: &T) -> String {
    let value = serde_json::to_value(policy).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// What is after the end of a task.
fn told_by_deletion(task: &Task, deleted_at: Timestamp) -> (Verdict, Vec<String>) {
    let name = &task.spec.name;
    let said = format!("`{name}` was deleted at {deleted_at}: it has no instants after that.");
    (Verdict::TaskDeleted, vec![said])
}

/// What the definition alone can tell about an instant without a row.
fn told_by_task(
    task: &Task,
    why: &Why,
    is_instant: bool,
    now: Timestamp,
) -> Option<(Verdict, Vec<String>)> {
    let (at, name) = (why.instant, &task.spec.name);
    let changed = || {
        format!(
            "This is judged by the present definition, which was written at {}.",
            task.updated_at
        )
    };
    if at < task.created_at {
        let said = format!(
            "`{name}` did not exist yet: it was created at {}.",
            task.created_at
        );
        return Some((Verdict::NotCreatedYet, vec![said]));
    }
    if !is_instant {
        let show = |t: Option<Timestamp>| t.map_or("none".to_owned(), |t| t.to_string());
        let first = match &task.spec.schedule {
            None => format!("`{name}` has no schedule: it runs on request alone."),
            Some(text) => format!(
                "{at} is not an instant of `{text}` in {}: the one before is {}, the one after is {}.",
                task.spec.timezone,
                show(why.previous),
                show(why.next)
            ),
        };
        let mut said = vec![first];
        if at <= now && task.version > 1 && task.updated_at > at {
            said.push(changed());
        }
        return Some((Verdict::NotAnInstant, said));
    }
    let from = task.rests_from.unwrap_or(task.updated_at);
    if task.spec.rests() && at >= from {
        let (verdict, what, remedy) = if task.spec.enabled {
            let resume = format!("`campanile task resume {name}`");
            (Verdict::Paused, "paused", resume)
        } else {
            let enable = "it is put with `enabled = true`".to_owned();
            (Verdict::Disabled, "disabled by its definition", enable)
        };
        let said = format!(
            "`{name}` is {what}: from {from} on its instants do not run, and are recorded as skipped when it goes on, by \
             {remedy}."
        );
        return Some((verdict, vec![said]));
    }
    if at > now {
        let wait = format_duration(at.since(now));
        let said = format!("{at} is still to come, in {wait}.");
        return Some((Verdict::NotDueYet, vec![said]));
    }
    None
}
