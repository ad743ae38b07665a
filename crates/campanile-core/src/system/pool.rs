//! A few threads for computing: what takes longer than some milliseconds and whose size a stranger chooses runs here,
//! so that the threads that serve sockets, heartbeats and the store are never held up. Owns the queue, its bound, and the
//! giving up of work that nobody waits for; what is computed, and with how much fuel, its callers say.
//!
//! A simulation has one thread for everything, or one seed would have many histories: there the work runs at once,
//! where it is asked for ([`Pool::inline`]).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use campanile_schedule::fuel::{Cancel, CancelOnDrop, Fuel};
use tokio::sync::oneshot;

use crate::limits;

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too much waits already.
    #[error("this node is computing as much as it can for others: try again in a moment")]
    Busy,
    /// The node is stopping.
    #[error("this node is stopping: ask another, or try again when it is back")]
    Stopping,
    /// The work panicked; the log says where.
    #[error("the computation broke off by a mistake in this program: its log says where")]
    Died,
}

/// Threads for computing, or none. Cheap to clone; the clones share the threads.
#[derive(Debug, Clone)]
pub struct Pool {
    threads: Option<Arc<Threads>>,
    closing: Cancel,
    burnt: Arc<AtomicU64>,
}

/// Closes the queue when the last [`Pool`] is gone.
#[derive(Debug)]
struct Threads {
    queue: Arc<Queue>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Job {
    cancel: Cancel,
    work: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
struct Waiting {
    /// The node's own: goes before the rest, and has no bound but the node's.
    own: VecDeque<Job>,
    jobs: VecDeque<Job>,
    closed: bool,
}

/// What waits for a thread.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes work in; `first` goes before the rest, and is never refused for want of room.
    fn push(&self, job: Job, first: bool) -> Result<(), Error> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Error::Stopping);
        }
        if first {
            waiting.own.push_back(job);
        } else {
            if waiting.jobs.len() >= limits::COMPUTE_QUEUE_MAX {
                waiting.jobs.retain(|job| !job.cancel.is_cancelled());
            }
            if waiting.jobs.len() >= limits::COMPUTE_QUEUE_MAX {
                return Err(Error::Busy);
            }
            waiting.jobs.push_back(job);
        }
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    fn pop(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let own = waiting.own.pop_front();
            if let Some(job) = own.or_else(|| waiting.jobs.pop_front()) {
                return Some(job);
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whoever waits for what is dropped here is told.
    fn close(&self) {
        let dropped = {
            let mut waiting = self.lock();
            waiting.closed = true;
            (
                std::mem::take(&mut waiting.own),
                std::mem::take(&mut waiting.jobs),
            )
        };
        drop(dropped);
        self.changed.notify_all();
    }

    fn work(&self) {
        while let Some(job) = self.pop() {
            if !job.cancel.is_cancelled() {
                (job.work)();
            }
        }
    }
}

impl Pool {
    /// One thread less than the machine has cores, but one at least.
    ///
    /// # Errors
    /// The operating system's, when it refuses a thread.
    pub fn new() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_threads(cores.saturating_sub(1).max(1))
    }

    /// So many threads.
    ///
    /// # Errors
    /// The operating system's, when it refuses a thread.
    pub fn with_threads(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        // Made first: if a thread is refused, those that are there already end.
        let owner = Arc::new(Threads {
            queue: Arc::clone(&queue),
        });
        for n in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("campanile-compute-{n}"))
                .spawn(move || queue.work())?;
        }
        Ok(Self {
            threads: Some(owner),
            closing: Cancel::new(),
            burnt: Arc::default(),
        })
    }

    /// No threads: work runs where it is asked for. For simulations and tests.
    #[must_use]
    pub fn inline() -> Self {
        Self {
            threads: None,
            closing: Cancel::new(),
            burnt: Arc::default(),
        }
    }

    /// Runs work with the fuel of one request. Dropping the future gives the work up, whether it waits or runs.
    ///
    /// # Errors
    /// [`Error`]; what the work itself answers is its own.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Fuel) -> T + Send + 'static,
    {
        self.run_with(limits::REQUEST_FUEL, work).await
    }

    /// Runs work with so many units of fuel.
    ///
    /// # Errors
    /// As [`Pool::run`].
    pub async fn run_with<T, F>(&self, units: u64, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Fuel) -> T + Send + 'static,
    {
        self.submit(units, false, work).await
    }

    /// Runs work of the node itself: before all that waits, and never refused while the node lives.
    ///
    /// # Errors
    /// [`Error::Stopping`], [`Error::Died`].
    pub async fn run_first<T, F>(&self, units: u64, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Fuel) -> T + Send + 'static,
    {
        self.submit(units, true, work).await
    }

    async fn submit<T, F>(&self, units: u64, first: bool, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Fuel) -> T + Send + 'static,
    {
        if self.closing.is_cancelled() {
            return Err(Error::Stopping);
        }
        let cancel = self.closing.child();
        let fuel = Fuel::cancelled_by(units, cancel.clone());
        let Some(threads) = &self.threads else {
            let done = work(&fuel);
            self.burnt.fetch_add(fuel.burnt(), Ordering::Relaxed);
            return Ok(done);
        };
        let (answer, answered) = oneshot::channel();
        let burnt = Arc::clone(&self.burnt);
        let work = move || {
            // What it holds is dropped with it, and nobody sees it half done.
            let done = catch_unwind(AssertUnwindSafe(|| work(&fuel)));
            burnt.fetch_add(fuel.burnt(), Ordering::Relaxed);
            drop(answer.send(done.map_err(|_| Error::Died)));
        };
        let job = Job {
            cancel: cancel.clone(),
            work: Box::new(work),
        };
        let _asked = CancelOnDrop(cancel);
        threads.queue.push(job, first)?;
        // Dropped without an answer: the queue was closed.
        answered.await.unwrap_or(Err(Error::Stopping))
    }

    /// A cancellation that comes with the pool's end: for fuel that several pieces of work share.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        self.closing.child()
    }

    /// The units that all work has burnt so far.
    #[must_use]
    pub fn burnt(&self) -> u64 {
        self.burnt.load(Ordering::Relaxed)
    }

    /// Gives up what runs and what waits, and takes nothing any more. The threads end by themselves.
    pub fn close(&self) {
        self.closing.cancel();
        if let Some(threads) = &self.threads {
            threads.queue.close();
        }
    }
}

#[cfg(test)]
#[path = "../../tests/system/pool_tests.rs"]
mod tests;
