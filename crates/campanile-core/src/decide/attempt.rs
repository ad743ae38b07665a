//! The life of one run: each transition as a function from the row and the event to the new row, or `None` when the
//! row is not as the event expects (stale). The store's statements are these functions written as WHERE clauses; the
//! memory store and the model call them as they are.

mod backoff;
pub mod refusal;

pub use self::backoff::backoff;
use campanile_schedule::time::Timestamp;
pub use campanile_task::log;

use crate::decide::publish::routing::refusal_wait;
use crate::id::{ClaimId, NodeId, RunId};
use crate::limits;
use crate::port::attempt::{End, Finish};
use crate::port::edit::{Cancel, Moved};
use crate::port::handler::{Failure, Verdict};
use crate::run::{Origin, Reason, Run, State};
use crate::task::{Class, StartMode, Task, TaskSpec};

/// The run of an occurrence, born ready to be claimed once it is due.
#[must_use]
pub fn occurrence(id: RunId, task: &Task, due_at: Timestamp, epoch: i64) -> Run {
    let starts_at = due_at.plus(task.spec.jitter_offset());
    Run {
        task: Some(task.id),
        origin: Origin::Schedule,
        epoch,
        ready_at: starts_at,
        deadline_at: task.spec.start_deadline.map(|d| starts_at.plus(d)),
        ..blank(id, &task.spec, due_at)
    }
}

/// The row of one or more occurrences that do not run.
#[must_use]
pub fn skip(
    id: RunId,
    task: &Task,
    range: &crate::decide::occurrences::Skip,
    epoch: i64,
    now: Timestamp,
) -> Run {
    Run {
        task: Some(task.id),
        origin: Origin::Schedule,
        epoch,
        state: State::Skipped,
        reason: range.reason,
        finished_at: Some(now),
        skipped: Some((range.last, range.count)),
        ready_at: range.moved_to.unwrap_or(range.first),
        deadline_at: None,
        ..blank(id, &task.spec, range.first)
    }
}

/// The run of a past instant that somebody asked to have run after all.
#[must_use]
pub fn backfill(id: RunId, task: &Task, due_at: Timestamp, ready_at: Timestamp) -> Run {
    Run {
        task: Some(task.id),
        origin: Origin::Backfill,
        ready_at,
        priority: catch_up_priority(task.spec.priority),
        deadline_at: None,
        ..blank(id, &task.spec, due_at)
    }
}

/// What is caught up goes behind what is on time.
#[must_use]
pub const fn catch_up_priority(priority: u8) -> u8 {
    priority.saturating_sub(limits::CATCH_UP_PRIORITY_LOWER)
}

/// The run of a request, for now or later.
#[must_use]
pub fn request(id: RunId, task: Option<&Task>, spec: &TaskSpec, due_at: Timestamp) -> Run {
    Run {
        task: task.map(|t| t.id),
        origin: Origin::Request,
        ..blank(id, spec, due_at)
    }
}

fn blank(id: RunId, spec: &TaskSpec, due_at: Timestamp) -> Run {
    Run {
        deadline_at: spec.start_deadline.map(|d| due_at.plus(d)),
        ..Run::untouched(id, spec.queue.clone(), spec.priority, due_at)
    }
}

/// Whether the run waits to be claimed at this attempt: the guard of publishing, marking and claiming.
#[must_use]
pub fn waits(run: &Run, attempt: u32) -> bool {
    matches!(run.state, State::Scheduled | State::Queued) && run.attempt == attempt
}

/// Until when the run has to start; `None` once it has started. Refused and abandoned attempts have started nothing.
#[must_use]
pub fn start_deadline(run: &Run) -> Option<Timestamp> {
    run.deadline_at
        .filter(|_| run.attempt == 1 || run.started_at.is_none())
}

/// Whether the run may not start any more.
#[must_use]
pub fn is_past_deadline(run: &Run, now: Timestamp) -> bool {
    start_deadline(run).is_some_and(|t| t <= now)
}

/// When the leader has to look at a run that waits again: at its start, or at its deadline if that is earlier.
#[must_use]
pub fn look_at(run: &Run) -> Timestamp {
    start_deadline(run).map_or(run.ready_at, |t| t.min(run.ready_at))
}

