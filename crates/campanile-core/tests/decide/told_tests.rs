//! What is told once, and what is told again when it has changed since then.

use super::*;

#[tokio::test]
async fn a_duty_that_panics_is_told_of_and_one_that_ends_is_not() {
    let failed = watch::Sender::new(false);
    let ended = crate::system::spawn(telling(failed.clone(), async { 1 }));
    assert_eq!((ended.await.unwrap(), *failed.borrow()), (1, false));
    let died = crate::system::spawn(telling(failed.clone(), async { panic!("on purpose") }));
    let ended: Result<(), _> = died.await;
    assert!(ended.unwrap_err().is_panic() && *failed.borrow());
}
