//! The broker `store:`: the suite that every broker passes, on each database; and what only a table can show: what an idle
//! worker asks, what becomes of what a dead one had taken, and how many hints are given.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use campanile_adapters::offers::{HELD, HINT_PERIOD, LOOK_PERIOD, OfferBroker};
use campanile_conformance::broker::Fixture;
use campanile_core::memory::clock::ManualClock;
use campanile_core::port::broker::{Broker, Consumer, Message};
use campanile_core::port::clock::Clock;
use campanile_core::system::{SystemClock, pause, spawn, wall_now, within};
use campanile_schedule::time::Timestamp;
use sqlx::postgres::PgListener;
use sqlx::{PgPool, SqlitePool};

use super::{Arc, MariaDb, Postgres, TempDir, open, sql, sqlite_url};

/// How long anything may take that must happen.
const SOON: Duration = Duration::from_secs(60);

/// What the suite asks of a broker and this one can't do; named, so that nobody looks for it.
const CAN_NOT: [&str; 1] = ["reach listeners that are not ours"];

async fn broker_at(url: &str) -> OfferBroker {
    OfferBroker::new(open(url).await.offers(), Arc::new(SystemClock::new()))
}

async fn fixture(url: &str, keep: impl Send + Sync + 'static) -> Option<Fixture> {
    Some(Fixture {
        broker: Arc::new(broker_at(url).await),
        prefix: "test".to_owned(),
        by_priority: true,
        keep: Box::new(keep),
    })
}

mod sqlite {
    use super::*;

    async fn offers() -> Option<Fixture> {
        let folder = TempDir::new("offers").unwrap();
        fixture(&sqlite_url(&folder), folder).await
    }

    campanile_conformance::broker!(offers);
}

mod postgres {
    use super::*;

    async fn offers() -> Option<Fixture> {
        let server = xtask::or_skip(Postgres::shared())?;
        let url = server.create_database("offers").unwrap();
        fixture(&url, server).await
    }

    campanile_conformance::broker!(offers);
}

mod mariadb {
    use super::*;

    async fn offers() -> Option<Fixture> {
        let server = xtask::or_skip(MariaDb::shared())?;
        let url = server.create_database("offers").unwrap();
        fixture(&url, server).await
    }

    campanile_conformance::broker!(offers);
}

fn message(queue: &str, body: &str) -> Message {
    Message {
        destination: format!("campanile.{queue}"),
        body: body.to_owned(),
        correlation_id: String::new(),
        reply_to: String::new(),
        priority: 4,
        properties: Vec::new(),
    }
}

async fn receive(consumer: &mut dyn Consumer) -> Vec<String> {
    let received = within(SOON, consumer.receive()).await.unwrap().unwrap();
    received.into_iter().map(|d| d.body).collect()
}

/// It says itself what it can't do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_it_reaches_our_own_workers_alone() {
    let folder = TempDir::new("offers").unwrap();
    let broker = broker_at(&sqlite_url(&folder)).await;
    assert_eq!(CAN_NOT.len(), 1);
    assert!(!broker.reaches_listeners());
}

/// Counts the statements of one store.
#[derive(Debug, Default)]
struct Counted(Mutex<Vec<String>>);

#[async_trait]
impl sql::Gate for Counted {
    async fn pass(&self, sql: &str) -> Option<String> {
        self.0.lock().unwrap().push(sql.to_owned());
        None
    }
}

impl Counted {
    fn about_offers(&self) -> usize {
        let sent = self.0.lock().unwrap();
        sent.iter()
            .filter(|sql| sql.contains("campanile_offer"))
            .count()
    }

    async fn until(&self, count: usize) {
        let reached = within(SOON, async {
            while self.about_offers() < count {
                pause(Duration::from_millis(2)).await;
            }
        });
        assert!(
            reached.await.is_some(),
            "{} of {count}",
            self.about_offers()
        );
    }
}

