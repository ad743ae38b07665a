//! The system's clock passes the suite of clocks. It is real time: nothing here moves it.

use std::sync::Arc;

use campanile_conformance::clock::Pass;
use campanile_core::port::clock::Clock;
use campanile_core::system::SystemClock;

fn system() -> (Arc<dyn Clock>, Pass) {
    (Arc::new(SystemClock::new()), Arc::new(|_| {}))
}

campanile_conformance::clock!(system);
