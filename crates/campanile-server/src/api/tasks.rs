//! Tasks over HTTP: definitions in, definitions out, and what may be done to a task by name. It owns the routes and how
//! a body is read; it never judges a definition, which control does.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use campanile::control::{Apply, Definitions};
use campanile::protocol::limits::{APPLY_RULES_MAX, APPLY_TASKS_MAX, DELETE_PATIENCE};
use campanile::task::TaskSpec;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::Shared;
use super::acts::By;
use super::bulk::{self, Gather, Gathered, List};
use super::input::{self, Bulk, Json, Params};
use super::model::{
    Applied, CalendarView, DeletionView, Page, Submitted, TASK_EXTRAS, Task, WhyView,
};
use super::problem::Problem;
use super::rules::calendar_spec;

impl ToSchema for Task {}

impl PartialSchema for Task {
    /// Only a place: [`super::document`] puts the written schema there.
    fn schema() -> RefOr<Schema> {
        utoipa::openapi::Object::new().into()
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many, 1 to 1000; default 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only tasks of this owner; empty = only those that have none.
    owner: Option<String>,
}

/// Tasks in the order of their names.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(PageParams),
    responses((status = 200, body = Page<Task>), (status = "default", body = Problem)))]
pub async fn list(
    State(control): State<Shared>,
    Params(page): Params<PageParams>,
) -> Result<Answer<Page<Task>>, Problem> {
    let rows = control
        .tasks(
            page.owner.as_deref(),
            page.cursor.as_deref(),
            page.limit.unwrap_or(100),
        )
        .await?;
    Ok(Answer(Page {
        items: rows.items.into_iter().map(Task::from).collect(),
        next_cursor: rows.next_cursor,
    }))
}

/// One task.
#[utoipa::path(get, path = "/api/v1/tasks/{name}", tag = "tasks", params(("name" = String, Path)),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub async fn show(
    State(control): State<Shared>,
    Path(name): Path<String>,
) -> Result<Answer<Task>, Problem> {
    Ok(Answer(control.task(&name).await?.into()))
}

/// How to put.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PutParams {
    /// Also when the task belongs to another owner.
    #[serde(default)]
    take_over: bool,
}

/// Puts one task whole: what the definition leaves out has its default. The fields that only answers have are ignored.
/// A task that belongs to an owner whom the definition does not name is left alone (409), unless it is taken over.
#[utoipa::path(put, path = "/api/v1/tasks/{name}", tag = "tasks", params(("name" = String, Path), PutParams),
    request_body = Task,
    responses((status = 200, body = Task), (status = 201, body = Task, description = "it is new"),
        (status = "default", body = Problem)))]
pub async fn put(
    By(control): By,
    Path(name): Path<String>,
    Params(params): Params<PutParams>,
    Json(mut body): Json<Value>,
) -> Result<impl IntoResponse, Problem> {
    named(&mut body, &name, "task", &TASK_EXTRAS)?;
    let spec = definition(&body)?;
    let (task, created) = control.put_task_as(&spec, params.take_over).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Answer(Task::from(task))))
}

/// Takes the fields out that only answers have, and puts the path's name in.
pub fn named(body: &mut Value, name: &str, what: &str, extras: &[&str]) -> Result<(), Problem> {
    let Some(fields) = body.as_object_mut() else {
        return Ok(());
    };
    for extra in extras {
        fields.remove(*extra);
    }
    let named = fields
        .entry("name")
        .or_insert_with(|| Value::String(name.to_owned()));
    if named.as_str() == Some(name) {
        return Ok(());
    }
    let detail =
        format!("name: is not `{name}`, as the path says: a {what} is not renamed, but put anew");
    Err(Problem::bad(Some("name"), detail))
}

/// How to delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteParams {
    /// Only say what it would take along.
    #[serde(default)]
    dry_run: bool,
    /// The `confirm` of a dry run; wanted when runs wait for the task.
    confirm: Option<String>,
}

