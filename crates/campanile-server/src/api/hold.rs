//! The one hold of the cluster over HTTP: looked at, set, ended. It owns the routes; what a hold is, control knows.

use axum::Json as Answer;
use campanile_ask::Held;
use campanile_core::decide::lead::hold::Cause;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::acts::By;
use super::input::Json;
use super::problem::Problem;

/// Whether the cluster is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Why nothing starts; null = it is not held.
    pub hold: Option<Held>,
}

/// What a hold is to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// Why, for those who wonder: at most 500 characters.
    why: String,
    /// When it ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Whether the cluster is held, by whom and why.
#[utoipa::path(get, path = "/api/v1/hold", tag = "cluster",
    responses((status = 200, body = Hold), (status = "default", body = Problem)))]
pub async fn show(By(control): By) -> Result<Answer<Hold>, Problem> {
    let hold = control.held().await?;
    Ok(Answer(Hold { hold }))
}

/// Holds the cluster: from the answer on nothing fires, is published or is claimed. What runs goes on. A hold that there is
/// already is replaced.
#[utoipa::path(put, path = "/api/v1/hold", tag = "cluster", request_body = NewHold,
    responses((status = 200, body = Hold), (status = "default", body = Problem)))]
pub async fn put(By(control): By, Json(body): Json<NewHold>) -> Result<Answer<Hold>, Problem> {
    let held = control.hold(Cause::Asked, &body.why, body.until).await?;
    Ok(Answer(Hold { hold: Some(held) }))
}

/// Ends the hold; answers the one that there was.
#[utoipa::path(delete, path = "/api/v1/hold", tag = "cluster",
    responses((status = 200, body = Hold), (status = "default", body = Problem)))]
pub async fn end(By(control): By) -> Result<Answer<Hold>, Problem> {
    let hold = control.end_hold().await?;
    Ok(Answer(Hold { hold }))
}
