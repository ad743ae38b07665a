//! Permits: how runs that must not overlap, or share a limit, are let through. A key has as many permits as its limit
//! says; a run holds one of each of its keys from its firing to its end, or waits, blocked under the key that was full.
//! The leader alone gives permits out; the store's primary key refuses a second holder. `docs/decisions/006-permits.md`
//! has the reasons.
//!
//! [`Board`] is what the leader knows of the permits while it plans one scan; the store holds the truth, and a firing
//! whose board was out of date is refused and replanned.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{RunId, TaskId};
use crate::run::{Run, State};
use crate::task::{QueueName, Task};

/// What a limit is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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
    /// ([`Need::token`](crate::decide::publish::routing::Need::token)). They are blocked here until somebody can.
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

impl From<LimitKey> for String {
    fn from(key: LimitKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for LimitKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
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
    pub key: LimitKey,
    /// Which of the limit's permits, from 0.
    pub n: u32,
    pub run: RunId,
}

/// A run that waits for a permit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blocked {
    pub key: LimitKey,
    /// Who waits first: by priority (9 first), then by instant.
    pub priority: u8,
    /// When the run may start.
    pub ready_at: Timestamp,
    pub run: RunId,
    pub queue: QueueName,
}

impl Blocked {
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
    pub n: u32,
    pub run: RunId,
    /// Where that run stands.
    pub state: State,
    /// Whether it waits its turn ([`crate::run::Run::waits_its_turn`]): then nobody takes its place.
    pub in_turn: bool,
}

/// Who holds a limit's permits, and how many wait for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    pub held: Vec<Held>,
    /// How many runs are blocked.
    pub blocked: u32,
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
#[path = "../../tests/decide/permits_tests.rs"]
mod tests;
