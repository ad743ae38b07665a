//! Terms, step by step: what a node does with what it learns about the lock, the epoch and its own belief.

use super::*;
use crate::id::Holder;

const CONFIG: Config = Config {
    ttl: Duration::from_secs(5),
};

fn ms(ms: u64) -> Monotonic {
    Monotonic::from_ms(ms)
}

fn term(epoch: i64) -> Term {
    Term {
        epoch,
        holder: Holder::from_spelling(format!("h{epoch}")),
    }
}

fn lead() -> State {
    let (s, e) = step(
        State::Waiting,
        Event::LockTaken {
            asked_at: ms(1_000),
        },
        ms(1_001),
        &CONFIG,
    );
    assert_eq!(e, vec![Effect::ReadEpoch]);
    let (s, e) = step(s, Event::EpochRead(6), ms(1_002), &CONFIG);
    assert_eq!(e, vec![Effect::CheckLock]);
    let (s, e) = step(
        s,
        Event::LockChecked {
            asked_at: ms(1_003),
            mine: true,
        },
        ms(1_004),
        &CONFIG,
    );
    assert_eq!(e, vec![Effect::Begin { read_epoch: 6 }]);
    let (s, e) = step(
        s,
        Event::Begun(term(7), Written::Applied),
        ms(1_005),
        &CONFIG,
    );
    assert_eq!(e[0], Effect::StartTerm(term(7)));
    s
}

#[test]
fn the_belief_counts_from_before_the_request_and_ends_without_news() {
    let s = lead();
    assert_eq!(
        s,
        State::Leading {
            term: term(7),
            trusted_until: ms(1_003 + 4_500)
        }
    );
    let (s2, e) = step(s.clone(), Event::Tick, ms(5_503), &CONFIG);
    assert_eq!(
        (s2, e),
        (State::Waiting, vec![Effect::EndTerm, Effect::TryLock])
    );
    // An answer that took longer than the lock's life is no belief, even if it says yes.
    let (s2, e) = step(
        s,
        Event::LockChecked {
            asked_at: ms(2_000),
            mine: true,
        },
        ms(9_000),
        &CONFIG,
    );
    assert_eq!(
        (s2, e),
        (State::Waiting, vec![Effect::EndTerm, Effect::TryLock])
    );
}

#[test]
fn a_fenced_holder_verifies_and_begins_anew_a_non_holder_waits() {
    let (s, e) = step(lead(), Event::TermBroken, ms(1_100), &CONFIG);
    assert_eq!(e, vec![Effect::EndTerm, Effect::ReadEpoch]);
    let (s, _) = step(s, Event::EpochRead(8), ms(1_101), &CONFIG);
    let (s, e) = step(
        s,
        Event::LockChecked {
            asked_at: ms(1_102),
            mine: false,
        },
        ms(1_103),
        &CONFIG,
    );
    assert_eq!((s, e), (State::Waiting, vec![Effect::TryLock]));
}

#[test]
fn a_leader_without_its_store_gives_the_lock_to_others() {
    let (s, _) = step(lead(), Event::TermBroken, ms(1_100), &CONFIG);
    let (s, e) = step(s, Event::StoreFailed, ms(1_200), &CONFIG);
    assert_eq!(s, State::Waiting);
    assert_eq!(
        e,
        vec![Effect::Release, Effect::StandBack(CONFIG.stand_back())]
    );
}

#[test]
fn a_holder_asks_a_failing_lock_service_with_pauses() {
    let asked_at = ms(1_000);
    let (s, _) = step(
        State::Waiting,
        Event::LockTaken { asked_at },
        ms(1_001),
        &CONFIG,
    );
    let (s, _) = step(s, Event::EpochRead(6), ms(1_002), &CONFIG);
    let (s, e) = step(s, Event::LockUnreachable, ms(1_003), &CONFIG);
    assert_eq!(e, vec![Effect::StandBack(CONFIG.retry_period())]);
    let (s, e) = step(s, Event::Tick, ms(1_300), &CONFIG);
    assert_eq!(e, vec![Effect::ReadEpoch]);
    let (s, e) = step(s, Event::Tick, ms(5_500), &CONFIG);
    assert_eq!((s, e), (State::Waiting, vec![Effect::TryLock]));
}

#[test]
fn an_unanswered_renewal_is_tried_again_until_the_deadline() {
    let (s, e) = step(lead(), Event::LockUnreachable, ms(3_000), &CONFIG);
    assert_eq!(e, vec![Effect::RenewIn(CONFIG.retry_period())]);
    assert!(matches!(s, State::Leading { .. }));
    assert_eq!(next_epoch(5, 100), 100);
    assert_eq!(next_epoch(100, 100), 101);
}