/// Twenty queues with three destinations each: one statement a second, and a read.
async fn an_idle_worker_asks_once_a_second(url: &str) {
    const QUEUES: usize = 60;
    let counted = Arc::new(Counted::default());
    let options = sql::Options {
        gate: Some(Arc::clone(&counted) as _),
        ..sql::Options::default()
    };
    let store = sql::open(url, options).await.unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_800_000_000_000)));
    let broker = OfferBroker::new(store.offers(), Arc::clone(&clock) as Arc<dyn Clock>);
    let mut idle = Vec::new();
    for n in 0..QUEUES {
        let mut consumer = broker.consume(&format!("campanile.q{n}"), 8).await.unwrap();
        idle.push(spawn(
            async move { consumer.receive().await.map(|d| d.len()) },
        ));
    }
    // Each destination is asked for once at the start; then all of them in one statement.
    counted.until(QUEUES + 1).await;
    for second in 1..=20 {
        clock.advance(LOOK_PERIOD.saturating_sub(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        counted.until(QUEUES + 1 + second).await;
    }
    assert_eq!(counted.about_offers(), QUEUES + 21);
    let sent = counted.0.lock().unwrap().split_off(0);
    let looks = sent.iter().filter(|sql| sql.contains("campanile_offer"));
    assert!(looks.skip(QUEUES).all(|sql| sql.starts_with("SELECT")));
    for one in &idle {
        assert!(!one.is_finished());
        one.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_once_a_second_on_sqlite() {
    let folder = TempDir::new("offers").unwrap();
    an_idle_worker_asks_once_a_second(&sqlite_url(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_once_a_second_on_postgres() {
    let Some(server) = tokio::task::block_in_place(|| xtask::or_skip(Postgres::shared())) else {
        return;
    };
    // Its hints are of another database.
    an_idle_worker_asks_once_a_second(&server.create_database("idle").unwrap()).await;
}

/// Another process publishes, and no hint comes: on SQLite there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_offers_is_found_without_a_hint() {
    let folder = TempDir::new("offers").unwrap();
    let url = sqlite_url(&folder);
    let (here, there) = (broker_at(&url).await, broker_at(&url).await);
    let mut consumer = here.consume("campanile.q", 8).await.unwrap();
    let waiting = spawn(async move { receive(&mut *consumer).await });
    there.publish(&[message("q", "one")]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), ["one"]);
}

/// A process dies with what it has taken: others have it once its time is over, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_had_taken_is_offered_again() {
    let folder = TempDir::new("offers").unwrap();
    let url = sqlite_url(&folder);
    let (dead, living) = (broker_at(&url).await, broker_at(&url).await);
    living.publish(&[message("q", "one")]).await.unwrap();
    let mut taken = dead.consume("campanile.q", 8).await.unwrap();
    assert_eq!(receive(&mut *taken).await, ["one"]);
    // It neither acknowledges nor gives back.
    std::mem::forget(taken);
    drop(dead);
    let db = SqlitePool::connect(&url).await.unwrap();
    let held: i64 = sqlx::query_scalar("SELECT held_until FROM campanile_offer")
        .fetch_one(&db)
        .await
        .unwrap();
    let until = Timestamp::from_ms(held);
    assert!(
        until > wall_now() && until <= wall_now().plus(HELD),
        "{until}"
    );
    let mut next = living.consume("campanile.q", 8).await.unwrap();
    let none = within(Duration::from_millis(400), next.receive()).await;
    assert!(none.is_none(), "{none:?}");
    // Its time passes.
    sqlx::query("UPDATE campanile_offer SET held_until = 1")
        .execute(&db)
        .await
        .unwrap();
    let again = within(SOON, next.receive()).await.unwrap().unwrap();
    assert_eq!(
        (again[0].body.as_str(), again[0].redelivered),
        ("one", true)
    );
    next.ack(&[again[0].token]).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM campanile_offer")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// However much is offered, others are told at most once in [`HINT_PERIOD`]; and a hint is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_are_few_and_are_heard() {
    let Some(server) = tokio::task::block_in_place(|| xtask::or_skip(Postgres::shared())) else {
        return;
    };
    let url = server.create_database("hints").unwrap();
    let broker = broker_at(&url).await;
    let pool = PgPool::connect(&url).await.unwrap();
    let mut ear = PgListener::connect_with(&pool).await.unwrap();
    ear.listen("campanile_offer").await.unwrap();
    let clock = SystemClock::new();
    let began = clock.monotonic();
    for n in 0..300 {
        let queue = format!("q{}", n % 3);
        broker.publish(&[message(&queue, "x")]).await.unwrap();
    }
    broker.publish(&[message("last", "x")]).await.unwrap();
    let (mut hints, mut told) = (0, BTreeSet::new());
    while !told.contains("campanile.last") {
        let heard = within(SOON, ear.recv()).await.unwrap().unwrap();
        told.extend(heard.payload().lines().map(str::to_owned));
        hints += 1;
    }
    let took = clock.monotonic().since(began);
    let most = took.as_millis() / HINT_PERIOD.as_millis() + 2;
    assert!(hints <= most, "{hints} hints in {took:?}");
    assert_eq!(told.len(), 4, "{told:?}");
}

/// Twelve processes take what one offers: all of it, each once, while it is offered.
async fn many_processes_share(url: &str) {
    const PROCESSES: usize = 12;
    const MESSAGES: usize = 1_200;
    let publisher = broker_at(url).await;
    let mut workers = tokio::task::JoinSet::new();
    let taken = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..PROCESSES {
        let (broker, taken) = (broker_at(url).await, Arc::clone(&taken));
        workers.spawn(async move {
            let mut consumer = broker.consume("campanile.q", 5).await.unwrap();
            loop {
                let got = consumer.receive().await.unwrap();
                let tokens: Vec<u64> = got.iter().map(|d| d.token).collect();
                consumer.ack(&tokens).await.unwrap();
                taken
                    .lock()
                    .unwrap()
                    .extend(got.into_iter().map(|d| d.body));
            }
        });
    }
    let all: Vec<Message> = (0..MESSAGES)
        .map(|n| message("q", &n.to_string()))
        .collect();
    for some in all.chunks(50) {
        publisher.publish(some).await.unwrap();
    }
    let done = within(SOON, async {
        while taken.lock().unwrap().len() < MESSAGES {
            pause(Duration::from_millis(5)).await;
        }
    });
    let came = done.await.is_some();
    workers.abort_all();
    let taken = taken.lock().unwrap().clone();
    assert!(came, "{} came", taken.len());
    let distinct: BTreeSet<&String> = taken.iter().collect();
    assert_eq!((taken.len(), distinct.len()), (MESSAGES, MESSAGES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_share_on_sqlite() {
    let folder = TempDir::new("offers").unwrap();
    many_processes_share(&sqlite_url(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_share_on_postgres() {
    let Some(server) = tokio::task::block_in_place(|| xtask::or_skip(Postgres::shared())) else {
        return;
    };
    many_processes_share(&server.create_database("share").unwrap()).await;
}
