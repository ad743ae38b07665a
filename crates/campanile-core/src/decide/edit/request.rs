//! What somebody asks for who asks for a run, and what becomes of it: the one decision of API, CLI, facade and inbox. Pure:
//! the tasks that a request may name are handed in.

use std::time::Duration;

use campanile_schedule::time::Timestamp;
use campanile_schedule::{Invalid, check_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::{Content, Key, Scope};
use crate::decide::attempt as transitions;
use crate::id::RunId;
use crate::limits;
use crate::port::edit::Submission;
use crate::run::{RunRules, RunSpec};
use crate::task::{
    HandlerSpec, QueueName, Retry, Task, TaskSpec, check_attempts, check_handler, check_payload,
    secret,
};

/// A run to submit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Of this task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Or with its own handler, as in a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub handler: Option<HandlerSpec>,
    /// Its own payload; absent = the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub payload: Option<Value>,
    /// Its own queue; absent = the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Its own priority; absent = the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// When; absent = now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub run_at: Option<Timestamp>,
    /// Its own retry, as in a task; absent = the task's, or one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub retry: Option<Retry>,
    /// How long one of its attempts may take: `30s`; absent = as its task says, or an hour.
    #[serde(default, with = "campanile_schedule::time::optional_duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub timeout: Option<Duration>,
    /// A second submission with the same key is answered with the first one's run. The key belongs to the task, or to the
    /// handler of a run without one; the same key with other content is refused (409).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It names a task that there is not.
    #[error("there is no task `{0}`")]
    NoTask(String),
    /// Its task is not in use.
    #[error("{0}")]
    Disabled(String),
    /// A field of it can't be taken.
    #[error("{}: {}", .0.field, .0.message)]
    Invalid(Invalid),
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// What a request becomes: its run, with what it carries of its own. `tasks` are those that it may name, by their names.
///
/// # Errors
/// What is wrong with it.
pub fn submission(
    request: &NewRun,
    tasks: &[Task],
    id: RunId,
    now: Timestamp,
) -> Result<Submission, Refused> {
    check(request)?;
    let task = match &request.task {
        None => None,
        Some(name) => {
            let at = tasks
                .binary_search_by(|t| t.spec.name.as_str().cmp(name))
                .map_err(|_| Refused::NoTask(name.clone()))?;
            tasks.get(at)
        }
    };
    task.map_or(Ok(()), Task::check_enabled)
        .map_err(Refused::Disabled)?;
    let mut like = match (task, &request.handler) {
        (Some(task), _) => task.spec.clone(),
        (None, Some(handler)) => TaskSpec::for_handler(handler.clone()),
        (None, None) => {
            let message = "is missing: name a task, or give the run a handler of its own";
            return Err(Invalid::new("task", message).into());
        }
    };
    if let Some(queue) = &request.queue {
        like.queue = QueueName::new(queue);
    }
    if let Some(priority) = request.priority {
        like.priority = priority;
    }
    let rules = RunRules {
        retry: request.retry.clone(),
        timeout: request.timeout,
    };
    rules.put_over(&mut like);
    check_attempts(&like)?;
    let run = transitions::request(id, task, &like, request.run_at.unwrap_or(now));
    let own = RunSpec {
        handler: request.handler.clone(),
        payload: request.payload.clone(),
        rules: (rules != RunRules::default()).then_some(rules),
    };
    Ok(Submission {
        run,
        spec: (own != RunSpec::default()).then_some(own),
        key: request
            .idempotency_key
            .as_ref()
            .map(|text| key(request, task, text)),
    })
}

/// The key of a request. It belongs to the task, or to the handler of a run without one, and stands for what is said here.
fn key(request: &NewRun, task: Option<&Task>, text: &str) -> Key {
    // Whatever a request may say is part of what its key stands for: a new field has to be named here.
    let NewRun {
        task: _,
        handler,
        payload,
        queue,
        priority,
        run_at,
        retry,
        timeout,
        idempotency_key: _,
    } = request;
    let scope = match (task, handler) {
        (Some(task), _) => Scope::Task(task.id),
        (None, Some(handler)) => Scope::of_handler(handler),
        (None, None) => Scope::Handler(String::new()),
    };
    let content = Content {
        handler: handler.as_ref(),
        payload: payload.as_ref(),
        queue: queue.as_deref(),
        priority: *priority,
        run_at: *run_at,
        retry: retry.as_ref(),
        timeout: *timeout,
    };
    Key {
        content: Some(content.digest(&scope)),
        scope,
        text: text.to_owned(),
    }
}

fn check(request: &NewRun) -> Result<(), Invalid> {
    if let Some(handler) = &request.handler {
        check_handler(handler)?;
    }
    if let Some(payload) = &request.payload {
        check_payload(payload)?;
    }
    secret::check_own(request.handler.as_ref(), request.payload.as_ref())?;
    if let Some(queue) = &request.queue {
        check_name("queue", queue)?;
    }
    if request.priority.is_some_and(|p| p > 9) {
        return Err(Invalid::new(
            "priority",
            "is out of range: write 0 (last) to 9 (first)",
        ));
    }
    request.run_at.map_or(Ok(()), check_run_at)?;
    request
        .idempotency_key
        .as_deref()
        .map_or(Ok(()), |key| check_key("idempotency_key", key))
}

/// Whether a run may be asked for at an instant: one that has passed means now, and one before 1970 is a mistake.
///
/// # Errors
/// What to write instead.
pub fn check_run_at(at: Timestamp) -> Result<(), Invalid> {
    if at >= Timestamp::from_ms(0) {
        return Ok(());
    }
    let message = format!(
        "{at} is before 1970: write an instant from 1970-01-01T00:00:00Z on, or leave it out for now"
    );
    Err(Invalid::new("run_at", message))
}

/// Whether something can be a key.
///
/// # Errors
/// What can.
pub fn check_key(field: &str, key: &str) -> Result<(), Invalid> {
    if key.is_empty()
        || key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX
        || key.chars().any(char::is_control)
    {
        let message = format!(
            "can't be a key: write 1 to {} characters, none of them a control character",
            limits::IDEMPOTENCY_KEY_BYTES_MAX
        );
        return Err(Invalid::new(field, message));
    }
    Ok(())
}
