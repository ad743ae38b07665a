//! The driver: it lets one session send one statement at a time, and knows of every other whether it stands before its
//! next statement, waits for a lock that somebody else has, or is done. It waits for facts: an arrival at a turnstile, or
//! the database's own word on who waits for whom.

use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::sql;
use campanile_core::decide::invariants::Snapshot;
use campanile_core::port::store::Store;
use campanile_core::system::{spawn, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::choose::Chooser;
use super::content::{self, Content};
use super::counts::Counts;
use super::engines::{Engine, InFlight};
use super::gate::{Event, Turnstile, What};
use super::mutants::Mutant;
use super::ops::{Answer, Kind, Op};
use super::scenes::{LATER, Scene};

pub(super) const SESSIONS: usize = 3;
/// How long the driver listens for an arrival before it asks the database who waits. No decision rests on it.
const PATIENCE: Duration = Duration::from_millis(1);
/// Longer than every timeout of the store: a history that stands still is a defect of the driver.
const STILL_MAX: Duration = Duration::from_secs(25);

/// One database, its sessions, and what was counted on it.
pub(super) struct Stand {
    pub(super) engine: Box<dyn Engine>,
    pub(super) counts: Counts,
    plain: Arc<sql::Store>,
    sessions: Vec<(Arc<sql::Store>, Arc<Turnstile>)>,
    events: UnboundedReceiver<Event>,
}

/// One operation as it went. Rounds count the statements that were let go.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) op: Op,
    pub(super) answer: Answer,
    /// The round of its first statement.
    pub(super) began: u32,
    /// The round in which it was answered.
    pub(super) ended: u32,
    /// The round in which its last commit (or write outside a transaction) was done, and whether it was the session
    /// that was let go then (0), or one that this one's commit let through (1).
    pub(super) took_effect: (u32, u8),
}

/// One interleaving.
pub(super) struct History {
    pub(super) done: Vec<Done>,
    pub(super) trace: Vec<String>,
    pub(super) after: Content,
}

impl Stand {
    pub(super) async fn new(engine: Box<dyn Engine>) -> Self {
        let (sender, events) = unbounded_channel();
        let plain = super::open(&engine.url(), None).await;
        let mut sessions = Vec::new();
        for session in 0..SESSIONS {
            let gate = Turnstile::new(session, sender.clone());
            let named = Some((format!("s{session}"), Arc::clone(&gate)));
            sessions.push((super::open(&engine.url_of(session), named).await, gate));
        }
        Self {
            counts: Counts::default(),
            engine,
            plain,
            sessions,
            events,
        }
    }

    pub(super) fn mutate(&self, mutant: Option<Mutant>) {
        for (_, gate) in &self.sessions {
            gate.mutate(mutant);
        }
    }

    pub(super) fn rewritten(&self) -> u64 {
        self.sessions.iter().map(|(_, gate)| gate.rewritten()).sum()
    }

    /// Does what a scene's sessions find done, and keeps its rows: each interleaving begins with them.
    pub(super) async fn set_up(&mut self, scene: &Scene) -> Snapshot {
        self.engine.empty().await;
        for op in &scene.setup {
            let answer = op.run(&*self.plain, LATER).await;
            assert_eq!(
                answer.kind,
                Kind::Done,
                "{}: {op:?}: {answer:?}",
                scene.name
            );
        }
        self.engine.keep().await;
        // Each session knows the queue's number before it is stepped.
        for (store, _) in &self.sessions {
            content::warm(&**store).await;
        }
        self.content(scene).await.snapshot
    }

