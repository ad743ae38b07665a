//! Every policy against every other: misfire, overlap, changes of the clock and calendars, as one table of cases. Time
//! is a value here (each case says what it is), so a case is the same history on every store: four days of one task,
//! of which the first has a run that is still active when the scheduler comes back for the other three.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::OnExcluded;
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, end};
use crate::somebody;
use campanile_core::decide::fire::{CatchUp, Compiled, Lookup, Moment, Planner};
use campanile_core::decide::invariants;
use campanile_core::decide::lead::jump::Answered;
use campanile_core::decide::permits::{Board, LimitKey};
use campanile_core::decide::publish::routing::Routes;
use campanile_core::id::{ClaimId, TaskId};
use campanile_core::port::ask::RunFilter;
use campanile_core::port::attempt::End;
use campanile_core::port::edit::Edit;
use campanile_core::port::fire::{Fired, ScanLimits};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::{Misfire, Overlap, Task, TaskSpec};

/// A day in Berlin, what the task says about changes of the clock, and when its 02:30 of that day is.
struct Day {
    date: &'static str,
    gap: &'static str,
    repeat: &'static str,
    instants: &'static [&'static str],
}

const fn day(
    date: &'static str,
    gap: &'static str,
    repeat: &'static str,
    instants: &'static [&'static str],
) -> Day {
    Day {
        date,
        gap,
        repeat,
        instants,
    }
}

const DAYS: &[Day] = &[
    day(
        "2025-06-11",
        "next-valid",
        "first",
        &["2025-06-11T00:30:00Z"],
    ),
    day(
        "2025-03-30",
        "next-valid",
        "first",
        &["2025-03-30T01:00:00Z"],
    ),
    day("2025-03-30", "skip", "first", &[]),
    day("2025-03-30", "shift", "first", &["2025-03-30T01:30:00Z"]),
    day(
        "2025-10-26",
        "next-valid",
        "first",
        &["2025-10-26T00:30:00Z"],
    ),
    day(
        "2025-10-26",
        "next-valid",
        "last",
        &["2025-10-26T01:30:00Z"],
    ),
    day(
        "2025-10-26",
        "next-valid",
        "both",
        &["2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"],
    ),
];
/// What a calendar does to that day.
const EXCLUDED: [Option<OnExcluded>; 3] = [None, Some(OnExcluded::Skip), Some(OnExcluded::Next)];
const MISFIRES: [Misfire; 3] = [Misfire::Last, Misfire::Skip, Misfire::All];
const OVERLAPS: [Overlap; 4] = [
    Overlap::Allow,
    Overlap::Skip,
    Overlap::Queue,
    Overlap::Replace,
];

struct Case {
    day: &'static Day,
    excluded: Option<OnExcluded>,
    misfire: Misfire,
    overlap: Overlap,
}

/// What the ledger must say of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Active,
    Runs,
    Skipped(Reason),
}

/// All cases, each to its end.
pub async fn every_policy_does_as_it_says(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let mut leader = Leader { f, term };
    for date in ["2025-06-11", "2025-03-30", "2025-10-26"] {
        leader.put_calendar(date).await;
    }
    for day in DAYS {
        for excluded in EXCLUDED {
            for misfire in MISFIRES {
                for overlap in OVERLAPS {
                    let case = Case {
                        day,
                        excluded,
                        misfire,
                        overlap,
                    };
                    leader.play(&case).await;
                }
            }
        }
    }
}

impl Case {
    fn spec(&self) -> TaskSpec {
        let mut spec = serde_json::json!({
            "name": "t", "schedule": "30 2 * * *", "timezone": "Europe/Berlin", "handler": {"native": "noop"},
            "dst": {"gap": self.day.gap, "repeat": self.day.repeat},
            "misfire": self.misfire, "overlap": self.overlap,
        });
        if let Some(on_excluded) = self.excluded {
            spec["calendars"] = self.day.date.into();
            spec["on_excluded"] = serde_json::to_value(on_excluded).unwrap();
        }
        serde_json::from_value(spec).unwrap()
    }

    /// The instants of the day itself.
    fn middle(&self) -> Vec<Timestamp> {
        let instants = self.day.instants.iter();
        instants.map(|t| Timestamp::parse(t).unwrap()).collect()
    }

    /// 02:30 on the days around the day: two before, one before, one after.
    fn around(&self) -> [Timestamp; 3] {
        let wall = |days: i64| {
            let date: jiff::civil::Date = self.day.date.parse().unwrap();
            let date = date.checked_add(jiff::Span::new().days(days)).unwrap();
            let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
            let at = date.at(2, 30, 0, 0).to_zoned(zone).unwrap().timestamp();
            Timestamp::from_ms(at.as_millisecond())
        };
        [wall(-2), wall(-1), wall(1)]
    }

