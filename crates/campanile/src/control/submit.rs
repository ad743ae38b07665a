//! Runs that people ask for: now or later, of a task or with their own handler. One or many, all of them or none. The
//! rows are visible and can be cancelled at once; the leader starts them when they are due.

use std::collections::HashMap;
use std::time::Duration;

use campanile_schedule::check_name;
use campanile_schedule::time::Timestamp;
use serde_json::Value;

use super::{Editor, Error};
use crate::id::RunId;
use crate::port::store;
use crate::protocol::keys::{Content, Key, Scope};
use crate::protocol::work::{Submission, Submitted};
use crate::protocol::{limits, run as transitions};
use crate::run::{RunRules, RunSpec};
use crate::task::{
    HandlerSpec, QueueName, Retry, Task, TaskSpec, check_attempts, check_handler, check_payload,
};

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
    /// Its own retry; absent = the task's, or one attempt.
    pub retry: Option<Retry>,
    /// How long one of its attempts may take; absent = as its task says, or the default.
    pub timeout: Option<Duration>,
    /// A second request with the same key is answered with the first one's run. Keys belong to the task, or to the
    /// handler of a run without one; a request that says something else is refused.
    pub idempotency_key: Option<String>,
}

impl Editor {
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
        check_keys(&submissions)?;
        let answers = match self.store_all(&submissions).await {
            Err(error) if error.is_contended() => {
                self.check_tasks(requests).await?;
                return Err(error.into());
            }
            answers => answers?,
        };
        if let Some(at) = answers.iter().position(|answer| answer.taken) {
            return Err(key_taken(&submissions, at, answers[at].run));
        }
        self.work();
        Ok(answers)
    }

    /// Stores submissions, in turn with others that are as many.
    pub(super) async fn store_all(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, store::Error> {
        let _seat = self.bulk_seat(submissions.len()).await;
        self.parts.store.submit(&self.actor, submissions).await
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
    /// As [`Editor::submit`].
    pub async fn submit_one(&self, request: &Request) -> Result<Submitted, Error> {
        let answers = self.submit(std::slice::from_ref(request)).await?;
        answers
            .first()
            .copied()
            .ok_or_else(|| Error::Conflict("the store gave no answer for this run".to_owned()))
    }

    /// Starts a task out of turn with its own payload, changed at some fields: a merge patch (RFC 7396), in which an object
    /// changes the fields that it names, null removes one, and anything else takes the place of what was there.
    ///
    /// # Errors
    /// [`Error::NotFound`]; `set`, where the patch or the task's payload has no fields; the field at fault.
    pub async fn trigger_with(&self, name: &str, patch: &Value) -> Result<Submitted, Error> {
        let task = self.find_task(name).await?;
        let mut payload = task.spec.payload;
        if !patch.is_object() {
            return Err(Error::invalid(
                "set",
                "is not an object: write the fields to change, as in {\"day\": \"monday\"}",
            ));
        }
        if !(payload.is_object() || payload.is_null()) {
            let message = format!(
                "the payload of `{name}` is not an object and has no fields to change: give a whole one as `payload`"
            );
            return Err(Error::invalid("set", message));
        }
        merge(&mut payload, patch, limits::PAYLOAD_DEPTH_MAX, "")?;
        self.trigger(name, Some(payload)).await
    }

    /// A task may have been deleted between the look at it and the submission.
    async fn check_tasks(&self, requests: &[Request]) -> Result<(), Error> {
        let tasks = self.tasks_of(requests).await?;
        let named = |name: &str| tasks.iter().any(|t| t.spec.name == name);
        let mut wanted = requests.iter().filter_map(|r| r.task.as_deref());
        match wanted.find(|name| !named(name)) {
            Some(gone) => Err(Error::no_task(gone)),
            None => Ok(()),
        }
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

/// Puts a merge patch over a value, as RFC 7396 says, at most so many levels deep.
/// Fields of a list there are none: what names one is refused, and does not put an object in the list's place.
fn merge(value: &mut Value, patch: &Value, levels: usize, path: &str) -> Result<(), Error> {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return Ok(());
    };
    if levels == 0 {
        return Err(Error::invalid(
            "set",
            format!(
                "objects lie in each other more than {} deep",
                limits::PAYLOAD_DEPTH_MAX
            ),
        ));
    }
    if value.is_array() && !path.is_empty() {
        let message = format!(
            "`{path}` is a list in the task's payload, which has no fields: give the whole list, as in --set '{path}=[1, 2]'"
        );
        return Err(Error::invalid("set", message));
    }
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = value else {
        return Ok(());
    };
    for (name, patch) in patch {
        if patch.is_null() {
            fields.remove(name);
        } else {
            let field = fields.entry(name.clone()).or_insert(Value::Null);
            let dot = if path.is_empty() { "" } else { "." };
            merge(field, patch, levels - 1, &format!("{path}{dot}{name}"))?;
        }
    }
    Ok(())
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
fn key(request: &Request, task: Option<&Task>, text: &str) -> Key {
    // Whatever a request may say is part of what its key stands for: a new field has to be named here.
    let Request {
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

/// Two requests of one batch may have one key only if they say the same.
fn check_keys(submissions: &[Submission]) -> Result<(), Error> {
    let mut seen: HashMap<(&Scope, &str), (usize, &Key)> = HashMap::new();
    for (index, key) in submissions
        .iter()
        .enumerate()
        .filter_map(|(n, s)| Some((n, s.key.as_ref()?)))
    {
        let (first, stands) = *seen.entry((&key.scope, &key.text)).or_insert((index, key));
        if !key.is_same(stands.content.as_ref()) {
            let text = &key.text;
            return Err(Error::Conflict(format!(
                "runs[{index}].idempotency_key: the key `{text}` is runs[{first}]'s too, with other content: take another key, or say the same"
            )));
        }
    }
    Ok(())
}

fn key_taken(submissions: &[Submission], at: usize, run: RunId) -> Error {
    let key = submissions.get(at).and_then(|s| s.key.as_ref());
    let field = if submissions.len() > 1 {
        format!("runs[{at}].idempotency_key")
    } else {
        "idempotency_key".to_owned()
    };
    Error::KeyTaken {
        field,
        key: key.map(|k| k.text.clone()).unwrap_or_default(),
        run,
    }
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
    request.run_at.map_or(Ok(()), check_run_at)?;
    request
        .idempotency_key
        .as_deref()
        .map_or(Ok(()), |key| check_key("idempotency_key", key))
}

/// Whether a run may be asked for at an instant: one that has passed means now, and one before 1970 is a mistake.
pub(super) fn check_run_at(at: Timestamp) -> Result<(), Error> {
    if at >= Timestamp::from_ms(0) {
        return Ok(());
    }
    let message = format!(
        "{at} is before 1970: write an instant from 1970-01-01T00:00:00Z on, or leave it out for now"
    );
    Err(Error::invalid("run_at", message))
}

/// Whether something can be a key.
pub(super) fn check_key(field: &str, key: &str) -> Result<(), Error> {
    if key.is_empty()
        || key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX
        || key.chars().any(char::is_control)
    {
        let message = format!(
            "can't be a key: write 1 to {} characters, none of them a control character",
            limits::IDEMPOTENCY_KEY_BYTES_MAX
        );
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7396, appendix A, that have an object as patch.
    #[test]
    fn a_merge_patch_changes_what_it_names() {
        for (value, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!({"a": 1}), json!({"a": 1})),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
            (Value::Null, json!({"a": 1}), json!({"a": 1})),
        ] {
            let mut merged = value.clone();
            merge(&mut merged, &patch, limits::PAYLOAD_DEPTH_MAX, "").unwrap();
            assert_eq!(merged, expected, "{value} with {patch}");
        }
        let deep = (0..200).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert!(merge(&mut json!({}), &deep, limits::PAYLOAD_DEPTH_MAX, "").is_err());
    }
}
