//! Reading requests: bodies, queries and paths into values, each refusal a [`Problem`] that names the field. How many
//! bytes there are, and when, is the business of [`super::bodies`].

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use campanile::id::RunId;
use campanile::protocol::limits;
use campanile::time::Timestamp;
use serde::de::DeserializeOwned;

use super::bodies::{self, Bodies, Size};
use super::problem::Problem;

/// A JSON body that holds one thing.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may hold many things, as it came: its reader takes it item by item. [`RUNS`] and [`TASKS`] say what
/// it holds.
#[derive(Debug)]
pub struct Bulk<const KIND: u8>(pub Vec<u8>);

/// A body of runs.
pub const RUNS: u8 = 0;
/// A body of tasks.
pub const TASKS: u8 = 1;

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bodies = Bodies::given_to(&request);
        let body = body(request, Size::Ordinary).await?;
        let read = bodies::aside(bodies.pool(), body.len(), move |_| one(&body));
        read.await.map(Self)
    }
}

impl<const KIND: u8, S: Send + Sync> FromRequest<S> for Bulk<KIND> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let size = if KIND == RUNS {
            Size::Bulk(limits::SUBMIT_RUNS_MAX, "runs")
        } else {
            Size::Bulk(limits::APPLY_TASKS_MAX, "tasks")
        };
        body(request, size).await.map(Self)
    }
}

async fn body(request: Request, size: Size) -> Result<Vec<u8>, Problem> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("application/json");
    if !kind.starts_with("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON: send `Content-Type: application/json`",
        ));
    }
    let mut bytes = bodies::collect(request, size).await?;
    if bytes.is_empty() {
        // An empty body is what a client sends that has nothing to say.
        bytes.extend_from_slice(b"{}");
    }
    Ok(bytes)
}

/// Reads a body that holds one thing.
///
/// # Errors
/// What is wrong with it, with the field if there is one.
pub fn one<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    bodies::check_values(body)?;
    serde_json::from_slice(body).map_err(|e| {
        let message = e.to_string();
        Problem::bad(
            field_in(&message),
            format!("the body can't be read: {message}"),
        )
    })
}

/// The field that a serde message names: `unknown field `x``, `missing field `x``.
pub fn field_in(message: &str) -> Option<&str> {
    let at = message.find("field `")? + "field `".len();
    message.get(at..)?.split('`').next()
}

/// The query of a request.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let message = rejection.body_text();
                Err(Problem::bad(field_in(&message), message.clone()))
            }
        }
    }
}

/// A run's id in a path.
#[derive(Debug, Clone, Copy)]
pub struct RunPath(pub RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|e| Problem::bad(Some("id"), e.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|e: campanile::id::Malformed| Problem::bad(Some("id"), e.to_string()))
    }
}

/// Reads an instant of a query.
///
/// # Errors
/// The field with what would be valid.
pub fn instant(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(|t| {
        Timestamp::parse(t).map_err(|m| Problem::bad(Some(field), format!("{field}: {m}")))
    })
    .transpose()
}