/// The leader drops it: it waits at this attempt and never starts.
#[must_use]
pub fn drop_waiting(run: &Run, attempt: u32, reason: Reason, at: Timestamp) -> Option<Run> {
    waits(run, attempt).then(|| Run {
        state: State::Skipped,
        reason,
        finished_at: Some(at),
        ..run.clone()
    })
}

/// A later occurrence takes its place: it ends if it waits, or its worker is told to end it.
#[must_use]
pub fn replace(run: &Run, at: Timestamp) -> Option<Run> {
    if run.state == State::Running {
        return Some(Run {
            cancel: run.cancel.or(Some(Reason::Replaced)),
            ..run.clone()
        });
    }
    let waits = waits(run, run.attempt);
    drop_waiting(run, 1, Reason::Replaced, at).or_else(|| {
        waits.then(|| Run {
            state: State::Cancelled,
            reason: Reason::Replaced,
            finished_at: Some(at),
            ..run.clone()
        })
    })
}

/// The leader saw it published and unclaimed.
#[must_use]
pub fn mark_queued(run: &Run, attempt: u32, at: Timestamp) -> Option<Run> {
    (run.state == State::Scheduled && run.attempt == attempt).then(|| Run {
        state: State::Queued,
        queued_at: Some(at),
        ..run.clone()
    })
}

/// A worker wins it.
#[must_use]
pub fn claim(run: &Run, attempt: u32, claim: ClaimId, node: NodeId, now: Timestamp) -> Option<Run> {
    (waits(run, attempt) && run.ready_at <= now && !is_past_deadline(run, now)).then(|| Run {
        state: State::Running,
        claim: Some(claim),
        worker: Some(node),
        started_at: Some(now),
        ..run.clone()
    })
}

/// Whether the attempt runs under this claim, so that what it writes is kept: the guard of appending to its log.
#[must_use]
pub fn is_held(run: &Run, attempt: u32, claim: ClaimId) -> bool {
    run.state == State::Running && run.attempt == attempt && run.claim == Some(claim)
}

/// The holder of the claim (or the leader, for a holder that died) ends the attempt.
#[must_use]
pub fn finish(
    run: &Run,
    attempt: u32,
    claim: ClaimId,
    end: End,
    at: Timestamp,
    error: Option<&str>,
) -> Option<Run> {
    let abandoned = matches!(end, End::Abandoned { .. }) && waits(run, attempt);
    if !(is_held(run, attempt, claim) || abandoned) {
        return None;
    }
    let base = Run {
        error: error.map(cut_error).or_else(|| run.error.clone()),
        ..run.clone()
    };
    let ended = |state, reason| Run {
        state,
        reason,
        finished_at: Some(at),
        ..base.clone()
    };
    let failed = |reason| Run {
        failures: run.failures + u32::from(counts_as_failure(reason)),
        ..ended(State::Failed, reason)
    };
    Some(match end {
        End::Succeeded => Run {
            error: None,
            ..ended(State::Succeeded, Reason::None)
        },
        End::Failed(Reason::Lost) => Run {
            losses: run.losses + 1,
            ..ended(State::Failed, Reason::Lost)
        },
        End::Failed(reason) => failed(reason),
        End::Cancelled(Reason::Requested) => {
            ended(State::Cancelled, run.cancel.unwrap_or(Reason::Requested))
        }
        End::Cancelled(reason) => ended(State::Cancelled, reason),
        End::Again { ready_at, why } => Run {
            // It has started, and in time.
            deadline_at: None,
            ..again(base, ready_at, why)
        },
        End::Refused { ready_at } | End::Abandoned { ready_at } => Run {
            started_at: base.started_at.filter(|_| base.failures + base.losses > 0),
            ..again(base, ready_at, Reason::None)
        },
    })
}

/// Not before its instant, though the store's clock may have gone back since it started.
fn again(run: Run, ready_at: Timestamp, why: Reason) -> Run {
    Run {
        state: State::Scheduled,
        attempt: run.attempt + 1,
        ready_at: ready_at.max(run.due_at),
        failures: run.failures + u32::from(counts_as_failure(why)),
        losses: run.losses + u32::from(why == Reason::Lost),
        claim: None,
        queued_at: None,
        ..run
    }
}

