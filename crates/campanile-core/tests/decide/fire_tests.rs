//! Tests of firings: permits, overlap, deadlines, catch-up, rows that are left alone.

use std::cell::Cell;
use std::collections::HashMap;

use super::*;
use crate::decide::lead::jump::Answered;
use crate::decide::permits::{Held, Standing};
use crate::task::TaskSpec;

const START_MS: i64 = 1_800_000_000_000;

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(START_MS + s * 1_000)
}

fn compiled(more: &serde_json::Value) -> Arc<Compiled> {
    let mut json = serde_json::json!({
        "name": "t", "schedule": "every 10s", "anchor": at(0), "handler": {"native": "noop"},
    });
    let fields = json.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let spec: TaskSpec = serde_json::from_value(json).unwrap();
    let timetable = spec.timetable(at(0), &|_| None).unwrap();
    Arc::new(Compiled {
        task: Arc::new(Task {
            id: TaskId::from_i64(7),
            version: 1,
            spec,
            created_at: at(0),
            updated_at: at(0),
            paused_from: None,
        }),
        timetable,
    })
}

fn task_row(s: i64) -> DueRow {
    DueRow {
        key: DueKey {
            queue: crate::task::QueueName::default(),
            at: at(s),
            owner: Owner::Task(TaskId::from_i64(7)),
        },
        waiting: None,
    }
}

fn run_row(s: i64, run: &Run) -> DueRow {
    DueRow {
        key: DueKey {
            queue: run.queue.clone(),
            at: at(s),
            owner: Owner::Run(run.id),
        },
        waiting: Some(Waiting {
            run: run.clone(),
            spec: None,
        }),
    }
}

fn overlap() -> LimitKey {
    LimitKey::Overlap(TaskId::from_i64(7))
}

/// A board on which another run holds the task's permit.
fn held(state: State, blocked: u32) -> Board {
    let holder = Held {
        n: 0,
        run: RunId::from_i64(99),
        state,
        in_turn: false,
    };
    let standing = Standing {
        held: vec![holder],
        blocked,
    };
    Board::new(HashMap::from([(overlap(), standing)]))
}

/// Plans these rows at a second.
fn plan(compiled: &Arc<Compiled>, rows: &[DueRow], now: i64, board: &mut Board) -> Planned {
    plan_among(&Routes::default(), compiled, rows, now, board)
}

fn plan_among(
    routes: &Routes,
    compiled: &Arc<Compiled>,
    rows: &[DueRow],
    now: i64,
    board: &mut Board,
) -> Planned {
    let next = Cell::new(1_000);
    let mint = |count: usize| {
        let first = next.get();
        next.set(first + i64::try_from(count).unwrap());
        (first..next.get()).map(RunId::from_i64).collect()
    };
    let planner = Planner {
        tasks: &|_| Lookup::Here(Arc::clone(compiled)),
        answered: &Answered::new(),
        rules: &Rules::default(),
        board,
        routes,
        catch_up: &mut CatchUp::new(10),
        moment: Moment {
            now: at(now),
            horizon: at(now).plus(limits::LOOK_AHEAD),
            epoch: 1,
            edits: 1,
        },
        outbox: OutboxId::from_i64(1),
        mint: &mint,
    };
    planner.firing(rows)
}

#[test]
fn what_needs_permits_is_decided_at_its_instant() {
    let task = compiled(&serde_json::json!({"overlap": "skip"}));
    let early = plan(&task, &[task_row(10)], 9, &mut Board::default());
    assert!(early.firing.is_empty());
    assert_eq!((early.later, early.covered), (Some(at(10)), 1));
    let due = plan(&task, &[task_row(10)], 10, &mut Board::default());
    assert_eq!(due.entries.len(), 1);
    assert_eq!(due.firing.acquired.len(), 1);
    assert!(due.firing.runs[0].limited);
    // A task without limits is planned ahead, and pays for nothing.
    let plain = compiled(&serde_json::json!({}));
    let ahead = plan(&plain, &[task_row(10)], 9, &mut Board::default());
    assert_eq!((ahead.entries.len(), ahead.later), (1, None));
    assert!(ahead.firing.acquired.is_empty() && !ahead.firing.runs[0].limited);
}

#[test]
fn skip_leaves_a_row_with_its_reason() {
    let task = compiled(&serde_json::json!({"overlap": "skip"}));
    for state in [State::Scheduled, State::Queued, State::Running] {
        let planned = plan(&task, &[task_row(10)], 10, &mut held(state, 0));
        assert!(planned.entries.is_empty() && planned.firing.runs.is_empty());
        let skipped = &planned.firing.skipped[0];
        assert_eq!((skipped.reason, skipped.due_at), (Reason::Overlap, at(10)));
        assert_eq!(planned.firing.advanced[0].at, at(20));
    }
}

