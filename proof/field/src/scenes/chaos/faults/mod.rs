//! The actors of a campaign, one file for each kind of victim. Each breaks its victim, proves that it broke, mends it,
//! and waits a while; at the end each leaves its victim whole.

pub mod broker;
pub mod forger;
pub mod lock;
pub mod nodes;
pub mod people;
pub mod pg_sessions;
pub mod store;
