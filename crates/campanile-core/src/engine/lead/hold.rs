//! The hold of the cluster, as a leader keeps it: it fires and publishes nothing, and ends the hold when its end comes. What
//! was published before and refused by its claims goes out again then.

use std::time::Duration;

use crate::decide::lead::hold::Hold;
use crate::engine::lead::duty::{Duty, TermOver};
use crate::limits;
use crate::port::fire::Fired;

/// The wait before it looks again after it has ended a hold, or could not.
const AGAIN: Duration = Duration::from_millis(50);

/// Takes note of the hold that the store names, if it does. Answers how long to wait before the next look; `None` = nothing
/// is held.
///
/// # Errors
/// The term is over.
pub async fn keep(duty: &Duty, hold: Option<&Hold>) -> Result<Option<Duration>, TermOver> {
    note(duty, hold);
    let Some(hold) = hold else {
        return Ok(None);
    };
    let now = duty.shared.time.now();
    let Some(until) = hold.until.filter(|_| hold.is_over(now)) else {
        let left = hold.until.map(|until| until.since(now));
        return Ok(Some(
            left.unwrap_or(limits::SCAN_PERIOD).min(limits::SCAN_PERIOD),
        ));
    };
    match duty.store.end_hold(&duty.leadership.term, until).await {
        Ok(Fired::Applied) => {
            tracing::warn!("the hold of the cluster has come to its end: {}", hold.why);
        }
        // Somebody was quicker, or the store's clock is not there yet.
        Ok(Fired::Edited) => {}
        Ok(Fired::Fenced) => return Err(duty.fenced()),
        Err(error) => duty.failed(&error)?,
    }
    Ok(Some(AGAIN))
}

/// The same, without ending it.
pub fn note(duty: &Duty, hold: Option<&Hold>) {
    let now = duty.shared.time.now();
    if !duty.buffer.with(|d| d.hold(hold.is_some(), now)) {
        return;
    }
    duty.buffer.changed.notify_one();
    match hold {
        Some(hold) => tracing::warn!(
            by = hold.by,
            cause = hold.cause.as_str(),
            "the cluster is held: nothing fires, is published or is claimed until somebody ends it (`campanile hold end`){}: {}",
            hold.until
                .map_or_else(String::new, |until| format!(" or {until} has come")),
            hold.why
        ),
        None => tracing::info!("the cluster is not held any more"),
    }
}
