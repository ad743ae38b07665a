//! `run …`: requests to the API from what was typed, and its answers as tables. It knows no rule of runs: what can't be
//! done, the service says.

use serde_json::{Map, Value, json};

use super::args::{OneRun, Run as Verb, RunList, Submit};
use super::client::{Client, escape, query};
use super::instants::{typed, typed_or_none};
use super::out::{Out, short};
use super::tasks::more;
use super::{Failure, typed_json};
use crate::api::model::{AttemptLog, Cancelled, Page, Run, RunDetail, Submitted};
use crate::document::{self, Form};

/// `run …`
pub async fn run(client: &Client, verb: Verb, out: Out) -> Result<(), Failure> {
    match verb {
        Verb::Submit(submit) => self::submit(client, submit, out).await?,
        Verb::List(list) => self::list(client, list, out).await?,
        Verb::Show(which) => {
            let run: RunDetail = client.get(&which.path_of()).await?;
            out.show(&run, show);
        }
        Verb::Cancel(which) => {
            let answer: Cancelled = client
                .post(&which.path_to("cancel"), &which.body(None))
                .await?;
            out.show(&answer, |out, answer| {
                let id = answer.id;
                out.line(match answer.outcome.as_str() {
                    "requested" => format!("{id} runs: its worker has been told to end it"),
                    _ => format!("{id} is cancelled: it never starts"),
                });
            });
        }
        Verb::Move { run: which, to } => {
            let to = typed("--to", &to, out)?;
            let (path, body) = (which.path_to("move"), which.body(Some(to)));
            let moved = client.post::<Run>(&path, &body).await;
            let answer = moved.map_err(|f| f.renamed("run_at", "--to"))?;
            out.show(&answer, |out, run| {
                let at = out.at(run.due_at, run.timezone.as_deref());
                out.line(format!("{} starts at {at}", run.id));
            });
        }
        Verb::Retry { id } => {
            let path = format!("/runs/{}/retry", escape(&id));
            let answer: Submitted = client.post(&path, &json!({})).await?;
            out.show(&answer, |out, answer| out.line(answer.id));
        }
        Verb::Logs { id, attempt } => logs(client, &id, attempt, out).await?,
    }
    Ok(())
}

/// The attempts' logs to standard output, heads and all: whoever sends both streams to one place gets one order.
async fn logs(client: &Client, id: &str, attempt: Option<u32>, out: Out) -> Result<(), Failure> {
    let mut logs: Page<AttemptLog> = client.get(&format!("/runs/{}/log", escape(id))).await?;
    if let Some(attempt) = attempt {
        logs.items.retain(|log| log.attempt == attempt);
    }
    out.show(&logs, |out, logs| {
        if attempt.is_some() {
            return logs.items.iter().for_each(|log| out.text(&log.text));
        }
        for log in &logs.items {
            if logs.items.len() > 1 {
                out.line(format!("--- attempt {}", log.attempt));
            }
            out.text(&log.text);
            if logs.items.len() > 1 && !log.text.ends_with('\n') {
                out.line("");
            }
        }
    });
    if logs.items.is_empty() {
        let which = attempt.map_or("it".to_owned(), |n| format!("attempt {n}"));
        out.remark(format!("{which} has written nothing, or has not ended yet"));
    }
    Ok(())
}

impl OneRun {
    /// Where it is read.
    fn path_of(&self) -> String {
        match &self.id {
            Some(id) => format!("/runs/{}", escape(id)),
            None => {
                let of = [
                    ("key", self.key.clone()),
                    ("task", self.task.clone()),
                    ("handler", self.handler.clone()),
                ];
                format!("/runs/by-key{}", query(&of))
            }
        }
    }

    /// Where something is asked of it.
    fn path_to(&self, verb: &str) -> String {
        match &self.id {
            Some(id) => format!("/runs/{}/{verb}", escape(id)),
            None => format!("/runs/by-key/{verb}"),
        }
    }

    /// What is asked: whose key it is, where no id is in the path, and the new instant.
    fn body(&self, run_at: Option<String>) -> Value {
        let fields = [
            ("key", self.key.clone()),
            ("task", self.task.clone()),
            ("handler", self.handler.clone()),
            ("run_at", run_at),
        ];
        let fields = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
        Value::Object(fields.collect())
    }
}

async fn submit(client: &Client, submit: Submit, out: Out) -> Result<(), Failure> {
    if let Some(path) = &submit.file {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::Usage(format!("can't read {}: {e}", path.display())))?;
        let body = document::read(Form::Json, &text).map_err(|wrong| {
            let place = wrong.at.map_or(String::new(), |at| format!(" {at}"));
            let field = document::path::text(&wrong.path);
            let field = if field.is_empty() {
                field
            } else {
                format!("{field}: ")
            };
            let message = wrong.message;
            Failure::Usage(format!("{}{place}: {field}{message}", path.display()))
        })?;
        let answer: Value = client.post("/runs", &body).await?;
        out.show(&answer, |out, answer| {
            for run in answer["runs"].as_array().into_iter().flatten() {
                out.line(run["id"].as_str().unwrap_or_default());
            }
        });
        return Ok(());
    }
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("task", submit.task.map(Value::from));
    put(
        "handler",
        submit
            .handler
            .map(|h| typed_json("handler", &h))
            .transpose()?,
    );
    put(
        "payload",
        submit
            .payload
            .map(|p| typed_json("payload", &p))
            .transpose()?,
    );
    put("queue", submit.queue.map(Value::from));
    put("priority", submit.priority.map(Value::from));
    let run_at = typed_or_none("--run-at", submit.run_at.as_ref(), out)?;
    put("run_at", run_at.map(Value::from));
    put(
        "retry",
        submit.retry.map(|r| typed_json("retry", &r)).transpose()?,
    );
    put("timeout", submit.timeout.map(Value::from));
    put("idempotency_key", submit.idempotency_key.map(Value::from));
    let answer: Submitted = client.post("/runs", &Value::Object(body)).await?;
    out.show(&answer, |out, answer| {
        out.line(answer.id);
        if !answer.created {
            out.remark("this key named the run already");
        }
    });
    Ok(())
}

