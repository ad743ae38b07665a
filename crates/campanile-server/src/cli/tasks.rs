//! `apply` and `task …`: requests to the API from what was typed, and its answers as tables. A refusal of the service is
//! given the file and line here, because only here they are known.

use std::collections::BTreeMap;

use campanile_ask::{Deletion, Diff};
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use super::Failure;
use super::args::{Apply, Task};
use super::client::{Client, escape, query};
use super::instants::typed_or_none;
use super::out::{Out, short};
use crate::api::model::Submitted;
use crate::taskfile::TaskFile;

/// `apply FILE`
pub async fn apply(client: &Client, apply: &Apply, out: Out) -> Result<(), Failure> {
    let file = TaskFile::read(&apply.file).map_err(|e| Failure::Usage(e.to_string()))?;
    let owner = apply.owner.as_ref().or(file.definitions.owner.as_ref());
    let ask = async |confirm: Option<String>| -> Result<Diff, Failure> {
        let query = query(&[
            ("dry_run", Some(apply.dry_run.to_string())),
            ("prune", Some(apply.prune.to_string())),
            ("owner", owner.cloned()),
            ("take_over", Some(apply.take_over.to_string())),
            ("confirm", confirm),
        ]);
        let path = format!("/apply{query}");
        let answer = client.post(&path, &file.definitions).await;
        answer.map_err(|failure| with_place(failure, &file))
    };
    let mut answer = ask(apply.confirm.clone()).await?;
    while answer.remaining > 0 {
        let (done, left) = (answer.deleted.len(), answer.remaining);
        out.remark(format!("{done} of {} tasks are deleted", done + left));
        // A client that stops here has lost nothing: what is left is found by asking again.
        let more = ask(answer.confirm.take()).await?;
        answer.deleted.extend(more.deleted);
        (answer.remaining, answer.confirm) = (more.remaining, more.confirm);
    }
    let inherited = if apply.dry_run {
        file.inherited()
    } else {
        BTreeMap::new()
    };
    out.show(&answer, |out, answer| {
        show_difference(out, answer, &inherited);
    });
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
    let shared = problem.field.as_deref().filter(|_| problem.task.is_none());
    if let Some((field, (place, named))) =
        shared.and_then(|field| Some((field, file.shared_place(field)?)))
    {
        let (from, to) = (format!("{field}: "), format!("{named}: "));
        let detail = problem.detail.replacen(&from, &to, 1);
        return Failure::Usage(format!("{place}: {detail}"));
    }
    if let Some(place) = place {
        problem.detail = format!("{place}: {}", problem.detail);
        return Failure::Usage(problem.detail);
    }
    Failure::Refused(problem)
}

