//! A cluster of three nodes with quorum queues under load: a node dies by kill -9, another stands still, and then there is
//! no majority. Nothing that was confirmed is lost, nothing is confirmed without a majority, and all goes on by itself.

use super::breakage::Load;
use super::*;

fn list(nodes: &[RabbitMq; 3]) -> String {
    let hosts: Vec<String> = nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.amqp_port()))
        .collect();
    format!("amqp://guest:guest@{}", hosts.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_loses_a_node_and_nothing_that_was_confirmed() {
    let started = tokio::task::block_in_place(|| xtask::or_skip(RabbitMq::start_cluster()));
    let Some(nodes) = started else { return };
    let queue = prefix();
    let url = list(&nodes);
    let load = Load::begin(&url, hasty(), &queue);
    load.goes_on(500).await;
    let members = tokio::task::block_in_place(|| {
        let columns = ["list_queues", "--silent", "name", "type", "members"];
        nodes[1].control(&columns).unwrap()
    });
    let line = members.lines().find(|line| line.contains(&queue)).unwrap();
    for part in [
        "quorum",
        "one@localhost",
        "two@localhost",
        "three@localhost",
    ] {
        assert!(line.contains(part), "not on all nodes: {line}");
    }
    // The node that all are connected to, and where the queue's leader is.
    tokio::task::block_in_place(|| nodes[0].kill9());
    load.goes_on(500).await;
    tokio::task::block_in_place(|| nodes[0].restart().unwrap());
    load.goes_on(200).await;
    // One that stands still: its connections stay open, and the others give it up in a while.
    tokio::task::block_in_place(|| nodes[1].pause());
    load.goes_on(500).await;
    tokio::task::block_in_place(|| nodes[1].resume());
    load.goes_on(200).await;
    // Without a majority nothing is confirmed.
    tokio::task::block_in_place(|| {
        nodes[0].kill9();
        nodes[1].kill9();
    });
    let broker = amqp::connect(&url, hasty()).unwrap();
    let answer = broker.publish(&[message(&queue, "4000000000")]).await;
    assert!(answer.is_err(), "one node of three confirmed");
    tokio::task::block_in_place(|| {
        nodes[0].restart().unwrap();
        nodes[1].restart().unwrap();
    });
    load.goes_on(200).await;
    let failed = load.end().await;
    assert!(failed >= 1, "no publish noticed any of it");
}
