//! The turnstile before a session's statements: it tells the driver what the session is about to send, and holds it
//! until the driver lets it go. It decides nothing; a mutant's text is put in here, because every statement passes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use campanile_adapters::sql::Gate;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use super::mutants::Mutant;
use super::ops::Answer;

/// What a session tells the driver.
#[derive(Debug)]
pub(super) struct Event {
    /// Which session.
    pub(super) session: usize,
    /// What happened.
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It stands before this statement; the one before, if any, is done.
    At(String),
    /// An operation is over.
    Answered(Answer),
    /// All of its operations are.
    Finished,
}

/// One session's turnstile.
#[derive(Debug)]
pub(super) struct Turnstile {
    session: usize,
    events: UnboundedSender<Event>,
    grants: Semaphore,
    holds: AtomicBool,
    mutant: Mutex<Option<Mutant>>,
    rewritten: AtomicU64,
}

impl Turnstile {
    pub(super) fn new(session: usize, events: UnboundedSender<Event>) -> Arc<Self> {
        Arc::new(Self {
            session,
            events,
            grants: Semaphore::new(0),
            holds: AtomicBool::new(false),
            mutant: Mutex::new(None),
            rewritten: AtomicU64::new(0),
        })
    }

    /// Whether statements wait for the driver from now on.
    pub(super) fn hold(&self, holds: bool) {
        self.holds.store(holds, Ordering::SeqCst);
    }

    /// Lets one statement go.
    pub(super) fn grant(&self) {
        self.grants.add_permits(1);
    }

    /// Sends another text in place of the statements that it names.
    pub(super) fn mutate(&self, mutant: Option<Mutant>) {
        *self.mutant.lock().unwrap_or_else(PoisonError::into_inner) = mutant;
    }

    /// How many statements were sent with another text.
    pub(super) fn rewritten(&self) -> u64 {
        self.rewritten.load(Ordering::SeqCst)
    }

    pub(super) fn tell(&self, what: What) {
        // Nobody listens any more only when the test has failed already.
        let _ = self.events.send(Event {
            session: self.session,
            what,
        });
    }
}

#[async_trait]
impl Gate for Turnstile {
    async fn pass(&self, sql: &str) -> Option<String> {
        if !self.holds.load(Ordering::SeqCst) {
            return None;
        }
        self.tell(What::At(sql.to_owned()));
        // The semaphore is never closed.
        if let Ok(permit) = self.grants.acquire().await {
            permit.forget();
        }
        let mutant = *self.mutant.lock().unwrap_or_else(PoisonError::into_inner);
        let text = mutant?.rewrite(sql)?;
        self.rewritten.fetch_add(1, Ordering::SeqCst);
        Some(text)
    }
}
