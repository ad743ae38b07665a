//! Reading requests: bodies, queries and paths into values, each refusal a [`Problem`] that names the field. How many
//! bytes there are, and when, is the business of [`super::bodies`].

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use campanile_core::id::RunId;
use campanile_core::misread::{self, Subject};
use campanile_core::task::{self, Label};
use campanile_schedule::time::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bodies::{self, Bodies, Size};
use super::bulk::{Gather, Gathered};
use super::problem::Problem;
use crate::definitions::{self, Defined};
use crate::document::{self, Form, Wrong, path};

/// A JSON body that holds one thing.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may hold many things, read while it arrived.
#[derive(Debug)]
pub struct Bulk<G>(pub Gathered<G>);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bodies = Bodies::given_to(&request);
        let body = body(request, Size::Ordinary).await?;
        let read = bodies::aside(bodies.pool(), body.len(), move |_| one(&body));
        read.await.map(Self)
    }
}

impl<G: Gather, S: Send + Sync> FromRequest<S> for Bulk<G> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        must_be_json(&request)?;
        // The first of the lists is what such a body is for.
        let first = G::LISTS.first();
        let size = first.map_or(Size::Ordinary, |l| Size::Bulk(l.items_max, l.name));
        bodies::gather(request, size).await.map(Self)
    }
}

fn must_be_json(request: &Request) -> Result<(), Problem> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("application/json");
    if kind.starts_with("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body must be JSON: send `Content-Type: application/json`",
    ))
}

async fn body(request: Request, size: Size) -> Result<Vec<u8>, Problem> {
    must_be_json(&request)?;
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
    let body = document::read_json(body).map_err(|wrong| unreadable("", &wrong))?;
    fit("", &body)
}

/// Reads one thing of a body that holds many, `runs[3]`.
///
/// # Errors
/// As [`one`]; the field with where it is in the body.
pub fn item(of: &str, raw: &str) -> Result<Value, Problem> {
    document::read(Form::Json, raw).map_err(|wrong| unreadable(of, &wrong))
}

/// Fits a body, or one thing of it, to what a route takes.
///
/// # Errors
/// The field that doesn't fit.
pub fn fit<T: DeserializeOwned>(of: &str, body: &Value) -> Result<T, Problem> {
    misread::read(body, &REQUEST).map_err(|e| {
        let field = within(of, &e.field);
        let fields = misread::Misread {
            field: field.clone().unwrap_or_default(),
            ..*e
        };
        let detail = format!("the body can't be taken: {fields}");
        Problem::bad(field.as_deref(), detail)
    })
}

/// Reads a definition that is a whole body.
///
/// # Errors
/// The field at fault.
pub fn defined<T: Defined>(body: &Value) -> Result<T, Problem> {
    definitions::read(body, Form::Json)
        .map_err(|e| Problem::bad(within("", &e.field).as_deref(), e.to_string()))
}

/// A run may bring a handler of its own, and what is often meant there is known.
pub const REQUEST: Subject = Subject {
    noun: "this request",
    meant: task::meant,
    belongs: task::belongs,
};

/// A field with where it is in the body.
pub fn within(of: &str, field: &str) -> Option<String> {
    let dot = if of.is_empty() || field.is_empty() || field.starts_with('[') {
        ""
    } else {
        "."
    };
    Some(format!("{of}{dot}{field}")).filter(|f| !f.is_empty())
}

fn unreadable(of: &str, wrong: &Wrong) -> Problem {
    let field = within(of, &path::text(&wrong.path));
    // The place in one of many things says little.
    let place = wrong.at.filter(|_| of.is_empty());
    let place = place.map_or(String::new(), |at| format!("{at}: "));
    let of_field = field.as_ref().map_or(String::new(), |f| format!("{f}: "));
    Problem::bad(
        field.as_deref(),
        format!("the body can't be read: {place}{of_field}{}", wrong.message),
    )
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
                let (field, message) = query_in_words(&rejection.body_text());
                Err(Problem::bad(field.as_deref(), message))
            }
        }
    }
}

/// The labels that a query asks for.
///
/// # Errors
/// `label`, with what one is.
pub fn labels(asked: Option<&str>) -> Result<Vec<Label>, Problem> {
    let all = asked.map_or(Ok(Vec::new()), Label::parse_all);
    all.map_err(|e| Problem::bad(Some("label"), e.to_string()))
}

/// What is wrong with a query, without the words of whatever read it, and the parameter at fault.
fn query_in_words(said: &str) -> (Option<String>, String) {
    let said = said
        .rsplit_once("query string: ")
        .map_or(said, |(_, said)| said);
    let between = |head: &str| said.split_once(head)?.1.split('`').next();
    let names: Vec<&str> = said
        .rsplit_once("expected ")
        .map_or("", |(_, list)| list)
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    if let Some(name) = between("unknown field `") {
        let message = match misread::nearest(name, names.iter().copied()) {
            Some(near) => format!("{name}: is not known here: did you mean `{near}`?"),
            None if names.is_empty() => format!("{name}: is not known here"),
            None => format!("{name}: is not known here: there are {}", names.join(", ")),
        };
        return (Some(name.to_owned()), message);
    }
    if let Some(name) = between("missing field `") {
        return (Some(name.to_owned()), format!("{name}: is missing"));
    }
    if let Some(name) = between("duplicate field `") {
        return (
            Some(name.to_owned()),
            format!("{name}: is there twice: write it once"),
        );
    }
    let (field, said) = match said.split_once(": ") {
        Some((field, said)) if !field.contains(' ') => (Some(field.to_owned()), said),
        _ => (None, said),
    };
    let message = match said {
        s if s.contains("digit found") || s.contains("integer") || s.contains("number too") => {
            "write a whole number"
        }
        s if s.contains("bool") => "write true or false",
        s if s.contains("unknown variant") => &format!("write one of {}", names.join(", ")),
        _ => "can't be read: see the parameters in docs/reference/openapi.json",
    };
    let of_field = field.as_ref().map_or("the query".to_owned(), Clone::clone);
    (field, format!("{of_field}: {message}"))
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
            .map_err(|e: campanile_core::id::Malformed| Problem::bad(Some("id"), e.to_string()))
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
