//! Behaviours of what an edit does beside its tasks: calendars, settings, moved due rows, rests.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, at, spec};
use crate::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::port::Written;
use campanile_core::port::edit::Edit;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, State};

/// Calendars, settings, moved due rows and skips of an edit are there with it, or not at all.
pub async fn an_edit_writes_what_tasks_share(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let task = f.task("t", at(10)).await;
    let calendar: campanile_schedule::calendar::CalendarSpec =
        serde_json::from_value(serde_json::json!({"name": "rest"})).unwrap();
    let mut edit = Edit {
        edits: Some(f.edits().await + 1),
        calendars: vec![("rest".to_owned(), Some(calendar.clone()))],
        moves: vec![campanile_core::port::edit::Move {
            task: task.id,
            seen: Some(at(10)),
            next: Some(Fixture::task_key(&task, at(17))),
        }],
        settings: vec![("tzdb", "2026a".to_owned())],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &edit, at(1)).await.unwrap(),
        Written::Stale
    );
    assert_eq!(f.store.setting("tzdb").await.unwrap(), None);
    edit.edits = Some(f.edits().await);
    assert_eq!(
        f.store.edit(somebody(), &edit, at(1)).await.unwrap(),
        Written::Applied
    );
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(17)));
    assert_eq!(
        f.store.setting("tzdb").await.unwrap().as_deref(),
        Some("2026a")
    );
    let kept = f.store.rules().await.unwrap().calendar("rest").unwrap();
    assert_eq!((&kept.spec, kept.version), (&calendar, 1));
    // The row has moved since: stale.
    edit.edits = None;
    assert_eq!(
        f.store.edit(somebody(), &edit, at(1)).await.unwrap(),
        Written::Stale
    );
    edit.moves.clear();
    assert!(
        f.store
            .edit(somebody(), &edit, at(2))
            .await
            .unwrap()
            .is_applied()
    );
    assert_eq!(
        f.store
            .rules()
            .await
            .unwrap()
            .calendar("rest")
            .unwrap()
            .version,
        2
    );
    edit.calendars = vec![("rest".to_owned(), None)];
    assert!(
        f.store
            .edit(somebody(), &edit, at(2))
            .await
            .unwrap()
            .is_applied()
    );
    assert!(f.store.rules().await.unwrap().calendars.is_empty());
}

/// A task that is paused keeps from where it does, and the instants that it missed are recorded with an edit.
pub async fn a_rest_is_kept_and_recorded(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let mut creation = f.creation(spec("t"), None);
    creation.paused_from = Some(at(5));
    assert_eq!(f.edit(vec![creation]).await, Written::Applied);
    let task = f.named("t").await.unwrap();
    assert_eq!(task.paused_from, Some(at(5)));
    let mut range = super::fixture::range(10, 30, 3);
    range.reason = Reason::Paused;
    let id = f.mint.runs(at(0), 1)[0];
    let edit = Edit {
        skipped: vec![transitions::skip(id, &task, &range, 0, at(35))],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &edit, at(35)).await.unwrap(),
        Written::Applied
    );
    let found = f.store.occurrence(task.id, at(20)).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.reason),
        (State::Skipped, Reason::Paused)
    );
    assert_eq!(found.skipped, Some((at(30), 3)));
    let later = at(30).plus(Duration::from_secs(1));
    assert_eq!(f.store.occurrence(task.id, later).await.unwrap(), None);
}
