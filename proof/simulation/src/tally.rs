//! What is counted over many histories: faults by kind, and the rare events without which a history proves nothing. A
//! run over many seeds in which one of them stays at zero has not tested what it says. Owns the names; decides nothing.

use std::fmt;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// All, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in reports and histories.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

kinds!(
    /// What was broken on purpose.
    Fault {
        /// The store did not do it and said so.
        StoreFailed = "store: call failed",
        /// Rolled back for contention.
        StoreContended = "store: contended",
        /// Committed, and nobody was told.
        CommitHidden = "store: committed, answer lost",
        /// Not committed, and nobody was told.
        CommitMissing = "store: not committed, answer lost",
        /// Nobody was told, and it was done later.
        ClaimLate = "store: claim arrives late, nobody waits for it",
        /// It takes everything but one row.
        RowRefused = "store: row refused",
        /// A row can't be read.
        RowUnread = "store: row can't be read",
        /// An answer that took long.
        StoreSlow = "store: slow call",
        /// One node can't reach the store for a while.
        StoreCut = "store: cut off from a node",
        /// A publish or a subscription failed.
        BrokerFailed = "broker: call failed",
        /// A confirmed message is gone.
        MessageDropped = "broker: message dropped",
        /// A message arrives twice.
        MessageDoubled = "broker: message duplicated",
        /// A message arrives late, behind others.
        MessageDelayed = "broker: message delayed, reordered",
        /// Delivered, and not confirmed.
        ConfirmLost = "broker: delivered, confirm lost",
        /// A subscription broke.
        ConsumerBroken = "broker: consumer broken",
        /// An acknowledgement got lost.
        AckLost = "broker: acknowledgement lost",
        /// All messages are gone.
        BrokerWiped = "broker: wiped",
        /// Nobody reaches the broker for a while.
        BrokerCut = "broker: down",
        /// Somebody else's message.
        ForeignMessage = "broker: forged or malformed message",
        /// A call of the lock failed.
        LockFailed = "lock: call failed",
        /// Done, and nobody was told.
        LockAnswerLost = "lock: done, answer lost",
        /// The lock expired early.
        LockForgotten = "lock: forgotten",
        /// One node can't reach the lock for a while.
        LockCut = "lock: cut off from a node",
        /// A hint got lost.
        HintLost = "lock: hint lost",
        /// A node died.
        Crash = "node: crash",
        /// A node died inside a call, before or after its effect.
        CrashInCall = "node: crash inside a call",
        /// A node stood still.
        Pause = "node: pause",
        /// A node stood still past its lock's life and its lease.
        PausePastLease = "node: pause past lock and lease",
        /// A node's wall clock stepped.
        ClockStep = "node: clock step",
        /// The store's clock stepped forward, and back again before that had lasted.
        StoreClockStep = "store: clock step, taken back",
        /// The store's clock stepped forward for longer than that, and back again.
        StoreClockJump = "store: clock step, followed and taken back",
        /// A node was stopped in order and started again.
        Restart = "node: orderly restart",
        /// All nodes, one after the other.
        RollingRestart = "nodes: rolling restart",
        /// A leader was told to step down.
        StepDown = "node: told to step down",
        /// A payload that the handler can't read.
        PoisonPayload = "handler: poison payload",
        /// A run that takes its worker with it.
        PoisonRun = "handler: kills its worker",
        /// A handler failed.
        HandlerFailed = "handler: failed",
        /// A handler panicked.
        HandlerPanicked = "handler: panicked",
        /// A handler that takes long.
        SlowHandler = "handler: slow",
        /// A handler that does not stop when it is told to.
        StubbornHandler = "handler: ignores its stop",
    }
);