#[test]
fn queue_parks_behind_the_holder_up_to_its_limit() {
    let task = compiled(&serde_json::json!({"overlap": "queue", "overlap_queue_max": 2}));
    let planned = plan(&task, &[task_row(10)], 10, &mut held(State::Running, 1));
    assert_eq!(planned.firing.blocked.len(), 1);
    assert_eq!(planned.firing.full, vec![(overlap(), 0)]);
    assert_eq!(planned.firing.runs[0].id, planned.firing.blocked[0].run);
    assert!(planned.entries.is_empty() && planned.firing.outbox.is_none());
    let planned = plan(&task, &[task_row(10)], 10, &mut held(State::Running, 2));
    assert!(planned.firing.blocked.is_empty());
    assert_eq!(planned.firing.skipped[0].reason, Reason::Overlap);
}

#[test]
fn replace_ends_a_waiting_run_and_takes_its_place() {
    let task = compiled(&serde_json::json!({"overlap": "replace"}));
    let planned = plan(&task, &[task_row(10)], 10, &mut held(State::Queued, 1));
    assert_eq!(planned.firing.replaced[0].run, RunId::from_i64(99));
    assert!(!planned.firing.replaced[0].running);
    assert_eq!(planned.entries.len(), 1);
    assert_eq!(planned.firing.acquired[0].n, 0);
}

#[test]
fn replace_waits_for_a_running_run_to_be_ended() {
    let task = compiled(&serde_json::json!({"overlap": "replace"}));
    let planned = plan(&task, &[task_row(10)], 10, &mut held(State::Running, 1));
    assert!(planned.firing.replaced[0].running);
    assert_eq!(planned.firing.blocked.len(), 1);
    assert!(planned.entries.is_empty());
}

#[test]
fn of_several_at_once_only_the_last_replaces() {
    let task = compiled(&serde_json::json!({"overlap": "replace", "misfire_limit": "10m"}));
    let planned = plan(&task, &[task_row(10)], 40, &mut Board::default());
    assert_eq!(planned.entries.len(), 1);
    assert_eq!(planned.entries[0].waiting.run.due_at, at(40));
    let replaced = planned.firing.skipped.iter();
    assert!(replaced.clone().all(|r| r.reason == Reason::Replaced));
    assert_eq!(replaced.count(), 3);
}

#[test]
fn a_group_holds_back_all_but_as_many_as_it_lets_through() {
    let task = compiled(&serde_json::json!({"max_running": 2, "misfire_limit": "10m"}));
    let planned = plan(&task, &[task_row(10)], 60, &mut Board::default());
    assert_eq!(
        (planned.entries.len(), planned.firing.blocked.len()),
        (2, 4)
    );
    // The holders are this firing's own: they are what the blocked wait for.
    assert!(planned.firing.full.iter().all(|(_, n)| *n < 2));
}

#[test]
fn what_is_caught_up_is_spaced_and_goes_behind() {
    let task = compiled(&serde_json::json!({"misfire": "all", "misfire_limit": "1s"}));
    let planned = plan(&task, &[task_row(10)], 405, &mut Board::default());
    assert_eq!(planned.firing.runs.len(), 40);
    let starts: Vec<Timestamp> = planned.firing.runs.iter().map(|r| r.ready_at).collect();
    assert_eq!(
        (starts[0], starts[39]),
        (at(405), at(409).minus(Duration::from_millis(100)))
    );
    assert!(planned.firing.runs.iter().all(|r| r.priority == 1));
    // Those within the look-ahead go out, the others have a timer each.
    assert_eq!(planned.entries.len(), 16);
    let timers = planned.firing.advanced.iter();
    let timers = timers.filter(|key| matches!(key.owner, Owner::Run(_)));
    assert_eq!(timers.count(), 24);
}

