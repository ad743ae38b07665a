//! `node …`, `leader …`, `queue …`, `why`.

use serde_json::json;

use super::Failure;
use super::args::{Leader, Queue as QueueVerb, Why};
use super::client::{Client, escape, query};
use super::out::Out;
use crate::api::model::{LeaderView, Node, Page, Queue, QueueKey, WhyView};

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
                "last beat",
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
    let leader: LeaderView = match verb {
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
    });
    Ok(())
}

/// `queue …`
pub async fn queue(client: &Client, verb: &QueueVerb, out: Out) -> Result<(), Failure> {
    match verb {
        QueueVerb::List => {
            let queues: Page<Queue> = client.get("/queues").await?;
            out.show(&queues, |out, queues| {
                let rows = queues.items.iter().map(|q| {
                    let numbers = [q.future, q.waiting, q.running, q.blocked, q.listeners]
                        .map(|n| n.to_string());
                    [vec![q.name.clone()], numbers.to_vec()].concat()
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
        QueueVerb::Key { queue } => {
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
    let query = query(&[("at", Some(why.instant.clone()))]);
    let answer: WhyView = client
        .get(&format!("/tasks/{}/why{query}", escape(&why.task)))
        .await?;
    out.show(&answer, |out, answer| {
        for sentence in &answer.sentences {
            out.line(sentence);
        }
    });
    Ok(())
}
