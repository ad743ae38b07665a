//! Rests, backfills, limits and calendars, as people ask for them: what the ledger keeps of instants that do not run.

use std::time::Duration;

use campanile_ask::{Apply, Backfill, Definitions, Error, Limit, Verdict};
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::permits::LimitKey;
use campanile_core::port::ask::AskRuns as _;
use campanile_core::port::fire::Firing;

use campanile_core::run::{Origin, Reason, Run, State};
use campanile_core::task::Task;
use campanile_schedule::OnExcluded;
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use crate::control::{World, at, spec, world};

const HOUR: Duration = Duration::from_secs(3_600);

/// The row that stands for an instant.
pub async fn occurrence(w: &World, task: &Task, instant: Timestamp) -> Run {
    let row = w.store.occurrence(task.id, instant).await.unwrap();
    row.unwrap()
}

async fn reason_of(w: &World, name: &str, instant: Timestamp) -> (Verdict, Option<Reason>) {
    let why = w.control.why(name, &instant.to_string()).await.unwrap();
    (why.verdict, why.run.map(|row| row.run.reason))
}

#[tokio::test]
async fn a_pause_leaves_one_row_with_its_count() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(Duration::from_secs(30 * 60));
    w.control.pause("h").await.unwrap();
    let (verdict, _) = reason_of(&w, "h", at("14:00:00")).await;
    assert_eq!(verdict, Verdict::Paused);
    // An edit meanwhile takes nothing back.
    let mut edited = spec("h", "0 * * * *");
    edited.paused = true;
    edited.priority = 7;
    w.put(&edited).await;
    w.clock.advance(3 * HOUR);
    w.control.resume("h").await.unwrap();
    assert_eq!(w.due(&task).await, Some(at("16:00:00")));
    let skip = occurrence(&w, &task, at("14:00:00")).await;
    assert_eq!((skip.state, skip.reason), (State::Skipped, Reason::Paused));
    assert_eq!(
        (skip.due_at, skip.skipped),
        (at("13:00:00"), Some((at("15:00:00"), 3)))
    );
    let why = reason_of(&w, "h", at("15:00:00")).await;
    assert_eq!(why, (Verdict::Skipped, Some(Reason::Paused)));
}

/// Plans an instant ahead, as the leader does.
async fn plan(w: &World, task: &Task, instant: Timestamp, next: Timestamp) {
    w.fire(|term| Firing {
        consumed: vec![World::key(task, instant)],
        advanced: vec![World::key(task, next)],
        runs: vec![transitions::occurrence(
            w.mint.runs(instant, 1)[0],
            task,
            instant,
            term.epoch,
        )],
        ..Firing::default()
    })
    .await;
}

#[tokio::test]
async fn a_pause_takes_back_what_is_planned_and_counts_it_once() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(Duration::from_secs(3_599));
    plan(&w, &task, at("13:00:00"), at("14:00:00")).await;
    w.control.pause("h").await.unwrap();
    w.store.check().unwrap();
    assert!(w.store.snapshot().runs.is_empty());
    // It ends before the instant: the instant runs after all, once.
    w.control.resume("h").await.unwrap();
    assert_eq!(w.due(&task).await, Some(at("13:00:00")));
    let task = w.control.task("h").await.unwrap().task;
    plan(&w, &task, at("13:00:00"), at("14:00:00")).await;
    w.control.pause("h").await.unwrap();
    w.clock.advance(2 * HOUR);
    w.control.resume("h").await.unwrap();
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    assert_eq!(
        (skip.reason, skip.due_at, skip.skipped),
        (Reason::Paused, at("13:00:00"), Some((at("14:00:00"), 2)))
    );
    assert_eq!(w.store.snapshot().runs.len(), 1, "and nothing beside it");
}

#[tokio::test]
async fn a_calendar_takes_back_what_it_excludes_though_it_is_planned() {
    let w = world();
    w.control
        .put_calendar(&resting(&["2026-01-01"]))
        .await
        .unwrap();
    let mut hourly = spec("h", "0 * * * *");
    hourly.calendars = "rest".into();
    let task = w.put(&hourly).await;
    w.clock.advance(Duration::from_secs(3_599));
    plan(&w, &task, at("13:00:00"), at("14:00:00")).await;
    w.control
        .put_calendar(&resting(&["2026-11-22"]))
        .await
        .unwrap();
    assert!(w.store.snapshot().runs.is_empty());
    assert_eq!(
        w.due(&task).await,
        Some(at("13:00:00")),
        "to be skipped at its instant"
    );
}

