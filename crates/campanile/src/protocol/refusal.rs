//! What is done about something that the store refuses: batches are halved until it stands alone, and what stands alone is
//! recorded with less, or set aside. Pure; which refusal is one is [`crate::port::store::Error::is_refusal`]'s to say.

use std::ops::Range;

use campanile_schedule::time::Timestamp;

use super::limits;
use super::routing::refusal_wait;
use super::work::{End, Finish};
use crate::run::Reason;

/// The halves of a batch; `None` when it is one thing.
#[must_use]
pub fn halves(batch: &Range<usize>) -> Option<[Range<usize>; 2]> {
    let middle = batch.start + batch.len() / 2;
    (batch.len() > 1).then_some([batch.start..middle, middle..batch.end])
}

/// The parts of a batch that are still to be tried, first things first.
#[derive(Debug)]
pub struct Parts(Vec<Range<usize>>);

impl Parts {
    /// Of a batch of this many.
    #[must_use]
    pub fn of(count: usize) -> Self {
        Self(
            std::iter::once(0..count)
                .filter(|all| !all.is_empty())
                .collect(),
        )
    }

    /// The next part to try.
    pub fn take(&mut self) -> Option<Range<usize>> {
        self.0.pop()
    }

    /// A part was refused: its halves are tried next. Answers the thing that stands alone.
    pub fn refused(&mut self, part: &Range<usize>) -> Option<usize> {
        let Some([first, second]) = halves(part) else {
            return Some(part.start);
        };
        self.0.extend([second, first]);
        None
    }
}

/// What to record instead of an end that is refused, one after the other until one is taken: the same without its texts,
/// at an instant that every store can keep; then, that it is over. An end that fails anyway says that it is not all.
#[must_use]
pub fn with_less(finish: &Finish, now: Timestamp) -> Vec<Finish> {
    let bare = Finish {
        at: now,
        error: None,
        class: None,
        log: None,
        ..finish.clone()
    };
    let over = End::Failed(Reason::Unrecordable);
    let end = match finish.end {
        End::Failed(_) => over,
        End::Again { why, .. } => End::Again { ready_at: now, why },
        End::Refused { .. } => End::Refused { ready_at: now },
        End::Withdrawn { .. } => End::Withdrawn { ready_at: now },
        other => other,
    };
    let mut steps = vec![Finish {
        end,
        ..bare.clone()
    }];
    // What was withdrawn may have no claim to end under.
    if end != over && !matches!(end, End::Withdrawn { .. }) {
        steps.push(Finish { end: over, ..bare });
    }
    steps
}

/// An attempt that could not be carried out is given back without blame, and waits the longer the more often that was.
#[must_use]
pub fn give_back(earlier: u32, now: Timestamp) -> End {
    End::Refused {
        ready_at: now.plus(refusal_wait(earlier)),
    }
}

/// About how many bytes an end takes on its way to the store.
#[must_use]
pub fn bytes_of(finish: &Finish) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    256 + text(&finish.error) + text(&finish.log)
}

/// How many of these ends go into the next batch: within the bounds of rows and bytes, and at least one.
#[must_use]
pub fn batch_of(ends: &[Finish]) -> usize {
    let mut bytes = 0;
    let fits = |finish: &&Finish| {
        bytes += bytes_of(finish);
        bytes <= limits::FINISH_BYTES_MAX
    };
    let count = ends
        .iter()
        .take(limits::FINISH_ROWS_MAX)
        .take_while(fits)
        .count();
    count.max(usize::from(!ends.is_empty()))
}

/// How many due rows the next firing takes: fewer after each refusal, until one stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    rows: usize,
    aside: u32,
}

/// What is done after a refused firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Fewer rows are tried.
    Fewer,
    /// This one row is set aside.
    SetAside,
    /// So many stood alone, one after the other, that it is not the rows: nothing more is set aside.
    Stop,
}

impl Default for Width {
    fn default() -> Self {
        Self {
            rows: usize::MAX,
            aside: 0,
        }
    }
}

impl Width {
    /// How many rows.
    #[must_use]
    pub const fn rows(self) -> usize {
        self.rows
    }

    /// A firing of so many rows was refused.
    pub const fn refused(&mut self, rows: usize) -> Next {
        if rows > 1 {
            self.rows = rows / 2;
            return Next::Fewer;
        }
        self.rows = usize::MAX;
        if self.aside >= limits::SET_ASIDE_IN_A_ROW_MAX {
            return Next::Stop;
        }
        self.aside += 1;
        Next::SetAside
    }

    /// A firing was taken: the store takes things.
    pub const fn accepted(&mut self) {
        self.aside = 0;
    }
}

#[cfg(test)]
mod tests {
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
            log: Some("x".repeat(log)),
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
                End::Withdrawn {
                    ready_at: Timestamp::MAX,
                },
                vec![End::Withdrawn { ready_at: now }],
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
        let large = vec![finish(End::Succeeded, limits::LOG_BYTES_MAX); 100];
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
}
