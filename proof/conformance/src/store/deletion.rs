//! Deleted tasks: their names, what waits for them, and how it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, end, spec};
use crate::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::edit::keys::Key;
use campanile_core::decide::permits::{LimitKey, Permit};
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::ask::{Backlog, Named, RunFilter, TaskFilter};
use campanile_core::port::attempt::{Aside, End, Finish, Thing};
use campanile_core::port::edit::{Edit, Released, Submission};
use campanile_core::port::fire::Firing;
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::{Label, StartMode, Task};

impl Fixture {
    async fn delete(&self, task: &Task, when: Timestamp) {
        let edit = Edit {
            deletes: vec![self.deletion(task.id, task.version).await],
            ..Edit::default()
        };
        let done = self.store.edit(somebody(), &edit, when).await.unwrap();
        assert_eq!(done, Written::Applied);
    }

    /// Runs that somebody asks for, of a task.
    fn asked(&self, task: &Task, count: usize, due: Timestamp) -> Vec<Submission> {
        let ids = self.mint.runs(at(0), count);
        let submissions = ids.into_iter().map(|id| Submission {
            run: transitions::request(id, Some(task), &task.spec, due),
            spec: None,
            key: None,
        });
        submissions.collect()
    }

    async fn ask(&self, task: &Task, count: usize, due: Timestamp) -> Vec<Run> {
        let submissions = self.asked(task, count, due);
        self.store.submit(somebody(), &submissions).await.unwrap();
        submissions.into_iter().map(|s| s.run).collect()
    }

    async fn orphans(&self, after: Option<RunId>, look: usize) -> (Vec<Run>, Option<RunId>) {
        let found = self.store.orphans(after, look).await.unwrap();
        (found.runs, found.next)
    }

    async fn end_orphans(&self, term: &Term, runs: &[Run]) -> usize {
        let ended = self.store.end_orphans(term, runs, at(60)).await.unwrap();
        ended.unwrap()
    }
}

/// Tasks are listed by their owner, and those without one by themselves.
pub async fn an_owners_tasks_are_listed(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let owned = |name: &str, owner: &str| {
        let mut spec = spec(name);
        spec.owner = Some(owner.to_owned()).filter(|o| !o.is_empty());
        f.creation(spec, None)
    };
    let all = [("a", "x"), ("b", ""), ("c", "y"), ("d", "x"), ("e", "x")];
    let upserts = all.map(|(name, owner)| owned(name, owner)).to_vec();
    assert_eq!(f.edit(upserts).await, Written::Applied);
    let list = async |owner: Option<&str>, after: Option<&str>, limit: usize| {
        let page = f
            .store
            .tasks(&TaskFilter::of(owner), after, limit)
            .await
            .unwrap();
        let names = page.tasks.into_iter().map(|t| t.spec.name);
        (names.collect::<Vec<_>>().concat(), page.next)
    };
    assert_eq!(
        list(Some("x"), None, 2).await,
        ("ad".to_owned(), Some("d".to_owned()))
    );
    assert_eq!(list(Some("x"), Some("d"), 2).await, ("e".to_owned(), None));
    assert_eq!(list(Some(""), None, 9).await, ("b".to_owned(), None));
    assert_eq!(list(Some("z"), None, 9).await, (String::new(), None));
    assert_eq!(list(None, None, 9).await, ("abcde".to_owned(), None));
    // A task changes hands, and a deleted one is nobody's.
    let d = f.named("d").await.unwrap();
    let mut change = owned("d", "y");
    (change.id, change.expected) = (d.id, Some(1));
    assert_eq!(f.edit(vec![change]).await, Written::Applied);
    let e = f.named("e").await.unwrap();
    f.delete(&e, at(1)).await;
    assert_eq!(list(Some("x"), None, 9).await, ("a".to_owned(), None));
    assert_eq!(list(Some("y"), None, 9).await, ("cd".to_owned(), None));
}

