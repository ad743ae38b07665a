//! `inbox …`: what other programs left in the inbox and became no run.

use serde_json::json;

use super::Failure;
use super::args::Inbox as Verb;
use super::client::{Client, query};
use super::out::{Out, short};
use super::tasks::more;
use crate::api::inbox::Unfulfilled;
use crate::api::model::Page;

/// `inbox …`
pub async fn run(client: &Client, verb: Verb, out: Out) -> Result<(), Failure> {
    let Verb::List(page) = verb;
    let query = query(&[
        ("limit", Some(page.limit.to_string())),
        ("cursor", page.cursor),
    ]);
    let rows: Page<Unfulfilled> = client.get(&format!("/inbox{query}")).await?;
    out.show(&rows, |out, rows| {
        let names = ["id", "at", "became", "run", "error"];
        out.table(&names, rows.items.iter().map(row).collect());
        if rows.items.is_empty() {
            out.remark("all that was left in the inbox became runs");
        }
        more(out, &json!({ "next_cursor": rows.next_cursor }));
    });
    Ok(())
}

fn row(row: &Unfulfilled) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.id.to_string(),
        row.at.to_string(),
        row.became.clone(),
        text(&row.run),
        short(row.error.as_deref().unwrap_or("-"), 160),
    ]
}
