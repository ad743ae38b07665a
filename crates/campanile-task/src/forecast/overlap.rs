//! Runs that meet an earlier run of their task which is still active, expected from how long its runs typically take.
//! It plays the policies with that one duration: an estimate of how often they will have a say, never a promise.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::report::{Cut, Overlap, Overlaps};
use super::starts::{Budget, Subject, Window};
use super::{CANDIDATE_GAP_MAX, CANDIDATES_MAX, OVERLAP_STEPS_MAX, ms_of};
use crate::task::Overlap as Policy;

/// Runs that are followed side by side; more are counted as so many.
const AT_ONCE_MAX: usize = 10_000;

/// The tasks that overlaps are looked for in, the most frequent first.
pub(super) fn candidates(subjects: &[Subject]) -> Vec<&Subject> {
    let near = |s: &&Subject| s.gap_ms.is_some_and(|gap| gap < ms_of(CANDIDATE_GAP_MAX));
    let mut all: Vec<&Subject> = subjects.iter().filter(near).collect();
    all.sort_by(|a, b| (b.starts, &a.name).cmp(&(a.starts, &b.name)));
    all.truncate(CANDIDATES_MAX);
    all
}

/// Looks for overlaps in those tasks whose duration is known.
pub(super) fn find(
    subjects: &[Subject],
    typical: &HashMap<String, Duration>,
    window: Window,
    top: usize,
    cut: &mut Cut,
) -> Overlaps {
    let mut budget = Budget::of(OVERLAP_STEPS_MAX);
    let mut out = Overlaps::default();
    for subject in candidates(subjects) {
        out.candidates += 1;
        let Some(typical) = typical.get(&*subject.name) else {
            continue;
        };
        out.measured += 1;
        let gap_ms = subject.gap_ms.unwrap_or(i64::MAX);
        if ms_of(*typical) <= gap_ms {
            continue;
        }
        let starts = subject.starts(window).take_while(|_| budget.take());
        let told = play(starts, ms_of(*typical), subject.overlap, subject.queue_max);
        if told.met > 0 {
            out.found += 1;
            out.tasks.push(Overlap {
                task: subject.name.to_string(),
                gap_ms,
                ..told
            });
        }
    }
    cut.overlaps = budget.is_spent();
    out.tasks
        .sort_by(|a, b| (b.met, &a.task).cmp(&(a.met, &b.task)));
    out.tasks.truncate(top);
    out
}

/// What a policy makes of starts (in milliseconds, in order) whose runs all take the same time.
pub(super) fn play(
    starts: impl Iterator<Item = i64>,
    typical_ms: i64,
    policy: Policy,
    queue_max: u32,
) -> Overlap {
    let mut told = Overlap {
        task: String::new(),
        policy,
        typical_ms,
        gap_ms: 0,
        starts: 0,
        met: 0,
        at_once: 0,
        skipped: 0,
        waited: 0,
        longest_wait_ms: 0,
        replaced: 0,
    };
    // When the runs end that are active or wait, in order.
    let mut ends: VecDeque<i64> = VecDeque::new();
    for at_ms in starts {
        told.starts += 1;
        while ends.front().is_some_and(|end| *end <= at_ms) {
            let _ = ends.pop_front();
        }
        let active = ends.len();
        told.met += u64::from(active > 0);
        let mut begins_ms = at_ms;
        match policy {
            Policy::Allow if active == AT_ONCE_MAX => continue,
            Policy::Skip if active > 0 => {
                told.skipped += 1;
                continue;
            }
            // One of them is active, the others wait.
            Policy::Queue if active > queue_max as usize => {
                told.skipped += 1;
                continue;
            }
            Policy::Queue if active > 0 => {
                told.waited += 1;
                begins_ms = ends.back().copied().unwrap_or(at_ms);
                told.longest_wait_ms = told.longest_wait_ms.max(begins_ms - at_ms);
            }
            Policy::Replace if active > 0 => {
                told.replaced += 1;
                ends.clear();
            }
            _ => {}
        }
        ends.push_back(begins_ms.saturating_add(typical_ms));
        let at_once = if policy == Policy::Allow {
            ends.len()
        } else {
            1
        };
        told.at_once = told.at_once.max(u64::try_from(at_once).unwrap_or(0));
    }
    told
}
