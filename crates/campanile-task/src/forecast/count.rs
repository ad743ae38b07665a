//! Counts the starts of one task into the minutes of the window. Knows no other task; a plain interval is counted by
//! arithmetic, so that its price is the number of minutes and not of starts.

use campanile_schedule::What;

use super::starts::{Budget, Grid, Subject, Window};
use super::{MINUTE_MS, Timestamp};

/// What one task comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) starts: u64,
    /// Occurrences that a calendar excludes.
    pub(super) excluded: u64,
    /// Occurrences that a calendar moves.
    pub(super) moved: u64,
    /// The shortest distance between two starts.
    pub(super) gap_ms: Option<i64>,
    /// Up to where it was counted, if steps ran out before the end.
    pub(super) counted_until: Option<Timestamp>,
}

/// Counts one task, `steps_max` of its events at most.
pub(super) fn count(
    subject: &Subject,
    window: Window,
    minutes: &mut [u32],
    budget: &mut Budget,
    steps_max: u64,
) -> Tally {
    match subject.grid(window) {
        Some(grid) if grid.step_ms < MINUTE_MS => count_grid(grid, window, minutes, budget),
        _ => count_events(subject, window, minutes, budget, steps_max),
    }
}

fn count_grid(grid: Grid, window: Window, minutes: &mut [u32], budget: &mut Budget) -> Tally {
    let mut tally = Tally {
        gap_ms: (grid.count() > 1).then_some(grid.step_ms),
        ..Tally::default()
    };
    if grid.count() == 0 {
        return tally;
    }
    let (first, last) = (
        window.minute_of(grid.first_ms),
        window.minute_of(grid.last_ms),
    );
    for n in first..=last {
        let minute = window.minute(n);
        if !budget.take() {
            tally.counted_until = Some(minute.from());
            break;
        }
        let starts = grid.count_in(minute);
        add(minutes, n, starts);
        tally.starts += starts;
    }
    tally
}

fn count_events(
    subject: &Subject,
    window: Window,
    minutes: &mut [u32],
    budget: &mut Budget,
    steps_max: u64,
) -> Tally {
    let mut tally = Tally::default();
    let mut last_ms: Option<i64> = None;
    for (steps, event) in (0..).zip(subject.events(window)) {
        if steps == steps_max || !budget.take() {
            tally.counted_until = Some(event.at);
            break;
        }
        match event.what {
            What::Due => {}
            What::Excluded => {
                tally.excluded += 1;
                continue;
            }
            What::Moved(_) => {
                tally.moved += 1;
                continue;
            }
        }
        let at_ms = event.at.as_ms();
        add(minutes, window.minute_of(at_ms), 1);
        tally.starts += 1;
        if let Some(last_ms) = last_ms.replace(at_ms) {
            let gap_ms = at_ms - last_ms;
            tally.gap_ms = Some(tally.gap_ms.map_or(gap_ms, |least| least.min(gap_ms)));
        }
    }
    tally
}

fn add(minutes: &mut [u32], n: usize, starts: u64) {
    if let Some(minute) = minutes.get_mut(n) {
        *minute = minute.saturating_add(u32::try_from(starts).unwrap_or(u32::MAX));
    }
}
