//! Runs as people see them: lists, one run with its story, its log; and what may be asked of one: to end, or to happen
//! again. Adds names to ids; decides no transition (that is [`crate::protocol::run`], in the store).

use std::collections::HashMap;

use campanile_schedule::time::Timestamp;

use super::keys::KeyQuery;
use super::submit::Request;
use super::tasks::{bad_cursor, check_limit};
use super::{Control, Editor, Error};
use crate::id::{NodeId, RunId, TaskId};
use crate::protocol::limits;
use crate::protocol::work::{Cancel, Named, RunDetail, RunFilter, Submitted};
use crate::run::{AttemptEnd, Reason, Run, State};

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunQuery {
    /// Of the task of this name, and of the deleted ones that had it.
    pub task: Option<String>,
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
    /// Its task's zone, on whose wall its instants are meant; `None` as for `task`.
    pub timezone: Option<String>,
    /// When its task was deleted: the name may be another task's by now.
    pub task_deleted_at: Option<Timestamp>,
    /// Its worker's name, while that node is among the living.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// `created`, `due`, `queued`, `started`, `retry`, `lost`, or the state that it ended in.
    pub what: &'static str,
    /// Of which attempt.
    pub attempt: Option<u32>,
    /// By which worker (its name while it lives, else its id).
    pub worker: Option<String>,
    /// The error's text, or a reason.
    pub message: Option<String>,
}

/// All that is known of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStory {
    /// The row with its names.
    pub row: RunRow,
    /// What the store keeps beside it.
    pub detail: RunDetail,
    /// What happened, in order.
    pub timeline: Vec<Event>,
    /// Why nobody takes it, if it is due and no living worker can.
    pub blocked: Option<String>,
}

impl Control {
    /// A page of runs, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a task; a cursor that is none of ours, a limit out of range.
    pub async fn runs(
        &self,
        query: &RunQuery,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RunPage, Error> {
        check_limit(limit)?;
        if let Some(key) = &query.key {
            let key = KeyQuery {
                key: key.clone(),
                task: query.task.clone(),
                handler: query.handler.clone(),
            };
            let mut items = self.rows_of_key(&key, query).await?;
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
        let tasks = match &query.task {
            Some(name) => self.namesakes(name).await?,
            None => Vec::new(),
        };
        let filter = RunFilter {
            tasks,
            state: query.state,
            since: query.since,
            until: query.until,
        };
        let runs = self.parts.store.runs(&filter, before, limit).await?;
        let next_cursor = runs
            .last()
            .filter(|_| runs.len() == limit)
            .map(|r| r.id.to_string());
        Ok(RunPage {
            items: self.rows(runs).await?,
            next_cursor,
        })
    }

    /// One run with all that is known of it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn run(&self, id: RunId) -> Result<RunStory, Error> {
        let detail = self.detail(id).await?;
        let row = self.row(detail.run.clone()).await?;
        let workers = self.worker_names().await?;
        let timeline = timeline(&detail, &workers);
        let blocked = self.blocked_story(&row, &detail).await?;
        Ok(RunStory {
            row,
            detail,
            timeline,
            blocked,
        })
    }

    /// The logs of a run's attempts: (attempt, text), in order.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn logs(&self, id: RunId) -> Result<Vec<(u32, String)>, Error> {
        self.detail(id).await?;
        Ok(self.parts.store.logs(id).await?)
    }

    async fn detail(&self, id: RunId) -> Result<RunDetail, Error> {
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
        let workers = if runs.iter().any(|r| r.worker.is_some()) {
            self.worker_names().await?
        } else {
            HashMap::new()
        };
        Ok(runs
            .into_iter()
            .map(|run| {
                let named = run.task.and_then(|id| tasks.get(&id));
                RunRow {
                    task: named.map(|named| named.name.clone()),
                    timezone: named.map(|named| named.timezone.clone()),
                    task_deleted_at: named.and_then(|named| named.deleted_at),
                    worker: run.worker.and_then(|id| workers.get(&id).cloned()),
                    run,
                }
            })
            .collect())
    }

    async fn worker_names(&self) -> Result<HashMap<NodeId, String>, Error> {
        let nodes = self.parts.store.nodes().await?;
        Ok(nodes.into_iter().map(|n| (n.id, n.name)).collect())
    }
}

impl Editor {
    /// Ends a run: at once if it has not started, by its worker if it runs. Answers which of the two.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it has ended already.
    pub async fn cancel(&self, id: RunId) -> Result<Cancel, Error> {
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
        let RunDetail { run, spec, .. } = self.detail(id).await?;
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
        self.submit_one(&Request {
            task,
            handler: own.handler,
            payload: own.payload,
            retry: own.rules.as_ref().and_then(|r| r.retry.clone()),
            timeout: own.rules.as_ref().and_then(|r| r.timeout),
            queue: Some(run.queue.as_str().to_owned()),
            priority: Some(run.priority),
            ..Request::default()
        })
        .await
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

fn timeline(detail: &RunDetail, workers: &HashMap<NodeId, String>) -> Vec<Event> {
    let run = &detail.run;
    let name = |id: Option<NodeId>| {
        id.map(|id| workers.get(&id).cloned().unwrap_or_else(|| id.to_string()))
    };
    let plain = |at, what| Event {
        at,
        what,
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
    for end in &detail.attempts {
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
    let seen = detail.attempts.iter().any(|end| end.attempt == run.attempt);
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

const fn attempt_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Lost => "lost",
        Reason::Timeout => "timeout",
        Reason::None => "given-back",
        Reason::NotAllowed => "refused",
        _ => "failed-attempt",
    }
}
