//! Users, sessions, and who one is, over HTTP. What may be done by whom is [`campanile_login::people`]'s.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use campanile_access::{Rights, Role, Scope};
use campanile_core::actor::Actor;
use campanile_login::people::{Error, People};
use campanile_login::session::Session;
use campanile_login::user::User;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::acts::By;
use super::input::{Json, Params};
use super::model::Page;
use super::problem::Problem;

/// Sessions that are listed.
const SESSIONS_SHOWN_MAX: usize = 1_000;

/// What somebody may do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// `viewer`, `operator`, `editor`, `admin` or `executor`.
    #[schema(value_type = String)]
    pub role: Role,
    /// Whether payloads, results and logs may be seen.
    #[serde(default)]
    pub data: bool,
    /// Where: `prefix:NAME`, `owner:NAME`, `queue:NAME`, any of them; empty = everywhere.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub scope: Scope,
}

impl From<&Rights> for Held {
    fn from(rights: &Rights) -> Self {
        Self {
            role: rights.role(),
            data: rights.data(),
            scope: rights.scope().clone(),
        }
    }
}

impl From<Held> for Rights {
    fn from(held: Held) -> Self {
        Self::of(held.role).with_data(held.data).within(held.scope)
    }
}

/// Who one is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// How the name was proved: `bootstrap` (the cluster's own token), `token`, `user`, `proxy`, `oidc`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// Where the request came from.
    pub from: String,
    /// What may be done.
    pub rights: Held,
}

/// A local user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The name, in small letters.
    pub name: String,
    /// What may be done.
    pub rights: Held,
    /// May not come in.
    pub disabled: bool,
    /// When the user was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the password was set last.
    #[schema(value_type = String, format = DateTime)]
    pub password_at: Timestamp,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            rights: Held::from(&user.rights),
            name: user.name,
            disabled: user.disabled,
            created_at: user.created_at,
            password_at: user.password_at,
        }
    }
}

/// A session of a browser.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// What it is ended by.
    pub id: String,
    /// By what somebody came in: `user` or `oidc`.
    pub kind: String,
    /// Whose it is.
    pub name: String,
    /// From where it was opened.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used, within a minute.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    /// When it is over, however much it is used.
    #[schema(value_type = String, format = DateTime)]
    pub over_at: Timestamp,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            id: session.key.id().to_owned(),
            kind: session.kind.as_str().to_owned(),
            over_at: session.over_at(),
            name: session.name,
            address: session.address,
            agent: session.agent,
            created_at: session.created_at,
            seen_at: session.seen_at,
        }
    }
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: letters without accents, digits and `.-_@+`.
    name: String,
    /// The password: 12 characters or more, and not easy to guess.
    password: String,
    /// What may be done.
    rights: Held,
}

/// A password to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// As of a new user.
    password: String,
}

/// How many sessions were ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// How many.
    pub ended: usize,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersParams {
    /// How many, 1 to 1000; default 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Denied(denied) => Self::from(campanile_ask::Error::from(*denied)),
            Error::NoUser(_) | Error::NoSession(_) => Self::new(StatusCode::NOT_FOUND, detail),
            Error::Invalid { field, .. } => Self {
                field: Some(field.to_owned()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            Error::Taken(_) | Error::Changed(_) => Self::new(StatusCode::CONFLICT, detail),
            Error::Password(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            Error::Unavailable(error) => Self::from(campanile_ask::Error::Unavailable(error)),
        }
    }
}

/// Users and sessions, where this node keeps any.
type Desk = Extension<Option<Arc<People>>>;

fn desk(desk: &Desk) -> Result<&People, Problem> {
    let detail = "this node's store keeps no users and no sessions";
    let desk = desk.0.as_deref();
    desk.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, detail))
}

/// Who one is, by what that was proved, and what one may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "people",
    responses((status = 200, body = Me), (status = "default", body = Problem)))]
pub async fn me(Extension(actor): Extension<Actor>) -> Answer<Me> {
    Answer(Me {
        kind: actor.kind().as_str().to_owned(),
        name: actor.name().to_owned(),
        from: actor.from().to_owned(),
        rights: Held::from(actor.rights()),
    })
}

/// Local users by name.
#[utoipa::path(get, path = "/api/v1/users", tag = "people", params(UsersParams),
    responses((status = 200, body = Page<UserView>), (status = "default", body = Problem)))]
pub async fn list(
    people: Desk,
    Extension(actor): Extension<Actor>,
    Params(params): Params<UsersParams>,
) -> Result<Answer<Page<UserView>>, Problem> {
    let limit = params.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::bad(Some("limit"), "limit: write 1 to 1000"));
    }
    let users = desk(&people)?
        .users(&actor, params.cursor.as_deref(), limit)
        .await?;
    let last = users.last().filter(|_| users.len() == limit);
    let next_cursor = last.map(|user| user.name.clone());
    let items = users.into_iter().map(UserView::from).collect();
    Ok(Answer(Page { items, next_cursor }))
}

