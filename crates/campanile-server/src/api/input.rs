//! Reading requests: bodies, queries and paths into values, each refusal a [`Problem`] that names the field. Sizes are
//! bounded before anything is parsed.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use campanile::id::RunId;
use campanile::time::Timestamp;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::{APPLY_BYTES_MAX, BODY_BYTES_MAX};

/// A JSON body of at most [`BODY_BYTES_MAX`].
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body of at most [`APPLY_BYTES_MAX`].
#[derive(Debug)]
pub struct BigJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, BODY_BYTES_MAX).await.map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for BigJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, APPLY_BYTES_MAX).await.map(Self)
    }
}

async fn read<T: DeserializeOwned>(request: Request, most: usize) -> Result<T, Problem> {
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
    let bytes = collect(request.into_body(), most).await?;
    // An empty body is what a client sends that has nothing to say: `{}`.
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(bytes).map_err(|e| {
        let message = e.to_string();
        Problem::bad(
            field_in(&message),
            format!("the body can't be read: {message}"),
        )
    })
}

async fn collect(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    axum::body::to_bytes(body, most)
        .await
        .map(Into::into)
        .map_err(|_| {
            let detail = format!("the body is over the limit of {most} bytes: send less at once");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
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
