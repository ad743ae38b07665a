//! One suite per port: a function for each behaviour, and a macro that makes a test of each. Every adapter passes the
//! whole suite; those in memory do in `tests/`.

use std::sync::LazyLock;

use campanile_core::actor::Actor;

pub mod abilities;
pub mod broker;
pub mod clock;
pub mod lock;
pub mod logins;
pub mod store;

pub use crate::__conformance_broker as broker;
pub use crate::__conformance_logins as logins;
pub use crate::__conformance_store as store;
pub use crate::conformance_clock as clock;
pub use crate::conformance_lock as lock;

/// Who asks in the suites.
#[must_use]
pub fn somebody() -> &'static Actor {
    static SOMEBODY: LazyLock<Actor> = LazyLock::new(|| Actor::new("somebody", "a suite"));
    &SOMEBODY
}
