//! A task whose next occurrence is set aside, and is changed, paused or deleted then: each instant has its record.

use std::time::Duration;

use campanile_core::port::ask::AskCluster as _;
use campanile_core::port::attempt::AttemptStore as _;
use campanile_core::port::attempt::{Aside, Thing};

use campanile_core::run::Reason;
use campanile_core::task::Task;

use crate::control::{World, at, spec, world};
use crate::control_shared::occurrence;

const HOUR: Duration = Duration::from_secs(3_600);

/// An hourly task whose occurrence of 13:00 is set aside; it is 15:30.
async fn stuck() -> (World, Task) {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    let aside = Aside {
        thing: Thing::Due(World::key(&task, at("13:00:00"))),
        at: at("13:00:00"),
        error: "a constraint says no".to_owned(),
    };
    assert!(w.store.set_aside(&aside).await.unwrap().is_applied());
    w.clock.advance(HOUR * 7 / 2);
    assert_eq!(w.due(&task).await, None, "it stands still");
    (w, task)
}

async fn nothing_is_aside(w: &World) {
    assert!(w.store.quarantine(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_records_the_instants_that_were_set_aside() {
    let (w, task) = stuck().await;
    // What does not change it does not try what the store refused again.
    w.put(&spec("h", "0 * * * *")).await;
    assert_eq!(w.due(&task).await, None);
    w.put(&spec("h", "30 * * * *")).await;
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    let told = (skip.reason, skip.skipped);
    assert_eq!(told, (Reason::Changed, Some((at("15:00:00"), 3))));
    assert_eq!(w.due(&task).await, Some(at("16:30:00")));
    nothing_is_aside(&w).await;
}

#[tokio::test]
async fn a_pause_covers_the_instants_that_were_set_aside() {
    let (w, task) = stuck().await;
    w.control.pause("h").await.unwrap();
    nothing_is_aside(&w).await;
    w.clock.advance(HOUR);
    w.control.resume("h").await.unwrap();
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    let told = (skip.reason, skip.skipped);
    assert_eq!(told, (Reason::Paused, Some((at("16:00:00"), 4))));
    assert_eq!(w.due(&task).await, Some(at("17:00:00")));
}

#[tokio::test]
async fn a_deletion_records_the_instants_that_were_set_aside() {
    let (w, task) = stuck().await;
    w.control.delete_task("h", None).await.unwrap();
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    let told = (skip.reason, skip.skipped);
    assert_eq!(told, (Reason::TaskDeleted, Some((at("15:00:00"), 3))));
    nothing_is_aside(&w).await;
}
