//! What only this test condemns, each way once.

use super::*;
use crate::book::Attempt;
use crate::judge::tests::{end, run};

const NODE: i64 = 77;

/// One that was started again after its worker died, one that may start once and was not.
fn sound() -> Evidence {
    let mut runs = vec![run(1, "quick", 10_000), run(2, "once", 11_000)];
    (runs[0].row.attempt, runs[0].row.losses) = (2, 1);
    end(&mut runs[1], State::Failed, Reason::Lost);
    runs[1].row.losses = 1;
    let lost = |run| Attempt {
        run,
        attempt: 1,
        worker: NODE,
        reason: Reason::Lost,
    };
    Evidence {
        runs,
        attempts: vec![lost(1), lost(2)],
        ..Evidence::default()
    }
}

#[test]
fn only_a_killed_worker_explains_a_second_attempt() {
    assert!(explained(&sound(), &[NODE]).passed);
    let cases: [fn(&mut Evidence); 6] = [
        |e| e.attempts[0].worker = 1,
        |e| e.attempts[0].reason = Reason::Error,
        |e| e.runs[0].row.failures = 1,
        |e| e.runs[0].row.attempt = 3,
        |e| {
            e.attempts.pop();
        },
        |e| {
            e.runs.remove(0);
            e.attempts.remove(0);
        },
    ];
    for (number, spoil) in cases.into_iter().enumerate() {
        let mut evidence = sound();
        spoil(&mut evidence);
        assert!(!explained(&evidence, &[NODE]).passed, "case {number}");
    }
    assert!(!duplicates(0).passed && duplicates(1).passed);
}

#[test]
fn a_run_of_a_term_that_was_over_is_condemned() {
    let term = |epoch, since_ms| Leader {
        epoch,
        node: "s1".to_owned(),
        since_ms,
    };
    // Minted in the second second of 2020.
    let minted = run(1_000 << 22, "quick", 10_000);
    let terms = [term(1, 1_577_836_800_500), term(2, 1_577_836_801_500)];
    let judge =
        |terms: &[Leader], run: &Run| one_term_at_a_time(terms, std::slice::from_ref(run)).passed;
    assert!(judge(&terms, &minted));
    let early = [terms[0].clone(), term(2, 1_577_836_800_900)];
    assert!(!judge(&early, &minted));
    let swapped = [terms[1].clone(), terms[0].clone()];
    assert!(!judge(&swapped, &minted));
    let mut stranger = minted;
    stranger.row.epoch = 9;
    assert!(!judge(&terms, &stranger));
}

#[test]
fn nothing_may_be_skipped_or_fail() {
    let evidence = Evidence::default();
    let case = Case::of(&evidence);
    let ends = |kind, state, reason| {
        let mut run = run(1, "t", 10_000);
        end(&mut run, state, reason);
        may_end(&case, &Task::new("t", kind, Some(1), 0), &run)
    };
    assert!(ends(Kind::Well, State::Succeeded, Reason::None));
    assert!(ends(Kind::Order, State::Succeeded, Reason::HandedOver));
    assert!(ends(Kind::Once, State::Failed, Reason::Lost));
    assert!(!ends(Kind::Order, State::Succeeded, Reason::None));
    assert!(!ends(Kind::Well, State::Failed, Reason::Lost));
    assert!(!ends(Kind::Well, State::Skipped, Reason::Misfire));
    assert!(!ends(Kind::Well, State::Cancelled, Reason::Requested));
}
