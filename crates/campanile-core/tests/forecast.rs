//! Looking ahead over stored tasks: that all pages are read, and that durations are taken from the runs that were.

use std::sync::Arc;
use std::time::Duration;

use campanile_ask::{Apply, Control, Editor, ForecastQuery, Parts};
use campanile_conformance::somebody;
use campanile_core::id::Mint;
use campanile_core::memory::clock::ManualClock;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::clock::Clock;
use campanile_core::system::{Pool, Random};
use campanile_core::task::TaskSpec;
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::TimeZoneName;
use campanile_schedule::time::Timestamp;
use serde_json::json;

fn control() -> Editor {
    let now = Timestamp::parse("2026-11-26T12:00:30.001Z").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
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
    .by(somebody().clone())
}

fn asked() -> ForecastQuery {
    ForecastQuery {
        from: None,
        days: 1,
        outage: None,
        top: 3,
        zone: TimeZoneName::utc(),
    }
}

fn spec(n: usize, schedule: &str) -> TaskSpec {
    let task =
        json!({ "name": format!("t{n:05}"), "schedule": schedule, "handler": { "native": "x" } });
    serde_json::from_value(task).unwrap()
}

#[tokio::test]
async fn all_pages_are_read_from_the_store_and_time_begins_now() {
    let control = control();
    let specs: Vec<_> = (0..2_500).map(|n| spec(n, "0 0 * * *")).collect();
    let _ = control
        .apply(&specs.to_vec().into(), &Apply::default())
        .await
        .unwrap();
    let got = control.forecast(&asked()).await.unwrap();
    assert_eq!(got.from.to_string(), "2026-11-26T12:00:00.000Z");
    assert_eq!((got.tasks.total, got.starts), (2_500, 2_500));
    assert_eq!(got.worst[0].at.to_string(), "2026-11-27T00:00:00.000Z");
    assert_eq!(
        (got.worst[0].starts, got.worst[0].others.tasks),
        (2_500, 2_495)
    );
    let wrong = ForecastQuery {
        days: 400,
        ..asked()
    };
    let refused = control.forecast(&wrong).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "days: 400 is out of range: write 1 to 366"
    );
}

#[tokio::test]
async fn a_task_without_runs_has_no_duration() {
    let control = control();
    let specs = [spec(1, "* * * * *"), spec(2, "0 0 * * *")];
    let _ = control
        .apply(&specs.to_vec().into(), &Apply::default())
        .await
        .unwrap();
    let got = control.forecast(&asked()).await.unwrap();
    assert_eq!((got.overlaps.candidates, got.overlaps.measured), (1, 0));
    assert_eq!(got.until.since(got.from), Duration::from_secs(86_400));
}
