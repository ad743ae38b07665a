//! Errors as HTTP says them: `application/problem+json` with the field at fault and the remedy. Nothing of a store's or
//! driver's own words leaves the process; they go to the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use campanile_core::causes;
use campanile_core::limits::ERROR_BYTES_MAX;
use campanile_core::port::store;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When to come again to a node that is busy or has no store: long enough that they are not asked all the time.
const RETRY_AFTER_S: &str = "2";

/// What an error's body looks like (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// The status in words.
    pub title: Box<str>,
    /// The status.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
    /// The field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The task at fault, where a request holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The right that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Box<str>>,
    /// The run that is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl Problem {
    /// A problem of this status.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: cut(detail.into()),
            field: None,
            task: None,
            right: None,
            run: None,
        }
    }

    /// A request that can't be understood.
    #[must_use]
    pub fn bad(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self {
            field: field.map(str::to_owned),
            ..Self::new(StatusCode::BAD_REQUEST, detail)
        }
    }
}

impl From<campanile_ask::Error> for Problem {
    fn from(error: campanile_ask::Error) -> Self {
        use campanile_ask::Error;
        let detail = error.to_string();
        match error {
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, detail),
            Error::Denied(denied) => Self {
                right: Some(denied.right.to_string().into()),
                ..Self::new(StatusCode::FORBIDDEN, detail)
            },
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, detail),
            Error::KeyTaken { field, run, .. } => Self {
                field: Some(field),
                run: Some(run.to_string()),
                ..Self::new(StatusCode::CONFLICT, detail)
            },
            Error::Invalid { task, field, .. } => Self {
                field: Some(field),
                task,
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            Error::Busy(_) | Error::Crowded(_) | Error::ClockInDoubt { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
            Error::Unavailable(cause) => {
                tracing::warn!(error = %causes(&cause), "a request could not be served by the store");
                let detail = match cause {
                    store::Error::Full(_) => {
                        "the store's disk is full, and nothing was written: its operator has to make room"
                    }
                    _ => "the store is not available: try again; `campanile doctor` says more",
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }
}

/// What is wrong is said in a few sentences: a text that quotes what it refuses must not be as long as that.
fn cut(mut detail: String) -> String {
    if detail.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX)
            .rev()
            .find(|at| detail.is_char_boundary(*at));
        detail.truncate(end.unwrap_or(0));
        detail.push('…');
    }
    detail
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        if self.right.is_some() {
            let refused = super::acts::Refused(self.detail);
            response.extensions_mut().insert(refused);
        }
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"campanile\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
