//! Behaviours of a clock that was ahead and is set right: what was planned for moments that have not come is found and taken
//! back in one piece, or not at all.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, range, spec};
use crate::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::lead::jump::{Part, PutBack, TaskBack};
use campanile_core::port::Written;
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::fire::{DueKey, Fired, Firing};
use campanile_core::port::lead::Term;
use campanile_core::port::store::{CLOCK_STATE, Store};
use campanile_core::run::{Run, State};
use campanile_core::task::{Task, TaskSpec};

/// A task of which a clock that was a day ahead has planned four instants: a skip of two, a run that waits, one that waits
/// and counts as started here. Its due row is behind them.
struct Scene {
    f: Fixture,
    term: Term,
    task: Task,
    first: Timestamp,
    skip: Run,
    runs: Vec<Run>,
}

fn plus(at: Timestamp, s: u64) -> Timestamp {
    at.plus(Duration::from_secs(s))
}

impl Scene {
    async fn new(store: Arc<dyn Store>) -> Self {
        let f = Fixture::new(store);
        let term = f.lead().await;
        let first = f.tomorrow().await;
        let task = f.task("t", first).await;
        let ids = f.mint.runs(plus(first, 40), 3);
        let mut skipped = range(0, 0, 2);
        (skipped.first, skipped.last) = (first, plus(first, 10));
        let skip = transitions::skip(ids[0], &task, &skipped, term.epoch, plus(first, 20));
        let run =
            |n: usize, s: u64| transitions::occurrence(ids[n], &task, plus(first, s), term.epoch);
        let runs = vec![run(1, 20), run(2, 30)];
        let firing = Firing {
            edits: f.edits().await,
            consumed: vec![Fixture::task_key(&task, first)],
            advanced: vec![Fixture::task_key(&task, plus(first, 40))],
            runs: runs.clone(),
            skipped: vec![skip.clone()],
            outbox: Some(f.outbox_entry(&[(ids[1], 1), (ids[2], 1)])),
            epoch: term.epoch,
            ..Firing::default()
        };
        assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Applied);
        Self {
            f,
            term,
            task,
            first,
            skip,
            runs,
        }
    }

    fn key(&self, s: u64) -> DueKey {
        Fixture::task_key(&self.task, plus(self.first, s))
    }

    /// All but the last run is taken back.
    async fn back(&self) -> PutBack {
        PutBack {
            edits: self.f.edits().await,
            tasks: vec![TaskBack {
                task: self.task.id,
                due: Some((Some(self.key(40)), self.key(0))),
                paused_from: None,
                part: Part {
                    from: Some(self.first),
                    runs: vec![self.runs[0].clone()],
                    skips: vec![self.skip.id],
                    answered: vec![self.runs[1].due_at],
                },
            }],
            ..PutBack::default()
        }
    }

    async fn put(&self, back: &PutBack) -> Fired {
        self.f.store.put_back(&self.term, back).await.unwrap()
    }

    async fn due_row(&self) -> Option<Timestamp> {
        self.f.store.next_due(self.task.id).await.unwrap()
    }
}