#[tokio::test]
async fn what_an_outage_left_before_a_pause_counts_as_paused() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    // Nobody leads from 13:00 on; the pause comes at 14:30.
    w.clock.advance(HOUR * 5 / 2);
    w.control.pause("h").await.unwrap();
    w.clock.advance(HOUR);
    w.control.resume("h").await.unwrap();
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    assert_eq!(skip.skipped, Some((at("15:00:00"), 3)));
}

#[tokio::test]
async fn a_disabled_task_takes_no_requests_and_says_why() {
    let w = world();
    let mut hourly = spec("h", "0 * * * *");
    let task = w.put(&hourly).await;
    hourly.enabled = false;
    w.put(&hourly).await;
    assert_eq!(w.due(&task).await, None);
    let refused = w.control.trigger("h", None).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Conflict(m) if m.contains("enabled = true")),
        "{refused}"
    );
    let (verdict, _) = reason_of(&w, "h", at("13:00:00")).await;
    assert_eq!(verdict, Verdict::Disabled);
    w.clock.advance(HOUR * 3 / 2);
    hourly.enabled = true;
    w.put(&hourly).await;
    let why = reason_of(&w, "h", at("13:00:00")).await;
    assert_eq!(why, (Verdict::Skipped, Some(Reason::Disabled)));
    assert_eq!(w.due(&task).await, Some(at("14:00:00")));
}

#[tokio::test]
async fn overdue_instants_of_a_schedule_that_changes_are_recorded() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(HOUR * 7 / 2);
    w.put(&spec("h", "30 * * * *")).await;
    assert_eq!(w.due(&task).await, Some(at("16:30:00")));
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    assert_eq!(
        (skip.reason, skip.skipped),
        (Reason::Changed, Some((at("15:00:00"), 3)))
    );
    // Jitter alone moves the row and loses nothing.
    let mut jittered = spec("h", "30 * * * *");
    jittered.jitter = Duration::from_secs(600);
    w.clock.advance(2 * HOUR);
    w.put(&jittered).await;
    let due = w.due(&task).await.unwrap();
    assert_eq!(due, at("16:30:00").plus(jittered.jitter_offset()));
    let shown = w.control.task("h").await.unwrap().next_due_at;
    assert_eq!(shown, Some(at("16:30:00")));
}

#[tokio::test]
async fn what_is_overdue_when_a_task_is_deleted_is_recorded_and_told() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(HOUR * 7 / 2);
    w.control.delete_task("h", None).await.unwrap();
    let skip = occurrence(&w, &task, at("14:00:00")).await;
    assert_eq!(
        (skip.due_at, skip.reason, skip.skipped),
        (
            at("13:00:00"),
            Reason::TaskDeleted,
            Some((at("15:00:00"), 3))
        )
    );
    let told = |reason| (Verdict::Skipped, Some(reason));
    let why = reason_of(&w, "h", at("15:00:00")).await;
    assert_eq!(why, told(Reason::TaskDeleted));
    let later = w.control.why("h", &at("16:00:00").to_string()).await;
    let later = later.unwrap();
    assert_eq!(later.verdict, Verdict::TaskDeleted);
    assert!(
        later.sentences[0].contains("was deleted"),
        "{:?}",
        later.sentences
    );
    // Another task of that name answers for its own time alone.
    w.clock.advance(HOUR);
    w.put(&spec("h", "0 * * * *")).await;
    let why = reason_of(&w, "h", at("14:00:00")).await;
    assert_eq!(why, told(Reason::TaskDeleted));
    let why = reason_of(&w, "h", at("17:00:00")).await;
    assert_eq!(why, (Verdict::NotDueYet, None));
    let never = w.control.why("h", "2020-01-01T00:00:00Z").await.unwrap();
    assert_eq!(never.verdict, Verdict::NotCreatedYet);
}

#[tokio::test]
async fn a_task_that_is_deleted_while_it_rests_leaves_its_row_by_apply_too() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.control.pause("h").await.unwrap();
    w.clock.advance(HOUR * 3 / 2);
    let prune = Apply {
        prune: true,
        ..Apply::default()
    };
    let another = Definitions::from(vec![spec("other", "0 * * * *")]);
    let diff = w.control.apply(&another, &prune).await.unwrap();
    assert_eq!(diff.deleted, ["h"]);
    let skip = occurrence(&w, &task, at("13:00:00")).await;
    assert_eq!(
        (skip.reason, skip.skipped),
        (Reason::Paused, Some((at("13:00:00"), 1)))
    );
}

