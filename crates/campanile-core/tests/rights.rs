//! Who may do what, below any route: each function asks the actor's rights, lists leave out what is outside of his scope,
//! and the data of runs is seen by who has the right to.

use campanile_access::{Actor, Kind, Right, Rights, Role, Scope};
use campanile_ask::{
    Apply, Backfill, Definitions, Editor, Error, KeyQuery, Limit, LogQuery, NewRun, Place, RunQuery,
};
use campanile_core::decide::permits::LimitKey;
use campanile_core::port::ask::TaskFilter;
use campanile_core::task::{QueueName, TaskSpec};
use serde_json::json;

use crate::control::{World, at, spec, world};

fn actor(name: &str, role: Role, scope: &[&str]) -> Actor {
    let rights = Rights::of(role).within(Scope::of(scope).unwrap());
    Actor::of(Kind::Token, name, "10.0.0.1", rights)
}

fn by(w: &World, role: Role, scope: &[&str]) -> Editor {
    w.control.by(actor("t", role, scope))
}

fn lacks<T: std::fmt::Debug>(answer: Result<T, Error>, right: Right) {
    match answer.unwrap_err() {
        Error::Denied(denied) => assert_eq!(denied.right, right, "{denied}"),
        other => panic!("{other}"),
    }
}

fn owned(name: &str, owner: &str, queue: &str) -> TaskSpec {
    TaskSpec {
        owner: Some(owner.to_owned()),
        queue: QueueName::new(queue),
        payload: json!({ "secret": name }),
        ..spec(name, "every 1h")
    }
}

async fn three() -> World {
    let w = world();
    for (name, owner, queue) in [
        ("bill-a", "finance", "q1"),
        ("bill-b", "sales", "q2"),
        ("ship", "sales", "q1"),
    ] {
        w.put(&owned(name, owner, queue)).await;
    }
    w
}

#[tokio::test]
async fn a_role_may_do_what_is_in_it_and_nothing_else() {
    let w = three().await;
    let viewer = by(&w, Role::Viewer, &[]);
    assert_eq!(
        viewer
            .tasks(&TaskFilter::default(), None, 10)
            .await
            .unwrap()
            .items
            .len(),
        3
    );
    lacks(viewer.pause("ship").await, Right::Operate);
    lacks(viewer.trigger("ship", None).await, Right::Submit);
    let operator = by(&w, Role::Operator, &[]);
    operator.pause("ship").await.unwrap();
    operator.trigger("ship", None).await.unwrap();
    lacks(
        operator.put_task(&owned("ship", "sales", "q1")).await,
        Right::Define,
    );
    lacks(operator.delete_task("ship", None).await, Right::Define);
    let editor = by(&w, Role::Editor, &[]);
    editor
        .put_task(&owned("ship", "sales", "q9"))
        .await
        .unwrap();
    let limit = LimitKey::Queue(QueueName::new("q1"));
    lacks(editor.set_limit(&limit, Some(1)).await, Right::Limit);
    lacks(editor.resign().await, Right::Lead);
    lacks(editor.queue_key("q1").await, Right::Keys);
    let admin = by(&w, Role::Admin, &[]);
    admin.set_limit(&limit, Some(1)).await.unwrap();
    admin.queue_key("q1").await.unwrap();
}

#[tokio::test]
async fn a_scope_bounds_acts_and_what_lists_show() {
    let w = three().await;
    for (scope, seen) in [
        (&["prefix:bill-"][..], &["bill-a", "bill-b"][..]),
        (&["owner:sales"], &["bill-b", "ship"]),
        (&["queue:q1"], &["bill-a", "ship"]),
        (&["owner:finance", "queue:q2"], &["bill-a", "bill-b"]),
        (&["owner:nobody"], &[]),
    ] {
        let operator = by(&w, Role::Operator, scope);
        let rows = operator
            .tasks(&TaskFilter::default(), None, 10)
            .await
            .unwrap();
        let names: Vec<&str> = rows
            .items
            .iter()
            .map(|row| row.task.spec.name.as_str())
            .collect();
        assert_eq!(
            (names.as_slice(), rows.next_cursor),
            (seen, None),
            "{scope:?}"
        );
        for name in ["bill-a", "bill-b", "ship"] {
            let is_in = seen.contains(&name);
            assert_eq!(operator.task(name).await.is_ok(), is_in, "{scope:?} {name}");
            assert_eq!(
                operator.pause(name).await.is_ok(),
                is_in,
                "{scope:?} {name}"
            );
            assert_eq!(
                operator.trigger(name, None).await.is_ok(),
                is_in,
                "{scope:?} {name}"
            );
            assert_eq!(
                operator.why(name, "2026-11-22T13:00:00Z").await.is_ok(),
                is_in,
                "{scope:?} {name}"
            );
        }
        // Who does not submit has no runs of his own.
        let runs = by(&w, Role::Viewer, scope)
            .runs(&RunQuery::default(), None, 100)
            .await
            .unwrap();
        let of: Vec<&str> = runs
            .items
            .iter()
            .filter_map(|row| row.task.as_deref())
            .collect();
        assert!(
            of.iter().all(|name| seen.contains(name)),
            "{scope:?} {of:?}"
        );
        assert_eq!(of.is_empty(), seen.is_empty());
        lacks(operator.unfulfilled(None, 10).await, Right::See);
    }
}

