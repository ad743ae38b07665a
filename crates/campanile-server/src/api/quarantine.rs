//! What the store refused to record, over HTTP.

use axum::Json as Answer;
use axum::extract::Path;
use axum::http::StatusCode;
use campanile_ask::QuarantineRow;
use campanile_core::port::edit::Released as Outcome;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::acts::By;
use super::input::Params;
use super::model::Page;
use super::problem::Problem;

/// Something that the store refused to record, and that is set aside.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Quarantined {
    /// Its number.
    pub id: i64,
    /// Its task.
    pub task: Option<String>,
    /// Its run; absent for a task's next occurrence: then the task stands still.
    pub run: Option<String>,
    /// At which attempt.
    pub attempt: u32,
    /// Of which queue.
    pub queue: String,
    /// The instant that it is about.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// Since when it is set aside.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What was to be recorded.
    pub what: String,
    /// What the store said.
    pub error: String,
}

impl From<QuarantineRow> for Quarantined {
    fn from(row: QuarantineRow) -> Self {
        let entry = row.entry;
        Self {
            id: entry.id,
            task: row.task,
            run: entry.run.map(|run| run.to_string()),
            attempt: entry.attempt,
            queue: entry.queue.as_str().to_owned(),
            due_at: entry.due_at,
            at: entry.at,
            what: entry.what,
            error: entry.error,
        }
    }
}

/// The answer to a release.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// Its number.
    pub id: i64,
    /// `released`: it goes on, or its end is recorded. `superseded`: its task goes on by itself since, or is gone.
    pub outcome: String,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QuarantineParams {
    /// How many, 1 to 1000; default 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<i64>,
}

/// What the store refused to record, oldest first.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "quarantine", params(QuarantineParams),
    responses((status = 200, body = Page<Quarantined>), (status = "default", body = Problem)))]
pub async fn list(
    By(control): By,
    Params(params): Params<QuarantineParams>,
) -> Result<Answer<Page<Quarantined>>, Problem> {
    let limit = params.limit.unwrap_or(100);
    let page = control.quarantine(params.cursor, limit).await?;
    Ok(Answer(Page {
        items: page.items.into_iter().map(Quarantined::from).collect(),
        next_cursor: page.next_cursor.map(|id| id.to_string()),
    }))
}

/// Lets it go on, once the cause is mended: its end is recorded, or it waits for its start again.
#[utoipa::path(post, path = "/api/v1/quarantine/{id}/release", tag = "quarantine", params(("id" = i64, Path)),
    responses((status = 200, body = Released), (status = "default", body = Problem)))]
pub async fn release(By(control): By, Path(id): Path<String>) -> Result<Answer<Released>, Problem> {
    let id = number(&id)?;
    let outcome = match control.release(id).await? {
        Outcome::Superseded => "superseded",
        _ => "released",
    };
    Ok(Answer(Released {
        id,
        outcome: outcome.to_owned(),
    }))
}

/// Forgets it, and its run with it.
#[utoipa::path(delete, path = "/api/v1/quarantine/{id}", tag = "quarantine", params(("id" = i64, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn drop_it(By(control): By, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    control.drop_quarantined(number(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| {
        let detail =
            format!("id: `{text}` is no number of the quarantine: `GET /quarantine` shows them");
        Problem::bad(Some("id"), detail)
    })
}