fn backfill(from: &str, until: &str) -> Backfill {
    Backfill {
        from: at(from),
        until: at(until),
        all: false,
        dry_run: false,
        per_second: 10,
    }
}

#[tokio::test]
async fn a_backfill_runs_what_has_no_run_once() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(6 * HOUR);
    w.fire(|term| Firing {
        runs: vec![transitions::occurrence(
            w.mint.runs(at("14:00:00"), 1)[0],
            &task,
            at("14:00:00"),
            term.epoch,
        )],
        ..Firing::default()
    })
    .await;
    let mut what = backfill("13:00:00", "17:30:00");
    what.dry_run = true;
    let preview = w.control.backfill("h", &what).await.unwrap();
    assert_eq!(
        (
            preview.instants,
            preview.ran,
            preview.count,
            preview.created
        ),
        (5, 1, 4, 0)
    );
    assert_eq!(
        (preview.first, preview.last),
        (Some(at("13:00:00")), Some(at("17:00:00")))
    );
    what.dry_run = false;
    assert_eq!(w.control.backfill("h", &what).await.unwrap().created, 4);
    let again = w.control.backfill("h", &what).await.unwrap();
    assert_eq!(
        (again.count, again.created),
        (0, 0),
        "a backfill is a run of the instant"
    );
    let runs = w.store.snapshot().runs;
    let mut made: Vec<_> = runs
        .iter()
        .filter(|r| r.origin == Origin::Backfill)
        .collect();
    made.sort_by_key(|r| r.due_at);
    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|r| r.priority == 1));
    assert!(
        made.windows(2)
            .all(|w| w[1].ready_at.since(w[0].ready_at) == Duration::from_millis(100))
    );
    let why = w.control.why("h", "2026-11-22T13:00:00Z").await.unwrap();
    assert!(
        why.sentences.iter().any(|s| s.contains("backfill")),
        "{:?}",
        why.sentences
    );
    what.all = true;
    assert_eq!(w.control.backfill("h", &what).await.unwrap().created, 5);
}

#[tokio::test]
async fn an_instant_that_a_backfill_did_not_run_is_asked_for_again() {
    let w = world();
    w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(4 * HOUR);
    let mut what = backfill("13:00:00", "15:30:00");
    assert_eq!(w.control.backfill("h", &what).await.unwrap().created, 3);
    let made = w.store.snapshot().runs;
    let cancelled = made.iter().find(|r| r.due_at == at("14:00:00")).unwrap();
    w.control.cancel(cancelled.id).await.unwrap();
    what.dry_run = true;
    let preview = w.control.backfill("h", &what).await.unwrap();
    assert_eq!((preview.ran, preview.count), (2, 1));
    what.dry_run = false;
    // Two who ask at the same time get one run.
    let (one, two) = (
        w.control.backfill("h", &what),
        w.control.backfill("h", &what),
    );
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap().created + two.unwrap().created, preview.count);
    let made = w.store.snapshot().runs;
    let again: Vec<_> = made.iter().filter(|r| r.due_at == at("14:00:00")).collect();
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|r| r.origin == Origin::Backfill));
    assert_eq!(w.control.backfill("h", &what).await.unwrap().count, 0);
}

#[tokio::test]
async fn a_backfill_is_of_the_past_and_bounded() {
    let w = world();
    w.put(&spec("h", "0 * * * *")).await;
    w.put(&spec("s", "every 1s")).await;
    let mut manual = spec("m", "every 1s");
    manual.schedule = None;
    w.put(&manual).await;
    w.clock.advance(6 * HOUR);
    let refusals = [
        ("h", backfill("13:00:00", "13:00:00"), "until"),
        ("h", backfill("13:00:00", "23:00:00"), "until"),
        ("s", backfill("12:00:00", "18:00:00"), "until"),
        ("m", backfill("13:00:00", "14:00:00"), "task"),
        (
            "h",
            Backfill {
                per_second: 0,
                ..backfill("13:00:00", "14:00:00")
            },
            "per_second",
        ),
    ];
    for (task, what, field) in refusals {
        match w.control.backfill(task, &what).await.unwrap_err() {
            Error::Invalid { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other}"),
        }
    }
    assert!(w.store.snapshot().runs.is_empty(), "nothing is half done");
}

