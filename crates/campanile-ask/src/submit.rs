//! Runs that people ask for: now or later, of a task or with their own handler. One or many, all of them or none. The
//! rows are visible and can be cancelled at once; the leader starts them when they are due.

use std::collections::HashMap;

use campanile_access::audit::Deed;
use campanile_access::{Actor, Right};
use serde_json::Value;

use crate::{Editor, Error};
use campanile_core::decide::edit::keys::{Key, Scope};
use campanile_core::decide::edit::request::{Refused, submission};
use campanile_core::id::RunId;
use campanile_core::limits;
use campanile_core::port::edit::{Submission, Submitted};
use campanile_core::port::store;
use campanile_core::task::secret;
use campanile_core::task::{Task, TaskSpec};

pub use campanile_core::decide::edit::request::NewRun;

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoTask(name) => Self::no_task(&name),
            Refused::Disabled(message) => Self::Conflict(message),
            Refused::Invalid(invalid) => invalid.into(),
        }
    }
}

impl Editor {
    /// Submits runs: all or none. One answer for each, in order.
    ///
    /// # Errors
    /// The first field at fault (`runs[3].task`), [`Error::NotFound`] for a task, or [`Error::Denied`].
    pub async fn submit(&self, requests: &[NewRun]) -> Result<Vec<Submitted>, Error> {
        self.may(Right::Submit)?;
        let may = |request: &NewRun, task: Option<&TaskSpec>| self.may_submit(request, task);
        self.submit_if(requests, may, &self.actor).await
    }

    /// The same, where who asks may do what is asked, as `may` says.
    async fn submit_if(
        &self,
        requests: &[NewRun],
        may: impl Fn(&NewRun, Option<&TaskSpec>) -> Result<(), Error>,
        by: &Actor,
    ) -> Result<Vec<Submitted>, Error> {
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
            let within = |e: Error| {
                if requests.len() > 1 {
                    e.inside(&format!("runs[{index}]."))
                } else {
                    e
                }
            };
            let named = request.task.as_deref().and_then(|name| {
                let at = tasks.binary_search_by(|t| t.spec.name.as_str().cmp(name));
                at.ok().map(|at| &tasks[at].spec)
            });
            may(request, named)?;
            let submission =
                submission(request, &tasks, id, now).map_err(|refused| within(refused.into()))?;
            submissions.push(submission);
        }
        check_keys(&submissions)?;
        let answers = match self.store_all(&submissions, by).await {
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
        by: &Actor,
    ) -> Result<Vec<Submitted>, store::Error> {
        let _seat = self.bulk_seat(submissions.len()).await;
        self.parts.store.submit(by, submissions).await
    }

    /// Starts a task out of turn, with its own payload or this one. Works for a paused task too.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the field at fault.
    pub async fn trigger(&self, name: &str, payload: Option<Value>) -> Result<Submitted, Error> {
        let request = NewRun {
            task: Some(name.to_owned()),
            payload,
            ..NewRun::default()
        };
        self.submit_one(&request).await
    }

    /// Submits one run.
    ///
    /// # Errors
    /// As [`Editor::submit`].
    pub async fn submit_one(&self, request: &NewRun) -> Result<Submitted, Error> {
        one(&self.submit(std::slice::from_ref(request)).await?)
    }

    /// Submits one run that the caller has checked: what runs, and with what, is not of the one who asks.
    pub(super) async fn submit_as_checked(
        &self,
        request: &NewRun,
        deed: Deed,
    ) -> Result<Submitted, Error> {
        let may = |_: &NewRun, _: Option<&TaskSpec>| Ok(());
        let by = self.actor.doing(deed);
        let answers = self
            .submit_if(std::slice::from_ref(request), may, &by)
            .await?;
        one(&answers)
    }

    /// Starts a task out of turn with its own payload, changed at some fields: a merge patch (RFC 7396), in which an object
    /// changes the fields that it names, null removes one, and anything else takes the place of what was there.
    ///
    /// # Errors
    /// [`Error::NotFound`]; `set`, where the patch or the task's payload has no fields; the field at fault.
    pub async fn trigger_with(&self, name: &str, patch: &Value) -> Result<Submitted, Error> {
        self.may(Right::Submit)?;
        let task = self.find_task(name).await?;
        self.may_task(Right::Submit, &task.spec)?;
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
        if !secret::names_of(None, Some(&payload)).is_empty() {
            let message = format!(
                "the payload of `{name}` names secrets, which count in the definition alone: give a whole payload as \
                 `payload`, without them"
            );
            return Err(Error::invalid("set", message));
        }
        merge(&mut payload, patch, limits::PAYLOAD_DEPTH_MAX, "")?;
        self.trigger(name, Some(payload)).await
    }

    /// A task may have been deleted between the look at it and the submission.
    async fn check_tasks(&self, requests: &[NewRun]) -> Result<(), Error> {
        let tasks = self.tasks_of(requests).await?;
        let named = |name: &str| tasks.iter().any(|t| t.spec.name == name);
        let mut wanted = requests.iter().filter_map(|r| r.task.as_deref());
        match wanted.find(|name| !named(name)) {
            Some(gone) => Err(Error::no_task(gone)),
            None => Ok(()),
        }
    }

    async fn tasks_of(&self, requests: &[NewRun]) -> Result<Vec<Task>, Error> {
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

fn one(answers: &[Submitted]) -> Result<Submitted, Error> {
    let first = answers.first().copied();
    first.ok_or_else(|| Error::Conflict("the store gave no answer for this run".to_owned()))
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
