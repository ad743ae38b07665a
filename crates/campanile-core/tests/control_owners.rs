//! Owners and deletions, over the memory store: who may change and prune what, what has to be confirmed, and what is left
//! of a deleted task.

use std::time::Duration;

use campanile_ask::{Apply, Definitions, Diff, Error, RunQuery};
use campanile_core::port::ask::AskTasks as _;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::edit::OrphanStore as _;

use campanile_core::task::TaskSpec;

use crate::control::{World, at, spec, world};

fn prune() -> Apply {
    Apply {
        prune: true,
        ..Apply::default()
    }
}

fn owned(owner: &str, names: &[&str]) -> Definitions {
    Definitions {
        owner: Some(owner.to_owned()).filter(|o| !o.is_empty()),
        tasks: names.iter().map(|name| spec(name, "0 * * * *")).collect(),
        ..Definitions::default()
    }
}

fn many(count: usize) -> Vec<TaskSpec> {
    (0..count)
        .map(|n| spec(&format!("t{n:05}"), "0 * * * *"))
        .collect()
}

async fn names(w: &World) -> Vec<String> {
    let page = w
        .control
        .tasks(&TaskFilter::default(), None, 1_000)
        .await
        .unwrap();
    page.items
        .into_iter()
        .map(|row| row.task.spec.name)
        .collect()
}

async fn apply(w: &World, wanted: &Definitions, how: &Apply) -> Diff {
    w.control.apply(wanted, how).await.unwrap()
}

