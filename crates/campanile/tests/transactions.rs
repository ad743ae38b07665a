//! Runs that are asked for inside a transaction of the program's own.

use campanile::Pending;
use campanile::prelude::*;
use sqlx::SqlitePool;

use crate::support::{Add, File, soon, sum, until};

async fn tables(pool: &SqlitePool) {
    let orders = "CREATE TABLE orders (n INTEGER)";
    sqlx::query(orders).execute(pool).await.unwrap();
}

async fn order(tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>) {
    let order = "INSERT INTO orders VALUES (17)";
    sqlx::query(order).execute(&mut **tx).await.unwrap();
}

#[tokio::test]
async fn a_run_is_there_if_and_only_if_the_transaction_commits() {
    let file = File::new();
    let campanile = file.adder().await;
    let pool = SqlitePool::connect(&file.url()).await.unwrap();
    tables(&pool).await;

    let mut tx = pool.begin().await.unwrap();
    order(&mut tx).await;
    let gone = campanile
        .submit::<Add>(&sum(&[1]))
        .in_transaction(&mut tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();

    let mut tx = pool.begin().await.unwrap();
    order(&mut tx).await;
    let kept = campanile
        .submit::<Add>(&sum(&[20, 22]))
        .key("order-17")
        .in_transaction(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(soon("the sum", kept.wait()).await.unwrap(), 42);
    let run = kept.run().await.unwrap().unwrap();
    let story = campanile.editor().run(run.id()).await.unwrap();
    assert_eq!(story.row.run.origin, campanile_core::run::Origin::Inbox);
    // The rolled back one's number may be the committed one's: there is one run.
    let all = campanile
        .editor()
        .runs(&campanile_ask::RunQuery::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(all.items.len(), 1);
    assert!(gone.row() <= kept.row());
    campanile.stop().await;
}

#[tokio::test]
async fn a_key_is_settled_later_and_never_an_error_in_the_transaction() {
    let file = File::new();
    let campanile = file.adder().await;
    let pool = SqlitePool::connect(&file.url()).await.unwrap();
    let first = campanile.submit::<Add>(&sum(&[1])).key("k").await.unwrap();
    let mut left: Vec<Pending<Add>> = Vec::new();
    for of in [1, 2] {
        let mut tx = pool.begin().await.unwrap();
        let asked = campanile.submit::<Add>(&sum(&[of])).key("k");
        left.push(asked.in_transaction(&mut tx).await.unwrap());
        tx.commit().await.unwrap();
    }
    soon("the first", left[0].wait()).await.unwrap();
    assert_eq!(left[0].run().await.unwrap().unwrap().id(), first.id());
    let refused = soon("the answer", left[1].wait()).await.unwrap_err();
    assert!(matches!(refused, Error::NotTaken { .. }), "{refused:?}");
    assert!(refused.to_string().contains("other content"), "{refused}");
    campanile.stop().await;
}

#[tokio::test]
async fn what_can_not_be_a_run_is_refused_before_it_is_left() {
    let file = File::new();
    let campanile = file.client().await;
    let pool = SqlitePool::connect(&file.url()).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let wrong = campanile
        .submit::<Add>(&sum(&[1]))
        .queue("no queue!")
        .in_transaction(&mut tx)
        .await;
    assert!(wrong.unwrap_err().to_string().contains("queue"));
    let long = "k".repeat(500);
    let wrong = campanile
        .submit::<Add>(&sum(&[1]))
        .key(long)
        .in_transaction(&mut tx)
        .await;
    assert!(wrong.unwrap_err().to_string().contains("idempotency_key"));
    tx.commit().await.unwrap();
    campanile.stop().await;
}

/// As a program in another language does it: the statement alone.
#[tokio::test]
async fn the_one_statement_is_enough() {
    let file = File::new();
    let campanile = file.adder().await;
    let pool = SqlitePool::connect(&file.url()).await.unwrap();
    let request = r#"{"handler": {"native": "add"}, "payload": {"of": [3, 4]}, "idempotency_key": "other-language"}"#;
    sqlx::query(campanile::LEAVE)
        .bind(request)
        .execute(&pool)
        .await
        .unwrap();
    let query = campanile_ask::RunQuery {
        state: Some(State::Succeeded),
        ..Default::default()
    };
    let done = async || {
        campanile
            .editor()
            .runs(&query, None, 10)
            .await
            .unwrap()
            .items
    };
    until("there is a run", async || !done().await.is_empty()).await;
    let run = campanile.run::<Add>(done().await[0].run.id);
    assert_eq!(soon("the sum", run.wait()).await.unwrap(), 7);
    campanile.stop().await;
}
