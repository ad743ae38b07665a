//! Permits: how runs that must not overlap, or share a limit, are let through. A key has as many permits as its limit
//! says; a run holds one of each of its keys from its firing to its end, or waits, parked under the key that was full.
//! The leader alone gives permits out; the store's primary key refuses a second holder. `docs/decisions/006-permits.md`
//! has the reasons.
//!
//! [`Board`] is what the leader knows of the permits while it plans one scan; the store holds the truth, and a firing
//! whose board was out of date is refused and planned anew.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;

use crate::id::{RunId, TaskId};
use crate::run::{Run, State};
use crate::task::{QueueName, Task};

/// What a limit is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitKey {
    /// The one run at a time of a task whose runs must not overlap; kept through retries.
    Overlap(TaskId),
    /// The runs of a task (`max_running`).
    Task(TaskId),
    /// The runs of a queue.
    Queue(QueueName),
    /// The runs of a named group of tasks.
    Group(String),
    /// Not a limit with permits: the runs of a queue for which nobody living can do what this says
    /// ([`Need::token`](super::routing::Need::token)). They are parked here until somebody can.
    Ability(QueueName, String),
}

impl LimitKey {
    /// Whether runs under it wait for a worker that can carry them out.
    #[must_use]
    pub const fn is_ability(&self) -> bool {
        matches!(self, Self::Ability(..))
    }

    /// Whether a run keeps this permit while it waits for its next attempt.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Overlap(_))
    }
}

impl fmt::Display for LimitKey {
    /// As the store and people spell it: `queue:reports`, `group:db`, `task:…`, `overlap:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap(id) => write!(f, "overlap:{id}"),
            Self::Task(id) => write!(f, "task:{id}"),
            Self::Queue(name) => write!(f, "queue:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Ability(queue, need) => write!(f, "needs:{queue}:{need}"),
        }
    }
}

impl FromStr for LimitKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no limit: write queue:NAME or group:NAME");
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        let id = || name.parse().map_err(|_| wrong());
        match kind {
            "overlap" => Ok(Self::Overlap(id()?)),
            "task" => Ok(Self::Task(id()?)),
            "queue" => Ok(Self::Queue(QueueName::new(name))),
            "group" => Ok(Self::Group(name.to_owned())),
            "needs" => {
                let (queue, need) = name.split_once(':').ok_or_else(wrong)?;
                Ok(Self::Ability(QueueName::new(queue), need.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

/// What all tasks share: calendars, and the limits of queues and groups. Exact as of one value of the edit counter.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Calendars by name.
    pub calendars: HashMap<String, Arc<Calendar>>,
    /// How many runs of a queue or a group may be handed to workers at once.
    pub limits: HashMap<LimitKey, u32>,
}

impl Rules {
    /// A calendar by its name.
    #[must_use]
    pub fn calendar(&self, name: &str) -> Option<Arc<Calendar>> {
        self.calendars.get(name).cloned()
    }

    /// The permits that a run of this task (if it has one) in this queue needs, with the number that there are.
    #[must_use]
    pub fn keys(&self, task: Option<&Task>, queue: &QueueName) -> Vec<(LimitKey, u32)> {
        let mut keys = Vec::new();
        if let Some(task) = task {
            if task.spec.is_exclusive() {
                keys.push((LimitKey::Overlap(task.id), 1));
            }
            keys.extend(task.spec.max_running.map(|n| (LimitKey::Task(task.id), n)));
        }
        if self.limits.is_empty() {
            return keys;
        }
        let group = task.and_then(|t| t.spec.group.clone());
        let shared = [
            Some(LimitKey::Queue(queue.clone())),
            group.map(LimitKey::Group),
        ];
        for key in shared.into_iter().flatten() {
            if let Some(n) = self.limits.get(&key) {
                keys.push((key, *n));
            }
        }
        keys
    }
}

/// A permit that a run holds, or takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permit {
    /// Of which limit.
    pub key: LimitKey,
    /// Which of the limit's permits, from 0.
    pub n: u32,
    /// Who holds it.
    pub run: RunId,
}

/// A run that waits for a permit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Parked {
    /// Of this limit.
    pub key: LimitKey,
    /// Who waits first: by priority (9 first), then by instant.
    pub priority: u8,
    /// When the run may start.
    pub ready_at: Timestamp,
    /// The run.
    pub run: RunId,
    /// Its queue.
    pub queue: QueueName,
}

impl Parked {
    /// A run that waits under a limit.
    #[must_use]
    pub fn of(key: LimitKey, run: &Run) -> Self {
        Self {
            key,
            priority: run.priority,
            ready_at: run.ready_at,
            run: run.id,
            queue: run.queue.clone(),
        }
    }
}

/// A holder as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Which permit.
    pub n: u32,
    /// Who.
    pub run: RunId,
    /// Where that run stands.
    pub state: State,
    /// Whether it waits its turn ([`crate::run::Run::waits_its_turn`]): then nobody takes its place.
    pub in_turn: bool,
}

/// Who holds a limit's permits, and how many wait for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The holders.
    pub held: Vec<Held>,
    /// How many runs are parked.
    pub parked: u32,
}

/// What the leader knows of the permits while it plans.
#[derive(Debug, Default)]
pub struct Board {
    standings: HashMap<LimitKey, Standing>,
}

