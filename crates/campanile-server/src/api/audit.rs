//! The audit over HTTP: its lines by filter, as they are kept, and whether their chain is whole.

use axum::Json as Answer;
use campanile_access::audit::{Filter, Kept, Line};
use campanile_ask::{AuditPlace, AuditVerified};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::acts::By;
use super::input::{Params, instant};
use super::model::Page;
use super::problem::Problem;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Of this one: `token:ci`.
    actor: Option<String>,
    /// About this: `task:bill`; or all of a kind: `task`.
    object: Option<String>,
    /// At or after this instant (RFC 3339).
    since: Option<String>,
    /// Before this instant (RFC 3339).
    until: Option<String>,
    /// How many, 1 to 1000; default 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lines of the audit, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "access", params(AuditParams),
    responses((status = 200, body = Page<Line>), (status = "default", body = Problem)))]
pub async fn list(
    By(control): By,
    Params(params): Params<AuditParams>,
) -> Result<Answer<Page<Line>>, Problem> {
    let filter = Filter {
        actor: params.actor.filter(|text| !text.is_empty()),
        object: params.object.filter(|text| !text.is_empty()),
        since: instant("since", params.since.as_deref())?,
        until: instant("until", params.until.as_deref())?,
    };
    let limit = params.limit.unwrap_or(100);
    let page = control
        .audit(&filter, params.cursor.as_deref(), limit)
        .await?;
    Ok(Answer(Page {
        items: page.items,
        next_cursor: page.next_cursor,
    }))
}

/// A line as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// Its number.
    pub seq: i64,
    /// Its text, as it is hashed.
    pub line: String,
    /// SHA-256 of the hash of the line before, a newline, and the text, as hex.
    pub hash: String,
}

impl From<Kept> for AuditRecord {
    fn from(kept: Kept) -> Self {
        Self {
            seq: kept.seq,
            line: kept.text,
            hash: kept.hash,
        }
    }
}

/// Behind which line.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// Only lines with larger numbers; default 0.
    after: Option<i64>,
    /// How many, 1 to 1000; default 1000.
    limit: Option<usize>,
}

/// Lines of the audit as they are kept, oldest first, with their hashes: whoever has them can verify them by himself.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "access", params(ExportParams),
    responses((status = 200, body = Page<AuditRecord>), (status = "default", body = Problem)))]
pub async fn export(
    By(control): By,
    Params(params): Params<ExportParams>,
) -> Result<Answer<Page<AuditRecord>>, Problem> {
    let limit = params.limit.unwrap_or(1_000);
    let kept = control
        .audit_behind(params.after.unwrap_or(0), limit)
        .await?;
    let last = kept.last().filter(|_| kept.len() == limit);
    let next_cursor = last.map(|line| line.seq.to_string());
    Ok(Answer(Page {
        items: kept.into_iter().map(AuditRecord::from).collect(),
        next_cursor,
    }))
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VerifyParams {
    /// Behind this line, which was good before; default: from the beginning.
    seq: Option<i64>,
    /// With `seq`: that line's hash.
    hash: Option<String>,
}

/// Whether a line is missing, was changed, or stands in another's place: from the beginning, or from a place noted before.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "access", params(VerifyParams),
    responses((status = 200, body = AuditVerified), (status = "default", body = Problem)))]
pub async fn verify(
    By(control): By,
    Params(params): Params<VerifyParams>,
) -> Result<Answer<AuditVerified>, Problem> {
    let from = match (params.seq, params.hash) {
        (Some(seq), Some(hash)) => Some(AuditPlace { seq, hash }),
        (None, None) => None,
        _ => {
            let detail = "seq: a place in the chain is a line's number and its hash: give both";
            return Err(Problem::bad(Some("seq"), detail));
        }
    };
    Ok(Answer(control.verify_audit(from).await?))
}
