//! The library's tests over its memory adapters: the production engine, with real adapters that live in memory.

mod engine;
mod support;
