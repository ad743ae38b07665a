//! The worst minutes and who makes them. The minutes are known from the count; each task is then asked about those
//! minutes alone, so nothing about all minutes of all tasks is ever kept.

use super::WORST_STEPS_MAX;
use super::report::{Minute, Others, Share};
use super::starts::{Budget, Subject, Window};

/// Tasks that are named for one minute.
const SHARES_MAX: usize = 5;

/// The `top` minutes with the most starts, worst first (the earlier of equals), and whether all their tasks were found.
pub(super) fn minutes(
    counts: &[u32],
    subjects: &[Subject],
    window: Window,
    top: usize,
) -> (Vec<Minute>, bool) {
    let numbers = highest(counts, top);
    let mut leaders: Vec<Leaders> = numbers.iter().map(|_| Leaders::default()).collect();
    let mut budget = Budget::of(WORST_STEPS_MAX);
    for subject in subjects {
        for (n, leaders) in numbers.iter().zip(&mut leaders) {
            let starts = starts_in(subject, window.minute(*n), &mut budget);
            leaders.add(&subject.name, starts);
        }
        if budget.is_spent() {
            break;
        }
    }
    let minutes = numbers.iter().zip(leaders).map(|(n, leaders)| Minute {
        at: window.minute(*n).from(),
        starts: counts.get(*n).copied().unwrap_or(0),
        tasks: leaders
            .best
            .into_iter()
            .map(|(task, starts)| Share {
                task: task.to_owned(),
                starts,
            })
            .collect(),
        others: leaders.others,
    });
    (minutes.collect(), !budget.is_spent())
}

/// The numbers of the highest counts above zero, highest first.
fn highest(counts: &[u32], top: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..counts.len()).filter(|n| counts[*n] > 0).collect();
    let order = |n: &usize| (std::cmp::Reverse(counts[*n]), *n);
    if numbers.len() > top {
        let _ = numbers.select_nth_unstable_by_key(top, order);
        numbers.truncate(top);
    }
    numbers.sort_unstable_by_key(order);
    numbers
}

fn starts_in(subject: &Subject, minute: Window, budget: &mut Budget) -> u64 {
    if let Some(grid) = subject.grid(minute) {
        let _ = budget.take();
        return grid.count();
    }
    let mut starts = 0;
    let _ = budget.take();
    for _ in subject.starts(minute) {
        starts += 1;
        if !budget.take() {
            break;
        }
    }
    starts
}

/// The tasks with the most starts of one minute.
#[derive(Debug, Default)]
struct Leaders<'a> {
    /// Most first; of equals, by name.
    best: Vec<(&'a str, u64)>,
    others: Others,
}

impl<'a> Leaders<'a> {
    fn add(&mut self, name: &'a str, starts: u64) {
        if starts == 0 {
            return;
        }
        let before = |(other, most): &(&str, u64)| (*most, name) > (starts, other);
        let place = self.best.partition_point(before);
        if place < SHARES_MAX {
            self.best.insert(place, (name, starts));
        } else {
            self.others.add(starts);
        }
        if self.best.len() > SHARES_MAX
            && let Some((_, dropped)) = self.best.pop()
        {
            self.others.add(dropped);
        }
    }
}
