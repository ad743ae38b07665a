//! The pool of threads: what is dropped, what is full, what panics.

use std::sync::mpsc;

use super::*;
use campanile_schedule::fuel::Spent;

/// Burns until it is stopped, and tells when it began and how it ended.
fn burn_on(
    begun: mpsc::Sender<()>,
    ended: mpsc::Sender<Result<(), Spent>>,
) -> impl FnOnce(&Fuel) + Send + 'static {
    move |fuel: &Fuel| {
        begun.send(()).unwrap();
        while fuel.burn() {
            std::hint::spin_loop();
        }
        ended.send(fuel.check()).unwrap();
    }
}

#[tokio::test]
async fn work_is_done_apart_and_answered() {
    let pool = Pool::with_threads(1).unwrap();
    let here = std::thread::current().id();
    let there = pool.run(|fuel| (fuel.burn(), std::thread::current().id()));
    let (burnt, there) = there.await.unwrap();
    assert!(burnt && there != here);
    let inline = Pool::inline();
    let there = inline.run(|_| std::thread::current().id()).await;
    assert_eq!(there, Ok(here));
}

#[tokio::test]
async fn who_goes_away_takes_his_work_along() {
    let pool = Pool::with_threads(1).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let asked = pool.clone();
    let asking =
        crate::system::spawn(async move { asked.run_with(u64::MAX, burn_on(begun, ended)).await });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();
    asking.abort();
    let end = tokio::task::spawn_blocking(move || has_ended.recv().unwrap());
    assert_eq!(end.await.unwrap(), Err(Spent::Cancelled));
    assert_eq!(pool.run(|_| 7).await, Ok(7), "the thread is free again");
}

#[tokio::test]
async fn a_full_queue_refuses_and_what_nobody_waits_for_makes_room() {
    let pool = Pool::with_threads(1).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (ended, _has_ended) = mpsc::channel();
    let asked = pool.clone();
    let hog =
        crate::system::spawn(async move { asked.run_with(u64::MAX, burn_on(begun, ended)).await });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();
    let mut waiting: Vec<_> = (0..limits::COMPUTE_QUEUE_MAX)
        .map(|n| Box::pin(pool.run(move |_| n)))
        .collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one).is_pending());
    }
    assert_eq!(pool.run(|_| 0).await, Err(Error::Busy));
    let mut own = Box::pin(pool.run_first(1, |_| 1));
    assert!(futures_util::poll!(&mut own).is_pending(), "never refused");
    drop(waiting.pop());
    let mut late = Box::pin(pool.run(|_| 99));
    assert!(futures_util::poll!(&mut late).is_pending());
    hog.abort();
    assert_eq!(own.await, Ok(1));
    assert_eq!(late.await, Ok(99));
}

#[tokio::test]
async fn closing_stops_what_runs_and_answers_what_waits() {
    let pool = Pool::with_threads(1).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let asked = pool.clone();
    let running =
        crate::system::spawn(async move { asked.run_with(u64::MAX, burn_on(begun, ended)).await });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();
    let mut waiting = Box::pin(pool.run(|_| 1));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    pool.close();
    assert_eq!(waiting.await, Err(Error::Stopping));
    let end = tokio::task::spawn_blocking(move || has_ended.recv().unwrap());
    assert_eq!(end.await.unwrap(), Err(Spent::Cancelled));
    assert!(running.await.unwrap().is_ok());
    assert_eq!(pool.run(|_| 1).await, Err(Error::Stopping));
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_thread_lives_on() {
    let pool = Pool::with_threads(1).unwrap();
    let died = pool.run(|fuel| assert!(!fuel.burn(), "on purpose")).await;
    assert_eq!(died, Err(Error::Died));
    assert_eq!(pool.run(|_| 7).await, Ok(7));
}
