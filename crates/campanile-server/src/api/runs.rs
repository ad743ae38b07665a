//! Runs over HTTP: reading what is asked for, and answering what control says. It owns the routes and their parameters;
//! what a run may become is decided elsewhere.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use campanile::control::{Editor, Request, RunQuery};
use campanile::id::RunId;
use campanile::protocol::limits::SUBMIT_RUNS_MAX;
use campanile::protocol::work::Cancel;
use campanile::run::State as RunState;
use campanile::task::{HandlerSpec, Retry};
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::acts::By;
use super::bodies;
use super::bulk::{self, Gather, Gathered, List};
use super::input::{Bulk, Params, RunPath, instant};
use super::model::{AttemptLog, Cancelled, Page, Run, RunDetail, Submitted};
use super::problem::Problem;

/// Which runs, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunParams {
    /// Of this task.
    task: Option<String>,
    /// In this state.
    state: Option<String>,
    /// Due at or after this instant (RFC 3339).
    since: Option<String>,
    /// Due before this instant (RFC 3339).
    until: Option<String>,
    /// Submitted with this idempotency key.
    key: Option<String>,
    /// With `key`: of runs without a task and with such a handler (`http`, `command`, `external`, `native:NAME`).
    handler: Option<String>,
    /// How many, 1 to 1000; default 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunParams),
    responses((status = 200, body = Page<Run>), (status = "default", body = Problem)))]
pub async fn list(
    State(control): State<Shared>,
    Params(params): Params<RunParams>,
) -> Result<Answer<Page<Run>>, Problem> {
    let state = params.state.as_deref().map(read_state).transpose()?;
    let query = RunQuery {
        task: params.task.filter(|t| !t.is_empty()),
        state,
        since: instant("since", params.since.as_deref())?,
        until: instant("until", params.until.as_deref())?,
        key: params.key,
        handler: params.handler.filter(|h| !h.is_empty()),
    };
    let page = control
        .runs(
            &query,
            params.cursor.as_deref(),
            params.limit.unwrap_or(100),
        )
        .await?;
    Ok(Answer(Page {
        items: page.items.into_iter().map(Run::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

fn read_state(text: &str) -> Result<RunState, Problem> {
    RunState::ALL
        .into_iter()
        .find(|s| s.as_str() == text)
        .ok_or_else(|| {
            let all: Vec<&str> = RunState::ALL.iter().map(|s| s.as_str()).collect();
            let detail = format!("state: `{text}` is not a state: write {}", all.join(", "));
            Problem::bad(Some("state"), detail)
        })
}

/// A run to submit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Of this task.
    task: Option<String>,
    /// Or with its own handler, as in a task.
    #[schema(value_type = Option<Object>)]
    handler: Option<HandlerSpec>,
    /// Its own payload; absent = the task's.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
    /// Its own queue; absent = the task's.
    queue: Option<String>,
    /// Its own priority; absent = the task's.
    priority: Option<u8>,
    /// When; absent = now.
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<Timestamp>,
    /// Its own retry, as in a task; absent = the task's, or one attempt.
    #[schema(value_type = Option<Object>)]
    retry: Option<Retry>,
    /// How long one of its attempts may take: `30s`; absent = as its task says, or an hour.
    #[serde(default, with = "campanile_schedule::time::optional_duration")]
    #[schema(value_type = Option<String>)]
    timeout: Option<Duration>,
    /// A second submission with the same key is answered with the first one's run. The key belongs to the task, or to the
    /// handler of a run without one; the same key with other content is refused (409).
    idempotency_key: Option<String>,
}

impl From<NewRun> for Request {
    fn from(run: NewRun) -> Self {
        Self {
            task: run.task,
            handler: run.handler,
            payload: run.payload,
            queue: run.queue,
            priority: run.priority,
            run_at: run.run_at,
            retry: run.retry,
            timeout: run.timeout,
            idempotency_key: run.idempotency_key,
        }
    }
}

/// Several runs to submit: all of them or none.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it is only the schema: the list is read item by item"
)]
pub struct NewRuns {
    /// The runs.
    runs: Vec<NewRun>,
}

/// Several answers, in the order of the runs.
#[derive(Debug, serde::Serialize, ToSchema)]
pub struct SubmittedAll {
    /// The answers.
    runs: Vec<Submitted>,
}

/// One run, or several.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    clippy::large_enum_variant,
    reason = "it is only the schema: which of the two a body is, is told by its field `runs`"
)]
pub enum OneOrMany {
    /// One.
    One(NewRun),
    /// Several.
    Many(NewRuns),
}

