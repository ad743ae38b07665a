//! STOMP 1.2 frames as bytes, both ways: escaping, sizes, and what to do with a frame that is over a limit. Pure: it
//! never reads or writes a socket, so that every split of the stream can be tried in a test.
//!
//! A frame that breaks a limit is read to its end and handed on with its [`Flaw`], without what was too much: a large
//! message must not cost the connection. Memory stays bounded whatever arrives. A frame that is broken, or absurd, is an
//! error that ends the connection; if it is a message that can be acknowledged, the decoder says how ([`Decoder::culprit`]),
//! because the broker would deliver it again, for ever.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use campanile_core::limits;

/// A header's line, as it is sent. ActiveMQ closes the connection at 10 KiB.
pub(super) const HEADER_LINE_BYTES_MAX: usize = 8 * 1024;
/// Headers that are kept of one frame, beside the essential ones.
const HEADERS_MAX: usize = 256;
/// All header lines that are kept of one frame, beside the essential ones.
const HEADER_BLOCK_BYTES_MAX: usize = 64 * 1024;
/// More header lines than this are absurd: no broker takes as many over STOMP.
const HEADERS_SANE_MAX: usize = 1_000;
/// Header lines together that are absurd.
const HEADER_BLOCK_SANE_BYTES_MAX: u64 = 1024 * 1024;
/// A body as it comes: half as large again as its text, for Java writes some characters longer.
const BODY_BYTES_MAX: usize = limits::MESSAGE_BYTES_MAX / 2 * 3;
/// A frame that is still read to its end, though it is cut. A peer that announces or sends more is not waited for:
/// behind it nothing would ever be heard.
const FRAME_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The longest command has eleven letters.
const COMMAND_BYTES_MAX: usize = 16;
/// What the client can't do without: kept whatever else the frame carries.
const ESSENTIAL: [&str; 10] = [
    "ack",
    "content-length",
    "heart-beat",
    "message",
    "message-id",
    "receipt-id",
    "redelivered",
    "server",
    "subscription",
    "version",
];

/// A frame that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Frame {
    /// Upper-case letters.
    pub(super) command: String,
    /// Decoded, in their order.
    pub(super) headers: Vec<(String, String)>,
    /// Empty if it was too large.
    pub(super) body: Bytes,
    /// What was wrong with it and therefore left out.
    pub(super) flaw: Option<Flaw>,
}

impl Frame {
    /// The first header of this name, which is the one that counts.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A header that is one of our own numbers.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// A message that broke its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Culprit {
    /// The broker's id of the message, the same on every delivery; empty if it has none.
    pub(super) message: String,
    /// What its ACK has to name.
    pub(super) ack: String,
}

impl Culprit {
    /// The message that a frame is, if it can be acknowledged.
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        let ack = frame.header("ack").filter(|_| frame.command == "MESSAGE")?;
        Some(Self {
            message: frame.header("message-id").unwrap_or_default().to_owned(),
            ack: ack.to_owned(),
        })
    }
}

/// Why a frame is not complete though the stream is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// A header line over [`HEADER_LINE_BYTES_MAX`].
    #[error("a header is too long")]
    LongHeader,
    /// More or larger headers than are kept.
    #[error("it has too many headers")]
    ManyHeaders,
    /// A body over [`BODY_BYTES_MAX`].
    #[error("its body is too large")]
    LargeBody,
}

/// Bytes that are no frame: the connection can't be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// Not a line of upper-case letters.
    #[error("the peer does not speak STOMP")]
    Command,
    /// Not a number.
    #[error("a frame's content-length is not a number")]
    ContentLength,
    /// A length that nobody could send.
    #[error("a frame's content-length is absurd ({0} bytes)")]
    AbsurdLength(u64),
    /// Over [`FRAME_BYTES_MAX`].
    #[error("a frame does not end")]
    Endless,
    /// Over [`HEADERS_SANE_MAX`], or [`HEADER_BLOCK_SANE_BYTES_MAX`].
    #[error("a frame has an absurd number of headers")]
    Headers,
    /// No colon, or an escape that STOMP 1.2 does not know.
    #[error("a header is malformed")]
    BadHeader,
    /// No NUL where content-length says that the body ends.
    #[error("a frame's body does not end where it says")]
    Unterminated,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Command,
    Headers,
    /// Inside a header line that is too long.
    SkipLine,
    /// A body of known length.
    Counted(usize),
    /// So much of a body that is too large, still to come.
    SkipCounted(u64),
    /// A body up to the first NUL.
    Open,
    /// The same, and too large already.
    SkipOpen,
}

/// Cuts a stream into frames, however it was split on its way.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    stage: Stage,
    frame: Frame,
    header_bytes: usize,
    /// Header lines of this frame.
    lines: usize,
    /// What is wrong with the headers so far. It is said at their end, when it is known what the frame is.
    broken: Option<Malformed>,
    /// Bytes of this frame's header lines and of what was left out.
    passed: u64,
    /// How far the buffer was searched already for the end of a line or body.
    searched: usize,
}

enum Line {
    Whole(Bytes),
    Partial,
    TooLong,
}

