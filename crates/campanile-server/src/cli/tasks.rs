//! `apply` and `task …`: requests to the API from what was typed, and its answers as tables. A refusal of the service is
//! given the file and line here, because only here they are known.

use campanile::time::Timestamp;
use serde_json::{Value, json};

use super::Failure;
use super::args::{Apply, Task};
use super::client::{Client, escape, query};
use super::out::{Out, short};
use crate::api::model::{Applied, Submitted};
use crate::taskfile::TaskFile;

/// `apply FILE`
pub async fn apply(client: &Client, apply: &Apply, out: Out) -> Result<(), Failure> {
    let file = TaskFile::read(&apply.file).map_err(|e| Failure::Usage(e.to_string()))?;
    let path = format!("/apply?dry_run={}&prune={}", apply.dry_run, apply.prune);
    let limits = file.limits.iter();
    let limits = limits.map(|(limit, n)| json!({ "limit": limit.to_string(), "max_running": n }));
    let body = json!({
        "tasks": file.tasks,
        "calendars": file.calendars,
        "limits": limits.collect::<Vec<_>>(),
    });
    let answer: Applied = client
        .post(&path, &body)
        .await
        .map_err(|failure| with_place(failure, &file))?;
    out.show(&answer, show_difference);
    Ok(())
}

/// The service names task and field; the file and line are known here.
fn with_place(failure: Failure, file: &TaskFile) -> Failure {
    let Failure::Refused(mut problem) = failure else {
        return failure;
    };
    let place = problem
        .task
        .as_ref()
        .and_then(|task| file.place_of(task, problem.field.as_deref()));
    if let Some(place) = place {
        problem.detail = format!("{place}: {}", problem.detail);
        return Failure::Usage(problem.detail);
    }
    Failure::Refused(problem)
}

fn show_difference(out: Out, answer: &Applied) {
    let text = |v: &Option<Value>| {
        v.as_ref()
            .map_or_else(|| "(absent)".to_owned(), |v| short(&v.to_string(), 80))
    };
    for name in &answer.created {
        out.line(format!("+ {name}"));
    }
    for task in &answer.changed {
        out.line(format!("~ {}", task.name));
        for change in &task.fields {
            out.line(format!(
                "    {}: {} -> {}",
                change.field,
                text(&change.before),
                text(&change.after)
            ));
        }
    }
    for name in &answer.deleted {
        out.line(format!("- {name}"));
    }
    for name in &answer.calendars {
        out.line(format!("~ calendar {name}"));
    }
    for limit in &answer.limits {
        out.line(format!("~ limit {limit}"));
    }
    for warning in &answer.warnings {
        out.remark(format!("warning: {warning}"));
    }
    for name in &answer.kept_paused {
        out.line(format!(
            "  {name} stays paused: `campanile task resume {name}` lets it go on"
        ));
    }
    out.line(format!(
        "{} to create, {} to change, {} to delete, {} unchanged{}",
        answer.created.len(),
        answer.changed.len(),
        answer.deleted.len(),
        answer.unchanged.len(),
        if answer.applied {
            ": done"
        } else {
            ": nothing was done (dry run)"
        }
    ));
}

/// `task …`
pub async fn run(client: &Client, task: Task, out: Out) -> Result<(), Failure> {
    match task {
        Task::List(page) => {
            let query = query(&[
                ("limit", Some(page.limit.to_string())),
                ("cursor", page.cursor),
            ]);
            let answer: Value = client.get(&format!("/tasks{query}")).await?;
            out.show(&answer, list);
        }
        Task::Show { name } => {
            let answer: Value = client.get(&format!("/tasks/{}", escape(&name))).await?;
            out.show(&answer, |out, task| {
                let mut shown = task.clone();
                for field in ["next_due_at", "created_at", "updated_at"] {
                    let at = task[field].as_str().and_then(|t| Timestamp::parse(t).ok());
                    if let Some(at) = at {
                        shown[field] = out.at(at, task["timezone"].as_str()).into();
                    }
                }
                fields(out, &shown);
            });
        }
        Task::Pause { name } => change(client, &name, "pause", out).await?,
        Task::Resume { name } => change(client, &name, "resume", out).await?,
        Task::Trigger { name, payload, set } => {
            let payload = payload
                .map(|p| super::typed_json("payload", &p))
                .transpose()?;
            let body = match payload {
                Some(payload) => json!({ "payload": payload }),
                None if set.is_empty() => json!({}),
                None => json!({ "set": super::set::patch(&set).map_err(Failure::Usage)? }),
            };
            let path = format!("/tasks/{}/trigger", escape(&name));
            let answer: Submitted = client.post(&path, &body).await?;
            out.show(&answer, |out, answer| out.line(answer.id));
        }
        Task::Backfill(what) => super::rules::backfill(client, what, out).await?,
        Task::Delete { name } => {
            client.delete(&format!("/tasks/{}", escape(&name))).await?;
            out.show(&json!({ "name": name, "deleted": true }), |out, _| {
                out.line(format!("{name} is deleted"));
            });
        }
    }
    Ok(())
}

async fn change(client: &Client, name: &str, verb: &str, out: Out) -> Result<(), Failure> {
    let path = format!("/tasks/{}/{verb}", escape(name));
    let answer: Value = client.post(&path, &json!({})).await?;
    out.show(&answer, |out, task| {
        out.line(match verb {
            "pause" => format!("{name} is paused"),
            _ => format!("{name} goes on; next: {}", next(out, task)),
        });
    });
    Ok(())
}

fn list(out: Out, page: &Value) {
    let text = |task: &Value, field: &str| task[field].as_str().unwrap_or("-").to_owned();
    let rows = page["items"].as_array().into_iter().flatten().map(|task| {
        let handler = task["handler"]
            .as_object()
            .and_then(|h| h.keys().next().cloned());
        let next = if task["paused"] == json!(true) {
            "paused".to_owned()
        } else if task["enabled"] == json!(false) {
            "disabled".to_owned()
        } else {
            next(out, task)
        };
        vec![
            text(task, "name"),
            short(&schedule(task), 40),
            text(task, "timezone"),
            handler.unwrap_or_default(),
            text(task, "queue"),
            next,
        ]
    });
    out.table(
        &["name", "schedule", "timezone", "handler", "queue", "next"],
        rows.collect(),
    );
    let items = page["items"].as_array().into_iter().flatten();
    for task in items {
        if let Some(warning) = task["warning"].as_str() {
            out.remark(format!("{}: {warning}", text(task, "name")));
        }
    }
    more(out, page);
}

/// A task's next instant.
fn next(out: Out, task: &Value) -> String {
    let at = task["next_due_at"]
        .as_str()
        .and_then(|t| Timestamp::parse(t).ok());
    match at {
        None => "never".to_owned(),
        Some(at) => out.at(at, task["timezone"].as_str()),
    }
}

/// A schedule, or several.
fn schedule(task: &Value) -> String {
    match &task["schedule"] {
        Value::String(one) => one.replace('\n', " "),
        Value::Array(all) => {
            let texts: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            texts.join("; ")
        }
        _ => "-".to_owned(),
    }
}

/// Says that a list goes on.
pub fn more(out: Out, page: &Value) {
    if let Some(cursor) = page["next_cursor"].as_str() {
        out.remark(format!("there may be more: --cursor {cursor}"));
    }
}

/// An object as lines of fields.
pub fn fields(out: Out, object: &Value) {
    let rows = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            vec![name.clone(), short(&text, 200)]
        });
    out.table(&["field", "value"], rows.collect());
}
