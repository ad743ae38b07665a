//! One worker process: the attempts that it won, and its ways to claim, start and end them, to die, and to join again.
//! How an attempt ends is [`transitions::conclude`]'s decision. Never touches a leader's memory.

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::attempt::Outcome;
use campanile_core::id::{ClaimId, NodeId};
use campanile_core::port::attempt::{End, Finish};
use campanile_core::port::handler::Failure;
use campanile_core::run::Reason;
use campanile_schedule::time::Timestamp;

use super::bounds::Guards;
use super::store::{Store, Won};
use super::world::{Message, Scene, Starts};

/// An attempt in a worker's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InHand {
    pub won: Won,
    pub started: bool,
}

/// A claim of which the worker does not know whether it committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doubt {
    pub message: Message,
    pub claim: ClaimId,
    /// Whether it has yet to reach the store.
    pub under_way: bool,
    /// Whether what it may have won was abandoned.
    pub abandoned: bool,
}

/// A worker process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Under which name it has joined.
    pub node: NodeId,
    pub up: bool,
    pub hand: Vec<InHand>,
    /// A claim whose answer never came.
    pub doubt: Option<Doubt>,
    /// Claims made under this name: their ids never come back.
    claims: i64,
}

/// How a handler ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    Succeeds,
    Fails,
    IsCancelled,
    IsDrained,
    /// It is never started: its task was deleted before it was claimed.
    IsOrphaned,
}

impl Worker {
    pub fn new(place: usize) -> Self {
        Self {
            node: NodeId::from_i64(i64::try_from(place).unwrap() * 16 + 1),
            up: true,
            hand: Vec::new(),
            doubt: None,
            claims: 0,
        }
    }

    fn next_claim(&mut self) -> ClaimId {
        self.claims += 1;
        ClaimId::from_i64(self.node.as_i64() * 16 + self.claims)
    }

    /// Claims what a message names.
    pub fn claim(
        &mut self,
        message: Message,
        scene: &Scene,
        store: &mut Store,
        now: Timestamp,
        starts: &mut Starts,
    ) {
        let offer = (message.run, message.attempt);
        let known = starts.iter().filter(|start| **start == offer).count();
        // Two starts of one attempt are wrong enough: more would make the world endless.
        if !scene.guards.start_follows_claim && known < 2 {
            starts.push(offer);
        }
        let before = self.claims;
        let claim = self.next_claim();
        let Some(won) = store.claim(offer, claim, self.node, now, &scene.guards) else {
            self.claims = before;
            return;
        };
        self.hand.push(InHand {
            won,
            started: !scene.guards.start_follows_claim,
        });
    }

    /// Claims what a message names, and never hears of it.
    pub fn doubt(&mut self, message: Message) {
        self.doubt = Some(Doubt {
            message,
            claim: self.next_claim(),
            under_way: true,
            abandoned: false,
        });
    }

    /// The claim in doubt reaches the store.
    pub fn arrive(&mut self, scene: &Scene, store: &mut Store, now: Timestamp) {
        let Some(doubt) = &mut self.doubt else { return };
        let offer = (doubt.message.run, doubt.message.attempt);
        store.claim(offer, doubt.claim, self.node, now, &scene.guards);
        doubt.under_way = false;
        if doubt.abandoned {
            self.doubt = None;
        }
    }

    /// Withdraws the claim in doubt, as the engine does: under the claim's own id.
    pub fn abandon(&mut self, at: Timestamp, guards: &Guards) -> Option<Finish> {
        let doubt = self.doubt.as_mut().filter(|doubt| !doubt.abandoned)?;
        doubt.abandoned = true;
        let Doubt { message, claim, .. } = *doubt;
        if !doubt.under_way {
            self.doubt = None;
        }
        let end = if guards.abandonment_uses_attempt_up {
            End::Abandoned { ready_at: at }
        } else {
            let why = Reason::None;
            End::Again { ready_at: at, why }
        };
        Some(Finish {
            run: message.run,
            attempt: message.attempt,
            claim,
            end,
            at,
            error: None,
            class: None,
            log: None,
            result: None,
            limited: true,
        })
    }

    pub fn start(&mut self, place: usize, starts: &mut Starts) {
        let in_hand = &mut self.hand[place];
        in_hand.started = true;
        starts.push((in_hand.won.run, in_hand.won.attempt));
    }

    /// What the worker asks the store to write when a handler ends.
    pub fn end(
        &self,
        place: usize,
        way: Way,
        scene: &Scene,
        store: &Store,
        at: Timestamp,
    ) -> Finish {
        let outcome = match way {
            Way::Succeeds => Outcome::Succeeded,
            Way::Fails => Outcome::Failed(Failure::retry(String::new())),
            Way::IsCancelled | Way::IsOrphaned => Outcome::Cancelled,
            Way::IsDrained => Outcome::Drained,
        };
        let finish = self.finish(place, &outcome, scene, store, at);
        match way {
            Way::IsOrphaned => Finish {
                end: End::Cancelled(Reason::TaskDeleted),
                ..finish
            },
            _ => finish,
        }
    }

    /// What it asks the store to write for an attempt that it has claimed and can't carry out.
    pub fn refuse(&self, place: usize, scene: &Scene, store: &Store, at: Timestamp) -> Finish {
        let why = String::new();
        let outcome = if scene.guards.refusal_is_no_failure {
            Outcome::Refused { why, earlier: 0 }
        } else {
            Outcome::Failed(Failure::not_allowed(why))
        };
        self.finish(place, &outcome, scene, store, at)
    }

    fn finish(
        &self,
        place: usize,
        outcome: &Outcome,
        scene: &Scene,
        store: &Store,
        at: Timestamp,
    ) -> Finish {
        let won = self.hand[place].won;
        let spec = &scene.task(store).task.spec;
        Finish {
            run: won.run,
            attempt: won.attempt,
            claim: won.claim,
            end: transitions::conclude(outcome, spec, won.failures, at, 0),
            at,
            error: None,
            class: None,
            log: None,
            result: None,
            limited: false,
        }
    }

    /// The process dies: what it had in its hands is gone, and the store does not know.
    pub fn die(&mut self) {
        self.up = false;
        self.hand.clear();
        self.doubt = None;
    }

    /// Joins under a new name, with empty hands.
    pub fn join(&mut self, store: &mut Store) {
        self.node = NodeId::from_i64(self.node.as_i64() + 1);
        self.up = true;
        self.hand.clear();
        self.doubt = None;
        self.claims = 0;
        store.living.push(self.node);
        store.living.sort_unstable();
    }
}
