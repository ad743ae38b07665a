//! Behaviours of permits: one holder each, given back with the end, handed on to who waits, whatever comes at once.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use super::fixture::{Fixture, at, end};
use crate::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::permits::{Blocked, LimitKey, Permit};
use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::Written;
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Cancel, Edit};
use campanile_core::port::fire::{DueKey, Fired, Firing, Owner, Replaced};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::Task;

/// A task with runs that hold its permits or wait for them.
struct Scene {
    f: Fixture,
    term: Term,
    task: Task,
    key: LimitKey,
}

impl Scene {
    /// `kept` = the task's own permit; else that of a group.
    async fn new(store: Arc<dyn Store>, kept: bool) -> Self {
        let f = Fixture::new(store);
        let term = f.lead().await;
        let task = f.task("t", at(10)).await;
        let key = if kept {
            LimitKey::Overlap(task.id)
        } else {
            LimitKey::Group("db".to_owned())
        };
        Self { f, term, task, key }
    }

    fn permit(&self, n: u32, run: &Run) -> Permit {
        Permit {
            key: self.key.clone(),
            n,
            run: run.id,
        }
    }

    fn blocked(&self, run: &Run) -> Blocked {
        Blocked {
            key: self.key.clone(),
            priority: run.priority,
            ready_at: run.ready_at,
            run: run.id,
            queue: run.queue.clone(),
        }
    }

    /// A firing of one new run, whose permits are the caller's to say. The task's due row moves ten seconds.
    async fn firing(&self) -> (Firing, Run) {
        let due = self.f.store.next_due(self.task.id).await.unwrap().unwrap();
        let mut firing = self.f.firing(&self.term, &self.task, due).await;
        firing.runs[0].limited = true;
        firing.at = at(3);
        let run = firing.runs[0].clone();
        (firing, run)
    }

    async fn fire(&self, firing: &Firing) -> Fired {
        self.f.store.fire(&self.term, firing).await.unwrap()
    }

    /// A run that holds permit `n`.
    async fn holder(&self, n: u32) -> Run {
        let (mut firing, run) = self.firing().await;
        firing.acquired = vec![self.permit(n, &run)];
        assert_eq!(self.fire(&firing).await, Fired::Applied);
        run
    }

    /// A run that waits behind the holder of permit 0.
    async fn waiter(&self) -> Run {
        let (mut firing, run) = self.firing().await;
        firing.outbox = None;
        firing.blocked = vec![self.blocked(&run)];
        firing.full = vec![(self.key.clone(), 0)];
        assert_eq!(self.fire(&firing).await, Fired::Applied);
        run
    }

    async fn claimed(&self, run: &Run) -> (Run, ClaimId) {
        let node = self.f.node().await;
        let (claim, won) = self.f.claim(node, &[(run.id, run.attempt)]).await;
        assert!(won[0].limited);
        (self.f.row(run.id).await, claim)
    }

    /// Who holds permits, and how many wait.
    async fn standing(&self) -> (Vec<RunId>, u32) {
        let keys = [self.key.clone()];
        let mut all = self.f.store.standings(&keys).await.unwrap();
        let standing = all.remove(&self.key).unwrap_or_default();
        (
            standing.held.iter().map(|h| h.run).collect(),
            standing.blocked,
        )
    }

    /// Whether a run's timer is there.
    async fn goes_on(&self, run: &Run) -> bool {
        let timer = DueKey {
            queue: run.queue.clone(),
            at: run.ready_at,
            owner: Owner::Run(run.id),
        };
        self.f.due(at(100_000)).await.contains(&timer)
    }
}

/// A permit has one holder: a firing that wants one that is taken leaves no trace.
pub async fn a_permit_has_one_holder(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let first = s.holder(0).await;
    let (mut firing, second) = s.firing().await;
    firing.acquired = vec![s.permit(0, &second)];
    assert_eq!(s.fire(&firing).await, Fired::Edited);
    assert_eq!(s.standing().await, (vec![first.id], 0));
    assert!(s.f.store.run(second.id).await.unwrap().is_none());
    assert!(s.f.row(first.id).await.limited);
}