/// Whether an end with this reason is a failure of the handler (and not a loss, a drain or a request).
#[must_use]
pub const fn counts_as_failure(reason: Reason) -> bool {
    matches!(reason, Reason::Error | Reason::Timeout | Reason::NotAllowed)
}

/// The broker has confirmed the message for a listener that does not answer.
#[must_use]
pub fn hand_over(run: &Run, attempt: u32, at: Timestamp) -> Option<Run> {
    waits(run, attempt).then(|| Run {
        state: State::Succeeded,
        reason: Reason::HandedOver,
        started_at: Some(at),
        finished_at: Some(at),
        ..run.clone()
    })
}

/// It is set aside: an attempt that ended under this claim; or, where it [`may wait`](crate::port::attempt::Thing::may_wait), a run
/// that waits.
#[must_use]
pub fn set_aside(run: &Run, attempt: u32, claim: Option<ClaimId>, may_wait: bool) -> Option<Run> {
    let held = claim.is_some() && run.state == State::Running && run.claim == claim;
    let as_seen = held && run.attempt == attempt || may_wait && waits(run, attempt);
    as_seen.then(|| Run {
        state: State::Quarantined,
        ..run.clone()
    })
}

/// What was set aside waits again, and not for its end: at another attempt, for its permits went back, and a message of
/// before must not start it beside who has them now. One that had been claimed has met its deadline.
#[must_use]
pub fn wait_again(run: &Run) -> Run {
    Run {
        state: State::Scheduled,
        attempt: run.attempt + 1,
        deadline_at: run.deadline_at.filter(|_| run.started_at.is_none()),
        ..run.clone()
    }
}

/// Somebody asks for the end: the answer, and the row if it changes.
#[must_use]
pub fn cancel(run: &Run, at: Timestamp) -> (Cancel, Option<Run>) {
    match run.state {
        State::Scheduled | State::Queued => (
            Cancel::Cancelled,
            Some(Run {
                state: State::Cancelled,
                reason: Reason::Requested,
                finished_at: Some(at),
                ..run.clone()
            }),
        ),
        State::Running => (
            Cancel::Requested,
            Some(Run {
                cancel: Some(Reason::Requested),
                ..run.clone()
            }),
        ),
        ended => (Cancel::Ended(ended), None),
    }
}

/// Somebody wants it to start at another instant: the answer, and the row if it changes. Only while it still waits for
/// its timer; `has_timer` says whether the timer is there. What is said of a deadline is said again from the new instant.
#[must_use]
pub fn move_to(run: &Run, has_timer: bool, to: Timestamp) -> (Moved, Option<Run>) {
    match run.state {
        State::Scheduled | State::Queued if run.attempt > 1 => {
            return (Moved::Started(run.state), None);
        }
        State::Scheduled if run.origin == Origin::Schedule => return (Moved::Occurrence, None),
        State::Scheduled if has_timer && run.epoch == 0 && !run.limited => {}
        State::Scheduled | State::Queued => return (Moved::Due, None),
        State::Running => return (Moved::Started(run.state), None),
        ended => return (Moved::Ended(ended), None),
    }
    let wait = |deadline: Timestamp| to.plus(deadline.since(run.ready_at));
    let moved = Run {
        // A backfill stands for an instant of the past, whenever it starts.
        due_at: if run.origin.is_request() {
            to
        } else {
            run.due_at
        },
        ready_at: to,
        deadline_at: run.deadline_at.map(wait),
        ..run.clone()
    };
    (Moved::Done, Some(moved))
}

/// The leader ends it, because its task was deleted while it waited.
#[must_use]
pub fn orphan(run: &Run, attempt: u32, at: Timestamp) -> Option<Run> {
    waits(run, attempt).then(|| Run {
        state: State::Cancelled,
        reason: Reason::TaskDeleted,
        finished_at: Some(at),
        ..run.clone()
    })
}

