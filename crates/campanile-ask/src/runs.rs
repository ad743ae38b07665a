//! Runs as people see them: lists, one run with its story, its log; and what may be asked of one: to end, or to happen
//! again. Adds names to ids; decides no transition (that is [`campanile_core::decide::attempt`], in the store).

use std::borrow::Cow;
use std::collections::HashMap;

use campanile_access::Right;
use campanile_access::audit::Deed;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::keys::KeyQuery;
use crate::submit::NewRun;
use crate::tasks::{bad_cursor, check_limit};
use crate::{Control, Editor, Error};
use campanile_core::id::{NodeId, RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::ask::{Named, RunFilter, RunRecord, TaskFilter};
use campanile_core::port::edit::{Cancel, Submitted};
use campanile_core::run::{AttemptEnd, Reason, Run, State};
use campanile_core::task::Label;

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunQuery {
    /// Of the task of this name, and of the deleted ones that had it.
    pub task: Option<String>,
    /// Of the tasks that there are with each of these labels.
    pub labels: Vec<Label>,
    /// In this state.
    pub state: Option<State>,
    /// Due at or after.
    pub since: Option<Timestamp>,
    /// Due before.
    pub until: Option<Timestamp>,
    /// Submitted with this idempotency key: of `task`, of `handler`, or of whoever has it.
    pub key: Option<String>,
    /// With `key`: of runs without a task and with such a handler (`http`, `native:NAME`).
    pub handler: Option<String>,
}

/// A run with the names of what it points to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The row.
    pub run: Run,
    /// Its task's name, or the one that it had when it was deleted; `None` for a run without a task.
    pub task: Option<String>,
    /// Its task's owner, by its last definition.
    pub owner: Option<String>,
    /// Its task's zone, on whose wall its instants are meant; `None` as for `task`.
    pub timezone: Option<String>,
    /// When its task was deleted: the name may be another task's by now.
    pub task_deleted_at: Option<Timestamp>,
    /// Its worker's name; `None` for one that has been gone for longer than history is kept.
    pub worker: Option<String>,
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunPage {
    /// The runs.
    pub items: Vec<RunRow>,
    /// Where the next page begins; `None` = this was the last.
    pub next_cursor: Option<String>,
}

/// One thing that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TimelineEntry))]
pub struct Event {
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What: `created`, `due`, `queued`, `started`, `failed-attempt`, `refused`, `timeout`, `lost`, `given-back`, or its end's state.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub event: Cow<'static, str>,
    /// Of which attempt.
    pub attempt: Option<u32>,
    /// By which worker.
    pub worker: Option<String>,
    /// The error's text, or a reason.
    pub message: Option<String>,
}

/// All that is known of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetail {
    /// The row with its names.
    pub row: RunRow,
    /// What the store keeps beside it.
    pub record: RunRecord,
    /// What happened, in order.
    pub timeline: Vec<Event>,
    /// What its attempts' workers are or were called.
    pub workers: HashMap<NodeId, String>,
    /// Why nobody takes it, if it is due and no living worker can.
    pub blocked: Option<String>,
    /// Parts of the record that are left out, for who looks may not see them.
    pub hidden: Vec<&'static str>,
}

