//! The judge: what a real store answered and holds must be what the reference (the store in memory, which is the pure
//! protocol under one lock) answers and holds after the same operations one after another.
//!
//! In which order? First in that of the commits. Where that does not explain it, any order is allowed that nobody
//! outside could tell from it: an operation that was answered before another began stays before it. A statement's
//! snapshot may be older than the commit that follows it, so two operations that overlap in time may count as either
//! order; each by itself must still be whole. A scene says whether it needs that, so that it is never met unseen.
//! Operations that the database broke (deadlock, timeout) must have changed nothing: they are left out.

use std::sync::Arc;

use campanile_core::decide::invariants;
use campanile_core::decide::invariants::Snapshot;
use campanile_core::decide::permits::LimitKey;
use campanile_core::memory::store::MemoryStore;
use campanile_core::system::SystemClock;

use super::content::{self, Content};
use super::driver::{Done, History};
use super::ops::{Answer, Kind};
use super::scenes::{LATER, Scene};

/// Which order explains a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    OfCommits,
    Another,
}

/// Judges a history: the order that explains it, or what is wrong with it.
pub(super) async fn judge(
    scene: &Scene,
    before: &Snapshot,
    history: &History,
    reorders: bool,
) -> Result<Order, String> {
    if let Some(broken) = history.done.iter().find(|d| d.answer.kind == Kind::Broken) {
        return Err(format!(
            "{} answered {}",
            broken.op.name(),
            broken.answer.text
        ));
    }
    invariants(scene, before, history)?;
    let mut stood: Vec<&Done> = history.done.iter().collect();
    stood.retain(|d| d.answer.kind != Kind::Failed);
    stood.sort_by_key(|d| d.took_effect);
    let mut orders = Vec::new();
    extend(&mut Vec::new(), &stood, &mut orders);
    let mut first = None;
    // The order of the commits comes first.
    for order in &orders {
        let (answers, content) = replay(scene, order).await;
        let mut wrong: Vec<String> = order
            .iter()
            .zip(&answers)
            .filter(|(done, answer)| done.answer.text != answer.text)
            .map(|(done, answer)| {
                let name = done.op.name();
                format!(
                    "{name}: the reference says {}, it said {}",
                    answer.text, done.answer.text
                )
            })
            .collect();
        wrong.extend(history.after.differences(&content));
        if wrong.is_empty() {
            return match (keeps_the_commits(order), reorders) {
                (true, _) => Ok(Order::OfCommits),
                (false, true) => Ok(Order::Another),
                (false, false) => {
                    Err("only another order than that of the commits explains it".into())
                }
            };
        }
        first.get_or_insert(wrong);
    }
    Err(format!(
        "no order of {} explains it; in that of the commits:\n{}",
        stood.len(),
        first.unwrap_or_default().join("\n")
    ))
}

fn invariants(scene: &Scene, before: &Snapshot, history: &History) -> Result<(), String> {
    let after = &history.after.snapshot;
    let exclusive = scene.keys.iter().filter_map(|key| match key {
        LimitKey::Overlap(task) => Some(*task),
        _ => None,
    });
    invariants::check(after)
        .and_then(|()| invariants::only_forward(before, after))
        .and_then(|()| invariants::one_at_a_time(after, &exclusive.collect()))
        .and_then(|()| invariants::one_of_a_chain(after))
        .map_err(|violation| violation.to_string())
}

/// Whether those that changed something stand in the order of their commits. Who was refused committed nothing, and
/// stands where it was refused.
fn keeps_the_commits(order: &[&Done]) -> bool {
    let changed = order.iter().filter(|d| d.answer.kind == Kind::Done);
    changed.map(|d| d.took_effect).is_sorted()
}

/// All orders that keep what was over before something else began.
fn extend<'d>(order: &mut Vec<&'d Done>, rest: &[&'d Done], found: &mut Vec<Vec<&'d Done>>) {
    if rest.is_empty() {
        found.push(order.clone());
        return;
    }
    for (at, next) in rest.iter().enumerate() {
        if rest.iter().any(|other| other.ended < next.began) {
            continue;
        }
        let mut others = rest.to_vec();
        others.remove(at);
        order.push(next);
        extend(order, &others, found);
        order.pop();
    }
}

/// What the reference answers and holds after these operations.
async fn replay(scene: &Scene, order: &[&Done]) -> (Vec<Answer>, Content) {
    let store = MemoryStore::new(Arc::new(SystemClock::new()));
    for op in &scene.setup {
        let answer = op.run(&store, LATER).await;
        assert_eq!(
            answer.kind,
            Kind::Done,
            "{}: {op:?}: {answer:?}",
            scene.name
        );
    }
    let mut answers = Vec::new();
    for done in order {
        answers.push(done.op.run(&store, LATER).await);
    }
    let blocked = store.snapshot().blocked;
    let content = content::read(&store, &scene.keys, blocked).await;
    (answers, content)
}
