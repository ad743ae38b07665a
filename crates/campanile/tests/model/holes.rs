//! Holes that the model has found and that are open: each is shown by the trace that leads to it. A test here fails when
//! its hole is closed; then the scene belongs among the others, and the hole goes out of `docs/guide/model.md`.

use std::sync::Arc;

use campanile::id::{OutboxId, RunId};
use campanile::protocol::dispatch::{Dispatch, Entry};
use campanile::protocol::run as transitions;
use campanile::protocol::work::Waiting;
use campanile::run::Run;
use stateright::{Checker as _, Model as _};

use super::actions::Action;
use super::bounds::{Bounds, Guards, Left, second};
use super::properties as p;
use super::scenes::{self, NONE, left};
use super::world::Scene;

/// Checks that the scene breaks the property, and gives the way there.
fn breaks(bounds: Bounds, property: &'static str) -> Vec<Action> {
    let model = Scene::new(bounds, Guards::default());
    let checker = model.checker().spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("the hole is closed: {property} holds"));
    path.into_actions()
}

/// A claim in doubt is given back before it reaches the store: the give-back matches no row, and the claim then commits.
/// The run is `running` under a living worker that has done with it.
#[test]
fn a_claim_that_arrives_after_it_was_given_back_stands_still() {
    let bounds = Bounds {
        first_tick: 1,
        left: left!(unanswered_claims: 1, late_claims: 1),
        ..scenes::find("early")
    };
    let way = breaks(bounds, p::I9_WORK);
    let at = |action| way.iter().position(|a| *a == action);
    assert!(
        at(Action::GiveBack(0)) < at(Action::ClaimArrives(0)),
        "{way:?}"
    );
}

/// The dispatcher's memory knows what is ready by instant, priority and run, not by attempt: an attempt that becomes
/// ready in the very millisecond in which an older one waits to be sent again is taken for the same, and the outbox row
/// that alone keeps it is given up.
#[test]
fn an_attempt_is_taken_for_another_of_the_same_millisecond() {
    let task = scenes::find("early").compile(false);
    let entry = |attempt, row| {
        let run = transitions::request(RunId::from_i64(1), None, &task.task.spec, second(0));
        Entry {
            waiting: Waiting {
                run: Run { attempt, ..run },
                spec: None,
            },
            task: Some(Arc::clone(&task.task)),
            row: OutboxId::from_i64(row),
        }
    };
    let mut dispatch = Dispatch::default();
    dispatch.admit(OutboxId::from_i64(1), vec![entry(1, 1)]);
    dispatch.admit(OutboxId::from_i64(2), vec![entry(2, 2)]);
    assert!(dispatch.has_done_rows(), "the hole is closed");
}
