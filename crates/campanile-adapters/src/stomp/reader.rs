//! What comes over one connection, cut into frames and handed on; and how it ends when it can't be read any further: with
//! the message that broke it acknowledged, so that it does not break the next connection, too. It never answers anything
//! else.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use campanile_core::port::clock::Clock as _;
use campanile_core::system::{self, SystemClock};
use campanile_core::time::Monotonic;
use tokio::io::AsyncReadExt as _;

use super::codec::{Culprit, Decoder};
use super::connection::{FAREWELL_LIMIT, Shared};
use crate::brokers::walk::ReadHalf;

const READ_BYTES: usize = 64 * 1024;
/// How long a frame that has begun may stand still.
const MIDWAY_LIMIT: Duration = Duration::from_secs(30);
/// Fewer bytes of it in that time are none: heart-beats look like part of a body that never comes.
const MIDWAY_BYTES_MIN: usize = 4 * 1024;

/// Why there is nothing more to read.
enum End {
    Lost(String),
    /// And the message to be rid of.
    Broken(String, Option<Culprit>),
}

/// How far a frame that is not whole has come.
struct Midway {
    since: Monotonic,
    bytes: usize,
}

/// Reads a connection to its end.
pub(super) struct Reader {
    shared: Arc<Shared>,
    io: ReadHalf,
    buffer: BytesMut,
    silence_max: Option<Duration>,
    clock: SystemClock,
    decoder: Decoder,
    /// The message that was read last, if nothing else came behind it.
    last: Option<Culprit>,
    midway: Option<Midway>,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        io: ReadHalf,
        buffer: BytesMut,
        silence_max: Option<Duration>,
    ) -> Self {
        Self {
            shared,
            io,
            buffer,
            silence_max,
            clock: SystemClock::new(),
            decoder: Decoder::default(),
            last: None,
            midway: None,
        }
    }

    /// Reads until the connection is over.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let end = tokio::select! {
            () = shared.over.cancelled() => return,
            end = self.read_all() => end,
        };
        match end {
            End::Lost(why) => shared.lost(&why),
            End::Broken(why, None) => shared.broken(&why),
            End::Broken(why, culprit) => {
                shared.broken_by(&why, culprit.as_ref());
                // Closed with bytes unread, the connection would be reset, and our last words lost on their way.
                system::within(FAREWELL_LIMIT, self.hear_out()).await;
            }
        }
    }

    async fn read_all(&mut self) -> End {
        loop {
            if let Err(end) = self.take_frames() {
                return end;
            }
            self.buffer.reserve(READ_BYTES);
            let limit = self.silence_max.into_iter().chain(self.midway_left()).min();
            let read = self.io.read_buf(&mut self.buffer);
            let read = match limit {
                Some(limit) => system::within(limit, read).await,
                None => Some(read.await),
            };
            match read {
                // No bytes at all: it is the time since the last that counts.
                None if limit == self.silence_max => {
                    return End::Lost("two heart-beats were missed".to_owned());
                }
                None => {}
                Some(Ok(0)) => return End::Lost("the broker closed it".to_owned()),
                Some(Ok(count)) => {
                    if let Some(midway) = &mut self.midway {
                        midway.bytes += count;
                    }
                }
                Some(Err(error)) => return End::Lost(error.to_string()),
            }
            if self.stands_still() {
                let why = "it began a frame and fell silent".to_owned();
                return End::Broken(why, self.culprit());
            }
        }
    }

    /// Hands on what is whole.
    fn take_frames(&mut self) -> Result<(), End> {
        loop {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(frame)) => {
                    self.shared.take(&frame);
                    self.last = Culprit::of(&frame);
                    self.midway = None;
                }
                Ok(None) if self.decoder.is_midway() => {
                    self.midway.get_or_insert_with(|| Midway {
                        since: self.clock.monotonic(),
                        bytes: 0,
                    });
                    return Ok(());
                }
                Ok(None) => return Ok(()),
                Err(malformed) => {
                    return Err(End::Broken(malformed.to_string(), self.culprit()));
                }
            }
        }
    }

    /// How long the frame that has begun may still take for its next bytes.
    fn midway_left(&self) -> Option<Duration> {
        let midway = self.midway.as_ref()?;
        Some(MIDWAY_LIMIT.saturating_sub(self.clock.monotonic().since(midway.since)))
    }

    /// Whether a frame that has begun has not gone on for its limit; one that has is given as long again.
    fn stands_still(&mut self) -> bool {
        let left = self.midway_left();
        let Some(midway) = self
            .midway
            .as_mut()
            .filter(|_| left == Some(Duration::ZERO))
        else {
            return false;
        };
        if midway.bytes < MIDWAY_BYTES_MIN {
            return true;
        }
        *midway = Midway {
            since: self.clock.monotonic(),
            bytes: 0,
        };
        false
    }

    /// Reads and drops what comes until the broker closes.
    async fn hear_out(&mut self) {
        self.buffer.clear();
        while self
            .io
            .read_buf(&mut self.buffer)
            .await
            .is_ok_and(|n| n > 0)
        {
            self.buffer.clear();
        }
    }

    /// The message that a broken stream is about: the one that could not be read, or the one in front of what is no frame,
    /// if the stream broke behind it before.
    fn culprit(&mut self) -> Option<Culprit> {
        let suspect = |last: &Culprit| {
            !last.message.is_empty() && self.shared.faults.is_suspect(&last.message)
        };
        self.decoder
            .culprit()
            .or_else(|| self.last.take().filter(suspect))
    }
}
