//! Behaviours of the part of the port that API and command line use.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, end, key, range, spec};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::port::Written;
use campanile_core::port::ask::{QueueCount, RunFilter, TaskFilter};
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Cancel, Edit, Upsert};
use campanile_core::port::fire::Firing;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, RunSpec, State};
use campanile_core::task::{CommandSpec, HandlerSpec, QueueName, Task};

fn change(task: &Task, version: i64, description: &str) -> Upsert {
    let mut spec = task.spec.clone();
    spec.description = Some(description.to_owned());
    Upsert {
        id: task.id,
        expected: Some(version),
        spec,
        paused_from: None,
        due: DueChange::Keep,
    }
}

/// An edit makes and changes tasks; versions and the counter of edits grow.
pub async fn an_edit_makes_and_changes_tasks(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let edits = f.edits().await;
    let task = f.task("t", at(10)).await;
    assert_eq!(
        (task.version, task.created_at, task.updated_at),
        (1, at(0), at(0))
    );
    let edit = Edit {
        upserts: vec![change(&task, 1, "new <b>words</b> 'n' \"all\" \\u0000")],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &edit, at(5)).await.unwrap(),
        Written::Applied
    );
    let changed = f.named("t").await.unwrap();
    assert_eq!(
        (changed.version, changed.created_at, changed.updated_at),
        (2, at(0), at(5))
    );
    assert_eq!(changed.spec, edit.upserts[0].spec);
    assert_eq!(f.edits().await, edits + 2);
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(10)));
}

/// Many tasks' due rows are read in one look: each task's own, and nothing of those that have none or are gone.
pub async fn due_rows_are_read_for_many_tasks(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (a, b) = (f.task("a", at(10)).await, f.task("b", at(20)).await);
    let none = Edit {
        upserts: vec![f.creation(spec("none"), None)],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &none, at(0)).await.unwrap(),
        Written::Applied
    );
    let nothing = f.named("none").await.unwrap();
    let ids = [b.id, nothing.id, a.id];
    let seen = f.store.next_dues(&ids).await.unwrap();
    assert_eq!(
        seen,
        std::collections::HashMap::from([(a.id, at(10)), (b.id, at(20))])
    );
    assert_eq!(f.store.next_dues(&ids[1..2]).await.unwrap().len(), 0);
    assert_eq!(f.store.next_dues(&[]).await.unwrap().len(), 0);
}

/// An edit is done whole or not at all: one stale version, one task that exists or is gone, and nothing is written.
pub async fn an_edit_is_all_or_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (a, b) = (f.task("a", at(10)).await, f.task("b", at(20)).await);
    let edits = f.edits().await;
    let fresh = || f.creation(spec("c"), Some(at(30)));
    let again = Upsert {
        expected: None,
        ..change(&b, 1, "x")
    };
    let gone = Upsert {
        id: f.mint.task(at(0)),
        spec: spec("d"),
        ..change(&b, 1, "x")
    };
    for upserts in [
        vec![fresh(), change(&a, 1, "x"), change(&b, 2, "x")],
        vec![fresh(), change(&a, 1, "x"), again],
        vec![fresh(), change(&a, 1, "x"), gone],
    ] {
        assert_eq!(f.edit(upserts).await, Written::Stale);
    }
    let edit = Edit {
        upserts: vec![fresh()],
        deletes: vec![f.deletion(a.id, 1).await, f.deletion(b.id, 7).await],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &edit, at(1)).await.unwrap(),
        Written::Stale
    );
    assert_eq!(
        (f.named("a").await, f.named("b").await, f.named("c").await),
        (Some(a), Some(b), None)
    );
    assert_eq!(f.edits().await, edits);
    assert_eq!(f.due(at(1_000)).await.len(), 2);
}

