//! The stream under lapin. It ends when its connection is given up, which lapin alone would not do for a broker that
//! stands still; and it keeps what strangers wrote within our limits: of a message with too large a body only its head
//! comes through, so that its reader refuses and acknowledges it, and nobody's memory is taken. It understands frames,
//! and no more of AMQP than it needs for that.

use std::collections::HashMap;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use campanile_core::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::brokers::walk::Duplex;

/// The largest frame that we agree to.
pub(super) const FRAME_BYTES_MAX: u32 = 128 * 1024;
/// Read from the network at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Type, channel and size.
const HEAD_BYTES: usize = 7;
/// Of a content header: the head, class and weight, and the size of the body.
const CONTENT_BYTES: usize = HEAD_BYTES + 4 + 8;
const METHOD: u8 = 1;
const CONTENT: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Of the first frame, in which the broker says what it is.
const FIRST_BYTES_MAX: usize = 4 * 1024;

/// What strangers did over all connections.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Connections dropped because what came over them was no AMQP.
    pub(super) broken: AtomicU64,
    /// Messages that were cut because they break a limit.
    pub(super) cut: AtomicU64,
}

/// Passes frames on, and cuts what is over our limits.
#[derive(Debug)]
struct Filter {
    faults: Arc<Faults>,
    /// What of the current frame was seen and not yet passed on.
    head: Vec<u8>,
    /// What of the current frame is left, and whether it is passed on.
    rest: u64,
    passes: bool,
    /// Of bodies that are cut: what is still to come, by channel.
    cut: HashMap<u16, u64>,
}

impl Filter {
    fn new(faults: Arc<Faults>) -> Self {
        Self {
            faults,
            head: Vec::with_capacity(CONTENT_BYTES),
            rest: 0,
            passes: true,
            cut: HashMap::new(),
        }
    }

    fn pass(&mut self, mut bytes: &[u8], out: &mut BytesMut) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
                let (now, later) = bytes.split_at(rest.min(bytes.len()));
                if self.passes {
                    out.extend_from_slice(now);
                }
                self.rest -= now.len() as u64;
                bytes = later;
                continue;
            }
            let wanted = match self.head.first() {
                Some(&CONTENT) => CONTENT_BYTES,
                _ => HEAD_BYTES,
            };
            let missing = wanted.saturating_sub(self.head.len());
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.head.extend_from_slice(now);
            bytes = later;
            let kind = self.head.first().copied();
            let whole = if kind == Some(CONTENT) {
                CONTENT_BYTES
            } else {
                HEAD_BYTES
            };
            if self.head.len() == whole {
                self.begin(out)?;
            }
        }
        Ok(())
    }

    /// The head of a frame is complete.
    fn begin(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let (kind, mut fields) = (self.head[0], &self.head[1..]);
        if !matches!(kind, METHOD | CONTENT | BODY | HEARTBEAT) {
            return Err(broken("what came is no AMQP 0-9-1 frame"));
        }
        let (channel, size) = (fields.get_u16(), fields.get_u32());
        if size > FRAME_BYTES_MAX {
            return Err(broken("a frame came that is larger than was agreed"));
        }
        // And the octet that ends every frame.
        self.rest = u64::from(size) + 1;
        self.passes = true;
        if kind == METHOD || kind == CONTENT {
            // Whatever was left of a body on this channel never comes.
            self.cut.remove(&channel);
        }
        if kind == CONTENT {
            if (size as usize) < CONTENT_BYTES - HEAD_BYTES {
                return Err(broken("a content header came that is too short"));
            }
            self.rest -= (CONTENT_BYTES - HEAD_BYTES) as u64;
            fields.advance(4);
            let body = fields.get_u64();
            if body > limits::MESSAGE_BYTES_MAX as u64 {
                self.faults.cut.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    body,
                    "a message is cut: its body has {body} bytes, {} are allowed",
                    limits::MESSAGE_BYTES_MAX
                );
                self.cut.insert(channel, body);
                self.head[CONTENT_BYTES - 8..].fill(0);
            }
        } else if kind == BODY
            && let Some(left) = self.cut.get_mut(&channel)
        {
            *left = left.saturating_sub(u64::from(size));
            self.passes = false;
            if *left == 0 {
                self.cut.remove(&channel);
            }
        }
        if self.passes {
            out.extend_from_slice(&self.head);
        }
        self.head.clear();
        Ok(())
    }
}

/// The stream.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    filter: Filter,
    chunk: Vec<u8>,
    ready: BytesMut,
    first: Arc<std::sync::Mutex<Vec<u8>>>,
    first_left: usize,
}