/// Deletes one task. None of its waiting runs starts any more; the leader cancels them. Those that run go on.
#[utoipa::path(delete, path = "/api/v1/tasks/{name}", tag = "tasks", params(("name" = String, Path), DeleteParams),
    responses((status = 200, body = DeletionView, description = "what it would take along"),
        (status = 202, body = DeletionView, description = "it is deleted; its waiting runs are being cancelled"),
        (status = 204, description = "it is deleted"),
        (status = 409, body = Problem, description = "runs wait for it: to be confirmed by the token of a dry run"),
        (status = "default", body = Problem)))]
pub async fn delete(
    By(control): By,
    Path(name): Path<String>,
    Params(params): Params<DeleteParams>,
) -> Result<Response, Problem> {
    if params.dry_run {
        let told = DeletionView::of(control.deletion(&name).await?, false);
        return Ok(Answer(told).into_response());
    }
    let done = control
        .delete_task(&name, params.confirm.as_deref())
        .await?;
    if done.waiting_runs == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok((StatusCode::ACCEPTED, Answer(DeletionView::of(done, true))).into_response())
}

/// Lets a task's schedule rest; requests for it still run.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/pause", tag = "tasks", params(("name" = String, Path)),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub async fn pause(By(control): By, Path(name): Path<String>) -> Result<Answer<Task>, Problem> {
    Ok(Answer(control.pause(&name).await?.into()))
}

/// Lets a task's schedule go on, from its first instant after now.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/resume", tag = "tasks", params(("name" = String, Path)),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub async fn resume(By(control): By, Path(name): Path<String>) -> Result<Answer<Task>, Problem> {
    Ok(Answer(control.resume(&name).await?.into()))
}

/// What a trigger may say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Instead of the task's own payload.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
    /// The task's own payload with these fields changed: a merge patch (RFC 7396). Not beside `payload`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    set: Option<Value>,
}

/// Starts a task out of turn.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/trigger", tag = "tasks", params(("name" = String, Path)),
    request_body = Trigger,
    responses((status = 201, body = Submitted), (status = "default", body = Problem)))]
pub async fn trigger(
    By(control): By,
    Path(name): Path<String>,
    Json(body): Json<Trigger>,
) -> Result<impl IntoResponse, Problem> {
    let submitted = match (body.payload, body.set) {
        (Some(_), Some(_)) => {
            let detail =
                "set: stands beside `payload`: give a whole payload, or the fields to change";
            return Err(Problem::bad(Some("set"), detail));
        }
        (None, Some(set)) => control.trigger_with(&name, &set).await?,
        (payload, None) => control.trigger(&name, payload).await?,
    };
    Ok((StatusCode::CREATED, Answer(Submitted::from(submitted))))
}

/// About which instant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhyParams {
    /// RFC 3339, a wall time in the task's zone (`2026-11-22T02:30`; `02:30` is today's), `last` or `next`; absent =
    /// `last`, the latest instant that is not to come.
    at: Option<String>,
}

/// Why a task did or did not run at an instant.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/why", tag = "tasks", params(("name" = String, Path), WhyParams),
    responses((status = 200, body = WhyView), (status = "default", body = Problem)))]
pub async fn why(
    State(control): State<Shared>,
    Path(name): Path<String>,
    Params(params): Params<WhyParams>,
) -> Result<Answer<WhyView>, Problem> {
    Ok(Answer(
        control
            .why(&name, params.at.as_deref().unwrap_or("last"))
            .await?
            .into(),
    ))
}

/// Tasks to apply.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "it is only the schema: the lists are read item by item"
)]
pub struct TaskList {
    /// Their definitions.
    #[schema(value_type = Vec<Task>)]
    tasks: Vec<Value>,
    /// Calendars that they may name; those that are not in the list stay.
    #[schema(value_type = Vec<CalendarView>)]
    calendars: Vec<Value>,
    /// Limits of queues and groups; those that are not in the list stay.
    limits: Vec<LimitOf>,
}

