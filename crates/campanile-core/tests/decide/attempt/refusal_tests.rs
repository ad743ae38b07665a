//! What is done with what the store refuses: halves, less of it, and setting aside.

use super::*;
use crate::id::{ClaimId, RunId};

fn finish(end: End, log: usize) -> Finish {
    Finish {
        run: RunId::from_i64(1),
        attempt: 1,
        claim: ClaimId::from_i64(1),
        end,
        at: Timestamp::MAX,
        error: Some("it broke".to_owned()),
        class: None,
        log: Some(Chunks::of("x".repeat(log))),
        result: None,
        limited: false,
    }
}

/// Whichever things are refused, each of them stands alone in the end, and all others are taken once.
#[test]
fn every_culprit_stands_alone() {
    for count in 0..12_usize {
        for culprits in 0..1_u32 << count {
            let is_bad = |n: usize| culprits >> n & 1 == 1;
            let (mut parts, mut taken, mut alone) = (Parts::of(count), Vec::new(), Vec::new());
            while let Some(part) = parts.take() {
                if part.clone().any(is_bad) {
                    alone.extend(parts.refused(&part));
                } else {
                    taken.extend(part);
                }
            }
            assert!(alone.iter().all(|n| is_bad(*n)), "{alone:?}");
            let mut all = [taken, alone].concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}

#[test]
fn less_is_recorded_step_by_step() {
    let now = Timestamp::from_ms(5);
    let over = End::Failed(Reason::Unrecordable);
    let again = |ready_at| End::Again {
        ready_at,
        why: Reason::Error,
    };
    for (end, expected) in [
        (End::Failed(Reason::Error), vec![over]),
        (End::Succeeded, vec![End::Succeeded, over]),
        (
            End::Cancelled(Reason::Requested),
            vec![End::Cancelled(Reason::Requested), over],
        ),
        (again(Timestamp::MAX), vec![again(now), over]),
        (
            End::Abandoned {
                ready_at: Timestamp::MAX,
            },
            vec![End::Abandoned { ready_at: now }],
        ),
    ] {
        let steps = with_less(&finish(end, 1), now);
        assert_eq!(steps.iter().map(|s| s.end).collect::<Vec<_>>(), expected);
        assert!(
            steps
                .iter()
                .all(|s| s.at == now && s.error.is_none() && s.log.is_none())
        );
    }
}

#[test]
fn a_batch_is_bounded_in_bytes_and_rows() {
    let small = vec![finish(End::Succeeded, 0); limits::FINISH_ROWS_MAX + 1];
    assert_eq!(batch_of(&small), limits::FINISH_ROWS_MAX);
    let large = vec![finish(End::Succeeded, limits::LOG_BYTES); 100];
    let count = batch_of(&large);
    assert!(
        count < 100
            && large[..count].iter().map(bytes_of).sum::<usize>() <= limits::FINISH_BYTES_MAX
    );
    let huge = [finish(End::Succeeded, limits::FINISH_BYTES_MAX * 2)];
    assert_eq!((batch_of(&huge), batch_of(&[])), (1, 0));
}

#[test]
fn firings_narrow_to_the_culprit_and_stop_when_all_are_refused() {
    let mut width = Width::default();
    for rows in [900, 450, 2] {
        assert_eq!(width.refused(rows), Next::Fewer);
        assert_eq!(width.rows(), rows / 2);
    }
    assert_eq!(
        (width.refused(1), width.rows()),
        (Next::SetAside, usize::MAX)
    );
    width.accepted();
    for _ in 0..limits::SET_ASIDE_IN_A_ROW_MAX {
        assert_eq!(width.refused(1), Next::SetAside);
    }
    assert_eq!(width.refused(1), Next::Stop);
}
