//! How large a world is checked, which task it has, and which guards hold. Owns the numbers and the switches; never a
//! step. In the real protocol every switch of [`Guards`] is on; a mutant is the protocol with one of them off.

use std::collections::HashMap;
use std::sync::Arc;

use campanile_core::decide::fire::Compiled;
use campanile_core::decide::permits::{LimitKey, Rules};
use campanile_core::id::TaskId;
use campanile_core::task::{QueueName, Task, TaskSpec};
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;

/// The one task of the world.
pub const TASK: i64 = 7;
const START_MS: i64 = 1_800_000_000_000;

/// An instant: seconds after the world's first reading of the store's clock.
pub fn second(s: i64) -> Timestamp {
    Timestamp::from_ms(START_MS + s * 1_000)
}

/// The instant of an occurrence, from 0: two seconds before the tick of the same number plus one.
pub fn occurrence(n: i64) -> Timestamp {
    second(1 + 10 * n)
}

/// The store's clock at a tick. At tick 0 the first occurrence lies ahead, inside the look-ahead; at tick n + 1
/// occurrence n is due.
pub fn tick(n: u8) -> Timestamp {
    match n {
        0 => second(0),
        n => second(10 * i64::from(n) - 7),
    }
}

/// What the whole world shares and never changes.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Scheduler nodes.
    pub schedulers: usize,
    /// Worker processes.
    pub workers: usize,
    /// Attempts that one worker holds at once.
    pub slots: usize,
    /// Occurrences of the task.
    pub occurrences: u32,
    /// Terms that can begin in all.
    pub terms: i64,
    /// Whether the world begins with the first scheduler leading its first term, and not before any election.
    pub led: bool,
    /// Where the clock begins.
    pub first_tick: u8,
    /// Where the clock ends.
    pub last_tick: u8,
    /// Whether leaders mark what nobody has taken as queued.
    pub marks: bool,
    /// Whether the schedulers have zone rules of their own, and due rows stand by those of one of them.
    pub zones: bool,
    /// What may go wrong, and how often.
    pub left: Left,
    /// Fields of the task beside its schedule.
    pub task: serde_json::Value,
    /// Fields that an edit adds to the task.
    pub edited: serde_json::Value,
    /// The limit of the task's queue, if it has one.
    pub queue_limit: Option<u32>,
}

/// How many faults and requests of each kind may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    /// Times that the lock runs out while somebody has it, or the lock service loses it.
    pub expiries: u8,
    /// Leaders that stop believing in their terms: no news of the lock in time, or the process died.
    pub stops: u8,
    /// Messages that the broker loses.
    pub losses: u8,
    /// Messages that it delivers once more.
    pub duplicates: u8,
    /// Workers that die.
    pub crashes: u8,
    /// Living workers that a leader calls dead.
    pub zombies: u8,
    /// Workers that leave in order: they give back what they have, and join again.
    pub leaves: u8,
    /// Handlers that fail.
    pub failures: u8,
    /// Claimed attempts that their worker can't carry out and refuses.
    pub refusals: u8,
    /// Requests to cancel.
    pub cancels: u8,
    /// Edits of the task.
    pub edits: u8,
    /// Deletions of the task.
    pub deletes: u8,
    /// Pauses of the task; each may end again.
    pub pauses: u8,
    /// Pauses that the leader ends, for their end has come.
    pub pause_ends: u8,
    /// Holds of the cluster; each may end again.
    pub holds: u8,
    /// Leader transactions whose commit stays in doubt.
    pub doubts: u8,
    /// Ends whose answer is lost, so that the worker asks again.
    pub unanswered_ends: u8,
    /// Claims whose answer is lost, so that the worker does not know what it won.
    pub unanswered_claims: u8,
    /// Whether (not 0) such a claim may reach the store after it was abandoned.
    pub late_claims: u8,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            schedulers: 2,
            workers: 1,
            slots: 1,
            occurrences: 1,
            terms: 2,
            led: true,
            first_tick: 1,
            last_tick: 1,
            marks: false,
            zones: false,
            left: super::scenes::NONE,
            task: serde_json::json!({}),
            edited: serde_json::json!({"priority": 9}),
            queue_limit: None,
        }
    }
}

impl Bounds {
    /// The instants of the task as it was defined, or as it is after an edit.
    pub fn instants(&self, edited: bool) -> Vec<Timestamp> {
        let task = self.compile(edited, false);
        if task.task.spec.after().is_some() {
            // Its runs make them.
            return Vec::new();
        }
        let next = |after: &Timestamp| {
            let event = task.timetable.next_by(*after, &Fuel::endless());
            event.map(|event| event.at)
        };
        let first = next(&second(0));
        std::iter::successors(first, next).collect()
    }

