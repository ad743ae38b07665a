//! Runs that people ask for: now or later, of a task or with their own handler. One or many, all of them or none. The
//! rows are visible and can be cancelled at once; the leader starts them when they are due.

use serde_json::Value;

use super::{Control, Error};
use crate::id::RunId;
use crate::protocol::work::{Submission, Submitted};
use crate::protocol::{limits, run as transitions};
use crate::run::RunSpec;
use crate::task::{
    HandlerSpec, QueueName, Task, TaskSpec, check_handler, check_name, check_payload,
};
use crate::time::Timestamp;

/// A run that is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// Of this task; else `handler` says what runs.
    pub task: Option<String>,
    /// Its own handler; with `task` it replaces the task's.
    pub handler: Option<HandlerSpec>,
    /// Its own payload; absent = the task's.
    pub payload: Option<Value>,
    /// Its own queue; absent = the task's, or `default`.
    pub queue: Option<String>,
    /// Its own priority; absent = the task's, or 4.
    pub priority: Option<u8>,
    /// When; absent = now.
    pub run_at: Option<Timestamp>,
    /// A second request with the same key is answered with the first one's run.
    pub idempotency_key: Option<String>,
}

impl Control {
    /// Submits runs: all or none. One answer for each, in order.
    ///
    /// # Errors
    /// The first field at fault (`runs[3].task`), or [`Error::NotFound`] for a task.
    pub async fn submit(&self, requests: &[Request]) -> Result<Vec<Submitted>, Error> {
        if requests.is_empty() || requests.len() > limits::SUBMIT_RUNS_MAX {
            let message = format!(
                "{} runs in one request: write 1 to {}",
                requests.len(),
                limits::SUBMIT_RUNS_MAX
            );
            return Err(Error::invalid("runs", message));
        }
        let now = self.now().await?;
        let tasks = self.tasks_of(requests).await?;
        let ids = self.parts.mint.runs(now, requests.len());
        let mut submissions = Vec::with_capacity(requests.len());
        for (index, (request, id)) in requests.iter().zip(ids).enumerate() {
            let submission = submission(request, &tasks, id, now).map_err(|e| {
                if requests.len() > 1 {
                    e.inside(&format!("runs[{index}]."))
                } else {
                    e
                }
            })?;
            submissions.push(submission);
        }
        let answers = self.parts.store.submit(&submissions).await?;
        self.work();
        Ok(answers)
    }

    /// Starts a task out of turn, with its own payload or this one. Works for a paused task too.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the field at fault.
    pub async fn trigger(&self, name: &str, payload: Option<Value>) -> Result<Submitted, Error> {
        let request = Request {
            task: Some(name.to_owned()),
            payload,
            ..Request::default()
        };
        self.submit_one(&request).await
    }

    /// Submits one run.
    ///
    /// # Errors
    /// As [`Control::submit`].
    pub async fn submit_one(&self, request: &Request) -> Result<Submitted, Error> {
        let answers = self.submit(std::slice::from_ref(request)).await?;
        answers
            .first()
            .copied()
            .ok_or_else(|| Error::Conflict("the store gave no answer for this run".to_owned()))
    }

    async fn tasks_of(&self, requests: &[Request]) -> Result<Vec<Task>, Error> {
        let mut names: Vec<String> = requests.iter().filter_map(|r| r.task.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let mut tasks = Vec::with_capacity(names.len());
        for chunk in names.chunks(limits::PAGE_ROWS_MAX) {
            tasks.extend(self.parts.store.tasks_by_name(chunk).await?);
        }
        tasks.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        Ok(tasks)
    }
}

fn submission(
    request: &Request,
    tasks: &[Task],
    id: RunId,
    now: Timestamp,
) -> Result<Submission, Error> {
    check(request)?;
    let task = match &request.task {
        None => None,
        Some(name) => {
            let at = tasks
                .binary_search_by(|t| t.spec.name.as_str().cmp(name))
                .map_err(|_| Error::no_task(name))?;
            tasks.get(at)
        }
    };
    task.map_or(Ok(()), Task::check_enabled)
        .map_err(Error::Conflict)?;
    let mut like = match (task, &request.handler) {
        (Some(task), _) => task.spec.clone(),
        (None, Some(handler)) => TaskSpec::for_handler(handler.clone()),
        (None, None) => {
            return Err(Error::invalid(
                "task",
                "is missing: name a task, or give the run a handler of its own",
            ));
        }
    };
    if let Some(queue) = &request.queue {
        like.queue = QueueName::new(queue);
    }
    if let Some(priority) = request.priority {
        like.priority = priority;
    }
    let run = transitions::request(id, task, &like, request.run_at.unwrap_or(now));
    let own = RunSpec {
        handler: request.handler.clone(),
        payload: request.payload.clone(),
    };
    Ok(Submission {
        run,
        spec: (own != RunSpec::default()).then_some(own),
        idempotency_key: request.idempotency_key.clone(),
    })
}

fn check(request: &Request) -> Result<(), Error> {
    if let Some(handler) = &request.handler {
        check_handler(handler)?;
    }
    if let Some(payload) = &request.payload {
        check_payload(payload)?;
    }
    if let Some(queue) = &request.queue {
        check_name("queue", queue)?;
    }
    if request.priority.is_some_and(|p| p > 9) {
        return Err(Error::invalid(
            "priority",
            "is out of range: write 0 (last) to 9 (first)",
        ));
    }
    match &request.idempotency_key {
        Some(key)
            if key.is_empty()
                || key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX
                || key.chars().any(char::is_control) =>
        {
            Err(Error::invalid(
                "idempotency_key",
                format!(
                    "can't be a key: write 1 to {} characters, none of them a control character",
                    limits::IDEMPOTENCY_KEY_BYTES_MAX
                ),
            ))
        }
        _ => Ok(()),
    }
}
