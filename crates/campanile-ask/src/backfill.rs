//! Backfill: past instants of a task's schedule that somebody wants to have run after all. What an instant's own row
//! says stays as it is (terminal rows never change); a backfill is a run beside it, with the instant's key, so that a
//! target that remembers keys is not asked twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use campanile_access::Right;
use campanile_access::audit::Deed;
use campanile_schedule::What;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Editor, Error};
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::edit::keys::Key;
use campanile_core::decide::permits::Rules;
use campanile_core::id::{RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::ask::RunFilter;
use campanile_core::port::edit::Submission;
use campanile_core::run::{Origin, Run, State};
use campanile_core::task::Task;

/// Starts in a second, if nothing else is asked for.
pub const PER_SECOND: u32 = 10;

/// Which instants are to be run after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The first instant.
    pub from: Timestamp,
    /// The instant before which it ends.
    pub until: Timestamp,
    /// Also those that have a run already; else only those that have none.
    pub all: bool,
    /// Only say how many.
    pub dry_run: bool,
    /// How many start in a second, 1 to 1000.
    pub per_second: u32,
}

/// What a backfill starts, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = BackfillView))]
pub struct Backfilled {
    /// Instants of the schedule in the range, calendars obeyed.
    pub instants: usize,
    /// Of them, those that have a run already.
    pub ran: usize,
    /// Of them, those that are to be run.
    pub count: usize,
    /// The first of those.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub first: Option<Timestamp>,
    /// The last of those.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub last: Option<Timestamp>,
    /// New runs.
    pub created: usize,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The task's zone, on whose wall the instants are.
    pub timezone: String,
}

impl Editor {
    /// Makes runs for past instants of a task's schedule: all or none. They start spaced, and behind what is on time; of a
    /// task whose runs must not overlap, one after the other, and none of them is skipped or replaced for another.
    /// An instant whose run did not end well can be asked for again.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a range that is no range of the past; more instants than one backfill takes.
    pub async fn backfill(&self, name: &str, what: &Backfill) -> Result<Backfilled, Error> {
        self.may(Right::Operate)?;
        let now = self.now().await?;
        let task = self.find_task(name).await?;
        self.may_task(Right::Operate, &task.spec)?;
        check(what, &task, now)?;
        let instants = self.instants(&task, what).await?;
        let Answered { ran, tried } = self.answered(&task, what).await?;
        let is_wanted = |t: &&Timestamp| what.all || !ran.contains(t);
        let wanted: Vec<Timestamp> = instants.iter().filter(is_wanted).copied().collect();
        let mut answer = Backfilled {
            instants: instants.len(),
            ran: instants.iter().filter(|t| ran.contains(t)).count(),
            count: wanted.len(),
            first: wanted.first().copied(),
            last: wanted.last().copied(),
            created: 0,
            dry_run: what.dry_run,
            timezone: task.spec.timezone.clone(),
        };
        if what.dry_run || wanted.is_empty() {
            return Ok(answer);
        }
        let apart = Duration::from_secs(1) / what.per_second.max(1);
        let ids = self.parts.mint.runs(now, wanted.len());
        let one = |(n, (at, id)): (usize, (&Timestamp, _))| {
            let ready_at = now.plus(apart * u32::try_from(n).unwrap_or(u32::MAX));
            Submission {
                run: transitions::backfill(id, &task, *at, ready_at),
                spec: None,
                key: (!what.all).then(|| instant_key(task.id, *at, tried.get(at).copied())),
            }
        };
        let submissions: Vec<Submission> = wanted.iter().zip(ids).enumerate().map(one).collect();
        let deed = Deed::new("task.backfill", "task", name)
            .changing(
                Value::Null,
                json!({ "from": what.from, "until": what.until, "all": what.all }),
            )
            .of_many(u64::try_from(submissions.len()).unwrap_or(u64::MAX));
        let by = self.actor.doing(deed);
        let answers = self.store_all(&submissions, &by).await?;
        answer.created = answers.iter().filter(|a| a.created).count();
        self.work();
        Ok(answer)
    }

