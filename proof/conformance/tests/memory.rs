//! The adapters in memory: a store, a lock, a broker, and a clock that somebody moves.

use std::sync::Arc;

use campanile_core::system::SystemClock;

mod clock {
    use campanile_conformance::clock::Pass;
    use campanile_core::memory::clock::ManualClock;
    use campanile_core::port::clock::Clock;
    use campanile_schedule::time::Timestamp;

    use super::Arc;

    fn manual() -> (Arc<dyn Clock>, Pass) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_800_000_000_000)));
        let moved = Arc::clone(&clock);
        (clock, Arc::new(move |by| moved.advance(by)))
    }

    campanile_conformance::clock!(manual);
}

mod lock {
    use campanile_conformance::lock::Handles;
    use campanile_core::memory::lock::MemoryLock;

    use super::{Arc, SystemClock};

    async fn two_handles() -> Option<Handles> {
        let first = MemoryLock::new(Arc::new(SystemClock::new()));
        let second = first.handle();
        Some(Handles::new(Arc::new(first), Arc::new(second)))
    }

    campanile_conformance::lock!(two_handles);
}

mod broker {
    use campanile_conformance::broker::Fixture;
    use campanile_core::memory::broker::MemoryBroker;

    use super::Arc;

    async fn memory() -> Option<Fixture> {
        Some(Fixture {
            broker: Arc::new(MemoryBroker::new()),
            prefix: "test".to_owned(),
            by_priority: true,
            keep: Box::new(()),
        })
    }

    campanile_conformance::broker!(memory);
}

mod store {
    use campanile_core::memory::store::MemoryStore;
    use campanile_core::port::store::Store;

    use super::{Arc, SystemClock};

    async fn memory() -> Option<(Arc<dyn Store>, ())> {
        Some((Arc::new(MemoryStore::new(Arc::new(SystemClock::new()))), ()))
    }

    campanile_conformance::store!(memory);
}

mod logins {
    use campanile_login::memory::MemoryLogins;
    use campanile_login::store::LoginStore;

    use super::Arc;

    async fn logins() -> Option<(Arc<dyn LoginStore>, ())> {
        Some((Arc::new(MemoryLogins::default()), ()))
    }

    campanile_conformance::logins!(logins);
}