/// Submits one run, or (with `runs`) several, all or none. Answers `{id, created}`, or `{"runs": [{id, created}, …]}`.
#[utoipa::path(post, path = "/api/v1/runs", tag = "runs", request_body = OneOrMany,
    responses((status = 201, body = Submitted), (status = 200, body = Submitted, description = "the key named a run"),
        (status = "default", body = Problem)))]
pub async fn submit(
    By(control): By,
    Bulk(body): Bulk<Runs>,
) -> Result<axum::response::Response, Problem> {
    let requests = match asked(&control, body).await? {
        Asked::One(request) => {
            let answer = control.submit_one(&request).await?;
            let status = if answer.created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            return Ok((status, Answer(Submitted::from(answer))).into_response());
        }
        Asked::Many(requests) => requests,
    };
    let answers = control.submit(&requests).await?;
    let runs = answers.into_iter().map(Submitted::from).collect();
    Ok((StatusCode::CREATED, Answer(SubmittedAll { runs })).into_response())
}

/// What a body asks for.
enum Asked {
    One(Box<Request>),
    Many(Vec<Request>),
}

/// Those that a body holds.
#[derive(Debug, Default)]
pub struct Runs(Vec<Request>);

impl Gather for Runs {
    const LISTS: &'static [List] = &[List {
        name: "runs",
        items_max: SUBMIT_RUNS_MAX,
    }];
    const MAY_BE_ONE: bool = true;

    fn item(&mut self, list: &'static str, index: usize, raw: &str) -> Result<(), Problem> {
        let of = format!("{list}[{index}]");
        let run: NewRun = super::input::fit(&of, &super::input::item(&of, raw)?)?;
        self.0.push(Request::from(run));
        Ok(())
    }
}

/// One run, or many.
async fn asked(control: &Editor, body: Gathered<Runs>) -> Result<Asked, Problem> {
    let Some(one) = body.one else {
        return match body.seen.unknown {
            Some(name) => Err(bulk::unknown(&name, Runs::LISTS)),
            None => Ok(Asked::Many(body.items.0)),
        };
    };
    // No list: one run, of which the reader of one can say more.
    let bytes = one.len();
    let read = move |_: &Fuel| {
        let nothing = one.is_empty();
        let run: NewRun = super::input::one(if nothing { b"{}" } else { &one })?;
        Ok(Asked::One(Box::new(run.into())))
    };
    bodies::aside(control.pool(), bytes, read).await
}

/// One run with its attempts and its timeline.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = RunDetail), (status = "default", body = Problem)))]
pub async fn show(
    State(control): State<Shared>,
    RunPath(id): RunPath,
) -> Result<Answer<RunDetail>, Problem> {
    Ok(Answer(control.run(id).await?.into()))
}

/// Ends a run: at once if it has not started, by its worker if it runs.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = Cancelled), (status = "default", body = Problem)))]
pub async fn cancel(By(control): By, RunPath(id): RunPath) -> Result<Answer<Cancelled>, Problem> {
    Ok(Answer(cancelled(id, control.cancel(id).await?)))
}

/// What a cancelled run is answered with.
pub(super) fn cancelled(id: RunId, answer: Cancel) -> Cancelled {
    let outcome = match answer {
        Cancel::Requested => "requested",
        _ => "cancelled",
    };
    Cancelled {
        id,
        outcome: outcome.to_owned(),
    }
}

/// Makes an ended run happen again, as a new run due now.
#[utoipa::path(post, path = "/api/v1/runs/{id}/retry", tag = "runs", params(("id" = String, Path)),
    responses((status = 201, body = Submitted), (status = "default", body = Problem)))]
pub async fn retry(By(control): By, RunPath(id): RunPath) -> Result<impl IntoResponse, Problem> {
    let submitted = control.retry(id).await?;
    Ok((StatusCode::CREATED, Answer(Submitted::from(submitted))))
}

/// The logs of a run's attempts.
#[utoipa::path(get, path = "/api/v1/runs/{id}/log", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = Page<AttemptLog>), (status = "default", body = Problem)))]
pub async fn log(
    State(control): State<Shared>,
    RunPath(id): RunPath,
) -> Result<Answer<Page<AttemptLog>>, Problem> {
    let logs = control.logs(id).await?;
    let items = logs
        .into_iter()
        .map(|(attempt, text)| AttemptLog { attempt, text })
        .collect();
    Ok(Answer(Page::whole(items)))
}
