//! Campanile, the library: what the system is. Tasks, schedules, runs, the protocol that keeps them single, the ports
//! to the world and the engine that moves everything. It names no driver and no HTTP; adapters are plugged in from
//! outside, as `Arc<dyn …>`. All that is about when (instants, schedules, calendars) is [`campanile_schedule`]'s, and who
//! embeds this library imports it from there.

/// Whether this build has failpoints: off in everything but the tests of the program.
const FAILPOINTS: bool = cfg!(feature = "failpoints");

pub mod actor;
pub mod conformance;
pub mod control;
pub mod engine;
pub mod failpoint;
pub mod forecast;
pub mod id;
pub mod memory;
pub mod misread;
pub mod port;
pub mod protocol;
pub mod run;
pub mod system;
pub mod task;
pub mod time;
