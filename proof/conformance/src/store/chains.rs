//! Behaviours of schedules that go on from the ends of their runs: whatever the end, its own transaction puts the next due
//! row; nothing else does, and no edit loses one or makes a second.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, end, spec};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{Aside, End, Finish, Thing};
use campanile_core::port::edit::{Cancel, Edit, Released, Submission, Upsert};
use campanile_core::port::fire::{Fired, Firing};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::{StartMode, Task, Texts};

struct Chains {
    f: Fixture,
    term: Term,
}

impl Chains {
    async fn new(store: Arc<dyn Store>) -> Self {
        let f = Fixture::new(store);
        let term = f.lead().await;
        Self { f, term }
    }

    /// A task 30 s after each end, whose first occurrence is due at `due`.
    async fn task(&self, name: &str, due: Timestamp) -> Task {
        let mut spec = spec(name);
        spec.schedule = Some(Texts::from_iter(["after 30s".to_owned()]));
        let upsert = self.f.creation(spec, Some(due));
        assert_eq!(self.f.edit(vec![upsert]).await, Written::Applied);
        self.f.named(name).await.unwrap()
    }

    async fn firing(&self, task: &Task, due: Timestamp) -> Firing {
        let mut firing = self.f.firing(&self.term, task, due).await;
        // Minted when it is planned: what lies ahead is looked for by that.
        let id = self.f.mint.runs(due, 1)[0];
        firing.runs[0].id = id;
        firing.outbox = Some(self.f.outbox_entry(&[(id, 1)]));
        firing.advanced.clear();
        firing.runs[0].limited = true;
        firing.chained = vec![(task.id, firing.runs[0].id)];
        firing
    }

    /// Fires its occurrence of that instant: from then on the run holds the chain.
    async fn fire(&self, task: &Task, due: Timestamp) -> Run {
        let firing = self.firing(task, due).await;
        let fired = self.f.store.fire(&self.term, &firing).await.unwrap();
        assert_eq!(fired, Fired::Applied);
        assert_eq!(self.holder(task).await, Some(firing.runs[0].id));
        assert_eq!(self.next(task).await, None);
        firing.runs[0].clone()
    }

    async fn claimed(&self, run: &Run) -> (ClaimId, Run) {
        let node = self.f.node().await;
        let (claim, won) = self.f.claim(node, &[(run.id, run.attempt)]).await;
        assert_eq!(won.len(), 1);
        (claim, self.f.row(run.id).await)
    }

    /// Fires, claims.
    async fn running(&self, task: &Task, due: Timestamp) -> (ClaimId, Run) {
        let run = self.fire(task, due).await;
        self.claimed(&run).await
    }

    async fn next(&self, task: &Task) -> Option<Timestamp> {
        self.f.store.next_due(task.id).await.unwrap()
    }

    async fn holder(&self, task: &Task) -> Option<RunId> {
        let held = self.f.store.chain_holders(&[task.id]).await.unwrap();
        held.get(&task.id).copied()
    }

    /// Nobody holds it, and it is due then.
    async fn goes_on(&self, task: &Task, at: Option<Timestamp>) {
        assert_eq!((self.holder(task).await, self.next(task).await), (None, at));
    }

    /// What changes the task, with a due row at `due` if none of its runs holds its chain.
    async fn change(&self, task: &Task, schedule: &str, due: i64) -> Upsert {
        let mut spec = task.spec.clone();
        spec.schedule = Some(Texts::from_iter([schedule.to_owned()]));
        Upsert {
            id: task.id,
            expected: Some(self.f.named(&task.spec.name).await.unwrap().version),
            spec,
            paused_from: None,
            due: DueChange::Replace {
                seen: self.next(task).await,
                next: Some(Fixture::task_key(task, at(due))),
            },
        }
    }

    async fn paused(&self, task: &Task) -> Upsert {
        let mut upsert = self.change(task, "after 30s", 0).await;
        upsert.spec.paused = true;
        upsert.due = DueChange::Pause {
            offset: Duration::ZERO,
        };
        upsert
    }
}