/// Makes a local user.
#[utoipa::path(post, path = "/api/v1/users", tag = "people", request_body = NewUser,
    responses((status = 201, body = UserView), (status = "default", body = Problem)))]
pub async fn add(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Json(new): Json<NewUser>,
) -> Result<(StatusCode, Answer<UserView>), Problem> {
    let now = control.now().await?;
    let made = desk(&people)?
        .add(&actor, &new.name, new.password, new.rights.into(), now)
        .await?;
    Ok((StatusCode::CREATED, Answer(made.into())))
}

/// One local user.
#[utoipa::path(get, path = "/api/v1/users/{name}", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses((status = 200, body = UserView), (status = "default", body = Problem)))]
pub async fn show(
    people: Desk,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Answer<UserView>, Problem> {
    Ok(Answer(desk(&people)?.user(&actor, &name).await?.into()))
}

/// Removes a local user, and ends his sessions.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses((status = 204, description = "Removed"), (status = "default", body = Problem)))]
pub async fn remove(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let now = control.now().await?;
    desk(&people)?.remove(&actor, &name, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a local user another password, and ends his sessions.
#[utoipa::path(put, path = "/api/v1/users/{name}/password", tag = "people", request_body = NewPassword,
    params(("name" = String, Path, description = "The user")),
    responses((status = 200, body = UserView), (status = "default", body = Problem)))]
pub async fn set_password(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Path(name): Path<String>,
    Json(new): Json<NewPassword>,
) -> Result<Answer<UserView>, Problem> {
    let now = control.now().await?;
    let changed = desk(&people)?
        .set_password(&actor, &name, new.password, now)
        .await?;
    Ok(Answer(changed.into()))
}

/// Lets a local user do something else from now on.
#[utoipa::path(put, path = "/api/v1/users/{name}/rights", tag = "people", request_body = Held,
    params(("name" = String, Path, description = "The user")),
    responses((status = 200, body = UserView), (status = "default", body = Problem)))]
pub async fn set_rights(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Path(name): Path<String>,
    Json(rights): Json<Held>,
) -> Result<Answer<UserView>, Problem> {
    let now = control.now().await?;
    let changed = desk(&people)?
        .set_rights(&actor, &name, rights.into(), now)
        .await?;
    Ok(Answer(changed.into()))
}

/// Lets a local user in no more, and ends his sessions.
#[utoipa::path(post, path = "/api/v1/users/{name}/disable", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses((status = 200, body = UserView), (status = "default", body = Problem)))]
pub async fn disable(
    people: Desk,
    actor: Extension<Actor>,
    by: By,
    name: Path<String>,
) -> Result<Answer<UserView>, Problem> {
    set_disabled(people, actor, by, name, true).await
}

/// Lets a local user in again.
#[utoipa::path(post, path = "/api/v1/users/{name}/enable", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses((status = 200, body = UserView), (status = "default", body = Problem)))]
pub async fn enable(
    people: Desk,
    actor: Extension<Actor>,
    by: By,
    name: Path<String>,
) -> Result<Answer<UserView>, Problem> {
    set_disabled(people, actor, by, name, false).await
}

async fn set_disabled(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Path(name): Path<String>,
    disabled: bool,
) -> Result<Answer<UserView>, Problem> {
    let now = control.now().await?;
    let changed = desk(&people)?
        .set_disabled(&actor, &name, disabled, now)
        .await?;
    Ok(Answer(changed.into()))
}

/// Ends all sessions of a local user.
#[utoipa::path(delete, path = "/api/v1/users/{name}/sessions", tag = "people",
    params(("name" = String, Path, description = "The user")),
    responses((status = 200, body = Ended), (status = "default", body = Problem)))]
pub async fn end_all(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Path(name): Path<String>,
) -> Result<Answer<Ended>, Problem> {
    let now = control.now().await?;
    let ended = desk(&people)?.end_sessions_of(&actor, &name, now).await?;
    Ok(Answer(Ended { ended }))
}

/// Sessions of browsers that are not over, the newest first, 1000 at most.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "people",
    responses((status = 200, body = Page<SessionView>), (status = "default", body = Problem)))]
pub async fn sessions(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
) -> Result<Answer<Page<SessionView>>, Problem> {
    let now = control.now().await?;
    let open = desk(&people)?
        .sessions(&actor, now, SESSIONS_SHOWN_MAX)
        .await?;
    Ok(Answer(Page::whole(
        open.into_iter().map(SessionView::from).collect(),
    )))
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "people",
    params(("id" = String, Path, description = "The session")),
    responses((status = 204, description = "Ended"), (status = "default", body = Problem)))]
pub async fn end(
    people: Desk,
    Extension(actor): Extension<Actor>,
    By(control): By,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let now = control.now().await?;
    desk(&people)?.end_session(&actor, &id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
