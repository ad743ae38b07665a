//! I10: whatever has gone wrong, once nothing more goes wrong all work can be finished. Stateright judges single worlds
//! and paths; this is a question about the whole graph (is an end in reach of every world?), so the graph is walked
//! here: forwards over everything that can happen, then backwards from the ends over what is work. It finds what a look
//! at single worlds can't: a leader and a worker that are busy for ever and get nowhere.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::Model as _;

use super::actions::Action;
use super::properties::is_done;
use super::world::{Scene, World};

/// Every world of a scene: which others lead to it by work, and whether all is done in it.
#[derive(Default)]
struct Graph {
    places: HashMap<u64, usize>,
    from: Vec<Vec<usize>>,
    done: Vec<bool>,
    /// The first way that was found: the world before, and the step.
    way: Vec<Option<(usize, Action)>>,
}

impl Graph {
    fn place(&mut self, world: &World, way: Option<(usize, Action)>) -> (usize, bool) {
        let fresh = self.places.len();
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let place = *self.places.entry(hasher.finish()).or_insert(fresh);
        if place == fresh {
            self.from.push(Vec::new());
            self.done.push(is_done(world));
            self.way.push(way);
        }
        (place, place == fresh)
    }

    fn walk(scene: &Scene) -> Self {
        let mut graph = Self::default();
        let mut next = VecDeque::new();
        for world in scene.init_states() {
            let (place, _) = graph.place(&world, None);
            next.push_back((place, world));
        }
        let mut actions = Vec::new();
        while let Some((place, world)) = next.pop_front() {
            scene.actions(&world, &mut actions);
            for action in actions.drain(..) {
                let Some(after) = scene.step(&world, action) else {
                    continue;
                };
                let (to, fresh) = graph.place(&after, Some((place, action)));
                if action.is_work() {
                    graph.from[to].push(place);
                }
                if fresh {
                    next.push_back((to, after));
                }
            }
        }
        graph
    }

    fn trace(&self, mut place: usize) -> Vec<Action> {
        let mut steps = Vec::new();
        while let Some((before, action)) = self.way[place] {
            steps.push(action);
            place = before;
        }
        steps.reverse();
        steps
    }
}

/// How many worlds the scene has, and the way to the nearest one from which the work can't be finished.
pub fn finishable(scene: &Scene) -> (usize, Option<Vec<Action>>) {
    let graph = Graph::walk(scene);
    let mut good = graph.done.clone();
    let mut next: Vec<usize> = (0..good.len()).filter(|place| good[*place]).collect();
    while let Some(place) = next.pop() {
        for before in &graph.from[place] {
            if !std::mem::replace(&mut good[*before], true) {
                next.push(*before);
            }
        }
    }
    let bad = good.iter().position(|good| !good);
    (good.len(), bad.map(|place| graph.trace(place)))
}
