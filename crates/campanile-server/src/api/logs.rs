//! A run's log over HTTP: as it stands, from any place on; and as a stream of events while it is written. What the events are,
//! and who shares which look at the store, is [`campanile_ask`]'s.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::Extension;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use campanile_ask::{Followed, Follower, LogQuery, Place};
use campanile_core::causes;
use campanile_core::system::pause;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::acts::By;
use super::input::{Params, RunPath};
use super::model::{AttemptLog, AttemptStanding, Page, Progress, RunEnd};
use super::problem::Problem;

/// A stream without news says so often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream waits until it asks a store again that did not answer.
const STORE_WAIT: Duration = Duration::from_secs(2);

/// Which part of a run's log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogParams {
    /// Of this attempt alone.
    attempt: Option<u32>,
    /// With `attempt`: from this byte of what it wrote on.
    from: Option<u64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What a run's attempts wrote, also while they run: of each its beginning and its end, and how much is missing between.
#[utoipa::path(get, path = "/api/v1/runs/{id}/log", tag = "runs", params(("id" = String, Path), LogParams),
    responses((status = 200, body = Page<AttemptLog>), (status = "default", body = Problem)))]
pub async fn log(
    By(control): By,
    RunPath(id): RunPath,
    Params(params): Params<LogParams>,
) -> Result<Answer<Page<AttemptLog>>, Problem> {
    let query = LogQuery {
        attempt: params.attempt,
        from: params.from.unwrap_or(0),
    };
    let page = control.logs(id, query, params.cursor.as_deref()).await?;
    Ok(Answer(Page {
        items: page.items.into_iter().map(AttemptLog::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// From where on a run's log is followed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamParams {
    /// From this attempt on; default 1.
    attempt: Option<u32>,
    /// With `attempt`: from this byte of what it wrote on.
    from: Option<u64>,
}

/// What fires when the node stops: streams end then, and their readers go to another node.
#[derive(Debug, Clone)]
pub struct Closing(pub CancellationToken);

/// What a run's attempts write, as server-sent events: `log` (an attempt's log; its `id` is where it ends), `attempt` (one began or
/// ended), `progress`, and `end`, after which the stream closes. `Last-Event-ID` goes on where another stream broke off.
#[utoipa::path(get, path = "/api/v1/runs/{id}/log/stream", tag = "runs", params(("id" = String, Path), StreamParams,
    ("last-event-id" = Option<String>, Header, description = "The `id` of the last event that was seen: it leads over the query")),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = "default", body = Problem)))]
pub async fn stream(
    By(control): By,
    RunPath(id): RunPath,
    Params(params): Params<StreamParams>,
    headers: HeaderMap,
    closing: Option<Extension<Closing>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = match headers.get("last-event-id") {
        Some(id) => read_place(id.to_str().unwrap_or_default())?,
        None if params.attempt.is_none() && params.from.is_some() => {
            let detail = "from: is a place in one attempt's log: name the attempt too";
            return Err(Problem::bad(Some("from"), detail));
        }
        None => Place {
            attempt: params.attempt.unwrap_or(1).max(1),
            at: params.from.unwrap_or(0),
        },
    };
    let follower = control.follow(id, place).await?;
    let closing = closing.map(|Extension(Closing(token))| token);
    let events = stream::unfold((follower, closing), next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

type Streaming = (Follower, Option<CancellationToken>);

/// The next event. It is made when the reader can take it: one that reads slowly holds a place, and no memory.
async fn next(
    (mut follower, closing): Streaming,
) -> Option<(Result<Event, Infallible>, Streaming)> {
    let token = closing.clone().unwrap_or_default();
    let told = async {
        loop {
            match follower.next().await {
                Ok(told) => break told,
                Err(error) => {
                    tracing::debug!(error = %causes(&error), "a followed log could not be read; asking again");
                    pause(STORE_WAIT).await;
                }
            }
        }
    };
    let told = tokio::select! {
        biased;
        () = token.cancelled() => None,
        told = told => told,
    }?;
    let event = event(told, follower.place());
    Some((Ok(event), (follower, closing)))
}

fn event(told: Followed, place: Place) -> Event {
    let of = |name: &str, data: String| Event::default().event(name).data(data);
    match told {
        Followed::Output(log) => {
            let id = format!("{}:{}", place.attempt, place.at);
            of("log", json(&AttemptLog::from(log))).id(id)
        }
        Followed::Attempt {
            attempt,
            state,
            worker,
        } => {
            let standing = AttemptStanding {
                attempt,
                state: state.to_owned(),
                worker,
            };
            of("attempt", json(&standing))
        }
        Followed::Progress(said) => of("progress", json(&Progress::from(said))),
        Followed::End {
            state,
            reason,
            error,
        } => {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            let end = RunEnd {
                state: state.to_owned(),
                reason: reason.map(str::to_owned),
                error,
            };
            of("end", json(&end))
        }
        Followed::Gone => {
            let end = RunEnd {
                state: "gone".to_owned(),
                reason: None,
                error: Some("its history was removed".to_owned()),
            };
            of("end", json(&end))
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads `ATTEMPT:BYTE`.
fn read_place(text: &str) -> Result<Place, Problem> {
    let place = text.split_once(':').and_then(|(attempt, at)| {
        let (attempt, at) = (attempt.parse().ok()?, at.parse().ok()?);
        (attempt > 0).then_some(Place { attempt, at })
    });
    place.ok_or_else(|| {
        let detail = "last-event-id: is no `id` of this stream's events: send what the last event had, as in 1:4096";
        Problem::bad(Some("last-event-id"), detail)
    })
}
