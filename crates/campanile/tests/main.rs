//! The facade as a program uses it: on a SQLite file, in memory, as a client. What the engine promises is tested where the
//! engine is; here is only what the facade adds.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by a panic what it did not find"
)]

mod clients;
mod handlers;
mod memory;
mod support;
mod transactions;