/// Tasks are listed by their labels, page by page, and as they are now.
pub async fn tasks_are_listed_by_their_labels(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let labelled = |name: &str, labels: &[(&str, &str)], owner: Option<&str>| {
        let mut spec = spec(name);
        spec.owner = owner.map(str::to_owned);
        let pairs = labels.iter();
        spec.labels = pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        spec
    };
    let (team, other, tier) = (("team", "x"), ("team", "y"), ("tier", "1"));
    let upserts = vec![
        f.creation(labelled("a", &[team, tier], None), None),
        f.creation(labelled("b", &[team], Some("o")), None),
        f.creation(labelled("c", &[other, tier], None), None),
        f.creation(labelled("d", &[team, tier], Some("o")), None),
        f.creation(labelled("e", &[], None), None),
    ];
    assert_eq!(f.edit(upserts).await, Written::Applied);
    let list = async |asked: &str, owner: Option<&str>, after: Option<&str>, limit: usize| {
        let labels = Label::parse_all(asked).unwrap();
        let owner = owner.map(str::to_owned);
        let filter = TaskFilter { owner, labels };
        let page = f.store.tasks(&filter, after, limit).await.unwrap();
        let names = page.tasks.into_iter().map(|t| t.spec.name);
        (names.collect::<Vec<_>>().concat(), page.next)
    };
    let whole = |names: &str| (names.to_owned(), None);
    assert_eq!(list("team=x", None, None, 9).await, whole("abd"));
    assert_eq!(list("team=x,tier=1", None, None, 9).await, whole("ad"));
    assert_eq!(list("tier=1,team=x", Some("o"), None, 9).await, whole("d"));
    assert_eq!(list("team=x,team=y", None, None, 9).await, whole(""));
    assert_eq!(list("team=z", None, None, 9).await, whole(""));
    let first = list("team=x", None, None, 2).await;
    assert_eq!(first, ("ab".to_owned(), Some("b".to_owned())));
    assert_eq!(list("team=x", None, Some("b"), 2).await, whole("d"));
    // Names change hands in one edit, labels change, and a deleted task is none of them.
    let (a, b) = (f.named("a").await.unwrap(), f.named("b").await.unwrap());
    let mut swapped = [
        f.creation(labelled("b", &[team, tier], None), None),
        f.creation(labelled("a", &[other], None), None),
    ];
    for (upsert, task) in swapped.iter_mut().zip([&a, &b]) {
        (upsert.id, upsert.expected) = (task.id, Some(1));
    }
    assert_eq!(f.edit(swapped.to_vec()).await, Written::Applied);
    assert_eq!(list("team=x", None, None, 9).await, whole("bd"));
    assert_eq!(list("team=y", None, None, 9).await, whole("ac"));
    let d = f.named("d").await.unwrap();
    f.delete(&d, at(1)).await;
    assert_eq!(list("team=x,tier=1", None, None, 9).await, whole("b"));
    let again = f.creation(labelled("d", &[team], None), None);
    assert_eq!(f.edit(vec![again]).await, Written::Applied);
    assert_eq!(list("team=x", None, None, 9).await, whole("bd"));
}

/// A run was set aside while its task was deleted and forgotten: it is looked for once it waits again.
pub async fn what_is_released_of_a_deleted_task_is_looked_for(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let run = f.fire(&term, &task, at(10)).await;
    let abandoned = End::Abandoned { ready_at: at(12) };
    let entry = Aside {
        thing: Thing::End(end(&run, f.mint.claim(), abandoned)),
        at: at(11),
        error: "refused".to_owned(),
    };
    let done = f.store.set_aside(&entry).await.unwrap();
    assert_eq!(done, Written::Applied);
    f.delete(&task, at(20)).await;
    assert_eq!(f.orphans(None, 10).await.0, Vec::new());
    let forgotten = f.store.forget_deletions(&term, at(30), 10).await.unwrap();
    assert_eq!(forgotten, Some(1));
    let aside = f.store.quarantine(None, 10).await.unwrap();
    let released = f
        .store
        .release(somebody(), aside[0].id, at(40), StartMode::default())
        .await
        .unwrap();
    assert_eq!(released, Released::Done);
    let open = f.store.deletions().await.unwrap().unwrap();
    assert_eq!((open.count, open.last_at), (1, at(40)));
    let found = f.orphans(None, 10).await.0;
    assert_eq!(found, vec![f.row(run.id).await]);
    assert_eq!(f.end_orphans(&term, &found).await, 1);
    let row = f.row(run.id).await;
    assert_eq!(
        (row.state, row.reason),
        (State::Cancelled, Reason::TaskDeleted)
    );
}

