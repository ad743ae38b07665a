//! What the developer verbs and the tests of every crate share: private servers, a proxy that breaks connections on
//! purpose, and the report of what could not run. It never holds product code, and no product code depends on it.

pub mod liar;
pub mod proxy;
pub mod servers;
pub mod skip;
pub mod tidy;

pub use skip::{or_skip, skip};