/// An end gives the permit back, and who waits first goes on.
pub async fn an_end_hands_its_permit_on(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    let holder = s.holder(0).await;
    let (first, second) = (s.waiter().await, s.waiter().await);
    assert_eq!(s.standing().await, (vec![holder.id], 2));
    let (running, claim) = s.claimed(&holder).await;
    let ended = s.f.finish(end(&running, claim, End::Succeeded)).await;
    assert_eq!(ended, Written::Applied);
    assert_eq!(s.standing().await, (vec![], 1));
    assert!(s.goes_on(&first).await && !s.goes_on(&second).await);
}

/// A run that is blocked starts nowhere, whoever asks.
pub async fn a_blocked_run_is_not_won(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    s.holder(0).await;
    let waiter = s.waiter().await;
    let node = s.f.node().await;
    let (_, won) = s.f.claim(node, &[(waiter.id, 1)]).await;
    assert!(won.is_empty());
}

/// Who is blocked with a higher priority goes on first.
pub async fn priority_decides_who_goes_on(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    let holder = s.holder(0).await;
    let first = s.waiter().await;
    let (mut firing, urgent) = s.firing().await;
    firing.outbox = None;
    firing.blocked = vec![Blocked {
        priority: 9,
        ..s.blocked(&urgent)
    }];
    firing.full = vec![(s.key.clone(), 0)];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
    assert_eq!(s.f.cancel(holder.id).await, Cancel::Cancelled);
    assert!(s.goes_on(&urgent).await && !s.goes_on(&first).await);
}

/// Nobody waits behind a permit that is free by then.
pub async fn nobody_parks_behind_a_free_permit(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    let holder = s.holder(0).await;
    let (mut firing, run) = s.firing().await;
    firing.blocked = vec![s.blocked(&run)];
    firing.full = vec![(s.key.clone(), 0)];
    assert_eq!(s.f.cancel(holder.id).await, Cancel::Cancelled);
    assert_eq!(s.fire(&firing).await, Fired::Edited);
    assert_eq!(s.standing().await, (vec![], 0));
}

/// Parking and the holder's end at the same moment: either the firing is refused, or who is blocked goes on.
pub async fn an_end_and_a_parking_do_not_miss_each_other(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    for _ in 0..8 {
        let holder = s.holder(0).await;
        let (mut firing, run) = s.firing().await;
        firing.outbox = None;
        firing.blocked = vec![s.blocked(&run)];
        firing.full = vec![(s.key.clone(), 0)];
        let (fired, cancelled) =
            futures_util::join!(s.f.store.fire(&s.term, &firing), s.f.cancel(holder.id));
        assert_eq!(cancelled, Cancel::Cancelled);
        match fired.unwrap() {
            Fired::Applied => assert!(s.goes_on(&run).await, "a run waits for ever"),
            answer => assert_eq!(answer, Fired::Edited),
        }
        assert_eq!(s.standing().await, (vec![], 0));
    }
}

/// Two ends at once hand on to two runs.
pub async fn two_ends_hand_on_to_two(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    for _ in 0..8 {
        let (one, two) = (s.holder(0).await, s.holder(1).await);
        let (first, second) = (s.waiter().await, s.waiter().await);
        let (a, b) = futures_util::join!(s.f.cancel(one.id), s.f.cancel(two.id));
        assert_eq!((a, b), (Cancel::Cancelled, Cancel::Cancelled));
        assert!(s.goes_on(&first).await && s.goes_on(&second).await);
        assert_eq!(s.standing().await, (vec![], 0));
        for run in [first, second] {
            s.f.cancel(run.id).await;
        }
    }
}

