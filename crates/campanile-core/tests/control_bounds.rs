//! Control under what has no natural size: counts, pages, walks over what calendars exclude. And tasks that are over:
//! what is only kept is no mistake.

use std::time::Duration;

use campanile_ask::{Apply, Backfill, Error};
use campanile_conformance::somebody;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::edit::EditStore as _;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::fire::{DueKey, Owner};

use campanile_core::task::TaskSpec;
use campanile_schedule::OnExcluded;
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use super::control::{World, at, spec, world};

const HOUR: Duration = Duration::from_secs(3_600);

fn with(name: &str, schedule: &str, more: &serde_json::Value) -> TaskSpec {
    let mut json = serde_json::to_value(spec(name, schedule)).unwrap();
    let fields = more.as_object().unwrap().clone();
    json.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(json).unwrap()
}

fn field_of(error: Error) -> (String, String) {
    match error {
        Error::Invalid { field, message, .. } => (field, message),
        other => panic!("{other}"),
    }
}

/// Tasks of every kind that are over in an hour.
fn soon_over() -> Vec<TaskSpec> {
    vec![
        spec("at", "at 2026-11-22T12:30:00Z"),
        with(
            "ends",
            "* * * * *",
            &json!({"ends_at": "2026-11-22T12:10:00Z"}),
        ),
        with("count", "every 2s", &json!({"max_count": 3})),
        spec("until", "rrule FREQ=MINUTELY;UNTIL=20261122T121000Z"),
        spec("counted", "rrule FREQ=MINUTELY;COUNT=2"),
        with("both", "at 2026-11-22T12:30:00Z", &json!({"jitter": "5s"})),
    ]
}

#[tokio::test]
async fn a_task_that_is_over_stays_as_it_is() {
    let w = world();
    let tasks = soon_over();
    let apply = async || {
        w.control
            .apply(&tasks.clone().into(), &Apply::default())
            .await
    };
    assert_eq!(apply().await.unwrap().created.len(), tasks.len());
    w.clock.advance(2 * HOUR);
    let again = apply().await.unwrap();
    assert_eq!(
        (again.unchanged.len(), again.changed.len()),
        (tasks.len(), 0)
    );
    for task in &tasks {
        let before = w.control.task(&task.name).await.unwrap().task;
        let after = w.put(task).await;
        assert_eq!(after.version, before.version, "{}", task.name);
    }
}

#[tokio::test]
async fn what_is_not_the_schedule_of_a_task_that_is_over_may_change() {
    for mut task in soon_over() {
        let w = world();
        let name = task.name.clone();
        let kept = w.put(&task).await;
        w.clock.advance(2 * HOUR);
        task.description = Some("done".to_owned());
        assert_eq!(w.put(&task).await.version, kept.version + 1, "{name}");
        // It was overdue, nobody led: what waits there stays.
        assert!(w.due(&kept).await.is_some(), "{name}");
        w.control.pause(&name).await.unwrap();
        let resumed = w.control.resume(&name).await.unwrap();
        assert_eq!(resumed.next_due_at, None, "{name}");
        assert_eq!(w.due(&kept).await, None, "{name}");
        task.schedule = Some("at 2026-11-22T12:20:00Z".into());
        let (field, message) = field_of(w.control.put_task(&task).await.unwrap_err());
        assert!(
            field == "schedule" && message.contains("can never fire"),
            "{name}: {message}"
        );
    }
    let w = world();
    let new = spec("new", "at 2026-11-22T11:00:00Z");
    assert_eq!(
        field_of(w.control.put_task(&new).await.unwrap_err()).0,
        "schedule"
    );
}

#[tokio::test]
async fn a_count_is_of_runs_that_can_be() {
    let w = world();
    for (count, last) in [(3, "12:00:06"), (1, "12:00:02")] {
        let name = format!("t{count}");
        let task = w
            .put(&with(&name, "every 2s", &json!({"max_count": count})))
            .await;
        assert_eq!(w.due(&task).await, Some(at("12:00:02")));
        let schedule = task.spec.compile(task.created_at).unwrap();
        assert_eq!(schedule.previous(Timestamp::MAX), Some(at(last)));
    }
}

#[tokio::test]
async fn a_count_of_intervals_costs_nothing_whatever_it_is() {
    let w = world();
    let much = json!({"max_count": u32::MAX});
    for (name, schedule) in [
        ("one", json!("every 1s")),
        ("two", json!(["every 1s", "every 1500ms"])),
    ] {
        let mut task = with(name, "every 1s", &much);
        task.schedule = serde_json::from_value(schedule).unwrap();
        let before = w.control.pool().burnt();
        let kept = w.put(&task).await;
        assert!(w.due(&kept).await.is_some());
        let burnt = w.control.pool().burnt() - before;
        assert!(burnt < 1_000, "{name}: {burnt}");
    }
    for schedule in ["* * * * *", "rrule FREQ=MINUTELY"] {
        let before = w.control.pool().burnt();
        let task = with("t", schedule, &json!({"max_count": 10_001}));
        let (field, message) = field_of(w.control.put_task(&task).await.unwrap_err());
        assert!(
            field == "max_count" && message.contains("1 to 10000"),
            "{message}"
        );
        let burnt = w.control.pool().burnt() - before;
        assert!(burnt < 5_000, "refused before it was counted: {burnt}");
    }
}

