//! `node …`, `leader …`, `queue …`, `why`.

use campanile_ask::{self, QueueRow};
use serde_json::json;

use super::Failure;
use super::args::{Leader, Queue, Why};
use super::client::{Client, escape, query};
use super::instants::typed;
use super::out::Out;
use crate::api::model::{Node, Page, QueueKey, WhyView};

/// `node list`
pub async fn nodes(client: &Client, out: Out) -> Result<(), Failure> {
    let nodes: Page<Node> = client.get("/nodes").await?;
    out.show(&nodes, |out, nodes| {
        let rows = nodes.items.iter().map(|n| {
            vec![
                n.name.clone(),
                n.roles.join(","),
                n.queues.join(","),
                format!("{}/{}", n.busy, n.slots),
                out.at(n.beat_at, None),
                n.version.clone(),
                n.id.clone(),
            ]
        });
        out.table(
            &[
                "name",
                "roles",
                "queues",
                "busy",
                "last heartbeat",
                "version",
                "id",
            ],
            rows.collect(),
        );
    });
    Ok(())
}

/// `leader …`
pub async fn leader(client: &Client, verb: &Leader, out: Out) -> Result<(), Failure> {
    let leader: campanile_ask::Leader = match verb {
        Leader::Show => client.get("/leader").await?,
        Leader::Resign => client.post("/leader/resign", &json!({})).await?,
    };
    out.show(&leader, |out, leader| {
        let Some(node) = &leader.node else {
            return out.line("nobody has led yet");
        };
        let more = match (leader.resigning, leader.alive) {
            (true, _) => ", asked to hand over",
            (false, false) => ", and is not alive",
            (false, true) => "",
        };
        out.line(format!(
            "{node} leads since {} (term {}){more}",
            out.instant(leader.since, None),
            leader.epoch
        ));
        if let Some(held) = &leader.hold {
            out.line(format!("the cluster is {}", super::hold::told(out, held)));
        }
    });
    Ok(())
}

/// `queue …`
pub async fn queue(client: &Client, verb: &Queue, out: Out) -> Result<(), Failure> {
    match verb {
        Queue::List => {
            let queues: Page<QueueRow> = client.get("/queues").await?;
            out.show(&queues, |out, queues| {
                let rows = queues.items.iter().map(|q| {
                    let numbers = [q.future, q.waiting, q.running, q.blocked, q.listeners]
                        .map(|n| n.to_string());
                    [vec![q.name.to_string()], numbers.to_vec()].concat()
                });
                out.table(
                    &[
                        "queue", "future", "waiting", "running", "blocked", "workers",
                    ],
                    rows.collect(),
                );
                for warning in queues.items.iter().flat_map(|q| &q.warnings) {
                    out.remark(warning);
                }
            });
        }
        Queue::Key { queue } => {
            let key: QueueKey = client
                .get(&format!("/queues/{}/key", escape(queue)))
                .await?;
            out.show(&key, |out, key| out.line(&key.key));
        }
    }
    Ok(())
}

/// `why TASK INSTANT`
pub async fn why(client: &Client, why: &Why, out: Out) -> Result<(), Failure> {
    // A wall time is of the task's own zone, which the service knows, unless a zone was named.
    let at = match why.instant.as_str() {
        word @ ("last" | "next") => word.to_owned(),
        text if out.zone.is_some() => typed("INSTANT", text, out)?,
        text => text.to_owned(),
    };
    let path = format!(
        "/tasks/{}/why{}",
        escape(&why.task),
        query(&[("at", Some(at))])
    );
    let asked = client.get::<WhyView>(&path).await;
    let answer = asked.map_err(|f| f.renamed("at", "INSTANT"))?;
    out.show(&answer, |out, answer| {
        for sentence in &answer.sentences {
            out.line(sentence);
        }
    });
    Ok(())
}