impl Decoder {
    /// Whether a frame has begun and not ended.
    pub(super) const fn is_midway(&self) -> bool {
        !matches!(self.stage, Stage::Command) || self.searched > 0
    }

    /// After an error: the message that it is about, if it is plain which, and its ACK's id.
    pub(super) fn culprit(&self) -> Option<Culprit> {
        Culprit::of(&self.frame)
    }

    /// Takes the next frame off the front of `buffer`; `None` until more has arrived. Bytes that are over a limit are
    /// taken off at once.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        loop {
            let go_on = match self.stage {
                Stage::Command => self.command(buffer)?,
                Stage::Headers => self.header_line(buffer)?,
                Stage::SkipLine => self.skip_past(buffer, b'\n', Stage::Headers)?,
                Stage::Counted(length) => return self.counted(buffer, length),
                Stage::SkipCounted(left) => return self.skip_counted(buffer, left),
                Stage::Open => match self.open(buffer) {
                    Some(frame) => return Ok(Some(frame)),
                    None => matches!(self.stage, Stage::SkipOpen),
                },
                Stage::SkipOpen => {
                    if self.skip_past(buffer, 0, Stage::Command)? {
                        return Ok(Some(self.finish(Bytes::new())));
                    }
                    false
                }
            };
            if !go_on {
                return Ok(None);
            }
        }
    }

    fn command(&mut self, buffer: &mut BytesMut) -> Result<bool, Malformed> {
        // Heart-beats, and the end of line that a peer may put behind a frame.
        let blank = buffer.iter().take_while(|b| matches!(b, b'\n' | b'\r'));
        let blank = blank.count();
        buffer.advance(blank);
        if blank > 0 {
            self.searched = 0;
        }
        let mut begun = buffer.iter().take_while(|b| !matches!(b, b'\n' | b'\r'));
        if !begun.all(u8::is_ascii_uppercase) {
            // Said before its line ends: it may have none.
            return Err(Malformed::Command);
        }
        match self.line(buffer, COMMAND_BYTES_MAX) {
            Line::Partial => Ok(false),
            Line::Whole(line) if line.iter().all(u8::is_ascii_uppercase) => {
                self.frame.command = String::from_utf8_lossy(&line).into_owned();
                self.stage = Stage::Headers;
                Ok(true)
            }
            Line::Whole(_) | Line::TooLong => Err(Malformed::Command),
        }
    }

    fn header_line(&mut self, buffer: &mut BytesMut) -> Result<bool, Malformed> {
        match self.line(buffer, HEADER_LINE_BYTES_MAX) {
            Line::Partial => return Ok(false),
            Line::TooLong => {
                self.flawed(Flaw::LongHeader);
                self.stage = Stage::SkipLine;
            }
            Line::Whole(line) if line.is_empty() => {
                self.check_headers()?;
                self.begin_body()?;
            }
            Line::Whole(line) => {
                self.pass(line.len())?;
                self.lines += 1;
                self.header(&line);
            }
        }
        Ok(true)
    }

    /// At the end of the headers, whatever they are.
    fn check_headers(&self) -> Result<(), Malformed> {
        if self.lines > HEADERS_SANE_MAX || self.passed > HEADER_BLOCK_SANE_BYTES_MAX {
            return Err(Malformed::Headers);
        }
        self.broken.map_or(Ok(()), Err)
    }

    /// A line without its end, if it is whole. One that is too long stays in the buffer.
    fn line(&mut self, buffer: &mut BytesMut, bytes_max: usize) -> Line {
        let end = buffer[self.searched..].iter().position(|b| *b == b'\n');
        let length = end.map_or(buffer.len(), |i| self.searched + i);
        if length > bytes_max + 1 {
            self.searched = 0;
            return Line::TooLong;
        }
        if end.is_none() {
            self.searched = buffer.len();
            return Line::Partial;
        }
        self.searched = 0;
        let mut line = buffer.split_to(length + 1).freeze();
        line.truncate(length);
        if line.last() == Some(&b'\r') {
            line.truncate(length - 1);
        }
        Line::Whole(line)
    }

    fn header(&mut self, line: &[u8]) {
        let plain = matches!(self.frame.command.as_str(), "CONNECT" | "CONNECTED");
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            self.broken = Some(Malformed::BadHeader);
            return;
        };
        let name = unescape(&line[..colon], plain);
        let value = unescape(&line[colon + 1..], plain);
        let (Some(name), Some(value)) = (name, value) else {
            self.broken = Some(Malformed::BadHeader);
            return;
        };
        let full = self.frame.headers.len() >= HEADERS_MAX
            || self.header_bytes + line.len() > HEADER_BLOCK_BYTES_MAX;
        if full {
            let essential = ESSENTIAL.contains(&name.as_str());
            if !essential {
                self.flawed(Flaw::ManyHeaders);
            }
            // The first of a name counts, so none is kept twice.
            if !essential || self.frame.header(&name).is_some() {
                return;
            }
        }
        self.header_bytes += line.len();
        self.frame.headers.push((name, value));
    }

    fn begin_body(&mut self) -> Result<(), Malformed> {
        let Some(length) = self.frame.header("content-length") else {
            self.stage = Stage::Open;
            return Ok(());
        };
        let length: u64 = length
            .trim()
            .parse()
            .map_err(|_| Malformed::ContentLength)?;
        let small = usize::try_from(length)
            .ok()
            .filter(|l| *l <= BODY_BYTES_MAX);
        if length > FRAME_BYTES_MAX {
            return Err(Malformed::AbsurdLength(length));
        }
        self.stage = if let Some(length) = small {
            Stage::Counted(length)
        } else {
            self.flawed(Flaw::LargeBody);
            Stage::SkipCounted(length)
        };
        Ok(())
    }

    fn counted(
        &mut self,
        buffer: &mut BytesMut,
        length: usize,
    ) -> Result<Option<Frame>, Malformed> {
        if buffer.len() <= length {
            return Ok(None);
        }
        if buffer[length] != 0 {
            return Err(Malformed::Unterminated);
        }
        let body = buffer.split_to(length).freeze();
        buffer.advance(1);
        Ok(Some(self.finish(body)))
    }

    fn skip_counted(
        &mut self,
        buffer: &mut BytesMut,
        left: u64,
    ) -> Result<Option<Frame>, Malformed> {
        let here = usize::try_from(left).unwrap_or(usize::MAX);
        let here = here.min(buffer.len());
        buffer.advance(here);
        let left = left - here as u64;
        self.stage = Stage::SkipCounted(left);
        if left > 0 {
            return Ok(None);
        }
        match buffer.first() {
            None => Ok(None),
            Some(0) => {
                buffer.advance(1);
                Ok(Some(self.finish(Bytes::new())))
            }
            Some(_) => Err(Malformed::Unterminated),
        }
    }

    fn open(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        let end = buffer[self.searched..].iter().position(|b| *b == 0);
        let length = end.map_or(buffer.len(), |i| self.searched + i);
        if length > BODY_BYTES_MAX {
            self.flawed(Flaw::LargeBody);
            self.searched = 0;
            self.stage = Stage::SkipOpen;
            return None;
        }
        if end.is_none() {
            self.searched = buffer.len();
            return None;
        }
        let body = buffer.split_to(length).freeze();
        buffer.advance(1);
        Some(self.finish(body))
    }

    /// Drops everything up to and with `end`; whether it was there.
    fn skip_past(
        &mut self,
        buffer: &mut BytesMut,
        end: u8,
        next: Stage,
    ) -> Result<bool, Malformed> {
        let Some(at) = buffer.iter().position(|b| *b == end) else {
            self.pass(buffer.len())?;
            buffer.clear();
            return Ok(false);
        };
        self.pass(at)?;
        buffer.advance(at + 1);
        self.stage = next;
        Ok(true)
    }

    /// Counts bytes of a frame that are not kept.
    fn pass(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.passed += bytes as u64;
        if self.passed > FRAME_BYTES_MAX {
            return Err(Malformed::Endless);
        }
        Ok(())
    }

    fn flawed(&mut self, flaw: Flaw) {
        self.frame.flaw.get_or_insert(flaw);
    }

    fn finish(&mut self, body: Bytes) -> Frame {
        let mut frame = std::mem::take(self).frame;
        frame.body = body;
        frame
    }
}

