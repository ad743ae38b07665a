//! One connection to one broker: how it is greeted, what its refusals mean, and its end. It never reconnects; when it is
//! over, it is over for all who use it.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::Runtime;
use async_trait::async_trait;
use campanile_core::port::broker;
use campanile_core::system;
use lapin::protocol::AMQPError;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, ConnectionProperties, ErrorKind};
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use super::Queues;
use super::kit::Kit;
use super::wire::{FRAME_BYTES_MAX, Faults, Wire, server_of};
use crate::brokers::url::{Address, Target, UrlError};
use crate::brokers::walk::{Greet, Stream, Walk};
use crate::brokers::{Failure, one_line};

/// How long the farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// What RabbitMQ's own installation lets in, from its own machine.
const GUEST: &str = "guest";

/// Who knows the way to the brokers, and how to greet one.
pub(super) struct Dialer {
    walk: Walk,
    pub(super) queues: Queues,
    heart_beat: Duration,
    /// What brokers did wrong.
    pub(super) faults: Arc<Faults>,
    /// One at a time makes a queue, on whatever connection: one that is half made is there and takes nothing.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Dialer {
    pub(super) fn new(
        target: Target,
        queues: Queues,
        heart_beat: Duration,
    ) -> Result<Self, UrlError> {
        for (what, text) in [
            ("virtual host", target.path.as_deref()),
            (
                "user name",
                target.credentials.as_ref().map(|c| c.user.as_str()),
            ),
        ] {
            if text.is_some_and(|text| text.len() > 255) {
                let problem = format!("has a {what} of more than 255 bytes");
                return Err(UrlError::new(problem, "give a shorter one"));
            }
        }
        Ok(Self {
            walk: Walk::new(target)?,
            queues,
            heart_beat,
            faults: Arc::default(),
            making: Arc::default(),
        })
    }

    /// Tries until it is connected, refused by whoever answers, or `limit` has passed.
    pub(super) async fn dial_within(&self, limit: Duration) -> Result<Connection, broker::Error> {
        self.walk.within(limit, self).await
    }

    /// The error of a caller that waited for `limit`.
    pub(super) fn unreachable(&self, limit: Duration) -> broker::Error {
        self.walk.unreachable(limit)
    }

    fn uri(&self, address: &Address) -> AMQPUri {
        let target = &self.walk.target;
        let (username, password) = match &target.credentials {
            Some(c) => (c.user.clone(), c.password.clone()),
            None => (GUEST.to_owned(), GUEST.to_owned()),
        };
        AMQPUri {
            scheme: lapin::uri::AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: address.host.clone(),
                port: address.port,
            },
            vhost: target.path.clone().unwrap_or_else(|| "/".to_owned()),
            query: AMQPQueryString {
                frame_max: Some(FRAME_BYTES_MAX),
                heartbeat: Some(
                    u16::try_from(self.heart_beat.as_secs().max(1)).unwrap_or(u16::MAX),
                ),
                ..AMQPQueryString::default()
            },
        }
    }

    /// What a failed greeting means.
    fn refusal(&self, address: &str, error: &lapin::Error) -> Failure {
        match error.kind() {
            ErrorKind::ProtocolError(said) => {
                let remedy = match said.get_id() {
                    403 => "check user and password in the setting `broker`",
                    402 | 530 => {
                        "check the virtual host in the setting `broker` (what follows the hosts), and the user's rights there"
                    }
                    _ => "see the broker's log",
                };
                Failure::refused(address, format!("{}; {remedy}", words_of(said)))
            }
            ErrorKind::InvalidProtocolVersion(version) => Failure::refused(
                address,
                format!(
                    "it speaks AMQP {version}, and amqp:// means 0-9-1; point the setting `broker` at another port"
                ),
            ),
            ErrorKind::ParsingError(_) => {
                self.faults.broken.fetch_add(1, Ordering::Relaxed);
                let remedy = "point the setting `broker` at an AMQP 0-9-1 port";
                Failure::lost(address, format!("what came is no AMQP; {remedy}"))
            }
            ErrorKind::IOError(why) if why.kind() == std::io::ErrorKind::InvalidData => {
                let remedy = "point the setting `broker` at an AMQP 0-9-1 port";
                Failure::lost(address, format!("{why}; {remedy}"))
            }
            _ => failure(address, error),
        }
    }
}

#[async_trait]
impl Greet for Dialer {
    type Line = Connection;

    async fn greet(&self, address: &Address, stream: Stream) -> Result<Connection, Failure> {
        let name = address.to_string();
        let over = CancellationToken::new();
        // Whoever no longer waits for the greeting ends the connection, too.
        let unless_greeted = over.clone().drop_guard();
        let first = Arc::new(Mutex::new(Vec::new()));
        let faults = Arc::clone(&self.faults);
        let wire = Wire::new(stream.whole(), over.clone(), faults, Arc::clone(&first));
        let once = Mutex::new(Some(wire));
        let connected = lapin::Connection::connector(
            self.uri(address),
            Runtime::new(Kit::here()),
            async move |_, _| {
                let wire = once.lock().unwrap_or_else(PoisonError::into_inner).take();
                let gone = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                Ok(AsyncTcpStream::Plain(wire.ok_or_else(gone)?.compat()))
            },
            ConnectionProperties::default().with_connection_name("campanile".into()),
        );
        let inner = connected
            .await
            .map_err(|error| self.refusal(&name, &error))?;
        unless_greeted.disarm();
        let server = server_of(&first.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Connection {
            inner,
            over,
            address: name,
            server,
            queues: self.queues,
            known: Mutex::default(),
            making: Arc::clone(&self.making),
        })
    }
}

/// A connection that was greeted. Dropping it says goodbye.
pub(super) struct Connection {
    inner: lapin::Connection,
    over: CancellationToken,
    pub(super) address: String,
    pub(super) server: String,
    pub(super) queues: Queues,
    /// Queues that were there when last looked.
    pub(super) known: Mutex<HashSet<String>>,
    pub(super) making: Arc<tokio::sync::Mutex<()>>,
}

impl Connection {
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled() || !self.inner.status().connected()
    }

    /// Ends it for all who use it.
    pub(super) fn abandon(&self, why: &str) {
        tracing::info!(
            address = self.address,
            why,
            "broker {} is left: {why}",
            self.address
        );
        self.over.cancel();
    }

    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.inner
            .create_channel()
            .await
            .map_err(|error| self.failure(&error))
    }

    /// Why something on it failed.
    pub(super) fn failure(&self, error: &lapin::Error) -> Failure {
        failure(&self.address, error)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_over() || tokio::runtime::Handle::try_current().is_err() {
            self.over.cancel();
            return;
        }
        // lapin says goodbye; a broker that does not answer is left after a while.
        let over = self.over.clone();
        system::spawn(async move {
            system::pause(FAREWELL_LIMIT).await;
            over.cancel();
        });
    }
}

fn failure(address: &str, error: &lapin::Error) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            let words = match said.get_id() {
                403 => format!(
                    "{}; give the user of the setting `broker` this right",
                    words_of(said)
                ),
                _ => words_of(said),
            };
            Failure::refused(address, words)
        }
        ErrorKind::IOError(why) => Failure::lost(address, why.to_string()),
        ErrorKind::MissingHeartbeatError => Failure::lost(address, "two heart-beats were missed"),
        _ => Failure::lost(address, error.to_string()),
    }
}

fn words_of(said: &AMQPError) -> String {
    one_line(said.get_message().as_str())
}
