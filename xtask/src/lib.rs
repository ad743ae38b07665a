//! What the developer verbs and the tests of every crate share: private servers, a proxy that breaks connections on
//! purpose, certificates, the pages that people follow, and the report of what could not run. It never holds product code, and no product code depends on it.

pub mod alone;
pub mod cargo;
pub mod certificates;
pub mod liar;
pub mod pages;
pub mod proxy;
pub mod servers;
pub mod skip;
pub mod tidy;

pub use alone::is_alone;
pub use skip::{or_skip, skip};
