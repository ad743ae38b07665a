//! Who can carry out what, and so where a run's message goes: what a handler needs, what a worker has announced, and the
//! destinations that reach workers who can. Pure: the leader reads the members and asks here; workers ask here what they
//! announce and what they remember to have refused.
//!
//! A queue whose workers can all do the same has one destination, as ever. Where some can't, a run goes to the *lanes* of
//! those who can: each worker listens on its queue's own destination and on the lane of all that have announced just what
//! it has. Where nobody can, the run is blocked. What nodes announce is a hint that may be stale: a worker that is given
//! what it can't do refuses before the start, and that costs the run nothing but time.

mod need;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::need::Need;
use self::need::SECRETS;
pub use self::trouble::Trouble;
use crate::decide::publish::group::Groups;
use crate::limits;
use crate::port::member::Node;
use crate::task::{HandlerSpec, QueueName, Task};
use crate::time::Monotonic;

/// Whether a worker can carry something out, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Can {
    No,
    /// It will be seen.
    Maybe,
    Yes,
}

/// What a worker announces when it joins, and after each refusal. Bounded in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Abilities {
    /// Native handlers by name.
    pub native: BTreeSet<String>,
    /// Whether it makes HTTP requests.
    pub http: bool,
    /// Programs that it may start, by the paths that its settings name; `*` = any; `None` = it does not say.
    pub commands: Option<BTreeSet<String>>,
    /// There are more native handlers than an announcement holds.
    pub partial: bool,
    /// What it has refused although the rest of this lets one think that it might do it ([`Need::exact`]; older workers
    /// write [`Need::token`]).
    pub refuses: BTreeSet<String>,
    /// Whether it reads messages that offer several runs; older programs don't.
    pub groups: bool,
    /// Whether its broker reaches none but our own workers. Not told where it is as ever, so that lanes keep their names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_listeners: bool,
    /// The lane of all that announce the same.
    pub lane: String,
}

impl Abilities {
    /// What a worker announces: what does not fit into [`limits::ABILITIES_BYTES_MAX`] is left out and said to be.
    #[must_use]
    pub fn announce(
        native: impl IntoIterator<Item = String>,
        http: bool,
        commands: Option<Vec<String>>,
    ) -> Self {
        let native: BTreeSet<String> = native.into_iter().collect();
        let commands: Option<BTreeSet<String>> = commands.map(|all| all.into_iter().collect());
        let mut whole = Self {
            native,
            http,
            commands,
            groups: true,
            ..Self::default()
        };
        // The lane tells apart what is left out too.
        let lane = whole.digest();
        let mut room = limits::ABILITIES_BYTES_MAX;
        let mut fits = |text: &String| {
            room = room.saturating_sub(text.len() + 3);
            room > 0
        };
        let native: BTreeSet<String> = whole.native.iter().filter(|n| fits(n)).cloned().collect();
        whole.partial = native.len() < whole.native.len();
        whole.native = native;
        if whole
            .commands
            .as_ref()
            .is_some_and(|all| !all.iter().all(fits))
        {
            whole.commands = None;
        }
        Self { lane, ..whole }
    }

    /// The same with what it has refused, under the lane of all that refuse the same.
    #[must_use]
    pub fn refusing(&self, refuses: BTreeSet<String>) -> Self {
        let mut changed = Self {
            refuses,
            ..self.clone()
        };
        changed.lane = changed.digest();
        changed
    }

    fn digest(&self) -> String {
        // The old lane is in it: so workers that have left different things out stay apart.
        let text = serde_json::to_string(self).unwrap_or_default();
        hex::encode(&Sha256::digest(text)[..LANE_BYTES])
    }