fn conflict(error: Error) -> String {
    match error {
        Error::Conflict(message) => message,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_prune_takes_only_what_its_owner_put() {
    let w = world();
    apply(&w, &owned("finance", &["f1", "f2"]), &prune()).await;
    apply(&w, &owned("ops", &["o1"]), &prune()).await;
    apply(&w, &owned("", &["n1", "n2"]), &prune()).await;
    assert_eq!(names(&w).await, ["f1", "f2", "n1", "n2", "o1"]);
    let diff = apply(&w, &owned("", &["n1"]), &prune()).await;
    assert_eq!(diff.deleted, ["n2"]);
    let diff = apply(&w, &owned("finance", &["f2", "f3"]), &prune()).await;
    assert_eq!(
        (diff.deleted.as_slice(), diff.created.as_slice()),
        (["f1".to_owned()].as_slice(), ["f3".to_owned()].as_slice())
    );
    assert_eq!(names(&w).await, ["f2", "f3", "n1", "o1"]);
    // A task that names its own owner is his, whoever's list it is in.
    let mut mixed = owned("ops", &["o1", "o2"]);
    mixed.tasks[1].owner = Some("finance".to_owned());
    let diff = apply(&w, &mixed, &prune()).await;
    assert!(diff.deleted.is_empty());
    let diff = apply(&w, &owned("finance", &["f2", "f3"]), &prune()).await;
    assert_eq!(diff.deleted, ["o2"]);
    let of = w
        .control
        .tasks(&TaskFilter::of(Some("finance")), None, 10)
        .await
        .unwrap();
    assert_eq!(of.items.len(), 2);
    let wrong = w
        .control
        .apply(&owned("a b", &[]), &prune())
        .await
        .unwrap_err();
    assert!(matches!(wrong, Error::Invalid { field, .. } if field == "owner"));
}

#[tokio::test]
async fn a_task_goes_to_another_owner_only_when_somebody_says_so() {
    let w = world();
    apply(&w, &owned("", &["free"]), &Apply::default()).await;
    apply(&w, &owned("finance", &["t"]), &Apply::default()).await;
    for thief in ["ops", ""] {
        let wanted = owned(thief, &["new", "t"]);
        let told = conflict(
            w.control
                .apply(&wanted, &Apply::default())
                .await
                .unwrap_err(),
        );
        assert!(
            told.contains("`t` belongs to owner `finance`") && told.contains("--take-over"),
            "{told}"
        );
    }
    assert_eq!(names(&w).await, ["free", "t"], "nothing was changed");
    let told = w
        .control
        .put_task(&spec("t", "30 * * * *"))
        .await
        .unwrap_err();
    assert!(conflict(told).contains("belongs to owner"));
    // What is nobody's is taken without a word, and visibly.
    let diff = apply(&w, &owned("ops", &["free"]), &Apply::default()).await;
    assert_eq!(diff.changed[0].fields[0].field, "owner");
    let over = Apply {
        take_over: true,
        ..Apply::default()
    };
    let diff = apply(&w, &owned("ops", &["t"]), &over).await;
    let change = &diff.changed[0].fields[0];
    assert_eq!(
        (change.before.clone(), change.after.clone()),
        (Some("finance".into()), Some("ops".into()))
    );
    // A pause and a resume leave the owner alone.
    w.control.pause("t").await.unwrap();
    let row = w.control.resume("t").await.unwrap();
    assert_eq!(row.task.spec.owner.as_deref(), Some("ops"));
}

#[tokio::test]
async fn many_deletions_want_the_token_of_exactly_this_set() {
    let w = world();
    let all = Definitions::from(many(30));
    apply(&w, &all, &Apply::default()).await;
    let few = Definitions::from(many(9));
    let told = conflict(w.control.apply(&few, &prune()).await.unwrap_err());
    assert!(
        told.contains("delete 21 tasks (`t00009`, ") && told.contains("16 others"),
        "{told}"
    );
    assert!(
        told.contains("dry_run=true") && told.contains("confirm=TOKEN"),
        "{told}"
    );
    assert_eq!(names(&w).await.len(), 30);
    let dry = Apply {
        dry_run: true,
        ..prune()
    };
    let shown = apply(&w, &few, &dry).await;
    assert_eq!((shown.deleted.len(), shown.applied), (21, false));
    let confirmed = Apply {
        confirm: shown.confirm.clone(),
        ..prune()
    };
    assert!(confirmed.confirm.is_some());
    // Another set: one of the tasks was changed since, or the list is another.
    w.control.pause("t00020").await.unwrap();
    let told = conflict(w.control.apply(&few, &confirmed).await.unwrap_err());
    assert!(told.contains("changed since"), "{told}");
    let fewer = Definitions::from(many(8));
    conflict(w.control.apply(&fewer, &confirmed).await.unwrap_err());
    assert_eq!(names(&w).await.len(), 30);
    let confirmed = Apply {
        confirm: apply(&w, &few, &dry).await.confirm,
        ..prune()
    };
    let done = apply(&w, &few, &confirmed).await;
    assert_eq!(
        (done.deleted.len(), done.remaining, done.confirm),
        (21, 0, None)
    );
    assert_eq!(names(&w).await.len(), 9);
    let nonsense = Apply {
        confirm: Some("yes".to_owned()),
        ..prune()
    };
    let wrong = w
        .control
        .apply(&Definitions::from(many(8)), &nonsense)
        .await
        .unwrap_err();
    assert!(matches!(wrong, Error::Invalid { field, .. } if field == "confirm"));
}

#[tokio::test]
async fn a_list_without_tasks_is_asked_about() {
    let w = world();
    apply(&w, &owned("", &["a", "b"]), &Apply::default()).await;
    apply(&w, &owned("ops", &["o"]), &Apply::default()).await;
    let nothing = Definitions::default();
    let told = conflict(w.control.apply(&nothing, &prune()).await.unwrap_err());
    assert!(told.contains("delete 2 tasks (`a`, `b`)"), "{told}");
    // Nothing to delete is nothing to ask.
    apply(&w, &owned("nobody", &[]), &prune()).await;
    assert_eq!(names(&w).await.len(), 3);
}

#[tokio::test]
async fn a_long_prune_goes_on_where_it_stopped() {
    let w = world();
    apply(&w, &Definitions::from(many(1_200)), &Apply::default()).await;
    let few = Definitions::from(many(100));
    let mut how = Apply {
        patience: Duration::ZERO,
        dry_run: true,
        ..prune()
    };
    how.confirm = apply(&w, &few, &how).await.confirm;
    how.dry_run = false;
    let mut steps = Vec::new();
    loop {
        let diff = apply(&w, &few, &how).await;
        steps.push((diff.deleted.len(), diff.remaining));
        if diff.remaining == 0 {
            break;
        }
        // The old token named more than is left; the answer's names that.
        let told = conflict(w.control.apply(&few, &how).await.unwrap_err());
        assert!(told.contains("changed since"), "{told}");
        how.confirm = diff.confirm;
    }
    assert_eq!(steps, [(500, 600), (500, 100), (100, 0)]);
    assert_eq!(names(&w).await.len(), 100);
    assert_eq!(w.store.deletions().await.unwrap().unwrap().count, 1_100);
}

#[tokio::test]
async fn a_task_with_waiting_runs_is_asked_about() {
    let w = world();
    w.put(&spec("t", "0 * * * *")).await;
    w.control.trigger("t", None).await.unwrap();
    let told = conflict(w.control.delete_task("t", None).await.unwrap_err());
    assert!(
        told.contains("delete 1 task and cancel the run that waits for it (`t`)"),
        "{told}"
    );
    let look = w.control.deletion("t").await.unwrap();
    assert_eq!((look.waiting_runs, look.running_runs), (1, 0));
    // Another run came since.
    w.control.trigger("t", None).await.unwrap();
    let old = look.confirm.as_deref();
    conflict(w.control.delete_task("t", old).await.unwrap_err());
    let look = w.control.deletion("t").await.unwrap();
    assert_ne!(look.confirm.as_deref(), old);
    // One of them ends since: what is confirmed is still all that there is.
    let runs = w
        .control
        .runs(&RunQuery::default(), None, 10)
        .await
        .unwrap();
    w.control.cancel(runs.items[0].run.id).await.unwrap();
    let done = w
        .control
        .delete_task("t", look.confirm.as_deref())
        .await
        .unwrap();
    assert_eq!((done.waiting_runs, done.confirm), (1, None));
    let gone = w.control.trigger("t", None).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }));
}

