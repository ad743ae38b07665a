//! Who writes many rows at once waits for the others who do; who writes few waits for nobody.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde_json::json;

use super::*;
use campanile_core::actor::Actor;
use campanile_core::memory::clock::ManualClock;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::task::HandlerSpec;

fn control() -> Editor {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_ms(1_000_000)));
    let random = Arc::new(Random::from_seed(7));
    Control::new(Parts {
        store: Arc::new(MemoryStore::new(Arc::clone(&clock))),
        lock: Arc::new(MemoryLock::new(Arc::clone(&clock))),
        time: DatabaseTime::new(Arc::clone(&clock)),
        clock,
        mint: Arc::new(Mint::new(Arc::clone(&random))),
        random,
        metrics: Arc::default(),
        pool: Pool::inline(),
        on_work: Arc::new(|| {}),
    })
    .by(Actor::new("somebody", "a test"))
}

fn requests(count: usize) -> Vec<NewRun> {
    let request = NewRun {
        handler: Some(HandlerSpec::Native("x".to_owned())),
        payload: Some(json!(1)),
        ..NewRun::default()
    };
    vec![request; count]
}

#[tokio::test]
async fn bulks_write_one_after_the_other_and_few_rows_pass_them() {
    let control = control();
    let seat = control.bulk_seat(limits::BULK_ROWS_MIN).await;
    assert!(seat.is_some());
    let (few, many) = (
        requests(limits::BULK_ROWS_MIN - 1),
        requests(limits::BULK_ROWS_MIN),
    );
    let mut context = Context::from_waker(Waker::noop());
    let mut bulk = pin!(control.submit(&many));
    assert!(bulk.as_mut().poll(&mut context).is_pending());
    let submitted = control.submit(&few).await.unwrap();
    assert_eq!(submitted.len(), few.len());
    assert!(bulk.as_mut().poll(&mut context).is_pending());
    drop(seat);
    let Poll::Ready(Ok(submitted)) = bulk.as_mut().poll(&mut context) else {
        panic!("the seat is free");
    };
    assert_eq!(submitted.len(), many.len());
}
