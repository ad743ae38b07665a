//! The facade over the heart and its adapters: opens stores, locks and brokers by URL, and gives tasks, runs and results their
//! types. It decides nothing; what it asks goes the way that the API and the CLI go.

#![warn(missing_docs)]
#![doc = include_str!("../README.md")]

mod builder;
mod client;
#[cfg(feature = "command")]
mod command;
mod error;
#[cfg(feature = "http")]
mod http;
mod in_memory;
mod run;
mod submit;
mod task;

pub mod prelude;

pub use builder::{Builder, Memory, Url};
pub use client::{Campanile, Client};
pub use error::{Ended, Error};
pub use in_memory::InMemory;
pub use run::{Pending, Run};
pub use submit::Submit;
pub use task::Task;

#[cfg(feature = "http")]
pub use campanile_adapters::handlers::HttpOptions;
#[cfg(feature = "command")]
pub use campanile_adapters::handlers::{Allowed, AllowedEnv, Cells, CommandOptions, RunAs};
pub use campanile_adapters::secrets::{Options as SecretOptions, Rule as SecretRule};
/// The one statement by which a program in any language asks for a run inside its own transaction.
pub use campanile_adapters::sql::enqueue::LEAVE;
pub use campanile_ask::{Diff, Editor};
pub use campanile_core::id::RunId;
pub use campanile_core::port::handler::{Context, Failure, Handler};
pub use campanile_core::run::{Reason, State};
pub use campanile_core::task::{Backoff, Class, Misfire, Overlap, Retry, StartMode, TaskSpec};
pub use campanile_schedule::time::Timestamp;
