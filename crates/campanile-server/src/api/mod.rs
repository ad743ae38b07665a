//! `/api/v1`: control's functions over HTTP, with an OpenAPI document made from the same routes. Owns paths, statuses
//! and limits of requests; every answer is made by [`campanile_ask`]. No route is reachable without the token.

pub mod access;
pub mod acts;
pub mod audit;
pub mod bodies;
pub mod bulk;
pub mod guard;
pub mod hold;
pub mod inbox;
pub mod input;
pub mod logins;
pub mod model;
pub mod problem;

mod cluster;
pub mod forecast;
mod keys;
pub mod logs;
pub mod quarantine;
mod rules;
pub mod runs;
mod splitter;
mod tasks;
pub mod tokens;
pub mod users;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use campanile_ask::Control;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::guard::Guard;
use self::problem::Problem;

/// What the handlers share.
pub type Shared = Arc<Control>;

#[derive(OpenApi)]
#[openapi(info(
    title = "Campanile",
    description = "Tasks, runs, nodes. Every request carries `Authorization: Bearer TOKEN`. Lists answer `items` and \
                   `next_cursor`; errors are `application/problem+json`. Instants are RFC 3339 UTC with milliseconds.",
    license(name = "MIT OR Apache-2.0")
))]
struct Document;

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::show, tasks::put, tasks::delete))
        .routes(routes!(tasks::pause))
        .routes(routes!(tasks::resume))
        .routes(routes!(tasks::trigger))
        .routes(routes!(tasks::why))
        .routes(routes!(tasks::apply))
        .routes(routes!(forecast::plan))
        .routes(routes!(rules::backfill))
        .routes(routes!(rules::calendars))
        .routes(routes!(
            rules::calendar,
            rules::put_calendar,
            rules::delete_calendar
        ))
        .routes(routes!(rules::limits))
        .routes(routes!(rules::set_limit, rules::lift_limit))
        .routes(routes!(runs::list, runs::submit))
        .routes(routes!(keys::show))
        .routes(routes!(keys::cancel))
        .routes(routes!(keys::move_of_key))
        .routes(routes!(keys::move_run))
        .routes(routes!(inbox::list))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::release))
        .routes(routes!(quarantine::drop_it))
        .routes(routes!(runs::show))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::retry))
        .routes(routes!(logs::log))
        .routes(routes!(logs::stream))
        .routes(routes!(cluster::nodes))
        .routes(routes!(cluster::leader))
        .routes(routes!(cluster::resign))
        .routes(routes!(hold::show, hold::put, hold::end))
        .routes(routes!(cluster::queues))
        .routes(routes!(cluster::queue_key))
        .routes(routes!(cluster::stats))
        .routes(routes!(users::me))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::show, users::remove))
        .routes(routes!(users::set_password))
        .routes(routes!(users::set_rights))
        .routes(routes!(users::disable))
        .routes(routes!(users::enable))
        .routes(routes!(users::end_all))
        .routes(routes!(users::sessions))
        .routes(routes!(users::end))
}

/// The schema of a task's definition, written by hand: the definition is the library's, which knows no OpenAPI.
const TASK_SCHEMA: &str = include_str!("task.schema.json");

/// The same of a calendar's.
const CALENDAR_SCHEMA: &str = include_str!("calendar.schema.json");

/// The OpenAPI document, as it is served and committed.
#[must_use]
pub fn document() -> serde_json::Value {
    let (_, mut document) = routes().split_for_parts();
    let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", scheme);
    document.security = Some(vec![SecurityRequirement::new(
        "token",
        Vec::<String>::new(),
    )]);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    for (name, schema) in [("Task", TASK_SCHEMA), ("CalendarView", CALENDAR_SCHEMA)] {
        if let Ok(schema) = serde_json::from_str(schema) {
            document["components"]["schemas"][name] = schema;
        }
    }
    document
}

/// The routes of the API, behind the guard.
pub fn router(control: Shared, guard: Guard) -> Router {
    let (router, _) = routes().split_for_parts();
    let people = guard
        .people
        .as_ref()
        .map(|access| Arc::new(access.people()));
    router
        .route("/openapi.json", get(|| async { axum::Json(document()) }))
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no such route: `/openapi.json` lists them",
            )
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route does not take this method: `/openapi.json` lists them",
            )
        })
        .layer(axum::Extension(people))
        .layer(axum::middleware::from_fn_with_state(
            guard,
            guard::authenticate,
        ))
        .with_state(control)
}