    /// Walks one interleaving of a scene that was set up.
    pub(super) async fn walk(&mut self, scene: &Scene, chooser: &mut Chooser) -> History {
        self.engine.restore().await;
        for (_, gate) in &self.sessions {
            gate.hold(true);
        }
        for (session, ops) in scene.sessions.iter().enumerate() {
            let (store, gate) = &self.sessions[session];
            spawn(session_of(Arc::clone(store), Arc::clone(gate), ops.clone()));
        }
        let mut walk = Walk::new(&scene.sessions);
        loop {
            let settled = within(STILL_MAX, self.settle(&mut walk)).await;
            assert!(
                settled.is_some(),
                "{} stands still: {:#?}",
                scene.name,
                walk.trace
            );
            let ready = walk.ready();
            if ready.is_empty() {
                break;
            }
            let idle = ready
                .iter()
                .find(|at| walk.stands_before(**at, &*self.engine));
            let session = match idle {
                Some(idle) => *idle,
                None => ready[chooser.choose(ready.len())],
            };
            walk.go(session);
            self.sessions[session].1.grant();
        }
        for (_, gate) in &self.sessions {
            gate.hold(false);
        }
        self.counts.note(&walk);
        History {
            done: walk.done,
            trace: walk.trace,
            after: self.content(scene).await,
        }
    }

    async fn content(&mut self, scene: &Scene) -> Content {
        let blocked = self.engine.blocked().await;
        content::read(&*self.plain, &scene.keys, blocked).await
    }

    /// Waits until each session stands before a statement, is finished, or waits for one that stands.
    async fn settle(&mut self, walk: &mut Walk) {
        loop {
            while let Ok(event) = self.events.try_recv() {
                walk.take(event);
            }
            let flying = walk.flying();
            if flying.is_empty() {
                return;
            }
            let known = flying.iter().all(|f| walk.is_known_to_wait(f.session));
            if !known && self.arrival(walk).await {
                continue;
            }
            let waits = self.engine.waits(&flying, &walk.holders()).await;
            if !self.events.is_empty() {
                continue;
            }
            if flying
                .iter()
                .all(|f| walk.waits_for_one_that_stands(f.session, &waits))
            {
                walk.blocked(&flying);
                return;
            }
            self.arrival(walk).await;
        }
    }

    async fn arrival(&mut self, walk: &mut Walk) -> bool {
        let Some(Some(event)) = within(PATIENCE, self.events.recv()).await else {
            return false;
        };
        walk.take(event);
        true
    }
}

async fn session_of(store: Arc<sql::Store>, gate: Arc<Turnstile>, ops: Vec<Op>) {
    let store: Arc<dyn Store> = store;
    for op in ops {
        gate.tell(What::Answered(op.run(&*store, LATER).await));
    }
    gate.tell(What::Finished);
}

/// Where a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Flying,
    Standing(String),
    Finished,
}

#[derive(Debug)]
struct Seat {
    ops: Vec<Op>,
    place: Place,
    sent: Option<String>,
    in_tx: bool,
    known_to_wait: bool,
    next: usize,
    begins: u32,
    began: Option<u32>,
    effect: Option<(u32, u8)>,
}

/// What is known of one interleaving while it is walked.
pub(super) struct Walk {
    seats: Vec<Seat>,
    round: u32,
    gone: usize,
    pub(super) blocked: u64,
    again: u64,
    pub(super) done: Vec<Done>,
    pub(super) trace: Vec<String>,
}

