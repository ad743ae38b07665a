//! How long a connection may keep us waiting: for a request to be sent whole, for the next one, for an answer to be
//! read; and how long an answered client may go on sending. Owns the stage of each connection and the bytes' way through it; never looks at what a request says, save how
//! its head frames it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use campanile_core::system;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{Framing, Scanner};

/// How long a request's head may take from its first byte (a connection's first from its opening).
pub const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may rest between requests.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long a client may leave an answer unread.
pub const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How long a client may go on with a request that was answered before it was read whole. Closed at once, the connection
/// would be reset, and the answer lost in front of a client that writes first and reads then.
pub const LINGER_LIMIT: Duration = Duration::from_secs(10);
/// How long such a client may be silent.
pub const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// How much of such a request is read, and dropped.
pub const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of which so much at a time.
const LINGER_READ_BYTES: usize = 16 * 1024;

/// How long each of them may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    head: Duration,
    idle: Duration,
    write: Duration,
    linger: Duration,
    silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HEAD_LIMIT,
            idle: IDLE_LIMIT,
            write: WRITE_LIMIT,
            linger: LINGER_LIMIT,
            silence: LINGER_SILENCE,
        }
    }
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is being opened, or a head is on its way.
    Head,
    /// It rests between requests.
    Idle,
    /// A request is served.
    Serving,
}

/// The stage of one connection, and the framing of the head that came last.
#[derive(Debug, Default)]
pub(super) struct Standing {
    stage: AtomicU8,
    /// Bit 0: a head was read whole; bit 1: it has two framings.
    head: AtomicU8,
    /// The request that came last has a body that was not read to its end.
    unread: AtomicBool,
}

/// What the head of a request is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// It frames its body in one way.
    Sound,
    /// It frames its body in several ways.
    Doubled,
    /// It came behind another request, before that one was answered, and was not looked at.
    Unseen,
}

impl Standing {
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Head,
            1 => Stage::Idle,
            _ => Stage::Serving,
        }
    }

    fn set(&self, stage: Stage) {
        let stage = match stage {
            Stage::Head => 0,
            Stage::Idle => 1,
            Stage::Serving => 2,
        };
        self.stage.store(stage, Ordering::Release);
    }

    /// A request is served from now on; what is known of its head.
    pub(super) fn begin(&self) -> Head {
        self.set(Stage::Serving);
        self.unread.store(false, Ordering::Release);
        match self.head.swap(0, Ordering::AcqRel) {
            0 => Head::Unseen,
            1 => Head::Sound,
            _ => Head::Doubled,
        }
    }

    /// The request was answered.
    pub(super) fn end(&self) {
        self.set(Stage::Idle);
    }

    /// The request's body was left before its end.
    pub(super) fn left_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether it was.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    fn seen(&self, framing: Framing) {
        let doubled = framing.encodings > 1
            || framing.lengths > 1
            || (framing.encodings > 0 && framing.lengths > 0);
        self.head
            .store(if doubled { 3 } else { 1 }, Ordering::Release);
    }
}

type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that ends when its client takes too long.
pub(super) struct Patient<S> {
    io: S,
    standing: Arc<Standing>,
    limits: Limits,
    scanner: Scanner,
    /// For what is waited, and until when.
    reading: Option<(Stage, Alarm)>,
    writing: Option<Alarm>,
    /// The end was said; what still comes is dropped.
    lingering: Option<Linger>,
}

/// How long is still read from a client that was answered already.
struct Linger {
    over: Alarm,
    silent: Alarm,
    bytes: usize,
}

impl<S> Patient<S> {
    pub(super) fn new(io: S, standing: Arc<Standing>, limits: Limits) -> Self {
        Self {
            io,
            standing,
            limits,
            scanner: Scanner::default(),
            reading: None,
            writing: None,
            lingering: None,
        }
    }

    /// Whether the client may still be sending what was answered already.
    fn is_cut_short(&self) -> bool {
        let in_head = self.standing.stage() == Stage::Head && self.scanner.has_begun();
        in_head || self.standing.is_unread()
    }

    fn arrived(&mut self, bytes: &[u8]) {
        match self.standing.stage() {
            // Part of a body, or a request ahead of its turn.
            Stage::Serving => return,
            Stage::Idle => {
                self.standing.set(Stage::Head);
                self.scanner = Scanner::default();
                self.reading = None;
            }
            Stage::Head => {}
        }
        if let Some(framing) = self.scanner.take(bytes) {
            self.standing.seen(framing);
        }
    }