/// Each end puts the next occurrence one delay after itself, and whatever is no end puts none.
pub async fn every_end_goes_on_with_its_chain(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    for (n, kind) in [
        End::Succeeded,
        End::Failed(Reason::Error),
        End::Failed(Reason::Timeout),
        End::Cancelled(Reason::Requested),
    ]
    .into_iter()
    .enumerate()
    {
        let task = c.task(&format!("t{n}"), at(0)).await;
        let (claim, run) = c.running(&task, at(0)).await;
        assert_eq!(c.f.finish(end(&run, claim, kind)).await, Written::Applied);
        c.goes_on(&task, Some(at(32))).await;
        // Under a claim that is over nothing ends, and nothing is put.
        assert_eq!(c.f.finish(end(&run, claim, kind)).await, Written::Stale);
        c.goes_on(&task, Some(at(32))).await;
    }
    let task = c.task("again", at(0)).await;
    let (claim, run) = c.running(&task, at(0)).await;
    let again = End::Again {
        ready_at: at(5),
        why: Reason::Error,
    };
    let retried = c.f.finish(end(&run, claim, again)).await;
    assert_eq!(retried, Written::Applied);
    assert_eq!(
        (c.holder(&task).await, c.next(&task).await),
        (Some(run.id), None)
    );
    let (claim, run) = c.claimed(&c.f.row(run.id).await).await;
    let ended = end(&run, claim, End::Succeeded);
    assert_eq!(c.f.finish(ended).await, Written::Applied);
    c.goes_on(&task, Some(at(32))).await;
}

/// Ends that no worker records: of a run that waits, of one whose worker died, of one that nobody answers for.
pub async fn ends_without_a_worker_go_on_with_their_chains(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    let cancelled = c.task("cancelled", at(0)).await;
    let run = c.fire(&cancelled, at(0)).await;
    assert_eq!(c.f.cancel(run.id).await, Cancel::Cancelled);
    c.goes_on(&cancelled, Some(at(32))).await;

    let dropped = c.task("dropped", at(0)).await;
    let run = c.fire(&dropped, at(0)).await;
    let firing = Firing {
        edits: c.f.edits().await,
        at: at(4),
        dropped: vec![(run.id, 1, Reason::StartDeadline)],
        ..Firing::default()
    };
    let fired = c.f.store.fire(&c.term, &firing).await.unwrap();
    assert_eq!(fired, Fired::Applied);
    assert_eq!(c.f.row(run.id).await.state, State::Skipped);
    c.goes_on(&dropped, Some(at(34))).await;

    let lost = c.task("lost", at(0)).await;
    let (claim, run) = c.running(&lost, at(0)).await;
    let lose = end(&run, claim, End::Failed(Reason::Lost));
    let answer = c.f.store.finish_lost(&c.term, &[lose]).await.unwrap();
    assert_eq!(answer, Some(vec![Written::Applied]));
    c.goes_on(&lost, Some(at(32))).await;

    let handed = c.task("handed-over", at(0)).await;
    let run = c.fire(&handed, at(0)).await;
    let over = [(run.id, 1)];
    let over = c.f.store.hand_over(&c.term, &over, at(6)).await.unwrap();
    assert_eq!(over, Written::Applied);
    assert_eq!(c.f.row(run.id).await.state, State::Succeeded);
    c.goes_on(&handed, Some(at(36))).await;
}

