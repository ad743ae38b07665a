//! The sentences of an answer to "why": what a row, a definition or a deletion says about an instant, on the wall of the
//! task's zone. Reads nothing and decides nothing but the verdict that the sentences mean.

use campanile_schedule::time::{Timestamp, format_duration};

use crate::runs::RunRow;
use crate::why::look::Seen;
use crate::why::{Verdict, Why};
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::{Pause, Task};
use campanile_schedule::What;
use campanile_schedule::instant::show;

/// What the row of the instant says.
pub(super) fn told_by_row(
    row: &RunRow,
    task: &Task,
    at: Timestamp,
    now: Timestamp,
    held_back: Option<&str>,
) -> (Verdict, Vec<String>) {
    let run = &row.run;
    let zone = &task.spec.timezone;
    let told_at = show(at, zone);
    let worker = row
        .worker
        .clone()
        .or_else(|| run.worker.map(|id| id.to_string()));
    let by = worker.map_or(String::new(), |w| format!(" on worker `{w}`"));
    let late = run.lateness_ms().unwrap_or(0);
    let mut said = Vec::new();
    let verdict = match run.state {
        State::Quarantined => {
            said.push(format!(
                "Run {} of {told_at} is set aside: the store refused to record what became of it. `campanile quarantine \
                 list` says why; mend that, then `campanile quarantine release ID`.",
                run.id
            ));
            Verdict::Quarantined
        }
        State::Skipped => {
            said.push(skipped_sentence(row, task, at));
            Verdict::Skipped
        }
        State::Cancelled if run.started_at.is_none() => {
            let why = match run.reason {
                Reason::TaskDeleted => "because its task was deleted",
                Reason::Replaced => "because a later occurrence took its place",
                _ => "because somebody asked",
            };
            said.push(format!(
                "Run {} of {told_at} was cancelled before it started, {why}.",
                run.id
            ));
            Verdict::Cancelled
        }
        State::Scheduled | State::Queued => {
            let when = waits_for(run, zone, now, held_back);
            said.push(format!(
                "Run {} of {told_at} has not started: {when}.",
                run.id
            ));
            Verdict::Waiting
        }
        _ => {
            said.push(format!(
                "Run {} of {told_at} started {late} ms after its instant{by}, at attempt {}.",
                run.id, run.attempt
            ));
            said.push(ended_sentence(row, zone));
            Verdict::Ran
        }
    };
    if let Some(error) = &run.error {
        said.push(format!("Its last error: {error}"));
    }
    (verdict, said)
}

/// What a run that has not started waits for.
fn waits_for(run: &Run, zone: &str, now: Timestamp, held_back: Option<&str>) -> String {
    if let Some(held_back) = held_back {
        let due = format_duration(now.since(run.ready_at));
        format!("it has been due for {due} and waits for {held_back}")
    } else if run.attempt > 1 {
        format!(
            "attempt {} may start at {}, after {} failed and {} lost{}",
            run.attempt,
            show(run.ready_at, zone),
            run.failures,
            run.losses,
            match (run.attempt - 1).saturating_sub(run.failures + run.losses) {
                0 => String::new(),
                n => format!(", and {n} given back without a start or by a worker that stopped"),
            }
        )
    } else if run.ready_at > now {
        format!("it is due at {}", show(run.ready_at, zone))
    } else {
        format!(
            "it has been due for {} and waits in queue `{}` for a worker",
            format_duration(now.since(run.ready_at)),
            run.queue
        )
    }
}

