//! Getting a STOMP connection: the handshake over a stream that the walk along the fail-over list has opened. It never
//! chooses an address.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use campanile_core::port::broker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::codec::{self, Decoder, Frame};
use super::connection::{Accepted, Connection, Faults, words_of};
use crate::brokers::Failure;
use crate::brokers::url::{Address, Target, UrlError};
use crate::brokers::walk::{Greet, ReadHalf, Stream, Walk};

/// Queues that are remembered as made; a program that has more asks again.
const QUEUES_MAX: usize = 10_000;

/// Who knows the way to the brokers, and how to greet one.
pub(super) struct Dialer {
    walk: Walk,
    heart_beat: Duration,
    /// What brokers did wrong.
    pub(super) faults: Arc<Faults>,
    queues: Queues,
}

/// The queues that RabbitMQ has made for us. It makes one when a frame first names it, and fails if two do so at a time.
#[derive(Default)]
struct Queues {
    made: Mutex<HashSet<String>>,
    making: tokio::sync::Mutex<()>,
}

/// A connection and who is at its end.
pub(super) struct Dialed {
    pub(super) connection: Connection,
    pub(super) server: String,
    pub(super) address: String,
}

impl Dialer {
    pub(super) fn new(target: Target, heart_beat: Duration) -> Result<Self, UrlError> {
        Ok(Self {
            walk: Walk::new(target)?,
            heart_beat,
            faults: Arc::default(),
            queues: Queues::default(),
        })
    }

    /// Tries until it is connected, refused by whoever answers, or `limit` has passed.
    pub(super) async fn dial_within(&self, limit: Duration) -> Result<Dialed, broker::Error> {
        self.walk.within(limit, self).await
    }

    /// Lets one at a time make queues; nobody waits where all are there already.
    pub(super) async fn alone_with<'a>(
        &self,
        connection: &Connection,
        names: impl Iterator<Item = &'a str>,
    ) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if !connection.is_rabbitmq() || self.lacking(names).is_empty() {
            return None;
        }
        Some(self.queues.making.lock().await)
    }

    /// These queues are there.
    pub(super) fn are_made<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let new = self.lacking(names);
        let mut made = self
            .queues
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if made.len() + new.len() > QUEUES_MAX {
            made.clear();
        }
        made.extend(new);
    }

    fn lacking<'a>(&self, names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let made = self
            .queues
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lacking = names.filter(|name| !made.contains(*name));
        lacking.map(str::to_owned).collect()
    }

    /// The error of a caller that waited for `limit`.
    pub(super) fn unreachable(&self, limit: Duration) -> broker::Error {
        self.walk.unreachable(limit)
    }

    async fn first_frame(
        &self,
        read: &mut ReadHalf,
        buffer: &mut BytesMut,
        address: &str,
    ) -> Result<Frame, Failure> {
        let mut decoder = Decoder::default();
        loop {
            match decoder.decode(buffer) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(malformed) => {
                    self.faults.broken.fetch_add(1, Ordering::Relaxed);
                    let remedy = "point the setting `broker` at a STOMP port";
                    return Err(Failure::lost(address, format!("{malformed}; {remedy}")));
                }
            }
            match read.read_buf(buffer).await {
                Ok(0) => {
                    return Err(Failure::lost(
                        address,
                        "the broker closed it before it answered",
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(Failure::lost(address, error.to_string())),
            }
        }
    }

    fn connect_frame(&self, out: &mut BytesMut, host: &str) {
        let beat = self.heart_beat.as_millis();
        let beat = format!("{beat},{beat}");
        let host = self.walk.target.option("vhost").unwrap_or(host);
        let mut headers = vec![
            ("accept-version", "1.2"),
            ("host", host),
            ("heart-beat", &beat),
        ];
        if let Some(credentials) = &self.walk.target.credentials {
            headers.push(("login", &credentials.user));
            headers.push(("passcode", &credentials.password));
        }
        codec::encode(out, "CONNECT", &headers, b"");
    }
}

#[async_trait]
impl Greet for Dialer {
    type Line = Dialed;

    async fn greet(&self, address: &Address, stream: Stream) -> Result<Dialed, Failure> {
        let name = address.to_string();
        let (mut read, mut write) = stream.halves();
        let mut frame = BytesMut::new();
        self.connect_frame(&mut frame, &address.host);
        let sent = write.write_all(&frame).await;
        let flushed = write.flush().await;
        sent.and(flushed)
            .map_err(|error| Failure::lost(&name, error.to_string()))?;
        let mut buffer = BytesMut::new();
        let answer = self.first_frame(&mut read, &mut buffer, &name).await?;
        let server = answer.header("server").unwrap_or("unknown").to_owned();
        if answer.command != "CONNECTED" || answer.header("version") != Some("1.2") {
            return Err(refusal(&name, &answer));
        }
        let Some((theirs, ours)) = beats(&answer) else {
            self.faults.broken.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::lost(
                &name,
                "its `heart-beat` is not two numbers of milliseconds; point the setting `broker` at another",
            ));
        };
        let agreed = |a: Duration, b: Duration| (!a.is_zero() && !b.is_zero()).then(|| a.max(b));
        let connection = Connection::start(Accepted {
            address: name.clone(),
            faults: Arc::clone(&self.faults),
            read,
            write,
            buffer,
            server: server.clone(),
            send_every: agreed(self.heart_beat, ours),
            hear_every: agreed(self.heart_beat, theirs),
        });
        Ok(Dialed {
            connection,
            server,
            address: name,
        })
    }
}

/// How often the broker sends, and how often it wants to hear from us; `None` if it says so in no way that can be read.
/// Without the header neither is promised.
fn beats(answer: &Frame) -> Option<(Duration, Duration)> {
    let parse = |text: &str| {
        let ms: Option<u32> = text.trim().parse().ok();
        ms.map(|ms| Duration::from_millis(u64::from(ms)))
    };
    let Some(said) = answer.header("heart-beat") else {
        return Some((Duration::ZERO, Duration::ZERO));
    };
    let (theirs, ours) = said.split_once(',')?;
    Some((parse(theirs)?, parse(ours)?))
}

fn refusal(address: &str, answer: &Frame) -> Failure {
    let words = match answer.command.as_str() {
        "ERROR" => {
            let words = words_of(answer);
            if words.contains("irtual host") {
                let remedy = "add ?vhost=/ (or its other name) to the setting `broker`";
                return Failure::refused(address, format!("{words}; {remedy}"));
            }
            format!("{words}; check user and password in the setting `broker`")
        }
        "CONNECTED" => {
            "it speaks no STOMP 1.2; point the setting `broker` at a newer broker".to_owned()
        }
        other => {
            format!("{other} instead of CONNECTED; point the setting `broker` at a STOMP port")
        }
    };
    Failure::refused(address, words)
}