/// A name has one task, whoever comes second; names may change hands within one edit.
pub async fn a_name_has_one_living_task(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (a, b) = (f.task("a", at(10)).await, f.task("b", at(20)).await);
    assert_eq!(
        f.edit(vec![f.creation(spec("a"), None)]).await,
        Written::Stale
    );
    assert_eq!(
        f.edit(vec![
            f.creation(spec("c"), None),
            f.creation(spec("c"), None)
        ])
        .await,
        Written::Stale
    );
    let renamed = |task: &Task, name: &str| {
        let mut upsert = change(task, 1, "moved");
        upsert.spec.name = name.to_owned();
        upsert
    };
    assert_eq!(f.edit(vec![renamed(&a, "b")]).await, Written::Stale);
    assert_eq!(
        f.edit(vec![renamed(&a, "b"), renamed(&b, "a")]).await,
        Written::Applied
    );
    assert_eq!(f.named("b").await.map(|t| t.id), Some(a.id));
    let replace = Edit {
        upserts: vec![f.creation(spec("b"), None)],
        deletes: vec![f.deletion(a.id, 2).await],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &replace, at(1)).await.unwrap(),
        Written::Applied
    );
    assert_eq!(
        f.named("b").await.map(|t| t.id),
        Some(replace.upserts[0].id)
    );
}

/// Of many edits of one version, one is done.
pub async fn of_many_edits_one_is_done(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let task = f.task("t", at(10)).await;
    let edits: Vec<Edit> = (0..6)
        .map(|n| Edit {
            upserts: vec![change(&task, 1, &format!("edit {n}"))],
            ..Edit::default()
        })
        .collect();
    let answers = futures_util::future::join_all(
        edits
            .iter()
            .map(|edit| f.store.edit(somebody(), edit, at(1))),
    )
    .await;
    let done = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().is_applied())
        .count();
    assert_eq!((done, f.named("t").await.unwrap().version), (1, 2));
}

/// A task's next occurrence is replaced by the edit that says so, and lives in its new queue.
pub async fn an_edit_replaces_the_due_row(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let task = f.task("t", at(10)).await;
    let mut moved = change(&task, 1, "moved");
    moved.spec.queue = QueueName::new("elsewhere");
    let mut key = Fixture::task_key(&task, at(77));
    key.queue = QueueName::new("elsewhere");
    // Decided when the row stood elsewhere: what was fired since is not known to it. Then decided again.
    let next = Some(key.clone());
    for (seen, answer) in [(9, Written::Stale), (10, Written::Applied)] {
        let (seen, next) = (Some(at(seen)), next.clone());
        moved.due = DueChange::Replace { seen, next };
        assert_eq!(f.edit(vec![moved.clone()]).await, answer);
    }
    assert_eq!(f.due(at(1_000)).await, [key]);
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(77)));
}

/// Tasks are listed by name, page by page.
pub async fn tasks_are_listed_by_name(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    for name in ["b", "B", "a.1", "a-1", "a_1"] {
        f.task(name, at(10)).await;
    }
    let names = |tasks: &[Task]| {
        tasks
            .iter()
            .map(|t| t.spec.name.clone())
            .collect::<Vec<_>>()
    };
    let first = f
        .store
        .tasks(&TaskFilter::default(), None, 3)
        .await
        .unwrap();
    assert_eq!(names(&first.tasks), ["B", "a-1", "a.1"]);
    assert_eq!(first.next.as_deref(), Some("a.1"));
    let rest = f
        .store
        .tasks(&TaskFilter::default(), first.next.as_deref(), 3)
        .await
        .unwrap();
    assert_eq!(
        (names(&rest.tasks), rest.next),
        (vec!["a_1".to_owned(), "b".to_owned()], None)
    );
    let found = f
        .store
        .tasks_by_name(&["b".to_owned(), "no".to_owned()])
        .await
        .unwrap();
    assert_eq!(names(&found), ["b"]);
}

/// A submitted run is there at once, with its timer and all that it carries.
pub async fn a_submission_is_there_at_once(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let own = RunSpec {
        handler: Some(HandlerSpec::Command(CommandSpec {
            argv: vec!["/bin/echo".to_owned(), "'\"; $(x) ü".to_owned()],
            env: [("A".to_owned(), "1".to_owned())].into(),
            dir: None,
            stdin: None,
            login: false,
            keep_children: false,
        })),
        payload: Some(
            serde_json::json!({"text": "x".repeat(256 * 1024 - 20), "null": null, "nul": "\0"}),
        ),
        ..RunSpec::default()
    };
    let run = f.submit_with(own.clone()).await;
    let detail = f.detail(run.id).await;
    assert_eq!(
        (detail.run, detail.spec, detail.attempts),
        (run.clone(), Some(own), Vec::new())
    );
    assert_eq!(f.due(at(0)).await, [Fixture::run_key(&run)]);
    let plain = f.submit(1).await.remove(0);
    assert_eq!(f.detail(plain.id).await.spec, None);
    assert!(
        f.store
            .run(f.requests(1)[0].run.id)
            .await
            .unwrap()
            .is_none()
    );
}