fn ended_sentence(row: &RunRow, zone: &str) -> String {
    let run = &row.run;
    let end = run
        .finished_at
        .map_or(String::new(), |t| format!(" at {}", show(t, zone)));
    match (run.state, run.reason) {
        (State::Succeeded, Reason::HandedOver) => {
            format!("It was handed over to its external listener{end}, which does not answer.")
        }
        (State::Succeeded, _) => format!("It succeeded{end}."),
        (State::Failed, Reason::Timeout) => {
            format!("It failed{end}: it took longer than its timeout, and no attempt was left.")
        }
        (State::Failed, Reason::Lost) => format!(
            "It failed{end}: its worker died, and it may not start again (lost {} times).",
            run.losses.max(1)
        ),
        (State::Failed, Reason::NotAllowed) => {
            format!("It failed{end}: the worker's own settings do not allow its handler.")
        }
        (State::Failed, _) => format!("It failed{end}, and no attempt was left."),
        (State::Cancelled, Reason::Replaced) => {
            format!(
                "It was cancelled{end} while it ran: a later occurrence took its place (`overlap = \"replace\"`)."
            )
        }
        (State::Cancelled, _) => format!("It was cancelled{end} while it ran."),
        _ => "It is still running.".to_owned(),
    }
}

fn skipped_sentence(row: &RunRow, task: &Task, at: Timestamp) -> String {
    let (run, spec) = (&row.run, &task.spec);
    let told = |t| show(t, &spec.timezone);
    let range = match run.skipped {
        Some((last, count)) if count > 1 => {
            format!(
                ", with {count} instants from {} to {}",
                told(run.due_at),
                told(last)
            )
        }
        _ => String::new(),
    };
    let when = run
        .finished_at
        .map_or(String::new(), |t| format!(" (recorded at {})", told(t)));
    let why = match run.reason {
        Reason::Misfire => format!(
            "when the scheduler came to it, it was later than the task's misfire limit of {}, and the policy `misfire = \
             \"{}\"` drops such instants",
            format_duration(spec.misfire_limit),
            word(&spec.misfire)
        ),
        Reason::TooLate => {
            "when the scheduler came to it, it was older than the task's max_lateness".to_owned()
        }
        Reason::CatchUpLimit => {
            "more instants were missed than catch-up takes, and it was not among the latest"
                .to_owned()
        }
        Reason::Overlap => format!(
            "an earlier run of the task was active, and the policy `overlap = \"{}\"` lets no more wait",
            word(&spec.overlap)
        ),
        Reason::StartDeadline => {
            "it had not started when its start_deadline passed".to_owned()
        }
        Reason::Calendar => "a calendar of the task excluded it".to_owned(),
        Reason::Moved => format!(
            "a calendar of the task excluded it, and it was moved to {} (`on_excluded = \"{}\"`)",
            told(run.ready_at),
            word(&spec.on_excluded)
        ),
        Reason::Paused => "the task was paused".to_owned(),
        Reason::Disabled => "the task was disabled by its definition (`enabled = false`)".to_owned(),
        Reason::Changed => {
            "it was overdue when the task's schedule was changed, and the new schedule begins after that".to_owned()
        }
        Reason::TaskDeleted => {
            "it was overdue when its task was deleted, and nobody had planned it yet".to_owned()
        }
        Reason::Replaced => {
            "a later occurrence took its place before it started (`overlap = \"replace\"`)".to_owned()
        }
        other => format!("the reason recorded is `{}`", other.as_str()),
    };
    format!("{} was skipped{range}: {why}{when}.", told(at))
}

