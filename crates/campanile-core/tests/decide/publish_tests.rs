//! The leader's memory, step by step: what goes out, what is asked about, what is done with.

use super::*;
use crate::decide::attempt as transitions;

fn entry(id: i64, ready_ms: i64, priority: u8, row: i64) -> Entry {
    let spec = serde_json::from_value(serde_json::json!({
        "name": "t", "handler": {"native": "noop"}, "priority": priority,
    }))
    .unwrap();
    let run = transitions::request(
        RunId::from_i64(id),
        None,
        &spec,
        Timestamp::from_ms(ready_ms),
    );
    Entry {
        waiting: Waiting { run, spec: None },
        task: None,
        row: OutboxId::from_i64(row),
    }
}

fn ids(batch: &[Arc<Entry>]) -> Vec<i64> {
    batch.iter().map(|e| e.waiting.run.id.as_i64()).collect()
}

#[test]
fn due_entries_go_out_by_instant_then_priority_and_never_early() {
    let mut d = Dispatch::default();
    d.admit(
        OutboxId::from_i64(1),
        vec![
            entry(1, 50, 4, 1),
            entry(2, 50, 9, 1),
            entry(3, 40, 0, 1),
            entry(4, 90, 9, 1),
        ],
    );
    assert_eq!(d.next_ready(), Some(Timestamp::from_ms(40)));
    assert!(d.take_due(Timestamp::from_ms(39)).is_empty());
    assert_eq!(ids(&d.take_due(Timestamp::from_ms(60))), vec![3, 2, 1]);
}

#[test]
fn a_row_is_done_when_all_its_runs_were_taken_and_room_comes_back() {
    let mut d = Dispatch::default();
    d.admit(
        OutboxId::from_i64(7),
        vec![entry(1, 0, 4, 7), entry(2, 0, 4, 7)],
    );
    let queue = QueueName::default();
    assert_eq!(d.rooms(10).rooms[&queue], 8);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.confirmed(&batch, Monotonic::from_ms(0));
    let now = Monotonic::from_ms(1_500);
    let check = d.to_check(now, limits::MARK_AFTER, 100, 0);
    let settled = d.checked(
        &check,
        &[RunId::from_i64(2)],
        now,
        Timestamp::from_ms(1_500),
    );
    assert_eq!(
        settled,
        Settled {
            mark: vec![(RunId::from_i64(2), 1)],
            done: vec![]
        }
    );
    let settled = d.checked(&check, &[], now, Timestamp::from_ms(1_600));
    assert_eq!(settled.done, vec![OutboxId::from_i64(7)]);
    assert!(d.rooms(10).rooms.is_empty());
}

#[test]
fn what_was_not_confirmed_or_not_taken_goes_out_again_with_a_growing_wait() {
    let mut d = Dispatch::default();
    d.admit(OutboxId::from_i64(1), vec![entry(1, 0, 4, 1)]);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.unconfirmed(&batch, Timestamp::from_ms(5), Duration::from_millis(100));
    assert!(d.take_due(Timestamp::from_ms(104)).is_empty());
    let batch = d.take_due(Timestamp::from_ms(105));
    d.confirmed(&batch, Monotonic::from_ms(105));
    let late = Monotonic::from_ms(105).plus(limits::REPUBLISH_INITIAL);
    let check = d.to_check(late, limits::MARK_AFTER, 100, 0);
    let _ = d.checked(
        &check,
        &[RunId::from_i64(1)],
        late,
        Timestamp::from_ms(60_105),
    );
    assert_eq!(ids(&d.take_due(Timestamp::from_ms(60_105))), vec![1]);
    assert_eq!(republish_wait(1), limits::REPUBLISH_INITIAL * 2);
    assert_eq!(republish_wait(40), limits::REPUBLISH_MAX);
}

#[test]
fn the_oldest_are_asked_about_first_and_the_others_in_turn() {
    let mut d = Dispatch::default();
    let entries = (1..=10).map(|id| entry(id, 0, 4, 1)).collect();
    d.admit(OutboxId::from_i64(1), entries);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.confirmed(&batch, Monotonic::from_ms(0));
    let now = Monotonic::from_ms(10);
    let mut ask = |oldest, others| -> Vec<i64> {
        let keys = d.to_check(now, Duration::ZERO, oldest, others);
        keys.iter().map(|(id, _)| id.as_i64()).collect()
    };
    assert_eq!(ask(3, 2), [1, 2, 3, 4, 5]);
    assert_eq!(ask(3, 4), [1, 2, 3, 6, 7, 8, 9]);
    assert_eq!(ask(3, 4), [1, 2, 3, 10]);
    assert_eq!(ask(3, 2), [1, 2, 3, 4, 5]);
    assert!(d.to_check(now, Duration::from_millis(11), 9, 9).is_empty());
}

