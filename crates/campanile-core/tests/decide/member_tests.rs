//! When a member counts as dead, and what becomes of the runs that it held.

use super::*;
use campanile_schedule::time::Timestamp;

fn node(id: i64, heartbeat_seq: i64) -> Node {
    Node {
        id: NodeId::from_i64(id),
        name: format!("n{id}"),
        roles: vec![],
        queues: vec![],
        slots: 1,
        busy: 0,
        lease: Duration::from_secs(10),
        started_at: Timestamp::MIN,
        heartbeat_seq,
        heartbeat_at: Timestamp::MIN,
        version: String::new(),
        abilities: None,
    }
}

fn s(seconds: u64) -> Monotonic {
    Monotonic::from_ms(seconds * 1_000)
}

#[test]
fn silence_for_a_whole_lease_is_death_and_a_heartbeat_resets_it() {
    let (w, dead) = Watch::default().look(&[node(1, 5), node(2, 9)], s(100));
    assert!(dead.is_empty());
    let (w, dead) = w.look(&[node(1, 5), node(2, 10)], s(109));
    assert!(dead.is_empty());
    let (w, dead) = w.look(&[node(1, 5), node(2, 10)], s(110));
    assert_eq!(dead, vec![NodeId::from_i64(1)]);
    let (_, dead) = w.blind().look(&[node(1, 5)], s(111));
    assert!(
        dead.is_empty(),
        "after a failed read every wait starts again"
    );
}

#[test]
fn who_was_there_and_is_not_any_more_is_missed() {
    let (w, _) = Watch::default().look(&[node(1, 1), node(2, 1)], s(0));
    assert!(!w.misses(&[node(2, 2), node(1, 1), node(3, 1)]));
    assert!(w.misses(&[node(2, 2), node(3, 1)]));
    assert!(!Watch::default().misses(&[]));
}

#[test]
fn a_mass_expiry_is_held_for_one_lease_more() {
    let nodes = [node(1, 1), node(2, 1), node(3, 1)];
    let (w, _) = Watch::default().look(&nodes, s(0));
    let (w, dead) = w.look(&nodes, s(10));
    assert!(dead.is_empty());
    let (_, dead) = w.look(&nodes, s(20));
    assert_eq!(dead.len(), 3);
}
