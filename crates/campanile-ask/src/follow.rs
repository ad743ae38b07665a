//! Following a run: what its attempts write, how far they say that they are, and its end, as it comes. All who follow one run in
//! this process share one look at the store, twice a second; who reads slowly holds a place in the log, and no memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::logs::{PAGE_CHUNKS_MAX, attempt_log, last_line, line_before, mask, standing};
use crate::{AttemptLog, Control, Editor, Error};
use campanile_core::causes;
use campanile_core::decide::attempt::log::join;
use campanile_core::id::{NodeId, RunId};
use campanile_core::port::ask::RunRecord;
use campanile_core::port::attempt::Chunk;
use campanile_core::port::member::Progress;
use campanile_core::system::{self, pause};

/// How many may follow runs at once, in one process.
pub const FOLLOWERS_MAX: usize = 100;
/// How often a followed run's log is looked at; how the run stands is asked every other time.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of output that are kept for those who follow closely; who is further behind reads from the store.
const RECENT_BYTES_MAX: usize = 256 * 1024;
/// Chunks that one who is behind reads at once.
const BEHIND_CHUNKS_MAX: usize = 16;

/// A place in a run's output: the attempt, and the byte of what it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub attempt: u32,
    pub at: u64,
}

impl Place {
    /// Where everything begins.
    pub const FIRST: Self = Self { attempt: 1, at: 0 };
}

/// What happens to a run that is followed.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// An attempt wrote something.
    Output(AttemptLog),
    /// An attempt began, or ended.
    Attempt {
        attempt: u32,
        /// As in [`AttemptLog::state`].
        state: &'static str,
        worker: Option<String>,
    },
    /// An attempt said how far it is.
    Progress(Progress),
    /// The run has ended; nothing follows.
    End {
        /// Its state.
        state: &'static str,
        /// Why, or empty.
        reason: &'static str,
        error: Option<String>,
    },
    /// The run is gone from the store; nothing follows.
    Gone,
}

/// What one look at the store showed.
struct Seen {
    record: RunRecord,
    workers: HashMap<NodeId, String>,
    /// What was written last: all that is kept from `since` up to `until`.
    recent: VecDeque<(u32, Arc<Chunk>)>,
    since: Place,
    until: Place,
    /// The run is not in the store any more.
    gone: bool,
}

/// The runs that are followed in this process.
#[derive(Clone)]
pub(super) struct Feeds {
    runs: Arc<Mutex<HashMap<RunId, watch::Sender<Arc<Seen>>>>>,
    followers: Arc<Semaphore>,
}

impl Default for Feeds {
    fn default() -> Self {
        Self {
            runs: Arc::default(),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
        }
    }
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feeds")
    }
}

/// One who follows a run.
pub struct Follower {
    control: Control,
    id: RunId,
    seen: watch::Receiver<Arc<Seen>>,
    place: Place,
    /// The first attempt of which is told.
    first: u32,
    /// The attempt of which was told last, and how it stood.
    told: Option<(u32, &'static str)>,
    progress: Option<Progress>,
    /// The line in which the place lies, up to there.
    line: String,
    over: bool,
    _seat: OwnedSemaphorePermit,
}

impl Editor {
    /// Follows a run from a place on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`]; [`Error::Crowded`] when too many follow runs here already.
    pub async fn follow(&self, id: RunId, place: Place) -> Result<Follower, Error> {
        let record = self.record_with_data(id).await?;
        let seat = Arc::clone(&self.feeds.followers).try_acquire_owned();
        let seat = seat.map_err(|_| {
            Error::Crowded(format!(
                "{FOLLOWERS_MAX} logs are followed on this node already: ask another node, or read the log itself"
            ))
        })?;
        let known = self.lock_feeds().get(&id).map(watch::Sender::subscribe);
        let seen = match known {
            Some(seen) => seen,
            None => self.feed(record).await?,
        };
        Ok(Follower {
            control: Control::clone(self),
            id,
            seen,
            place,
            first: place.attempt,
            told: None,
            progress: None,
            line: self.line_at(id, place).await?,
            over: false,
            _seat: seat,
        })
    }
}

impl Control {
    async fn line_at(&self, id: RunId, place: Place) -> Result<String, Error> {
        let Place { attempt, at } = place;
        if at == 0 {
            return Ok(String::new());
        }
        let chunks = self.parts.store.log(id, attempt, at - 1, 1).await?;
        let own = chunks.into_iter().filter(|(of, _)| *of == attempt);
        let own: Vec<Chunk> = own.map(|(_, chunk)| chunk).collect();
        Ok(line_before(at, &own))
    }