impl Editor {
    /// A page of runs, newest first; of those that may be seen. A page with a cursor may hold fewer than `limit`, or none.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::NotFound`] for a task; a cursor that is none of ours, a limit out of range.
    pub async fn runs(
        &self,
        query: &RunQuery,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RunPage, Error> {
        self.may_see_some_runs()?;
        check_limit(limit)?;
        if let Some(key) = &query.key {
            let key = KeyQuery {
                key: key.clone(),
                task: query.task.clone(),
                handler: query.handler.clone(),
            };
            let items = self.rows_of_key(&key, query).await?;
            let mut items = self.visible(items).await?;
            items.truncate(limit);
            return Ok(RunPage {
                items,
                next_cursor: None,
            });
        }
        if query.handler.is_some() {
            let message = "whose a key is: leave it out, or name the key too";
            return Err(Error::invalid("handler", message));
        }
        let before: Option<RunId> = cursor
            .map(|c| c.parse().map_err(|_| bad_cursor(c)))
            .transpose()?;
        let mut tasks = match &query.task {
            Some(name) => self.namesakes(name).await?,
            None => Vec::new(),
        };
        if !query.labels.is_empty() {
            let labelled = self.labelled(&query.labels).await?;
            match &query.task {
                Some(_) => tasks.retain(|task| labelled.contains(task)),
                None => tasks = labelled,
            }
            // No task in the filter would be all of them.
            if tasks.is_empty() {
                return Ok(RunPage::default());
            }
        }
        let filter = RunFilter {
            tasks,
            state: query.state,
            since: query.since,
            until: query.until,
        };
        self.page_of_runs(&filter, before, limit).await
    }

    /// One run with all that is known of it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`].
    pub async fn run(&self, id: RunId) -> Result<RunDetail, Error> {
        self.may_see_some_runs()?;
        let mut record = self.record(id).await?;
        let row = self.row(record.run.clone()).await?;
        self.may_see_run(&row, &record)?;
        let hidden = self.hide(&mut record);
        let workers = self.workers_of(&[&record]).await?;
        let timeline = timeline(&record, &workers);
        let blocked = self.blocked_story(&row, &record).await?;
        Ok(RunDetail {
            row,
            record,
            timeline,
            workers,
            blocked,
            hidden,
        })
    }

    /// One run, for who may see what its attempts wrote.
    pub(super) async fn record_with_data(&self, id: RunId) -> Result<RunRecord, Error> {
        self.may_see_some_runs()?;
        self.may(Right::Data)?;
        let record = self.record(id).await?;
        let row = self.row(record.run.clone()).await?;
        self.may_see_run(&row, &record)?;
        Ok(record)
    }
}

impl Control {
    pub(super) async fn record(&self, id: RunId) -> Result<RunRecord, Error> {
        self.parts
            .store
            .run(id)
            .await?
            .ok_or_else(|| Error::no_run(id))
    }

    pub(super) async fn row(&self, run: Run) -> Result<RunRow, Error> {
        let mut rows = self.rows(vec![run]).await?;
        rows.pop()
            .ok_or_else(|| Error::Conflict("one run gave no row".to_owned()))
    }

    /// The tasks that there are with these labels: as many as one look for their runs may be about.
    async fn labelled(&self, labels: &[Label]) -> Result<Vec<TaskId>, Error> {
        let filter = TaskFilter {
            labels: labels.to_vec(),
            ..TaskFilter::default()
        };
        let most = limits::LABELLED_TASKS_MAX;
        let page = self.parts.store.tasks(&filter, None, most).await?;
        if page.next.is_some() {
            let message =
                format!("more than {most} tasks have it: name another label too, or a task");
            return Err(Error::invalid("label", message));
        }
        Ok(page.tasks.into_iter().map(|task| task.id).collect())
    }

    /// The task of this name and the deleted ones that had it.
    async fn namesakes(&self, name: &str) -> Result<Vec<TaskId>, Error> {
        let store = &self.parts.store;
        let tasks = store.namesakes(name, limits::NAMESAKES_MAX).await?;
        if tasks.is_empty() {
            return Err(Error::no_task(name));
        }
        Ok(tasks)
    }

    async fn name_of(&self, task: TaskId) -> Result<Option<String>, Error> {
        let found = self.parts.store.tasks_by_id(&[task]).await?;
        Ok(found.into_iter().next().map(|t| t.spec.name))
    }

    pub(super) async fn rows(&self, runs: Vec<Run>) -> Result<Vec<RunRow>, Error> {
        let mut ids: Vec<TaskId> = runs.iter().filter_map(|r| r.task).collect();
        ids.sort_unstable();
        ids.dedup();
        let tasks: HashMap<TaskId, Named> = if ids.is_empty() {
            HashMap::new()
        } else {
            let found = self.parts.store.task_names(&ids).await?;
            found.into_iter().map(|named| (named.id, named)).collect()
        };
        let workers = self.workers_of_rows(&runs).await?;
        Ok(runs
            .into_iter()
            .map(|run| {
                let named = run.task.and_then(|id| tasks.get(&id));
                RunRow {
                    task: named.map(|named| named.name.clone()),
                    owner: named.and_then(|named| named.owner.clone()),
                    timezone: named.map(|named| named.timezone.clone()),
                    task_deleted_at: named.and_then(|named| named.deleted_at),
                    worker: run.worker.and_then(|id| workers.get(&id).cloned()),
                    run,
                }
            })
            .collect())
    }
}

impl Editor {
    /// Ends a run: at once if it has not started, by its worker if it runs. Answers which of the two.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`]; [`Error::Conflict`] when it has ended already.
    pub async fn cancel(&self, id: RunId) -> Result<Cancel, Error> {
        self.may_cancel(id).await?;
        // Whatever the time is: an end that is asked for is not refused for want of it.
        let now = self.control.now().await?;
        match self.parts.store.cancel(&self.actor, id, now).await? {
            Cancel::Unknown => Err(Error::no_run(id)),
            Cancel::Ended(state) => Err(Error::Conflict(format!(
                "run {id} has ended already: {}",
                state.as_str()
            ))),
            done => Ok(done),
        }
    }

