//! Where a due row may be put, since the leader plans a little ahead of the instants: what has its run already is passed
//! over. Asked by all that put a due row elsewhere; it writes nothing.

use std::time::Duration;

use crate::id::TaskId;
use crate::port::store::{Error, Store};
use crate::schedule::Timetable;
use crate::time::Timestamp;

/// Instants up to this far ahead may have been planned already: they are looked up before a due row is put on one.
pub(super) const PLANNED_AHEAD: Duration = Duration::from_secs(10);

/// The first instant of a timetable, from `first` on, behind all that have a run or skip already: the leader plans a
/// little ahead, and an instant has one run. A new schedule that shares an instant with the old one begins behind it.
///
/// # Errors
/// The store's.
pub async fn first_unplanned(
    store: &dyn Store,
    task: TaskId,
    timetable: &Timetable,
    first: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let (mut at, mut unplanned) = (first, first);
    while let Some(instant) = at.filter(|t| *t <= now.plus(PLANNED_AHEAD)) {
        at = timetable.next(instant).map(|event| event.at);
        if store.occurrence(task, instant).await?.is_some() {
            unplanned = at;
        }
    }
    Ok(unplanned)
}
