//! The thread that talks to Redis. It owns every connection, so that no runtime of a caller can starve a renewal and a
//! caller that gives up leaves nothing half done; callers send requests and wait for the answers, each for a bounded
//! time. It starts at the first request and ends with the lock's last handle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use campanile_core::id::Holder;
use campanile_core::memory::lock::Hints;
use campanile_core::port::lock::{self, Acquired, Signal};
use campanile_core::system::{dedicated, within};
use tokio::sync::{mpsc, oneshot};

use super::lease::{self, Names};
use super::link::Link;
use super::listen;
use super::probe::{self, Probe};
use super::servers::Servers;
use super::trouble::Trouble;

/// Requests that wait for the thread; more make their callers wait.
const INBOX_MAX: usize = 64;

type Reply<T> = oneshot::Sender<Result<T, Trouble>>;

/// What the thread is asked for.
enum Request {
    Acquire(Holder, Duration, Reply<Acquired>),
    Renew(Holder, Duration, Reply<bool>),
    Release(Holder, Reply<bool>),
    Probe(Reply<Probe>),
}

/// A hint to send, over a connection of its own: it never waits behind the lock, nor the lock behind it.
struct Hint(Signal, Reply<()>);

#[derive(Clone)]
struct Inbox {
    requests: mpsc::Sender<Request>,
    hints: mpsc::Sender<Hint>,
}

/// The callers' side of the thread.
pub(super) struct Keeper {
    servers: Arc<Servers>,
    names: Names,
    heard: Arc<Hints>,
    inbox: Mutex<Option<Inbox>>,
}

impl Keeper {
    pub(super) fn new(servers: Servers, names: Names) -> Self {
        Self {
            servers: Arc::new(servers),
            names,
            heard: Arc::default(),
            inbox: Mutex::default(),
        }
    }

    pub(super) async fn acquire(
        &self,
        holder: &Holder,
        ttl: Duration,
        limit: Duration,
    ) -> Result<Acquired, lock::Error> {
        let holder = holder.clone();
        self.ask(limit, |reply| Request::Acquire(holder, ttl, reply))
            .await
    }

    pub(super) async fn renew(
        &self,
        holder: &Holder,
        ttl: Duration,
        limit: Duration,
    ) -> Result<bool, lock::Error> {
        let holder = holder.clone();
        self.ask(limit, |reply| Request::Renew(holder, ttl, reply))
            .await
    }

    pub(super) async fn release(
        &self,
        holder: &Holder,
        limit: Duration,
    ) -> Result<bool, lock::Error> {
        let holder = holder.clone();
        self.ask(limit, |reply| Request::Release(holder, reply))
            .await
    }

    pub(super) async fn probe(&self, limit: Duration) -> Result<Probe, lock::Error> {
        self.ask(limit, Request::Probe).await
    }

    pub(super) async fn signal(&self, signal: Signal, limit: Duration) -> Result<(), lock::Error> {
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox()?;
        let sending = async {
            let sent = inbox.hints.send(Hint(signal, reply)).await;
            sent.map_err(|_| Trouble::Ended)?;
            answer.await.unwrap_or(Err(Trouble::Ended))
        };
        bounded(limit, sending).await
    }

    /// The next hint. The thread is started if it isn't there; where it can't be, there is none to give.
    pub(super) async fn next_signal(&self) -> Signal {
        if let Err(trouble) = self.inbox() {
            tracing::warn!(error = %trouble, "hints from other nodes can't be heard until the lock is used again: failed to {trouble}");
        }
        self.heard.next().await
    }

