//! Nodes, leader and queues over HTTP: each route asks control once and answers what it says. It owns paths and shapes;
//! it never decides who leads.

use axum::Json as Answer;
use axum::extract::Path;
use campanile_ask::{Leader, QueueRow, Stats};

use super::acts::By;
use super::model::{Node, Page, QueueKey};
use super::problem::Problem;

/// The members: nodes whose heartbeats arrive.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "cluster",
    responses((status = 200, body = Page<Node>), (status = "default", body = Problem)))]
pub async fn nodes(By(control): By) -> Result<Answer<Page<Node>>, Problem> {
    let nodes = control.nodes().await?;
    Ok(Answer(Page::whole(
        nodes.into_iter().map(Node::from).collect(),
    )))
}

/// Who leads.
#[utoipa::path(get, path = "/api/v1/leader", tag = "cluster",
    responses((status = 200, body = Leader), (status = "default", body = Problem)))]
pub async fn leader(By(control): By) -> Result<Answer<Leader>, Problem> {
    Ok(Answer(control.leader().await?))
}

/// Asks the leader to hand over.
#[utoipa::path(post, path = "/api/v1/leader/resign", tag = "cluster",
    responses((status = 200, body = Leader), (status = "default", body = Problem)))]
pub async fn resign(By(control): By) -> Result<Answer<Leader>, Problem> {
    Ok(Answer(control.resign().await?))
}

/// Live runs by queue.
#[utoipa::path(get, path = "/api/v1/queues", tag = "cluster",
    responses((status = 200, body = Page<QueueRow>), (status = "default", body = Problem)))]
pub async fn queues(By(control): By) -> Result<Answer<Page<QueueRow>>, Problem> {
    Ok(Answer(Page::whole(control.queue_rows().await?)))
}

/// The signing key of one queue, for an external executor.
#[utoipa::path(get, path = "/api/v1/queues/{name}/key", tag = "cluster", params(("name" = String, Path)),
    responses((status = 200, body = QueueKey), (status = "default", body = Problem)))]
pub async fn queue_key(
    By(control): By,
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
    responses((status = 200, body = Stats), (status = "default", body = Problem)))]
pub async fn stats(By(control): By) -> Result<Answer<Stats>, Problem> {
    Ok(Answer(control.stats().await?))
}