#[tokio::test]
async fn a_page_of_somebody_with_a_scope_goes_on_where_it_stopped() {
    let w = world();
    for n in 0..30 {
        w.put(&owned(
            &format!("t{n:02}"),
            if n % 3 == 0 { "a" } else { "b" },
            "q",
        ))
        .await;
        w.control.trigger(&format!("t{n:02}"), None).await.unwrap();
    }
    let viewer = by(&w, Role::Viewer, &["owner:a"]);
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = viewer
            .tasks(&TaskFilter::default(), cursor.as_deref(), 3)
            .await
            .unwrap();
        names.extend(page.items.into_iter().map(|row| row.task.spec.name));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..30).step_by(3).map(|n| format!("t{n:02}")).collect();
    assert_eq!(names, expected);
    let (mut runs, mut cursor) = (Vec::new(), None);
    loop {
        let page = viewer
            .runs(&RunQuery::default(), cursor.as_deref(), 4)
            .await
            .unwrap();
        runs.extend(page.items.into_iter().filter_map(|row| row.task));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    runs.sort();
    assert_eq!(runs, expected);
}

#[tokio::test]
async fn an_owner_is_given_within_the_scope_alone() {
    let w = three().await;
    let editor = by(&w, Role::Editor, &["owner:sales", "prefix:bill-"]);
    // What it was, what it will be, and whose it will be.
    lacks(
        editor.put_task(&owned("new", "finance", "q1")).await,
        Right::Define,
    );
    lacks(
        editor.put_task(&owned("bill-new", "finance", "q1")).await,
        Right::Define,
    );
    editor.put_task(&owned("new", "sales", "q1")).await.unwrap();
    // It keeps the owner that it has.
    editor
        .put_task(&owned("bill-a", "finance", "q7"))
        .await
        .unwrap();
    let list = |specs: Vec<TaskSpec>| Definitions::from(specs);
    let how = Apply::default();
    let two = list(vec![owned("a", "sales", "q"), owned("b", "x", "q")]);
    lacks(editor.apply(&two, &how).await, Right::Define);
    assert!(w.control.task("a").await.is_err(), "all or nothing");
    let limited = Definitions {
        limits: vec![Limit {
            limit: LimitKey::Group("g".to_owned()),
            max_running: 1,
        }],
        ..list(vec![owned("a", "sales", "q")])
    };
    lacks(editor.apply(&limited, &how).await, Right::Limit);
    let pruning = Apply {
        prune: true,
        ..Apply::default()
    };
    let of_finance = Definitions {
        owner: Some("finance".to_owned()),
        ..Definitions::default()
    };
    let by_queue = by(&w, Role::Editor, &["queue:q1"]);
    lacks(by_queue.apply(&of_finance, &pruning).await, Right::Define);
    assert!(w.control.task("bill-a").await.is_ok());
}

