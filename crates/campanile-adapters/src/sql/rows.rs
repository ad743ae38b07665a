//! Rows into values and back. One order of columns for a run, live or ended, shared by every statement that reads one.

use campanile_core::decide::ranges::ranges;
use campanile_core::id::{ClaimId, NodeId, OutboxId, RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::ask::Former;
use campanile_core::port::attempt::Spoiled;
use campanile_core::port::fire::Waiting;
use campanile_core::port::member::{Node, Progress};
use campanile_core::port::store::Error;
use campanile_core::run::{AttemptEnd, Origin, Reason, Run, RunSpec, State};
use campanile_core::task::{QueueName, Task};
use campanile_schedule::time::Timestamp;

use crate::sql::outbox;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// The columns that a live run and one in history have in common.
macro_rules! run_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".id, ",
            $table,
            ".task, ",
            $table,
            ".origin, ",
            $table,
            ".due_at, ",
            $table,
            ".ready_at, ",
            $table,
            ".queue, ",
            $table,
            ".priority, ",
            $table,
            ".state, ",
            $table,
            ".attempt, ",
            $table,
            ".failures, ",
            $table,
            ".losses, ",
            $table,
            ".epoch, ",
            $table,
            ".queued_at, ",
            $table,
            ".started_at, ",
            $table,
            ".worker, ",
            $table,
            ".claim, ",
            $table,
            ".cancel_requested, ",
            $table,
            ".error"
        )
    };
}
/// A live run in the order that [`Store::run_of`] reads.
macro_rules! live_run {
    () => {
        concat!(
            crate::sql::rows::run_columns!("run"),
            ", 0, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), run.limited, run.deadline_at"
        )
    };
}
/// A run in history, in the same order.
macro_rules! ended_run {
    () => {
        concat!(
            crate::sql::rows::run_columns!("run_history"),
            ", run_history.reason, run_history.finished_at, run_history.skipped_last, run_history.skipped_count,
              0, CAST(NULL AS BIGINT)"
        )
    };
}
pub(super) use {ended_run, live_run, run_columns};

/// In the column `limited`: the run needs permits, and waits its turn for them.
pub(super) const IN_TURN: i64 = 2;

/// Where the queue's number stands in those columns.
pub(super) const QUEUE_AT: usize = 5;

impl Store {
    /// Reads the columns of a run; its queue was learned before.
    pub(super) fn run_of(&self, row: &mut Row) -> Result<Run, Error> {
        let id = RunId::from_i64(row.int("run")?);
        let run = self.rest_of_run(id, row);
        run.map_err(|error| error.about(Spoiled::Run(id)))
    }

    fn rest_of_run(&self, id: RunId, row: &mut Row) -> Result<Run, Error> {
        const TABLE: &str = "run";
        let task = Some(row.int(TABLE)?)
            .filter(|raw| *raw != 0)
            .map(TaskId::from_i64);
        let origin = origin_of(row.int(TABLE)?)?;
        let due_at = Timestamp::from_ms(row.int(TABLE)?);
        let ready_at = Timestamp::from_ms(row.int(TABLE)?);
        let queue = self.queue_name(row.int(TABLE)?)?;
        let priority = small(row.int(TABLE)?)?;
        let state = known(State::from_i64(row.int(TABLE)?), "state")?;
        let attempt = small(row.int(TABLE)?)?;
        let failures = small(row.int(TABLE)?)?;
        let losses = small(row.int(TABLE)?)?;
        let epoch = row.int(TABLE)?;
        let queued_at = row.opt_int(TABLE)?.map(Timestamp::from_ms);
        let started_at = row.opt_int(TABLE)?.map(Timestamp::from_ms);
        let worker = row.opt_int(TABLE)?.map(NodeId::from_i64);
        let claim = row.opt_int(TABLE)?.map(ClaimId::from_i64);
        let cancel = match row.int(TABLE)? {
            0 => None,
            2 => Some(Reason::Replaced),
            _ => Some(Reason::Requested),
        };
        let error = row.opt_text(TABLE)?;
        let reason = known(Reason::from_i64(row.int(TABLE)?), "reason")?;
        let finished_at = row.opt_int(TABLE)?.map(Timestamp::from_ms);
        let skipped_last = row.opt_int(TABLE)?.map(Timestamp::from_ms);
        let skipped_count = row.opt_int(TABLE)?;
        let (limited, in_turn) = match row.int(TABLE)? {
            0 => (false, false),
            IN_TURN => (true, true),
            _ => (true, false),
        };
        let deadline_at = row.opt_int(TABLE)?.map(Timestamp::from_ms);
        let skipped = skipped_last.zip(skipped_count.and_then(|n| u64::try_from(n).ok()));
        Ok(Run {
            id,
            task,
            origin,
            due_at,
            ready_at,
            queue,
            priority,
            state,
            reason,
            attempt,
            failures,
            losses,
            epoch,
            queued_at,
            started_at,
            finished_at,
            worker,
            claim,
            cancel,
            limited,
            in_turn,
            deadline_at,
            error,
            skipped,
        })
    }

