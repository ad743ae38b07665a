//! What can happen in a world: the list of steps, which of them are work, and which are open to whom. Faults and requests
//! are open while their budgets last. What a step does is in `world`.

use campanile_core::id::RunId;

use super::edits::Change;
use super::scheduler::{Post, Stage};
use super::worker::Way;
use super::world::{Scene, World};
use super::zones;

/// What can happen. Numbers are places in the lists of [`World`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Tick,
    LockExpires,
    Elect(usize),
    FindLockLost(usize),
    LoseBelief(usize),
    Recover(usize),
    Plan(usize),
    Fire(usize),
    FireInDoubt(usize),
    Publish(usize, usize),
    Look(usize),
    MarkSent(usize),
    Evict(usize, usize),
    SeekOrphans(usize),
    EndLost(usize),
    EndOrphans(usize),
    WakeStranded(usize),
    MoveZones(usize),
    Lose(usize),
    Duplicate(usize),
    Claim(usize, usize),
    ClaimUnanswered(usize, usize),
    ClaimArrives(usize),
    Withdraw(usize),
    Start(usize, usize),
    Refuse(usize, usize),
    End(usize, usize, Way),
    EndUnanswered(usize, usize),
    Die(usize),
    Leave(usize),
    JoinAnew(usize),
    Cancel(RunId),
    Propose(Change),
    WriteEdit,
    EndPause(usize),
    Hold,
    EndHold,
}

impl Action {
    /// Whether it moves the work on, by a leader or a worker that are well: no fault, no request, no change of leaders.
    pub const fn is_work(self) -> bool {
        matches!(
            self,
            Self::Tick
                | Self::Plan(_)
                | Self::Fire(_)
                | Self::Publish(..)
                | Self::Look(_)
                | Self::MarkSent(_)
                | Self::SeekOrphans(_)
                | Self::EndLost(_)
                | Self::EndOrphans(_)
                | Self::WakeStranded(_)
                | Self::Evict(..)
                | Self::Claim(..)
                | Self::Start(..)
                | Self::End(.., Way::Succeeds | Way::IsCancelled | Way::IsOrphaned)
                | Self::JoinAnew(_)
                | Self::EndHold
                | Self::Withdraw(_)
        )
    }
}

impl Scene {
    pub(super) fn scheduler_actions(&self, world: &World, n: usize, actions: &mut Vec<Action>) {
        let node = &world.schedulers[n];
        actions.push(Action::Elect(n));
        if node.post != Post::Waiting && world.left.stops > 0 {
            actions.push(Action::LoseBelief(n));
        }
        let Post::Leading(_) = node.post else { return };
        if world.lock != Some(n) {
            actions.push(Action::FindLockLost(n));
        }
        let memory = &node.memory;
        if !memory.recovered {
            return actions.push(Action::Recover(n));
        }
        if memory.pending.is_some() {
            actions.push(Action::Fire(n));
            if world.left.doubts > 0 {
                actions.push(Action::FireInDoubt(n));
            }
        } else {
            actions.push(Action::Plan(n));
        }
        actions.extend((0..memory.buffer.len()).map(|entry| Action::Publish(n, entry)));
        if memory.buffer.iter().any(|e| e.stage != Stage::Ready) {
            actions.push(Action::Look(n));
        }
        if !memory.marks.is_empty() || !memory.done.is_empty() {
            actions.push(Action::MarkSent(n));
        }
        if memory.ends.is_some() {
            actions.push(Action::EndLost(n));
        } else if memory.sweep {
            actions.push(Action::SeekOrphans(n));
        }
        if world.store.definition.deleted {
            actions.push(Action::EndOrphans(n));
        }
        if self.bounds.zones && memory.zones != zones::Duty::Done {
            actions.push(Action::MoveZones(n));
        }
        if !world.store.blocked.is_empty() && self.guards.stranded_are_woken {
            actions.push(Action::WakeStranded(n));
        }
        for (place, worker) in world.workers.iter().enumerate() {
            let zombie = worker.up && world.left.zombies > 0;
            if world.store.living.contains(&worker.node) && (!worker.up || zombie) {
                actions.push(Action::Evict(n, place));
            }
        }
    }

