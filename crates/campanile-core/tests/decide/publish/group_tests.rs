//! Groups: which runs share a message, how large it may be, and what becomes of what a worker has no slot for.

use campanile_schedule::time::Timestamp;

use super::*;
use crate::decide::attempt as transitions;
use crate::decide::invariants;
use crate::decide::publish::message::{self, Offers, Refusal, Secret};
use crate::decide::publish::routing::{Abilities, Routes};
use crate::decide::publish::{Dispatch, Entry};
use crate::id::{NodeId, OutboxId};
use crate::port::fire::Waiting;
use crate::port::member::Node;
use crate::time::Monotonic;

fn entry(id: i64, edit: impl FnOnce(&mut Run)) -> Entry {
    let spec = serde_json::json!({"name": "t", "handler": {"native": "noop"}});
    let spec: crate::task::TaskSpec = serde_json::from_value(spec).unwrap();
    let at = Timestamp::from_ms(0);
    let task = Task {
        id: crate::id::TaskId::from_i64(7),
        version: 1,
        spec,
        created_at: at,
        updated_at: at,
        paused_from: None,
    };
    let mut run = transitions::request(RunId::from_i64(id), Some(&task), &task.spec, at);
    edit(&mut run);
    Entry {
        waiting: Waiting { run, spec: None },
        task: Some(Arc::new(task)),
        row: OutboxId::from_i64(1),
    }
}

/// Workers with so many slots each; whether they read groups.
fn workers(all: &[(u32, bool)]) -> Arc<Routes> {
    let node = |(n, (slots, groups)): (i64, &(u32, bool))| Node {
        id: NodeId::from_i64(n),
        name: format!("n{n}"),
        roles: vec!["worker".to_owned()],
        queues: vec![QueueName::default()],
        slots: *slots,
        busy: 0,
        lease: std::time::Duration::from_secs(10),
        started_at: Timestamp::from_ms(0),
        heartbeat_seq: 0,
        heartbeat_at: Timestamp::from_ms(0),
        version: String::new(),
        abilities: Some(Abilities {
            groups: *groups,
            ..Abilities::announce(["noop".to_owned()], true, None)
        }),
    };
    let nodes: Vec<Node> = (1..).zip(all).map(node).collect();
    Arc::new(Routes::of(&nodes))
}

fn sizes(parcels: &[Parcel]) -> Vec<usize> {
    parcels.iter().map(|p| p.entries.len()).collect()
}

/// What goes out first of these, with these workers.
fn packed(members: &[(u32, bool)], entries: Vec<Entry>) -> Vec<Parcel> {
    let mut d = Dispatch::default();
    d.set_routes(workers(members));
    d.admit(OutboxId::from_i64(1), entries);
    let batch = d.take_due(Timestamp::from_ms(0));
    d.pack(&batch)
}

fn plain(ids: std::ops::RangeInclusive<i64>) -> Vec<Entry> {
    ids.map(|id| entry(id, |_| {})).collect()
}

fn offers(ids: std::ops::Range<i64>) -> Vec<Offer> {
    ids.map(|id| (RunId::from_i64(id), 1)).collect()
}

#[test]
fn a_group_holds_an_eighth_of_the_smallest_worker_and_every_worker_gets_a_part() {
    assert_eq!(sizes(&packed(&[(64, true)], plain(1..=20))), [8, 8, 4]);
    assert_eq!(
        sizes(&packed(&[(2_000, true)], plain(1..=250))),
        [100, 100, 50]
    );
    let two = [(2_000, true), (2_000, true)];
    assert_eq!(sizes(&packed(&two, plain(1..=20))), [10, 10]);
    let small = [(2_000, true), (16, true)];
    assert_eq!(sizes(&packed(&small, plain(1..=5))), [2, 2, 1]);
    assert_eq!(sizes(&packed(&[(15, true)], plain(1..=3))), [1, 1, 1]);
    assert_eq!(most_of(64, 4), 2);
    assert_eq!(most_of(usize::MAX, 0), limits::GROUP_RUNS_MAX);
    let alone = packed(&[(64, true)], plain(1..=1));
    assert_eq!(alone[0].group, None);
}

#[test]
fn a_worker_that_reads_no_groups_and_a_queue_without_workers_have_one_run_a_message() {
    for members in [&[(64, true), (64, false)][..], &[]] {
        let parcels = packed(members, plain(1..=3));
        assert_eq!(sizes(&parcels), [1, 1, 1]);
        assert!(parcels.iter().all(|p| p.group.is_none()));
    }
}

#[test]
fn only_plain_first_attempts_of_one_priority_and_need_share_a_message() {
    let edits: [fn(&mut Run); 5] = [
        |_| {},
        |run| run.attempt = 2,
        |run| run.limited = true,
        |run| run.priority = 9,
        |_| {},
    ];
    let mut entries: Vec<Entry> = (1..).zip(edits).map(|(id, edit)| entry(id, edit)).collect();
    let mut other = entry(6, |_| {});
    other.waiting.spec = Some(crate::run::RunSpec {
        handler: serde_json::from_value(serde_json::json!({"http": {"url": "http://x/"}})).ok(),
        ..crate::run::RunSpec::default()
    });
    entries.push(other);
    let parcels = packed(&[(64, true)], entries);
    let ids = |p: &Parcel| -> Vec<i64> {
        let all = p.entries.iter();
        all.map(|e| e.waiting.run.id.as_i64()).collect()
    };
    let all: Vec<Vec<i64>> = parcels.iter().map(ids).collect();
    assert_eq!(
        all,
        [vec![4], vec![1, 5], vec![2], vec![3], vec![6]],
        "the one of high priority first"
    );
    for parcel in &parcels {
        let runs: Vec<&Run> = parcel.entries.iter().map(|e| &e.waiting.run).collect();
        assert_eq!(invariants::a_group_is_plain(&runs), Ok(()));
    }
    let mixed = [entry(1, |_| {}), entry(2, |run| run.attempt = 2)];
    let mixed: Vec<&Run> = mixed.iter().map(|e| &e.waiting.run).collect();
    assert!(invariants::a_group_is_plain(&mixed).is_err());
}

