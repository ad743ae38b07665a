//! Runs over HTTP: reading what is asked for, and answering what control says. It owns the routes and their parameters;
//! what a run may become is decided elsewhere.

use axum::Json as Answer;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use campanile_ask::{Editor, NewRun, RunQuery};
use campanile_core::id::RunId;
use campanile_core::limits::SUBMIT_RUNS_MAX;
use campanile_core::port::edit::Cancel;
use campanile_core::run::State as RunState;
use campanile_schedule::fuel::Fuel;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::acts::By;
use super::bodies;
use super::bulk::{self, Gather, Gathered, List};
use super::input::{Bulk, Params, RunPath, instant, labels};
use super::model::{Cancelled, Page, Run, RunDetail, Submitted};
use super::problem::Problem;

/// Which runs, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunParams {
    /// Of this task.
    task: Option<String>,
    /// Of the tasks that there are with this label, or with each of several (`team=billing,tier=1`): at most 1,000 tasks.
    label: Option<String>,
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
    By(control): By,
    Params(params): Params<RunParams>,
) -> Result<Answer<Page<Run>>, Problem> {
    let state = params.state.as_deref().map(read_state).transpose()?;
    let query = RunQuery {
        task: params.task.filter(|t| !t.is_empty()),
        labels: labels(params.label.as_deref())?,
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

/// Several runs to submit: all of them or none.
#[derive(Debug, serde::Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRuns {
    /// The runs.
    pub runs: Vec<NewRun>,
}

/// Several answers, in the order of the runs.
#[derive(Debug, serde::Serialize, Deserialize, ToSchema)]
pub struct SubmittedAll {
    /// The answers.
    pub runs: Vec<Submitted>,
}

/// One run, or several.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
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
    One(Box<NewRun>),
    Many(Vec<NewRun>),
}

/// Those that a body holds.
#[derive(Debug, Default)]
pub struct Runs(Vec<NewRun>);

impl Gather for Runs {
    const LISTS: &'static [List] = &[List {
        name: "runs",
        items_max: SUBMIT_RUNS_MAX,
    }];
    const MAY_BE_ONE: bool = true;

    fn item(&mut self, list: &'static str, index: usize, raw: &str) -> Result<(), Problem> {
        let of = format!("{list}[{index}]");
        let run = super::input::fit(&of, &super::input::item(&of, raw)?)?;
        self.0.push(run);
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
        super::input::one(if nothing { b"{}" } else { &one }).map(Asked::One)
    };
    bodies::aside(control.pool(), bytes, read).await
}

/// One run with its attempts and its timeline.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = RunDetail), (status = "default", body = Problem)))]
pub async fn show(By(control): By, RunPath(id): RunPath) -> Result<Answer<RunDetail>, Problem> {
    let detail = control.run(id).await?;
    Ok(Answer(RunDetail::of(detail, control.masks())))
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