    /// What the policies say, written down apart from the code that carries them out.
    fn fates(&self) -> BTreeMap<Timestamp, Fate> {
        let [first, second, last] = self.around();
        let mut fates = BTreeMap::from([(first, Fate::Active)]);
        let mut missed = vec![second];
        for at in self.middle() {
            match self.excluded {
                None => missed.push(at),
                Some(OnExcluded::Skip) => {
                    fates.insert(at, Fate::Skipped(Reason::Calendar));
                }
                Some(_) => {
                    fates.insert(at, Fate::Skipped(Reason::Moved));
                    missed.push(next_day(at));
                }
            }
        }
        missed.push(last);
        missed.sort();
        missed.dedup();
        let latest = missed.last().copied();
        let keep = match self.misfire {
            Misfire::Skip => 0,
            Misfire::Last => 1,
            Misfire::All => missed.len(),
        };
        let (dropped, kept) = missed.split_at(missed.len() - keep);
        fates.extend(dropped.iter().map(|t| (*t, Fate::Skipped(Reason::Misfire))));
        for at in kept {
            let fate = match self.overlap {
                Overlap::Allow | Overlap::Queue => Fate::Runs,
                // What was missed together and all runs waits for its turn.
                _ if self.misfire == Misfire::All => Fate::Runs,
                Overlap::Replace if Some(*at) == latest => Fate::Runs,
                Overlap::Replace => Fate::Skipped(Reason::Replaced),
                Overlap::Skip => Fate::Skipped(Reason::Overlap),
            };
            fates.insert(*at, fate);
        }
        fates
    }

    fn name(&self) -> String {
        let Day {
            date, gap, repeat, ..
        } = self.day;
        format!(
            "{date} gap={gap} repeat={repeat} excluded={:?} misfire={:?} overlap={:?}",
            self.excluded, self.misfire, self.overlap
        )
    }
}

/// The same wall time a day later: a time that the clocks left out is moved as the time that stood for it.
fn next_day(at: Timestamp) -> Timestamp {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let zoned = jiff::Timestamp::from_millisecond(at.as_ms())
        .unwrap()
        .to_zoned(zone);
    Timestamp::from_ms(zoned.tomorrow().unwrap().timestamp().as_millisecond())
}

/// The leader's planner, over a store, at the times that a case says.
pub(super) struct Leader {
    pub(super) f: Fixture,
    pub(super) term: Term,
}

impl Leader {
    async fn put_calendar(&self, date: &str) {
        let spec = serde_json::json!({"name": date, "dates": [date]});
        let spec: CalendarSpec = serde_json::from_value(spec).unwrap();
        let edit = Edit {
            calendars: vec![(date.to_owned(), Some(spec))],
            ..Edit::default()
        };
        let now = super::fixture::at(0);
        assert!(
            self.f
                .store
                .edit(somebody(), &edit, now)
                .await
                .unwrap()
                .is_applied()
        );
    }

    /// Fires all that is due at an instant.
    pub(super) async fn tick(&self, now: Timestamp, catch_up: &mut CatchUp) {
        loop {
            let limits = ScanLimits {
                default: 1_000,
                rooms: HashMap::new(),
            };
            let scan = self.f.store.scan(now, &limits).await.unwrap();
            let rules = self.f.store.rules().await.unwrap();
            let task = self.f.named("t").await.unwrap();
            let find = |name: &str| rules.calendar(name);
            let timetable = task.spec.timetable(task.created_at, &find).unwrap();
            let keys = [LimitKey::Overlap(task.id)];
            let mut board = Board::new(self.f.store.standings(&keys).await.unwrap());
            let compiled = Arc::new(Compiled {
                task: Arc::new(task),
                timetable,
            });
            let planner = Planner {
                tasks: &|_| Lookup::Here(Arc::clone(&compiled)),
                answered: &Answered::new(),
                rules: &rules,
                board: &mut board,
                routes: &Routes::default(),
                catch_up,
                moment: Moment {
                    now,
                    horizon: now,
                    epoch: self.term.epoch,
                    edits: scan.edits,
                },
                outbox: self.f.mint.outbox(now),
                mint: &|count| self.f.mint.runs(now, count),
            };
            let planned = planner.firing(&scan.rows);
            if planned.firing.is_empty() {
                return;
            }
            let fired = self.f.store.fire(&self.term, &planned.firing).await;
            assert_eq!(fired.unwrap(), Fired::Applied);
        }
    }