#[test]
fn what_nobody_took_goes_out_alone_and_at_once_when_nobody_reads_groups_any_more() {
    let (members, mut d) = ([(64, true)], Dispatch::default());
    d.set_routes(workers(&members));
    d.admit(OutboxId::from_i64(1), plain(1..=3));
    let wall = Timestamp::from_ms(0);
    let batch = d.take_due(wall);
    assert_eq!(sizes(&d.pack(&batch)), [3]);
    d.confirmed(&batch, Monotonic::from_ms(0));
    let look = |d: &mut Dispatch, ms: u64| {
        let now = Monotonic::from_ms(ms);
        let check = d.to_check(now, limits::MARK_AFTER, 100, 0);
        let waiting: Vec<RunId> = check.iter().map(|(run, _)| *run).collect();
        let _ = d.checked(&check, &waiting, now, wall);
        let batch = d.take_due(wall);
        sizes(&d.pack(&batch))
    };
    assert!(look(&mut d, 1_500).is_empty(), "it waits for its reader");
    d.set_routes(workers(&[(64, true), (64, false)]));
    assert_eq!(look(&mut d, 2_500), [1, 1, 1]);
    // And as what was published before, also where groups are read.
    d.confirmed(&batch, Monotonic::from_ms(2_500));
    d.set_routes(workers(&members));
    assert_eq!(look(&mut d, 123_000), [1, 1, 1]);
}

#[test]
fn the_rest_of_a_group_is_offered_again_and_nothing_is_lost() {
    let messages = [offers(0..3), offers(2..8), offers(8..10)];
    for free in 0..12 {
        let share = share(&messages, free);
        assert_eq!(
            invariants::a_share_is_whole(&messages, free, &share),
            Ok(())
        );
        assert_eq!(share.split.is_some(), !share.again.is_empty());
    }
    let five = share(&messages, 5);
    assert_eq!(five.claim, offers(0..5));
    assert_eq!((five.again, five.split), (offers(5..8), Some(1)));
    assert_eq!((five.settled, five.left), (vec![0, 1], true));
    let cases: [fn(&mut Share); 4] = [
        |share| share.claim.push((RunId::from_i64(99), 1)),
        |share| share.again.clear(),
        |share| share.settled.push(2),
        |share| share.claim.truncate(4),
    ];
    for spoil in cases {
        let mut share = share(&messages, 5);
        spoil(&mut share);
        assert!(invariants::a_share_is_whole(&messages, 5, &share).is_err());
    }
}

#[test]
fn credit_is_counted_in_runs() {
    for (free, most) in [
        (1, 1),
        (7, 1),
        (64, 8),
        (2_000, 100),
        (3, 8),
        (100_000, 100),
    ] {
        let messages = credit(free, most);
        assert!(messages == 1 || messages * most <= free, "{free} {most}");
    }
    assert_eq!(
        (credit(2_000, 100), credit(2_000, 1), credit(5, 8)),
        (10, 1_000, 1)
    );
}

#[test]
fn a_group_is_signed_as_a_whole_and_read_only_if_it_is_one() {
    let queue = QueueName::default();
    let key = Secret::new([7; 32]).queue_key(&queue);
    let runs = offers(1..4);
    let message = message::build_group(&queue, 3, &runs, "native:noop", &key);
    assert_eq!(message.destination, "campanile.default~groups");
    assert_eq!(message.check().map_err(|e| e.to_string()), Ok(()));
    let read = |body: &str| message::read(body, &key.sign(body), &queue, &key);
    let offered = Offers { runs, priority: 3 };
    assert_eq!(read(&message.body), Ok(offered));
    let sig = &message.properties[0].1;
    let changed = message.body.replace(",1]", ",2]");
    assert_ne!(changed, message.body);
    let forged = message::read(&changed, sig, &queue, &key);
    assert_eq!(forged, Err(Refusal::Forged));
    let many = message::build_group(&queue, 3, &offers(0..101), "http", &key);
    for body in [
        many.body,
        message.body.replace("\"priority\":3", "\"priority\":10"),
        r#"{"v":2,"queue":"default","priority":3,"runs":[]}"#.to_owned(),
        r#"{"v":1,"queue":"default","run":"0scg7qb6fre4a"}"#.to_owned(),
    ] {
        assert_eq!(read(&body), Err(Refusal::Malformed), "{body}");
    }
    for again in message::offer_again(&queue, 3, &offers(5..7), &key) {
        assert_eq!(
            (again.priority, again.destination.as_str()),
            (3, "campanile.default")
        );
        assert_eq!(read(&again.body).unwrap().runs.len(), 1);
    }
}
