//! What the engine's tests share: waiting for facts.

use std::time::Duration;

/// Waits until `fact` holds; panics with `what` after twenty seconds.
pub async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if fact() {
            return;
        }
        campanile_core::system::pause(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}
