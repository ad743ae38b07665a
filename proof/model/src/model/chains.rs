//! A schedule that goes on from the ends of its runs: who holds the chain, what an end and an edit make of it, and the
//! scenes and mutants that are about it. When the next is due is [`Chain::next`]'s.

use campanile_core::decide::invariants::{self, Chained, Snapshot};
use campanile_core::id::TaskId;
use campanile_core::port::fire::{DueKey, Owner};
use campanile_core::run::Run;
use campanile_core::task::Chain;
use serde_json::json;

use super::bounds::{Bounds, Guards, TASK, second, tick};
use super::edits::Definition;
use super::mutants::{Fate, Mutant, judge_all};
use super::properties as p;
use super::scenes::{Named, change, left, named, steady};
use super::store::Store;
use super::world::{Scene, World};

impl Store {
    /// A run has ended: if it held the chain, the next due row is put.
    pub fn end_chain(&mut self, run: &Run, guards: &Guards) {
        let held = self.holder == Some(run.id);
        let Some(chain) = self.chain.filter(|_| held) else {
            return;
        };
        self.holder = None;
        let ended_at = run.finished_at.unwrap_or(run.due_at);
        let next = chain.next(run.due_at, ended_at);
        let key = |at| DueKey {
            queue: run.queue.clone(),
            at,
            owner: Owner::Task(TaskId::from_i64(TASK)),
        };
        let next = next.filter(|_| guards.end_goes_on);
        self.due.extend(next.map(key));
        if !guards.end_puts_once {
            let again = next.map(|at| at.plus(std::time::Duration::from_millis(1)));
            self.due.extend(again.map(key));
        }
    }

    /// The task is another from now on.
    pub fn edit_chain(&mut self, scene: &Scene, definition: Definition) {
        let chain = Chain::of(&scene.definition(definition).task.spec);
        self.chain = chain.filter(|_| !definition.deleted);
        self.holder = self.holder.filter(|_| self.chain.is_some());
    }

    /// As the invariants are told.
    pub fn chained(&self) -> Vec<Chained> {
        let chained = self.chain.map(|chain| Chained {
            task: TaskId::from_i64(TASK),
            chain,
            holder: self.holder,
            aside: false,
        });
        chained.into_iter().collect()
    }
}

/// I17, and that nothing stands still that could go on before the end of its schedule.
pub fn goes_on(snapshot: &Snapshot, world: &World) -> bool {
    let fits =
        invariants::chains_go_on(snapshot).and_then(|()| invariants::one_of_a_chain(snapshot));
    let store = &world.store;
    let stands = store.holder.is_none() && store.due_row().is_none();
    let could = store.chain.is_some_and(|chain| {
        let now = tick(world.clock);
        chain.next(now, now).is_some()
    });
    fits.is_ok() && !(stands && could)
}

/// An end puts the next one 8 s later: the ends of each tick are those of the next tick's occurrence.
fn chained(bounds: &Bounds) -> Bounds {
    Bounds {
        last_tick: 3,
        task: json!({"schedule": "after 8s", "max_count": null, "ends_at": second(22)}),
        edited: json!({"schedule": "after 18s"}),
        ..*bounds
    }
}

pub fn of_chains() -> Vec<Named> {
    let ahead = |bounds| Bounds {
        first_tick: 0,
        ..chained(&bounds)
    };
    vec![
        named(
            "chain",
            chained(&steady(left!(failures: 1, cancels: 1, crashes: 1))),
            &[p::ALL_DONE, p::RETRIED, p::CANCELLED, p::RECOVERED],
        ),
        named(
            "chain and change",
            chained(&change(left!(expiries: 1, edits: 1))),
            &[p::ALL_DONE, p::FENCED, p::STALE_EDIT],
        ),
        named(
            "chain and pause",
            ahead(steady(left!(pauses: 1, cancels: 1))),
            &[p::ALL_DONE, p::TAKEN_BACK, p::CANCELLED],
        ),
    ]
}

const OF_CHAINS: &[Mutant] = &[
    (
        "an end puts no next due row",
        |g| g.end_goes_on = false,
        &["chain"],
        Fate::Killed(p::I17),
    ),
    (
        "an end puts it twice",
        |g| g.end_puts_once = false,
        &["chain"],
        Fate::Killed(p::I17),
    ),
    (
        "an edit puts a due row beside the run that holds the chain",
        |g| g.edit_leaves_chain = false,
        &["chain and change"],
        Fate::Killed(p::I17),
    ),
    (
        "an edit goes by who held the chain when it was decided",
        |g| g.edit_asks_the_chain = false,
        &["chain and change"],
        Fate::Survives("the due row that the end has put makes such an edit stale"),
    ),
    (
        "the same, and it may rest on a due row that has moved",
        |g| {
            g.edit_asks_the_chain = false;
            g.edits_carry_seen = false;
        },
        &["chain and change"],
        Fate::Killed(p::I17),
    ),
];

#[test]
fn every_guard_of_chains_is_missed_or_explained() {
    judge_all("chains", OF_CHAINS);
}