/// `inherited`: what tasks have of the file's defaults, which a dry run shows.
fn show_difference(out: Out, answer: &Diff, inherited: &BTreeMap<String, String>) {
    let text = |v: &Option<Value>| {
        v.as_ref()
            .map_or_else(|| "(absent)".to_owned(), |v| short(&v.to_string(), 80))
    };
    for name in &answer.created {
        out.line(format!("+ {name}"));
        show_inherited(out, inherited, name);
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
        show_inherited(out, inherited, &task.name);
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
    if answer.waiting_runs > 0 {
        let n = answer.waiting_runs;
        out.line(format!(
            "  {n} runs wait for tasks that go: they are cancelled"
        ));
    }
    if let Some(token) = &answer.confirm {
        out.line(format!("  to delete exactly these: --confirm {token}"));
    }
    let shared = [(&answer.calendars, "calendars"), (&answer.limits, "limits")];
    let shared = shared.iter().filter(|(all, _)| !all.is_empty());
    let shared: String = shared
        .map(|(all, what)| format!(", {} {what} to put", all.len()))
        .collect();
    out.line(format!(
        "{} to create, {} to change, {} to delete, {} unchanged{shared}{}",
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

fn show_inherited(out: Out, inherited: &BTreeMap<String, String>, name: &str) {
    if let Some(fields) = inherited.get(name) {
        out.line(format!("    by the file's defaults: {fields}"));
    }
}

/// `task …`
pub async fn run(client: &Client, task: Task, out: Out) -> Result<(), Failure> {
    match task {
        Task::List { owner, label, page } => {
            let query = query(&[
                ("owner", owner),
                ("label", Some(label.join(",")).filter(|l| !l.is_empty())),
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
        Task::Pause {
            name,
            reason,
            until,
        } => {
            let until = typed_or_none("--until", until.as_ref(), out)?;
            let body = json!({ "reason": reason, "until": until });
            change(client, &name, ("pause", &body), out).await?;
        }
        Task::Resume { name } => change(client, &name, ("resume", &json!({})), out).await?,
        Task::Trigger { name, payload, set } => {
            let payload = payload.map(|p| super::typed_json::<Value>("payload", &p));
            let payload = payload.transpose()?;
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
        Task::Delete {
            name,
            dry_run,
            confirm,
        } => delete(client, &name, dry_run, confirm, out).await?,
    }
    Ok(())
}

async fn delete(
    client: &Client,
    name: &str,
    dry_run: bool,
    confirm: Option<String>,
    out: Out,
) -> Result<(), Failure> {
    let query = query(&[
        ("dry_run", dry_run.then(|| "true".to_owned())),
        ("confirm", confirm),
    ]);
    let path = format!("/tasks/{}{query}", escape(name));
    // Nothing is said where nothing waited.
    let told: Option<Deletion> = client.delete_telling(&path).await?;
    let told = told.unwrap_or_else(|| Deletion {
        name: name.to_owned(),
        deleted: true,
        waiting_runs: 0,
        running_runs: 0,
        confirm: None,
    });
    out.show(&told, show_deletion);
    Ok(())
}

fn show_deletion(out: Out, told: &Deletion) {
    let (name, waiting) = (&told.name, told.waiting_runs);
    if told.deleted {
        out.line(format!("{name} is deleted"));
        if waiting > 0 {
            out.line(format!(
                "{waiting} waiting runs are being cancelled, and none of them starts: `campanile run list --task {name} \
                 --state scheduled` shows those that are left"
            ));
        }
        return;
    }
    out.line(format!(
        "{name}: {waiting} waiting runs would be cancelled, {} running ones would go on; nothing was done (dry run)",
        told.running_runs
    ));
    if let Some(token) = &told.confirm {
        out.line(format!("to delete exactly this: --confirm {token}"));
    }
}

async fn change(
    client: &Client,
    name: &str,
    (verb, body): (&str, &Value),
    out: Out,
) -> Result<(), Failure> {
    let path = format!("/tasks/{}/{verb}", escape(name));
    let answer: Value = client.post(&path, body).await?;
    out.show(&answer, |out, task| {
        out.line(match verb {
            "pause" => format!("{name} is {}", paused(out, task)),
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
            paused(out, task)
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
            text(task, "owner"),
            next,
        ]
    });
    out.table(
        &[
            "name", "schedule", "timezone", "handler", "queue", "owner", "next",
        ],
        rows.collect(),
    );
    // What is said of many is said once.
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for task in page["items"].as_array().into_iter().flatten() {
        if let Some(warning) = task["warning"].as_str() {
            told.entry(warning).or_default().push(text(task, "name"));
        }
    }
    for (warning, names) in told {
        match names.as_slice() {
            [name] => out.remark(format!("{name}: {warning}")),
            [first, rest @ ..] => {
                out.remark(format!("{first} and {} more: {warning}", rest.len()));
            }
            [] => {}
        }
    }
    more(out, page);
}

/// That a task is paused, until when, by whom and why.
fn paused(out: Out, task: &Value) -> String {
    let pause = &task["pause"];
    let until = pause["until"].as_str();
    let until = until.and_then(|t| Timestamp::parse(t).ok());
    let until = until.map_or_else(String::new, |until| {
        format!(" until {}", out.at(until, task["timezone"].as_str()))
    });
    let by = pause["by"]
        .as_str()
        .map_or_else(String::new, |by| format!(" by {by}"));
    let reason = pause["reason"].as_str();
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", short(reason, 60)));
    format!("paused{until}{by}{reason}")
}

/// A task's next instant.
fn next(out: Out, task: &Value) -> String {
    let at = task["next_due_at"]
        .as_str()
        .and_then(|t| Timestamp::parse(t).ok());
    match at {
        None => task["next_after_run"].as_str().map_or_else(
            || "never".to_owned(),
            |run| format!("after the end of {run}"),
        ),
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
