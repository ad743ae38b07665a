//! The adapters against real servers, each private to its test or shared by the run: one binary, a module for each
//! adapter, because every binary links the world again.

mod abilities;
mod amqp;
mod broker;
mod handlers;
mod lock;
mod store;