/// A limit by its name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitOf {
    /// `queue:NAME` or `group:NAME`.
    limit: String,
    /// How many runs may be handed to workers at once.
    max_running: u32,
}

/// How to apply.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyParams {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
    /// Who puts them: the owner of the tasks that name none, and the one whose tasks are pruned.
    owner: Option<String>,
    /// Delete tasks of this owner that are not in the list; without an owner, those that have none.
    #[serde(default)]
    prune: bool,
    /// Change tasks that belong to another owner, too.
    #[serde(default)]
    take_over: bool,
    /// The `confirm` of a dry run, or of an answer that left some to delete.
    confirm: Option<String>,
}

/// Makes the tasks be as the list says, all or nothing, and answers the difference. What `prune` deletes goes after that,
/// in batches: an answer with `remaining` is asked again, with its `confirm`, to go on.
#[utoipa::path(post, path = "/api/v1/apply", tag = "tasks", params(ApplyParams), request_body = TaskList,
    responses((status = 200, body = Applied),
        (status = 202, body = Applied, description = "tasks remain to be deleted: ask again with `confirm`"),
        (status = 409, body = Problem, description = "to be confirmed, or a task of another owner"),
        (status = "default", body = Problem)))]
pub async fn apply(
    By(control): By,
    Params(params): Params<ApplyParams>,
    Bulk(body): Bulk<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let mut wanted = definitions(body)?;
    wanted.owner = params.owner.filter(|owner| !owner.is_empty());
    let how = Apply {
        dry_run: params.dry_run,
        prune: params.prune,
        take_over: params.take_over,
        confirm: params.confirm,
        patience: DELETE_PATIENCE,
    };
    let diff = control.apply(&wanted, &how).await?;
    let status = if diff.remaining > 0 {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, Answer(Applied::from(diff))))
}

/// The definitions that a body holds.
#[derive(Debug, Default)]
pub struct Wanted(Definitions);

impl Gather for Wanted {
    const LISTS: &'static [List] = &[
        List {
            name: "tasks",
            items_max: APPLY_TASKS_MAX,
        },
        List {
            name: "calendars",
            items_max: APPLY_RULES_MAX,
        },
        List {
            name: "limits",
            items_max: APPLY_RULES_MAX,
        },
    ];
    const MAY_BE_ONE: bool = false;

    fn item(&mut self, list: &'static str, index: usize, raw: &str) -> Result<(), Problem> {
        let of = format!("{list}[{index}]");
        let value = input::item(&of, raw)?;
        match list {
            "tasks" => {
                let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
                let spec = definition(&value).map_err(|p| Problem { task: name, ..p })?;
                self.0.tasks.push(spec);
            }
            "calendars" => {
                let inside = |p: Problem| Problem {
                    field: p.field.map(|field| format!("{of}.{field}")),
                    ..p
                };
                self.0
                    .calendars
                    .push(calendar_spec(&value).map_err(inside)?);
            }
            _ => {
                let limit: LimitOf = input::fit(&of, &value)?;
                let key = limit.limit.parse();
                let field = format!("{of}.limit");
                let key =
                    key.map_err(|m: String| Problem::bad(Some(&field), format!("{field}: {m}")))?;
                self.0.limits.push((key, limit.max_running));
            }
        }
        Ok(())
    }
}

fn definitions(body: Gathered<Wanted>) -> Result<Definitions, Problem> {
    if let Some(name) = body.seen.unknown {
        return Err(bulk::unknown(&name, Wanted::LISTS));
    }
    if !body.seen.lists.contains(&"tasks") {
        let detail = "the body can't be taken: tasks: is missing";
        return Err(Problem::bad(Some("tasks"), detail));
    }
    Ok(body.items.0)
}

fn definition(body: &Value) -> Result<TaskSpec, Problem> {
    crate::taskfile::read_one(body).map_err(|e| Problem::bad(e.field.as_deref(), e.to_string()))
}