    /// Reads rows that hold a run each.
    pub(super) async fn runs_of(&self, rows: Vec<Row>) -> Result<Vec<Run>, Error> {
        self.learn_queues(&rows, QUEUE_AT).await?;
        let runs = rows.into_iter().map(|mut row| self.run_of(&mut row));
        self.noted(runs.collect())
    }

    /// Reads rows that hold a run and, behind it, what it carries of its own.
    pub(super) async fn waiting_of(&self, rows: Vec<Row>) -> Result<Vec<Waiting>, Error> {
        self.learn_queues(&rows, QUEUE_AT).await?;
        let waiting = rows.into_iter().map(|mut row| {
            Ok(Waiting {
                run: self.run_of(&mut row)?,
                spec: spec_of(&mut row)?.map(|(_, spec)| spec),
            })
        });
        self.noted(waiting.collect())
    }

    /// Counts what can't be read.
    pub(super) fn noted<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        if matches!(read, Err(Error::Corrupt { .. })) {
            self.pools.main.space.unread();
        }
        read
    }

    /// Those that can be read, for people who look at many: one that can't must not keep the others from being seen.
    /// `doctor` names it.
    pub(super) fn readable<T>(
        &self,
        all: impl Iterator<Item = Result<T, Error>>,
    ) -> Result<Vec<T>, Error> {
        let mut out = Vec::new();
        for one in all {
            match self.noted(one) {
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::debug!(%error, "left out of a list: failed to {error}");
                }
                one => out.push(one?),
            }
        }
        Ok(out)
    }
}

/// Reads the columns `run, handler, payload, rules` of a spec; `None` if there is no such row.
pub(super) fn spec_of(row: &mut Row) -> Result<Option<(RunId, RunSpec)>, Error> {
    const TABLE: &str = "run_spec";
    let (run, handler, payload, rules) = (
        row.opt_int(TABLE)?,
        row.opt_text(TABLE)?,
        row.opt_text(TABLE)?,
        row.opt_text(TABLE)?,
    );
    let Some(run) = run.map(RunId::from_i64) else {
        return Ok(None);
    };
    let spec = spec_from(handler.as_deref(), payload.as_deref(), rules.as_deref());
    let spec = spec.map_err(|error| error.about(Spoiled::Run(run)))?;
    Ok(Some((run, spec)))
}

fn spec_from(
    handler: Option<&str>,
    payload: Option<&str>,
    rules: Option<&str>,
) -> Result<RunSpec, Error> {
    const TABLE: &str = "run_spec";
    Ok(RunSpec {
        handler: handler.map(|text| from_json(text, TABLE)).transpose()?,
        payload: payload.map(|text| from_json(text, TABLE)).transpose()?,
        rules: rules.map(|text| from_json(text, TABLE)).transpose()?,
    })
}

/// The table parameter of specs: run, handler, payload, rules.
pub(super) fn spec_table<'a>(
    specs: impl Iterator<Item = (RunId, &'a RunSpec)> + Clone,
) -> Result<Table, Error> {
    let handlers = specs
        .clone()
        .map(|(_, spec)| spec.handler.as_ref().map(to_json).transpose());
    let payloads = specs
        .clone()
        .map(|(_, spec)| spec.payload.as_ref().map(to_json).transpose());
    let rules = specs
        .clone()
        .map(|(_, spec)| spec.rules.as_ref().map(to_json).transpose());
    Ok(Table::of(specs.map(|(run, _)| run.as_i64()))
        .texts(handlers.collect::<Result<Vec<_>, _>>()?)
        .texts(payloads.collect::<Result<Vec<_>, _>>()?)
        .texts(rules.collect::<Result<Vec<_>, _>>()?))
}

/// Reads `id, runs` of the outbox.
pub(super) fn outbox_of(row: &mut Row) -> Result<(OutboxId, Vec<(RunId, u32)>), Error> {
    const TABLE: &str = "outbox";
    let id = OutboxId::from_i64(row.int(TABLE)?);
    let bytes = row.bytes(TABLE);
    let bytes = bytes.map_err(|error| error.about(Spoiled::Outbox(id)))?;
    let runs = outbox::decode(&bytes).ok_or_else(|| Error::Corrupt {
        table: TABLE,
        row: Some(Spoiled::Outbox(id)),
        message: "its runs are cut short".to_owned(),
    })?;
    Ok((id, runs))
}

/// The table parameter of (first, last, attempt): runs whose ids follow one another, at one attempt, as one row.
pub(super) fn ranges_of(runs: &[(RunId, u32)]) -> Table {
    let runs = runs.iter().map(|(id, attempt)| (id.as_i64(), *attempt));
    let all = ranges(runs.collect());
    Table::of(all.iter().map(|r| r.first))
        .ints(all.iter().map(|r| r.last))
        .ints(all.iter().map(|r| i64::from(r.common)))
}

/// Reads `id, version, definition, created_at, updated_at, paused_from`.
pub(super) fn task_of(mut row: Row) -> Result<Task, Error> {
    read_task(&mut row)
}