    /// Whether the worker can carry this out.
    #[must_use]
    pub fn can(&self, need: &Need) -> Can {
        let can = match need {
            Need::Http if self.http => Can::Yes,
            Need::Native(name) if self.native.contains(name) => Can::Yes,
            Need::Native(_) if self.partial => Can::Maybe,
            Need::Http | Need::Native(_) => Can::No,
            Need::Command(program, _) => self.can_start(program),
            Need::Listener => Can::Maybe,
            Need::AnyCommand => match &self.commands {
                Some(programs) if programs.is_empty() => Can::No,
                Some(programs) if programs.contains("*") => Can::Yes,
                _ => Can::Maybe,
            },
            // Who may have which secrets is a worker's own word: it is known once it has refused.
            Need::Secrets(_, _, need) => self.can(need),
        };
        if self.refuses.contains(&need.exact()) || self.refuses.contains(&need.token()) {
            return Can::No;
        }
        can
    }

    /// A folder may be a link on the worker's machine, a program's own name is taken as it is: so the same path is
    /// allowed for sure, another name for sure not, and the same name elsewhere will be seen.
    fn can_start(&self, program: &str) -> Can {
        let Some(programs) = &self.commands else {
            return Can::Maybe;
        };
        if programs.contains("*") || programs.contains(program) {
            return Can::Yes;
        }
        let name = Path::new(program).file_name();
        if programs.iter().any(|p| Path::new(p).file_name() == name) {
            Can::Maybe
        } else {
            Can::No
        }
    }
}

/// Bytes of a lane's name, before they are spelled in hex.
const LANE_BYTES: usize = 8;

/// What a worker has refused and would not have had to by what it announces: kept for a while, then given another chance,
/// for the machine may have changed; twice as long with each time.
#[derive(Debug, Default)]
pub struct Refusals {
    marks: BTreeMap<String, (Option<Monotonic>, Duration)>,
}

impl Refusals {
    /// Takes note of a refusal. Answers whether that changes what is announced.
    pub fn mark(&mut self, need: &Need, now: Monotonic) -> bool {
        let token = need.exact();
        if self.marks.len() >= limits::REFUSALS_MAX && !self.marks.contains_key(&token) {
            // There is no end of the forms in which a program may be called: what is over makes room.
            let over = self.marks.iter().find(|(_, (until, _))| until.is_none());
            let Some(over) = over.map(|(token, _)| token.clone()) else {
                return false;
            };
            self.marks.remove(&over);
        }
        let (until, wait) = self
            .marks
            .entry(token)
            .or_insert((None, limits::REFUSAL_INITIAL));
        if until.is_some() {
            return false;
        }
        *until = Some(now.plus(*wait));
        *wait = (*wait * 2).min(limits::REFUSAL_MAX);
        true
    }

    /// Forgets what is old enough. Answers whether that changes what is announced.
    pub fn forget(&mut self, now: Monotonic) -> bool {
        let mut changed = false;
        self.marks.retain(|token, (until, _)| {
            if until.is_none_or(|until| until > now) {
                return true;
            }
            *until = None;
            changed = true;
            // Another task, or another version, is another need: there is no end of them.
            !token.starts_with(SECRETS)
        });
        changed
    }

    #[must_use]
    pub fn tokens(&self) -> BTreeSet<String> {
        let kept = self.marks.iter().filter(|(_, (until, _))| until.is_some());
        kept.map(|(token, _)| token.clone()).collect()
    }
}

/// Where the message of a run goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the queue's own destination: all of its workers may take it, or nobody is known.
    Queue,
    /// To each of these lanes; the first worker to claim it has it.
    Lanes(Arc<[String]>),
    /// No living worker of the queue can carry it out.
    Blocked,
}

impl Route {
    /// How many messages it makes of one run.
    #[must_use]
    pub fn messages(&self) -> usize {
        match self {
            Self::Queue => 1,
            Self::Lanes(lanes) => lanes.len(),
            Self::Blocked => 0,
        }
    }
}

/// Workers of one queue that announce the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Profile {
    /// `None` = they announce nothing: an older program.
    abilities: Option<Arc<Abilities>>,
    workers: usize,
}

