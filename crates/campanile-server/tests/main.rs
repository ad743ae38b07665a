//! The program from outside: the API through the real composition, the CLI as a process, and the documents that are made
//! from both. One binary, because each more links the world again.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error is to fail right there"
)]

mod access;
mod api;
mod audit;
mod backup;
mod bodies;
mod browser;
mod cli;
mod credentials;
mod cron;
mod disk;
mod doctor_redis;
mod documents;
mod doors;
mod failpoints;
mod imports;
mod inbox;
mod injection;
mod keys;
mod labels;
mod lanes;
mod logins;
mod logs;
mod mistyped;
mod oidc;
mod owners;
mod plan;
mod process;
mod programs;
mod proxy_header;
mod quarantine;
mod rabbitmq;
mod reach;
mod reference;
mod refusals;
mod reload;
mod rules;
mod same;
mod samples;
mod secrets;
mod secrets_program;
mod security;
#[path = "../../campanile-login/tests/sham.rs"]
mod sham;
mod sight;
mod spoiled;
mod store_broker;
mod support;
mod typed;
mod upgrade;
mod users;