#[tokio::test]
async fn an_executor_starts_runs_and_looks_after_its_own() {
    let w = three().await;
    let mine = w.control.by(actor("mine", Role::Executor, &["queue:q1"]));
    let other = w.control.by(actor("other", Role::Executor, &[]));
    let run = mine.trigger("ship", None).await.unwrap().run;
    let foreign = other.trigger("ship", None).await.unwrap().run;
    lacks(mine.trigger("bill-b", None).await, Right::Submit);
    let moved = NewRun {
        task: Some("ship".to_owned()),
        queue: Some("q2".to_owned()),
        ..NewRun::default()
    };
    lacks(mine.submit_one(&moved).await, Right::Submit);
    assert_eq!(
        mine.run(run).await.unwrap().record.submitter.as_deref(),
        Some("token:mine")
    );
    lacks(mine.run(foreign).await, Right::See);
    lacks(mine.cancel(foreign).await, Right::Operate);
    lacks(mine.retry(run).await, Right::Operate);
    lacks(mine.move_run(run, at("13:00:00")).await, Right::Operate);
    lacks(mine.logs(run, LogQuery::default(), None).await, Right::Data);
    lacks(mine.task("ship").await, Right::See);
    lacks(
        mine.tasks(&TaskFilter::default(), None, 10).await,
        Right::See,
    );
    lacks(mine.nodes().await, Right::See);
    let listed = mine.runs(&RunQuery::default(), None, 10).await.unwrap();
    let ids: Vec<_> = listed.items.iter().map(|row| row.run.id).collect();
    assert_eq!(ids, [run]);
    mine.cancel(run).await.unwrap();
    // A run with its own handler is a definition, unless its code is the worker's.
    let own = |handler| NewRun {
        handler: Some(serde_json::from_value(handler).unwrap()),
        queue: Some("q1".to_owned()),
        ..NewRun::default()
    };
    mine.submit_one(&own(json!({ "native": "x" })))
        .await
        .unwrap();
    let http = json!({ "http": { "url": "http://10.0.0.1/" } });
    lacks(mine.submit_one(&own(http)).await, Right::Define);
    let elsewhere = NewRun {
        queue: None,
        ..own(json!({ "native": "x" }))
    };
    lacks(mine.submit_one(&elsewhere).await, Right::Submit);
    // By its key, too.
    let keyed = NewRun {
        task: Some("ship".to_owned()),
        idempotency_key: Some("k".to_owned()),
        ..NewRun::default()
    };
    let run = mine.submit_one(&keyed).await.unwrap().run;
    let of_key = KeyQuery {
        key: "k".to_owned(),
        ..KeyQuery::default()
    };
    assert_eq!(mine.run_of_key(&of_key).await.unwrap(), run);
}

#[tokio::test]
async fn data_is_seen_by_who_has_the_right() {
    let w = three().await;
    let with_payload = w.control.trigger("ship", Some(json!(1))).await.unwrap().run;
    let without = by(&w, Role::Admin, &[]);
    let rights = Rights::of(Role::Viewer).with_data(true);
    let with = w.control.by(Actor::of(Kind::User, "u", "a", rights));
    let row = with.task("ship").await.unwrap();
    assert_eq!(
        (row.task.spec.payload, row.hidden.len()),
        (json!({ "secret": "ship" }), 0)
    );
    let row = without.task("ship").await.unwrap();
    assert_eq!(
        (row.task.spec.payload, row.hidden),
        (json!(null), vec!["payload"])
    );
    let rows = without
        .tasks(&TaskFilter::default(), None, 10)
        .await
        .unwrap()
        .items;
    assert!(rows.iter().all(|row| row.task.spec.payload.is_null()));
    let run = with.run(with_payload).await.unwrap();
    assert_eq!(run.record.spec.unwrap().payload, Some(json!(1)));
    let run = without.run(with_payload).await.unwrap();
    assert_eq!(
        (run.record.spec.unwrap().payload, run.hidden),
        (None, vec!["payload"])
    );
    lacks(
        without.logs(with_payload, LogQuery::default(), None).await,
        Right::Data,
    );
    let all = LogQuery::default();
    with.logs(with_payload, all, None).await.unwrap();
    let place = Place::FIRST;
    lacks(
        without.follow(with_payload, place).await.map(drop),
        Right::Data,
    );
    with.follow(with_payload, place).await.map(drop).unwrap();
    let dry = Apply {
        dry_run: true,
        ..Apply::default()
    };
    let changed = TaskSpec {
        payload: json!({ "secret": "new" }),
        ..owned("ship", "sales", "q1")
    };
    let diff = without.apply(&vec![changed].into(), &dry).await.unwrap();
    let text = serde_json::to_string(&diff).unwrap();
    assert!(
        !text.contains("\"ship\"]") && !text.contains(":\"ship\",\"after"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let w = three().await;
    let viewer = by(&w, Role::Viewer, &[]);
    let what = Backfill {
        from: at("10:00:00"),
        until: at("11:00:00"),
        all: true,
        dry_run: false,
        per_second: 1,
    };
    lacks(viewer.backfill("ship", &what).await, Right::Operate);
    lacks(viewer.release(1).await, Right::Operate);
    lacks(viewer.drop_quarantined(1).await, Right::Define);
    lacks(viewer.delete_calendar("x").await, Right::Define);
    assert!(
        w.control
            .runs(&RunQuery::default(), None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
