//! What is said of a task that is silent though its schedule says otherwise: in its row, in the list, and by `why`.

use std::time::Duration;

use campanile_ask::Verdict;
use campanile_conformance::somebody;
use campanile_core::port::ask::AskCluster as _;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::attempt::AttemptStore as _;
use campanile_core::port::attempt::{Aside, Thing};
use campanile_core::port::clock::Clock as _;
use campanile_core::port::edit::EditStore as _;

use campanile_core::task::{StartMode, Task};

use crate::control::{World, at, spec};

/// What the task's own row says; the list says the same.
async fn warning(w: &World, name: &str) -> Option<String> {
    let own = w.control.task(name).await.unwrap().warning;
    let page = w
        .control
        .tasks(&TaskFilter::default(), None, 10)
        .await
        .unwrap();
    let listed = page.items.into_iter().find(|t| t.task.spec.name == name);
    assert_eq!(listed.unwrap().warning, own, "the list and the row agree");
    // No worker lives here, which is said of each task as well, at the end.
    let said = own?;
    let told = said.split("nobody listens on queue").next()?;
    let told = told.trim_end_matches("; ");
    (!told.is_empty()).then(|| told.to_owned())
}

/// A world whose clock has been read, with a task of each minute, one that is paused and one without a schedule.
async fn minutely() -> (World, Task) {
    let w = crate::control::world();
    let task = w.put(&spec("m", "* * * * *")).await;
    w.put(&spec("rests", "* * * * *")).await;
    w.control.pause("rests").await.unwrap();
    let mut never = spec("never", "* * * * *");
    never.schedule = None;
    w.put(&never).await;
    assert_eq!(warning(&w, "m").await, None, "the clock is right");
    (w, task)
}

#[tokio::test]
async fn a_step_forward_that_is_held_is_said_by_each_task_that_it_concerns_until_it_is_taken_back()
{
    let (w, _) = minutely().await;
    w.clock.step_wall(at("14:00:00"));
    w.clock.advance(Duration::from_secs(11));
    // Somebody reads the store's clock, as every node does all the time.
    w.control.stats().await.unwrap();
    let said = warning(&w, "m").await.unwrap();
    assert!(
        said.starts_with("the store's clock stepped forward by "),
        "{said}"
    );
    assert!(
        said.contains("three readings over ten seconds agree"),
        "{said}"
    );
    assert_eq!(warning(&w, "rests").await, None);
    assert_eq!(warning(&w, "never").await, None);
    let why = w.control.why("m", "next").await.unwrap();
    let told = why
        .sentences
        .iter()
        .any(|s| s.starts_with("The store's clock stepped forward by "));
    assert!(told, "{why:?}");
    w.clock.step_wall(at("12:00:22"));
    w.clock.advance(Duration::from_secs(11));
    w.control.stats().await.unwrap();
    assert_eq!(warning(&w, "m").await, None, "it was taken back");
}

#[tokio::test]
async fn a_silence_after_a_step_back_is_said_with_its_end() {
    let (w, _) = minutely().await;
    w.clock.advance(Duration::from_secs(600));
    w.control.stats().await.unwrap();
    w.clock.step_wall(at("12:00:00"));
    w.clock.advance(Duration::from_secs(11));
    w.control.stats().await.unwrap();
    // Its due row lies before the end: it fires at its instant, which nobody has answered.
    assert_eq!(warning(&w, "m").await, None);
    w.put(&spec("new", "* * * * *")).await;
    let said = warning(&w, "new").await.unwrap();
    assert!(said.starts_with("silent until 2026-11-22"), "{said}");
    assert!(said.contains("12:10"), "{said}");
    assert!(
        said.contains("the store's clock went back and is there again in "),
        "{said}"
    );
    assert_eq!(warning(&w, "rests").await, None);
    assert_eq!(warning(&w, "never").await, None);
    let why = w.control.why("new", "next").await.unwrap();
    let told = why
        .sentences
        .iter()
        .any(|s| s.starts_with("It is silent until 2026-11-22"));
    assert!(told, "{why:?}");
    w.clock.advance(Duration::from_secs(660));
    assert_eq!(warning(&w, "new").await, None, "it is where it was");
    w.control.stats().await.unwrap();
    assert_eq!(warning(&w, "new").await, None, "and was seen to be");
}

#[tokio::test]
async fn a_task_whose_next_occurrence_is_set_aside_says_so_and_how_to_go_on() {
    let (w, task) = minutely().await;
    let due = w.due(&task).await.unwrap();
    let aside = Aside {
        thing: Thing::Due(World::key(&task, due)),
        at: at("12:00:00"),
        error: "a constraint says no".to_owned(),
    };
    assert!(w.store.set_aside(&aside).await.unwrap().is_applied());
    let said = warning(&w, "m").await.unwrap();
    let id = w.store.quarantine(None, 10).await.unwrap()[0].id;
    for part in [
        "it stands still since 2026-11-22",
        "its occurrence of 2026-11-22",
        "(a constraint says no)",
        &format!("`campanile quarantine release {id}`"),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    w.clock.advance(Duration::from_secs(120));
    let why = w.control.why("m", "12:01").await.unwrap();
    assert!(
        why.sentences[0].contains("is set aside: the task stands still"),
        "{why:?}"
    );
    assert_ne!(why.verdict, Verdict::NoRecord);
    w.store
        .release(somebody(), id, due, StartMode::default())
        .await
        .unwrap();
    assert_eq!(warning(&w, "m").await, None);
}

#[tokio::test]
async fn who_has_just_started_and_doubts_the_clock_writes_nothing_by_its_own_time() {
    let w = crate::control::world();
    let task = w.put(&spec("m", "* * * * *")).await;
    // Another process, whose wall clock is an hour behind: it begins there, and does not follow the store's at once.
    let behind = w.clock.now().minus(Duration::from_secs(3_600));
    let late = w.another(Some(behind));
    let refused = late.pause("m").await.unwrap_err().to_string();
    assert!(refused.contains("3600 s ahead of its own"), "{refused}");
    let refused = late.trigger("m", None).await.unwrap_err().to_string();
    assert!(refused.contains("ask another node"), "{refused}");
    assert_eq!(late.task("m").await.unwrap().task, task, "it still answers");
    // Once the clock has been seen to be right for a while, it takes part.
    for _ in 0..4 {
        w.clock.advance(Duration::from_secs(4));
        late.leader().await.unwrap();
    }
    late.pause("m").await.unwrap();
}