#[tokio::test]
async fn history_stays_under_its_name() {
    let w = world();
    let list = async || {
        let query = RunQuery {
            task: Some("t".to_owned()),
            ..RunQuery::default()
        };
        let page = w.control.runs(&query, None, 10).await?;
        let rows = page.items.into_iter();
        let rows = rows.map(|row| (row.task, row.task_deleted_at.is_some()));
        Ok::<Vec<_>, Error>(rows.collect())
    };
    assert!(matches!(list().await.unwrap_err(), Error::NotFound { .. }));
    let first = w.put(&spec("t", "0 * * * *")).await;
    let run = w.control.trigger("t", None).await.unwrap().run;
    let token = w.control.deletion("t").await.unwrap().confirm;
    w.control.delete_task("t", token.as_deref()).await.unwrap();
    let name = Some("t".to_owned());
    assert_eq!(list().await.unwrap(), [(name.clone(), true)]);
    let story = w.control.run(run).await.unwrap();
    assert_eq!(
        (story.row.task.clone(), story.row.run.task),
        (name.clone(), Some(first.id))
    );
    // The name is another task's now: both are listed, and told apart.
    w.clock.advance(Duration::from_secs(60));
    w.put(&spec("t", "0 * * * *")).await;
    w.control.trigger("t", None).await.unwrap();
    assert_eq!(list().await.unwrap(), [(name.clone(), false), (name, true)]);
    w.control.delete_task("t", None).await.unwrap_err();
    assert_eq!(
        w.store
            .tasks_by_name(&["t".to_owned()])
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(at("12:00:00"), first.created_at);
}

#[tokio::test]
async fn names_that_a_path_or_a_command_line_would_misread_are_refused() {
    let w = world();
    let long = "x".repeat(201);
    for name in [
        ".", "..", ".hidden", "-rf", "end.", "", "a/b", "a%2e", "a b", "ä", "а", "a\0b", &long,
    ] {
        for refused in [
            w.control.put_task(&spec(name, "0 * * * *")).await.map(drop),
            w.control
                .apply(&owned("", &[name]), &Apply::default())
                .await
                .map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert!(
                matches!(&refused, Error::Invalid { field, .. } if field == "name"),
                "{name}: {refused}"
            );
        }
        for field in ["queue", "owner", "group", "calendars"] {
            let mut task = serde_json::to_value(spec("t", "0 * * * *")).unwrap();
            task[field] = name.into();
            let refused = w
                .control
                .put_task(&serde_json::from_value(task).unwrap())
                .await
                .unwrap_err();
            assert!(
                matches!(&refused, Error::Invalid { field: at, .. } if at == field),
                "{field} {name}: {refused}"
            );
        }
    }
    let longest = "x".repeat(200);
    for name in [
        "a..b", "_x", "1", "apply", "trigger", "why", "tasks", "x-", &longest,
    ] {
        w.put(&spec(name, "0 * * * *")).await;
    }
}
