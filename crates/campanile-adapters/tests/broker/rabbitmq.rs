//! Our STOMP client against RabbitMQ's plugin: the whole suite of the port, and what is said of a virtual host that is not
//! named.

use campanile_core::port::broker::Error;
use xtask::servers::RabbitMq;

use super::*;

fn server() -> Option<Arc<RabbitMq>> {
    tokio::task::block_in_place(|| xtask::or_skip(RabbitMq::shared()))
}

async fn rabbitmq() -> Option<Fixture> {
    let server = server()?;
    let port = server.stomp_port();
    let url = format!("stomp://guest:guest@127.0.0.1:{port}?vhost=/");
    Some(Fixture {
        broker: connect(&url),
        prefix: prefix(),
        by_priority: false,
        keep: Box::new(server),
    })
}

campanile_conformance::broker!(rabbitmq);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_virtual_host_that_is_not_named_is_asked_for() {
    let Some(server) = server() else { return };
    let broker = connect(&format!(
        "stomp://guest:guest@127.0.0.1:{}",
        server.stomp_port()
    ));
    let error = broker.probe().await.unwrap_err();
    let text = shown(&error);
    assert!(matches!(error, Error::Refused(_)), "{text}");
    assert!(text.contains("add ?vhost=/"), "{text}");
}
