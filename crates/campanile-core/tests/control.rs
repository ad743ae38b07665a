//! What people ask of the system, over the memory store: what the ledger tells, and where due rows go.

use std::sync::Arc;
use std::time::Duration;

use campanile_ask::{Apply, Control, Editor, Error, NewRun, Parts, RunQuery, Verdict};
use campanile_conformance::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::occurrences::Skip;
use campanile_core::id::Mint;
use campanile_core::memory::clock::ManualClock;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::ask::AskTasks as _;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::clock::Clock;
use campanile_core::port::fire::FireStore as _;
use campanile_core::port::fire::{DueKey, Fired, Firing, Owner};
use campanile_core::port::lead::LeadStore as _;
use campanile_core::port::lead::{Bid, Term};

use campanile_core::run::Reason;
use campanile_core::system::{Pool, Random};
use campanile_core::task::{Task, TaskSpec};
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::time::Timestamp;
use serde_json::json;

pub struct World {
    pub clock: Arc<ManualClock>,
    pub store: Arc<MemoryStore>,
    pub mint: Arc<Mint>,
    pub control: Editor,
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-11-22T{text}Z")).unwrap()
}

pub fn world() -> World {
    // The store's time is read a millisecond behind, so as not to be ahead: here it is 12:00:00.
    let clock = Arc::new(ManualClock::new(at("12:00:00.001")));
    let dynamic: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let store = Arc::new(MemoryStore::new(Arc::clone(&dynamic)));
    let random = Arc::new(Random::from_seed(7));
    let mint = Arc::new(Mint::new(Arc::clone(&random)));
    let control = Control::new(Parts {
        store: Arc::<MemoryStore>::clone(&store),
        lock: Arc::new(MemoryLock::new(Arc::clone(&dynamic))),
        time: DatabaseTime::new(Arc::clone(&dynamic)),
        clock: dynamic,
        random,
        mint: Arc::clone(&mint),
        metrics: Arc::default(),
        pool: Pool::inline(),
        on_work: Arc::new(|| {}),
    });
    World {
        clock,
        store,
        mint,
        control: control.by(somebody().clone()),
    }
}

pub fn spec(name: &str, schedule: &str) -> TaskSpec {
    let spec = json!({ "name": name, "schedule": schedule, "handler": { "native": "x" } });
    serde_json::from_value(spec).unwrap()
}

impl World {
    /// What people ask through another process over the same store, whose time begins at this moment.
    pub fn another(&self, begins: Option<Timestamp>) -> Editor {
        let dynamic: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let time = DatabaseTime::new(Arc::clone(&dynamic));
        time.anchor(begins);
        let control = Control::new(Parts {
            store: Arc::<MemoryStore>::clone(&self.store),
            lock: Arc::new(MemoryLock::new(Arc::clone(&dynamic))),
            time,
            clock: dynamic,
            random: Arc::new(Random::from_seed(8)),
            mint: Arc::clone(&self.mint),
            metrics: Arc::default(),
            pool: Pool::inline(),
            on_work: Arc::new(|| {}),
        });
        control.by(somebody().clone())
    }

    pub async fn put(&self, spec: &TaskSpec) -> Task {
        self.control.put_task(spec).await.unwrap().0.task
    }

    pub async fn due(&self, task: &Task) -> Option<Timestamp> {
        self.store.next_due(task.id).await.unwrap()
    }

    /// Fires as a leader would.
    pub async fn fire(&self, firing: impl FnOnce(&Term) -> Firing) {
        let row = self.store.leader().await.unwrap();
        let term = Term {
            epoch: row.epoch + 1,
            holder: self.mint.holder(),
        };
        let bid = Bid {
            read_epoch: row.epoch,
            term: term.clone(),
            node: self.mint.node(),
            node_name: "n".to_owned(),
        };
        assert!(self.store.begin_term(&bid).await.unwrap().is_applied());
        let firing = Firing {
            edits: row.edits,
            epoch: term.epoch,
            ..firing(&term)
        };
        assert_eq!(
            self.store.fire(&term, &firing).await.unwrap(),
            Fired::Applied
        );
    }

    pub fn key(task: &Task, at: Timestamp) -> DueKey {
        DueKey {
            queue: task.spec.queue.clone(),
            at,
            owner: Owner::Task(task.id),
        }
    }
}

