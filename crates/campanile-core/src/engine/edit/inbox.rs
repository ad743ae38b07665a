//! The inbox is emptied: a duty of the leader, batch by batch, under the fence. Programs leave requests there inside
//! transactions of their own, and nobody is told when those commit; so it is looked into, twice a second. What becomes of
//! a row is decided in [`crate::decide::edit::inbox`].

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::check_name;

use crate::causes;
use crate::decide::attempt::refusal::Parts;
use crate::decide::edit::inbox::{
    Became, Decided, Decision, Drained, Inbox, Settled, decide, open,
};
use crate::engine::lead::duty::{Duty, TermOver};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::store::Error;
use crate::task::Task;

/// How often it is looked into.
const PERIOD: Duration = Duration::from_millis(500);
/// The wait after the store was too busy.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// Takes out what is left in the inbox until the term ends.
pub async fn empty(duty: Arc<Duty>) {
    let _ = empty_for_ever(&duty).await;
}

async fn empty_for_ever(duty: &Duty) -> Result<(), TermOver> {
    loop {
        let wait = match duty.store.inbox().await {
            Ok(inbox) if inbox.rows.is_empty() => PERIOD,
            // There may be more: it is looked into again at once.
            Ok(inbox) => batch(duty, &inbox).await?,
            Err(error) => {
                duty.put_off("to show the inbox", &error)?;
                PERIOD
            }
        };
        duty.rest(wait).await?;
    }
}

/// Takes rows out. Answers how long to wait before the next look.
async fn batch(duty: &Duty, inbox: &Inbox) -> Result<Duration, TermOver> {
    let mut settlings = match decided(duty, inbox).await {
        Ok(settlings) => settlings,
        Err(error) => {
            duty.put_off("to name the tasks of the inbox", &error)?;
            return Ok(BUSY_WAIT);
        }
    };
    let mut parts = Parts::of(settlings.len());
    while let Some(part) = parts.take() {
        match drain(duty, inbox.edits, &settlings[part.clone()]).await? {
            Ok(true) => {}
            Ok(false) => return Ok(Duration::ZERO),
            Err(error) if error.is_refusal() => {
                let Some(alone) = parts.refused(&part) else {
                    continue;
                };
                let refused = Decided::Refused(format!("the store refuses it: {}", causes(&error)));
                settlings[alone].decided = refused;
                if let Err(error) = drain(duty, inbox.edits, &settlings[alone..=alone]).await? {
                    duty.put_off("to take a row out of the inbox", &error)?;
                    return Ok(PERIOD);
                }
            }
            Err(error) => {
                duty.failed(&error)?;
                return Ok(BUSY_WAIT);
            }
        }
    }
    Ok(Duration::ZERO)
}

async fn decided(duty: &Duty, inbox: &Inbox) -> Result<Vec<Decision>, Error> {
    let opened: Vec<_> = inbox.rows.iter().map(open).collect();
    let named = opened.iter().filter_map(|row| {
        let request = row.request.as_ref().ok()?;
        request.task.clone()
    });
    // What can't be a name is no task's, and not every store can be asked for it.
    let mut names: Vec<String> = named
        .filter(|name| check_name("task", name).is_ok())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut tasks: Vec<Task> = Vec::new();
    for chunk in names.chunks(limits::PAGE_ROWS_MAX) {
        tasks.extend(duty.store.tasks_by_name(chunk).await?);
    }
    tasks.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let now = duty.shared.time.now();
    let ids = duty.shared.mint.runs(now, opened.len());
    let rows = opened.into_iter().zip(ids);
    Ok(rows.map(|(row, id)| decide(row, &tasks, id, now)).collect())
}

/// Whether the rows are taken out; no, if tasks were edited since the look.
async fn drain(
    duty: &Duty,
    edits: i64,
    rows: &[Decision],
) -> Result<Result<bool, Error>, TermOver> {
    let (term, now) = (&duty.leadership.term, duty.shared.time.now());
    Ok(match duty.store.drain(term, edits, rows, now).await {
        Ok(Drained::Done(settled)) => {
            tell(duty, &settled);
            Ok(true)
        }
        Ok(Drained::Edited) => Ok(false),
        Ok(Drained::Fenced) => return Err(duty.fenced()),
        Err(error) => Err(error),
    })
}

fn tell(duty: &Duty, settled: &[Settled]) {
    for Settled { id, became, .. } in settled {
        match became {
            Became::Run(_) | Became::Duplicate(_) => {}
            Became::Conflict(run) => tracing::warn!(
                row = id, %run,
                "row {id} of the inbox became no run: its key is run {run}'s, which was asked for with other content"
            ),
            Became::Refused(why) => {
                tracing::warn!(row = id, "row {id} of the inbox became no run: {why}");
            }
        }
    }
    let refused = settled
        .iter()
        .filter(|s| !matches!(s.became, Became::Run(_)));
    let refused = refused.count();
    Metrics::add(&duty.shared.metrics.inbox_runs, settled.len() - refused);
    Metrics::add(&duty.shared.metrics.inbox_others, refused);
    if refused < settled.len() {
        duty.shared.wake.notify_one();
    }
}