    /// The instants of the range at which the task was due, calendars obeyed.
    async fn instants(&self, task: &Task, what: &Backfill) -> Result<Vec<Timestamp>, Error> {
        let (rules, _) = self.rules_for(std::slice::from_ref(&task.spec)).await?;
        let (task, what) = (task.clone(), what.clone());
        let walk = move |fuel: &Fuel| walk(&task, &what, &rules, fuel);
        self.parts.pool.run(walk).await?
    }

    /// What was made of the instants of the range, by the schedule or by backfills.
    async fn answered(&self, task: &Task, what: &Backfill) -> Result<Answered, Error> {
        let filter = RunFilter {
            tasks: vec![task.id],
            since: Some(what.from),
            until: Some(what.until),
            ..RunFilter::default()
        };
        let mut found = Answered::default();
        let mut before = None;
        loop {
            let page = self
                .parts
                .store
                .runs(&filter, before, limits::PAGE_ROWS_MAX)
                .await?;
            before = page.last().map(|run| run.id);
            let full = page.len() == limits::PAGE_ROWS_MAX;
            for run in page.iter().filter(|run| run.origin.is_occurrence()) {
                found.take(run);
            }
            if !full {
                return Ok(found);
            }
        }
    }
}

/// What became of instants.
#[derive(Debug, Default)]
struct Answered {
    /// Those with a run that is under way or ended well. What was skipped, cancelled or failed is no answer.
    ran: HashSet<Timestamp>,
    /// The latest backfill of each.
    tried: HashMap<Timestamp, RunId>,
}

impl Answered {
    fn take(&mut self, run: &Run) {
        if !run.state.is_terminal() || run.state == State::Succeeded {
            self.ran.insert(run.due_at);
        }
        if run.origin == Origin::Backfill {
            let latest = self.tried.entry(run.due_at).or_insert(run.id);
            *latest = run.id.max(*latest);
        }
    }
}

/// The key of the run that an act makes for an instant. It names the backfill before it: two who ask for the same at the
/// same time get one run, and whoever asks when that one did not run gets a new one.
fn instant_key(task: TaskId, at: Timestamp, before: Option<RunId>) -> Key {
    let after = before.map_or_else(String::new, |run| format!(":after:{run}"));
    Key::of_engine(format!("backfill:{task}:{}{after}", at.as_ms()))
}

fn walk(task: &Task, what: &Backfill, rules: &Rules, fuel: &Fuel) -> Result<Vec<Timestamp>, Error> {
    let find = |name: &str| rules.calendar(name);
    let timetable = task.spec.timetable_by(task.created_at, &find, fuel)?;
    let before = Timestamp::from_ms(what.from.as_ms().saturating_sub(1));
    let events = timetable.events(before, fuel);
    let due = events
        .take_while(|event| event.at < what.until)
        .filter(|event| event.what == What::Due);
    let most = limits::BACKFILL_RUNS_MAX;
    let instants: Vec<Timestamp> = due.map(|event| event.at).take(most + 1).collect();
    if instants.len() > most {
        let message = format!("the range has more than {most} instants: take a shorter one");
        return Err(Error::invalid("until", message));
    }
    let remedy = "take a shorter range";
    fuel.check()
        .map_err(|spent| Error::spent("until", spent, remedy))?;
    Ok(instants)
}

fn check(what: &Backfill, task: &Task, now: Timestamp) -> Result<(), Error> {
    if task.spec.schedule.is_none() {
        let message = format!(
            "task `{}` has no schedule: it has no instants, trigger it instead",
            task.spec.name
        );
        return Err(Error::invalid("task", message));
    }
    if task.spec.after().is_some() {
        let message = format!(
            "task `{}` is due after the ends of its runs: it has no instants that were left out, trigger it instead",
            task.spec.name
        );
        return Err(Error::invalid("task", message));
    }
    if what.until <= what.from {
        let message = format!("{} is not after from ({})", what.until, what.from);
        return Err(Error::invalid("until", message));
    }
    if what.until > now {
        let message = format!(
            "{} is still to come (it is {now}): what is due from now on runs by its schedule",
            what.until
        );
        return Err(Error::invalid("until", message));
    }
    if what.per_second == 0 || what.per_second > 1_000 {
        let message = format!("{} is out of range: write 1 to 1000", what.per_second);
        return Err(Error::invalid("per_second", message));
    }
    task.check_enabled().map_err(Error::Conflict)
}