#[tokio::test]
async fn a_due_row_moves_only_when_what_is_due_changes() {
    let w = world();
    let mut hourly = spec("h", "0 * * * *");
    let task = w.put(&hourly).await;
    assert_eq!(w.due(&task).await, Some(at("13:00:00")));
    w.clock.advance(Duration::from_secs(2 * 3_600));
    hourly.timeout = Duration::from_secs(7);
    w.put(&hourly).await;
    assert_eq!(
        w.due(&task).await,
        Some(at("13:00:00")),
        "an overdue row stays"
    );
    hourly.queue = campanile_core::task::QueueName::new("q");
    w.put(&hourly).await;
    assert_eq!(
        w.due(&task).await,
        Some(at("13:00:00")),
        "in its new queue too"
    );
    hourly.schedule = Some("30 * * * *".into());
    w.put(&hourly).await;
    assert_eq!(w.due(&task).await, Some(at("14:30:00")));
    w.control.pause("h").await.unwrap();
    assert_eq!(w.due(&task).await, None);
    w.clock.advance(Duration::from_secs(3_600));
    w.control.resume("h").await.unwrap();
    assert_eq!(w.due(&task).await, Some(at("15:30:00")));
}

#[tokio::test]
async fn an_interval_keeps_its_anchor_through_edits() {
    let w = world();
    let mut every = spec("e", "every 1h");
    let task = w.put(&every).await;
    assert_eq!(task.spec.anchor, Some(at("12:00:00")));
    w.clock.advance(Duration::from_secs(90));
    let diff = w
        .control
        .apply(&vec![every.clone()].into(), &Apply::default())
        .await
        .unwrap();
    assert_eq!(diff.unchanged, ["e"]);
    every.schedule = Some("every 10m".into());
    let task = w.put(&every).await;
    assert_eq!(w.due(&task).await, Some(at("12:10:00")));
}

#[tokio::test]
async fn an_instant_that_was_planned_is_planned_once_by_the_new_schedule() {
    let w = world();
    let mut every = spec("e", "every 1s");
    let task = w.put(&every).await;
    let planned = at("12:00:01");
    w.fire(|term| Firing {
        consumed: vec![World::key(&task, planned)],
        advanced: vec![World::key(&task, at("12:00:02"))],
        runs: vec![transitions::occurrence(
            w.mint.runs(planned, 1)[0],
            &task,
            planned,
            term.epoch,
        )],
        ..Firing::default()
    })
    .await;
    every.schedule = Some("every 500ms".into());
    w.put(&every).await;
    assert_eq!(
        w.due(&task).await,
        Some(at("12:00:00.500")),
        "what was planned ahead by the old schedule is taken back"
    );
    assert!(w.store.snapshot().runs.is_empty());
    // Of what has come nothing is taken back, and nothing is planned again.
    w.fire(|term| Firing {
        consumed: vec![World::key(&task, at("12:00:00.500"))],
        advanced: vec![World::key(&task, planned)],
        runs: vec![transitions::occurrence(
            w.mint.runs(planned, 1)[0],
            &task,
            at("12:00:00.500"),
            term.epoch,
        )],
        ..Firing::default()
    })
    .await;
    w.clock.advance(Duration::from_millis(500));
    every.schedule = Some("every 250ms".into());
    w.put(&every).await;
    assert_eq!(w.due(&task).await, Some(at("12:00:00.750")));
    assert_eq!(w.store.snapshot().runs.len(), 1);
}

#[tokio::test]
async fn a_skipped_instant_tells_its_reason_also_from_inside_a_range() {
    let w = world();
    let task = w.put(&spec("h", "0 * * * *")).await;
    w.clock.advance(Duration::from_secs(5 * 3_600));
    let range = Skip {
        first: at("13:00:00"),
        last: at("16:00:00"),
        count: 4,
        reason: Reason::Misfire,
        moved_to: None,
    };
    w.fire(|term| Firing {
        consumed: vec![World::key(&task, at("13:00:00"))],
        advanced: vec![World::key(&task, at("18:00:00"))],
        skipped: vec![transitions::skip(
            w.mint.runs(w.clock.now(), 1)[0],
            &task,
            &range,
            term.epoch,
            w.clock.now(),
        )],
        ..Firing::default()
    })
    .await;
    let why = w.control.why("h", "14:00").await.unwrap();
    assert_eq!(why.verdict, Verdict::Skipped);
    let said = &why.sentences[0];
    for part in [
        "with 4 instants",
        "misfire limit of 1m",
        "misfire = \"last\"",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let late = w.control.why("h", "17:00").await.unwrap();
    assert_eq!(late.verdict, Verdict::NoRecord, "{late:?}");
    let page = w
        .control
        .runs(&RunQuery::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items[0].task.as_deref(), Some("h"));
}

#[tokio::test]
async fn requests_are_checked_before_anything_is_written() {
    let w = world();
    w.put(&spec("h", "0 * * * *")).await;
    let good = NewRun {
        task: Some("h".to_owned()),
        ..NewRun::default()
    };
    let bad = NewRun {
        idempotency_key: Some("a\nb".to_owned()),
        ..good.clone()
    };
    let refused = w.control.submit(&[good.clone(), bad]).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { field, .. } if field == "runs[1].idempotency_key"));
    let page = w
        .control
        .runs(&RunQuery::default(), None, 10)
        .await
        .unwrap();
    assert!(page.items.is_empty());
    let run = w.control.submit_one(&good).await.unwrap().run;
    let told = w.control.retry(run).await.unwrap_err().to_string();
    assert!(told.contains("has not started yet"), "{told}");
    let token = w.control.deletion("h").await.unwrap().confirm;
    w.control.delete_task("h", token.as_deref()).await.unwrap();
    w.control.cancel(run).await.unwrap();
    let told = w.control.retry(run).await.unwrap_err().to_string();
    assert!(told.contains("was deleted"), "{told}");
}

