//! The lock in Redis: a single server, the master that sentinels name, or that of one slot of a cluster. It owns the key, the signal channel and the
//! connections; it takes no part in safety. Redis may lose or double the lock (fail-over is asynchronous, memory may be
//! evicted); then two nodes try to lead and the store's guard lets one.
//!
//! Read on in `lease.rs` (the commands), `keeper.rs` (the thread that owns the connections), `servers.rs` (the way to
//! the master, of a cluster's slot in `cluster.rs`), `link.rs` (what is tried again), `listen.rs` (hints and news of a new
//! master), `probe.rs` (what `doctor` asks).

mod cluster;
mod keeper;
mod lease;
mod link;
mod listen;
mod probe;
mod remedy;
mod servers;
mod slots;
mod trouble;
mod url;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::id::Holder;
use campanile_core::port::lock::{Acquired, Error, Lock, Signal};

pub use probe::{Around, ClusterView, Persistence, Probe, Reading, SentinelView, Verdict};
pub use url::UrlError;

use crate::service_url::ServiceUrl;
use keeper::Keeper;
use lease::Names;
use servers::Servers;

/// The longest that any call lasts.
const CALL_LIMIT_MAX: Duration = Duration::from_secs(1);
/// The least that a call is given, however short the lock's life: a connection must fit into it.
const CALL_LIMIT_MIN: Duration = Duration::from_millis(250);
/// The longest that a diagnosis may last; nobody's lease waits for it.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const CLUSTER_NAME_MAX: usize = 64;

/// Whose lock it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The cluster's name: part of every key, so that several clusters can share a Redis.
    pub cluster: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: "campanile".to_owned(),
        }
    }
}

/// The lock of one cluster in Redis. May be used from any runtime: its connections live on a thread of their own.
pub struct RedisLock {
    keeper: Keeper,
}

/// The lock of this cluster, by its URL.
///
/// # Errors
/// A sentence about the URL, without what it hides.
pub fn at(url: &ServiceUrl, cluster: &str) -> Result<Arc<RedisLock>, String> {
    let options = Options {
        cluster: cluster.to_owned(),
    };
    connect(url.reveal(), options).map_err(|e| url.scrub(&e.to_string()))
}

/// Reads the setting `lock`; the first call of the lock opens the first connection.
///
/// # Errors
/// What is wrong with the URL or the cluster's name, and what to write.
pub fn connect(url: &str, options: Options) -> Result<Arc<RedisLock>, UrlError> {
    let target = url::parse(url)?;
    let Options { cluster: name } = options;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > CLUSTER_NAME_MAX || !name.chars().all(fits) {
        return Err(UrlError::Cluster(name));
    }
    let names = Names::of(&name);
    let keeper = Keeper::new(Servers::new(target, &names.lock)?, names);
    Ok(Arc::new(RedisLock { keeper }))
}

impl RedisLock {
    /// What the server says about itself, for `doctor`.
    ///
    /// # Errors
    /// As every call of the lock: no answer, or an answer that refuses.
    pub async fn probe(&self) -> Result<Probe, Error> {
        self.keeper.probe(PROBE_LIMIT).await
    }
}

/// An answer that takes longer than a third of the lock's life is of little use: the next try is due.
fn call_limit(ttl: Duration) -> Duration {
    (ttl / 3).clamp(CALL_LIMIT_MIN, CALL_LIMIT_MAX)
}

#[async_trait]
impl Lock for RedisLock {
    async fn acquire(&self, holder: &Holder, ttl: Duration) -> Result<Acquired, Error> {
        self.keeper.acquire(holder, ttl, call_limit(ttl)).await
    }

    async fn renew(&self, holder: &Holder, ttl: Duration) -> Result<bool, Error> {
        self.keeper.renew(holder, ttl, call_limit(ttl)).await
    }

    async fn release(&self, holder: &Holder) -> Result<(), Error> {
        // Whether it was ours makes no difference to the caller: it isn't now.
        self.keeper
            .release(holder, CALL_LIMIT_MAX)
            .await
            .map(|_was_mine| ())
    }

    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.keeper.signal(signal, CALL_LIMIT_MAX).await
    }

    async fn next_signal(&self) -> Signal {
        self.keeper.next_signal().await
    }
}