/// Reads the same, and `deleted_at`.
pub(super) fn former_of(mut row: Row) -> Result<Former, Error> {
    Ok(Former {
        task: read_task(&mut row)?,
        deleted_at: Timestamp::from_ms(row.int("task")?),
    })
}

fn read_task(row: &mut Row) -> Result<Task, Error> {
    let id = TaskId::from_i64(row.int("task")?);
    let task = rest_of_task(id, row);
    task.map_err(|error| error.about(Spoiled::Task(id)))
}

fn rest_of_task(id: TaskId, row: &mut Row) -> Result<Task, Error> {
    const TABLE: &str = "task";
    Ok(Task {
        id,
        version: row.int(TABLE)?,
        spec: from_json(&row.text(TABLE)?, TABLE)?,
        created_at: Timestamp::from_ms(row.int(TABLE)?),
        updated_at: Timestamp::from_ms(row.int(TABLE)?),
        paused_from: row.opt_int(TABLE)?.map(Timestamp::from_ms),
    })
}

/// Reads `id, name, roles, queues, slots, busy, lease_ms, started_at, heartbeat_seq, heartbeat_at, version, abilities`. What a newer program announces and this one can't read counts as
/// nothing announced.
pub(super) fn node_of(mut row: Row) -> Result<Node, Error> {
    const TABLE: &str = "node";
    Ok(Node {
        id: NodeId::from_i64(row.int(TABLE)?),
        name: row.text(TABLE)?,
        roles: from_json(&row.text(TABLE)?, TABLE)?,
        queues: from_json::<Vec<QueueName>>(&row.text(TABLE)?, TABLE)?,
        slots: small(row.int(TABLE)?)?,
        busy: small(row.int(TABLE)?)?,
        lease: std::time::Duration::from_millis(small(row.int(TABLE)?)?),
        started_at: Timestamp::from_ms(row.int(TABLE)?),
        heartbeat_seq: row.int(TABLE)?,
        heartbeat_at: Timestamp::from_ms(row.int(TABLE)?),
        version: row.text(TABLE)?,
        abilities: row
            .opt_text(TABLE)?
            .and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// Reads `attempt, worker, started_at, finished_at, reason, error, class`.
pub(super) fn attempt_of(mut row: Row) -> Result<AttemptEnd, Error> {
    const TABLE: &str = "run_attempt";
    Ok(AttemptEnd {
        attempt: small(row.int(TABLE)?)?,
        worker: row.opt_int(TABLE)?.map(NodeId::from_i64),
        started_at: row.opt_int(TABLE)?.map(Timestamp::from_ms),
        finished_at: Timestamp::from_ms(row.int(TABLE)?),
        reason: known(Reason::from_i64(row.int(TABLE)?), "reason")?,
        error: row.opt_text(TABLE)?,
        class: row.opt_text(TABLE)?,
    })
}

/// What a run's last attempt left beside its log: what it returned, and how far it said that it was.
pub(super) fn left_of(
    run: RunId,
    mut row: Row,
) -> Result<(Option<String>, Option<Progress>), Error> {
    const TABLE: &str = "run_log";
    let attempt = small(row.int(TABLE)?)?;
    let result = row.opt_text(TABLE)?;
    let percent = row.opt_int(TABLE)?.unwrap_or_default();
    let message = row.opt_text(TABLE)?.unwrap_or_default();
    let progress = match row.opt_int(TABLE)? {
        Some(at) => Some(Progress {
            run,
            attempt,
            percent: small(percent)?,
            message,
            at: Timestamp::from_ms(at),
        }),
        None => None,
    };
    Ok((result, progress))
}

/// A number of ours in a narrower type.
pub(super) fn small<T: TryFrom<i64>>(raw: i64) -> Result<T, Error> {
    T::try_from(raw).map_err(|_| Error::Corrupt {
        table: "run",
        row: None,
        message: format!("the number {raw} is out of range"),
    })
}

/// Where a run comes from.
pub(super) fn origin_of(raw: i64) -> Result<Origin, Error> {
    known(Origin::from_i64(raw), "origin")
}

fn known<T>(value: Option<T>, column: &str) -> Result<T, Error> {
    value.ok_or_else(|| Error::Corrupt {
        table: "run",
        row: None,
        message: format!("a {column} that this version doesn't know"),
    })
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Refused(error.into()))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(
    text: &str,
    table: &'static str,
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt {
        table,
        row: None,
        message: error.to_string(),
    })
}

/// Text of a handler or a program, cut to its limit and without NUL, which PostgreSQL can't keep.
pub(super) fn clean(text: &str, bytes_max: usize) -> String {
    let cut = &text[..text.floor_char_boundary(bytes_max.min(text.len()))];
    if cut.contains('\0') {
        cut.replace('\0', "\u{fffd}")
    } else {
        cut.to_owned()
    }
}

/// An error's text as a row keeps it.
pub(super) fn clean_error(text: &str) -> String {
    clean(text, limits::ERROR_BYTES_MAX)
}
