//! One connection to one broker: a task that writes beside the one that reads (`reader`), the receipts that somebody waits for, the
//! subscriptions that messages go to, and heart-beats both ways. It never reconnects and never decides what is sent;
//! when it is over, it is over for all who use it, with one cause.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use campanile_core::limits;
use campanile_core::system;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::codec::{self, Culprit, Flaw, Frame};
use super::reader::Reader;
use super::text::{self, Encoding};
use crate::brokers::walk::{ReadHalf, WriteHalf};
use crate::brokers::{Failure, one_line};

/// Pieces that wait for the writer; a caller waits for room.
const WRITES_MAX: usize = 64;
/// Up to here pieces are joined into one write.
const JOINED_BYTES_MAX: usize = 256 * 1024;
/// How long the last bytes and the farewell may take.
pub(super) const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// What RabbitMQ is told on every frame that may make a queue: of the kind that outlives a node.
pub(super) const RABBITMQ_QUEUE: (&str, &str) = ("x-queue-type", "quorum");
/// How many of the messages that came last before a connection broke are remembered.
const SUSPECTS_MAX: usize = 100;

/// What an ERROR frame says, fit for one line. A body of one line says more than the header does; a longer one is the
/// trace of a program.
pub(super) fn words_of(error: &Frame) -> String {
    let said = error.header("message").unwrap_or_default();
    let body = String::from_utf8_lossy(&error.body);
    let body = body.trim();
    if said.is_empty() {
        one_line(body)
    } else if body.is_empty() || body.contains('\n') || body.contains(said) {
        one_line(said)
    } else {
        one_line(&format!("{said}: {body}"))
    }
}

/// A message as it came off the wire.
#[derive(Debug)]
pub(super) struct Arrived {
    /// What its ACK has to name.
    pub(super) ack: String,
    pub(super) body: String,
    pub(super) signature: String,
    pub(super) redelivered: bool,
}

/// The answer that somebody waits for.
pub(super) type Receipt = oneshot::Receiver<Result<(), Failure>>;

#[derive(Debug, Default)]
struct Table {
    failure: Option<Failure>,
    /// What is still written before the connection closes.
    last_words: Option<Bytes>,
    receipts: HashMap<u64, oneshot::Sender<Result<(), Failure>>>,
    subscriptions: HashMap<u64, mpsc::Sender<Arrived>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    address: String,
    pub(super) faults: Arc<Faults>,
    pub(super) over: CancellationToken,
    table: Mutex<Table>,
    ids: AtomicU64,
}

/// A connection that has been accepted, ready to be used by many. Dropping it says goodbye.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    out: mpsc::Sender<Bytes>,
    encoding: Encoding,
    is_rabbitmq: bool,
}

/// What brokers did wrong, over all connections.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Connections dropped because what came over them was no STOMP.
    pub(super) broken: AtomicU64,
    /// Messages that were cut because they break a limit.
    pub(super) cut: AtomicU64,
    /// Messages that came last before a connection broke, and may be why.
    suspects: Mutex<VecDeque<String>>,
}

impl Faults {
    /// Whether a connection broke behind this message before; it is remembered.
    pub(super) fn is_suspect(&self, message: &str) -> bool {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.iter().any(|m| m == message) {
            return true;
        }
        if suspects.len() >= SUSPECTS_MAX {
            suspects.pop_front();
        }
        suspects.push_back(message.to_owned());
        false
    }
}

/// What the handshake leaves to the connection.
pub(super) struct Accepted {
    pub(super) address: String,
    pub(super) faults: Arc<Faults>,
    pub(super) read: ReadHalf,
    pub(super) write: WriteHalf,
    /// Read already, and not looked at.
    pub(super) buffer: BytesMut,
    /// What the broker calls itself.
    pub(super) server: String,
    /// The longest silence that we may keep; `None` = for ever.
    pub(super) send_every: Option<Duration>,
    /// The longest silence that the broker said it would keep.
    pub(super) hear_every: Option<Duration>,
}

impl Connection {
    pub(super) fn start(accepted: Accepted) -> Self {
        let shared = Arc::new(Shared {
            address: accepted.address,
            faults: accepted.faults,
            over: CancellationToken::new(),
            table: Mutex::default(),
            ids: AtomicU64::new(1),
        });
        let (out, pieces) = mpsc::channel(WRITES_MAX);
        let writer = Writer {
            shared: Arc::clone(&shared),
            pieces,
            io: accepted.write,
            // Half of what was agreed: a late timer or a slow link must not look like death.
            beat: accepted.send_every.map(|every| every / 2),
        };
        let reader = Reader::new(
            Arc::clone(&shared),
            accepted.read,
            accepted.buffer,
            accepted.hear_every.map(|every| every * 2),
        );
        system::spawn(writer.run());
        system::spawn(reader.run());
        Self {
            shared,
            out,
            encoding: Encoding::of(&accepted.server),
            is_rabbitmq: accepted.server.starts_with("RabbitMQ"),
        }
    }