    /// Makes an ended run happen again, as a new run with the same task, queue, handler and payload, due now.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it has not ended, or its task is gone.
    pub async fn retry(&self, id: RunId) -> Result<Submitted, Error> {
        self.may_operate(id).await?;
        let RunRecord { run, spec, .. } = self.record(id).await?;
        if !run.state.is_terminal() {
            return Err(Error::Conflict(not_ended(&run)));
        }
        let own = spec.unwrap_or_default();
        let task = match run.task {
            Some(task) => Some(self.name_of(task).await?.ok_or_else(|| {
                Error::Conflict(format!(
                    "the task of run {id} was deleted: submit a run with its own handler instead"
                ))
            })?),
            None => None,
        };
        let again = NewRun {
            task,
            handler: own.handler,
            payload: own.payload,
            retry: own.rules.as_ref().and_then(|r| r.retry.clone()),
            timeout: own.rules.as_ref().and_then(|r| r.timeout),
            queue: Some(run.queue.as_str().to_owned()),
            priority: Some(run.priority),
            ..NewRun::default()
        };
        let deed = Deed::new("run.retry", "run", &id.to_string());
        self.submit_as_checked(&again, deed).await
    }
}

fn not_ended(run: &Run) -> String {
    let id = run.id;
    match run.state {
        State::Scheduled if run.attempt > 1 => format!(
            "run {id} is waiting for its retry: attempt {} may start at {}",
            run.attempt, run.ready_at
        ),
        State::Scheduled => format!(
            "run {id} has not started yet: it is due at {}",
            run.ready_at
        ),
        State::Queued => format!("run {id} has not started yet: it waits for a worker"),
        _ => format!("run {id} is running: cancel it first, or wait for its end"),
    }
}

fn timeline(record: &RunRecord, workers: &HashMap<NodeId, String>) -> Vec<Event> {
    let run = &record.run;
    let name = |id: Option<NodeId>| {
        id.map(|id| workers.get(&id).cloned().unwrap_or_else(|| id.to_string()))
    };
    let plain = |at, event: &'static str| Event {
        at,
        event: event.into(),
        attempt: None,
        worker: None,
        message: None,
    };
    let mut out = vec![
        plain(run.id.minted_at(), "created"),
        plain(run.due_at, "due"),
    ];
    out.sort_by_key(|e| e.at);
    // From here in the order in which it must have happened: a start is stamped by the store's clock and an end by its
    // worker's, which may be some milliseconds behind.
    for end in &record.attempts {
        let started = end.started_at.map(|at| Event {
            attempt: Some(end.attempt),
            worker: name(end.worker),
            ..plain(at, "started")
        });
        out.extend(started);
        out.push(Event {
            attempt: Some(end.attempt),
            worker: name(end.worker),
            message: with_class(end),
            ..plain(end.finished_at, attempt_word(end.reason))
        });
    }
    let seen = record.attempts.iter().any(|end| end.attempt == run.attempt);
    if let Some(at) = run.queued_at.filter(|_| !seen) {
        out.push(Event {
            attempt: Some(run.attempt),
            ..plain(at, "queued")
        });
    }
    // Between two attempts the row still tells of the one before, which is in the list already.
    let present = matches!(run.state, State::Running) || run.state.is_terminal();
    if let Some(at) = run.started_at.filter(|_| present && !seen) {
        out.push(Event {
            attempt: Some(run.attempt),
            worker: name(run.worker),
            ..plain(at, "started")
        });
    }
    if let Some(at) = run.finished_at {
        let reason = Some(run.reason.as_str()).filter(|r| !r.is_empty());
        out.push(Event {
            attempt: run.started_at.map(|_| run.attempt),
            worker: name(run.worker),
            message: run.error.clone().or_else(|| reason.map(str::to_owned)),
            ..plain(at, run.state.as_str())
        });
    }
    out
}

/// What an attempt ended with, led by its class where that says more than the text.
fn with_class(end: &AttemptEnd) -> Option<String> {
    let class = end.class.as_deref().filter(|class| *class != "error");
    match (class, &end.error) {
        (Some(class), Some(error)) => Some(format!("{class}: {error}")),
        (class, error) => error.clone().or_else(|| class.map(str::to_owned)),
    }
}

pub(super) const fn attempt_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Lost => "lost",
        Reason::Timeout => "timeout",
        Reason::None => "given-back",
        Reason::NotAllowed => "refused",
        _ => "failed-attempt",
    }
}