    fn lock_feeds(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, watch::Sender<Arc<Seen>>>> {
        self.feeds
            .runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look at a run, unless somebody else has meanwhile.
    async fn feed(&self, record: RunRecord) -> Result<watch::Receiver<Arc<Seen>>, Error> {
        let id = record.run.id;
        let workers = self.workers_of(&[&record]).await?;
        // Who begins reads what there is from the store; from here on it is shared.
        let until = Place {
            attempt: record.run.attempt,
            at: 0,
        };
        let first = Arc::new(Seen {
            record,
            workers,
            recent: VecDeque::new(),
            since: until,
            until,
            gone: false,
        });
        let mut feeds = self.lock_feeds();
        if let Some(known) = feeds.get(&id) {
            return Ok(known.subscribe());
        }
        let (sender, seen) = watch::channel(first);
        feeds.insert(id, sender);
        drop(feeds);
        system::spawn(look_on(self.clone(), id));
        Ok(seen)
    }
}

/// Looks at a run until nobody follows it any more.
async fn look_on(control: Control, id: RunId) {
    for look in 0_u64.. {
        let last = {
            let mut feeds = control.lock_feeds();
            let Some(sender) = feeds.get(&id) else {
                return;
            };
            if sender.receiver_count() == 0 {
                feeds.remove(&id);
                return;
            }
            Arc::clone(&sender.borrow())
        };
        match next(&control, id, &last, look.is_multiple_of(2)).await {
            Ok(Some(new)) => {
                if let Some(sender) = control.lock_feeds().get(&id) {
                    sender.send_replace(Arc::new(new));
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(run = %id, error = %causes(&error), "a followed run could not be looked at");
            }
        }
        pause(LOOK).await;
    }
}

/// What there is to see now; `None` = the same.
async fn next(
    control: &Control,
    id: RunId,
    last: &Seen,
    whole: bool,
) -> Result<Option<Seen>, Error> {
    let store = &control.parts.store;
    // How it stands first: so nothing that was written before its end is missed.
    let record = if whole && !last.gone {
        store.run(id).await?
    } else {
        Some(last.record.clone())
    };
    let Some(record) = record else {
        let gone = Seen {
            gone: true,
            ..last.again()
        };
        return Ok(Some(gone));
    };
    let Place { attempt, at } = last.until;
    let chunks = store.log(id, attempt, at, PAGE_CHUNKS_MAX).await?;
    if chunks.is_empty() && record == last.record {
        return Ok(None);
    }
    let workers = if record == last.record {
        last.workers.clone()
    } else {
        control.workers_of(&[&record]).await?
    };
    let mut seen = Seen {
        record,
        workers,
        ..last.again()
    };
    for (attempt, chunk) in chunks {
        seen.add(attempt, chunk);
    }
    Ok(Some(seen))
}

fn end_of(attempt: u32, chunk: &Chunk) -> Place {
    Place {
        attempt,
        at: chunk.at + u64::try_from(chunk.text.len()).unwrap_or(u64::MAX),
    }
}

impl Seen {
    fn again(&self) -> Self {
        Self {
            record: self.record.clone(),
            workers: self.workers.clone(),
            recent: self.recent.clone(),
            ..*self
        }
    }

    /// Adds what was written; the last chunk may be the one before, with more in it.
    fn add(&mut self, attempt: u32, chunk: Chunk) {
        self.until = end_of(attempt, &chunk);
        let is_longer = |(of, last): &(u32, Arc<Chunk>)| *of == attempt && last.at == chunk.at;
        if self.recent.back().is_some_and(is_longer) {
            self.recent.pop_back();
        }
        self.recent.push_back((attempt, Arc::new(chunk)));
        let mut bytes: usize = self.recent.iter().map(|(_, chunk)| chunk.text.len()).sum();
        while bytes > RECENT_BYTES_MAX
            && let Some((attempt, chunk)) = self.recent.pop_front()
        {
            bytes -= chunk.text.len();
            self.since = end_of(attempt, &chunk);
        }
    }

    /// What was written behind a place, of that attempt alone or of the next that wrote; `None` if it lies too far back.
    fn behind(&self, place: Place) -> Option<Vec<(u32, Chunk)>> {
        if place < self.since {
            return None;
        }
        let new = self.recent.iter().filter(|(attempt, chunk)| {
            *attempt > place.attempt
                || (*attempt == place.attempt && end_of(*attempt, chunk) > place)
        });
        Some(new.map(|(of, chunk)| (*of, Chunk::clone(chunk))).collect())
    }
}

impl Follower {
    /// Where it is: what was told lies before it.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// What happened next; waits for it. `None` once all is told.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn next(&mut self) -> Result<Option<Followed>, Error> {
        if self.over {
            return Ok(None);
        }
        loop {
            let seen = Arc::clone(&self.seen.borrow_and_update());
            if let Some(told) = self.tell(&seen).await? {
                return Ok(Some(told));
            }
            if self.seen.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    async fn tell(&mut self, seen: &Seen) -> Result<Option<Followed>, Error> {
        if seen.gone {
            self.over = true;
            return Ok(Some(Followed::Gone));
        }
        let record = &seen.record;
        let mut chunks = match seen.behind(self.place) {
            Some(chunks) => chunks,
            None => self.read(seen.since).await?,
        };
        // One attempt at a time; and of one that began nothing before it is said that it did.
        let attempt = chunks.first().map(|(attempt, _)| *attempt);
        chunks.retain(|(of, _)| Some(*of) == attempt);
        // What is written by one that has not begun, by what is known of the run, is told when more is known.
        let run = &record.run;
        let begun = |attempt: &u32| {
            *attempt < run.attempt || (*attempt == run.attempt && !run.state.is_waiting())
        };
        let attempt = attempt.filter(begun);
        let subject = attempt
            .unwrap_or(record.run.attempt)
            .max(self.place.attempt);
        if let Some(told) = self.stand(seen, subject, attempt.is_some()) {
            return Ok(Some(told));
        }
        if let Some(attempt) = attempt {
            let from = if attempt == self.place.attempt {
                self.place.at
            } else {
                0
            };
            if from == 0 {
                self.line.clear();
            }
            let chunks: Vec<Chunk> = chunks.into_iter().map(|(_, chunk)| chunk).collect();
            let mut log = join(from, &chunks);
            let line = if log.missing == 0 {
                last_line(&format!("{}{}", self.line, log.head))
            } else {
                last_line(&log.tail)
            };
            mask(&mut log, &self.line, self.control.masks());
            self.line = line;
            let log = attempt_log(record, &seen.workers, attempt, log);
            self.place = Place {
                attempt,
                at: log.log.next,
            };
            return Ok(Some(Followed::Output(log)));
        }
        let said = record.progress.as_ref();
        if let Some(progress) = said.filter(|said| self.progress.as_ref() != Some(said)) {
            self.progress = Some(progress.clone());
            return Ok(Some(Followed::Progress(progress.clone())));
        }
        if record.run.state.is_terminal() {
            self.over = true;
            return Ok(Some(Followed::End {
                state: record.run.state.as_str(),
                reason: record.run.reason.as_str(),
                error: record.run.error.clone(),
            }));
        }
        Ok(None)
    }

    /// What is to be told of how attempts stand, before the output of `subject` or (`writes` is false) behind all output.
    fn stand(&mut self, seen: &Seen, subject: u32, writes: bool) -> Option<Followed> {
        let record = &seen.record;
        let workers = &seen.workers;
        let mut attempt = self.told.map_or(self.first, |(attempt, _)| attempt);
        while attempt <= subject {
            let (state, worker) = standing(record, attempt);
            // How the one ended that still has output is told behind that.
            let state = if writes && attempt == subject {
                "running"
            } else {
                state
            };
            let is_told = match self.told {
                Some((of, told)) => of == attempt && told == state,
                None => false,
            };
            let is_waiting = matches!(state, "scheduled" | "queued");
            if !is_told && !is_waiting {
                self.told = Some((attempt, state));
                let name = |id: NodeId| workers.get(&id).cloned().unwrap_or_else(|| id.to_string());
                return Some(Followed::Attempt {
                    attempt,
                    state,
                    worker: worker.map(name),
                });
            }
            attempt += 1;
        }
        None
    }

    /// What lies before what others read together; where nothing is kept of it, it goes on from there.
    async fn read(&mut self, since: Place) -> Result<Vec<(u32, Chunk)>, Error> {
        let Place { attempt, at } = self.place;
        let store = &self.control.parts.store;
        let chunks = store.log(self.id, attempt, at, BEHIND_CHUNKS_MAX).await?;
        if chunks.is_empty() {
            self.place = since;
        }
        Ok(chunks)
    }
}