    /// Why it is over, if it is.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.shared.table().failure.clone()
    }

    /// How its broker wants the text of a body.
    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether its broker makes the queue that a frame names, and wants to be told of what kind: each frame says it.
    pub(super) const fn is_rabbitmq(&self) -> bool {
        self.is_rabbitmq
    }

    /// Ends it for all who use it.
    pub(super) fn abandon(&self, why: &str) {
        self.shared.lost(why);
    }

    /// A number that was not used on this connection.
    pub(super) fn next_id(&self) -> u64 {
        self.shared.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers a receipt, to be asked for in a frame that is written afterwards.
    pub(super) fn receipt(&self) -> Result<(u64, Receipt), Failure> {
        let id = self.next_id();
        let (answer, receipt) = oneshot::channel();
        let mut table = self.shared.table();
        if let Some(failure) = &table.failure {
            return Err(failure.clone());
        }
        table.receipts.insert(id, answer);
        Ok((id, receipt))
    }

    /// Waits for an answer; never for longer than the connection lives.
    pub(super) async fn answer(&self, receipt: Receipt) -> Result<(), Failure> {
        match receipt.await {
            Ok(answer) => answer,
            Err(_) => Err(self.gone()),
        }
    }

    /// Waits for room and hands bytes to the writer. They are made only then: dropped while it waits, it has done
    /// nothing.
    pub(super) async fn write(&self, make: impl FnOnce() -> BytesMut) -> Result<(), Failure> {
        let room = self.out.reserve().await.map_err(|_| self.gone())?;
        let bytes = make();
        if !bytes.is_empty() {
            room.send(bytes.freeze());
        }
        Ok(())
    }

    /// Registers a subscription, to be asked for in a frame that is written afterwards. `room` messages fit: the
    /// broker has promised not to send more than that unacknowledged.
    pub(super) fn subscription(
        &self,
        room: usize,
    ) -> Result<(u64, mpsc::Receiver<Arrived>), Failure> {
        let id = self.next_id();
        let (to, arrivals) = mpsc::channel(room);
        let mut table = self.shared.table();
        if let Some(failure) = &table.failure {
            return Err(failure.clone());
        }
        table.subscriptions.insert(id, to);
        Ok((id, arrivals))
    }

    /// Ends a subscription. What it left unacknowledged goes to others: by UNSUBSCRIBE, or with the connection.
    pub(super) fn unsubscribe(&self, id: u64) {
        if self.shared.table().subscriptions.remove(&id).is_none() {
            return;
        }
        let mut frame = BytesMut::new();
        let id = id.to_string();
        codec::encode(&mut frame, "UNSUBSCRIBE", &[("id", &id)], b"");
        if self.out.try_send(frame.freeze()).is_err() {
            self.shared
                .lost("no room to say that a subscription has ended");
        }
    }

    fn gone(&self) -> Failure {
        let failure = self.failure();
        failure.unwrap_or_else(|| self.shared.loss("it was closed"))
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loss(&self, why: &str) -> Failure {
        Failure::Lost {
            address: self.address.clone(),
            why: why.to_owned(),
        }
    }

    pub(super) fn lost(&self, why: &str) {
        self.fail(&self.loss(why));
    }

    /// The peer broke the protocol: nothing behind that can be understood, so the connection goes and another is dialled.
    pub(super) fn broken(&self, why: &str) {
        self.broken_by(why, None);
    }

    /// The same, and the broker shall not deliver this message again.
    pub(super) fn broken_by(&self, why: &str, culprit: Option<&Culprit>) {
        {
            let mut table = self.table();
            if table.failure.is_some() {
                return;
            }
            table.last_words = culprit.map(|c| {
                let mut frame = BytesMut::new();
                codec::encode(&mut frame, "ACK", &[("id", &c.ack)], b"");
                frame.freeze()
            });
        }
        if let Some(Culprit { message, .. }) = culprit {
            tracing::warn!(
                address = self.address,
                message,
                "message `{}` is taken off its queue: it breaks the connection wherever it is delivered",
                message.escape_debug()
            );
        }
        self.faults.broken.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            address = self.address,
            why,
            "broker {} breaks the protocol: {why}; the connection is dropped and another is dialled",
            self.address
        );
        self.lost(why);
    }

    /// The first cause stays.
    fn fail(&self, failure: &Failure) {
        let receipts = {
            let mut table = self.table();
            if table.failure.is_some() {
                return;
            }
            table.failure = Some(failure.clone());
            table.subscriptions.clear();
            std::mem::take(&mut table.receipts)
        };
        self.over.cancel();
        for answer in receipts.into_values() {
            // A caller that no longer waits needs no answer.
            let _ = answer.send(Err(failure.clone()));
        }
    }

    pub(super) fn take(&self, frame: &Frame) {
        match frame.command.as_str() {
            "MESSAGE" => self.message(frame),
            "RECEIPT" if frame.number("receipt-id").is_none() => {
                self.broken("it sent a RECEIPT that names no request");
            }
            "RECEIPT" => self.answer(frame, Ok(())),
            "ERROR" => {
                let failure = Failure::Refused {
                    address: self.address.clone(),
                    words: words_of(frame),
                };
                // An answer to one request costs that request alone (a broker that closes after it is noticed
                // anyway); of any other error nobody knows what it undid.
                if !self.is_awaited(frame) {
                    self.fail(&failure);
                } else {
                    self.answer(frame, Err(failure));
                }
            }
            other => self.broken(&format!("it sent a {other} frame")),
        }
    }

    fn is_awaited(&self, frame: &Frame) -> bool {
        let id = frame.number("receipt-id");
        id.is_some_and(|id| self.table().receipts.contains_key(&id))
    }

    fn answer(&self, frame: &Frame, answer: Result<(), Failure>) {
        let id = frame.number("receipt-id");
        let waiting = id.and_then(|id| self.table().receipts.remove(&id));
        if let Some(waiting) = waiting {
            // A caller that no longer waits needs no answer.
            let _ = waiting.send(answer);
        }
    }

    fn message(&self, frame: &Frame) {
        let (Some(id), Some(ack)) = (frame.number("subscription"), frame.header("ack")) else {
            self.broken("it sent a MESSAGE that names no subscription or can't be acknowledged");
            return;
        };
        if id >= self.ids.load(Ordering::Relaxed) {
            self.broken("it sent a MESSAGE of a subscription that never was");
            return;
        }
        let to = self.table().subscriptions.get(&id).cloned();
        let Some(to) = to else {
            // The subscription has just ended; the broker gives the message to another.
            return;
        };
        let mut body = text::read(&frame.body);
        let large = (body.len() > limits::MESSAGE_BYTES_MAX).then_some(Flaw::LargeBody);
        let flaw = frame.flaw.or(large);
        let mut signature = frame.header("campanile_sig").unwrap_or_default().to_owned();
        if let Some(flaw) = flaw {
            // It goes on without body and signature, so that its reader refuses, counts and acknowledges it like a
            // forged one.
            self.faults.cut.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(address = self.address, %flaw, "a message from {} is cut: {flaw}", self.address);
            body = String::new();
            signature = String::new();
        }
        let arrived = Arrived {
            ack: ack.to_owned(),
            body,
            signature,
            redelivered: frame.header("redelivered") == Some("true"),
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = to.try_send(arrived) {
            self.broken("it sent more messages than the prefetch allows");
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    pieces: mpsc::Receiver<Bytes>,
    io: WriteHalf,
    beat: Option<Duration>,
}

impl Writer {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            () = shared.over.cancelled() => {
                let words = shared.table().last_words.take();
                if let Some(words) = words {
                    system::within(FAREWELL_LIMIT, self.farewell(&words)).await;
                }
            }
            done = self.write_all() => match done {
                Ok(()) => {
                    let words = shared.table().last_words.take().unwrap_or_default();
                    system::within(FAREWELL_LIMIT, self.farewell(&words)).await;
                    shared.lost("it was closed");
                }
                Err(error) => shared.lost(&error.to_string()),
            },
        }
    }

    /// Writes what comes, joined, and a heart-beat where nothing comes; ends when nobody can send any more.
    async fn write_all(&mut self) -> std::io::Result<()> {
        let mut pieces: Vec<Bytes> = Vec::with_capacity(WRITES_MAX);
        let mut joined = BytesMut::new();
        loop {
            let received = self.pieces.recv_many(&mut pieces, WRITES_MAX);
            let received = match self.beat {
                Some(beat) => system::within(beat, received).await,
                None => Some(received.await),
            };
            match received {
                Some(0) => return Ok(()),
                None => self.io.write_all(b"\n").await?,
                Some(_) => {
                    for piece in pieces.drain(..) {
                        if joined.len() + piece.len() > JOINED_BYTES_MAX {
                            self.io.write_all(&joined).await?;
                            joined.clear();
                        }
                        if piece.len() > JOINED_BYTES_MAX {
                            self.io.write_all(&piece).await?;
                        } else {
                            joined.extend_from_slice(&piece);
                        }
                    }
                    self.io.write_all(&joined).await?;
                    joined.clear();
                }
            }
            self.io.flush().await?;
        }
    }

    async fn farewell(&mut self, words: &[u8]) {
        let mut frame = BytesMut::from(words);
        codec::encode(&mut frame, "DISCONNECT", &[], b"");
        // The socket closes in any case.
        let _ = self.io.write_all(&frame).await;
        let _ = self.io.shutdown().await;
    }
}
