//! Permits: who gets one, who waits, and who is next.

use super::*;

fn run(n: i64) -> RunId {
    RunId::from_i64(n)
}

fn group(name: &str) -> LimitKey {
    LimitKey::Group(name.to_owned())
}

#[test]
fn a_limit_lets_as_many_through_as_it_says() {
    let mut board = Board::default();
    let keys = [(group("db"), 2)];
    for n in [1, 2] {
        let got = board.take(run(n), false, &keys).unwrap();
        assert_eq!(got.len(), 1);
    }
    let full = board.take(run(3), false, &keys).unwrap_err();
    assert_eq!((full.key, full.held.len()), (group("db"), 2));
    // Who has one already passes, and takes none.
    assert_eq!(board.take(run(1), false, &keys).unwrap(), vec![]);
    board.release(run(1));
    assert_eq!(board.take(run(3), false, &keys).unwrap()[0].n, 0);
}

#[test]
fn a_lowered_limit_lets_nobody_through_until_enough_have_ended() {
    let held = [3, 4].map(|n| Held {
        n,
        run: run(i64::from(n)),
        state: State::Running,
        in_turn: false,
    });
    let standing = Standing {
        held: held.to_vec(),
        blocked: 0,
    };
    let mut board = Board::new(HashMap::from([(group("db"), standing)]));
    assert!(board.take(run(9), false, &[(group("db"), 2)]).is_err());
    board.release(run(3));
    assert_eq!(
        board.take(run(9), false, &[(group("db"), 2)]).unwrap()[0].n,
        0
    );
}

#[test]
fn shared_permits_are_taken_all_or_none_and_the_tasks_own_is_kept() {
    let mut board = Board::default();
    let own = LimitKey::Overlap(TaskId::from_i64(7));
    board.take(run(1), false, &[(group("full"), 1)]).unwrap();
    let keys = [(group("free"), 1), (own.clone(), 1), (group("full"), 1)];
    let full = board.take(run(2), false, &keys).unwrap_err();
    assert_eq!(full.key, group("full"));
    assert_eq!(full.got.len(), 1);
    assert_eq!(full.got[0].key, own);
    assert!(board.standing(&group("free")).held.is_empty());
}

#[test]
fn keys_are_spelled_and_read_back() {
    for key in [
        LimitKey::Overlap(TaskId::from_i64(5)),
        LimitKey::Task(TaskId::from_i64(5)),
        LimitKey::Queue(QueueName::new("reports")),
        group("db"),
        LimitKey::Ability(QueueName::new("reports"), "native:close.books".to_owned()),
    ] {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    assert!("reports".parse::<LimitKey>().is_err());
    assert!("topic:x".parse::<LimitKey>().is_err());
}
