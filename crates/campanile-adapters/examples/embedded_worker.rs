//! A program that embeds Campanile: its own Rust handler, typed, run by a worker inside the program. Here everything is
//! one process on a SQLite file; a cluster changes the three constructors marked below and nothing else.
//!
//! `cargo run -p campanile-adapters --example embedded_worker` sends five greetings and ends.

use std::sync::Arc;

use campanile::actor::Actor;
use campanile::control::{self, Apply, Control};
use campanile::engine::{Handlers, Node, Parts, Settings};
use campanile::memory::broker::MemoryBroker;
use campanile::port::handler::{Context, Failure, Handler};
use campanile::system::{Random, SystemClock};
use campanile::task::TaskSpec;
use campanile_adapters::sql;
use serde::Deserialize;
use tokio::sync::mpsc;

/// What the payload of `greet` is read into. A payload that doesn't fit fails the run at once, with the reason.
#[derive(Deserialize)]
struct Greeting {
    name: String,
}

struct Greet {
    sent: mpsc::Sender<String>,
}

impl Handler for Greet {
    const NAME: &'static str = "greet";
    type Args = Greeting;

    async fn run(&self, context: Context, args: Greeting) -> Result<(), Failure> {
        context.log.push("greeting\n");
        let text = format!(
            "hello {}, for {} (key {})",
            args.name, context.due_at, context.key
        );
        self.sent
            .send(text)
            .await
            .map_err(|_| Failure::fatal("nobody reads greetings any more".to_owned()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("campanile-example-{}.db", std::process::id()));
    let (sent, mut greetings) = mpsc::channel(16);

    let store = sql::open(
        &format!("sqlite:{}", file.display()),
        sql::Options::default(),
    )
    .await?; // postgres://…
    let lock = Arc::new(store.lock("example")); // redis::connect("redis+sentinel://…")
    let broker = Arc::new(MemoryBroker::new()); // stomp::connect("stomp://…")

    let clock = Arc::new(SystemClock::new());
    let random = Arc::new(Random::from_system());
    let parts = Parts {
        store: store.clone(),
        lock: lock.clone(),
        broker,
        clock: clock.clone(),
        random: random.clone(),
        handlers: Handlers::new().native(Greet { sent }),
    };
    let node = Node::start(parts, Settings::default()).await?;

    let waker = node.waker();
    let control = Control::new(control::Parts {
        store,
        lock,
        clock,
        time: node.time(),
        mint: node.mint(),
        meters: node.meters(),
        pool: node.pool(),
        random,
        on_work: Arc::new(move || waker.notify_one()),
    })
    .by(Actor::new("the example", "this process"));
    let task: TaskSpec = serde_json::from_value(serde_json::json!({
        "name": "greeting", "schedule": "every 1s", "handler": {"native": "greet"}, "payload": {"name": "world"},
    }))?;
    control.apply(&vec![task].into(), &Apply::default()).await?;

    for _ in 0..5 {
        let Some(text) = greetings.recv().await else {
            break;
        };
        say(&text);
    }
    node.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn say(text: &str) {
    println!("{text}");
}