impl Wire {
    /// Over `stream`, until `over`; what comes first is kept in `first`, too.
    pub(super) fn new(
        stream: Box<dyn Duplex>,
        over: CancellationToken,
        faults: Arc<Faults>,
        first: Arc<std::sync::Mutex<Vec<u8>>>,
    ) -> Self {
        Self {
            stream,
            over: Box::pin(over.cancelled_owned()),
            filter: Filter::new(faults),
            chunk: vec![0; CHUNK_BYTES],
            ready: BytesMut::new(),
            first,
            first_left: FIRST_BYTES_MAX,
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.over.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "it was given up",
            )),
            Poll::Pending => Ok(()),
        }
    }

    fn keep_first(&mut self, count: usize) {
        let kept = self.first_left.min(count);
        if kept > 0 {
            let mut first = self
                .first
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            first.extend_from_slice(&self.chunk[..kept]);
            self.first_left -= kept;
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        while this.ready.is_empty() {
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            let count = chunk.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.keep_first(count);
            let passed = this.filter.pass(&this.chunk[..count], &mut this.ready);
            if let Err(error) = passed {
                this.filter.faults.broken.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Err(error));
            }
        }
        let count = this.ready.len().min(buf.remaining());
        buf.put_slice(&this.ready.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What the broker calls itself, out of its first frame.
pub(super) fn server_of(first: &[u8]) -> String {
    let field = |name: &str| -> Option<String> {
        let mut key = vec![u8::try_from(name.len()).ok()?];
        key.extend_from_slice(name.as_bytes());
        key.push(b'S');
        let at = first.windows(key.len()).position(|w| w == key)?;
        let mut rest = first.get(at + key.len()..)?;
        let length = (rest.len() >= 4).then(|| rest.get_u32() as usize)?;
        let text = rest.get(..length.min(100))?;
        Some(crate::brokers::one_line(&String::from_utf8_lossy(text)))
    };
    match (field("product"), field("version")) {
        (Some(product), Some(version)) => format!("{product} {version}"),
        (Some(product), None) => product,
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(channel.to_be_bytes());
        out.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        out.extend(payload);
        out.push(0xCE);
        out
    }

    fn content(channel: u16, body: u64) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend(body.to_be_bytes());
        payload.extend([0, 0]);
        frame(CONTENT, channel, &payload)
    }

    fn passed(bytes: &[u8], piece: usize) -> (Vec<u8>, u64) {
        let faults = Arc::new(Faults::default());
        let mut filter = Filter::new(Arc::clone(&faults));
        let mut out = BytesMut::new();
        for piece in bytes.chunks(piece) {
            filter.pass(piece, &mut out).unwrap();
        }
        (out.to_vec(), faults.cut.load(Ordering::Relaxed))
    }

    #[test]
    fn frames_pass_as_they_are_however_they_are_split() {
        let all = [
            frame(METHOD, 1, b"deliver"),
            content(1, 5),
            frame(BODY, 1, b"hello"),
            frame(HEARTBEAT, 0, b""),
        ]
        .concat();
        for piece in [1, 2, 7, 8, 18, 19, 1_000] {
            assert_eq!(passed(&all, piece), (all.clone(), 0), "pieces of {piece}");
        }
    }

    #[test]
    fn a_body_over_the_limit_never_comes_through_and_its_neighbours_do() {
        let large = vec![b'x'; FRAME_BYTES_MAX as usize];
        let size = limits::MESSAGE_BYTES_MAX as u64 + 5;
        let mut all = content(1, size);
        let mut expected = content(1, 0);
        let mut left = usize::try_from(size).unwrap();
        while left > 0 {
            let now = left.min(large.len());
            all.extend(frame(BODY, 1, &large[..now]));
            let beside = [content(2, 2), frame(BODY, 2, b"ok")].concat();
            all.extend(&beside);
            expected.extend(beside);
            left -= now;
        }
        let after = [content(1, 3), frame(BODY, 1, b"yes")].concat();
        all.extend(&after);
        expected.extend(after);
        for piece in [1, 13, 100_000] {
            assert_eq!(passed(&all, piece), (expected.clone(), 1), "{piece}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_it() {
        let mut huge = frame(METHOD, 1, b"");
        huge[3..7].copy_from_slice(&(FRAME_BYTES_MAX + 1).to_be_bytes());
        let short = frame(CONTENT, 1, b"12345678901");
        for bytes in [b"HTTP/1.1 400 Bad".to_vec(), huge, short] {
            let mut filter = Filter::new(Arc::default());
            assert!(filter.pass(&bytes, &mut BytesMut::new()).is_err());
        }
    }

    #[test]
    fn the_broker_is_named_by_its_first_frame() {
        let mut first = b"\x07productS\x00\x00\x00\x08RabbitMQ".to_vec();
        first.extend(b"\x07versionS\x00\x00\x00\x063.10.8");
        assert_eq!(server_of(&first), "RabbitMQ 3.10.8");
        assert_eq!(server_of(b"\x07productS\xff\xff"), "unknown");
    }
}
