//! What this leader makes of the store's clock, kept in the store while it is anything but right: so that whoever reads the
//! store alone can say it, and history is not removed early by the next leader. A duty of the leader. What it says, and
//! when it is worth a write, is decided in [`crate::decide::lead::clock_state`].

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::lead::clock_state::{ClockState, Settling};
use crate::decide::lead::jump::PutBack;
use crate::engine::lead::duty::{Duty, TermOver};
use crate::port::fire::Fired;
use crate::port::store::{CLOCK_STATE, Error};

/// How often it looks at this node's own watch.
const PERIOD: Duration = Duration::from_millis(250);
/// The wait after the store was too busy, or somebody's edit was quicker.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// Keeps it until the term ends.
pub async fn keep(duty: Arc<Duty>) {
    let _ = keep_for_ever(&duty).await;
}

async fn keep_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let mut kept = loop {
        match read(duty).await {
            Ok(kept) => break kept,
            Err(error) => {
                duty.failed(&error)?;
                duty.rest(BUSY_WAIT).await?;
            }
        }
    };
    loop {
        let state = seen(duty, kept.as_ref());
        if !state.is_news(kept.as_ref()) {
            duty.rest(PERIOD).await?;
            continue;
        }
        match write(duty, &state).await {
            Ok(Fired::Applied) => kept = Some(state),
            Ok(Fired::Edited) => duty.rest(BUSY_WAIT).await?,
            Ok(Fired::Fenced) => return Err(duty.fenced()),
            Err(error) => {
                duty.failed(&error)?;
                duty.rest(BUSY_WAIT).await?;
            }
        }
    }
}

async fn read(duty: &Duty) -> Result<Option<ClockState>, Error> {
    let text = duty.store.setting(CLOCK_STATE).await?;
    Ok(text.as_deref().and_then(ClockState::read))
}

fn seen(duty: &Duty, kept: Option<&ClockState>) -> ClockState {
    let time = &duty.shared.time;
    let settling = [time.settling(), kept.and_then(|kept| kept.settling)];
    let epoch = duty.leadership.term.epoch;
    ClockState::of(
        epoch,
        time.held(),
        time.behind_until(),
        settling,
        time.now(),
    )
}

async fn write(duty: &Duty, state: &ClockState) -> Result<Fired, Error> {
    let store = &duty.store;
    let write = PutBack {
        edits: store.leader().await?.edits,
        settings: vec![(CLOCK_STATE, state.text())],
        ..PutBack::default()
    };
    store.put_back(&duty.leadership.term, &write).await
}

/// The time by which history is removed: not by a step forward that has not stood for long, whoever followed it.
///
/// # Errors
/// The store's.
pub async fn time_of_removals(duty: &Duty) -> Result<Timestamp, Error> {
    let kept = read(duty).await?.and_then(|kept| kept.settling);
    // The time first: one that has stepped comes after its step is known.
    let now = duty.shared.time.now();
    let own = duty.shared.time.settling();
    Ok(Settling::time_of_removals(own.into_iter().chain(kept), now))
}
