//! Holes that the model has found and that are open: each is shown by the trace that leads to it. A test here fails when
//! its hole is closed; then the scene belongs among the others, and the hole goes out of `docs/guide/model.md`.

use stateright::{Checker as _, Model as _};

use super::actions::Action;
use super::bounds::{Bounds, Guards, Left};
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