/// A submission is done whole or not at all.
pub async fn a_submission_is_all_or_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let taken = f.submit(1).await.remove(0);
    let mut batch = f.requests(3);
    batch[1].key = Some(key("k"));
    batch[2].run.id = taken.id;
    assert!(f.store.submit(somebody(), &batch).await.is_err());
    assert_eq!(f.all_runs().await, [taken]);
    assert_eq!(f.due(at(0)).await.len(), 1);
    let mut again = f.requests(1);
    again[0].key = Some(key("k"));
    assert!(f.store.submit(somebody(), &again).await.unwrap()[0].created);
    assert!(f.store.submit(somebody(), &[]).await.unwrap().is_empty());
}

/// Thousands of runs go in with one submission and are all there.
pub async fn a_large_submission_goes_in_whole(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let runs = f.submit(4_500).await;
    let page = f
        .store
        .runs(&RunFilter::default(), None, 5_000)
        .await
        .unwrap();
    assert_eq!(page.len(), runs.len());
    assert_eq!(f.store.queues(at(0)).await.unwrap()[0].waiting, 4_500);
}

/// Runs are listed newest first, live and ended alike, page by page and by what is asked of them.
pub async fn runs_are_listed_newest_first(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let requests = f.submit(3).await;
    f.cancel(requests[1].id).await;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(f.fire(&term, &task, at(n * 10)).await.id);
    }
    let skip = f.skip(&term, &task, &range(-20, -10, 2)).await.id;
    let list = async |filter: RunFilter, before, limit| {
        let runs = f.store.runs(&filter, before, limit).await.unwrap();
        runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let all = list(RunFilter::default(), None, 100).await;
    assert_eq!(
        all,
        [
            skip,
            ids[2],
            ids[1],
            ids[0],
            requests[2].id,
            requests[1].id,
            requests[0].id
        ]
    );
    assert_eq!(list(RunFilter::default(), None, 2).await, all[..2]);
    assert_eq!(list(RunFilter::default(), Some(all[1]), 3).await, all[2..5]);
    let of_task = RunFilter {
        tasks: vec![task.id],
        ..RunFilter::default()
    };
    assert_eq!(list(of_task.clone(), None, 100).await, all[..4]);
    let between = RunFilter {
        since: Some(at(10)),
        until: Some(at(30)),
        ..of_task.clone()
    };
    assert_eq!(list(between, None, 100).await, [ids[1], ids[0]]);
    for (state, expected) in [
        (State::Skipped, vec![skip]),
        (State::Cancelled, vec![requests[1].id]),
        (
            State::Scheduled,
            vec![ids[2], ids[1], ids[0], requests[2].id, requests[0].id],
        ),
        (State::Running, Vec::new()),
    ] {
        let filter = RunFilter {
            state: Some(state),
            ..RunFilter::default()
        };
        assert_eq!(list(filter, None, 100).await, expected, "{state:?}");
    }
    let skipped = RunFilter {
        state: Some(State::Skipped),
        ..of_task
    };
    assert_eq!(list(skipped, None, 100).await, [skip]);
}

