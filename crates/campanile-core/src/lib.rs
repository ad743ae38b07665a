//! Campanile, the library: what the system is. Tasks, schedules, runs, the protocol that keeps them single, the ports
//! to the world and the engine that moves everything. It names no driver and no HTTP; adapters are plugged in from
//! outside, as `Arc<dyn …>`. All that is about when (instants, schedules, calendars) is [`campanile_schedule`]'s, and who
//! embeds this library imports it from there.

/// Whether this build has failpoints: off in everything but the tests of the program.
const FAILPOINTS: bool = cfg!(feature = "failpoints");

pub mod actor;
mod causes;
pub mod decide;
pub mod engine;
pub mod failpoint;
pub mod id;
pub mod memory;
pub mod metrics;
pub mod port;
pub mod system;
pub mod time;

pub use campanile_task::{forecast, limits, misread, run, scrub, task};
pub use causes::causes;
