//! The cluster of one in a test's process: its time passes when the test says so, and nothing on the way is left out.

use std::time::Duration;

use campanile::prelude::*;

use crate::support::{Add, Endless, Sum, soon};

const HOUR: Duration = Duration::from_secs(3_600);

fn one() -> Sum {
    Sum { of: vec![1] }
}

/// The instants of a task's runs, oldest first, without the date.
async fn instants(campanile: &Campanile, task: &str) -> Vec<String> {
    let query = campanile_ask::RunQuery {
        task: Some(task.to_owned()),
        ..Default::default()
    };
    let page = campanile.editor().runs(&query, None, 100).await.unwrap();
    let ended = page
        .items
        .iter()
        .rev()
        .filter(|row| row.run.state == State::Succeeded);
    ended
        .map(|row| row.run.due_at.to_string()[11..16].to_owned())
        .collect()
}

#[tokio::test]
async fn time_stands_still_until_it_is_moved_and_then_stops_at_each_instant() {
    let campanile = Campanile::in_memory().handler(Add).start().await.unwrap();
    let start = campanile.time();
    assert_eq!(start.to_string(), "2026-01-01T00:00:00.000Z");
    assert_eq!(campanile.now().await.unwrap(), start);
    let task = campanile
        .task::<Add>("hourly")
        .cron("0 * * * *")
        .payload(&one());
    assert_eq!(task.apply().await.unwrap().created, ["hourly"]);
    campanile.advance(HOUR * 3).await;
    assert_eq!(campanile.time(), start.plus(HOUR * 3));
    assert_eq!(
        instants(&campanile, "hourly").await,
        ["01:00", "02:00", "03:00"]
    );
    campanile.advance(HOUR - Duration::from_millis(1)).await;
    assert_eq!(instants(&campanile, "hourly").await.len(), 3);
    campanile.advance(Duration::from_millis(1)).await;
    assert_eq!(
        instants(&campanile, "hourly").await.last().unwrap(),
        "04:00"
    );
    campanile.stop().await;
}

#[tokio::test]
async fn every_way_to_say_when() {
    let campanile = Campanile::in_memory().handler(Add).start().await.unwrap();
    let at = campanile.time().plus(Duration::from_secs(5_400));
    let task = |name: &'static str| campanile.task::<Add>(name).payload(&one());
    task("zoned")
        .cron("30 2 * * *")
        .zone("Europe/Berlin")
        .apply()
        .await
        .unwrap();
    task("often")
        .every(Duration::from_secs(1_800))
        .apply()
        .await
        .unwrap();
    task("once").at(at).apply().await.unwrap();
    task("asked")
        .queue("default")
        .misfire(Misfire::Skip)
        .overlap(Overlap::Skip)
        .apply()
        .await
        .unwrap();
    campanile.advance(HOUR * 2).await;
    assert_eq!(instants(&campanile, "zoned").await, ["01:30"]);
    assert_eq!(
        instants(&campanile, "often").await,
        ["00:30", "01:00", "01:30", "02:00"]
    );
    assert_eq!(instants(&campanile, "once").await, ["01:30"]);
    assert_eq!(instants(&campanile, "asked").await, [""; 0]);
    let run = campanile.trigger::<Add>("asked").await.unwrap();
    assert_eq!(soon("the sum", run.wait()).await.unwrap(), 1);
    // Applied again, it is as it was.
    let again = task("often")
        .every(Duration::from_secs(1_800))
        .apply()
        .await
        .unwrap();
    assert_eq!(again.unchanged, ["often"]);
    campanile.stop().await;
}

#[tokio::test]
async fn what_a_task_says_wrong_is_refused_with_its_field() {
    let campanile = Campanile::in_memory().handler(Add).start().await.unwrap();
    let wrong = campanile
        .task::<Add>("x")
        .cron("61 * * * *")
        .apply()
        .await
        .unwrap_err();
    let said = wrong.to_string();
    assert!(
        said.contains("task `x`: schedule") || said.contains("schedule:"),
        "{said}"
    );
    let wrong = campanile
        .task::<Add>("x")
        .cron("* * * * *")
        .zone("Mars/Olympus")
        .apply()
        .await;
    assert!(wrong.unwrap_err().to_string().contains("timezone"));
    campanile.stop().await;
}

#[tokio::test]
async fn a_run_starts_at_its_instant_and_its_key_stands_for_it() {
    let campanile = Campanile::in_memory().handler(Add).start().await.unwrap();
    let at = campanile.time().plus(HOUR);
    let submit = || {
        campanile
            .submit::<Add>(&Sum { of: vec![2, 3] })
            .at(at)
            .key("order-17")
    };
    let run = submit().await.unwrap();
    assert_eq!(submit().await.unwrap().id(), run.id());
    let other = campanile.submit::<Add>(&one()).at(at).key("order-17").await;
    assert!(other.unwrap_err().to_string().contains("order-17"));
    campanile.advance(HOUR - Duration::from_millis(1)).await;
    assert_eq!(run.state().await.unwrap(), State::Scheduled);
    campanile.advance(Duration::from_millis(1)).await;
    assert_eq!(soon("the sum", run.wait()).await.unwrap(), 5);
    campanile.stop().await;
}

#[tokio::test]
async fn a_handler_that_goes_on_does_not_hold_the_time_up() {
    let endless = Endless::default();
    let campanile = Campanile::in_memory()
        .handler(endless.clone())
        .handler(Add)
        .start()
        .await
        .unwrap();
    let run = campanile
        .submit::<Endless>(&())
        .timeout(HOUR)
        .await
        .unwrap();
    soon("the start", endless.begun.notified()).await;
    campanile.advance(HOUR - Duration::from_secs(60)).await;
    assert_eq!(run.state().await.unwrap(), State::Running);
    campanile.advance(Duration::from_secs(60)).await;
    soon("the word to stop", endless.told.notified()).await;
    campanile.advance(Duration::from_secs(60)).await;
    let end = soon("the end", run.wait()).await.unwrap_err();
    assert!(end.to_string().contains("(timeout)"), "{end}");
    campanile.stop().await;
}