#[tokio::test]
async fn why_is_asked_about_instants_to_come_and_about_the_latest() {
    let w = world();
    let mut task = spec("nine", "0 9,15 * * *");
    task.timezone = "Europe/Berlin".to_owned();
    w.put(&task).await;
    // It is 13:00 in Berlin: what is later today is to come, and not yesterday's.
    let why = w.control.why("nine", "15:00").await.unwrap();
    assert_eq!(
        (why.verdict, why.instant),
        (Verdict::NotDueYet, at("14:00:00"))
    );
    assert_eq!(
        why.sentences,
        ["2026-11-22T15:00:00+01:00 Europe/Berlin (2026-11-22T14:00:00.000Z) is due in 2h."]
    );
    assert_eq!(
        w.control.why("nine", "next").await.unwrap().instant,
        at("14:00:00")
    );
    let none = w.control.why("nine", "last").await.unwrap_err().to_string();
    assert!(
        none.contains("has had no instant yet: its first is 2026-11-22T15:00:00+01:00"),
        "{none}"
    );
    w.clock.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(
        w.control.why("nine", "last").await.unwrap().instant,
        Timestamp::parse("2026-11-23T08:00:00Z").unwrap()
    );
    let why = w.control.why("nine", "15:00").await.unwrap();
    assert!(
        why.sentences[0].starts_with("2026-11-23T15:00:00+01:00"),
        "{:?}",
        why.sentences
    );
}

#[tokio::test]
async fn a_trigger_changes_fields_of_the_payload_that_the_task_has() {
    let w = world();
    let mut task = spec("t", "0 9 * * *");
    task.payload = json!({ "day": "sunday", "n": { "a": 1 } });
    w.put(&task).await;
    let done = w
        .control
        .trigger_with("t", &json!({ "n": { "b": 2 } }))
        .await
        .unwrap();
    let own = w.control.run(done.run).await.unwrap().record.spec.unwrap();
    assert_eq!(
        own.payload,
        Some(json!({ "day": "sunday", "n": { "a": 1, "b": 2 } }))
    );
    task.payload = json!({ "n": { "list": [1, 2] } });
    w.put(&task).await;
    let refused = w
        .control
        .trigger_with("t", &json!({ "n": { "list": { "0": 3 } } }))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("`n.list` is a list"),
        "{refused}"
    );
    task.payload = json!("text");
    w.put(&task).await;
    let refused = w
        .control
        .trigger_with("t", &json!({ "n": 1 }))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("not an object"), "{refused}");
}

#[tokio::test]
async fn after_the_stores_clock_went_back_next_is_what_will_fire_and_nothing_is_due_twice() {
    let w = world();
    let task = w.put(&spec("m", "* * * * *")).await;
    w.control
        .tasks(&TaskFilter::default(), None, 10)
        .await
        .unwrap();
    w.clock.advance(Duration::from_secs(600));
    w.fire(|_| Firing {
        consumed: vec![World::key(&task, at("12:01:00"))],
        advanced: vec![World::key(&task, at("12:11:00"))],
        ..Firing::default()
    })
    .await;
    assert!(
        w.control
            .stats()
            .await
            .unwrap()
            .clock_behind_until
            .is_none()
    );
    // Ten minutes back; the next sample finds it out.
    w.clock.step_wall(at("12:00:00"));
    w.clock.advance(Duration::from_secs(11));
    let next = w.control.task("m").await.unwrap().next_due_at;
    assert_eq!(next, Some(at("12:11:00")), "the row that is stored");
    let until = w.control.stats().await.unwrap().clock_behind_until.unwrap();
    assert!(until >= at("12:10:00") && until < at("12:11:00"), "{until}");
    let page = w
        .control
        .tasks(&TaskFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(page.items[0].next_due_at, Some(at("12:11:00")));
    // A rest and its end, a new schedule: neither begins with what has been answered.
    w.control.pause("m").await.unwrap();
    w.control.resume("m").await.unwrap();
    assert_eq!(w.due(&task).await, Some(at("12:11:00")));
    w.put(&spec("m", "*/2 * * * *")).await;
    assert_eq!(w.due(&task).await, Some(at("12:12:00")));
}
