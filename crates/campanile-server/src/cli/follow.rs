//! `run logs --follow`: the service's stream of events, to its end. A stream that breaks off is opened again, at whichever service
//! answers, from where it was.

use std::time::Duration;

use campanile_core::system;
use serde_json::{Value, json};

use super::Failure;
use super::args::Form;
use super::client::{Client, escape, query};
use super::out::Out;
use super::runs::head;
use crate::api::model::{AttemptLog, AttemptStanding, Progress, RunEnd};

/// A stream that says nothing for so long is gone: the service says something every fifteen seconds.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How often a stream that broke off is opened again, and how many times in a row.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 60;
/// One event: a piece of a log as JSON.
const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One event of a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
    id: Option<String>,
}

/// Follows a run to its end.
///
/// # Errors
/// It did not end well; no service answers any more.
pub async fn run(client: &Client, id: &str, attempt: Option<u32>, out: Out) -> Result<(), Failure> {
    let from = query(&[("attempt", attempt.map(|n| n.to_string()))]);
    let path = format!("/runs/{}/log/stream{from}", escape(id));
    let mut shown = Shown::new(out);
    let (mut last, mut tries) = (None::<String>, 0);
    loop {
        let seen = last.clone();
        let header = seen.as_deref().map(|id| ("last-event-id", id));
        let opened = match client.open(&path, header).await {
            Ok(response) => Ok(Events::of(response)),
            // The first time it is for people to mend; later it may mend itself.
            Err(failure @ Failure::Failed(_)) if tries > 0 && tries < TRIES_MAX => Err(failure),
            Err(failure) => return Err(failure),
        };
        if let Ok(mut events) = opened {
            while let Some(event) = events.next().await {
                tries = 0;
                last = event.id.clone().or(last);
                if let Some(end) = shown.show(&event)? {
                    return ended(id, &end);
                }
            }
        }
        tries += 1;
        system::pause(AGAIN).await;
    }
}

/// What the exit status says.
fn ended(id: &str, end: &RunEnd) -> Result<(), Failure> {
    if end.state == "succeeded" {
        return Ok(());
    }
    let why = [&end.reason, &end.error].into_iter().flatten();
    let why: Vec<&str> = why.map(String::as_str).collect();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join(": "))
    };
    Err(Failure::Failed(format!("run {id} {}{why}", end.state)))
}

/// What was shown so far.
struct Shown {
    out: Out,
    /// The output stands at the beginning of a line.
    fresh: bool,
    /// The attempt that writes.
    attempt: u32,
}

impl Shown {
    const fn new(out: Out) -> Self {
        Self {
            out,
            fresh: true,
            attempt: 1,
        }
    }

    /// Shows an event; answers the run's end if it is that.
    fn show(&mut self, event: &Event) -> Result<Option<RunEnd>, Failure> {
        let broken = |e| {
            Failure::Failed(format!(
                "the service sends what this version can't read: {e}"
            ))
        };
        if self.out.form == Form::Json {
            let data: Value = serde_json::from_str(&event.data).map_err(broken)?;
            let line = json!({ "event": event.name, "data": data });
            self.out.line(line);
        }
        let people = self.out.form != Form::Json;
        match event.name.as_str() {
            "log" if people => {
                let log: AttemptLog = serde_json::from_str(&event.data).map_err(broken)?;
                self.out.text(&log.text);
                self.fresh = log.text.is_empty() || log.text.ends_with('\n');
            }
            "attempt" if people => {
                let standing = serde_json::from_str(&event.data).map_err(broken)?;
                self.attempt(&standing);
            }
            "progress" if people => {
                let said: Progress = serde_json::from_str(&event.data).map_err(broken)?;
                self.out
                    .remark(format!("{} % {}", said.percent, said.message));
            }
            "end" => {
                let end: RunEnd = serde_json::from_str(&event.data).map_err(broken)?;
                self.line_end(people);
                return Ok(Some(end));
            }
            _ => {}
        }
        Ok(None)
    }

    /// A line for each attempt but a first one that goes well: so the output of one attempt stays as it was written.
    fn attempt(&mut self, standing: &AttemptStanding) {
        let AttemptStanding {
            attempt,
            state,
            worker,
        } = standing;
        if (*attempt > 1 || *attempt != self.attempt) && state == "running" || is_bad(state) {
            self.line_end(true);
            self.out.line(head(*attempt, worker.as_deref(), state));
        }
        self.attempt = *attempt;
    }

    fn line_end(&mut self, people: bool) {
        if people && !self.fresh {
            self.out.line("");
        }
        self.fresh = true;
    }
}

/// Whether an attempt ended so that another one follows, or none may.
fn is_bad(state: &str) -> bool {
    !matches!(
        state,
        "running" | "succeeded" | "failed" | "cancelled" | "skipped"
    )
}

/// The events of an answer.
struct Events {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Events {
    const fn of(response: reqwest::Response) -> Self {
        Self {
            response,
            buffer: Vec::new(),
        }
    }

    /// The next event; `None` once the stream has ended, is broken or silent.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(length) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..length + 2).collect();
                if let Some(event) = read(&String::from_utf8_lossy(&block)) {
                    return Some(event);
                }
            }
            if self.buffer.len() > EVENT_BYTES_MAX {
                return None;
            }
            let more = system::within(SILENCE_MAX, self.response.chunk()).await;
            self.buffer.extend_from_slice(&more?.ok()??);
        }
    }
}

/// One block of lines; `None` for a comment.
fn read(block: &str) -> Option<Event> {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            "id" => event.id = Some(value.to_owned()),
            _ => {}
        }
    }
    (!event.name.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_and_a_comment_is_none() {
        let event = read("event: log\nid: 1:9\ndata: {\"a\":1}\n\n").unwrap();
        assert_eq!(
            (event.name.as_str(), event.id.as_deref()),
            ("log", Some("1:9"))
        );
        assert_eq!(event.data, "{\"a\":1}");
        assert_eq!(read(": \n\n"), None);
        assert_eq!(read("\n\n"), None);
    }

    #[test]
    fn the_exit_status_follows_the_state() {
        let end = |state: &str| RunEnd {
            state: state.to_owned(),
            reason: Some("lost".to_owned()),
            error: None,
        };
        assert!(ended("r", &end("succeeded")).is_ok());
        for state in ["failed", "cancelled", "skipped", "gone"] {
            let failure = ended("r", &end(state)).unwrap_err();
            let Failure::Failed(text) = failure else {
                panic!("{failure:?}")
            };
            assert_eq!(text, format!("run r {state} (lost)"));
        }
    }
}