    pub(super) fn worker_actions(&self, world: &World, w: usize, actions: &mut Vec<Action>) {
        let worker = &world.workers[w];
        let evicted = !world.store.living.contains(&worker.node);
        if evicted {
            actions.push(Action::JoinAnew(w));
        }
        if !worker.up {
            return;
        }
        if world.left.crashes > 0 {
            actions.push(Action::Die(w));
        }
        if world.left.leaves > 0 && worker.hand.is_empty() && !evicted && worker.doubt.is_none() {
            actions.push(Action::Leave(w));
        }
        if let Some(doubt) = worker.doubt {
            if doubt.under_way {
                actions.push(Action::ClaimArrives(w));
            }
            let late = world.left.late_claims > 0;
            let abandoned = doubt.abandoned || !self.guards.ambiguous_claim_is_abandoned;
            if !abandoned && (late || !doubt.under_way) {
                actions.push(Action::Withdraw(w));
            }
        }
        for (place, in_hand) in worker.hand.iter().enumerate() {
            if in_hand.won.orphaned && !in_hand.started {
                actions.push(Action::End(w, place, Way::IsOrphaned));
                continue;
            }
            if !in_hand.started {
                actions.push(Action::Start(w, place));
                if world.left.refusals > 0 {
                    actions.push(Action::Refuse(w, place));
                }
                continue;
            }
            actions.push(Action::End(w, place, Way::Succeeds));
            if world.left.failures > 0 {
                actions.push(Action::End(w, place, Way::Fails));
            }
            if world.left.leaves > 0 {
                actions.push(Action::End(w, place, Way::IsDrained));
            }
            if world.left.unanswered_ends > 0 {
                actions.push(Action::EndUnanswered(w, place));
            }
            let run = world.store.live(in_hand.won.run);
            if run.is_some_and(|r| r.cancel.is_some() && r.worker == Some(worker.node)) {
                actions.push(Action::End(w, place, Way::IsCancelled));
            }
        }
        if worker.hand.len() < self.bounds.slots {
            for (place, message) in world.mail.iter().enumerate() {
                if place > 0 && world.mail[place - 1] == *message {
                    continue;
                }
                actions.push(Action::Claim(w, place));
                if world.left.unanswered_claims > 0 && worker.doubt.is_none() {
                    actions.push(Action::ClaimUnanswered(w, place));
                }
            }
        }
    }

    pub(super) fn other_actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.clock < self.bounds.last_tick {
            actions.push(Action::Tick);
        }
        let more_terms = world.store.epoch() < self.bounds.terms;
        if world.lock.is_some() && more_terms && world.left.expiries > 0 {
            actions.push(Action::LockExpires);
        }
        for place in 0..world.mail.len() {
            if place > 0 && world.mail[place - 1] == world.mail[place] {
                continue;
            }
            if world.left.losses > 0 {
                actions.push(Action::Lose(place));
            }
            if world.left.duplicates > 0 {
                actions.push(Action::Duplicate(place));
            }
        }
        if world.left.cancels > 0 {
            let live = world.store.runs.iter().filter(|r| !r.0.state.is_terminal());
            actions.extend(live.map(|r| Action::Cancel(r.0.id)));
        }
        if world.store.held {
            actions.push(Action::EndHold);
        } else if world.left.holds > 0 {
            actions.push(Action::Hold);
        }
        self.edit_actions(world, actions);
    }

    fn edit_actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.draft.is_some() {
            return actions.push(Action::WriteEdit);
        }
        let (left, definition) = (&world.left, world.store.definition);
        if definition.deleted {
            return;
        }
        if definition.paused && left.pause_ends > 0 {
            let leads = |n: &usize| world.schedulers[*n].leads().is_some();
            let leaders = (0..world.schedulers.len()).filter(leads);
            actions.extend(leaders.map(Action::EndPause));
        }
        let changes = [
            (Change::Edit, left.edits > 0),
            (Change::Pause, left.pauses > 0 && !definition.paused),
            (Change::Resume, definition.paused),
            (Change::Delete, left.deletes > 0),
        ];
        let open = changes.into_iter().filter(|(_, open)| *open);
        actions.extend(open.map(|(change, _)| Action::Propose(change)));
    }
}