/// A run ran on while its task was deleted and forgotten, and its worker died: it is looked for once it waits again.
pub async fn what_is_lost_of_a_deleted_task_is_looked_for(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (gone, stays) = (f.task("t", at(10)).await, f.task("stays", at(10)).await);
    let runs = [
        f.fire(&term, &gone, at(10)).await,
        f.fire(&term, &stays, at(10)).await,
    ];
    let node = f.node().await;
    let (claim, won) = f.claim(node, &runs.each_ref().map(|r| (r.id, 1))).await;
    assert_eq!(won.len(), 2);
    let lost = |run: &Run| {
        let (ready_at, why) = (at(50), Reason::Lost);
        Finish {
            at: at(40),
            ..end(run, claim, End::Again { ready_at, why })
        }
    };
    let ends = runs.each_ref().map(lost);
    f.delete(&gone, at(20)).await;
    assert_eq!(f.orphans(None, 10).await.0, Vec::new());
    let forgotten = f.store.forget_deletions(&term, at(30), 10).await.unwrap();
    assert_eq!(forgotten, Some(1));
    let answers = f.store.finish_lost(&term, &ends).await.unwrap().unwrap();
    assert_eq!(answers, [Written::Applied; 2]);
    let open = f.store.deletions().await.unwrap().unwrap();
    assert_eq!((open.count, open.last_at), (1, at(40)));
    let found = f.orphans(None, 10).await.0;
    assert_eq!(found, vec![f.row(runs[0].id).await]);
    assert_eq!(f.end_orphans(&term, &found).await, 1);
}

/// What a task was called is known after its deletion, and whose name it is now does not matter; all that had a name
/// are found by it, and their runs are listed together.
pub async fn names_outlive_their_tasks(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let mut ids: Vec<TaskId> = Vec::new();
    for n in 0..3 {
        let task = f.task("t", at(10)).await;
        f.fire(&term, &task, at(10)).await;
        ids.insert(0, task.id);
        if n < 2 {
            f.delete(&task, at(20 + n)).await;
        }
    }
    let other = f.task("other", at(10)).await;
    f.fire(&term, &other, at(10)).await;
    assert_eq!(f.store.namesakes("t", 10).await.unwrap(), ids);
    assert_eq!(f.store.namesakes("t", 2).await.unwrap(), ids[..2]);
    assert!(f.store.namesakes("nobody", 10).await.unwrap().is_empty());
    let mut named = f.store.task_names(&ids).await.unwrap();
    named.sort_by_key(|n| std::cmp::Reverse(n.id));
    let expected = [None, Some(at(21)), Some(at(20))];
    let expected = ids.iter().zip(expected).map(|(id, deleted_at)| Named {
        id: *id,
        owner: None,
        name: "t".to_owned(),
        timezone: "UTC".to_owned(),
        deleted_at,
    });
    assert_eq!(named, expected.collect::<Vec<_>>());
    let filter = RunFilter {
        tasks: ids.clone(),
        ..RunFilter::default()
    };
    let runs = f.store.runs(&filter, None, 10).await.unwrap();
    let of: Vec<_> = runs.iter().filter_map(|run| run.task).collect();
    assert_eq!(of, ids);
    let page = f.store.runs(&filter, Some(runs[0].id), 1).await.unwrap();
    assert_eq!(page, runs[1..2]);
}

