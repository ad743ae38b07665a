//! Several programs on one store: a client, a successor after a stop or a drop; and what a builder refuses.

use std::time::Duration;

use campanile::prelude::*;

use crate::support::{Add, Endless, File, Sum, soon, until};

fn two() -> Sum {
    Sum { of: vec![1, 1] }
}

#[tokio::test]
async fn a_client_submits_and_waits_and_runs_nothing() {
    let file = File::new();
    let client = file.client().await;
    let run = client.submit::<Add>(&two()).key("a").await.unwrap();
    assert!(client.editor().nodes().await.unwrap().is_empty());
    assert!(!client.is_leading());
    let worker = file.adder().await;
    assert_eq!(soon("the sum", run.wait()).await.unwrap(), 2);
    worker.stop().await;
    client.stop().await;
}

#[tokio::test]
async fn a_stop_lets_handlers_end_and_gives_the_lead_up() {
    let file = File::new();
    let first = file.adder().await;
    until("the first leads", async || first.is_leading()).await;
    first.stop().await;
    let second = file.adder().await;
    let run = second.submit::<Add>(&two()).await.unwrap();
    // Not after the lock's five seconds.
    soon("the successor", run.wait()).await.unwrap();
    second.stop().await;
}

#[tokio::test]
async fn a_drop_gives_the_lock_back_and_stops_its_handlers() {
    let file = File::new();
    let endless = Endless::default();
    let first = Campanile::open(file.url())
        .drain(Duration::from_secs(3_600))
        .handler(endless.clone());
    let first = first.start().await.unwrap();
    let run = first.submit::<Endless>(&()).await.unwrap();
    soon("the start", endless.begun.notified()).await;
    drop(first);
    soon("the word to stop", endless.told.notified()).await;
    let client = file.client().await;
    let run = client.run::<Endless>(run.id());
    until("it waits for another worker", async || {
        run.state().await.unwrap() != State::Running
    })
    .await;
    until("the lock is free", async || {
        client.editor().nodes().await.unwrap().is_empty()
    })
    .await;
    let second = Campanile::open(file.url())
        .handler(endless.clone())
        .start()
        .await
        .unwrap();
    soon("its second start", endless.begun.notified()).await;
    assert!(second.is_leading());
    run.cancel().await.unwrap();
    second.stop().await;
}

#[tokio::test]
async fn what_a_builder_is_told_wrong_is_refused_with_the_remedy() {
    for (builder, part) in [
        (Campanile::open("app.db"), "sqlite:FILE"),
        (
            Campanile::open("sqlite:/no/such/folder/app.db"),
            "check the folder",
        ),
        (
            Campanile::open("sqlite:x.db").lock("zookeeper://h"),
            "begin it with one of",
        ),
        (
            Campanile::open("sqlite:x.db").broker("amqp10://h"),
            "not built yet",
        ),
        (Campanile::open("sqlite:x.db").name("a b"), "name: "),
        (Campanile::open("sqlite:x.db").slots(0), "slots: write 1 to"),
    ] {
        let said = builder.start().await.unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn an_adapter_that_is_not_there_is_named_with_its_feature() {
    let file = File::new();
    for (builder, feature) in [
        (
            Campanile::open(file.url()).lock("redis://localhost"),
            "`redis`",
        ),
        (
            Campanile::open(file.url()).broker("stomp://localhost"),
            "`stomp`",
        ),
        (
            Campanile::open(file.url()).broker("amqp://localhost"),
            "`amqp`",
        ),
    ] {
        match builder.start().await {
            // It is there, and looks for its server by itself.
            Ok(campanile) => campanile.stop().await,
            Err(error) => assert!(error.to_string().contains(feature), "{error}"),
        }
    }
}
