//! A run that was submitted: its id, its end, what it returned.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use campanile_core::decide::edit::inbox::{Became, Settled};
use campanile_core::id::RunId;
use campanile_core::port;
use campanile_core::port::handler::Handler;
use campanile_core::port::store;
use campanile_core::run::State;
use campanile_core::system::pause;

use crate::client::Client;
use crate::error::{Ended, Error};

/// How often a run that is waited for is looked at: at first, and at last.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LAST: Duration = Duration::from_millis(500);
/// How long a store that does not answer is asked again.
const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// Looks at the store again and again: at first often, then seldom, and past answers that fail for a while.
struct Looks {
    wait: Duration,
    silent: Duration,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            wait: LOOK_FIRST,
            silent: Duration::ZERO,
        }
    }
}

impl Looks {
    /// What the store answered; `None` if it did not, and may be asked again.
    fn answer<T>(&mut self, answer: Result<T, store::Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(answer) => {
                self.silent = Duration::ZERO;
                Ok(Some(answer))
            }
            Err(error) if self.silent >= STORE_PATIENCE => Err(Error::Unavailable(error)),
            Err(_) => Ok(None),
        }
    }

    async fn rest(&mut self) {
        pause(self.wait).await;
        self.silent += self.wait;
        self.wait = (self.wait * 2).min(LOOK_LAST);
    }
}

/// A run of `H`. It goes on whether this is kept or not; [`Client::run`] makes another from the [`id`](Self::id).
pub struct Run<H> {
    client: Client,
    id: RunId,
    handler: PhantomData<fn() -> H>,
}

impl<H> Clone for Run<H> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            id: self.id,
            handler: PhantomData,
        }
    }
}

impl<H> fmt::Debug for Run<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({})", self.id)
    }
}

impl<H: Handler> Run<H> {
    pub(crate) const fn new(client: Client, id: RunId) -> Self {
        Self {
            client,
            id,
            handler: PhantomData,
        }
    }

    /// What `campanile run show` and the API call it by.
    #[must_use]
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// Where it stands.
    ///
    /// # Errors
    /// There is no such run any more, or the store does not answer.
    pub async fn state(&self) -> Result<State, Error> {
        Ok(self.detail().await.map_err(Error::Unavailable)??.run.state)
    }

    /// Waits until it has ended, and answers what its handler returned. The store is asked, at first often and then twice a
    /// second; who wants to wait no longer than so long says so with `tokio::time::timeout`.
    ///
    /// # Errors
    /// [`Error::Ended`] with reason and message if it did not end well; [`Error::Output`] if what it returned is not what `H`
    /// returns; there is no such run any more; the store has not answered for half a minute.
    pub async fn wait(&self) -> Result<H::Output, Error> {
        let mut looks = Looks::default();
        loop {
            if let Some(detail) = looks.answer(self.detail().await)?
                && let Some(end) = self.end(&detail?)
            {
                return end;
            }
            looks.rest().await;
        }
    }

    /// Ends it: at once if it has not started, otherwise its handler is told to stop.
    ///
    /// # Errors
    /// It has ended already, there is no such run, or the store does not answer.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.client.editor().cancel(self.id).await?;
        Ok(())
    }

    /// The outer error is the store's, the inner one says that there is no such run.
    async fn detail(&self) -> Result<Result<port::ask::RunRecord, Error>, store::Error> {
        let found = self.client.store().run(self.id).await?;
        Ok(found.ok_or_else(|| campanile_ask::Error::no_run(self.id).into()))
    }

    fn end(&self, detail: &port::ask::RunRecord) -> Option<Result<H::Output, Error>> {
        let run = &detail.run;
        match run.state {
            State::Scheduled | State::Queued | State::Running => None,
            State::Succeeded => {
                let json = detail.result.as_deref().unwrap_or("null");
                let output = serde_json::from_str(json).map_err(|source| Error::Output {
                    run: self.id,
                    handler: H::NAME,
                    source,
                });
                Some(output)
            }
            State::Failed | State::Cancelled | State::Skipped | State::Quarantined => {
                Some(Err(Error::Ended(Ended {
                    run: self.id,
                    state: run.state,
                    reason: run.reason,
                    message: run.error.clone(),
                })))
            }
        }
    }
}

/// A run that was asked for inside a transaction: there is one as soon as that has committed and the leader has seen it.
pub struct Pending<H> {
    client: Client,
    row: i64,
    handler: PhantomData<fn() -> H>,
}

impl<H> fmt::Debug for Pending<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending(row {} of the inbox)", self.row)
    }
}

impl<H: Handler> Pending<H> {
    pub(crate) const fn new(client: Client, row: i64) -> Self {
        Self {
            client,
            row,
            handler: PhantomData,
        }
    }

    /// The row's number in the inbox.
    #[must_use]
    pub const fn row(&self) -> i64 {
        self.row
    }

    /// The run, if there is one by now. The same request left before under the same key has one run with this.
    ///
    /// # Errors
    /// [`Error::NotTaken`] if it became none; the store does not answer.
    pub async fn run(&self) -> Result<Option<Run<H>>, Error> {
        let settled = self.client.store().settled(self.row).await;
        self.became(settled.map_err(Error::Unavailable)?)
    }

    /// Waits until there is a run, and then for its end: only after your transaction has committed. One that is rolled back is
    /// waited for in vain, so bound this with `tokio::time::timeout`.
    ///
    /// # Errors
    /// As [`Run::wait`] and [`Pending::run`].
    pub async fn wait(&self) -> Result<H::Output, Error> {
        let mut looks = Looks::default();
        loop {
            let settled = self.client.store().settled(self.row).await;
            if let Some(settled) = looks.answer(settled)?
                && let Some(run) = self.became(settled)?
            {
                return run.wait().await;
            }
            looks.rest().await;
        }
    }

    fn became(&self, settled: Option<Settled>) -> Result<Option<Run<H>>, Error> {
        let why = match settled.map(|settled| settled.became) {
            None => return Ok(None),
            Some(Became::Run(run) | Became::Duplicate(run)) => {
                return Ok(Some(Run::new(self.client.clone(), run)));
            }
            Some(Became::Conflict(run)) => {
                format!("its key is run {run}'s, which was asked for with other content")
            }
            Some(Became::Refused(why)) => why,
        };
        Err(Error::NotTaken { row: self.row, why })
    }
}