/// What waits for tasks is told apart: asked for by people, between two attempts, overdue; what was made a moment ahead
/// is nothing that waits.
pub async fn backlogs_are_told(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (a, b, c) = (
        f.task("a", at(10)).await,
        f.task("b", at(10)).await,
        f.task("c", at(10)).await,
    );
    for task in [&a, &b] {
        f.fire(&term, task, at(10)).await;
    }
    let asked = f.ask(&a, 3, at(5)).await;
    let node = f.node().await;
    f.claim(node, &[(asked[0].id, 1)]).await;
    let all = [a.id, b.id, c.id];
    let told = async |overdue| {
        let mut told = f.store.backlogs(&all, overdue).await.unwrap();
        told.sort_by_key(|b| b.task);
        told
    };
    let of = |task: &Task, waiting, requested, newest| Backlog {
        task: task.id,
        waiting,
        requested,
        newest,
    };
    let newest = Some(asked[2].id);
    assert_eq!(told(at(10)).await, [of(&a, 2, 2, newest)]);
    assert_eq!(
        told(at(11)).await,
        [of(&a, 3, 2, newest), of(&b, 1, 0, None)]
    );
    let one = f.store.backlogs(&[b.id], at(11)).await.unwrap();
    assert_eq!(one, [of(&b, 1, 0, None)]);
    assert!(f.store.backlogs(&[], at(11)).await.unwrap().is_empty());
}

/// The due rows of many tasks are told at once.
pub async fn due_rows_are_told_together(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (a, b) = (f.task("a", at(10)).await, f.task("b", at(20)).await);
    assert_eq!(
        f.edit(vec![f.creation(spec("c"), None)]).await,
        Written::Applied
    );
    let c = f.named("c").await.unwrap();
    let told = f.store.next_dues(&[a.id, b.id, c.id]).await.unwrap();
    assert_eq!(told, [(a.id, at(10)), (b.id, at(20))].into());
    assert!(f.store.next_dues(&[]).await.unwrap().is_empty());
}

/// Fires a run with a permit of this limit.
async fn give_permit(f: &Fixture, term: &Term, key: &LimitKey, run: &Run) {
    let permit = Permit {
        key: key.clone(),
        n: 0,
        run: run.id,
    };
    let firing = Firing {
        edits: f.edits().await,
        consumed: vec![Fixture::run_key(run)],
        seen: vec![(run.id, run.attempt)],
        acquired: vec![permit],
        epoch: term.epoch,
        ..Firing::default()
    };
    let fired = f.store.fire(term, &firing).await.unwrap();
    assert_eq!(fired, campanile_core::port::fire::Fired::Applied);
}