#[test]
fn a_queue_that_a_scan_left_rows_of_waits_for_an_eighth_of_its_room() {
    let mut d = Dispatch::default();
    let entries = (1..=16).map(|id| entry(id, 0, 4, 1)).collect();
    d.admit(OutboxId::from_i64(1), entries);
    assert!(!d.is_tight());
    let shut = d.rooms(16);
    d.scanned(&shut, &[]);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.confirmed(&batch, Monotonic::from_ms(0));
    assert!(d.is_tight() && !d.has_room_again(16));
    let wall = Timestamp::from_ms(1);
    let now = Monotonic::from_ms(1);
    let _ = d.checked(&[(RunId::from_i64(1), 1)], &[], now, wall);
    assert!(!d.has_room_again(16));
    let _ = d.checked(&[(RunId::from_i64(2), 1)], &[], now, wall);
    assert!(d.has_room_again(16));
    // A scan that left nothing.
    let rooms = d.rooms(16);
    d.scanned(&rooms, &[]);
    assert!(!d.is_tight());
}

#[test]
fn looks_grow_while_runs_are_taken_and_rest_while_none_is() {
    let start = Pace::default();
    let busy = start.after(start.rows, start.rows);
    assert_eq!((busy.rows, busy.wait), (2 * start.rows, start.wait));
    assert_eq!(busy.after(busy.rows, 1).rows, start.rows);
    let idle = (0..10).fold(busy, |pace, _| pace.after(pace.rows, 0));
    assert_eq!((idle.rows, idle.wait), (LOOK_ROWS_MIN, LOOK_WAIT_MAX));
    assert_eq!(idle.after(idle.rows, 1).wait, LOOK_WAIT_MIN);
}

#[test]
fn a_run_that_waits_after_a_failed_publish_is_not_taken_over_twice() {
    let mut d = Dispatch::default();
    let (first, second) = (OutboxId::from_i64(1), OutboxId::from_i64(2));
    d.admit(first, vec![entry(5, 0, 4, 1)]);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.unconfirmed(&batch, Timestamp::from_ms(0), Duration::from_millis(500));
    d.admit(second, vec![entry(5, 0, 4, 2)]);
    let batch = d.take_due(Timestamp::from_ms(500));
    assert_eq!(ids(&batch), vec![5]);
    d.confirmed(&batch, Monotonic::from_ms(500));
    let now = Monotonic::from_ms(2_000);
    let check = d.to_check(now, limits::MARK_AFTER, 100, 0);
    let settled = d.checked(&check, &[], now, Timestamp::from_ms(2_000));
    assert_eq!(settled.done, vec![second, first]);
}

#[test]
fn a_run_past_its_deadline_gives_its_room_back() {
    let mut d = Dispatch::default();
    let mut late = entry(5, 0, 4, 1);
    late.waiting.run.deadline_at = Some(Timestamp::from_ms(1_000));
    d.admit(OutboxId::from_i64(1), vec![late]);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.confirmed(&batch, Monotonic::from_ms(0));
    let now = Monotonic::from_ms(2_000);
    let check = d.to_check(now, limits::MARK_AFTER, 100, 0);
    let waiting = [RunId::from_i64(5)];
    let settled = d.checked(&check, &waiting, now, Timestamp::from_ms(2_000));
    assert_eq!(settled.done, vec![OutboxId::from_i64(1)]);
    assert!(settled.mark.is_empty() && d.rooms(10).rooms.is_empty());
}