impl Walk {
    fn new(sessions: &[Vec<Op>]) -> Self {
        let seat = |ops: &Vec<Op>| Seat {
            ops: ops.clone(),
            place: Place::Flying,
            sent: None,
            in_tx: false,
            known_to_wait: false,
            next: 0,
            begins: 0,
            began: None,
            effect: None,
        };
        Self {
            seats: sessions.iter().map(seat).collect(),
            round: 0,
            gone: 0,
            blocked: 0,
            again: 0,
            done: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// Transactions that were made again.
    pub(super) const fn again(&self) -> u64 {
        self.again
    }

    /// Statements that were let go.
    pub(super) fn statements(&self) -> u64 {
        self.round.into()
    }

    fn ready(&self) -> Vec<usize> {
        let standing = |at: &usize| matches!(self.seats[*at].place, Place::Standing(_));
        (0..self.seats.len()).filter(standing).collect()
    }

    /// Whether a session's next statement may as well be sent at once.
    fn stands_before(&self, session: usize, engine: &dyn Engine) -> bool {
        match &self.seats[session].place {
            Place::Standing(sql) => engine.is_idle(sql),
            Place::Flying | Place::Finished => false,
        }
    }

    fn holders(&self) -> Vec<usize> {
        let ready = self.ready().into_iter();
        ready.filter(|at| self.seats[*at].in_tx).collect()
    }

    fn flying(&self) -> Vec<InFlight> {
        let seats = self.seats.iter().enumerate();
        seats
            .filter(|(_, seat)| seat.place == Place::Flying)
            .map(|(session, seat)| InFlight {
                session,
                sql: seat.sent.clone().unwrap_or_default(),
                in_tx: seat.in_tx,
            })
            .collect()
    }

    fn is_known_to_wait(&self, session: usize) -> bool {
        self.seats[session].known_to_wait
    }

    /// Whether a session waits, perhaps through others, for one that the driver may let go. Sessions that wait for each
    /// other in a ring are the database's to part.
    fn waits_for_one_that_stands(&self, session: usize, waits: &[(usize, usize)]) -> bool {
        let mut reached = vec![session];
        let mut at = 0;
        while let Some(from) = reached.get(at).copied() {
            at += 1;
            for (_, to) in waits.iter().filter(|(waiter, _)| *waiter == from) {
                if matches!(self.seats[*to].place, Place::Standing(_)) {
                    return true;
                }
                if !reached.contains(to) {
                    reached.push(*to);
                }
            }
        }
        false
    }

    fn blocked(&mut self, flying: &[InFlight]) {
        for f in flying {
            let seat = &mut self.seats[f.session];
            if !seat.known_to_wait {
                seat.known_to_wait = true;
                self.blocked += 1;
                self.trace
                    .push(format!("{:>3} s{} waits", self.round, f.session));
            }
        }
    }

    fn go(&mut self, session: usize) {
        self.round += 1;
        self.gone = session;
        let seat = &mut self.seats[session];
        let Place::Standing(sql) = std::mem::replace(&mut seat.place, Place::Flying) else {
            return;
        };
        seat.began.get_or_insert(self.round);
        let short: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = short.chars().take(90).collect();
        self.trace
            .push(format!("{:>3} s{session} {short}", self.round));
        seat.sent = Some(sql);
    }

    fn take(&mut self, event: Event) {
        self.complete(event.session);
        let (round, seat) = (self.round, &mut self.seats[event.session]);
        match event.what {
            What::At(sql) => {
                // A begin that was refused is tried again.
                seat.in_tx &= !sql.starts_with("BEGIN");
                seat.place = Place::Standing(sql);
            }
            What::Answered(answer) => {
                seat.in_tx = false;
                let what = format!("{round:>3} s{} {answer:?}", event.session);
                self.trace.push(what);
                self.done.push(Done {
                    op: seat.ops[seat.next].clone(),
                    answer,
                    began: seat.began.take().unwrap_or(round),
                    ended: round,
                    took_effect: seat.effect.take().unwrap_or((round, 0)),
                });
                self.again += u64::from(seat.begins.saturating_sub(1));
                seat.begins = 0;
                seat.next += 1;
            }
            What::Finished => seat.place = Place::Finished,
        }
    }

    /// Notes that what a session sent is done.
    fn complete(&mut self, session: usize) {
        let effect = (self.round, u8::from(self.gone != session));
        let seat = &mut self.seats[session];
        let Some(sent) = seat.sent.take() else {
            return;
        };
        seat.known_to_wait = false;
        match sent.split(' ').next().unwrap_or_default() {
            "BEGIN" => {
                seat.in_tx = true;
                seat.begins += 1;
            }
            "ROLLBACK" => seat.in_tx = false,
            "COMMIT" => {
                seat.in_tx = false;
                seat.effect = Some(effect);
            }
            "SELECT" => {}
            _ if !seat.in_tx => seat.effect = Some(effect),
            _ => {}
        }
    }
}
