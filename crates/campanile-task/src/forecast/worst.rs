//! The worst minutes and who makes them. The minutes are known from the count; each task is then asked about those
//! minutes alone, so nothing about all minutes of all tasks is ever kept.

use std::collections::HashMap;

use super::WORST_STEPS_MAX;
use super::report::{Crowd, Minute, Others, Share};
use super::starts::{Budget, Subject, Window};

/// Tasks, and schedules, that are named for one minute.
const SHARES_MAX: usize = 5;

/// Who may start something.
pub(super) struct Makers<'a> {
    pub(super) subjects: &'a [Subject],
    /// The texts of their schedules, with their numbers.
    pub(super) schedules: &'a HashMap<String, u32>,
}

/// The `top` minutes with the most starts, worst first (the earlier of equals), and whether all their tasks were found.
pub(super) fn minutes(
    counts: &[u32],
    makers: &Makers<'_>,
    window: Window,
    top: usize,
) -> (Vec<Minute>, bool) {
    let numbers = highest(counts, top);
    let mut leaders: Vec<Leaders<'_>> = numbers.iter().map(|_| Leaders::default()).collect();
    let mut budget = Budget::of(WORST_STEPS_MAX);
    for subject in makers.subjects {
        for (n, leaders) in numbers.iter().zip(&mut leaders) {
            let starts = starts_in(subject, window.minute(*n), &mut budget);
            leaders.add(subject, starts);
        }
        if budget.is_spent() {
            break;
        }
    }
    let texts: HashMap<u32, &String> = makers.schedules.iter().map(|(t, n)| (*n, t)).collect();
    let minutes = numbers.iter().zip(leaders).map(|(n, leaders)| {
        let starts = counts.get(*n).copied().unwrap_or(0);
        leaders.report(window.minute(*n), starts, &texts)
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
    by_schedule: HashMap<u32, Others>,
}

impl<'a> Leaders<'a> {
    fn add(&mut self, subject: &'a Subject, starts: u64) {
        if starts == 0 {
            return;
        }
        let crowd = self.by_schedule.entry(subject.schedule).or_default();
        crowd.add(starts);
        let name = &*subject.name;
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

    fn report(self, minute: Window, starts: u32, texts: &HashMap<u32, &String>) -> Minute {
        let share = |(task, starts): (&str, u64)| Share {
            task: task.to_owned(),
            starts,
        };
        let crowd = |(n, sum): (u32, Others)| Crowd {
            schedule: texts.get(&n).map_or_else(String::new, |t| (*t).clone()),
            tasks: sum.tasks,
            starts: sum.starts,
        };
        let mut schedules: Vec<Crowd> = self.by_schedule.into_iter().map(crowd).collect();
        schedules.sort_by(|a, b| (b.starts, &a.schedule).cmp(&(a.starts, &b.schedule)));
        schedules.truncate(SHARES_MAX);
        Minute {
            at: minute.from(),
            starts,
            tasks: self.best.into_iter().map(share).collect(),
            others: self.others,
            schedules,
        }
    }
}
