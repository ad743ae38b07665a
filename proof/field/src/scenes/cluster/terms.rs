//! Watches the leader row from outside, a hundred times a second, and notes every term that begins: the account of who
//! led when, which no node wrote itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::facts::{Leader, leader};
use crate::book::Book;

const PERIOD: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Leader>>,
    trouble: Mutex<Option<String>>,
    ending: AtomicBool,
}

pub struct Terms {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Terms {
    pub fn watch(book: Book) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !own.ending.load(Ordering::Acquire) {
                match leader(&book) {
                    Ok(leader) => own.note(leader),
                    Err(error) => {
                        *lock(&own.trouble) = Some(error.to_string());
                        return;
                    }
                }
                std::thread::sleep(PERIOD);
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Every term so far, in order.
    pub fn all(&self) -> Vec<Leader> {
        lock(&self.shared.seen).clone()
    }

    /// Why the watch ended early, if it did.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.trouble).clone()
    }
}

impl Shared {
    fn note(&self, leader: Leader) {
        let mut seen = lock(&self.seen);
        if leader.epoch > 0 && seen.last() != Some(&leader) {
            seen.push(leader);
        }
    }
}

impl Drop for Terms {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
