//! Tasks over HTTP: definitions in, definitions out, and what may be done to a task by name. It owns the routes and how
//! a body is read; it never judges a definition, which control does.

use std::borrow::Cow;

use axum::Json as Answer;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use campanile_ask::{Apply, Definitions, Deletion, Diff, Limit as LimitOf, NewPause};
use campanile_core::limits::{APPLY_RULES_MAX, APPLY_TASKS_MAX, DELETE_PATIENCE};
use campanile_core::misread::Misread;
use campanile_core::port::ask::TaskFilter;
use campanile_schedule::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::acts::By;
use super::bulk::{self, Gather, Gathered, List};
use super::input::{self, Bulk, Json, Params};
use super::model::{CalendarView, Page, Submitted, TASK_EXTRAS, Task, WhyView};
use super::problem::Problem;
use crate::definitions::{self, Kind};
use crate::document::Form;

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
    /// Only tasks with this label, or with each of several: `team=billing,tier=1`.
    label: Option<String>,
}

/// Tasks in the order of their names.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(PageParams),
    responses((status = 200, body = Page<Task>), (status = "default", body = Problem)))]
pub async fn list(
    By(control): By,
    Params(page): Params<PageParams>,
) -> Result<Answer<Page<Task>>, Problem> {
    let filter = TaskFilter {
        owner: page.owner,
        labels: input::labels(page.label.as_deref())?,
    };
    let limit = page.limit.unwrap_or(100);
    let rows = control
        .tasks(&filter, page.cursor.as_deref(), limit)
        .await?;
    Ok(Answer(Page {
        items: rows
            .items
            .into_iter()
            .map(|row| Task::of(row, control.masks()))
            .collect(),
        next_cursor: rows.next_cursor,
    }))
}

/// One task.
#[utoipa::path(get, path = "/api/v1/tasks/{name}", tag = "tasks", params(("name" = String, Path)),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub async fn show(By(control): By, Path(name): Path<String>) -> Result<Answer<Task>, Problem> {
    let row = control.task(&name).await?;
    Ok(Answer(Task::of(row, control.masks())))
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
    let spec = input::defined(&body)?;
    let (task, created) = control.put_task_as(&spec, params.take_over).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Answer(Task::of(task, control.masks()))))
}

/// Takes the fields out that only answers have, and puts the path's name in.
pub fn named(body: &mut Value, name: &str, what: &str, extras: &[&str]) -> Result<(), Problem> {
    let Some(fields) = body.as_object_mut() else {
        return Ok(());
    };
    if let Some(hidden) = fields.get("hidden").and_then(Value::as_array)
        && let Some(first) = hidden.first().and_then(Value::as_str)
    {
        let detail = format!(
            "hidden: this {what} was shown without its `{first}`: put it back, and take `hidden` out"
        );
        return Err(Problem::bad(Some("hidden"), detail));
    }
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
        format!("name: is not `{name}`, as the path says: a {what} is not renamed, but put again");
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
    responses((status = 200, body = Deletion, description = "what it would take along"),
        (status = 202, body = Deletion, description = "it is deleted; its waiting runs are being cancelled"),
        (status = 204, description = "it is deleted"),
        (status = 409, body = Problem, description = "runs wait for it: to be confirmed by the token of a dry run"),
        (status = "default", body = Problem)))]
pub async fn delete(
    By(control): By,
    Path(name): Path<String>,
    Params(params): Params<DeleteParams>,
) -> Result<Response, Problem> {
    if params.dry_run {
        return Ok(Answer(control.deletion(&name).await?).into_response());
    }
    let done = control
        .delete_task(&name, params.confirm.as_deref())
        .await?;
    if done.waiting_runs == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok((StatusCode::ACCEPTED, Answer(done)).into_response())
}

/// What may be said of a pause.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// Why, for those who wonder: at most 500 characters.
    #[serde(default)]
    reason: Option<String>,
    /// When it ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Lets a task's schedule rest; requests for it still run. Of one that rests already, what is said takes the place of what
/// was said.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/pause", tag = "tasks", params(("name" = String, Path)),
    request_body = Rest,
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub async fn pause(
    By(control): By,
    Path(name): Path<String>,
    Json(body): Json<Rest>,
) -> Result<Answer<Task>, Problem> {
    let pause = NewPause {
        reason: body.reason,
        until: body.until,
    };
    let row = control.pause_with(&name, &pause).await?;
    Ok(Answer(Task::of(row, control.masks())))
}