#[test]
fn two_attempts_that_are_ready_in_one_millisecond_are_two() {
    let mut d = Dispatch::default();
    d.admit(OutboxId::from_i64(1), vec![entry(1, 50, 4, 1)]);
    let mut second = entry(1, 50, 4, 2);
    second.waiting.run.attempt = 2;
    d.admit(OutboxId::from_i64(2), vec![second]);
    assert!(!d.has_done_rows());
    let attempts = d.take_due(Timestamp::from_ms(50));
    let attempts: Vec<u32> = attempts.iter().map(|e| e.waiting.run.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

/// Members of the default queue, by their native handlers.
fn members(all: &[&[&str]]) -> Arc<Routes> {
    use crate::decide::publish::routing::Abilities;
    use crate::port::member::Node;
    let node = |(n, names): (i64, &&[&str])| Node {
        id: crate::id::NodeId::from_i64(n),
        name: String::new(),
        roles: Vec::new(),
        queues: vec![QueueName::default()],
        slots: 1,
        busy: 0,
        lease: Duration::from_secs(1),
        started_at: Timestamp::from_ms(0),
        heartbeat_seq: 0,
        heartbeat_at: Timestamp::from_ms(0),
        version: String::new(),
        abilities: Some(Abilities::announce(
            names.iter().map(|n| (*n).to_owned()),
            false,
            None,
        )),
    };
    let nodes: Vec<Node> = (1..).zip(all).map(node).collect();
    Arc::new(Routes::of(&nodes))
}

fn with_handler(id: i64) -> Entry {
    let mut entry = entry(id, 0, 4, 1);
    entry.waiting.spec = Some(crate::run::RunSpec {
        handler: Some(HandlerSpec::Native("noop".to_owned())),
        ..Default::default()
    });
    entry
}

#[test]
fn what_nobody_can_do_is_put_aside_and_needs_no_room_once_it_waits_in_the_store() {
    let mut d = Dispatch::default();
    d.set_routes(members(&[&["other"]]));
    d.admit(OutboxId::from_i64(1), vec![with_handler(1)]);
    assert!(d.take_due(Timestamp::from_ms(0)).is_empty());
    let blocked = d.take_blocked();
    assert_eq!(ids(&blocked), [1]);
    assert!(d.take_blocked().is_empty());
    // The store was busy: it is put aside again.
    d.unconfirmed(&blocked, Timestamp::from_ms(0), Duration::from_millis(5));
    assert!(d.take_due(Timestamp::from_ms(5)).is_empty());
    let blocked = d.take_blocked();
    d.resolved(&blocked);
    assert!(d.rooms(10).rooms.is_empty());
    assert!(d.has_done_rows());
}

#[test]
fn what_waits_where_by_now_nobody_takes_it_is_published_elsewhere() {
    let mut d = Dispatch::default();
    let wall = Timestamp::from_ms(0);
    let (able, other): (&[&str], &[&str]) = (&["noop"], &["other"]);
    d.set_routes(members(&[able, other]));
    d.admit(OutboxId::from_i64(1), vec![with_handler(1)]);
    let batch = d.take_due(wall);
    let first = d.pack(&batch).remove(0).route;
    assert!(matches!(&first, Route::Lanes(lanes) if lanes.len() == 1));
    d.confirmed(&batch, Monotonic::from_ms(0));
    let look = |d: &mut Dispatch, ms: u64| {
        let now = Monotonic::from_ms(ms);
        let check = d.to_check(now, limits::MARK_AFTER, 100, 0);
        let waiting: Vec<RunId> = check.iter().map(|(run, _)| *run).collect();
        let _ = d.checked(&check, &waiting, now, wall);
        d.take_due(wall)
    };
    assert!(look(&mut d, 1_000).is_empty(), "its worker lives");
    // Another one that can: both may take it.
    d.set_routes(members(&[able, other, &["noop", "more"]]));
    let batch = look(&mut d, 2_000);
    assert_eq!(d.pack(&batch)[0].route.messages(), 2);
    d.confirmed(&batch, Monotonic::from_ms(2_000));
    // Those who can't are gone: it is for all.
    d.set_routes(members(&[able]));
    let batch = look(&mut d, 3_000);
    assert_eq!(d.pack(&batch)[0].route, Route::Queue);
    d.confirmed(&batch, Monotonic::from_ms(3_000));
    d.set_routes(members(&[other]));
    assert!(look(&mut d, 4_000).is_empty());
    assert_eq!(ids(&d.take_blocked()), [1]);
}

#[test]
fn while_the_cluster_is_held_nothing_goes_out_and_afterwards_all_that_may_have_been_refused() {
    let mut d = Dispatch::default();
    let (now, wall) = (Monotonic::from_ms(0), Timestamp::from_ms(60));
    d.admit(
        OutboxId::from_i64(1),
        vec![entry(1, 0, 4, 1), entry(2, 50, 4, 1)],
    );
    let out = d.take_due(Timestamp::from_ms(10));
    assert_eq!(ids(&out), vec![1]);
    assert!(d.hold(true, wall), "it is news");
    assert!(!d.hold(true, wall), "and then it is none");
    // Confirmed while it is held: its claim is refused.
    d.confirmed(&out, now);
    assert_eq!(d.next_ready(), None);
    assert!(d.take_due(Timestamp::from_ms(1_000)).is_empty());
    assert!(d.hold(false, wall));
    assert_eq!(ids(&d.take_due(wall)), vec![2, 1]);
}
