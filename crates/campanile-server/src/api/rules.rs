//! What tasks share over HTTP: calendars, and the limits of queues and groups; and backfills, which ask for past
//! instants of a task.

use axum::Json as Answer;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use campanile_ask::{BACKFILL_PER_SECOND, Backfill, Backfilled, LimitRow};
use campanile_core::decide::permits::LimitKey;
use campanile_schedule::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::acts::By;
use super::input::{Json, defined};
use super::model::{CALENDAR_EXTRAS, CalendarView, Page};
use super::problem::Problem;

impl ToSchema for CalendarView {}

impl PartialSchema for CalendarView {
    /// Only a place: [`super::document`] puts the written schema there.
    fn schema() -> RefOr<Schema> {
        utoipa::openapi::Object::new().into()
    }
}

/// The limits of queues and groups, with their use.
#[utoipa::path(get, path = "/api/v1/limits", tag = "limits",
    responses((status = 200, body = Page<LimitRow>), (status = "default", body = Problem)))]
pub async fn limits(By(control): By) -> Result<Answer<Page<LimitRow>>, Problem> {
    Ok(Answer(Page::whole(control.limits().await?)))
}

/// A limit to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How many runs may be handed to workers at once, in the whole cluster: 1 to 1000.
    max_running: u32,
}

/// Sets the limit of a queue (`queue:NAME`) or a group (`group:NAME`).
#[utoipa::path(put, path = "/api/v1/limits/{limit}", tag = "limits", params(("limit" = String, Path)),
    request_body = Limit, responses((status = 204), (status = "default", body = Problem)))]
pub async fn set_limit(
    By(control): By,
    Path(limit): Path<String>,
    Json(body): Json<Limit>,
) -> Result<StatusCode, Problem> {
    control
        .set_limit(&key(&limit)?, Some(body.max_running))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lifts the limit of a queue or a group.
#[utoipa::path(delete, path = "/api/v1/limits/{limit}", tag = "limits", params(("limit" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn lift_limit(By(control): By, Path(limit): Path<String>) -> Result<StatusCode, Problem> {
    control.set_limit(&key(&limit)?, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn key(text: &str) -> Result<LimitKey, Problem> {
    text.parse()
        .map_err(|message: String| Problem::bad(Some("limit"), format!("limit: {message}")))
}

/// The calendars, with the tasks that name them.
#[utoipa::path(get, path = "/api/v1/calendars", tag = "calendars",
    responses((status = 200, body = Page<CalendarView>), (status = "default", body = Problem)))]
pub async fn calendars(By(control): By) -> Result<Answer<Page<CalendarView>>, Problem> {
    let rows = control.calendars().await?;
    Ok(Answer(Page::whole(
        rows.into_iter().map(CalendarView::from).collect(),
    )))
}

/// One calendar.
#[utoipa::path(get, path = "/api/v1/calendars/{name}", tag = "calendars", params(("name" = String, Path)),
    responses((status = 200, body = CalendarView), (status = "default", body = Problem)))]
pub async fn calendar(
    By(control): By,
    Path(name): Path<String>,
) -> Result<Answer<CalendarView>, Problem> {
    Ok(Answer(control.calendar(&name).await?.into()))
}

/// Puts one calendar whole. The due rows of the tasks that name it move with it.
#[utoipa::path(put, path = "/api/v1/calendars/{name}", tag = "calendars", params(("name" = String, Path)),
    request_body = CalendarView,
    responses((status = 200, body = CalendarView), (status = 201, body = CalendarView, description = "it is new"),
        (status = "default", body = Problem)))]
pub async fn put_calendar(
    By(control): By,
    Path(name): Path<String>,
    Json(mut body): Json<Value>,
) -> Result<impl IntoResponse, Problem> {
    super::tasks::named(&mut body, &name, "calendar", &CALENDAR_EXTRAS)?;
    let created = control.put_calendar(&defined(&body)?).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((
        status,
        Answer(CalendarView::from(control.calendar(&name).await?)),
    ))
}

/// Deletes a calendar that no task names.
#[utoipa::path(delete, path = "/api/v1/calendars/{name}", tag = "calendars", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete_calendar(
    By(control): By,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    control.delete_calendar(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which past instants are to be run after all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillBody {
    /// The first instant.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// The instant before which it ends; not in the future.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// Also those that have a run already.
    #[serde(default)]
    all: bool,
    /// Only say how many.
    #[serde(default)]
    dry_run: bool,
    /// How many start in a second, 1 to 1000; default 10.
    per_second: Option<u32>,
}

/// Runs past instants of a task's schedule after all: those without a run, or all of them.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/backfill", tag = "tasks", params(("name" = String, Path)),
    request_body = BackfillBody,
    responses((status = 200, body = Backfilled), (status = "default", body = Problem)))]
pub async fn backfill(
    By(control): By,
    Path(name): Path<String>,
    Json(body): Json<BackfillBody>,
) -> Result<Answer<Backfilled>, Problem> {
    let what = Backfill {
        from: body.from,
        until: body.until,
        all: body.all,
        dry_run: body.dry_run,
        per_second: body.per_second.unwrap_or(BACKFILL_PER_SECOND),
    };
    Ok(Answer(control.backfill(&name, &what).await?))
}