#[test]
fn a_start_deadline_ends_what_has_not_started() {
    let task = compiled(&serde_json::json!({"start_deadline": "5s"}));
    let planned = plan(&task, &[task_row(10)], 10, &mut Board::default());
    let run = &planned.firing.runs[0];
    assert_eq!(run.deadline_at, Some(at(15)));
    let timer = run_row(15, run);
    assert!(planned.firing.advanced.contains(&timer.key));
    let early = plan(
        &task,
        std::slice::from_ref(&timer),
        14,
        &mut Board::default(),
    );
    assert_eq!((early.firing.is_empty(), early.later), (true, Some(at(15))));
    let over = plan(&task, &[timer], 15, &mut Board::default());
    assert_eq!(
        over.firing.dropped,
        vec![(run.id, 1, Reason::StartDeadline)]
    );
    // Nor does one start that was refused, at whatever attempt it is.
    let refused = Run {
        attempt: 3,
        ready_at: at(30),
        ..run.clone()
    };
    let over = plan(&task, &[run_row(15, &refused)], 15, &mut Board::default());
    assert_eq!(over.firing.dropped, [(run.id, 3, Reason::StartDeadline)]);
    let early = plan(
        &task,
        &[run_row(
            12,
            &Run {
                ready_at: at(12),
                ..refused.clone()
            },
        )],
        12,
        &mut Board::default(),
    );
    let timer = run_row(15, &refused).key;
    assert!(early.firing.advanced.contains(&timer), "it has its timer");
    // The timer of a deadline that was met starts nothing: the next attempt has its own.
    let met = Run {
        attempt: 2,
        ready_at: at(16),
        deadline_at: None,
        ..run.clone()
    };
    let rows = [run_row(15, &met), run_row(16, &met)];
    let planned = plan(&task, &rows, 16, &mut Board::default());
    assert_eq!(planned.firing.consumed.len(), 2);
    assert_eq!(planned.firing.outbox.unwrap().runs, [(run.id, 2)]);
    // A run that has started once is not stopped from trying again.
    let retried = Run {
        started_at: Some(at(12)),
        ..refused
    };
    let over = plan(&task, &[run_row(15, &retried)], 15, &mut Board::default());
    assert!(over.firing.dropped.is_empty() && over.entries.is_empty());
}

#[test]
fn jitter_moves_every_start_by_the_tasks_own_share() {
    let task = compiled(&serde_json::json!({"jitter": "5s"}));
    let offset = task.task.spec.jitter_offset();
    assert!(offset > Duration::ZERO && offset < Duration::from_secs(5));
    let row = DueRow {
        key: DueKey {
            at: at(10).plus(offset),
            ..task_row(10).key
        },
        waiting: None,
    };
    let planned = plan(&task, &[row], 14, &mut Board::default());
    let run = &planned.firing.runs[0];
    assert_eq!((run.due_at, run.ready_at), (at(10), at(10).plus(offset)));
    assert_eq!(planned.firing.advanced[0].at, at(20).plus(offset));
}

#[test]
fn rows_of_what_can_not_be_read_are_left_alone() {
    let planner = |lookup: Lookup| {
        let planner = Planner {
            tasks: &|_| lookup.clone(),
            answered: &Answered::new(),
            rules: &Rules::default(),
            board: &mut Board::default(),
            routes: &Routes::default(),
            catch_up: &mut CatchUp::new(10),
            moment: Moment {
                now: at(10),
                horizon: at(10),
                epoch: 1,
                edits: 1,
            },
            outbox: OutboxId::from_i64(1),
            mint: &|_| vec![],
        };
        planner.firing(&[task_row(10)]).firing.consumed.len()
    };
    assert_eq!((planner(Lookup::Unreadable), planner(Lookup::Gone)), (0, 1));
}

#[test]
fn a_run_whose_place_was_taken_is_not_let_through_by_its_own_timer() {
    let task = compiled(&serde_json::json!({"overlap": "replace"}));
    let mut holder = plan(&task, &[task_row(10)], 10, &mut Board::default())
        .firing
        .runs[0]
        .clone();
    (holder.id, holder.attempt) = (RunId::from_i64(99), 2);
    let rows = [task_row(20), run_row(20, &holder)];
    let planned = plan(&task, &rows, 20, &mut held(State::Scheduled, 0));
    assert_eq!(planned.firing.replaced.len(), 1);
    assert_eq!(planned.firing.consumed.len(), 2);
    assert!(planned.firing.blocked.is_empty());
    assert_eq!(planned.entries.len(), 1);
    assert_ne!(planned.entries[0].waiting.run.id, holder.id);
}

#[test]
fn a_retry_without_its_permit_waits_for_it_whatever_the_policy_says() {
    // Its task was changed between its attempts: another run is the present one.
    for policy in ["skip", "queue", "replace"] {
        let task = compiled(&serde_json::json!({"overlap": policy, "overlap_queue_max": 1}));
        let mut retry = plan(&task, &[task_row(10)], 10, &mut Board::default())
            .firing
            .runs[0]
            .clone();
        (retry.id, retry.attempt) = (RunId::from_i64(55), 2);
        let planned = plan(
            &task,
            &[run_row(10, &retry)],
            10,
            &mut held(State::Running, 1),
        );
        assert_eq!(planned.firing.blocked.len(), 1, "{policy}");
        assert!(planned.firing.dropped.is_empty() && planned.firing.replaced.is_empty());
    }
}

