//! Nodes, leader and queues over HTTP: each route asks control once and answers what it says. It owns paths and shapes;
//! it never decides who leads.

use axum::Json as Answer;
use axum::extract::{Path, State};

use super::Shared;
use super::acts::By;
use super::model::{LeaderView, Node, Page, Queue, QueueKey, StatsView};
use super::problem::Problem;

/// The living nodes.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "cluster",
    responses((status = 200, body = Page<Node>), (status = "default", body = Problem)))]
pub async fn nodes(State(control): State<Shared>) -> Result<Answer<Page<Node>>, Problem> {
    let nodes = control.nodes().await?;
    Ok(Answer(Page::whole(
        nodes.into_iter().map(Node::from).collect(),
    )))
}

/// Who leads.
#[utoipa::path(get, path = "/api/v1/leader", tag = "cluster",
    responses((status = 200, body = LeaderView), (status = "default", body = Problem)))]
pub async fn leader(State(control): State<Shared>) -> Result<Answer<LeaderView>, Problem> {
    Ok(Answer(control.leader().await?.into()))
}

/// Asks the leader to hand over.
#[utoipa::path(post, path = "/api/v1/leader/resign", tag = "cluster",
    responses((status = 200, body = LeaderView), (status = "default", body = Problem)))]
pub async fn resign(By(control): By) -> Result<Answer<LeaderView>, Problem> {
    Ok(Answer(control.resign().await?.into()))
}

/// Live runs by queue.
#[utoipa::path(get, path = "/api/v1/queues", tag = "cluster",
    responses((status = 200, body = Page<Queue>), (status = "default", body = Problem)))]
pub async fn queues(State(control): State<Shared>) -> Result<Answer<Page<Queue>>, Problem> {
    let queues = control.queue_rows().await?;
    Ok(Answer(Page::whole(
        queues.into_iter().map(Queue::from).collect(),
    )))
}

/// The signing key of one queue, for an external executor.
#[utoipa::path(get, path = "/api/v1/queues/{name}/key", tag = "cluster", params(("name" = String, Path)),
    responses((status = 200, body = QueueKey), (status = "default", body = Problem)))]
pub async fn queue_key(
    State(control): State<Shared>,
    Path(name): Path<String>,
) -> Result<Answer<QueueKey>, Problem> {
    let key = control.queue_key(&name).await?;
    Ok(Answer(QueueKey {
        queue: name,
        kid: key.id().to_owned(),
        key: key.to_hex(),
    }))
}

/// How things stand, in numbers.
#[utoipa::path(get, path = "/api/v1/stats", tag = "cluster",
    responses((status = 200, body = StatsView), (status = "default", body = Problem)))]
pub async fn stats(State(control): State<Shared>) -> Result<Answer<StatsView>, Problem> {
    Ok(Answer(control.stats().await?.into()))
}
