//! What other programs left in the inbox and became no run, over HTTP.

use axum::Json as Answer;
use campanile_core::decide::edit::inbox::{Became, Settled};
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::acts::By;
use super::input::Params;
use super::model::Page;
use super::problem::Problem;

/// A request that was left in the inbox and became no run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Unfulfilled {
    /// Its number in the inbox.
    pub id: i64,
    /// When it was taken out.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `duplicate`: its key stood for a run that was asked for with the same content. `conflict`: with other content.
    /// `refused`: it can't be a run.
    pub became: String,
    /// The run that its key stands for.
    pub run: Option<String>,
    /// Why it is refused.
    pub error: Option<String>,
}

impl From<Settled> for Unfulfilled {
    fn from(settled: Settled) -> Self {
        Self {
            id: settled.id,
            at: settled.at,
            became: settled.became.as_str().to_owned(),
            run: settled.became.run().map(|run| run.to_string()),
            error: match settled.became {
                Became::Refused(why) => Some(why),
                Became::Run(_) | Became::Duplicate(_) | Became::Conflict(_) => None,
            },
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InboxParams {
    /// How many, 1 to 1000; default 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<i64>,
}

/// What was left in the inbox and became no run, newest first.
#[utoipa::path(get, path = "/api/v1/inbox", tag = "inbox", params(InboxParams),
    responses((status = 200, body = Page<Unfulfilled>), (status = "default", body = Problem)))]
pub async fn list(
    By(control): By,
    Params(params): Params<InboxParams>,
) -> Result<Answer<Page<Unfulfilled>>, Problem> {
    let limit = params.limit.unwrap_or(100);
    let rows = control.unfulfilled(params.cursor, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit);
    let next_cursor = last.map(|row| row.id.to_string());
    Ok(Answer(Page {
        items: rows.into_iter().map(Unfulfilled::from).collect(),
        next_cursor,
    }))
}
