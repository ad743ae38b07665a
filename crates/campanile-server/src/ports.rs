//! From URLs to adapters: the one place that knows which scheme is which crate. Opens what can be opened at once (the
//! store), and prepares what connects by itself and again and again (lock and broker).

use std::sync::Arc;

use campanile::memory::broker::MemoryBroker;
use campanile::port::broker::Broker;
use campanile::port::lock::Lock;
use campanile::port::store::Store;
use campanile_adapters::{redis, sql, stomp};

use crate::config::{self, ServiceUrl, Settings};

/// The adapters of one node.
#[derive(Clone)]
pub struct Ports {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Who may try to lead.
    pub lock: Arc<dyn Lock>,
    /// The conveyor.
    pub broker: Arc<dyn Broker>,
    /// The room on the store's disk, where the store has one.
    pub space: Option<Arc<sql::Space>>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

/// Why there are no adapters. Each names its setting and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] sql::OpenError),
    /// The lock.
    #[error("{0}")]
    Lock(String),
    /// The broker.
    #[error("{0}")]
    Broker(String),
}

/// Opens the adapters that the settings name.
///
/// # Errors
/// The first that can't be.
pub async fn open(settings: &Settings) -> Result<Ports, Error> {
    let (cluster, node) = (&settings.cluster, &settings.node);
    // Lock and broker only read their URLs here: what is wrong with them is said before the store is touched.
    let broker = broker(&cluster.broker)?;
    let redis = redis_lock(cluster)?;
    let store = open_store(cluster.store.reveal(), &node.name).await?;
    let lock: Arc<dyn Lock> = match redis {
        Some(lock) => lock,
        None => Arc::new(store.lock(&cluster.name)),
    };
    Ok(Ports {
        space: Some(store.space()),
        store,
        lock,
        broker,
    })
}

/// What is wrong with the URLs of store, lock and broker, each with its setting: what [`open`] would say, without touching any
/// of them.
#[must_use]
pub fn wrongs(cluster: &config::Cluster) -> Vec<(&'static str, String)> {
    let store = sql::check_url(cluster.store.reveal()).map_err(|e| e.to_string());
    let lock = redis_lock(cluster).map(drop).map_err(|e| e.to_string());
    let broker = stomp_broker(&cluster.broker).map(drop);
    let all = [
        ("store", store),
        ("lock", lock),
        ("broker", broker.map_err(|e| e.to_string())),
    ];
    let wrong = |(key, checked): (&'static str, Result<(), String>)| Some((key, checked.err()?));
    all.into_iter().filter_map(wrong).collect()
}

/// Opens the store, and makes or upgrades its tables.
///
/// # Errors
/// Why not, with the remedy.
pub async fn open_store(url: &str, node_name: &str) -> Result<Arc<sql::Store>, sql::OpenError> {
    let options = sql::Options {
        node_name: node_name.to_owned(),
        ..sql::Options::default()
    };
    sql::open(url, options).await
}

/// The lock, if it is in Redis.
///
/// # Errors
/// What is wrong with the URL.
pub fn redis_lock(cluster: &config::Cluster) -> Result<Option<Arc<redis::RedisLock>>, Error> {
    if cluster.lock.reveal().starts_with("store:") {
        return Ok(None);
    }
    let options = redis::Options {
        cluster: cluster.name.clone(),
    };
    redis::connect(cluster.lock.reveal(), options)
        .map(Some)
        .map_err(|e| Error::Lock(cluster.lock.scrub(&e.to_string())))
}

/// The broker, if it speaks STOMP.
///
/// # Errors
/// What is wrong with the URL.
pub fn stomp_broker(url: &ServiceUrl) -> Result<Option<Arc<stomp::StompBroker>>, Error> {
    if url.reveal().starts_with("memory:") {
        return Ok(None);
    }
    stomp::connect(url.reveal(), stomp::Options::default())
        .map(Some)
        .map_err(|e| Error::Broker(url.scrub(&e.to_string())))
}

fn broker(url: &ServiceUrl) -> Result<Arc<dyn Broker>, Error> {
    Ok(match stomp_broker(url)? {
        Some(broker) => broker,
        None => Arc::new(MemoryBroker::new()),
    })
}