/// Why a run got no permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The key that has none left.
    pub key: LimitKey,
    /// Who holds them.
    pub held: Vec<Held>,
    /// Permits that the run got before: it keeps the one of its task while it waits for a shared one.
    pub got: Vec<Permit>,
}

impl Board {
    /// From what the store said.
    #[must_use]
    pub fn new(standings: HashMap<LimitKey, Standing>) -> Self {
        Self { standings }
    }

    /// Takes one permit of each key for a run; those that it holds already are not taken twice.
    ///
    /// A task's own permit ([`LimitKey::Overlap`]) is kept while its run waits for a shared one: it is what makes the
    /// run the task's present one. The others are taken all or none, so that nobody waits with what others need.
    ///
    /// # Errors
    /// The first key that is full.
    pub fn take(
        &mut self,
        run: RunId,
        in_turn: bool,
        keys: &[(LimitKey, u32)],
    ) -> Result<Vec<Permit>, Full> {
        let mut got = Vec::new();
        for kept in [true, false] {
            let part = keys.iter().filter(|(key, _)| key.is_kept() == kept);
            if let Some((key, _)) = part
                .clone()
                .find(|(key, most)| self.place(run, key, *most).is_none())
            {
                let held = self.standing(key).held.clone();
                return Err(Full {
                    key: key.clone(),
                    held,
                    got,
                });
            }
            for (key, most) in part {
                if let Some(Some(n)) = self.place(run, key, *most) {
                    let state = State::Scheduled;
                    let held = Held {
                        n,
                        run,
                        state,
                        in_turn,
                    };
                    self.standing(key).held.push(held);
                    got.push(Permit {
                        key: key.clone(),
                        n,
                        run,
                    });
                }
            }
        }
        Ok(got)
    }

    /// The permit that a run would get: `Some(None)` if it has one, `None` if there is none left.
    fn place(&mut self, run: RunId, key: &LimitKey, most: u32) -> Option<Option<u32>> {
        let standing = self.standing(key);
        if standing.held.iter().any(|h| h.run == run) {
            return Some(None);
        }
        if standing.held.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        let taken: BTreeSet<u32> = standing.held.iter().map(|h| h.n).collect();
        (0..most).find(|n| !taken.contains(n)).map(Some)
    }

    /// What is known of a key.
    pub fn standing(&mut self, key: &LimitKey) -> &mut Standing {
        self.standings.entry(key.clone()).or_default()
    }

    /// A run that held permits was ended by the same plan.
    pub fn release(&mut self, run: RunId) {
        for standing in self.standings.values_mut() {
            standing.held.retain(|h| h.run != run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: i64) -> RunId {
        RunId::from_i64(n)
    }

    fn group(name: &str) -> LimitKey {
        LimitKey::Group(name.to_owned())
    }

    #[test]
    fn a_limit_lets_as_many_through_as_it_says() {
        let mut board = Board::default();
        let keys = [(group("db"), 2)];
        for n in [1, 2] {
            let got = board.take(run(n), false, &keys).unwrap();
            assert_eq!(got.len(), 1);
        }
        let full = board.take(run(3), false, &keys).unwrap_err();
        assert_eq!((full.key, full.held.len()), (group("db"), 2));
        // Who has one already passes, and takes none.
        assert_eq!(board.take(run(1), false, &keys).unwrap(), vec![]);
        board.release(run(1));
        assert_eq!(board.take(run(3), false, &keys).unwrap()[0].n, 0);
    }

    #[test]
    fn a_lowered_limit_lets_nobody_through_until_enough_have_ended() {
        let held = [3, 4].map(|n| Held {
            n,
            run: run(i64::from(n)),
            state: State::Running,
            in_turn: false,
        });
        let standing = Standing {
            held: held.to_vec(),
            parked: 0,
        };
        let mut board = Board::new(HashMap::from([(group("db"), standing)]));
        assert!(board.take(run(9), false, &[(group("db"), 2)]).is_err());
        board.release(run(3));
        assert_eq!(
            board.take(run(9), false, &[(group("db"), 2)]).unwrap()[0].n,
            0
        );
    }

    #[test]
    fn shared_permits_are_taken_all_or_none_and_the_tasks_own_is_kept() {
        let mut board = Board::default();
        let own = LimitKey::Overlap(TaskId::from_i64(7));
        board.take(run(1), false, &[(group("full"), 1)]).unwrap();
        let keys = [(group("free"), 1), (own.clone(), 1), (group("full"), 1)];
        let full = board.take(run(2), false, &keys).unwrap_err();
        assert_eq!(full.key, group("full"));
        assert_eq!(full.got.len(), 1);
        assert_eq!(full.got[0].key, own);
        assert!(board.standing(&group("free")).held.is_empty());
    }

    #[test]
    fn keys_are_spelled_and_read_back() {
        for key in [
            LimitKey::Overlap(TaskId::from_i64(5)),
            LimitKey::Task(TaskId::from_i64(5)),
            LimitKey::Queue(QueueName::new("reports")),
            group("db"),
            LimitKey::Ability(QueueName::new("reports"), "native:close.books".to_owned()),
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert!("reports".parse::<LimitKey>().is_err());
        assert!("topic:x".parse::<LimitKey>().is_err());
    }
}