/// Between its attempts a run keeps its task's own permit, and gives the shared ones back.
pub async fn a_retry_keeps_only_the_tasks_own_permit(store: Arc<dyn Store>) {
    for kept in [true, false] {
        let s = Scene::new(Arc::clone(&store), kept).await;
        let holder = s.holder(0).await;
        let waiter = s.waiter().await;
        let (running, claim) = s.claimed(&holder).await;
        let again = End::Again {
            ready_at: at(50_000),
            why: Reason::Error,
        };
        let ended = s.f.finish(end(&running, claim, again)).await;
        assert_eq!(ended, Written::Applied);
        let held = if kept { vec![holder.id] } else { vec![] };
        assert_eq!(s.standing().await, (held, u32::from(kept)));
        assert_eq!(s.goes_on(&waiter).await, !kept);
        for run in [holder, waiter] {
            s.f.cancel(run.id).await;
        }
        let edit = Edit {
            deletes: vec![s.f.deletion(s.task.id, 1).await],
            ..Edit::default()
        };
        assert!(
            s.f.store
                .edit(somebody(), &edit, at(1))
                .await
                .unwrap()
                .is_applied()
        );
    }
}

/// A blocked run that is cancelled waits for nothing any more.
pub async fn a_cancelled_blocked_run_is_gone(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let holder = s.holder(0).await;
    let waiter = s.waiter().await;
    assert_eq!(s.f.cancel(waiter.id).await, Cancel::Cancelled);
    assert_eq!(s.standing().await, (vec![holder.id], 0));
    s.f.cancel(holder.id).await;
    assert!(!s.goes_on(&waiter).await);
}

/// A run that was cancelled after the scan is given no permit, and does not wait for one: nobody would give it back.
pub async fn who_was_cancelled_gets_no_permit(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let submission = s.f.requests(1).remove(0);
    let run = submission.run.clone();
    s.f.store.submit(somebody(), &[submission]).await.unwrap();
    let timer = DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    };
    let (mut firing, _) = s.firing().await;
    (firing.runs, firing.outbox) = (vec![], None);
    (firing.consumed, firing.advanced) = (vec![timer.clone()], vec![]);
    assert_eq!(s.f.cancel(run.id).await, Cancel::Cancelled);
    firing.acquired = vec![s.permit(0, &run)];
    assert_eq!(s.fire(&firing).await, Fired::Edited);
    firing.acquired = vec![];
    firing.blocked = vec![s.blocked(&run)];
    assert_eq!(s.fire(&firing).await, Fired::Edited);
    assert_eq!(s.standing().await, (vec![], 0));
    // Replanned, it only loses its timer.
    firing.blocked = vec![];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
}

/// A later occurrence takes the place of one that waits, and of those behind it: they end skipped.
pub async fn a_waiting_run_is_replaced_at_once(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let holder = s.holder(0).await;
    let behind = s.waiter().await;
    let (mut firing, run) = s.firing().await;
    firing.acquired = vec![s.permit(0, &run)];
    firing.replaced = vec![Replaced {
        key: s.key.clone(),
        run: holder.id,
        running: false,
        kept: false,
    }];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
    assert_eq!(s.standing().await, (vec![run.id], 0));
    for run in [&holder, &behind] {
        let row = s.f.row(run.id).await;
        assert_eq!((row.state, row.reason), (State::Skipped, Reason::Replaced));
        assert_eq!(row.finished_at, Some(at(3)));
    }
}

/// One that runs is told to end, and then the later one goes on.
pub async fn a_running_run_is_replaced_when_it_has_ended(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let holder = s.holder(0).await;
    let (running, claim) = s.claimed(&holder).await;
    let (mut firing, run) = s.firing().await;
    firing.outbox = None;
    firing.blocked = vec![s.blocked(&run)];
    firing.full = vec![(s.key.clone(), 0)];
    firing.replaced = vec![Replaced {
        key: s.key.clone(),
        run: holder.id,
        running: true,
        kept: false,
    }];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
    let told = s.f.row(holder.id).await;
    assert_eq!(told.cancel, Some(Reason::Replaced));
    let node = running.worker.unwrap();
    let beaten = s.f.store.heartbeat(node, 1, &[holder.id]).await.unwrap();
    assert_eq!(beaten.cancel, vec![holder.id]);
    let over = End::Cancelled(Reason::Requested);
    assert!(s.f.finish(end(&told, claim, over)).await.is_applied());
    let row = s.f.row(holder.id).await;
    let expected = transitions::finish(&told, 1, claim, over, at(2), None).unwrap();
    assert_eq!(
        (row.state, row.reason),
        (State::Cancelled, Reason::Replaced)
    );
    assert_eq!(row.reason, expected.reason);
    assert!(s.goes_on(&run).await);
}