/// Lets a task's schedule go on, from its first instant after now.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/resume", tag = "tasks", params(("name" = String, Path)),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub async fn resume(By(control): By, Path(name): Path<String>) -> Result<Answer<Task>, Problem> {
    let row = control.resume(&name).await?;
    Ok(Answer(Task::of(row, control.masks())))
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
    By(control): By,
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
#[utoipa::path(post, path = "/api/v1/apply", tag = "tasks", params(ApplyParams), request_body = Wanted,
    responses((status = 200, body = Diff),
        (status = 202, body = Diff, description = "tasks remain to be deleted: ask again with `confirm`"),
        (status = 409, body = Problem, description = "to be confirmed, or a task of another owner"),
        (status = "default", body = Problem)))]
pub async fn apply(
    By(control): By,
    Params(params): Params<ApplyParams>,
    Bulk(body): Bulk<Wanted>,
) -> Result<impl IntoResponse, Problem> {
    let mut wanted = wanted(body)?;
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
    Ok((status, Answer(diff)))
}

/// The definitions that a body holds.
#[derive(Debug, Default)]
pub struct Wanted(Definitions);

impl Gather for Wanted {
    const LISTS: &'static [List] = &[
        List {
            name: Kind::Task.list(),
            items_max: APPLY_TASKS_MAX,
        },
        List {
            name: Kind::Calendar.list(),
            items_max: APPLY_RULES_MAX,
        },
        List {
            name: Kind::Limit.list(),
            items_max: APPLY_RULES_MAX,
        },
    ];
    const MAY_BE_ONE: bool = false;

    fn item(&mut self, list: &'static str, index: usize, raw: &str) -> Result<(), Problem> {
        let of = format!("{list}[{index}]");
        let value = input::item(&of, raw)?;
        for kind in Kind::ALL.into_iter().filter(|kind| kind.list() == list) {
            definitions::add(&mut self.0, kind, &value, Form::Json)
                .map_err(|e| misread(kind, &of, &value, &e))?;
        }
        Ok(())
    }
}

/// One of them that can't be read. A task is told by its name.
fn misread(kind: Kind, of: &str, value: &Value, misread: &Misread) -> Problem {
    if kind == Kind::Task {
        let name = value.get("name").and_then(Value::as_str);
        return Problem {
            task: name.map(str::to_owned),
            ..Problem::bad(
                input::within("", &misread.field).as_deref(),
                misread.to_string(),
            )
        };
    }
    let field = input::within(of, &misread.field);
    let detail = format!("{}: {}", field.as_deref().unwrap_or(of), misread.message);
    Problem::bad(field.as_deref(), detail)
}

impl ToSchema for Wanted {
    fn name() -> Cow<'static, str> {
        "TaskList".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((LimitOf::name().into_owned(), LimitOf::schema()));
    }
}

impl PartialSchema for Wanted {
    /// Of [`Definitions`], which know no OpenAPI.
    fn schema() -> RefOr<Schema> {
        let list = |item: Cow<'static, str>, description: &'static str| {
            let items = Ref::from_schema_name(item);
            ArrayBuilder::new()
                .items(items)
                .description(Some(description))
        };
        let tasks = list(Task::name(), "Their definitions.");
        let calendars = list(
            CalendarView::name(),
            "Calendars that they may name; those that are not in the list stay.",
        );
        let limits = list(
            LimitOf::name(),
            "Limits of queues and groups; those that are not in the list stay.",
        );
        let all = ObjectBuilder::new()
            .description(Some("Tasks to apply."))
            .property(Kind::Task.list(), tasks)
            .property(Kind::Calendar.list(), calendars)
            .property(Kind::Limit.list(), limits)
            .required(Kind::Task.list());
        all.into()
    }
}

fn wanted(body: Gathered<Wanted>) -> Result<Definitions, Problem> {
    if let Some(name) = body.seen.unknown {
        return Err(bulk::unknown(&name, Wanted::LISTS));
    }
    if !body.seen.lists.contains(&Kind::Task.list()) {
        let detail = "the body can't be taken: tasks: is missing";
        return Err(Problem::bad(Some("tasks"), detail));
    }
    Ok(body.items.0)
}