async fn list(client: &Client, list: RunList, out: Out) -> Result<(), Failure> {
    let query = query(&[
        ("task", list.task),
        ("state", list.state),
        ("since", typed_or_none("--since", list.since.as_ref(), out)?),
        ("until", typed_or_none("--until", list.until.as_ref(), out)?),
        ("key", list.key),
        ("limit", Some(list.page.limit.to_string())),
        ("cursor", list.page.cursor),
    ]);
    let page: Page<Run> = client.get(&format!("/runs{query}")).await?;
    out.show(&page, |out, page| {
        let rows = page.items.iter().map(|run| row(out, run)).collect();
        out.table(
            &[
                "id", "task", "state", "due", "late", "attempt", "worker", "error",
            ],
            rows,
        );
        more(out, &json!({ "next_cursor": page.next_cursor }));
    });
    Ok(())
}

fn row(out: Out, run: &Run) -> Vec<String> {
    let state = match &run.reason {
        Some(reason) => format!("{} ({reason})", run.state),
        None => run.state.clone(),
    };
    vec![
        run.id.to_string(),
        run.task.clone().unwrap_or_else(|| "-".to_owned()),
        state,
        out.at(run.due_at, run.timezone.as_deref()),
        millis(run.lateness_ms),
        run.attempt.to_string(),
        run.worker.clone().unwrap_or_else(|| "-".to_owned()),
        short(run.error.as_deref().unwrap_or_default(), 60),
    ]
}

/// Attempts that a worker gave back because it can't carry them out. (A run that ended so has a last one that did not.)
fn refused(detail: &RunDetail) -> usize {
    let refused = detail.attempts.iter().filter(|a| a.reason == "not-allowed");
    refused.filter(|a| a.attempt != detail.run.attempt).count()
}

/// What kind of failure the last attempt ended with.
fn last_class(detail: &RunDetail) -> String {
    let last = detail.attempts.last();
    let class = last.and_then(|attempt| attempt.class.clone());
    class.unwrap_or_else(|| "-".to_owned())
}

fn millis(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))
}

/// What is known of the last attempt alone, said so where there were others.
fn of_attempt(run: &Run, text: String) -> String {
    match run.attempt {
        1 => text,
        n if text == "-" => format!("- (attempt {n})"),
        n => format!("{text} (attempt {n})"),
    }
}

/// When its first attempt began that began at all, and how late that was.
fn first_start(out: Out, detail: &RunDetail) -> String {
    let run = &detail.run;
    let ended = detail.attempts.iter().filter_map(|a| a.started_at);
    let Some(first) = ended.chain(run.started_at).min() else {
        return "-".to_owned();
    };
    // How late the last one is says from when on that is counted.
    let from_ms = match (run.started_at, run.lateness_ms) {
        (Some(last), Some(late)) => last.as_ms() - late,
        _ => run.due_at.as_ms(),
    };
    let (at, late) = (
        out.at(first, run.timezone.as_deref()),
        first.as_ms() - from_ms,
    );
    format!("{at} ({late} ms late)")
}

fn show(out: Out, detail: &RunDetail) {
    let run = &detail.run;
    let zone = run.timezone.as_deref();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let pairs = [
        ("id", run.id.to_string()),
        ("task", text(&run.task)),
        ("state", run.state.clone()),
        ("reason", text(&run.reason)),
        ("due", out.at(run.due_at, zone)),
        (
            "started",
            of_attempt(run, out.instant(run.started_at, zone)),
        ),
        ("first", first_start(out, detail)),
        ("finished", out.instant(run.finished_at, zone)),
        ("late", of_attempt(run, millis(run.lateness_ms))),
        (
            "attempt",
            format!(
                "{} ({} failed, {} lost, {} refused before the start)",
                run.attempt,
                run.failures,
                run.losses,
                refused(detail)
            ),
        ),
        ("class", last_class(detail)),
        (
            "blocked",
            short(detail.blocked.as_deref().unwrap_or("-"), 400),
        ),
        ("worker", text(&run.worker)),
        ("queue", run.queue.clone()),
        ("error", short(run.error.as_deref().unwrap_or("-"), 400)),
    ];
    for (name, value) in pairs {
        out.line(format!("{name:<9} {value}"));
    }
    out.line("");
    let rows = detail.timeline.iter().map(|entry| {
        vec![
            out.at(entry.at, zone),
            entry.event.clone(),
            entry
                .attempt
                .map_or_else(|| "-".to_owned(), |a| a.to_string()),
            text(&entry.worker),
            short(entry.message.as_deref().unwrap_or_default(), 80),
        ]
    });
    out.table(
        &["at", "event", "attempt", "worker", "message"],
        rows.collect(),
    );
}
