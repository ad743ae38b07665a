//! Deletions: what wants a confirmation, what a token stands for, and how long a deleted task is looked after.

use super::*;

fn doomed(task: i64, version: i64, waiting: u64, newest: i64) -> Doomed {
    let task = TaskId::from_i64(task);
    Doomed {
        task,
        version,
        backlog: (waiting > 0).then_some(Backlog {
            task,
            waiting,
            requested: waiting,
            newest: Some(RunId::from_i64(newest)),
        }),
    }
}

#[test]
fn many_tasks_and_waiting_runs_are_asked_about() {
    let idle = |n: i64| (0..n).map(|id| doomed(id, 1, 0, 0)).collect::<Vec<_>>();
    for (count, owned, asked) in [
        (20, 20, false),
        (21, 21, true),
        (21, 209, true),
        (21, 210, false),
        (500, 5_000, false),
        (501, 5_000, true),
    ] {
        assert_eq!(
            must_be_confirmed(&idle(count), owned),
            asked,
            "{count} of {owned}"
        );
    }
    assert!(must_be_confirmed(&[doomed(1, 1, 1, 7)], 100));
    assert!(!must_be_confirmed(&[], 0));
}

#[test]
fn a_token_stands_for_its_set_and_no_other() {
    let set = [doomed(1, 1, 2, 70), doomed(2, 5, 0, 0)];
    let token = Token::of(&set);
    assert_eq!(token.to_string().parse(), Ok(token.clone()));
    assert!(token.covers(&set));
    assert!(token.covers(&[set[1], set[0]]), "in any order");
    for other in [
        vec![set[0]],
        vec![set[0], doomed(3, 5, 0, 0)],
        vec![set[0], doomed(2, 6, 0, 0)],
        vec![set[0], set[1], doomed(3, 1, 0, 0)],
        vec![doomed(1, 1, 3, 70), set[1]],
        vec![doomed(1, 1, 2, 71), set[1]],
    ] {
        assert_ne!(Token::of(&other), token);
        assert!(!token.covers(&other), "{other:?}");
    }
    let started = [doomed(1, 1, 1, 60), set[1]];
    assert_ne!(Token::of(&started), token);
    assert!(
        token.covers(&started),
        "a run that has started spoils nothing"
    );
    assert!(!Token::of(&started).covers(&set));
}

#[test]
fn what_is_not_a_token_is_refused() {
    let good = Token::of(&[doomed(1, 1, 1, 7)]).to_string();
    let forged = good.replacen("7.", "ff.", 1).parse::<Token>().unwrap();
    assert!(!forged.covers(&[doomed(1, 1, 1, 255)]));
    for wrong in [
        "",
        ".",
        "7.1.",
        "7.1.zz",
        &good[1..],
        "yes",
        &format!("{good}00"),
    ] {
        assert_eq!(wrong.parse::<Token>(), Err(Malformed), "{wrong}");
    }
}

#[test]
fn deleted_tasks_are_looked_after_at_once_and_once_more() {
    let at = |s: i64| Timestamp::from_ms(1_790_000_000_000 + s * 1_000);
    let open = |count, first, last| {
        Some(Deletions {
            count,
            first_at: at(first),
            last_at: at(last),
        })
    };
    let looks = |looked: Looked, open, now| matches!(looked.next(open, at(now)), Next::Look { .. });
    let fresh = Looked::default();
    assert!(!looks(fresh, None, 0));
    assert!(looks(fresh, open(1, 0, 0), 0));
    let looked = Looked::after(open(1, 0, 0));
    assert!(!looks(looked, open(1, 0, 0), 1));
    assert!(looks(looked, open(2, 0, 1), 1), "another task was deleted");
    assert!(looks(looked, open(1, 0, 0), 60), "the last look");
    let last = looked.next(open(1, 0, 0), at(60));
    assert_eq!(last, Next::Look { forget: at(0) });
}
