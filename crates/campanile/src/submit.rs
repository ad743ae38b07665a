//! A run as a program asks for it, before it is asked for: what it is given, when it starts, under which key. Submits it the way
//! that the API does.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use campanile_adapters::sql::enqueue::Inbox;
use campanile_core::decide::edit::request::{NewRun, submission};
use campanile_core::id::RunId;
use campanile_core::port::handler::Handler;
use campanile_core::task::{HandlerSpec, Retry};
use campanile_schedule::time::Timestamp;
use serde_json::Value;
use sqlx::Transaction;

use crate::client::Client;
use crate::error::Error;
use crate::run::{Pending, Run};

/// A run of `H` that is asked for, as [`Client::submit`] begins to: await it to submit it. It has one attempt, unless
/// [`retry`](Self::retry) says otherwise.
#[must_use = "nothing is submitted before it is awaited"]
pub struct Submit<'a, H> {
    client: &'a Client,
    args: Result<Value, serde_json::Error>,
    request: NewRun,
    handler: PhantomData<fn() -> H>,
}

impl<H> fmt::Debug for Submit<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Submit")
    }
}

impl<'a, H: Handler> Submit<'a, H> {
    pub(crate) fn new(client: &'a Client, args: &H::Args) -> Self {
        Self {
            client,
            args: serde_json::to_value(args),
            request: NewRun {
                handler: Some(HandlerSpec::Native(H::NAME.to_owned())),
                ..NewRun::default()
            },
            handler: PhantomData,
        }
    }

    /// When it starts; absent, or an instant that has passed = now.
    pub fn at(mut self, instant: Timestamp) -> Self {
        self.request.run_at = Some(instant);
        self
    }

    /// A name for the request: asked for again, the same request gets the first one's run, and another one is refused.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.request.idempotency_key = Some(key.into());
        self
    }

    /// Where it goes; absent = `default`.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.request.queue = Some(name.into());
        self
    }

    /// 0 (last) to 9 (first); absent = 4.
    pub fn priority(mut self, priority: u8) -> Self {
        self.request.priority = Some(priority);
        self
    }

    /// What happens after a failure.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.request.retry = Some(retry);
        self
    }

    /// How long one attempt may take; absent = a minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = Some(timeout);
        self
    }

    /// Asks for the run inside a transaction of your own, on the database in which Campanile's tables are: it is a run if and
    /// only if that transaction commits. Nothing but one row is inserted, so the transaction waits for nobody. The leader
    /// takes the row out within about half a second of the commit. A key that is taken by then is no error here: the answer
    /// tells it.
    ///
    /// # Errors
    /// The request can't be one, or the database refuses the row; then your transaction is yours to roll back.
    pub async fn in_transaction<D: Inbox>(
        mut self,
        transaction: &mut Transaction<'_, D>,
    ) -> Result<Pending<H>, Error> {
        self.fill()?;
        // What can't be a run is said here, and not where nobody waits for it.
        let now = Timestamp::from_ms(0);
        let checked = submission(&self.request, &[], RunId::floor(now), now);
        checked.map_err(campanile_ask::Error::from)?;
        let request = serde_json::to_string(&self.request).map_err(|source| Error::Arguments {
            handler: H::NAME,
            source,
        })?;
        let row = D::leave(transaction, &request).await.map_err(Error::Left)?;
        Ok(Pending::new(self.client.clone(), row))
    }

    fn fill(&mut self) -> Result<(), Error> {
        let args = std::mem::replace(&mut self.args, Ok(Value::Null));
        let payload = args.map_err(|source| Error::Arguments {
            handler: H::NAME,
            source,
        })?;
        self.request.payload = Some(payload);
        Ok(())
    }

    async fn send(mut self) -> Result<Run<H>, Error> {
        self.fill()?;
        let submitted = self.client.editor().submit_one(&self.request).await?;
        Ok(Run::new(self.client.clone(), submitted.run))
    }
}

impl<'a, H: Handler> IntoFuture for Submit<'a, H> {
    type Output = Result<Run<H>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