/// What became of an instant: a live run, a run that ended, a skip, a skip of many that covers it, or nothing.
pub async fn an_instant_has_its_answer(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let node = f.node().await;
    let (task, other) = (f.task("t", at(10)).await, f.task("u", at(10)).await);
    let many = f.skip(&term, &task, &range(-50, -20, 4)).await.id;
    let one = f.skip(&term, &task, &range(-10, -10, 1)).await.id;
    let ended = f.fire(&term, &task, at(10)).await;
    let (claim, _) = f.claim(node, &[(ended.id, 1)]).await;
    assert_eq!(
        f.finish(end(&ended, claim, End::Succeeded)).await,
        Written::Applied
    );
    let live = f.fire(&term, &task, at(20)).await.id;
    let ask = async |task: &Task, at: Timestamp| {
        f.store
            .occurrence(task.id, at)
            .await
            .unwrap()
            .map(|run| run.id)
    };
    for (instant, expected) in [
        (-51, None),
        (-50, Some(many)),
        (-30, Some(many)),
        (-20, Some(many)),
        (-15, None),
        (-10, Some(one)),
        (10, Some(ended.id)),
        (15, None),
        (20, Some(live)),
        (30, None),
    ] {
        assert_eq!(ask(&task, at(instant)).await, expected, "second {instant}");
    }
    assert_eq!(ask(&other, at(10)).await, None);
}

/// A cancel ends what has not started, asks for the end of what runs, and tells how the rest ended.
pub async fn a_cancel_fits_the_state(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let runs = f.submit(2).await;
    assert_eq!(f.cancel(runs[0].id).await, Cancel::Cancelled);
    assert_eq!(
        Some(f.row(runs[0].id).await),
        attempt::cancel(&runs[0], at(2)).1
    );
    assert_eq!(f.cancel(runs[0].id).await, Cancel::Ended(State::Cancelled));
    let sent = [(runs[1].id, 1)];
    assert_eq!(
        f.store.mark_sent(&term, &sent, at(1), &[]).await.unwrap(),
        Written::Applied
    );
    assert_eq!(f.cancel(runs[1].id).await, Cancel::Cancelled);
    let (node, claim, running) = f.running().await;
    assert_eq!(f.cancel(running.id).await, Cancel::Requested);
    assert_eq!(f.cancel(running.id).await, Cancel::Requested);
    assert_eq!(
        f.finish(end(&running, claim, End::Succeeded)).await,
        Written::Applied
    );
    assert_eq!(f.cancel(running.id).await, Cancel::Ended(State::Succeeded));
    assert_eq!(f.cancel(f.requests(1)[0].run.id).await, Cancel::Unknown);
    assert!(
        f.claim(node, &[(runs[0].id, 1), (runs[1].id, 1)])
            .await
            .1
            .is_empty()
    );
    // The timer of a cancelled run fires nothing.
    let firing = Firing {
        edits: f.edits().await,
        consumed: vec![Fixture::run_key(&runs[0])],
        epoch: term.epoch,
        ..Firing::default()
    };
    assert!(f.store.fire(&term, &firing).await.is_ok());
    assert_eq!(f.row(runs[0].id).await.reason, Reason::Requested);
}

/// Live runs are counted by queue and by where they stand.
pub async fn queues_are_counted(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let mut later = f.requests(2);
    for submission in &mut later {
        submission.run.ready_at = at(100);
        submission.run.due_at = at(100);
        submission.run.queue = QueueName::new("q");
    }
    f.store.submit(somebody(), &later).await.unwrap();
    f.submit(3).await;
    f.running().await;
    let found = f.store.queues(at(1)).await.unwrap();
    let count = |queue: &str, future, waiting, running| QueueCount {
        queue: QueueName::new(queue),
        future,
        waiting,
        running,
    };
    for expected in [count("default", 0, 3, 1), count("q", 2, 0, 0)] {
        assert!(
            found.contains(&expected),
            "{expected:?} is not in {found:?}"
        );
    }
    let found = f.store.queues(at(100)).await.unwrap();
    assert!(found.contains(&count("q", 0, 2, 0)));
}

/// The first secret is kept, whoever brings another.
pub async fn the_first_secret_is_kept(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let brought: Vec<[u8; 32]> = (1..=4).map(|n| [n; 32]).collect();
    let answers =
        futures_util::future::join_all(brought.iter().map(|fresh| f.store.secret(*fresh))).await;
    let kept = f.store.secret([9; 32]).await.unwrap();
    assert!(brought.contains(&kept));
    assert!(answers.into_iter().all(|answer| answer.unwrap() == kept));
}