#[tokio::test]
async fn a_page_is_one_look_at_each_due_row() {
    let w = world();
    let now = at("12:00:00");
    let crons: Vec<String> = (0..20).map(|m| format!("{m} * * * *")).collect();
    let upserts = (0..1_000).map(|n| {
        let mut task = with(
            &format!("t{n:04}"),
            "* * * * *",
            &json!({"max_count": 10_000}),
        );
        task.schedule = Some(crons.clone().into_iter().collect());
        if n == 7 {
            // Not even readable: nothing reads it.
            task.schedule = Some("a newer dialect".into());
        }
        let id = w.mint.task(now);
        let next = Some(DueKey {
            queue: task.queue.clone(),
            at: now.plus(HOUR * (n + 1)),
            owner: Owner::Task(id),
        });
        Upsert {
            id,
            expected: None,
            spec: task,
            paused_from: None,
            due: DueChange::Replace { seen: None, next },
        }
    });
    let edit = Edit {
        upserts: upserts.collect(),
        ..Edit::default()
    };
    assert!(
        w.store
            .edit(somebody(), &edit, now)
            .await
            .unwrap()
            .is_applied()
    );
    let page = w
        .control
        .tasks(&TaskFilter::default(), None, 1_000)
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1_000);
    for (n, row) in (0..).zip(&page.items) {
        assert_eq!(row.next_due_at, Some(now.plus(HOUR * (n + 1))));
    }
    assert_eq!(w.control.pool().burnt(), 0);
    let shown = w.control.task("t0007").await.unwrap();
    assert_eq!(
        (shown.next_due_at, w.control.pool().burnt()),
        (Some(now.plus(HOUR * 8)), 0)
    );
}

#[tokio::test]
async fn what_is_shown_as_next_runs() {
    let w = world();
    // 22 November 2026 is a Sunday.
    let weekends: CalendarSpec =
        serde_json::from_value(json!({"name": "weekends", "weekdays": ["SAT", "SUN"]})).unwrap();
    w.control.put_calendar(&weekends).await.unwrap();
    let mut task = with("t", "0 9 * * *", &json!({"calendars": "weekends"}));
    w.put(&task).await;
    let monday = Timestamp::parse("2026-11-23T09:00:00Z").unwrap();
    let shown = async |w: &World| {
        let one = w.control.task("t").await.unwrap().next_due_at;
        let page = w
            .control
            .tasks(&TaskFilter::default(), None, 10)
            .await
            .unwrap();
        assert_eq!(page.items[0].next_due_at, one);
        one
    };
    assert_eq!(shown(&w).await, Some(monday));
    task.schedule = Some("0 15 * * *".into());
    let kept = w.put(&task).await;
    assert_eq!(
        w.due(&kept).await,
        Some(at("15:00:00")),
        "it waits to be recorded as skipped"
    );
    assert_eq!(shown(&w).await, Some(monday.plus(6 * HOUR)));
    w.clock.advance(5 * HOUR);
    assert_eq!(
        shown(&w).await,
        Some(monday.plus(6 * HOUR)),
        "overdue, and never runs"
    );
    task.calendars = Default::default();
    w.put(&task).await;
    let tomorrow = monday.plus(6 * HOUR);
    assert_eq!(shown(&w).await, Some(tomorrow));
    w.clock.advance(24 * HOUR);
    assert_eq!(shown(&w).await, Some(tomorrow), "overdue, and will run");
    w.control.pause("t").await.unwrap();
    assert_eq!(shown(&w).await, None);
    // All is excluded, for ever: none, and no long search for it.
    let never: CalendarSpec = serde_json::from_value(
        json!({"name": "never", "weekdays": ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]}),
    )
    .unwrap();
    w.control.put_calendar(&never).await.unwrap();
    w.put(&with("u", "* * * * *", &json!({"calendars": "never"})))
        .await;
    assert_eq!(w.control.task("u").await.unwrap().next_due_at, None);
}

#[tokio::test]
async fn a_walk_over_what_is_excluded_ends_and_says_so() {
    let w = world();
    let never: CalendarSpec = serde_json::from_value(
        json!({"name": "never", "weekdays": ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]}),
    )
    .unwrap();
    w.control.put_calendar(&never).await.unwrap();
    let mut task = with("t", "*/15 * * * *", &json!({"calendars": "never"}));
    task.on_excluded = OnExcluded::Next;
    w.put(&task).await;
    let what = Backfill {
        from: Timestamp::parse("1970-01-01T00:00:00Z").unwrap(),
        until: at("12:00:00"),
        all: false,
        dry_run: true,
        per_second: 10,
    };
    let before = w.control.pool().burnt();
    let (field, message) = field_of(w.control.backfill("t", &what).await.unwrap_err());
    assert_eq!(field, "until");
    assert!(
        message.contains("steps") && message.contains("shorter range"),
        "{message}"
    );
    let burnt = w.control.pool().burnt() - before;
    assert!(burnt <= campanile_core::limits::REQUEST_FUEL, "{burnt}");
}

#[tokio::test]
async fn another_name_of_the_zone_moves_nothing() {
    let w = world();
    let mut task = with("t", "0 9 * * *", &json!({"timezone": "Europe/Kiev"}));
    let kept = w.put(&task).await;
    w.clock.advance(48 * HOUR);
    let due = w.due(&kept).await;
    assert!(
        due.is_some_and(|due| due < at("12:00:00").plus(48 * HOUR)),
        "overdue"
    );
    task.timezone = "Europe/Kyiv".to_owned();
    let diff = w
        .control
        .apply(&vec![task.clone()].into(), &Apply::default())
        .await
        .unwrap();
    assert_eq!(diff.changed[0].fields[0].field, "timezone");
    assert_eq!(w.due(&kept).await, due, "what was overdue runs");
    task.timezone = "Europe/Berlin".to_owned();
    w.put(&task).await;
    assert_ne!(w.due(&kept).await, due);
}

#[tokio::test]
async fn a_node_that_stops_computes_nothing_more_and_says_so() {
    let w = world();
    w.control.pool().close();
    let refused = w.control.put_task(&spec("t", "* * * * *")).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
}