#[tokio::test]
async fn limits_are_checked_set_and_lifted() {
    let w = world();
    let group = LimitKey::Group("db".to_owned());
    w.control.set_limit(&group, Some(3)).await.unwrap();
    let limits = w.control.limits().await.unwrap();
    assert_eq!(
        (limits.len(), limits[0].max_running, limits[0].running),
        (1, 3, 0)
    );
    w.control.set_limit(&group, None).await.unwrap();
    assert!(w.control.limits().await.unwrap().is_empty());
    let task = w.put(&spec("h", "0 * * * *")).await;
    for (key, most) in [
        (LimitKey::Group("no name".to_owned()), 3),
        (group, 0),
        (LimitKey::Overlap(task.id), 3),
    ] {
        let refused = w.control.set_limit(&key, Some(most)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{key}");
    }
}

fn resting(dates: &[&str]) -> CalendarSpec {
    serde_json::from_value(json!({"name": "rest", "dates": dates})).unwrap()
}

#[tokio::test]
async fn a_calendar_moves_the_due_rows_of_its_tasks() {
    let w = world();
    let mut daily = spec("d", "0 6 * * *");
    daily.calendars = "rest".into();
    daily.on_excluded = OnExcluded::Next;
    let refused = w.control.put_task(&daily).await.unwrap_err();
    assert!(
        refused.to_string().contains("no calendar `rest`"),
        "{refused}"
    );
    assert!(
        w.control
            .put_calendar(&resting(&["2026-11-24"]))
            .await
            .unwrap()
    );
    let task = w.put(&daily).await;
    let day = |d: u32| Timestamp::parse(&format!("2026-11-{d}T06:00:00Z")).unwrap();
    assert_eq!(w.due(&task).await, Some(day(23)));
    // The 22nd has passed by; the 23rd now rests: its row stays, and says so when its time comes.
    assert!(
        !w.control
            .put_calendar(&resting(&["2026-11-23"]))
            .await
            .unwrap()
    );
    assert_eq!(
        w.control.calendar("rest").await.unwrap().calendar.version,
        2
    );
    assert_eq!(w.due(&task).await, Some(day(23)));
    daily.on_excluded = OnExcluded::Previous;
    w.put(&daily).await;
    // Moved to the day before, at 06:00 of the 22nd: that is past, so the next event is the marker of the 23rd.
    assert_eq!(w.due(&task).await, Some(day(23)));
    assert!(
        !w.control
            .put_calendar(&resting(&["2026-11-25"]))
            .await
            .unwrap()
    );
    assert_eq!(w.due(&task).await, Some(day(23)));
    let in_use = w.control.delete_calendar("rest").await.unwrap_err();
    assert!(in_use.to_string().contains("task `d`"), "{in_use}");
    daily.calendars = Vec::<String>::new().into_iter().collect();
    w.put(&daily).await;
    w.control.delete_calendar("rest").await.unwrap();
    let gone = w.control.delete_calendar("rest").await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn a_file_brings_tasks_calendars_and_limits_at_once() {
    let w = world();
    let mut daily = spec("d", "0 6 * * *");
    daily.calendars = "rest".into();
    let wanted = Definitions {
        tasks: vec![daily],
        calendars: vec![resting(&["2026-11-23"])],
        limits: vec![Limit {
            limit: LimitKey::Group("db".to_owned()),
            max_running: 2,
        }],
        ..Definitions::default()
    };
    let dry = Apply {
        dry_run: true,
        ..Apply::default()
    };
    let diff = w.control.apply(&wanted, &dry).await.unwrap();
    assert_eq!(
        (diff.calendars.len(), diff.limits.len(), diff.applied),
        (1, 1, false)
    );
    assert!(w.control.calendars().await.unwrap().is_empty());
    let diff = w.control.apply(&wanted, &Apply::default()).await.unwrap();
    assert!(diff.applied);
    assert_eq!(w.control.calendar("rest").await.unwrap().tasks, ["d"]);
    let again = w.control.apply(&wanted, &Apply::default()).await.unwrap();
    assert_eq!((again.calendars.len(), again.limits.len()), (0, 0));
    // One thing that can't be, and nothing is done.
    let mut wrong = wanted.clone();
    wrong.calendars[0].dates = vec!["yesterday".to_owned()];
    wrong.limits[0].max_running = 9;
    let refused = w
        .control
        .apply(&wrong, &Apply::default())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("dates"), "{refused}");
    assert_eq!(w.control.limits().await.unwrap()[0].max_running, 2);
}
