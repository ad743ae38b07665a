//! What a history says of firings and ends. It decides nothing.

use campanile_core::port::Written;
use campanile_core::port::attempt::Finish;
use campanile_core::port::fire::{Firing, Owner};

use super::FaultyStore;
use crate::tally::Seen;

/// A firing in one line.
pub(super) fn describe(firing: &Firing) -> String {
    let runs = firing.runs.iter();
    let runs: Vec<String> = runs.map(|r| format!("{} for {}", r.id, r.due_at)).collect();
    let timers = firing.consumed.iter().filter_map(|d| match d.owner {
        Owner::Run(run) => Some(run.to_string()),
        Owner::Task(_) => None,
    });
    let timers: Vec<String> = timers.collect();
    let sent = firing.outbox.iter().flat_map(|o| &o.runs);
    let sent: Vec<String> = sent.map(|(run, n)| format!("{run}:{n}")).collect();
    let blocked = firing
        .blocked
        .iter()
        .map(|p| format!("{} under {}", p.run, p.key));
    let blocked: Vec<String> = blocked.collect();
    let got = firing
        .acquired
        .iter()
        .map(|p| format!("{} to {}", p.key, p.run));
    let got: Vec<String> = got.collect();
    let dropped = firing
        .dropped
        .iter()
        .map(|(run, _, why)| format!("{run} {}", why.as_str()));
    let replaced = firing
        .replaced
        .iter()
        .map(|r| format!("{} replaced", r.run));
    let over: Vec<String> = dropped.chain(replaced).collect();
    let skips = firing.skipped.iter();
    let skips: Vec<String> = skips
        .map(|r| {
            let last = r.skipped.map_or(r.due_at, |(last, _)| last);
            format!("{} {} to {last}: {}", r.id, r.due_at, r.reason.as_str())
        })
        .collect();
    format!(
        "new {runs:?} timers {timers:?} out {sent:?} blocked {blocked:?} permits {got:?} over {over:?} skips {skips:?}"
    )
}

impl FaultyStore {
    /// What became of ends.
    pub(super) fn note_finished(&self, ends: &[Finish], answers: &[Written]) {
        for (end, answer) in ends.iter().zip(answers) {
            let said = || format!("{}:{} {:?}", end.run, end.attempt, end.end);
            if answer.is_applied() {
                self.note("ended", said);
            } else {
                self.link.seen(Seen::LateEndRefused, 1, said);
            }
        }
    }
}
