//! The library's tests over its memory adapters: the production engine, with real adapters that live in memory.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error is to fail right there"
)]

mod control;
mod control_aside;
mod control_bounds;
mod control_owners;
mod control_rests;
mod control_shared;
mod control_silence;
mod control_why;
mod doubt;
mod engine;
mod forecast;
mod groups;
mod guides;
mod hostile;
mod limits;
mod lost;
mod rests;
mod rights;
mod routing;
mod support;
mod world;
