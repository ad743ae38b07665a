//! The program from outside: the API through the real composition, the CLI as a process, and the documents that are made
//! from both. One binary, because each more links the world again.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error is to fail right there"
)]

mod api;
mod bodies;
mod cli;
mod credentials;
mod cron;
mod disk;
mod documents;
mod doors;
mod failpoints;
mod imports;
mod injection;
mod keys;
mod lanes;
mod mistyped;
mod owners;
mod plan;
mod process;
mod quarantine;
mod reach;
mod reference;
mod refusals;
mod reload;
mod rules;
mod same;
mod samples;
mod security;
mod sight;
mod spoiled;
mod support;
mod typed;