/// A firing that saw a run wait which runs by now (or the other way) is refused.
pub async fn a_replacement_needs_the_run_as_it_was_seen(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let holder = s.holder(0).await;
    let firing = |(mut firing, run): (Firing, Run), running| {
        firing.acquired = vec![s.permit(0, &run)];
        firing.replaced = vec![Replaced {
            key: s.key.clone(),
            run: holder.id,
            running,
            kept: false,
        }];
        firing
    };
    let as_running = firing(s.firing().await, true);
    assert_eq!(s.fire(&as_running).await, Fired::Edited);
    let as_waiting = firing(s.firing().await, false);
    s.claimed(&holder).await;
    assert_eq!(s.fire(&as_waiting).await, Fired::Edited);
    assert_eq!(s.f.row(holder.id).await.cancel, None);
}

/// A run that never starts ends skipped, with its reason, and its permit goes on.
pub async fn a_dropped_run_ends_skipped(store: Arc<dyn Store>) {
    let s = Scene::new(store, true).await;
    let holder = s.holder(0).await;
    let waiter = s.waiter().await;
    let (mut firing, _) = s.firing().await;
    firing.dropped = vec![(holder.id, 1, Reason::StartDeadline)];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
    let row = s.f.row(holder.id).await;
    let expected = transitions::drop_waiting(&holder, 1, Reason::StartDeadline, at(3));
    assert_eq!(
        (row.state, row.reason),
        (State::Skipped, Reason::StartDeadline)
    );
    assert_eq!(row.finished_at, expected.unwrap().finished_at);
    assert!(s.goes_on(&waiter).await);
    // One that runs is left alone.
    let (running, _) = s.claimed(&s.holder(0).await).await;
    let (mut firing, _) = s.firing().await;
    firing.dropped = vec![(running.id, 1, Reason::StartDeadline)];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
    assert_eq!(s.f.row(running.id).await.state, State::Running);
}

/// A change of a limit, or of a task, has those who wait looked at again.
pub async fn a_changed_limit_lets_who_waits_be_looked_at(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    s.holder(0).await;
    let waiter = s.waiter().await;
    let edit = Edit {
        limits: vec![(s.key.clone(), Some(5))],
        ..Edit::default()
    };
    assert_eq!(
        s.f.store.edit(somebody(), &edit, at(1)).await.unwrap(),
        Written::Applied
    );
    assert!(s.goes_on(&waiter).await);
    let rules = s.f.store.rules().await.unwrap();
    assert_eq!(rules.limits.get(&s.key), Some(&5));
    let edit = Edit {
        limits: vec![(s.key.clone(), None)],
        ..Edit::default()
    };
    assert!(
        s.f.store
            .edit(somebody(), &edit, at(1))
            .await
            .unwrap()
            .is_applied()
    );
    assert!(s.f.store.rules().await.unwrap().limits.is_empty());
}

/// Who is blocked though nobody holds a permit is found and goes on.
pub async fn the_stranded_go_on(store: Arc<dyn Store>) {
    let s = Scene::new(store, false).await;
    let holder = s.holder(0).await;
    let waiter = s.waiter().await;
    assert_eq!(s.f.store.sweep_permits(&s.term).await.unwrap(), Some(0));
    // A second waiter under another key, behind a permit that is this firing's own and is given back with its run.
    let (mut firing, run) = s.firing().await;
    let other = LimitKey::Group("other".to_owned());
    let own = Permit {
        key: other.clone(),
        n: 0,
        run: run.id,
    };
    firing.acquired = vec![own];
    firing.blocked = vec![Blocked {
        key: other.clone(),
        ..s.blocked(&run)
    }];
    firing.full = vec![(other, 0)];
    assert_eq!(s.fire(&firing).await, Fired::Applied);
    s.f.cancel(holder.id).await;
    assert!(s.goes_on(&waiter).await);
    let old = s.term.clone();
    s.f.lead().await;
    assert_eq!(
        s.f.store
            .sweep_permits(&old)
            .await
            .unwrap_or(None)
            .unwrap_or(0),
        0
    );
}
