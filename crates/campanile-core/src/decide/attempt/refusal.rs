//! What is done about something that the store refuses: batches are halved until it stands alone, and what stands alone is
//! recorded with less, or set aside. Pure; which refusal is one is [`crate::port::store::Error::is_refusal`]'s to say.

use std::ops::Range;

use campanile_schedule::time::Timestamp;

use crate::decide::publish::routing::refusal_wait;
use crate::limits;
use crate::port::attempt::{Chunks, End, Finish};
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
        result: None,
        ..finish.clone()
    };
    let over = End::Failed(Reason::Unrecordable);
    let end = match finish.end {
        End::Failed(_) => over,
        End::Again { why, .. } => End::Again { ready_at: now, why },
        End::Refused { .. } => End::Refused { ready_at: now },
        End::Abandoned { .. } => End::Abandoned { ready_at: now },
        other => other,
    };
    let mut steps = vec![Finish {
        end,
        ..bare.clone()
    }];
    // What was abandoned may have no claim to end under.
    if end != over && !matches!(end, End::Abandoned { .. }) {
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
    let log = finish.log.as_ref().map_or(0, Chunks::bytes);
    256 + text(&finish.error) + log + text(&finish.result)
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
#[path = "../../../tests/decide/attempt/refusal_tests.rs"]
mod tests;