/// How an attempt ended, as the worker saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    /// The handler said why not.
    Failed(Failure),
    /// The task's timeout passed.
    TimedOut,
    /// It was stopped because somebody asked.
    Cancelled,
    /// It was stopped because the node drains: the attempt counts as neither failure nor loss.
    Drained,
    /// It was not started: the worker can't carry it out.
    Refused {
        why: String,
        /// Attempts before this one that neither failed nor were lost: refused ones, in the main.
        earlier: u32,
    },
}

impl Outcome {
    /// What kind of failure it is; `None` if it is none.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Failed(failure) => Some(failure.class().clone()),
            Self::TimedOut => Some(Class::Timeout),
            Self::Refused { .. } => Some(Class::NotAllowed),
            Self::Succeeded | Self::Cancelled | Self::Drained => None,
        }
    }
}

/// What an outcome means for the run: its end, or when the next attempt is due. `random` is uniform and gives the
/// back-off its jitter.
#[must_use]
pub fn conclude(
    outcome: &Outcome,
    spec: &TaskSpec,
    failures: u32,
    now: Timestamp,
    random: u64,
) -> End {
    let (why, may_help, least) = match outcome {
        Outcome::Succeeded => return End::Succeeded,
        Outcome::Cancelled => return End::Cancelled(Reason::Requested),
        Outcome::Refused { earlier, .. } => {
            return End::Refused {
                ready_at: now.plus(refusal_wait(*earlier)),
            };
        }
        Outcome::Drained if spec.start == StartMode::AtMostOnce => {
            return End::Failed(Reason::Lost);
        }
        Outcome::Drained => {
            return End::Again {
                ready_at: now,
                why: Reason::None,
            };
        }
        Outcome::Failed(failure) => {
            let why = match failure.verdict() {
                Verdict::NotAllowed => Reason::NotAllowed,
                Verdict::Retry | Verdict::Fatal => Reason::Error,
            };
            let may_help = failure.verdict() == Verdict::Retry;
            (why, may_help, failure.least_wait())
        }
        Outcome::TimedOut => (Reason::Timeout, true, None),
    };
    let class = outcome.class().unwrap_or_default();
    let none_left = spec.start == StartMode::AtMostOnce || failures + 1 >= spec.retry.max_attempts;
    if none_left || !spec.retry.takes(&class, may_help) {
        return End::Failed(why);
    }
    let wait = backoff(&spec.retry, failures, random);
    let least = least.unwrap_or_default().min(limits::RETRY_AFTER_MAX);
    End::Again {
        ready_at: now.plus(wait.max(least)),
        why,
    }
}

/// What the death of its worker means for a run. `spec` is its task's definition; a run whose task is gone may start
/// again, and its next claim will find that out.
#[must_use]
pub fn conclude_lost(start: StartMode, losses: u32, now: Timestamp) -> End {
    if start == StartMode::AtMostOnce || losses + 1 >= limits::LOSSES_MAX {
        End::Failed(Reason::Lost)
    } else {
        End::Again {
            ready_at: now,
            why: Reason::Lost,
        }
    }
}

/// How runs of a task may start, as far as losses go: one that says that lost runs are not tried again may start them once.
#[must_use]
pub fn if_lost(spec: &TaskSpec) -> StartMode {
    if spec.retry.takes_lost() {
        spec.start
    } else {
        StartMode::AtMostOnce
    }
}

/// The end that the leader writes for a run whose worker died, under the claim that died with it. A run whose end was
/// asked for is not started again. `None` for a row without a claim.
#[must_use]
pub fn lose(run: &Run, start: StartMode, now: Timestamp) -> Option<Finish> {
    let end = if run.cancel.is_some() {
        End::Cancelled(Reason::Requested)
    } else {
        conclude_lost(start, run.losses, now)
    };
    Some(Finish {
        run: run.id,
        attempt: run.attempt,
        claim: run.claim?,
        end,
        at: now,
        error: Some("its worker was lost".to_owned()),
        class: Some(Class::Lost),
        log: None,
        result: None,
        limited: run.limited,
    })
}

fn cut_error(text: &str) -> String {
    text[..text.floor_char_boundary(limits::ERROR_BYTES_MAX.min(text.len()))].to_owned()
}

#[cfg(test)]
#[path = "../../tests/decide/attempt_tests.rs"]
mod tests;
