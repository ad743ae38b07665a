//! `run …`: requests to the API from what was typed, and its answers as tables. It knows no rule of runs: what can't be
//! done, the service says.

use std::path::Path;

use campanile_ask::NewRun;
use campanile_core::misread::{self, Misread};
use campanile_schedule::time::parse_duration;
use serde_json::{Value, json};

use super::args::{OneRun, Run as Verb, RunList, Submit};
use super::client::{Client, escape, query};
use super::instants::{instant, typed, typed_or_none};
use super::out::{Out, short};
use super::tasks::more;
use super::{Failure, typed_json};
use crate::api::input::REQUEST;
use crate::api::model::{AttemptLog, Cancelled, Page, Run, RunDetail, Submitted};
use crate::api::runs::{NewRuns, SubmittedAll};
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
        Verb::Logs {
            id,
            attempt,
            follow: true,
        } => return super::follow::run(client, &id, attempt, out).await,
        Verb::Logs { id, attempt, .. } => logs(client, &id, attempt, out).await?,
    }
    Ok(())
}

/// The attempts' logs to standard output, heads and all: whoever sends both streams to one place gets one order.
async fn logs(client: &Client, id: &str, attempt: Option<u32>, out: Out) -> Result<(), Failure> {
    let path = format!("/runs/{}/log", escape(id));
    let asked = attempt.map(|attempt| attempt.to_string());
    let mut logs: Page<AttemptLog> = client
        .get(&format!("{path}{}", query(&[("attempt", asked)])))
        .await?;
    while let Some(cursor) = logs.next_cursor.take() {
        let next = query(&[("cursor", Some(cursor))]);
        let more: Page<AttemptLog> = client.get(&format!("{path}{next}")).await?;
        logs.items.extend(more.items);
        logs.next_cursor = more.next_cursor;
    }
    out.show(&logs, |out, logs| {
        if attempt.is_some() {
            return logs.items.iter().for_each(|log| out.text(&log.text));
        }
        for log in &logs.items {
            if logs.items.len() > 1 {
                out.line(head(log.attempt, log.worker.as_deref(), &log.state));
            }
            out.text(&log.text);
            if logs.items.len() > 1 && !log.text.ends_with('\n') {
                out.line("");
            }
        }
    });
    if logs.items.iter().all(|log| log.text.is_empty()) {
        let which = attempt.map_or("it".to_owned(), |n| format!("attempt {n}"));
        out.remark(format!("{which} has written nothing so far"));
    }
    Ok(())
}

/// The line above what an attempt wrote.
pub(super) fn head(attempt: u32, worker: Option<&str>, state: &str) -> String {
    let on = worker.map_or(String::new(), |name| format!(" on {name}"));
    format!("--- attempt {attempt}{on}: {state}")
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
        return match Asked::read(path)? {
            Asked::One(request) => submit_one(client, &request, out).await,
            Asked::Many(requests) => {
                let answer: SubmittedAll = client.post("/runs", &requests).await?;
                out.show(&answer, |out, answer| {
                    for run in &answer.runs {
                        out.line(run.id);
                    }
                });
                Ok(())
            }
        };
    }
    submit_one(client, &submit.request(out)?, out).await
}

async fn submit_one(client: &Client, request: &NewRun, out: Out) -> Result<(), Failure> {
    let answer: Submitted = client.post("/runs", request).await?;
    out.show(&answer, |out, answer| {
        out.line(answer.id);
        if !answer.created {
            out.remark("this key named the run already");
        }
    });
    Ok(())
}

impl Submit {
    /// What was typed.
    fn request(self, out: Out) -> Result<NewRun, Failure> {
        let handler = self.handler.map(|h| typed_json("handler", &h));
        let payload = self.payload.map(|p| typed_json("payload", &p));
        let retry = self.retry.map(|r| typed_json("retry", &r));
        let run_at = self.run_at.map(|at| instant("--run-at", &at, out));
        let timeout = self.timeout.map(|text| {
            parse_duration(&text).map_err(|e| Failure::Usage(format!("--timeout: {e}")))
        });
        Ok(NewRun {
            task: self.task,
            handler: handler.transpose()?,
            payload: payload.transpose()?,
            queue: self.queue,
            priority: self.priority,
            run_at: run_at.transpose()?,
            retry: retry.transpose()?,
            timeout: timeout.transpose()?,
            idempotency_key: self.idempotency_key,
        })
    }
}

/// What a file of runs asks for.
enum Asked {
    One(Box<NewRun>),
    Many(NewRuns),
}

impl Asked {
    fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::Usage(format!("{}{why}", path.display()));
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::Usage(format!("can't read {}: {e}", path.display())))?;
        let body = document::read(Form::Json, &text).map_err(|e| {
            let place = e.at.map_or(String::new(), |at| format!(" {at}"));
            let field = document::path::text(&e.path);
            let colon = if field.is_empty() { "" } else { ": " };
            wrong(format!("{place}: {field}{colon}{}", e.message))
        })?;
        let misread = |e: Box<Misread>| {
            let steps = document::path::parse(&e.field);
            let place = document::place(Form::Json, &text, &steps);
            let place = place.map_or(String::new(), |at| format!(" {at}"));
            wrong(format!("{place}: {e}"))
        };
        if body.get("runs").is_some() {
            misread::read(&body, &REQUEST)
                .map(Self::Many)
                .map_err(misread)
        } else {
            misread::read(&body, &REQUEST)
                .map(|one| Self::One(Box::new(one)))
                .map_err(misread)
        }
    }
}

async fn list(client: &Client, list: RunList, out: Out) -> Result<(), Failure> {
    let query = query(&[
        ("task", list.task),
        (
            "label",
            Some(list.label.join(",")).filter(|l| !l.is_empty()),
        ),
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

/// How far it last said that it was.
fn progress(out: Out, detail: &RunDetail) -> String {
    let Some(said) = &detail.progress else {
        return "-".to_owned();
    };
    let at = out.at(said.at, detail.run.timezone.as_deref());
    let text = format!("{} % {}", said.percent, said.message);
    let text = short(&text, 300);
    match said.attempt {
        n if n == detail.run.attempt => format!("{text} ({at})"),
        n => format!("{text} ({at}, attempt {n})"),
    }
}

/// What it returned.
fn result(detail: &RunDetail) -> String {
    let json = detail.result.as_ref().map(ToString::to_string);
    short(json.as_deref().unwrap_or("-"), 400)
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
        ("by", short(detail.submitter.as_deref().unwrap_or("-"), 200)),
        ("error", short(run.error.as_deref().unwrap_or("-"), 400)),
        ("progress", progress(out, detail)),
        ("result", result(detail)),
    ];
    for (name, value) in pairs {
        out.line(format!("{name:<9} {value}"));
    }
    out.line("");
    let rows = detail.timeline.iter().map(|entry| {
        vec![
            out.at(entry.at, zone),
            entry.event.to_string(),
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
