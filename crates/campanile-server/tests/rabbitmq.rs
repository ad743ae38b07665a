//! The program over RabbitMQ: tasks fire while the broker is killed and comes back, and `doctor` says what it sees there.

use std::time::Duration;

use campanile_adapters::amqp;
use campanile_core::port::broker::{Broker as _, Message};
use serde_json::json;
use xtask::or_skip;
use xtask::servers::{RabbitMq, RabbitMqOptions, TempDir, wait_until};

use crate::cli::{out, run};
use crate::support::{Service, start};

const PATIENCE: Duration = Duration::from_secs(90);

async fn succeeded(service: &Service, task: &str) -> usize {
    let path = format!("/runs?task={task}&state=succeeded&limit=1000");
    let answer = service.ask("GET", &path, None).await;
    answer.body["items"].as_array().map_or(0, Vec::len)
}

/// Waits until so many more runs of the task have succeeded.
async fn goes_on(service: &Service, task: &str, more: usize) {
    let first = succeeded(service, task).await;
    let all = campanile_core::system::within(PATIENCE, async {
        while succeeded(service, task).await < first + more {
            campanile_core::system::pause(Duration::from_millis(100)).await;
        }
    });
    assert!(all.await.is_some(), "the task no longer runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_go_on_when_the_broker_was_killed_and_is_back() {
    let started =
        tokio::task::block_in_place(|| or_skip(RabbitMq::start_with(RabbitMqOptions::default())));
    let Some(server) = started else { return };
    // One node alone: classic queues.
    let broker = format!("{}?queues=classic", server.url());
    let service = start(&[("broker", broker.as_str()), ("allow_commands", "/bin/true")]).await;
    let task = json!({
        "schedule": "every 200ms",
        "handler": { "command": { "argv": ["/bin/true"] } },
    });
    let answer = service.ask("PUT", "/tasks/tick", Some(task)).await;
    assert!(answer.status < 300, "{answer:?}");
    goes_on(&service, "tick", 10).await;
    tokio::task::block_in_place(|| {
        server.kill9();
        wait_until("it is gone", PATIENCE, || !server.is_accepting());
        server.restart().unwrap();
    });
    goes_on(&service, "tick", 10).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_sees_what_waits_and_says_what_the_broker_lacks() {
    let started = tokio::task::block_in_place(|| or_skip(RabbitMq::shared()));
    let Some(server) = started else { return };
    let queue = format!("doctor{}", std::process::id());
    let broker = amqp::connect(&server.url(), amqp::Options::default()).unwrap();
    let waiting = Message {
        destination: format!("campanile.{queue}"),
        body: "x".to_owned(),
        correlation_id: String::new(),
        reply_to: String::new(),
        priority: 4,
        properties: Vec::new(),
    };
    broker.publish(&[waiting]).await.unwrap();
    let folder = TempDir::new("doctor").unwrap();
    let url = server.url();
    let doctor = |url: &str| {
        let flags = [
            "doctor",
            "--store",
            "sqlite:x.db",
            "--broker",
            url,
            "--queues",
            &queue,
        ];
        tokio::task::block_in_place(|| run(&folder, &flags))
    };
    let done = doctor(&url);
    let said = out(&done);
    assert_eq!(done.status.code(), Some(0), "{said}");
    for part in [
        "RabbitMQ 3.".to_owned(),
        "it takes messages at once".to_owned(),
        format!(
            "queue `campanile.{queue}`: 1 messages wait, 0 consumers; start a worker with `--queues {queue}`"
        ),
        format!("queue `campanile.{queue}~groups` is not there yet"),
        "priorities: not with this broker".to_owned(),
        "own dead letters: only with a policy".to_owned(),
        "holds at most".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    // It has made nothing.
    let found = broker.inspect(&[format!("campanile.{queue}~groups")]).await;
    assert_eq!(found.unwrap().queues, [None]);
    let wrong = url.replace("guest:guest", "guest:topsecret");
    let done = doctor(&wrong);
    let said = out(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("check user and password") && !said.contains("topsecret"),
        "{said}"
    );
}
