//! Turns the store's rows and the handler's notes into the plain values that [`super::history`] judges, and judges them.
//! Owns how runs are read back; decides nothing.

use std::collections::HashMap;
use std::time::Duration;

use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::ask::RunFilter;
use campanile_core::port::store::{self, Store};
use campanile_core::run::{Origin, Run, State};
use campanile_core::system::pause;

use super::clock::{StoreClock, now_us, seconds_since};
use super::figures::{Percentiles, histogram};
use super::history::{self, Counts, Disagreement, Key, Row, Start};
use super::record::Noted;

/// How long runs may be under way before they are taken as they are.
const SETTLE_S: f64 = 20.0;

/// What a history came to.
#[derive(Debug)]
pub struct Verdict {
    /// What was counted.
    pub counts: Counts,
    /// Start minus instant, of every start; `None` without any.
    pub lateness: Option<Percentiles>,
    /// The same, part by part: see [`histogram`].
    pub histogram: Vec<(f64, usize)>,
    /// The earliest start's lateness in microseconds.
    pub first_us: Option<i64>,
}

/// The tasks of a workload: their numbers, by id and by name.
#[derive(Debug, Default)]
pub struct Numbers {
    by_id: HashMap<TaskId, u32>,
    by_name: HashMap<String, u32>,
}

impl Numbers {
    /// Of tasks in order.
    #[must_use]
    pub fn of(tasks: &[(TaskId, String)]) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            by_id: tasks
                .iter()
                .enumerate()
                .map(|(n, (id, _))| (*id, number(n)))
                .collect(),
            by_name: tasks
                .iter()
                .enumerate()
                .map(|(n, (_, name))| (name.clone(), number(n)))
                .collect(),
        }
    }
}

/// All runs that fit, live and finished.
///
/// # Errors
/// The store's.
pub async fn runs(store: &dyn Store, filter: &RunFilter) -> Result<Vec<Run>, store::Error> {
    let mut all: Vec<Run> = Vec::new();
    loop {
        let before = all.last().map(|r| r.id);
        let page = store.runs(filter, before, limits::PAGE_ROWS_MAX).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The same, once none of them is under way any more: an end is recorded a moment after its handler returned. Gives up
/// waiting after a while; what has not ended by then is seen as it is.
///
/// # Errors
/// The store's.
pub async fn settled_runs(store: &dyn Store, filter: &RunFilter) -> Result<Vec<Run>, store::Error> {
    let began = now_us();
    loop {
        let all = runs(store, filter).await?;
        let settled = all.iter().all(|r| r.state.is_terminal());
        if settled || seconds_since(began) > SETTLE_S {
            return Ok(all);
        }
        pause(Duration::from_millis(100)).await;
    }
}

/// Judges what was expected by rows and notes.
///
/// # Errors
/// Where the two witnesses differ.
pub fn verdict(
    expected: &[Key],
    rows: &[Run],
    notes: &[Noted],
    numbers: &Numbers,
    clock: &StoreClock,
) -> Result<Verdict, Disagreement> {
    let rows: Vec<Row> = rows.iter().map(|run| row(run, numbers)).collect();
    let keys: HashMap<_, Key> = rows.iter().map(|r| (r.run, r.key)).collect();
    let start = |noted: &Noted| Start {
        key: noted_key(noted, numbers, keys.get(&noted.run)),
        run: noted.run,
        attempt: noted.attempt,
        due_ms: noted.due_ms,
        latest_us: clock.latest_us(noted.at_us),
    };
    let starts: Vec<Start> = notes.iter().map(start).collect();
    let counts = history::judge(expected, &rows, &starts)?;
    let late: Vec<i64> = notes
        .iter()
        .map(|n| clock.at_us(n.at_us) - n.due_ms * 1_000)
        .collect();
    Ok(Verdict {
        counts,
        first_us: late.iter().min().copied(),
        histogram: histogram(&late),
        lateness: Percentiles::of_us(late),
    })
}

fn row(run: &Run, numbers: &Numbers) -> Row {
    let number = run.task.and_then(|id| numbers.by_id.get(&id));
    let key = match (run.origin, number) {
        (Origin::Schedule, Some(number)) => Key::Occurrence(*number, run.due_at.as_ms()),
        _ => Key::Run(run.id),
    };
    Row {
        key,
        run: run.id,
        attempt: run.attempt,
        losses: run.losses,
        succeeded: run.state == State::Succeeded,
        due_ms: run.due_at.as_ms(),
        started_ms: run
            .started_at
            .map(campanile_schedule::time::Timestamp::as_ms),
    }
}

/// By what the handler was told where that tells; whether a run was asked for, only its row says.
fn noted_key(noted: &Noted, numbers: &Numbers, row: Option<&Key>) -> Key {
    match (row, numbers.by_name.get(&noted.task)) {
        (Some(Key::Run(_)), _) | (_, None) => Key::Run(noted.run),
        (_, Some(number)) => Key::Occurrence(*number, noted.due_ms),
    }
}

#[cfg(test)]
mod tests {
    use campanile_core::decide::attempt as transitions;
    use campanile_core::id::RunId;
    use campanile_core::task::{HandlerSpec, TaskSpec};
    use campanile_schedule::time::Timestamp;

    use super::*;

    #[test]
    fn rows_and_notes_of_one_occurrence_meet_under_one_key() {
        let numbers = Numbers::of(&[(TaskId::from_i64(70), "bench-a".to_owned())]);
        let spec = TaskSpec::for_handler(HandlerSpec::Native("bench-noop".to_owned()));
        let mut run =
            transitions::request(RunId::from_i64(1), None, &spec, Timestamp::from_ms(5_000));
        run.task = Some(TaskId::from_i64(70));
        run.origin = Origin::Schedule;
        let noted = Noted {
            run: run.id,
            attempt: 1,
            due_ms: 5_000,
            at_us: 0,
            task: "bench-a".to_owned(),
        };
        let key = row(&run, &numbers).key;
        assert_eq!(key, Key::Occurrence(0, 5_000));
        assert_eq!(noted_key(&noted, &numbers, Some(&key)), key);
        run.origin = Origin::Request;
        let key = row(&run, &numbers).key;
        assert_eq!(key, Key::Run(run.id));
        assert_eq!(noted_key(&noted, &numbers, Some(&key)), key);
    }
}
