//! Events that a campaign must have met at least once, or it proved nothing: takeovers, refused writes of deposed leaders,
//! duplicates, lost and recovered runs, and each policy at work. Counted from the store and from the nodes' own counters.

use campanile_core::run::{Reason, State};

use super::watch::Watch;
use crate::book::Run;
use crate::judge::Evidence;

/// An event and how often it was met.
pub type Seen = (&'static str, u64);

/// All events of a campaign under faults.
pub fn events(evidence: &Evidence, watch: &Watch) -> Vec<Seen> {
    let mut seen = leaders(watch);
    seen.extend(messages(watch));
    seen.extend(workers(evidence, watch));
    seen.extend(policies(evidence, watch));
    seen
}

/// Events of a campaign without a lock.
pub fn without_lock(evidence: &Evidence, watch: &Watch) -> Vec<Seen> {
    let mut seen = leaders(watch);
    seen.push(("several nodes believed to lead at once", watch.believed().0));
    seen.push(("duplicate message refused", watch.sum("claims_refused")));
    seen.push(("overlap: skipped", skipped(evidence, Reason::Overlap)));
    seen.push(("overlap: replaced", replaced(evidence)));
    seen.push(("failed once, tried again, succeeded", retried(evidence)));
    seen
}

fn leaders(watch: &Watch) -> Vec<Seen> {
    vec![
        ("term begun", watch.sum("terms_begun")),
        ("deposed leader's write refused", watch.sum("writes_fenced")),
    ]
}

fn messages(watch: &Watch) -> Vec<Seen> {
    vec![
        ("publish not confirmed", watch.sum("messages_unconfirmed")),
        (
            "published run not taken, to be published again",
            watch.sum("runs_marked_queued"),
        ),
        ("duplicate message refused", watch.sum("claims_refused")),
        (
            "forged or broken message refused",
            watch.sum("messages_refused"),
        ),
    ]
}

fn workers(evidence: &Evidence, watch: &Watch) -> Vec<Seen> {
    let count =
        |of: &dyn Fn(&Run) -> bool| evidence.runs.iter().filter(|run| of(run)).count() as u64;
    vec![
        ("silent node evicted", watch.sum("nodes_evicted")),
        ("end of a stale claim refused", watch.sum("ends_stale")),
        ("worker fenced itself", watch.sum("self_fenced")),
        (
            "lost attempt started again and succeeded",
            count(&|run| run.row.losses > 0 && run.row.state == State::Succeeded),
        ),
        (
            "run failed as lost",
            count(&|run| run.row.state == State::Failed && run.row.reason == Reason::Lost),
        ),
        ("failed once, tried again, succeeded", retried(evidence)),
    ]
}

fn policies(evidence: &Evidence, watch: &Watch) -> Vec<Seen> {
    let cancelled = evidence.runs.iter();
    let cancelled = cancelled.filter(|run| run.row.reason == Reason::Requested);
    let missed = skipped(evidence, Reason::Misfire) + skipped(evidence, Reason::CatchUpLimit);
    vec![
        ("instant missed, by policy", missed),
        ("overlap: skipped", skipped(evidence, Reason::Overlap)),
        ("overlap: waited for its permit", watch.blocked_most()),
        ("overlap: replaced", replaced(evidence)),
        (
            "instant passed in a pause",
            skipped(evidence, Reason::Paused),
        ),
        ("run cancelled by people", cancelled.count() as u64),
    ]
}

fn skipped(evidence: &Evidence, why: Reason) -> u64 {
    let rows = evidence.runs.iter();
    let rows = rows.filter(|run| run.row.state == State::Skipped && run.row.reason == why);
    let instants: i64 = rows.map(|run| run.count()).sum();
    u64::try_from(instants).unwrap_or(0)
}

fn replaced(evidence: &Evidence) -> u64 {
    let rows = evidence.runs.iter();
    rows.filter(|run| run.row.reason == Reason::Replaced)
        .count() as u64
}

fn retried(evidence: &Evidence) -> u64 {
    let rows = evidence.runs.iter();
    let again = rows.filter(|run| run.row.failures > 0 && run.row.state == State::Succeeded);
    again.count() as u64
}