impl Profile {
    fn can(&self, need: &Need) -> Can {
        self.abilities.as_ref().map_or(Can::Maybe, |a| a.can(need))
    }

    fn lane(&self) -> Option<&str> {
        let lane = self.abilities.as_ref()?.lane.as_str();
        let is_one = lane.len() == LANE_BYTES * 2 && lane.bytes().all(|b| b.is_ascii_hexdigit());
        is_one.then_some(lane)
    }
}

/// Who of the members listens where and can do what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    queues: HashMap<QueueName, Vec<Profile>>,
    /// Needs of tasks' secrets that some worker refuses.
    secrets: BTreeSet<String>,
    /// Queues of which all workers read groups.
    groups: HashMap<QueueName, Groups>,
    no_listeners: bool,
}

impl Routes {
    #[must_use]
    pub fn of(nodes: &[Node]) -> Self {
        let mut queues: HashMap<QueueName, Vec<Profile>> = HashMap::new();
        let abilities = nodes.iter().filter_map(|node| node.abilities.as_ref());
        let refused = abilities.flat_map(|abilities| &abilities.refuses);
        let secrets = refused
            .filter(|token| token.starts_with(SECRETS))
            .cloned()
            .collect();
        for node in nodes.iter().filter(|node| node.slots > 0) {
            let abilities = node.abilities.clone().map(Arc::new);
            for queue in &node.queues {
                let profiles = queues.entry(queue.clone()).or_default();
                match profiles.iter_mut().find(|p| p.abilities == abilities) {
                    Some(same) => same.workers += 1,
                    None => profiles.push(Profile {
                        abilities: abilities.clone(),
                        workers: 1,
                    }),
                }
            }
        }
        for profiles in queues.values_mut() {
            profiles.sort_by(|a, b| a.lane().cmp(&b.lane()));
        }
        let mut groups: HashMap<QueueName, Groups> = HashMap::new();
        for node in nodes.iter().filter(|node| node.slots > 0) {
            let slots = usize::try_from(node.slots).unwrap_or(usize::MAX);
            // Who does not read them has room for none.
            let reads = node.abilities.as_ref().is_some_and(|can| can.groups);
            let slots = if reads { slots } else { 0 };
            for queue in &node.queues {
                let known = groups.entry(queue.clone()).or_default();
                *known = known.and(slots, node.queues.len());
            }
        }
        groups.retain(|_, known| known.most > 1);
        let mut abilities = nodes.iter().filter_map(|node| node.abilities.as_ref());
        Self {
            no_listeners: abilities.any(|told| told.no_listeners),
            queues,
            secrets,
            groups,
        }
    }

    /// The same behind a broker that reaches listeners that are not ours, or does not, whatever members tell.
    #[must_use]
    pub fn reaching(mut self, listeners: bool) -> Self {
        self.no_listeners |= !listeners;
        self
    }

    /// What the workers of a queue can be given together; `None` = nothing, each run has its own message.
    #[must_use]
    pub fn groups(&self, queue: &QueueName) -> Option<Groups> {
        self.groups.get(queue).copied()
    }

    /// How many workers listen on a queue.
    #[must_use]
    pub fn listeners(&self, queue: &QueueName) -> usize {
        let profiles = self.queues.get(queue).into_iter().flatten();
        profiles.map(|p| p.workers).sum()
    }

    /// Whether somebody who listens on the queue can carry this out; `Maybe` if nobody listens at all.
    #[must_use]
    pub fn can(&self, queue: &QueueName, need: &Need) -> Can {
        if *need == Need::Listener && self.no_listeners {
            return Can::No;
        }
        let profiles = self.queues.get(queue).into_iter().flatten();
        profiles.map(|p| p.can(need)).max().unwrap_or(Can::Maybe)
    }