    pub(super) async fn runs(&self, task: TaskId) -> Vec<Run> {
        let filter = RunFilter {
            tasks: vec![task],
            ..RunFilter::default()
        };
        self.f.store.runs(&filter, None, 1_000).await.unwrap()
    }

    async fn play(&mut self, case: &Case) {
        let (name, [first, _, last]) = (case.name(), case.around());
        let upsert = self.f.creation(case.spec(), Some(first));
        assert!(self.f.edit(vec![upsert]).await.is_applied(), "{name}");
        let task = self.f.named("t").await.unwrap();
        let mut catch_up = CatchUp::new(100);
        self.tick(first, &mut catch_up).await;
        let node = self.f.node().await;
        let active = self.runs(task.id).await.remove(0);
        let (claim, won) = self.f.claim(node, &[(active.id, 1)]).await;
        assert_eq!(won.len(), 1, "{name}");
        // Nobody leads until the last day is missed as well.
        let back = last.plus(Duration::from_secs(3 * 3_600));
        self.tick(back, &mut catch_up).await;
        self.tick(back.plus(Duration::from_secs(1)), &mut catch_up)
            .await;
        self.compare(case, &task, &active, &name).await;
        self.finish(case, &active, claim, back).await;
        let expected: Vec<Timestamp> = case.fates().into_keys().collect();
        invariants::no_gap(task.id, &expected, &self.runs(task.id).await).unwrap();
        let edit = Edit {
            deletes: vec![self.f.deletion(task.id, task.version).await],
            ..Edit::default()
        };
        assert!(
            self.f
                .store
                .edit(somebody(), &edit, last)
                .await
                .unwrap()
                .is_applied()
        );
    }

    async fn compare(&self, case: &Case, task: &Task, active: &Run, name: &str) {
        let runs = self.runs(task.id).await;
        let mut found = BTreeMap::new();
        for run in &runs {
            let fate = match run.state {
                State::Skipped => Fate::Skipped(run.reason),
                State::Running => Fate::Active,
                _ => Fate::Runs,
            };
            let (last, count) = run.skipped.unwrap_or((run.due_at, 1));
            found.insert(run.due_at, fate);
            if count > 1 {
                let inside = case.fates().into_keys();
                found.extend(
                    inside
                        .filter(|t| run.due_at < *t && *t <= last)
                        .map(|t| (t, fate)),
                );
            }
        }
        assert_eq!(found, case.fates(), "{name}");
        let replaced = runs
            .iter()
            .any(|run| run.id == active.id && run.cancel.is_some());
        let last = case.misfire == Misfire::Last;
        assert_eq!(replaced, last && case.overlap == Overlap::Replace, "{name}");
        let keys = [LimitKey::Overlap(task.id)];
        let standing = self.f.store.standings(&keys).await.unwrap();
        let blocked = standing.get(&keys[0]).map_or(0, |s| s.blocked);
        let waiting = case
            .fates()
            .into_values()
            .filter(|f| *f == Fate::Runs)
            .count();
        let expected = match case.overlap {
            Overlap::Queue | Overlap::Replace | Overlap::Skip => waiting,
            Overlap::Allow => 0,
        };
        assert_eq!(usize::try_from(blocked).unwrap(), expected, "{name}");
    }

    /// Ends the active run, and then one after the other what waits: never two of a task that must not overlap.
    async fn finish(&self, case: &Case, active: &Run, claim: ClaimId, back: Timestamp) {
        let node = self.f.node().await;
        let mut under_way = vec![(active.clone(), claim)];
        let mut now = back;
        while let Some((run, claim)) = under_way.pop() {
            let ended = self.f.finish(end(&run, claim, End::Succeeded)).await;
            assert!(ended.is_applied(), "{}", case.name());
            now = now.plus(Duration::from_secs(10));
            self.tick(now, &mut CatchUp::new(100)).await;
            let waiting = self.runs(run.task.unwrap()).await;
            let waiting = waiting.iter().filter(|r| r.state == State::Scheduled);
            let offers: Vec<_> = waiting.map(|r| (r.id, r.attempt)).collect();
            let (claim, won) = self.f.claim(node, &offers).await;
            if case.overlap != Overlap::Allow {
                assert!(won.len() <= 1, "{}", case.name());
            }
            for won in won {
                under_way.push((self.f.row(won.run).await, claim));
            }
        }
        let left = self.runs(active.task.unwrap()).await;
        assert!(
            left.iter().all(|r| r.state.is_terminal()),
            "{}",
            case.name()
        );
    }
}
