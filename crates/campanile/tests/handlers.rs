//! What handlers return, how they fail, what they say on the way.

use std::time::Duration;

use campanile::prelude::*;
use campanile::{Ended, Reason};

use crate::support::{Add, Endless, File, Large, Stubborn, soon, sum, until};

fn ended(error: Error) -> Ended {
    match error {
        Error::Ended(ended) => ended,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_handler_returns_is_what_who_waits_gets() {
    let file = File::new();
    let campanile = file.adder().await;
    let run = campanile.submit::<Add>(&sum(&[1, 2, 39])).await.unwrap();
    assert_eq!(soon("the sum", run.wait()).await.unwrap(), 42);
    // From the id alone, and again.
    let same = campanile.run::<Add>(run.id());
    assert_eq!(soon("the sum", same.wait()).await.unwrap(), 42);
    assert_eq!(same.state().await.unwrap(), State::Succeeded);
    let story = campanile.editor().run(run.id()).await.unwrap();
    assert_eq!(story.record.result.as_deref(), Some("42"));
    campanile.stop().await;
}

#[tokio::test]
async fn a_fatal_failure_ends_the_run_and_tells_why() {
    let campanile = Campanile::in_memory().handler(Add).start().await.unwrap();
    let retry = Retry {
        max_attempts: 5,
        ..Retry::default()
    };
    let run = campanile
        .submit::<Add>(&sum(&[]))
        .retry(retry)
        .await
        .unwrap();
    let end = ended(soon("the end", run.wait()).await.unwrap_err());
    assert_eq!((end.state, end.reason), (State::Failed, Reason::Error));
    assert_eq!(end.message.as_deref(), Some("there is nothing to add"));
    assert_eq!(
        Error::from(end).to_string(),
        format!(
            "run {} ended as failed (error): there is nothing to add",
            run.id()
        )
    );
    campanile.stop().await;
}

#[tokio::test]
async fn any_error_is_tried_again() {
    let campanile = Campanile::in_memory()
        .handler(Stubborn)
        .start()
        .await
        .unwrap();
    let retry = Retry {
        max_attempts: 3,
        ..Retry::default()
    };
    let good = campanile
        .submit::<Stubborn>(&3)
        .retry(retry.clone())
        .await
        .unwrap();
    let bad = campanile.submit::<Stubborn>(&9).retry(retry).await.unwrap();
    campanile.advance(Duration::from_secs(60)).await;
    assert_eq!(soon("the third attempt", good.wait()).await.unwrap(), 7);
    let end = ended(soon("the end", bad.wait()).await.unwrap_err());
    assert_eq!(
        end.message.as_deref(),
        Some("invalid digit found in string")
    );
    campanile.stop().await;
}

#[tokio::test]
async fn a_result_has_a_limit_that_the_failure_names() {
    const LIMIT: usize = 64 * 1024;
    let file = File::new();
    let campanile = Campanile::open(file.url())
        .handler(Large)
        .start()
        .await
        .unwrap();
    let largest = campanile.submit::<Large>(&LIMIT).await.unwrap();
    assert_eq!(
        soon("the largest", largest.wait()).await.unwrap().len(),
        LIMIT - 2
    );
    let too_large = campanile.submit::<Large>(&(LIMIT + 1)).await.unwrap();
    let end = ended(soon("the end", too_large.wait()).await.unwrap_err());
    let said = end.message.unwrap();
    assert!(
        said.contains("65537") && said.contains("at most 65536"),
        "{said}"
    );
    campanile.stop().await;
}

#[tokio::test]
async fn arguments_that_do_not_fit_fail_at_once() {
    /// `add` as another program knows it.
    struct Other;
    impl Handler for Other {
        const NAME: &'static str = "add";
        type Args = String;
        type Output = String;
        async fn run(&self, _: Context, text: String) -> Result<String, Failure> {
            Ok(text)
        }
    }
    let campanile = Campanile::in_memory().handler(Add).start().await.unwrap();
    let run = campanile
        .submit::<Other>(&"three".to_owned())
        .await
        .unwrap();
    let end = ended(soon("the end", run.wait()).await.unwrap_err());
    let said = end.message.unwrap();
    assert!(
        said.contains("the payload is not what `add` takes"),
        "{said}"
    );
    // And what it returns is not what the other program takes it for.
    let run = campanile.submit::<Add>(&sum(&[1])).await.unwrap();
    let id = run.id();
    soon("the end", run.wait()).await.unwrap();
    let wrong = campanile.run::<Other>(id).wait().await.unwrap_err();
    assert!(
        matches!(wrong, Error::Output { handler: "add", .. }),
        "{wrong:?}"
    );
    campanile.stop().await;
}

#[tokio::test]
async fn progress_is_shown_and_a_cancelled_run_is_told() {
    let file = File::new();
    let endless = Endless::default();
    let campanile = Campanile::open(file.url())
        .handler(endless.clone())
        .start()
        .await
        .unwrap();
    let run = campanile.submit::<Endless>(&()).await.unwrap();
    soon("the start", endless.begun.notified()).await;
    until("its progress is shown", async || {
        let detail = campanile.editor().run(run.id()).await.unwrap().record;
        detail
            .progress
            .is_some_and(|p| (p.attempt, p.percent, p.message.as_str()) == (1, 40, "nearly half"))
    })
    .await;
    run.cancel().await.unwrap();
    soon("the word to stop", endless.told.notified()).await;
    let end = ended(soon("the end", run.wait()).await.unwrap_err());
    assert_eq!(
        (end.state, end.reason),
        (State::Cancelled, Reason::Requested)
    );
    assert!(matches!(run.cancel().await, Err(Error::Refused(_))));
    campanile.stop().await;
}