    async fn ask<T>(
        &self,
        limit: Duration,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, lock::Error> {
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox()?;
        let asking = async {
            let sent = inbox.requests.send(request(reply)).await;
            sent.map_err(|_| Trouble::Ended)?;
            answer.await.unwrap_or(Err(Trouble::Ended))
        };
        bounded(limit, asking).await
    }

    /// The way to the thread, which is started if it isn't there.
    fn inbox(&self) -> Result<Inbox, Trouble> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = &*inbox
            && !inbox.requests.is_closed()
        {
            return Ok(inbox.clone());
        }
        let (requests, asked) = mpsc::channel(INBOX_MAX);
        let (hints, to_send) = mpsc::channel(INBOX_MAX);
        let (servers, names) = (self.servers.clone(), self.names.clone());
        let heard = self.heard.clone();
        dedicated("campanile-lock", move || {
            live(servers, names, heard, asked, to_send)
        })
        .map_err(|error| Trouble::Thread(Arc::new(error)))?;
        Ok(inbox.insert(Inbox { requests, hints }).clone())
    }
}

async fn bounded<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, lock::Error> {
    within(limit, asking)
        .await
        .unwrap_or(Err(Trouble::TooLate { limit }))
        .map_err(lock::Error::from)
}

/// The thread's whole life: it ends when nobody can ask any more.
async fn live(
    servers: Arc<Servers>,
    names: Names,
    heard: Arc<Hints>,
    asked: mpsc::Receiver<Request>,
    to_send: mpsc::Receiver<Hint>,
) {
    tokio::select! {
        () = serve(&servers, &names, asked) => {}
        () = send_hints(&servers, &names, to_send) => {}
        () = listen::hear_signals(&servers, &names, &heard) => {}
        () = listen::watch_masters(&servers) => {}
    }
}

async fn serve(servers: &Servers, names: &Names, mut asked: mpsc::Receiver<Request>) {
    let mut link = Link::new(servers);
    while let Some(request) = link.while_idle(asked.recv()).await {
        // A request whose caller has given up is not begun: a lock taken for nobody would keep others waiting.
        match request {
            Request::Acquire(holder, ttl, reply) if !reply.is_closed() => {
                let wanted = || !reply.is_closed();
                let answer = link
                    .run(wanted, async |session| {
                        lease::acquire(session, names, &holder, ttl).await
                    })
                    .await;
                let _ = reply.send(answer);
            }
            Request::Renew(holder, ttl, reply) if !reply.is_closed() => {
                let wanted = || !reply.is_closed();
                let answer = link
                    .run(wanted, async |session| {
                        lease::renew(session, names, &holder, ttl).await
                    })
                    .await;
                let _ = reply.send(answer);
            }
            // Giving back is right even when nobody waits for it any more.
            Request::Release(holder, reply) => {
                let answer = link
                    .run(
                        || true,
                        async |session| lease::release(session, names, &holder).await,
                    )
                    .await;
                let _ = reply.send(answer);
            }
            Request::Probe(reply) if !reply.is_closed() => {
                let as_cluster = servers.is_cluster();
                let answer = link
                    .run(
                        || true,
                        async |session| probe::read(session, as_cluster).await,
                    )
                    .await;
                let around = probe::look_around(servers).await;
                let answer = answer.map(|probe| Probe { around, ..probe });
                let _ = reply.send(answer);
            }
            Request::Acquire(..) | Request::Renew(..) | Request::Probe(..) => {}
        }
    }
}

async fn send_hints(servers: &Servers, names: &Names, mut to_send: mpsc::Receiver<Hint>) {
    let mut link = Link::new(servers);
    let mut waiting = Vec::new();
    loop {
        // Those that arrived together are sent once.
        let arrived = to_send.recv_many(&mut waiting, INBOX_MAX);
        if link.while_idle(arrived).await == 0 {
            return;
        }
        for signal in [Signal::Released, Signal::Work] {
            let (now, later) = std::mem::take(&mut waiting)
                .into_iter()
                .partition::<Vec<_>, _>(|hint| hint.0 == signal);
            waiting = later;
            if now.is_empty() {
                continue;
            }
            let answer = link
                .run(
                    || true,
                    async |session| lease::publish(session, names, signal).await,
                )
                .await;
            for Hint(_, reply) in now {
                let _ = reply.send(answer.clone());
            }
        }
    }
}
