//! Whether the node can do its part: `/readyz` asks store and lock, and tells what the leader last learned from the
//! broker. Answers are kept for a moment, because anybody may ask.

use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::sql::Space;
use campanile_ask::Held;
use campanile_core::engine::{Node, Status};
use campanile_core::id::Holder;
use campanile_core::port::clock::Clock;
use campanile_core::port::lock::Lock;
use campanile_core::port::store::Store;
use campanile_core::system;
use campanile_core::system::SystemClock;
use campanile_core::time::Monotonic;
use serde::Serialize;
use tokio::sync::{Mutex, watch};

use crate::config::Settings;
use campanile_core::causes;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(1);
/// How long store and lock may take.
const LIMIT: Duration = Duration::from_secs(3);

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the node can do its part.
    pub ready: bool,
    /// `ok`, or what is wrong.
    pub store: String,
    /// `ok`, or what is wrong. A node that is no scheduler is ready without it.
    pub lock: String,
    /// `ok`, or what is wrong, as the leader knows it; `unknown` on other nodes.
    pub broker: String,
    /// The term that this node leads.
    pub leading: Option<i64>,
    /// While the cluster is held: by whom, why, and until when. The node is ready all the same.
    pub hold: Option<String>,
}

/// Asks.
pub struct Health {
    store: Arc<dyn Store>,
    lock: Arc<dyn Lock>,
    scheduler: bool,
    status: watch::Receiver<Status>,
    space: Option<Arc<Space>>,
    clock: SystemClock,
    last: Mutex<Option<(Monotonic, Report)>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}

impl Health {
    /// Of a node.
    #[must_use]
    pub fn new(
        node: &Node,
        settings: &Settings,
        store: Arc<dyn Store>,
        lock: Arc<dyn Lock>,
        space: Option<Arc<Space>>,
    ) -> Self {
        Self {
            space,
            store,
            lock,
            scheduler: settings.node.roles.scheduler,
            status: node.status(),
            clock: SystemClock::new(),
            last: Mutex::new(None),
        }
    }

    /// How things are, or were a moment ago. Requests that come together share one question.
    pub async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && self.clock.monotonic().since(*at) < KEPT
        {
            return report.clone();
        }
        let report = self.ask().await;
        *last = Some((self.clock.monotonic(), report.clone()));
        report
    }

    /// Whether the store's disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.space.as_ref().is_some_and(|space| space.is_full())
    }

    async fn ask(&self) -> Report {
        let (row, lock) = tokio::join!(system::within(LIMIT, self.store.leader()), async {
            // A holder that nobody is: the answer is no, and an answer is all that is asked for.
            let nobody = Holder::from_spelling("readyz".to_owned());
            said(system::within(LIMIT, self.lock.renew(&nobody, LIMIT)).await)
        });
        let row_seen = row.as_ref().and_then(|row| row.as_ref().ok());
        let hold = row_seen.and_then(|row| row.hold.clone());
        let store = said(row);
        let store = if store == "ok" && self.is_full() {
            "its disk is full: writes are refused; free some room, or give it more".to_owned()
        } else {
            store
        };
        let status = self.status.borrow().clone();
        let broker = match (status.leading, status.broker_ok) {
            (None, _) => "unknown",
            (Some(_), true) => "ok",
            (Some(_), false) => "the leader's last messages were not confirmed",
        };
        let ready = store == "ok"
            && (lock == "ok" || !self.scheduler)
            && (status.broker_ok || status.leading.is_none());
        Report {
            ready,
            store,
            lock,
            broker: broker.to_owned(),
            leading: status.leading,
            hold: hold.map(|hold| Held::from(hold).told()),
        }
    }
}

fn said<T, E: std::error::Error>(answer: Option<Result<T, E>>) -> String {
    match answer {
        Some(Ok(_)) => "ok".to_owned(),
        Some(Err(error)) => {
            tracing::warn!(error = %causes(&error), "a readiness check failed");
            format!("failed to {error}")
        }
        None => format!("no answer within {} s", LIMIT.as_secs()),
    }
}