/// Rows of schedules that stand for moments to come are found, by task and in pages; what people asked for is not.
pub async fn what_lies_ahead_of_the_clock_is_found(store: Arc<dyn Store>) {
    let s = Scene::new(store).await;
    let (store, id) = (&s.f.store, s.task.id);
    let mut asked = s.f.requests(1);
    asked[0].run.due_at = plus(s.first, 5);
    asked[0].run.ready_at = plus(s.first, 5);
    store.submit(somebody(), &asked).await.unwrap();
    let now = store.leader().await.unwrap().now;
    assert_eq!(store.tasks_ahead(now, None, 10).await.unwrap(), [id]);
    assert!(
        store
            .tasks_ahead(now, Some(id), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.tasks_ahead(now, None, 0).await.unwrap().is_empty());
    // The skip counts by its last instant.
    for (s_beyond, most) in [(0, 3), (9, 3), (10, 2), (20, 1), (30, 0)] {
        let beyond = plus(s.first, s_beyond);
        let rows = store.rows_ahead(&[id], beyond).await.unwrap();
        assert_eq!(rows.len(), most, "{s_beyond}");
        let found = store.tasks_ahead(beyond, None, 10).await.unwrap();
        assert_eq!(found.len(), usize::from(most > 0), "{s_beyond}");
    }
    let rows = store.rows_ahead(&[id], now).await.unwrap();
    let skip = rows.iter().find(|r| r.state == State::Skipped).unwrap();
    assert_eq!(skip, &s.f.row(s.skip.id).await);
    let other = s.f.mint.task(at(0));
    assert!(store.rows_ahead(&[other], now).await.unwrap().is_empty());
}

/// Runs go with their timers, skips go, the due row stands where nothing has a row, and the instant can be fired again.
pub async fn what_a_wrong_clock_planned_is_taken_back(store: Arc<dyn Store>) {
    let s = Scene::new(store).await;
    let edits = s.f.edits().await;
    assert_eq!(s.put(&s.back().await).await, Fired::Applied);
    assert_eq!(
        s.f.edits().await,
        edits + 1,
        "what rested on the old due row is refused"
    );
    assert_eq!(s.due_row().await, Some(s.first));
    let rows = s.f.all_runs().await;
    let ids: Vec<_> = rows.iter().map(|r| r.id).collect();
    assert_eq!(ids, [s.runs[1].id]);
    let due = s.f.due(plus(s.first, 100)).await;
    assert_eq!(due, [s.key(0)]);
    for (from, answer) in [(0, None), (10, None), (20, None), (30, Some(s.runs[1].id))] {
        let row =
            s.f.store
                .occurrence(s.task.id, plus(s.first, from))
                .await
                .unwrap();
        assert_eq!(row.map(|r| r.id), answer, "{from}");
    }
    let answered = s.f.store.answered().await.unwrap();
    let mine: Vec<_> = answered[&s.task.id].iter().copied().collect();
    assert_eq!(mine, [plus(s.first, 30)]);
    // What is published of it finds no row.
    let published = [(s.runs[0].id, 1), (s.runs[1].id, 1)];
    let waiting = s.f.store.waiting(&published).await.unwrap();
    assert_eq!(waiting, [s.runs[1].id]);
    // Asked for twice it is refused: nothing is as it was seen.
    assert_eq!(s.put(&s.back().await).await, Fired::Edited);
    s.f.fire(&s.term, &s.task, s.first).await;
}

/// A run that somebody has claimed, a skip that is gone, a due row that has moved, an edit or another term between: nothing
/// is changed.
pub async fn a_taking_back_is_whole_or_not_at_all(store: Arc<dyn Store>) {
    let s = Scene::new(store).await;
    let (node, claim, running) = s.f.running().await;
    let _ = node;
    let mut claimed = s.back().await;
    claimed.tasks[0].part.runs.push(running.clone());
    assert_eq!(s.put(&claimed).await, Fired::Edited);
    assert_eq!(s.f.row(running.id).await.state, State::Running);
    let over = super::fixture::end(&running, claim, End::Succeeded);
    assert_eq!(s.f.finish(over).await, Written::Applied);
    let mut ended = s.back().await;
    ended.tasks[0].part.skips.push(running.id);
    assert_eq!(s.put(&ended).await, Fired::Edited, "it is no skip");
    let mut moved = s.back().await;
    moved.tasks[0].due = Some((Some(s.key(50)), s.key(0)));
    assert_eq!(s.put(&moved).await, Fired::Edited);
    moved.tasks[0].due = Some((None, s.key(0)));
    assert_eq!(s.put(&moved).await, Fired::Edited, "there is a due row");
    let mut edited = s.back().await;
    edited.edits -= 1;
    assert_eq!(s.put(&edited).await, Fired::Edited);
    let (ids, now) = ([s.task.id], s.f.store.leader().await.unwrap().now);
    let rows = s.f.store.rows_ahead(&ids, now).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(s.due_row().await, Some(plus(s.first, 40)));
    assert!(s.f.store.answered().await.unwrap().is_empty());
    let late = s.back().await;
    s.f.lead().await;
    assert_eq!(s.put(&late).await, Fired::Fenced);
    assert_eq!(s.due_row().await, Some(plus(s.first, 40)));
}

/// A task without a due row, for its schedule was over by the wrong clock, has one again; one that is paused does from earlier.
pub async fn a_task_that_is_over_or_rests_is_put_back_too(store: Arc<dyn Store>) {
    let s = Scene::new(store).await;
    let gone = Firing {
        edits: s.f.edits().await,
        consumed: vec![s.key(40)],
        epoch: s.term.epoch,
        ..Firing::default()
    };
    assert_eq!(
        s.f.store.fire(&s.term, &gone).await.unwrap(),
        Fired::Applied
    );
    assert_eq!(s.due_row().await, None);
    let mut back = s.back().await;
    back.tasks[0].due = Some((None, s.key(0)));
    assert_eq!(s.put(&back).await, Fired::Applied);
    assert_eq!(s.due_row().await, Some(s.first));

    let later = s.f.task("r", plus(s.first, 40)).await;
    let rest = Upsert {
        id: later.id,
        expected: Some(later.version),
        spec: TaskSpec {
            paused: true,
            ..spec("r")
        },
        paused_from: None,
        due: DueChange::Pause {
            offset: Duration::ZERO,
        },
    };
    assert_eq!(s.f.edit(vec![rest]).await, Written::Applied);
    let paused_from = async || s.f.named("r").await.unwrap().paused_from;
    assert_eq!(paused_from().await, Some(plus(s.first, 40)));
    for (from, expected) in [(20, 20), (30, 20)] {
        let back = PutBack {
            edits: s.f.edits().await,
            tasks: vec![TaskBack {
                task: later.id,
                due: None,
                paused_from: Some(plus(s.first, from)),
                part: Part::default(),
            }],
            ..PutBack::default()
        };
        assert_eq!(s.put(&back).await, Fired::Applied);
        assert_eq!(
            paused_from().await,
            Some(plus(s.first, expected)),
            "never later"
        );
    }
}

/// Which instants are answered is forgotten when they have passed and the task's due row is behind them.
pub async fn answered_instants_are_forgotten_behind_the_due_row(store: Arc<dyn Store>) {
    let s = Scene::new(store).await;
    assert_eq!(s.put(&s.back().await).await, Fired::Applied);
    let forget = async |before: Timestamp| {
        let write = PutBack {
            edits: s.f.edits().await,
            forget: Some(before),
            ..PutBack::default()
        };
        assert_eq!(s.put(&write).await, Fired::Applied);
        !s.f.store.answered().await.unwrap().is_empty()
    };
    assert!(forget(plus(s.first, 30)).await, "it has not passed");
    assert!(
        forget(plus(s.first, 31)).await,
        "its due row comes to it yet"
    );
    let edit = Edit {
        moves: vec![campanile_core::port::edit::Move {
            task: s.task.id,
            seen: Some(s.first),
            next: Some(s.key(40)),
        }],
        ..Edit::default()
    };
    assert_eq!(
        s.f.store.edit(somebody(), &edit, at(0)).await.unwrap(),
        Written::Applied
    );
    assert!(!forget(plus(s.first, 31)).await);
}

/// What the leader writes of the clock stands under its name, whole or not at all, and the last one is what is read.
pub async fn what_the_leader_says_of_the_clock_is_kept(store: Arc<dyn Store>) {
    let s = Scene::new(store).await;
    let say = async |edits: i64, value: &str| {
        let write = PutBack {
            edits,
            settings: vec![(CLOCK_STATE, value.to_owned())],
            ..PutBack::default()
        };
        s.put(&write).await
    };
    let read = async || s.f.store.setting(CLOCK_STATE).await.unwrap();
    assert_eq!(read().await, None);
    let edits = s.f.edits().await;
    assert_eq!(say(edits, "first").await, Fired::Applied);
    assert_eq!(say(edits, "stale").await, Fired::Edited);
    assert_eq!(read().await.as_deref(), Some("first"));
    assert_eq!(say(s.f.edits().await, "second").await, Fired::Applied);
    s.f.lead().await;
    assert_eq!(say(s.f.edits().await, "late").await, Fired::Fenced);
    assert_eq!(read().await.as_deref(), Some("second"));
}