/// A policy as it is written.
fn word<T: serde::Serialize>(policy: &T) -> String {
    let value = serde_json::to_value(policy).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// What is after the end of a task.
pub(super) fn told_by_deletion(task: &Task, deleted_at: Timestamp) -> (Verdict, Vec<String>) {
    let (name, deleted_at) = (&task.spec.name, show(deleted_at, &task.spec.timezone));
    let said = format!("`{name}` was deleted at {deleted_at}: it has no instants after that.");
    (Verdict::TaskDeleted, vec![said])
}

/// What the definition alone can tell about an instant without a row.
pub(super) fn told_by_task(
    task: &Task,
    why: &Why,
    what: Option<What>,
    now: Timestamp,
) -> Option<(Verdict, Vec<String>)> {
    let (at, name) = (why.instant, &task.spec.name);
    let told = |t| show(t, &task.spec.timezone);
    let changed = || {
        format!(
            "This is judged by the present definition, which was written at {}.",
            told(task.updated_at)
        )
    };
    if at < task.created_at {
        let said = format!(
            "`{name}` did not exist yet: it was created at {}.",
            told(task.created_at)
        );
        return Some((Verdict::NotCreatedYet, vec![said]));
    }
    let Some(what) = what else {
        let or_none = |t: Option<Timestamp>| t.map_or("none".to_owned(), told);
        let first = match &task.spec.schedule {
            None => has_no_schedule(name),
            Some(text) => format!(
                "{} is not an instant of `{text}` in {}: the one before is {}, the one after is {}.",
                told(at),
                task.spec.timezone,
                or_none(why.previous),
                or_none(why.next)
            ),
        };
        let mut said = vec![first];
        if at <= now && task.version > 1 && task.updated_at > at {
            said.push(changed());
        }
        return Some((Verdict::NotAnInstant, said));
    };
    let from = task.paused_from.unwrap_or(task.updated_at);
    if task.spec.is_paused() && at >= from {
        let (verdict, what, remedy) = if task.spec.enabled {
            let resume = format!("`campanile task resume {name}` makes it go on");
            (Verdict::Paused, "paused", resume)
        } else {
            let enable = "`enabled = true` in its definition makes it go on".to_owned();
            (Verdict::Disabled, "disabled by its definition", enable)
        };
        let said = format!(
            "`{name}` is {what}: from {} on its instants do not run, and are recorded as skipped when it goes on: \
             {remedy}.",
            told(from)
        );
        return Some((verdict, vec![said]));
    }
    let start = at.plus(task.spec.jitter_offset());
    if start > now {
        let wait = format_duration(start.since(now));
        let at = told(at);
        let mut said = vec![match what {
            What::Due => format!("{at} is due in {wait}."),
            What::Excluded => format!("{at} comes in {wait}, and will be recorded as skipped."),
            What::Moved(to) => format!(
                "{at} comes in {wait}, and is moved to {} (`on_excluded = \"{}\"`).",
                told(to),
                word(&task.spec.on_excluded)
            ),
        }];
        let before = why.previous.filter(|t| *t >= task.created_at);
        said.extend(before.map(|t| format!("The instant before it was {}.", told(t))));
        return Some((Verdict::NotDueYet, said));
    }
    None
}

/// A task without a schedule has no instants; what it has are runs.
pub(super) fn has_no_schedule(name: &str) -> String {
    format!(
        "`{name}` has no schedule: it runs on request alone, and has no instants. `campanile run list --task {name}` shows \
         its runs, `campanile run show RUN` what one waits for or what became of it."
    )
}

/// The start that the task's jitter makes of an instant.
pub(super) fn told_by_jitter(task: &Task, at: Timestamp) -> Option<String> {
    let offset = task.spec.jitter_offset();
    (!offset.is_zero()).then(|| {
        format!(
            "The task starts {} after each of its instants, its own place in `jitter`: that is {}.",
            format_duration(offset),
            show(at.plus(offset), &task.spec.timezone)
        )
    })
}

/// Where an instant comes from that a calendar moved here.
pub(super) fn told_by_move(task: &Task, seen: &Seen) -> Option<String> {
    seen.moved_from.map(|from| {
        format!(
            "It is the schedule's instant {}, which a calendar excludes and `on_excluded = \"{}\"` moves here.",
            show(from, &task.spec.timezone),
            word(&task.spec.on_excluded)
        )
    })
}

/// Who paused a task, why and until when.
pub(super) fn told_by_pause(task: &Task, pause: &Pause) -> String {
    let reason = pause.reason.as_ref();
    let reason = reason.map_or_else(|| "gave no reason".to_owned(), |r| format!("says: {r}"));
    let zone = &task.spec.timezone;
    let end = match pause.until {
        Some(until) => format!("It ends by itself at {}.", show(until, zone)),
        None => "It ends when somebody resumes the task.".to_owned(),
    };
    format!(
        "{} paused it at {} and {reason}. {end}",
        pause.by,
        show(pause.since, zone)
    )
}
