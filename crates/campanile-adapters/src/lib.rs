//! Campanile's adapters: what the ports of `campanile` look like on real databases, brokers, sockets and processes.
//! A feature gates a module here and nowhere else; nothing in these modules decides what the system does.

#[cfg(feature = "handlers")]
pub mod handlers;
#[cfg(feature = "redis")]
pub mod redis;
pub mod service_url;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(feature = "stomp")]
pub mod stomp;
