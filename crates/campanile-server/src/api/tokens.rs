//! API tokens over HTTP: made, listed, revoked. The text of one is in the answer that makes it, and nowhere after.

use axum::Json as Answer;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use campanile_access::Scope;
use campanile_access::token::ApiToken;
use campanile_ask::NewToken;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::acts::By;
use super::input::Json;
use super::model::Page;
use super::problem::Problem;

/// A token as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Under which its holder's acts are written down.
    pub name: String,
    /// `viewer`, `operator`, `editor`, `admin` or `executor`.
    pub role: String,
    /// Whether its holder may see payloads, results and logs.
    pub data: bool,
    /// Where its holder may act: `prefix:…`, `owner:…`, `queue:…`; none = everywhere.
    pub scope: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it is over by itself; null = never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute; null = never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub used_at: Option<Timestamp>,
    /// When it was revoked; null = it was not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl From<ApiToken> for Token {
    fn from(token: ApiToken) -> Self {
        Self {
            name: token.name,
            role: token.rights.role().to_string(),
            data: token.rights.data(),
            scope: token.rights.scope().texts(),
            created_at: token.created_at,
            created_by: token.created_by,
            expires_at: token.expires_at,
            used_at: token.used_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// Its name: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// `viewer`, `operator`, `editor`, `admin` or `executor`.
    pub role: String,
    /// Whether its holder may see payloads, results and logs.
    #[serde(default)]
    pub data: bool,
    /// Where its holder may act: `prefix:…`, `owner:…`, `queue:…`, any of them; none = everywhere.
    #[serde(default)]
    pub scope: Vec<String>,
    /// When it is over by itself; absent = never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Made {
    /// The token itself: it is shown this once.
    pub token: String,
    #[serde(flatten)]
    pub kept: Token,
}

/// The tokens, in the order of their names.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access",
    responses((status = 200, body = Page<Token>), (status = "default", body = Problem)))]
pub async fn list(By(control): By) -> Result<Answer<Page<Token>>, Problem> {
    let tokens = control.tokens().await?;
    Ok(Answer(Page::whole(
        tokens.into_iter().map(Token::from).collect(),
    )))
}

/// Makes a token. Nobody gives more than he has.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = TokenBody,
    responses((status = 201, body = Made), (status = "default", body = Problem)))]
pub async fn create(
    By(control): By,
    Json(body): Json<TokenBody>,
) -> Result<impl IntoResponse, Problem> {
    let role = body
        .role
        .parse()
        .map_err(|e| Problem::bad(Some("role"), format!("role: {e}")))?;
    let scope = Scope::of(&body.scope)
        .map_err(|e| Problem::bad(Some("scope"), format!("scope: {}", e.message)))?;
    let new = NewToken {
        name: body.name,
        role,
        data: body.data,
        scope,
        expires_at: body.expires_at,
    };
    let (kept, token) = control.create_token(&new).await?;
    let made = Made {
        token,
        kept: kept.into(),
    };
    Ok((StatusCode::CREATED, Answer(made)))
}

/// Lets a token in no more: on this node at once, on others within five seconds.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn revoke(By(control): By, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    control.revoke_token(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
