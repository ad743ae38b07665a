//! One suite per port: a function for each behaviour, and a macro that makes a test of each. Every adapter passes the
//! whole suite, the memory adapters first.

use std::sync::LazyLock;

use crate::actor::Actor;

pub mod broker;
pub mod clock;
pub mod lock;
pub mod store;

pub use crate::__conformance_broker as broker;
pub use crate::__conformance_store as store;
pub use crate::conformance_clock as clock;
pub use crate::conformance_lock as lock;

/// Who asks in the suites.
#[must_use]
pub fn somebody() -> &'static Actor {
    static SOMEBODY: LazyLock<Actor> = LazyLock::new(|| Actor::new("somebody", "a suite"));
    &SOMEBODY
}