/// Runs that people ask for, and those of a task that was made anew or has another schedule since, move no chain.
pub async fn only_its_own_run_moves_a_chain(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    let task = c.task("t", at(10)).await;
    let asked = Submission {
        run: attempt::request(c.f.mint.runs(at(0), 1)[0], Some(&task), &task.spec, at(0)),
        spec: None,
        key: None,
    };
    let asked = std::slice::from_ref(&asked);
    c.f.store.submit(somebody(), asked).await.unwrap();
    let (claim, run) = c.claimed(&asked[0].run).await;
    assert_eq!(
        c.f.finish(end(&run, claim, End::Succeeded)).await,
        Written::Applied
    );
    c.goes_on(&task, Some(at(10))).await;

    // To another schedule and back while it runs: it is another chain's now.
    let (claim, run) = c.running(&task, at(10)).await;
    let cron = c.change(&task, "every 10s", 20).await;
    assert_eq!(c.f.edit(vec![cron]).await, Written::Applied);
    c.goes_on(&task, Some(at(20))).await;
    let back = c.change(&task, "after 30s", 40).await;
    assert_eq!(c.f.edit(vec![back]).await, Written::Applied);
    c.goes_on(&task, Some(at(40))).await;
    assert_eq!(
        c.f.finish(end(&run, claim, End::Succeeded)).await,
        Written::Applied
    );
    c.goes_on(&task, Some(at(40))).await;

    // Deleted while it runs, and made anew.
    let (claim, run) = c.running(&task, at(40)).await;
    let version = c.f.named("t").await.unwrap().version;
    let edit = Edit {
        deletes: vec![c.f.deletion(task.id, version).await],
        ..Edit::default()
    };
    let deleted = c.f.store.edit(somebody(), &edit, at(0)).await.unwrap();
    assert_eq!(deleted, Written::Applied);
    let anew = c.task("t", at(50)).await;
    assert_eq!(
        c.f.finish(end(&run, claim, End::Succeeded)).await,
        Written::Applied
    );
    c.goes_on(&task, None).await;
    c.goes_on(&anew, Some(at(50))).await;
}

/// An edit while a run holds the chain puts no due row, and the end of that run goes by it.
pub async fn an_edit_leaves_a_chain_to_its_run(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    let task = c.task("t", at(0)).await;
    let (claim, run) = c.running(&task, at(0)).await;
    let slower = c.change(&task, "after 1m", 7).await;
    assert_eq!(c.f.edit(vec![slower]).await, Written::Applied);
    assert_eq!(
        (c.holder(&task).await, c.next(&task).await),
        (Some(run.id), None)
    );
    let seen_before = c.change(&task, "after 2m", 9).await;
    assert_eq!(
        c.f.finish(end(&run, claim, End::Succeeded)).await,
        Written::Applied
    );
    c.goes_on(&task, Some(at(62))).await;
    // Decided before that end, it is stale.
    assert_eq!(c.f.edit(vec![seen_before]).await, Written::Stale);
    c.goes_on(&task, Some(at(62))).await;

    // Its end while it is paused puts nothing; the end of the pause does.
    let (claim, run) = c.running(&task, at(62)).await;
    assert_eq!(
        c.f.edit(vec![c.paused(&task).await]).await,
        Written::Applied
    );
    assert_eq!(
        c.f.finish(end(&run, claim, End::Succeeded)).await,
        Written::Applied
    );
    c.goes_on(&task, None).await;
    let resumed = c.change(&task, "after 30s", 70).await;
    assert_eq!(c.f.edit(vec![resumed]).await, Written::Applied);
    c.goes_on(&task, Some(at(70))).await;

    // Paused and resumed while it runs: it goes on from its end.
    let (claim, run) = c.running(&task, at(70)).await;
    assert_eq!(
        c.f.edit(vec![c.paused(&task).await]).await,
        Written::Applied
    );
    let resumed = c.change(&task, "after 30s", 80).await;
    assert_eq!(c.f.edit(vec![resumed]).await, Written::Applied);
    assert_eq!(
        (c.holder(&task).await, c.next(&task).await),
        (Some(run.id), None)
    );
    assert_eq!(
        c.f.finish(end(&run, claim, End::Succeeded)).await,
        Written::Applied
    );
    // Not within one delay of its own instant, whatever the clocks say.
    c.goes_on(&task, Some(at(100))).await;
}