    /// What a run needs that has this handler: its task's secrets too, where some worker is known not to give them.
    #[must_use]
    pub fn need(&self, handler: &HandlerSpec, task: Option<&Task>) -> Option<Need> {
        if self.no_listeners && matches!(handler, HandlerSpec::External(_)) {
            return Some(Need::Listener);
        }
        let need = Need::of(handler)?;
        let Some(task) = task.filter(|_| !self.secrets.is_empty()) else {
            return Some(need);
        };
        let with = need.clone().with_secrets(task.id, task.version);
        let is_known = [with.exact(), with.token()]
            .iter()
            .any(|token| self.secrets.contains(token));
        Some(if is_known { with } else { need })
    }

    /// Where the message of a run of this queue goes that has this handler; of this task, if it is one's.
    #[must_use]
    pub fn route_of(
        &self,
        queue: &QueueName,
        handler: Option<&HandlerSpec>,
        task: Option<&Task>,
    ) -> Route {
        let need = handler.and_then(|handler| self.need(handler, task));
        if need == Some(Need::Listener) {
            return Route::Blocked;
        }
        let (Some(profiles), Some(need)) = (self.queues.get(queue), need) else {
            // Who comes to a queue without listeners finds it there.
            return Route::Queue;
        };
        if !profiles.iter().any(|p| p.can(&need) == Can::No) {
            return Route::Queue;
        }
        let lanes = |wanted: Can| -> Vec<String> {
            let able = profiles.iter().filter(|p| p.can(&need) == wanted);
            let lanes = able.filter_map(|p| p.lane().map(str::to_owned));
            lanes.take(limits::LANES_MAX).collect()
        };
        let (sure, maybe) = (lanes(Can::Yes), lanes(Can::Maybe));
        match self.can(queue, &need) {
            Can::No => Route::Blocked,
            _ if !sure.is_empty() => Route::Lanes(sure.into()),
            // An older program announces nothing and listens on no lane.
            _ if maybe.is_empty() || profiles.iter().any(|p| p.abilities.is_none()) => Route::Queue,
            _ => Route::Lanes(maybe.into()),
        }
    }

    /// What keeps a run of this queue with this handler from being started now, whenever it is due; of this task, if it is
    /// one's.
    #[must_use]
    pub fn trouble_of(
        &self,
        queue: &QueueName,
        handler: &HandlerSpec,
        task: Option<&Task>,
    ) -> Option<Trouble> {
        let need = self.need(handler, task)?;
        if self.listeners(queue) == 0 && need != Need::Listener {
            return Some(self.nobody_listens(queue));
        }
        (self.can(queue, &need) == Can::No).then(|| Trouble::NobodyCan {
            queue: queue.clone(),
            need,
        })
    }

    /// That nobody listens on a queue, with the one that may have been meant.
    #[must_use]
    pub fn nobody_listens(&self, queue: &QueueName) -> Trouble {
        Trouble::NobodyListens {
            queue: queue.clone(),
            meant: self.nearest(queue),
        }
    }

    /// The queue with listeners whose name is most like this one, if one is like it at all.
    fn nearest(&self, queue: &QueueName) -> Option<QueueName> {
        let name = queue.as_str();
        let far = |other: &QueueName| strsim::osa_distance(name, other.as_str());
        let nearest = self
            .queues
            .keys()
            .min_by_key(|other| (far(other), (*other).clone()))?;
        // A third of the letters, at least two, may be wrong.
        (far(nearest) <= (name.len() / 3).max(2)).then(|| nearest.clone())
    }
}

/// The wait before a run is offered again that so many workers refused before it started: none is tried again and again.
#[must_use]
pub fn refusal_wait(refusals: u32) -> Duration {
    limits::REFUSED_AGAIN_INITIAL
        .saturating_mul(1_u32.checked_shl(refusals).unwrap_or(u32::MAX))
        .min(limits::REFUSED_AGAIN_MAX)
}

#[cfg(test)]
#[path = "../../../tests/decide/publish/routing_tests.rs"]
mod tests;
