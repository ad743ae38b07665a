//! `calendar …`, `limit …` and `task backfill`: requests to the API from what was typed, and its answers as tables.

use campanile_ask::{Backfilled, LimitRow};
use serde_json::{Value, json};

use super::Failure;
use super::args::{Backfill, Calendar, Limit};
use super::client::{Client, escape};
use super::instants::typed;
use super::out::{Out, short};
use crate::api::model::Page;

/// `limit …`
pub async fn limit(client: &Client, verb: Limit, out: Out) -> Result<(), Failure> {
    match verb {
        Limit::List => {
            let limits: Page<LimitRow> = client.get("/limits").await?;
            out.show(&limits, |out, limits| {
                let rows = limits.items.iter().map(|l| {
                    let numbers = [l.max_running, l.running, l.waiting].map(|n| n.to_string());
                    [vec![l.limit.to_string()], numbers.to_vec()].concat()
                });
                out.table(
                    &["limit", "max_running", "running", "waiting"],
                    rows.collect(),
                );
            });
            limits.items.iter().for_each(|l| warn(l, out));
        }
        Limit::Set { limit, max_running } => {
            let body = json!({ "max_running": max_running });
            client.put(&path_of(&limit), &body).await?;
            let answer = json!({ "limit": limit, "max_running": max_running });
            out.show(&answer, |out, _| {
                out.line(format!("{limit}: at most {max_running} at once"));
            });
            let limits: Page<LimitRow> = client.get("/limits").await?;
            let set = limits.items.iter().find(|l| l.limit.to_string() == limit);
            set.into_iter().for_each(|l| warn(l, out));
        }
        Limit::Lift { limit } => {
            client.delete(&path_of(&limit)).await?;
            let answer = json!({ "limit": limit, "lifted": true });
            out.show(&answer, |out, _| out.line(format!("{limit} has no limit")));
        }
    }
    Ok(())
}

/// Says that a limit limits nothing now.
fn warn(limit: &LimitRow, out: Out) {
    if let Some(warning) = &limit.warning {
        out.remark(format!("warning: {}: {warning}", limit.limit));
    }
}

fn path_of(limit: &str) -> String {
    format!("/limits/{}", escape(limit))
}

/// `calendar …`
pub async fn calendar(client: &Client, verb: Calendar, out: Out) -> Result<(), Failure> {
    match verb {
        Calendar::List => {
            let calendars: Page<Value> = client.get("/calendars").await?;
            out.show(&calendars, |out, calendars| {
                let rows = calendars.items.iter().map(|c| {
                    let tasks = c["tasks"].as_array().map_or(0, Vec::len);
                    vec![
                        c["name"].as_str().unwrap_or_default().to_owned(),
                        c["version"].to_string(),
                        tasks.to_string(),
                        short(c["description"].as_str().unwrap_or_default(), 60),
                    ]
                });
                out.table(
                    &["calendar", "version", "tasks", "description"],
                    rows.collect(),
                );
            });
        }
        Calendar::Show { name } => {
            let answer: Value = client.get(&format!("/calendars/{}", escape(&name))).await?;
            out.show(&answer, super::tasks::fields);
        }
        Calendar::Delete { name } => {
            client
                .delete(&format!("/calendars/{}", escape(&name)))
                .await?;
            out.show(&json!({ "name": name, "deleted": true }), |out, _| {
                out.line(format!("calendar {name} is deleted"));
            });
        }
    }
    Ok(())
}

/// `task backfill`
pub async fn backfill(client: &Client, what: Backfill, out: Out) -> Result<(), Failure> {
    let mut body = json!({
        "from": typed("--from", &what.from, out)?,
        "until": typed("--until", &what.until, out)?,
        "all": what.all,
        "dry_run": what.dry_run,
    });
    if let Some(n) = what.per_second {
        body["per_second"] = n.into();
    }
    let path = format!("/tasks/{}/backfill", escape(&what.name));
    let answer: Backfilled = client.post(&path, &body).await?;
    out.show(&answer, |out, b| {
        let range = match (b.first, b.last) {
            (Some(first), Some(last)) => {
                let [first, last] = [first, last].map(|at| out.at(at, Some(&b.timezone)));
                format!(", from {first} to {last}")
            }
            _ => String::new(),
        };
        out.line(format!(
            "{} instants, {} of them have a run already; {} to run{range}",
            b.instants, b.ran, b.count
        ));
        out.line(if b.dry_run {
            "nothing was done (dry run)".to_owned()
        } else {
            format!("{} runs made: done", b.created)
        });
    });
    Ok(())
}
