//! One suite per port: a function for each behaviour, and a macro that makes a test of each. Every adapter passes the
//! whole suite, the memory adapters first.

pub mod lock;

pub use crate::conformance_lock as lock;
pub mod broker;

pub use crate::__conformance_broker as broker;
