//! Campanile's adapters: what the ports of `campanile` look like on real databases, brokers, sockets and processes.
//! A feature gates a module here and nowhere else; nothing in these modules decides what the system does.

#[cfg(feature = "handlers")]
pub mod handlers;
//! Campanile's adapters to the world, one module and one additive feature each. They own drivers and wire formats;
//! they decide nothing that the protocol decides.

#[cfg(feature = "redis")]
pub mod redis;