/// The waiting runs of deleted tasks are found batch by batch, and end with their timers and permits; who runs goes on,
/// and who is claimed meanwhile is left alone.
pub async fn orphans_are_ended(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (task, other) = (f.task("t", at(10)).await, f.task("other", at(10)).await);
    let later = f.tomorrow().await;
    let mut runs = f.ask(&task, 4, at(5)).await;
    runs.extend(f.ask(&task, 1, later).await);
    let kept = f.ask(&other, 1, at(5)).await.remove(0);
    let node = f.node().await;
    f.claim(node, &[(runs[0].id, 1)]).await;
    // The second one holds a permit, for which the third is blocked.
    let key = LimitKey::Task(task.id);
    give_permit(&f, &term, &key, &runs[1]).await;
    assert_eq!(f.store.deletions().await.unwrap(), None);
    assert_eq!(f.orphans(None, 100).await.0, []);
    f.delete(&task, at(30)).await;
    let open = f.store.deletions().await.unwrap().unwrap();
    assert_eq!(
        (open.count, open.first_at, open.last_at),
        (1, at(30), at(30))
    );
    let ids = |runs: &[Run]| runs.iter().map(|r| r.id).collect::<Vec<_>>();
    let (all, end) = f.orphans(None, 100).await;
    assert_eq!(ids(&all), ids(&runs[1..]));
    assert_eq!(end, Some(kept.id));
    let (first, next) = f.orphans(None, 2).await;
    assert_eq!((ids(&first), next), (ids(&runs[1..2]), Some(runs[1].id)));
    let (rest, next) = f.orphans(Some(runs[4].id), 2).await;
    assert_eq!((rest, next), (vec![], Some(kept.id)));
    assert_eq!(f.orphans(Some(kept.id), 2).await, (vec![], None));
    // Somebody wins one between the look and the end; he is told that its task is gone.
    let (_, won) = f.claim(node, &[(runs[3].id, 1)]).await;
    assert_eq!((won[0].task, won[0].orphaned), (None, true));
    assert_eq!(f.end_orphans(&term, &all).await, 3);
    assert_eq!(f.end_orphans(&term, &all).await, 0, "a second time");
    for (n, run) in runs.iter().enumerate() {
        let row = f.row(run.id).await;
        if n == 0 || n == 3 {
            assert_eq!(row.state, State::Running, "{n}");
            continue;
        }
        let expected = transitions::orphan(run, 1, at(60)).unwrap();
        assert_eq!(
            (row.state, row.reason, row.finished_at),
            (State::Cancelled, Reason::TaskDeleted, expected.finished_at),
            "{n}"
        );
    }
    assert_eq!(f.row(kept.id).await.state, State::Scheduled);
    let standing = f.store.standings(std::slice::from_ref(&key)).await.unwrap();
    assert!(standing.get(&key).is_none_or(|s| s.held.is_empty()));
    // Only the timers of those who won, or were fired, are left: they fire nothing.
    let due = f.due(later.plus(Duration::from_secs(1))).await;
    assert!(!due.contains(&Fixture::run_key(&runs[4])), "{due:?}");
    assert!(due.contains(&Fixture::run_key(&kept)));
}

/// A deleted task is looked after until its time is over, and not by an old term.
pub async fn deletions_are_forgotten(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let old = f.lead().await;
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        let task = f.task(name, at(10)).await;
        f.delete(&task, at(20 + i64::try_from(n).unwrap())).await;
    }
    let run = f.submit(1).await.remove(0);
    let term = f.lead().await;
    assert_eq!(
        f.store.forget_deletions(&old, at(99), 9).await.unwrap(),
        None
    );
    assert_eq!(
        f.store.end_orphans(&old, &[run], at(99)).await.unwrap(),
        None
    );
    assert_eq!(
        f.store.forget_deletions(&term, at(19), 9).await.unwrap(),
        Some(0)
    );
    assert_eq!(
        f.store.forget_deletions(&term, at(21), 1).await.unwrap(),
        Some(1)
    );
    assert_eq!(
        f.store.forget_deletions(&term, at(21), 9).await.unwrap(),
        Some(1)
    );
    let open = f.store.deletions().await.unwrap().unwrap();
    assert_eq!((open.count, open.first_at), (1, at(22)));
    assert_eq!(
        f.store.forget_deletions(&term, at(22), 9).await.unwrap(),
        Some(1)
    );
    assert_eq!(f.store.deletions().await.unwrap(), None);
}

/// Who saw a task living and asks for a run after its deletion gets none: all or nothing.
pub async fn nobody_asks_for_a_deleted_task(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (task, other) = (f.task("t", at(10)).await, f.task("other", at(10)).await);
    let mut both = f.asked(&other, 1, at(5));
    both.extend(f.asked(&task, 1, at(5)));
    both[0].key = Some(Key::of_engine("key".to_owned()));
    f.delete(&task, at(20)).await;
    let refused = f.store.submit(somebody(), &both).await.unwrap_err();
    assert!(refused.is_contended(), "{refused:?}");
    assert_eq!(f.all_runs().await, []);
    let answers = f.store.submit(somebody(), &both[..1]).await.unwrap();
    assert!(answers[0].created, "the key was not kept");
}
