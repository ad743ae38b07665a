//! A message that offers several runs, on its way through workers with too few slots: what each takes of it is decided by
//! [`group::share`], in every order of claims, offers, acknowledgements and deaths. Small and by itself: of the store it has
//! nothing but who is claimed, of the broker nothing but what it holds.

use std::collections::BTreeSet;

use campanile_core::decide::invariants;
use campanile_core::decide::publish::group::{self, Offer, Share};
use campanile_core::id::RunId;
use stateright::{Checker as _, Model, Property};

/// What the protocol demands; a mutant is the protocol with one of them off.
#[derive(Debug, Clone, Copy)]
struct Guards {
    /// A worker takes no more than it has slots for.
    credit: bool,
    /// What it does not take is offered again.
    rest_is_offered: bool,
    /// The group is acknowledged after that, and not before.
    offer_comes_first: bool,
    /// And after the claim.
    claim_comes_first: bool,
}

const ALL: Guards = Guards {
    credit: true,
    rest_is_offered: true,
    offer_comes_first: true,
    claim_comes_first: true,
};
const SLOTS: usize = 2;

/// A message in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Hand {
    message: Vec<Offer>,
    claim: Vec<Offer>,
    again: Vec<Offer>,
    claimed: bool,
    offered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Worker {
    hand: Option<Hand>,
    runs: Vec<Offer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct World {
    /// Sorted.
    broker: Vec<Vec<Offer>>,
    workers: [Worker; 2],
    /// Won by somebody, who may have died with it: then the leader gives it on under its next attempt.
    claimed: BTreeSet<Offer>,
    deaths: u8,
    /// Whether a group was split.
    split: bool,
    /// Whether a share broke what is demanded of it.
    broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Receive(usize, usize),
    Claim(usize),
    OfferAgain(usize),
    Acknowledge(usize),
    End(usize),
    Die(usize),
}

#[derive(Debug, Clone, Copy)]
struct Groups(Guards);

impl Groups {
    /// What a worker does with a message.
    fn share(self, message: &[Offer], free: usize) -> Share {
        let free = if self.0.credit { free } else { usize::MAX };
        let mut share = group::share(&[message.to_vec()], free);
        if !self.0.rest_is_offered {
            share.again.clear();
        }
        share
    }
}

impl World {
    fn put(&mut self, message: Vec<Offer>) {
        self.broker.push(message);
        self.broker.sort();
    }

    fn done(&self) -> bool {
        let idle = |w: &Worker| w.hand.is_none() && w.runs.is_empty();
        self.broker.is_empty() && self.workers.iter().all(idle)
    }
}

fn runs_of_all() -> impl Iterator<Item = Offer> {
    (1..=3).map(|n| (RunId::from_i64(n), 1))
}

impl Model for Groups {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::default();
        world.put(runs_of_all().collect());
        // A duplicate of one of them: brokers and new leaders send them.
        world.put(vec![(RunId::from_i64(2), 1)]);
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (w, worker) in world.workers.iter().enumerate() {
            if !worker.runs.is_empty() {
                actions.push(Action::End(w));
            }
            let Some(hand) = &worker.hand else {
                if worker.runs.len() < SLOTS {
                    actions.extend((0..world.broker.len()).map(|place| Action::Receive(w, place)));
                }
                continue;
            };
            if world.deaths == 0 {
                actions.push(Action::Die(w));
            }
            if !hand.claimed {
                actions.push(Action::Claim(w));
            }
            if !hand.offered && !hand.again.is_empty() {
                actions.push(Action::OfferAgain(w));
            }
            let offered = hand.offered || hand.again.is_empty() || !self.0.offer_comes_first;
            if offered && (hand.claimed || !self.0.claim_comes_first) {
                actions.push(Action::Acknowledge(w));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Receive(w, place) => {
                let message = world.broker.remove(place);
                let free = SLOTS - world.workers[w].runs.len();
                let share = self.share(&message, free);
                let sent = [message.clone()];
                world.broken |= invariants::a_share_is_whole(&sent, free, &share).is_err();
                world.split |= !share.again.is_empty();
                world.workers[w].hand = Some(Hand {
                    message,
                    claim: share.claim,
                    again: share.again,
                    claimed: false,
                    offered: false,
                });
            }
            Action::Claim(w) => {
                let World {
                    workers, claimed, ..
                } = &mut world;
                let Worker { hand, runs } = &mut workers[w];
                let hand = hand.as_mut()?;
                hand.claimed = true;
                runs.extend(hand.claim.iter().filter(|offer| claimed.insert(**offer)));
            }
            Action::OfferAgain(w) => {
                let hand = world.workers[w].hand.as_mut()?;
                hand.offered = true;
                for offer in hand.again.clone() {
                    world.put(vec![offer]);
                }
            }
            Action::Acknowledge(w) => world.workers[w].hand = None,
            Action::End(w) => drop(world.workers[w].runs.pop()),
            Action::Die(w) => {
                world.deaths += 1;
                let dead = std::mem::take(&mut world.workers[w]);
                // The broker has no acknowledgement.
                world.put(dead.hand?.message);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CREDIT, |_, w: &World| {
                w.workers.iter().all(|worker| worker.runs.len() <= SLOTS)
            }),
            Property::always(KEPT, |_, w: &World| {
                let hands = w.workers.iter().filter_map(|worker| worker.hand.as_ref());
                let held: BTreeSet<Offer> = w
                    .broker
                    .iter()
                    .chain(hands.map(|hand| &hand.message))
                    .flatten()
                    .copied()
                    .collect();
                runs_of_all().all(|run| w.claimed.contains(&run) || held.contains(&run))
            }),
            Property::always(WHOLE, |_, w: &World| !w.broken),
            Property::always(GOES_ON, |model: &Self, w: &World| {
                let mut actions = Vec::new();
                model.actions(w, &mut actions);
                w.done() || !actions.is_empty()
            }),
            Property::sometimes(DONE, |_, w: &World| {
                w.done() && runs_of_all().all(|run| w.claimed.contains(&run))
            }),
            Property::sometimes(SPLIT, |_, w: &World| w.split),
            Property::sometimes(DEAD, |_, w: &World| w.split && w.deaths > 0),
        ]
    }
}

const CREDIT: &str = "no worker has more runs than slots";
const KEPT: &str = "who is not claimed is at the broker, or in a message that will be";
const WHOLE: &str = "I16 a share is whole";
const GOES_ON: &str = "work goes on";
const DONE: &str = "all is done";
const SPLIT: &str = "a group is split";
const DEAD: &str = "a worker dies with a part of a group";

/// The properties that are broken, and the number of states.
fn broken(guards: Guards) -> (Vec<&'static str>, usize) {
    let checker = Groups(guards).checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    let always = [CREDIT, KEPT, WHOLE, GOES_ON];
    let reached = [DONE, SPLIT, DEAD];
    if always.iter().all(|name| !found.contains_key(name)) {
        assert!(reached.iter().all(|name| found.contains_key(name)));
    }
    let broken = always.into_iter().filter(|name| found.contains_key(name));
    (broken.collect(), checker.unique_state_count())
}

#[test]
fn whatever_workers_take_of_a_group_no_run_of_it_is_lost() {
    let (broken, states) = broken(ALL);
    assert_eq!(broken, [] as [&str; 0]);
    assert!(states > 100, "{states}");
    super::tell(&serde_json::json!({
        "record": "model", "part": "groups", "scenes": 1, "states": states,
    }));
}

#[test]
fn every_guard_of_groups_is_needed() {
    let mutants = [
        (
            Guards {
                credit: false,
                ..ALL
            },
            CREDIT,
        ),
        (
            Guards {
                rest_is_offered: false,
                ..ALL
            },
            KEPT,
        ),
        (
            Guards {
                offer_comes_first: false,
                ..ALL
            },
            KEPT,
        ),
        (
            Guards {
                claim_comes_first: false,
                ..ALL
            },
            KEPT,
        ),
    ];
    for (guards, property) in mutants {
        let (broken, _) = broken(guards);
        assert!(broken.contains(&property), "{guards:?}: {broken:?}");
    }
}