    /// Nothing arrives: whether that has gone on for too long.
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stage = self.standing.stage();
        let limit = match stage {
            Stage::Head => self.limits.head,
            Stage::Idle => self.limits.idle,
            Stage::Serving => {
                self.reading = None;
                return Poll::Pending;
            }
        };
        if self.reading.as_ref().is_none_or(|(of, _)| *of != stage) {
            self.reading = Some((stage, Box::pin(system::pause(limit))));
        }
        let Some((_, alarm)) = &mut self.reading else {
            return Poll::Pending;
        };
        alarm
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A write goes on or waits for the client: whether that has gone on for too long.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let limit = self.limits.write;
        let alarm = self
            .writing
            .get_or_insert_with(|| Box::pin(system::pause(limit)));
        alarm
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Reads and drops what a client sends behind its answer, until it stops, in any of the ways.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limits = self.limits;
        let lingering = self.lingering.get_or_insert_with(|| Linger {
            over: Box::pin(system::pause(limits.linger)),
            silent: Box::pin(system::pause(limits.silence)),
            bytes: 0,
        });
        let mut piece = [0; LINGER_READ_BYTES];
        loop {
            if lingering.over.as_mut().poll(context).is_ready()
                || lingering.bytes > LINGER_BYTES_MAX
            {
                return Poll::Ready(Ok(()));
            }
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.io).poll_read(context, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    lingering.bytes += piece.filled().len();
                    lingering.silent = Box::pin(system::pause(limits.silence));
                }
                // The client has gone, or closed its side: it has what it wanted.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return lingering.silent.as_mut().poll(context).map(Ok),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                let new = buffer.filled().get(before..).unwrap_or_default();
                if !new.is_empty() {
                    self.arrived(new);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(error) => Poll::Ready(error),
            Poll::Pending => self.waits(context),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        self.written(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let outcome = Pin::new(&mut self.io).poll_shutdown(context);
            let outcome = self.written(context, outcome);
            if !matches!(outcome, Poll::Ready(Ok(()))) || !self.is_cut_short() {
                return outcome;
            }
        }
        self.linger(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3_600);

    fn patient(limits: Limits) -> (tokio::io::DuplexStream, Patient<tokio::io::DuplexStream>) {
        let (client, server) = tokio::io::duplex(64);
        (client, Patient::new(server, Arc::default(), limits))
    }

    fn limits(head: Duration, idle: Duration, write: Duration) -> Limits {
        Limits {
            head,
            idle,
            write,
            linger: LONG,
            silence: SHORT,
        }
    }

    async fn read(io: &mut Patient<tokio::io::DuplexStream>) -> io::Result<usize> {
        io.read(&mut [0; 64]).await
    }

    fn late<T>(outcome: &io::Result<T>) -> bool {
        outcome
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_given_up_however_it_drips() {
        let (mut client, mut io) = patient(limits(SHORT, LONG, LONG));
        assert!(late(&read(&mut io).await), "nothing came");
        let (mut other, mut io) = patient(limits(SHORT, LONG, LONG));
        let dripping = system::spawn(async move {
            while other.write_all(b"x").await.is_ok() {
                system::pause(SHORT / 10).await;
            }
        });
        let mut outcome = Ok(1);
        while outcome.is_ok() {
            outcome = read(&mut io).await;
        }
        assert!(late(&outcome), "{outcome:?}");
        drop(io);
        dripping.await.unwrap();
        let _ = client.shutdown().await;
    }

    #[tokio::test]
    async fn a_request_that_is_served_may_take_its_time_and_the_next_one_not() {
        let (mut client, mut io) = patient(limits(LONG, SHORT, LONG));
        client.write_all(b"GET / HTTP/1.1\n\n").await.unwrap();
        read(&mut io).await.unwrap();
        let standing = Arc::clone(&io.standing);
        assert_eq!(standing.begin(), Head::Sound);
        assert!(system::within(SHORT * 3, read(&mut io)).await.is_none());
        standing.end();
        assert!(late(&read(&mut io).await));
        assert_eq!(standing.begin(), Head::Unseen);
    }

    #[tokio::test]
    async fn what_comes_behind_an_answer_is_read_and_dropped_until_it_stops() {
        let (mut client, mut io) = patient(limits(LONG, LONG, LONG));
        client.write_all(b"POST / H\n\nbody").await.unwrap();
        read(&mut io).await.unwrap();
        io.standing.begin();
        io.standing.left_unread();
        io.standing.end();
        let writing = system::spawn(async move {
            // Much more than the pipe holds: it is written only if it is read.
            let written = client.write_all(&[0; 100_000]).await;
            client.shutdown().await.unwrap();
            written
        });
        io.shutdown().await.unwrap();
        assert!(writing.await.unwrap().is_ok());

        // One that sends no more and does not leave is left, and one that was read to its end is not waited for at all.
        let (silent, mut io) = patient(limits(LONG, LONG, LONG));
        io.standing.left_unread();
        io.shutdown().await.unwrap();
        let (whole, mut io) = patient(Limits {
            silence: LONG,
            ..limits(LONG, LONG, LONG)
        });
        io.standing.begin();
        io.standing.end();
        io.shutdown().await.unwrap();
        // And not longer than it may take in all.
        let (mut endless, mut io) = patient(Limits {
            linger: SHORT,
            silence: LONG,
            ..limits(LONG, LONG, LONG)
        });
        io.standing.left_unread();
        let writing =
            system::spawn(async move { while endless.write_all(&[0; 64]).await.is_ok() {} });
        io.shutdown().await.unwrap();
        drop(io);
        writing.await.unwrap();
        drop((silent, whole));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let (client, mut io) = patient(limits(LONG, LONG, SHORT));
        assert!(late(&io.write_all(&[0; 1_000]).await));
        drop(client);
    }

    #[tokio::test]
    async fn a_head_with_two_framings_is_noticed_behind_an_answer_too() {
        let (mut client, mut io) = patient(limits(LONG, LONG, LONG));
        for (head, seen) in [
            ("GET / HTTP/1.1\n\n", Head::Sound),
            (
                "GET / H\ncontent-length:1\ntransfer-encoding:x\n\n",
                Head::Doubled,
            ),
            (
                "GET / H\ncontent-length:1\ncontent-length:1\n\n",
                Head::Doubled,
            ),
            ("GET / H\ncontent-length:1\n\nx", Head::Sound),
        ] {
            client.write_all(head.as_bytes()).await.unwrap();
            let mut left = head.len();
            while left > 0 {
                left -= read(&mut io).await.unwrap();
            }
            assert_eq!(io.standing.begin(), seen, "{head}");
            io.standing.end();
        }
    }
}
