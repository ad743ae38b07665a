//! Real adapters that live in memory: used by tests, simulations and `dev`. They keep the ports' promises in full (the
//! conformance suites say so), except that nothing survives the process.

pub mod broker;
pub mod clock;
pub mod lock;
pub mod store;
