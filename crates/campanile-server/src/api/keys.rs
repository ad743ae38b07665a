//! Runs by their idempotency keys, and their move to another instant, over HTTP. A key may hold any character, so it is
//! never a part of a path.

use axum::Json as Answer;
use campanile_ask::KeyQuery;
use campanile_schedule::time::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::acts::By;
use super::input::{Json, Params, RunPath};
use super::model::{Cancelled, Run, RunDetail};
use super::problem::Problem;
use super::runs::cancelled;

/// A key, and whose it is.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfKey {
    /// The key, as it was submitted.
    key: String,
    /// Of this task. Whose a key is may be left out while only one has it.
    task: Option<String>,
    /// Or of runs without a task and with such a handler (`http`, `command`, `external`, `native:NAME`).
    handler: Option<String>,
}

impl From<OfKey> for KeyQuery {
    fn from(of: OfKey) -> Self {
        Self {
            key: of.key,
            task: of.task.filter(|t| !t.is_empty()),
            handler: of.handler.filter(|h| !h.is_empty()),
        }
    }
}

/// Another instant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// When it starts instead; an instant that has passed means now.
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
}

/// A key, whose it is, and another instant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveOfKey {
    /// The key, as it was submitted.
    key: String,
    /// Of this task.
    task: Option<String>,
    /// Or of runs without a task and with such a handler.
    handler: Option<String>,
    /// When it starts instead; an instant that has passed means now.
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
}

/// Lets a run that has not started start at another instant.
#[utoipa::path(post, path = "/api/v1/runs/{id}/move", tag = "runs", params(("id" = String, Path)), request_body = Move,
    responses((status = 200, body = Run), (status = "default", body = Problem)))]
pub async fn move_run(
    By(control): By,
    RunPath(id): RunPath,
    Json(body): Json<Move>,
) -> Result<Answer<Run>, Problem> {
    Ok(Answer(control.move_run(id, body.run_at).await?.into()))
}

/// The run that a key stands for.
#[utoipa::path(get, path = "/api/v1/runs/by-key", tag = "runs", params(OfKey),
    responses((status = 200, body = RunDetail), (status = "default", body = Problem)))]
pub async fn show(
    By(control): By,
    Params(of): Params<OfKey>,
) -> Result<Answer<RunDetail>, Problem> {
    let id = control.run_of_key(&of.into()).await?;
    let detail = control.run(id).await?;
    Ok(Answer(RunDetail::of(detail, control.masks())))
}

/// Ends the run that a key stands for.
#[utoipa::path(post, path = "/api/v1/runs/by-key/cancel", tag = "runs", request_body = OfKey,
    responses((status = 200, body = Cancelled), (status = "default", body = Problem)))]
pub async fn cancel(By(control): By, Json(of): Json<OfKey>) -> Result<Answer<Cancelled>, Problem> {
    let id = control.run_of_key(&of.into()).await?;
    Ok(Answer(cancelled(id, control.cancel(id).await?)))
}

/// Lets the run that a key stands for start at another instant, if it has not started.
#[utoipa::path(post, path = "/api/v1/runs/by-key/move", tag = "runs", request_body = MoveOfKey,
    responses((status = 200, body = Run), (status = "default", body = Problem)))]
pub async fn move_of_key(
    By(control): By,
    Json(body): Json<MoveOfKey>,
) -> Result<Answer<Run>, Problem> {
    let MoveOfKey {
        key,
        task,
        handler,
        run_at,
    } = body;
    let of = OfKey { key, task, handler };
    let id = control.run_of_key(&of.into()).await?;
    Ok(Answer(control.move_run(id, run_at).await?.into()))
}
