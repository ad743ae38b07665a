//! From URLs to adapters: the one place that knows which scheme is which adapter. Opens what can be opened at once (the
//! store), and prepares what connects by itself and again and again (lock and broker). An adapter that is not compiled in
//! is refused with the feature that it needs.

pub mod schemes;

use std::sync::Arc;

use campanile_core::memory::broker::MemoryBroker;
use campanile_core::port::broker::Broker;
use campanile_core::port::lock::Lock;
use campanile_core::port::store::Store;
use campanile_core::system::SystemClock;
use campanile_login::store::LoginStore;

use crate::offers::OfferBroker;
use crate::service_url::ServiceUrl;
use crate::{amqp, redis, sql, stomp};

/// Which adapters, and for whom.
#[derive(Debug, Clone)]
pub struct Urls {
    /// `sqlite:FILE`, `postgres://…`.
    pub store: ServiceUrl,
    /// `store:`, `redis://…` and its kin.
    pub lock: ServiceUrl,
    /// `memory:`, `store:`, `stomp://…`, `amqp://…`.
    pub broker: ServiceUrl,
    /// The cluster's name: those that share a Redis are told apart by it.
    pub cluster: String,
    /// The node's name; the store shows it in its list of sessions.
    pub node: String,
}

/// The adapters of one node.
#[derive(Clone)]
pub struct Ports {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Users and sessions, where people can be let in.
    pub logins: Option<Arc<dyn LoginStore>>,
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

/// Why there are no adapters. Each says what is wrong and the remedy.
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

/// Opens the adapters that the URLs name.
///
/// # Errors
/// The first that can't be.
pub async fn ports(urls: &Urls, migrate: sql::Migrate) -> Result<Ports, Error> {
    // Lock and broker only read their URLs here: what is wrong with them is said before the store is touched.
    let elsewhere = broker(&urls.broker)?;
    let remote = remote_lock(urls)?;
    let store = store(urls, migrate).await?;
    let broker = elsewhere.unwrap_or_else(|| {
        Arc::new(OfferBroker::new(
            store.offers(),
            Arc::new(SystemClock::new()),
        ))
    });
    let lock = remote.unwrap_or_else(|| Arc::new(store.lock(&urls.cluster)));
    Ok(Ports {
        space: Some(store.space()),
        logins: Some(Arc::clone(&store) as Arc<dyn LoginStore>),
        store,
        lock,
        broker,
    })
}

/// What is wrong with the URLs of store, lock and broker, each under its name: what [`ports`] would say, without touching any
/// of them.
#[must_use]
pub fn wrongs(urls: &Urls) -> Vec<(&'static str, String)> {
    let all = [
        (
            "store",
            sql::check_url(urls.store.reveal()).map_err(|e| e.to_string()),
        ),
        (
            "lock",
            remote_lock(urls).map(drop).map_err(|e| e.to_string()),
        ),
        (
            "broker",
            broker(&urls.broker).map(drop).map_err(|e| e.to_string()),
        ),
    ];
    let wrong = |(key, checked): (&'static str, Result<(), String>)| Some((key, checked.err()?));
    all.into_iter().filter_map(wrong).collect()
}

/// Opens the store.
///
/// # Errors
/// Why not, with the remedy.
pub async fn store(urls: &Urls, migrate: sql::Migrate) -> Result<Arc<sql::Store>, sql::OpenError> {
    let options = sql::Options {
        node_name: urls.node.clone(),
        migrate,
        ..sql::Options::default()
    };
    sql::open(urls.store.reveal(), options).await
}

/// Whether this is the lock, or the broker, that the store itself is.
#[must_use]
pub fn is_in_store(url: &ServiceUrl) -> bool {
    url.reveal().starts_with("store:")
}

/// Whether this is the broker in a process's own memory.
#[must_use]
pub fn is_in_memory(broker: &ServiceUrl) -> bool {
    broker.reveal().starts_with("memory:")
}

/// Whether this is a broker that speaks AMQP 0-9-1.
#[must_use]
pub fn is_amqp(broker: &ServiceUrl) -> bool {
    let scheme = broker.reveal().split_once(':').map(|(scheme, _)| scheme);
    matches!(scheme, Some("amqp" | "amqps"))
}

/// The lock, if it is not in the store.
fn remote_lock(urls: &Urls) -> Result<Option<Arc<dyn Lock>>, Error> {
    schemes::check(&urls.lock, schemes::LOCK).map_err(Error::Lock)?;
    if is_in_store(&urls.lock) {
        return Ok(None);
    }
    let lock = redis::at(&urls.lock, &urls.cluster).map_err(Error::Lock)?;
    Ok(Some(lock))
}

/// The broker, if it is not the store.
fn broker(url: &ServiceUrl) -> Result<Option<Arc<dyn Broker>>, Error> {
    schemes::check(url, schemes::BROKER).map_err(Error::Broker)?;
    if is_in_store(url) {
        return match url.reveal() {
            "store:" => Ok(None),
            _ => Err(Error::Broker(
                "write `store:` and nothing behind it: the broker is then the database that `store` names".to_owned(),
            )),
        };
    }
    if is_in_memory(url) {
        return Ok(Some(Arc::new(MemoryBroker::new())));
    }
    if is_amqp(url) {
        return Ok(Some(amqp::at(url).map_err(Error::Broker)?));
    }
    Ok(Some(stomp::at(url).map_err(Error::Broker)?))
}
