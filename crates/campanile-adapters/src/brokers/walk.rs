//! The walk along the fail-over list. It begins with the address that answered last, tries the others in their order and
//! waits, ever longer, only when the whole list was in vain. A standby broker refuses connections, so the next address
//! is tried at once. It never decides what is said to a broker: a [`Greet`] does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::port::broker;
use campanile_core::system::{self, Random};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;
use super::tls;
use super::url::{Address, Target, UrlError};

/// For the TCP connection to one address.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// For TLS and the broker's greeting.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
const BACKOFF_INITIAL: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(crate) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Both ways in one.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection's bytes.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// For one who reads and one who writes.
    pub(crate) fn halves(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(tcp) => {
                let (read, write) = tcp.into_split();
                (Box::new(read), Box::new(write))
            }
            Self::Tls(tls) => {
                let (read, write) = tokio::io::split(tls);
                (Box::new(read), Box::new(write))
            }
        }
    }

    /// For one who does both.
    pub(crate) fn whole(self) -> Box<dyn Duplex> {
        match self {
            Self::Plain(tcp) => Box::new(tcp),
            Self::Tls(tls) => tls,
        }
    }
}

/// What is said to a broker that took the connection.
#[async_trait]
pub(crate) trait Greet: Sync {
    /// A connection that may be used.
    type Line: Send;

    async fn greet(&self, address: &Address, stream: Stream) -> Result<Self::Line, Failure>;
}

/// Who knows the way to the brokers of one URL.
pub(crate) struct Walk {
    pub(crate) target: Target,
    tls: Option<TlsConnector>,
    random: Random,
    /// The address that answered last, or the one behind that which is being tried.
    first: AtomicUsize,
    /// Why the last attempt was in vain.
    cause: Mutex<Option<Failure>>,
}

impl Walk {
    pub(crate) fn new(target: Target) -> Result<Self, UrlError> {
        Ok(Self {
            tls: tls::connector(&target)?,
            target,
            random: Random::from_system(),
            first: AtomicUsize::new(0),
            cause: Mutex::new(None),
        })
    }

    /// Tries until it is connected, refused by whoever answers, or `limit` has passed.
    pub(crate) async fn within<G: Greet>(
        &self,
        limit: Duration,
        greet: &G,
    ) -> Result<G::Line, broker::Error> {
        match system::within(limit, self.dial(greet)).await {
            Some(dialed) => Ok(dialed?),
            None => Err(self.unreachable(limit)),
        }
    }

    /// The error of a caller that waited for `limit`.
    pub(crate) fn unreachable(&self, limit: Duration) -> broker::Error {
        let cause = self
            .cause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match cause {
            Some(failure) => broker::Error::Unreachable(failure.into()),
            None => broker::Error::Unreachable(
                format!(
                    "setting `broker`: no address answered within {} ms",
                    limit.as_millis()
                )
                .into(),
            ),
        }
    }

    async fn dial<G: Greet>(&self, greet: &G) -> Result<G::Line, Failure> {
        let mut wait = BACKOFF_INITIAL;
        loop {
            match self.pass(greet).await {
                Ok(dialed) => return Ok(dialed),
                Err(refused @ Failure::Refused { .. }) => return Err(refused),
                Err(lost) => {
                    *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost);
                }
            }
            // Between half and all of it, so that nodes that lost the same broker don't come back in step.
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let jitter = Duration::from_millis(self.random.below(wait_ms / 2 + 1));
            system::pause(wait / 2 + jitter).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// Each address once. A refusal counts more than an address that did not answer.
    async fn pass<G: Greet>(&self, greet: &G) -> Result<G::Line, Failure> {
        let count = self.target.addresses.len();
        let first = self.first.load(Ordering::Relaxed) % count;
        let others = (0..count).filter(|i| *i != first);
        let mut failure = None;
        for index in std::iter::once(first).chain(others) {
            let address = &self.target.addresses[index];
            // A caller that goes away while this one keeps silent leaves the next one to the next caller.
            self.first.store((index + 1) % count, Ordering::Relaxed);
            match self.attempt(address, greet).await {
                Ok(dialed) => {
                    self.first.store(index, Ordering::Relaxed);
                    *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Ok(dialed);
                }
                Err(error) => {
                    tracing::debug!(address = %address, error = %error, "broker {address} gave no connection");
                    if !matches!(failure, Some(Failure::Refused { .. })) {
                        failure = Some(error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure::lost("", "the list of addresses is empty")))
    }

    async fn attempt<G: Greet>(&self, address: &Address, greet: &G) -> Result<G::Line, Failure> {
        let name = address.to_string();
        let tcp = TcpStream::connect((address.host.as_str(), address.port));
        let tcp = match system::within(CONNECT_LIMIT, tcp).await {
            None => return Err(Failure::lost(&name, "no connection within a second")),
            Some(Err(error)) => return Err(Failure::lost(&name, error.to_string())),
            Some(Ok(tcp)) => tcp,
        };
        // Without it small frames wait for the peer's acknowledgement; where it can't be set, all still works.
        let _ = tcp.set_nodelay(true);
        let greeted = system::within(HANDSHAKE_LIMIT, async {
            let stream = self.secure(address, &name, tcp).await?;
            greet.greet(address, stream).await
        });
        greeted.await.unwrap_or_else(|| {
            let why = match &self.tls {
                None => "it accepted and did not answer",
                Some(_) => {
                    "it accepted and did not answer; does this port of the setting `broker` speak TLS?"
                }
            };
            Err(Failure::lost(&name, why))
        })
    }

    async fn secure(
        &self,
        address: &Address,
        name: &str,
        tcp: TcpStream,
    ) -> Result<Stream, Failure> {
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        let host = ServerName::try_from(address.host.clone()).map_err(|_| {
            Failure::lost(name, "its host is no name that a certificate could have")
        })?;
        let stream = tls
            .connect(host, tcp)
            .await
            .map_err(|error| Failure::lost(name, tls::problem(&error)))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}
