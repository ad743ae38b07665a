//! Campanile's adapters: what the ports of `campanile` look like on real databases, brokers, sockets and processes.
//! A feature gates a module here and nowhere else; what is not compiled in has a stand-in that says so. Nothing in these
//! modules decides what the system does.

#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(not(feature = "amqp"))]
#[path = "absent/amqp.rs"]
mod amqp;
#[cfg(any(feature = "stomp", feature = "amqp"))]
mod brokers;
pub mod capabilities;
#[cfg(feature = "handlers")]
pub mod handlers;
pub mod offers;
#[cfg(feature = "sql")]
pub mod open;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(not(feature = "redis"))]
#[path = "absent/redis.rs"]
mod redis;
#[cfg(feature = "secrets")]
pub mod secrets;
pub mod service_url;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(feature = "stomp")]
pub mod stomp;
#[cfg(not(feature = "stomp"))]
#[path = "absent/stomp.rs"]
mod stomp;

/// What is said of a URL whose adapter is not compiled in.
#[cfg(not(all(feature = "redis", feature = "stomp", feature = "amqp")))]
fn lacking(url: &service_url::ServiceUrl, feature: &str) -> String {
    format!(
        "`{url}` needs what this program was built without: build it with the feature `{feature}`"
    )
}
