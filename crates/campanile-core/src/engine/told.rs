//! A duty that panics ends its node: a node that only seems to live is worse than none. Owns how its death is told;
//! the process's end is its owner's.

use std::future::Future;

use tokio::sync::watch;

/// Runs a duty whose end nobody waits for, and tells if it panics.
pub async fn telling<F: Future>(failed: watch::Sender<bool>, duty: F) -> F::Output {
    let _told = TellsOfPanics(failed);
    duty.await
}

/// Dropped by a panic, it tells.
struct TellsOfPanics(watch::Sender<bool>);

impl Drop for TellsOfPanics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/decide/told_tests.rs"]
mod tests;
