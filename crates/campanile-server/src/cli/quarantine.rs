//! `quarantine …`: what the store refused to record.

use serde_json::json;

use super::Failure;
use super::args::Quarantine as Verb;
use super::client::{Client, query};
use super::out::{Out, short};
use super::tasks::more;
use crate::api::model::Page;
use crate::api::quarantine::{Quarantined, Released};

/// `quarantine …`
pub async fn run(client: &Client, verb: Verb, out: Out) -> Result<(), Failure> {
    match verb {
        Verb::List(page) => {
            let query = query(&[
                ("limit", Some(page.limit.to_string())),
                ("cursor", page.cursor),
            ]);
            let rows: Page<Quarantined> = client.get(&format!("/quarantine{query}")).await?;
            out.show(&rows, |out, rows| {
                let names = ["id", "task", "run", "attempt", "since", "what", "error"];
                out.table(&names, rows.items.iter().map(row).collect());
                if rows.items.is_empty() {
                    out.remark("nothing is set aside");
                } else {
                    out.remark("mend what the store says, then `campanile quarantine release ID`");
                }
                more(out, &json!({ "next_cursor": rows.next_cursor }));
            });
        }
        Verb::Release { id } => {
            let path = format!("/quarantine/{}/release", number(&id)?);
            let answer: Released = client.post(&path, &json!({})).await?;
            out.show(&answer, |out, answer| {
                out.line(match answer.outcome.as_str() {
                    "superseded" => format!("{id}: its task goes on by itself since, or is gone"),
                    _ => format!("{id} is released"),
                });
            });
        }
        Verb::Drop { id } => {
            let id = number(&id)?;
            client.delete(&format!("/quarantine/{id}")).await?;
            out.show(&json!({ "id": id, "outcome": "dropped" }), |out, _| {
                out.line(format!("{id} is dropped"));
            });
        }
    }
    Ok(())
}

fn number(id: &str) -> Result<i64, Failure> {
    id.parse().map_err(|_| {
        Failure::Usage(format!(
            "`{id}` is no number of the quarantine: `campanile quarantine list` shows them"
        ))
    })
}

fn row(row: &Quarantined) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.id.to_string(),
        text(&row.task),
        text(&row.run),
        row.attempt.to_string(),
        row.at.to_string(),
        row.what.clone(),
        short(&row.error, 120),
    ]
}