fn unescape(bytes: &[u8], plain: bool) -> Option<String> {
    if plain || !bytes.contains(&b'\\') {
        return Some(String::from_utf8_lossy(bytes).into_owned());
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'\\' => match rest.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b'c' => b':',
                b'\\' => b'\\',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Writes a frame. Values are escaped, save in CONNECT, where STOMP 1.2 knows no escapes: its caller has none to give.
pub(super) fn encode(out: &mut BytesMut, command: &str, headers: &[(&str, &str)], body: &[u8]) {
    begin(out, command);
    for (name, value) in headers {
        if command == "CONNECT" {
            out.put_slice(name.as_bytes());
            out.put_u8(b':');
            out.put_slice(value.as_bytes());
            out.put_u8(b'\n');
        } else {
            header(out, name, value);
        }
    }
    end(out, body);
}

/// Begins a frame.
pub(super) fn begin(out: &mut BytesMut, command: &str) {
    out.put_slice(command.as_bytes());
    out.put_u8(b'\n');
}

/// Adds a header; returns the length of its line.
pub(super) fn header(out: &mut BytesMut, name: &str, value: &str) -> usize {
    let before = out.len();
    escape(out, name);
    out.put_u8(b':');
    escape(out, value);
    out.put_u8(b'\n');
    out.len() - before
}

/// Ends a frame.
pub(super) fn end(out: &mut BytesMut, body: &[u8]) {
    out.put_u8(b'\n');
    out.put_slice(body);
    out.put_u8(0);
}

fn escape(out: &mut BytesMut, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\r' => out.put_slice(b"\\r"),
            b'\n' => out.put_slice(b"\\n"),
            b':' => out.put_slice(b"\\c"),
            b'\\' => out.put_slice(b"\\\\"),
            other => out.put_u8(other),
        }
    }
}

#[cfg(test)]
mod tests;
