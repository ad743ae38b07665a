//! `audit …`: who did what, as a list, as JSON lines, and whether nothing of it is missing or changed.

use campanile_access::audit::Line;
use serde_json::{Value, json};

use super::Failure;
use super::args::Audit as Verb;
use super::client::{Client, query};
use super::out::{Out, short};
use super::tasks::more;
use crate::api::audit::AuditRecord;
use crate::api::model::Page;
use campanile_ask::{AuditPlace, AuditVerified};

/// `audit …`
pub async fn run(client: &Client, verb: Verb, out: Out) -> Result<(), Failure> {
    match verb {
        Verb::List(list) => {
            let query = query(&[
                ("actor", list.actor),
                ("object", list.object),
                ("since", list.since),
                ("until", list.until),
                ("limit", Some(list.page.limit.to_string())),
                ("cursor", list.page.cursor),
            ]);
            let rows: Page<Line> = client.get(&format!("/audit{query}")).await?;
            out.show(&rows, |out, rows| {
                let names = [
                    "seq", "at", "who", "from", "act", "object", "count", "reason",
                ];
                out.table(&names, rows.items.iter().map(row).collect());
                more(out, &json!({ "next_cursor": rows.next_cursor }));
            });
            Ok(())
        }
        Verb::Export { after } => export(client, after, out).await,
        Verb::Verify { from } => verify(client, from.as_deref(), out).await,
    }
}

fn row(line: &Line) -> Vec<String> {
    vec![
        line.seq.to_string(),
        line.at.to_string(),
        line.actor.clone(),
        line.from.clone(),
        line.act.clone(),
        short(&line.object, 60),
        line.count.to_string(),
        short(line.reason.as_deref().unwrap_or("-"), 60),
    ]
}

/// One JSON line for each: the line, and its hash.
async fn export(client: &Client, mut after: i64, out: Out) -> Result<(), Failure> {
    loop {
        let path = format!("/audit/export?after={after}");
        let page: Page<AuditRecord> = client.get(&path).await?;
        for record in &page.items {
            let line: Value = serde_json::from_str(&record.line).unwrap_or_default();
            out.line(json!({ "hash": record.hash, "line": line, "text": record.line }));
            after = record.seq;
        }
        if page.next_cursor.is_none() {
            return Ok(());
        }
    }
}

async fn verify(client: &Client, from: Option<&str>, out: Out) -> Result<(), Failure> {
    let mut from = from.map(place).transpose()?;
    let (mut lines, mut first) = (0, None);
    loop {
        let query = match &from {
            Some(place) => query(&[
                ("seq", Some(place.seq.to_string())),
                ("hash", Some(place.hash.clone())),
            ]),
            None => String::new(),
        };
        let found: AuditVerified = client.get(&format!("/audit/verify{query}")).await?;
        lines += found.lines;
        let begin = first.get_or_insert_with(|| found.from.clone()).seq;
        if let Some(fault) = &found.fault {
            return Err(Failure::Failed(format!(
                "{fault}; lines {} to {} are good",
                begin + 1,
                found.to.seq
            )));
        }
        if !found.more {
            let (to, hash) = (found.to.seq, &found.to.hash);
            out.show(&found, |out, _| {
                out.line(format!(
                    "whole: {lines} lines, {} to {to}; the place to verify from later: {to}:{hash}",
                    begin + 1
                ));
            });
            return Ok(());
        }
        from = Some(found.to);
    }
}

fn place(text: &str) -> Result<AuditPlace, Failure> {
    let read = text.split_once(':').and_then(|(seq, hash)| {
        Some(AuditPlace {
            seq: seq.parse().ok()?,
            hash: hash.to_owned(),
        })
    });
    read.ok_or_else(|| {
        let text = "--from: write it as an earlier `audit verify` printed it, SEQ:HASH";
        Failure::Usage(text.to_owned())
    })
}