/// A rest takes back what is planned ahead: nobody holds the chain then.
pub async fn a_rest_takes_a_chain_back(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    let soon = c.f.tomorrow().await;
    let task = c.task("t", soon).await;
    let run = c.fire(&task, soon).await;
    assert_eq!(
        c.f.edit(vec![c.paused(&task).await]).await,
        Written::Applied
    );
    assert!(c.f.store.run(run.id).await.unwrap().is_none());
    c.goes_on(&task, None).await;
    let resumed = c.change(&task, "after 30s", 7).await;
    assert_eq!(c.f.edit(vec![resumed]).await, Written::Applied);
    c.goes_on(&task, Some(at(7))).await;
}

/// What is set aside keeps its chain; released it goes on with it, dropped the task goes on without it.
pub async fn a_chain_goes_on_from_what_was_set_aside(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    let aside = |thing| Aside {
        thing,
        at: at(5),
        error: "broken".to_owned(),
    };
    let entry = || async { c.f.store.quarantine(None, 10).await.unwrap()[0].id };
    let task = c.task("t", at(0)).await;
    let (claim, run) = c.running(&task, at(0)).await;
    // It is recorded as of when it was set aside.
    let ended = Finish {
        at: at(5),
        ..end(&run, claim, End::Succeeded)
    };
    let thing = aside(Thing::End(ended));
    assert_eq!(c.f.store.set_aside(&thing).await.unwrap(), Written::Applied);
    assert_eq!(
        (c.holder(&task).await, c.next(&task).await),
        (Some(run.id), None)
    );
    let released =
        c.f.store
            .release(somebody(), entry().await, at(7), StartMode::default())
            .await;
    assert_eq!(released.unwrap(), Released::Done);
    c.goes_on(&task, Some(at(35))).await;

    let (claim, run) = c.running(&task, at(35)).await;
    let thing = aside(Thing::End(end(&run, claim, End::Succeeded)));
    assert_eq!(c.f.store.set_aside(&thing).await.unwrap(), Written::Applied);
    let before = c.f.store.leader().await.unwrap().now;
    let dropped = c.f.store.drop_quarantined(somebody(), entry().await).await;
    assert_eq!(dropped.unwrap(), Written::Applied);
    let delay = Duration::from_secs(30);
    let next = c.next(&task).await.unwrap();
    assert!(next >= before.plus(delay), "{next} {before}");
    assert_eq!(c.holder(&task).await, None);

    // Its due row: dropped, another one is put.
    let due = aside(Thing::Due(Fixture::task_key(&task, next)));
    let set = c.f.store.set_aside_for(&c.term, &due).await.unwrap();
    assert_eq!(set, Written::Applied);
    c.goes_on(&task, None).await;
    let dropped = c.f.store.drop_quarantined(somebody(), entry().await).await;
    assert_eq!(dropped.unwrap(), Written::Applied);
    assert!(c.next(&task).await.unwrap() >= next.plus(delay));
}

/// However an end and an edit meet, the task has one due row afterwards.
pub async fn an_end_and_an_edit_do_not_miss_each_other(store: Arc<dyn Store>) {
    let c = Chains::new(store).await;
    let task = c.task("t", at(0)).await;
    let (mut due, mut stale) = (at(0), 0);
    for n in 0..20 {
        let (claim, run) = c.running(&task, due).await;
        let slower = c.change(&task, &format!("after {}s", 40 + n), 50).await;
        let mut ended = end(&run, claim, End::Succeeded);
        ended.at = run.due_at;
        let ends = [ended];
        let (edited, finished) =
            futures_util::join!(c.f.edit(vec![slower]), c.f.store.finish(&ends));
        assert_eq!(finished.unwrap(), [Written::Applied]);
        stale += usize::from(edited == Written::Stale);
        assert_eq!(c.holder(&task).await, None);
        due = c.next(&task).await.unwrap();
        let after = due.since(run.due_at).as_secs();
        assert!((30..60).contains(&after), "{after} s, {edited:?}");
    }
    assert!(stale <= 20);
}