/// A member of the default queue that has no handler that these tasks name.
fn nobody_can() -> Routes {
    let json = serde_json::json!({"native": ["other"]});
    Routes::of(&[crate::port::member::Node {
        id: crate::id::NodeId::from_i64(1),
        name: "n".to_owned(),
        roles: Vec::new(),
        queues: vec![crate::task::QueueName::default()],
        slots: 1,
        busy: 0,
        lease: Duration::from_secs(1),
        started_at: at(0),
        heartbeat_seq: 0,
        heartbeat_at: at(0),
        version: String::new(),
        abilities: serde_json::from_value(json).unwrap(),
    }])
}

#[test]
fn what_nobody_can_do_is_blocked_and_holds_nothing_that_others_need() {
    let routes = nobody_can();
    let task = compiled(&serde_json::json!({"max_running": 3}));
    let planned = plan_among(&routes, &task, &[task_row(10)], 10, &mut Board::default());
    let firing = &planned.firing;
    assert!(planned.entries.is_empty() && firing.outbox.is_none() && firing.acquired.is_empty());
    let [blocked] = &firing.blocked[..] else {
        panic!("{:?}", firing.blocked);
    };
    let need = LimitKey::Ability(crate::task::QueueName::default(), "native:noop".to_owned());
    assert_eq!((&blocked.key, blocked.run), (&need, firing.runs[0].id));
    assert!(firing.runs[0].limited && firing.full.is_empty());
    // Its timer fires again once it is let go; as long as nobody can, it is blocked again.
    let run = firing.runs[0].clone();
    let again = plan_among(
        &routes,
        &task,
        &[run_row(10, &run)],
        11,
        &mut Board::default(),
    );
    assert_eq!(
        (again.firing.blocked.len(), again.firing.runs.len()),
        (1, 0)
    );
    let gone_on = plan(&task, &[run_row(10, &run)], 11, &mut Board::default());
    assert_eq!(
        (gone_on.entries.len(), gone_on.firing.blocked.len()),
        (1, 0)
    );
    assert_eq!(gone_on.firing.acquired.len(), 1);
}

#[test]
fn a_blocked_run_is_its_tasks_active_one() {
    let routes = nobody_can();
    let task = compiled(&serde_json::json!({"overlap": "skip"}));
    let first = plan_among(&routes, &task, &[task_row(10)], 10, &mut Board::default());
    assert_eq!(first.firing.acquired[0].key, overlap());
    assert_eq!(first.firing.blocked.len(), 1);
    let mut board = held(State::Scheduled, 0);
    let next = plan_among(&routes, &task, &[task_row(20)], 20, &mut board);
    assert_eq!(next.firing.skipped[0].reason, Reason::Overlap);
    // And a later one takes its place, where the policy says so.
    let task = compiled(&serde_json::json!({"overlap": "replace"}));
    let mut board = held(State::Scheduled, 0);
    let next = plan_among(&routes, &task, &[task_row(20)], 20, &mut board);
    assert_eq!(
        (next.firing.replaced.len(), next.firing.blocked.len()),
        (1, 1)
    );
}

#[test]
fn a_blocked_run_has_its_deadline() {
    let task = compiled(&serde_json::json!({"start_deadline": "3s"}));
    let planned = plan_among(
        &nobody_can(),
        &task,
        &[task_row(10)],
        10,
        &mut Board::default(),
    );
    let run = planned.firing.runs[0].clone();
    let deadline = planned
        .firing
        .advanced
        .iter()
        .find(|key| key.owner == Owner::Run(run.id));
    assert_eq!(deadline.unwrap().at, at(13));
    let late = plan_among(
        &nobody_can(),
        &task,
        &[run_row(13, &run)],
        13,
        &mut Board::default(),
    );
    assert_eq!(late.firing.dropped, [(run.id, 1, Reason::StartDeadline)]);
}

/// What runs holds its task's chain and puts nothing; what does not run is followed from its decision on.
#[test]
fn a_run_holds_its_chain_and_a_refusal_goes_on() {
    let task = compiled(&serde_json::json!({"schedule": "after 30s", "anchor": null,
        "overlap": "skip", "misfire": "all", "misfire_limit": "1m"}));
    for now in [10, 300] {
        let fired = plan(&task, &[task_row(10)], now, &mut Board::default());
        let run = &fired.firing.runs[0];
        assert_eq!(fired.firing.chained, [(TaskId::from_i64(7), run.id)]);
        // It needs no turn: nothing is missed together.
        assert!(fired.firing.advanced.is_empty() && run.limited && !run.in_turn);
    }
    let refused = plan(&task, &[task_row(10)], 12, &mut held(State::Running, 0));
    assert_eq!(refused.firing.skipped[0].reason, Reason::Overlap);
    assert!(refused.firing.chained.is_empty());
    assert_eq!(refused.firing.advanced[0].at, at(42));
}
