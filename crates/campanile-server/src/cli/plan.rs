//! `plan`: a look ahead, from the service or, with `--file`, from a task file without one. It asks and prints; what is
//! ahead is reckoned by [`campanile_core::forecast`].

use std::collections::HashMap;
use std::sync::Arc;

use campanile_core::forecast::{Forecast, Forecaster, Outage, Query};
use campanile_core::system;
use campanile_schedule::TimeZoneName;
use campanile_schedule::calendar::{Calendar, CalendarSpec};
use campanile_schedule::instant;
use campanile_schedule::time::Timestamp;

use super::Failure;
use super::args::{Form, Plan};
use super::client::{Client, query};
use super::out::Out;
use super::plan_text;
use crate::api::model;
use crate::heatmap;
use crate::taskfile::{self, TaskFile};

/// What was typed, read.
struct Asked {
    from: Option<Timestamp>,
    outage: Option<Outage>,
    zone: TimeZoneName,
}

/// `plan`
pub async fn run(
    plan: &Plan,
    client: impl FnOnce() -> Result<Client, Failure>,
    out: Out,
) -> Result<(), Failure> {
    let asked = Asked::read(plan)?;
    let forecast = match &plan.file {
        Some(path) => {
            let file = TaskFile::read(path).map_err(|e| Failure::Usage(e.to_string()))?;
            of_file(plan, &asked, &file)?
        }
        None => of_service(plan, &asked, &client()?).await?,
    };
    if let Some(path) = &plan.svg {
        std::fs::write(path, heatmap::svg(&forecast))
            .map_err(|e| Failure::Failed(format!("can't write {}: {e}", path.display())))?;
        out.remark(format!("the heat map is in {}", path.display()));
    }
    match out.form {
        // One line: the counts of all minutes would be as many lines.
        Form::Json => out.line(serde_json::to_string(&forecast).unwrap_or_default()),
        Form::Table => plan_text::show(out, &forecast, plan.file.is_some()),
    }
    Ok(())
}

impl Asked {
    fn read(plan: &Plan) -> Result<Self, Failure> {
        let zone = TimeZoneName::parse(&plan.tz);
        let zone = zone.map_err(|e| Failure::Usage(format!("--tz: {e}")))?;
        let now = system::wall_now();
        let instant = |name: &str, text: &str| {
            instant::parse(text, zone.name(), now).map_err(|m| {
                Failure::Usage(format!(
                    "--{name}: {}",
                    m.replace("the task's zone", "--tz")
                ))
            })
        };
        let outage = match &plan.outage {
            Some(text) => {
                let (from, until) = text.split_once('/').ok_or_else(|| {
                    Failure::Usage(format!(
                        "--outage: `{text}` is no stretch of time: write FROM/UNTIL, as in 2026-11-27T01:00/2026-11-27T03:00"
                    ))
                })?;
                let (from, until) = (instant("outage", from)?, instant("outage", until)?);
                Some(Outage { from, until })
            }
            None => None,
        };
        let from = plan
            .from
            .as_deref()
            .map(|t| instant("from", t))
            .transpose()?;
        Ok(Self { from, outage, zone })
    }
}

async fn of_service(plan: &Plan, asked: &Asked, client: &Client) -> Result<Forecast, Failure> {
    let query = query(&[
        ("days", Some(plan.days.to_string())),
        ("top", Some(plan.top.to_string())),
        ("timezone", Some(asked.zone.name().to_owned())),
        ("from", asked.from.map(|t| t.to_string())),
        ("outage_from", asked.outage.map(|o| o.from.to_string())),
        ("outage_until", asked.outage.map(|o| o.until.to_string())),
    ]);
    let model::Plan(forecast) = client.get(&format!("/plan{query}")).await?;
    Ok(forecast)
}

/// The file's calendars by their names; others are not known without a service.
fn calendars(file: &TaskFile) -> Result<HashMap<String, Arc<Calendar>>, Failure> {
    let read = |spec: &CalendarSpec| {
        let calendar = Calendar::compile(spec.clone(), 0)
            .map_err(|e| Failure::Usage(format!("calendar `{}`: {e}", spec.name)))?;
        Ok((spec.name.clone(), Arc::new(calendar)))
    };
    file.definitions.calendars.iter().map(read).collect()
}

/// The tasks of a file as if they were created now.
fn of_file(plan: &Plan, asked: &Asked, file: &TaskFile) -> Result<Forecast, Failure> {
    let created_at = system::wall_now();
    let query = Query {
        from: asked.from.unwrap_or(created_at),
        days: plan.days,
        outage: asked.outage,
        top: plan.top,
        zone: asked.zone.clone(),
    };
    let refused = |e: campanile_schedule::Invalid| Failure::Usage(format!("--{e}"));
    let mut forecaster = Forecaster::new(&query).map_err(refused)?;
    let calendars = calendars(file)?;
    let calendar = |name: &str| calendars.get(name).cloned();
    for spec in &file.definitions.tasks {
        spec.validate(created_at).map_err(|e| {
            Failure::Usage(
                taskfile::Error {
                    place: file.place_of(&spec.name, Some(&e.field)),
                    task: Some(format!("`{}`", spec.name)),
                    field: Some(e.field),
                    message: e.message,
                }
                .to_string(),
            )
        })?;
        forecaster.read(spec, created_at, &calendar);
    }
    Ok(forecaster.finish())
}
