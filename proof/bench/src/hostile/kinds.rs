//! The kinds of request, each the worst of its kind that was found: much work for little text, much text for nothing,
//! much answer, no end.

use axum::body::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Error;

/// Requests of each kind that are made once, before anything is measured: making them is no work of the node's.
const VARIANTS: usize = 8;
/// More than a body may have.
const TOO_MUCH_BYTES: usize = 57 << 20;
/// Just under what a body may have.
const JUST_UNDER_BYTES: usize = 15 << 20;

/// What is sent.
#[derive(Debug, Clone)]
pub enum Request {
    /// Over a client.
    Http {
        /// The method.
        method: Method,
        /// Path and query.
        path: String,
        /// The body.
        body: Bytes,
        /// Another token than the right one.
        token: Option<String>,
    },
    /// As it is.
    Raw(Bytes),
}

/// A kind of request.
#[derive(Debug)]
pub struct Kind {
    /// What it is called in the figures.
    pub name: &'static str,
    /// Requests of it, each another.
    pub requests: Vec<Request>,
}

/// What makes a kind's requests; the number makes each another.
type Make = fn(usize) -> Request;

const KINDS: &[(&str, Make)] = &[
    ("count", count),
    ("page", |_| get("/api/v1/tasks?limit=1000")),
    ("plan", |_| get("/api/v1/plan?days=366&top=50")),
    ("backfill", |_| backfill()),
    ("never", never),
    ("empty-lists", |_| lists(TOO_MUCH_BYTES)),
    ("empty-objects", |_| objects(TOO_MUCH_BYTES)),
    ("zeros", |_| zeros(TOO_MUCH_BYTES)),
    ("fewer-lists", |_| lists(JUST_UNDER_BYTES)),
    ("fewer-objects", |_| objects(JUST_UNDER_BYTES)),
    ("fewer-zeros", |_| zeros(JUST_UNDER_BYTES)),
    ("long-text", long_text),
    ("deep", |_| post("/api/v1/runs", "[".repeat(1 << 20))),
    ("many-runs", |_| many_runs()),
    ("calendar", calendar),
    ("runs", |_| get("/api/v1/runs?limit=1000")),
    ("guess", guess),
    ("headers", |_| headers()),
    ("two-hosts", |_| {
        raw("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    }),
    ("chunks", |_| chunks()),
    ("garbage", |n| {
        Request::Raw(vec![u8::try_from(n).unwrap_or(0); 4_096].into())
    }),
];

/// All kinds, or those that are named.
///
/// # Errors
/// A name that is none.
pub fn all(only: &[String]) -> Result<Vec<Kind>, Error> {
    if let Some(odd) = only
        .iter()
        .find(|n| !KINDS.iter().any(|(name, _)| name == n))
    {
        let names: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "--kinds: `{odd}` is none: write some of {}",
            names.join(", ")
        );
        return Err(Error::Impossible(message));
    }
    let chosen = KINDS
        .iter()
        .filter(|(name, _)| only.is_empty() || only.iter().any(|n| n == name));
    let kind = |(name, make): &(&'static str, Make)| Kind {
        name,
        // Those of much text are all the same.
        requests: match make(0) {
            Request::Http { body, .. } if body.len() > 1 << 20 => vec![make(0)],
            _ => (0..VARIANTS).map(make).collect(),
        },
    };
    Ok(chosen.map(kind).collect())
}

fn raw(text: impl Into<String>) -> Request {
    Request::Raw(text.into().into())
}

fn http(method: Method, path: impl Into<String>, body: impl Into<String>) -> Request {
    Request::Http {
        method,
        path: path.into(),
        body: body.into().into(),
        token: None,
    }
}

fn get(path: &str) -> Request {
    http(Method::GET, path, "")
}

fn post(path: &str, body: impl Into<String>) -> Request {
    http(Method::POST, path, body)
}

fn put_task(name: &str, more: &Value) -> Request {
    let mut task = json!({ "handler": { "native": "nobody" }, "paused": true });
    if let (Some(task), Some(more)) = (task.as_object_mut(), more.as_object()) {
        task.extend(more.clone());
    }
    http(
        Method::PUT,
        format!("/api/v1/tasks/{name}"),
        task.to_string(),
    )
}

/// A count whose last instant is four thousand million steps away.
fn count(n: usize) -> Request {
    let name = format!("count-{}", n % 8);
    put_task(
        &name,
        &json!({ "schedule": "every 1s", "max_count": u32::MAX }),
    )
}

/// Every instant of fifty years.
fn backfill() -> Request {
    let body =
        json!({ "from": "1976-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z", "dry_run": true });
    post("/api/v1/tasks/steady-0/backfill", body.to_string())
}

/// Schedules that a search walks through in vain.
fn never(n: usize) -> Request {
    let rules = [
        "rrule FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
        "rrule FREQ=MINUTELY;BYYEARDAY=366;BYDAY=MO;BYMONTH=1",
        "rrule FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6",
        "0 0 0 29 2 ? 2197",
    ];
    put_task("never", &json!({ "schedule": rules[n % rules.len()] }))
}

/// Many values of little text.
fn bulk(path: &str, begin: &str, one: &str, bytes: usize) -> Request {
    let mut body = begin.to_owned();
    body.push_str(&one.repeat(bytes / one.len()));
    body.push_str("0]}");
    post(path, body)
}

fn lists(bytes: usize) -> Request {
    bulk("/api/v1/apply", "{\"tasks\":[", "[],", bytes)
}

fn objects(bytes: usize) -> Request {
    bulk("/api/v1/apply", "{\"tasks\":[", "{},", bytes)
}

fn zeros(bytes: usize) -> Request {
    bulk("/api/v1/runs", "{\"runs\":[", "0,", bytes)
}

/// One value of much text.
fn long_text(n: usize) -> Request {
    let text = "x".repeat(900 << 10);
    let more = match n % 3 {
        0 => json!({ "description": text }),
        1 => json!({ "handler": { "command": { "argv": ["/bin/true"], "stdin": text } } }),
        _ => json!({ "payload": { "text": text } }),
    };
    put_task("long", &more)
}

/// As many runs as one submission may have; always the same, so that the store does not grow.
fn many_runs() -> Request {
    let run = |n| {
        json!({
            "task": "heavy-0", "run_at": "2199-01-01T00:00:00Z", "idempotency_key": format!("many-{n}"),
        })
    };
    let runs: Vec<_> = (0..10_000).map(run).collect();
    post("/api/v1/runs", json!({ "runs": runs }).to_string())
}

/// A calendar with many days.
fn calendar(n: usize) -> Request {
    let day = |n: usize| {
        format!(
            "{}-{:02}-{:02}",
            1970 + n / 336,
            n / 28 % 12 + 1,
            n % 28 + 1
        )
    };
    let dates: Vec<String> = (n..n + 20_000).map(day).collect();
    let body = json!({ "dates": dates }).to_string();
    http(Method::PUT, "/api/v1/calendars/many", body)
}

fn guess(n: usize) -> Request {
    Request::Http {
        method: Method::GET,
        path: "/api/v1/leader".to_owned(),
        body: Bytes::new(),
        token: Some(format!("cmp_{n:064x}")),
    }
}

fn headers() -> Request {
    let mut text = String::from("GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
    for n in 0..50_000 {
        text.push_str(&format!("x-{n}: 1\r\n"));
    }
    raw(text + "\r\n")
}

/// A body in chunks of a byte each.
fn chunks() -> Request {
    let head =
        "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw(head.to_owned() + &"1\r\n[\r\n".repeat(1 << 17) + "0\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_makes_a_request_and_is_found_by_its_name() {
        let kinds = all(&[]).unwrap();
        for kind in &kinds {
            for request in &kind.requests {
                match request {
                    Request::Raw(bytes) => assert!(!bytes.is_empty(), "{}", kind.name),
                    Request::Http { path, .. } => {
                        assert!(path.starts_with("/api/"), "{}", kind.name);
                    }
                }
            }
            assert!(!kind.requests.is_empty(), "{}", kind.name);
        }
        assert_eq!(all(&["plan".to_owned()]).unwrap().len(), 1);
        assert!(all(&["nice".to_owned()]).is_err());
    }
}
