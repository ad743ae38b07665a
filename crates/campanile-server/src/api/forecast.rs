//! Looking ahead over HTTP: one route, whose answer control makes. It owns the names of the parameters and their
//! defaults; it reckons nothing.

use axum::Json as Answer;
use campanile_ask::ForecastQuery;
use campanile_core::forecast::Outage;
use campanile_schedule::TimeZoneName;
use serde::Deserialize;
use utoipa::IntoParams;

use super::acts::By;
use super::input::{Params, instant};
use super::model::Plan;
use super::problem::Problem;

/// Days that are looked at unless told otherwise.
pub const DAYS: u16 = 7;
/// Worst minutes that are named unless told otherwise.
pub const TOP: usize = 10;

/// How far to look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PlanParams {
    /// How many times 24 hours, 1 to 366; default 7.
    days: Option<u16>,
    /// The first instant (RFC 3339), cut to the minute; default: now.
    from: Option<String>,
    /// The first instant of an outage (RFC 3339), to see what is caught up after it.
    outage_from: Option<String>,
    /// When the outage ends (RFC 3339).
    outage_until: Option<String>,
    /// How many worst minutes are named, and tasks of other lists, 1 to 50; default 10.
    top: Option<usize>,
    /// In whose days the result is (IANA); default UTC.
    timezone: Option<String>,
}

/// What all tasks will start in the days ahead: minutes, worst minutes and who makes them, changes of the clocks,
/// overlaps, and what an outage leaves to be caught up.
#[utoipa::path(get, path = "/api/v1/plan", tag = "tasks", params(PlanParams),
    responses((status = 200, body = Plan), (status = "default", body = Problem)))]
pub async fn plan(
    By(control): By,
    Params(params): Params<PlanParams>,
) -> Result<Answer<Plan>, Problem> {
    let asked = ForecastQuery {
        from: instant("from", params.from.as_deref())?,
        days: params.days.unwrap_or(DAYS),
        outage: outage(&params)?,
        top: params.top.unwrap_or(TOP),
        zone: match &params.timezone {
            Some(name) => TimeZoneName::parse(name)
                .map_err(|e| Problem::bad(Some("timezone"), e.to_string()))?,
            None => TimeZoneName::utc(),
        },
    };
    Ok(Answer(Plan(control.forecast(&asked).await?)))
}

fn outage(params: &PlanParams) -> Result<Option<Outage>, Problem> {
    let from = instant("outage_from", params.outage_from.as_deref())?;
    let until = instant("outage_until", params.outage_until.as_deref())?;
    let missing = |field: &str, other: &str| {
        let detail = format!("{field}: is missing: an outage has both, {other} and {field}");
        Err(Problem::bad(Some(field), detail))
    };
    match (from, until) {
        (Some(from), Some(until)) => Ok(Some(Outage { from, until })),
        (None, None) => Ok(None),
        (Some(_), None) => missing("outage_until", "outage_from"),
        (None, Some(_)) => missing("outage_from", "outage_until"),
    }
}