    /// The task as it was defined, or as it is after an edit, and whether it is paused.
    pub fn compile(&self, edited: bool, paused: bool) -> Arc<Compiled> {
        let mut json = serde_json::json!({
            "name": "t", "schedule": "every 10s", "anchor": occurrence(0), "starts_at": occurrence(0),
            "paused": paused, "max_count": self.occurrences, "handler": {"native": "noop"},
            "retry": {"max_attempts": 2, "backoff": "fixed", "initial": "1ms", "max": "1ms"},
        });
        let fields = json.as_object_mut().unwrap();
        fields.extend(self.task.as_object().unwrap().clone());
        if edited {
            fields.extend(self.edited.as_object().unwrap().clone());
        }
        let spec: TaskSpec = serde_json::from_value(json).unwrap();
        let created_at = second(0);
        let timetable = spec.timetable(created_at, &|_| None).unwrap();
        let task = Task {
            id: TaskId::from_i64(TASK),
            version: 1,
            spec,
            created_at,
            updated_at: created_at,
            paused_from: None,
        };
        Arc::new(Compiled {
            task: Arc::new(task),
            timetable,
        })
    }

    /// What all tasks share.
    pub fn rules(&self) -> Rules {
        let queue = LimitKey::Queue(QueueName::default());
        Rules {
            calendars: HashMap::new(),
            limits: self.queue_limit.map(|n| (queue, n)).into_iter().collect(),
        }
    }
}

/// What a leader's transaction demands of the leader row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The fence: the transaction's own first statement, a write.
    Write,
    /// The term is looked up when the decision is made, and not again at the commit.
    Look,
    /// Nothing.
    Off,
}

macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What the protocol demands, one switch for each demand.
        #[derive(Debug, Clone, Copy)]
        pub struct Guards {
            /// Of every transaction of a leader.
            pub fence: Fence,
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Default for Guards {
            fn default() -> Self {
                Self { fence: Fence::Write, $($name: true),* }
            }
        }
    };
}

guards! {
    /// A term begins only after the epoch that was read.
    begin_demands_epoch,
    /// A holder asks for its lock again before it bids.
    lock_is_verified,
    /// The fence and the others compare the term's random name beside its number.
    holder_is_compared,
    /// A firing finds every due row that it consumes.
    consume_demands_rows,
    /// A firing rests on the present edit counter.
    firing_demands_edits,
    /// A pause takes back what was planned ahead of its instant.
    pause_takes_back,
    /// So does a change of the instants.
    changes_take_back,
    /// A leader that ends a pause does so under its term.
    pause_ends_carry_the_term,
    /// A scan finds nothing while the cluster is held.
    scans_regard_the_hold,
    /// A claim refuses while the cluster is held.
    claims_refuse_the_held,
    /// An edit demands that the due row stands where it was seen.
    edits_carry_seen,
    /// An edit looks up which of the next instants have a row.
    edits_look_ahead,
    /// An edit leaves a row of the instants that nobody will run.
    edits_leave_rows,
    /// A claim tells that the task is deleted.
    claims_tell_deletions,
    /// A firing writes the outbox row of what it made ready.
    outbox_is_written,
    /// An outbox row stays until its runs were taken.
    outbox_waits_for_claims,
    /// A new leader reads the outbox.
    outbox_is_read,
    /// What nobody took is published again.
    republish,
    /// A commit in doubt ends the term.
    doubt_ends_term,
    /// Marking demands the state scheduled.
    mark_demands_state,
    /// A claim compares the attempt.
    claim_demands_attempt,
    /// A claim demands a run that waits.
    claim_demands_waiting,
    /// A claim demands that the instant has come, by the store's clock.
    claim_demands_instant,
    /// A claim demands a living node.
    claim_demands_living,
    /// A claim refuses who is blocked.
    claim_refuses_blocked,
    /// A claim in doubt is abandoned.
    ambiguous_claim_is_abandoned,
    /// What abandons it uses the attempt up, also while its run still waits.
    abandonment_uses_attempt_up,
    /// The handler starts after the claim.
    start_follows_claim,
    /// An end compares the attempt.
    end_demands_attempt,
    /// An end compares the claim.
    end_demands_claim,
    /// An end demands a run that runs.
    end_demands_running,
    /// The ends that a leader writes for the dead carry the fence.
    lost_end_is_fenced,
    /// An eviction carries the fence.
    eviction_is_fenced,
    /// A move to other zone rules carries the fence.
    zone_moves_carry_the_term,
    /// The setting says that rows are being moved before the first one is.
    zone_moves_are_announced,
    /// A requeue makes the next attempt.
    requeue_bumps_attempt,
    /// A requeue puts the timer of the next attempt.
    requeue_puts_timer,
    /// A lost run that may start once ends.
    lost_regards_start_mode,
    /// The store refuses a permit that somebody holds.
    permit_is_unique,
    /// The store gives permits, and places to wait, only to runs that wait.
    permits_demand_waiting,
    /// A firing that blocks demands that those who hold the permits still do.
    park_demands_holders,
    /// A firing that replaces demands that the replaced run stands where it was seen.
    replace_demands_state,
    /// Who waits its turn keeps its place behind a run that is replaced.
    turns_are_kept,
    /// An end gives permits back.
    end_releases,
    /// Who gives a permit back lets the first blocked run go on.
    release_hands_on,
    /// A refusal before the start counts as no failure.
    refusal_is_no_failure,
    /// The leader wakes who is blocked behind nobody.
    stranded_are_woken,
    /// The end of a run that holds its task's chain puts the next due row.
    end_goes_on,
    /// It puts one.
    end_puts_once,
    /// An edit puts no due row beside a run that holds the chain.
    edit_leaves_chain,
    /// Who holds it is asked in the edit's own transaction.
    edit_asks_the_chain,
}