kinds!(
    /// What has to be seen sometimes.
    Seen {
        /// A term began.
        TermBegun = "term begun",
        /// A bid came too late.
        BidRefused = "bid refused: another term began",
        /// A write of a deposed leader was refused.
        DeposedWriteRefused = "takeover mid-transaction: deposed leader's write refused",
        /// A plan that rested on what had changed.
        FiringRefused = "firing refused: planned on an older state",
        /// A message was published again.
        Republished = "republished",
        /// Runs shared a message.
        Grouped = "several runs in one message",
        /// A claim of what was taken already.
        StaleClaimRefused = "stale claim refused",
        /// An end that came too late.
        LateEndRefused = "late end refused",
        /// A message that is none of ours.
        MessageRefused = "foreign message refused",
        /// A node that was silent for its lease.
        NodeEvicted = "silent node evicted",
        /// A node that learnt that it is dead.
        ToldDead = "worker told that it is dead",
        /// A worker that stopped its runs by itself.
        SelfFenced = "worker fenced itself",
        /// A run whose worker died ended well.
        LostRecovered = "lost run recovered",
        /// A run that was lost for good.
        LostForGood = "run failed(lost)",
        /// A worker could not carry out what it had claimed.
        RefusedBeforeStart = "attempt refused before its start",
        /// A run for which nobody living could do it.
        Unserved = "run blocked: no capable worker",
        /// It was let go.
        Unblocked = "blocked run let go",
        /// A run waited for a permit.
        Blocked = "run blocked",
        /// It got the permit.
        HandedOn = "blocked run handed on",
        /// A waiting run of a deleted task was cancelled by the leader.
        OrphanEnded = "waiting run of a deleted task cancelled by the leader",
        /// A leader edited on somebody's behalf: a step of a move to other zone rules.
        EditedFor = "leader's edit on somebody's behalf",
        /// Planned while the store's clock was ahead, and taken back.
        PutBack = "run or skip of a wrong clock taken back",
        /// Started while the store's clock was ahead, and passed over when its instant came.
        AnsweredAhead = "instant answered before it came",
        /// A leader kept in the store what it makes of the store's clock.
        ClockTold = "store's clock told in the store",
        /// A run waited behind nobody.
        StrandedFound = "stranded run found by the sweep",
        /// The end of a run put its task's next due row.
        ChainWentOn = "run ended whose task goes on from its end",
        /// The delay after the ends of a task's runs was changed.
        DelayChanged = "delay after the end of a run changed",
        /// A running one was replaced.
        ReplacedRunning = "running run replaced",
        /// A waiting one was replaced.
        ReplacedWaiting = "waiting run replaced",
        /// Skipped for an overlap.
        OverlapSkipped = "overlap skipped",
        /// Skipped for a misfire.
        MisfireSkipped = "misfire skipped",
        /// Skipped for its age.
        TooLateSkipped = "too late, skipped",
        /// Skipped for its deadline.
        DeadlineSkipped = "start deadline skipped",
        /// Skipped for a pause or a change.
        RestSkipped = "paused or changed, skipped",
        /// A pause, or a change of schedule, took back what was planned ahead.
        TakenBack = "planned run taken back",
        /// Skipped because its task was deleted.
        GoneSkipped = "overdue when its task was deleted, skipped",
        /// A missed one ran.
        CaughtUp = "caught up",
        /// A failed attempt was tried again, and ended well.
        RetriedWell = "retried and succeeded",
        /// All attempts failed.
        FailedForGood = "run failed for good",
        /// Longer than the timeout.
        TimedOut = "timed out",
        /// Ended by request.
        Cancelled = "cancelled on request",
        /// Given to a listener.
        HandedOver = "handed over",
        /// Its task was gone.
        TaskGone = "task deleted before the start",
        /// A past instant ran after all.
        Backfilled = "backfill made a run",
        /// A second request with one key.
        SameKey = "second request answered with the first run",
        /// A second request with one key that says something else.
        KeyRefused = "request with another's key refused",
        /// The cluster was held.
        Held = "cluster held",
        /// The leader ended a hold whose end had come.
        HoldEnded = "hold ended by its leader",
        /// The leader ended a pause whose end had come.
        PauseEnded = "pause ended by its leader",
        /// What was refused was set aside.
        SetAside = "refused row set aside",
        /// It was released.
        ReleasedAside = "set-aside row released",
        /// A run that waits was moved, found by its key.
        MovedByKey = "waiting run moved",
        /// A run that had begun was not.
        MoveRefused = "move of a run that had begun refused",
    }
);

/// The counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    faults: Vec<u64>,
    seen: Vec<u64>,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Handler starts.
    pub starts: u64,
    /// Rows of runs at the end.
    pub runs: u64,
    /// Checks of the invariants over the whole store.
    pub checks: u64,
    /// The longest wait for quiet after the faults ended.
    pub longest_quiet_ms: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            faults: vec![0; Fault::ALL.len()],
            seen: vec![0; Seen::ALL.len()],
            simulated_ms: 0,
            starts: 0,
            runs: 0,
            checks: 0,
            longest_quiet_ms: 0,
        }
    }
}

impl Tally {
    /// One more fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// So many more events.
    pub fn seen(&mut self, seen: Seen, n: u64) {
        self.seen[seen as usize] += n;
    }

    /// How often.
    #[must_use]
    pub fn of(&self, seen: Seen) -> u64 {
        self.seen[seen as usize]
    }

    /// How often this was broken.
    #[must_use]
    pub fn of_fault(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// Adds another history's counts.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.faults, &other.faults),
            (&mut self.seen, &other.seen),
        ];
        for (mine, theirs) in pairs {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs;
            }
        }
        self.simulated_ms += other.simulated_ms;
        self.starts += other.starts;
        self.runs += other.runs;
        self.checks += other.checks;
        self.longest_quiet_ms = self.longest_quiet_ms.max(other.longest_quiet_ms);
    }

    /// All faults.
    #[must_use]
    pub fn faults_in_all(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// Faults and rare events by name, for machines.
    #[must_use]
    pub fn named(&self) -> [Vec<(&'static str, u64)>; 2] {
        let faults = Fault::ALL.iter();
        let faults = faults.map(|f| (f.text(), self.faults[*f as usize]));
        let seen = Seen::ALL.iter().map(|s| (s.text(), self.of(*s)));
        [faults.collect(), seen.collect()]
    }

    /// The names of what never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let faults = Fault::ALL.iter().filter(|f| self.faults[**f as usize] == 0);
        let seen = Seen::ALL.iter().filter(|s| self.of(**s) == 0);
        let faults = faults.map(|f| f.text());
        faults.chain(seen.map(|s| s.text())).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults by kind ({} in all)", self.faults_in_all())?;
        for fault in Fault::ALL {
            writeln!(
                f,
                "  {:>12}  {}",
                self.faults[*fault as usize],
                fault.text()
            )?;
        }
        writeln!(f, "seen sometimes")?;
        for seen in Seen::ALL {
            writeln!(f, "  {:>12}  {}", self.of(*seen), seen.text())?;
        }
        write!(
            f,
            "{} simulated hours, {} runs, {} starts, {} checks of the whole store; quiet at the latest {} s after the faults",
            self.simulated_ms / 3_600_000,
            self.runs,
            self.starts,
            self.checks,
            self.longest_quiet_ms / 1_000
        )
    }
}
