//! The STOMP codec and the text of bodies: any bytes, however the network splits them, give the same frames or the same
//! refusal as in one piece; what was read is written and read again as the same; no header begins another header or
//! frame; and memory stays bounded whatever length a peer declares.
//!
//! The first byte chooses what is tried, the second how many of the next bytes are sizes of pieces.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

// The modules are private to the adapter: they are built in here as they stand, so that nothing is opened for this.
#[path = "../../crates/campanile-adapters/src/stomp/codec.rs"]
#[allow(dead_code, reason = "a connection uses more of it")]
mod codec;
#[path = "../../crates/campanile-adapters/src/stomp/text.rs"]
#[allow(dead_code, reason = "a connection uses more of it")]
mod text;

use codec::{Decoder, Frame, HEADER_LINE_BYTES_MAX, Malformed};

/// What a connection reads at once.
const READ_BYTES: usize = 64 * 1024;
/// The largest body that is kept, half as large again as the largest message, and what one read adds to it.
const HELD_BYTES_MAX: usize = 768 * 1024 + READ_BYTES;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_at_checked(2) else {
        return;
    };
    let sizes = usize::from(head[1] % 16).min(rest.len());
    let (sizes, stream) = rest.split_at(sizes);
    match head[0] % 16 {
        // One input in many: it moves a thousand times as much as the others.
        0 if head[0] == 0 => flood(stream, head[1]),
        0..=3 => smuggle(stream),
        4 | 5 => texts(stream),
        _ => pieces(stream, sizes),
    }
});

fn decode(stream: &[u8], sizes: &[usize]) -> (Vec<Frame>, Option<Malformed>) {
    let (mut decoder, mut buffer, mut out) = (Decoder::default(), BytesMut::new(), Vec::new());
    let (mut rest, mut sizes) = (stream, sizes.iter().cycle());
    loop {
        let piece = sizes.next().copied().unwrap_or(rest.len()).min(rest.len());
        buffer.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => out.push(frame),
                Ok(None) => break,
                Err(malformed) => return (out, Some(malformed)),
            }
        }
        if rest.is_empty() {
            return (out, None);
        }
    }
}

fn pieces(stream: &[u8], sizes: &[u8]) {
    let whole = decode(stream, &[]);
    let sizes: Vec<usize> = sizes.iter().map(|s| usize::from(*s) + 1).collect();
    for sizes in [&sizes[..], &[1], &[3, 1, 2]] {
        assert_eq!(decode(stream, sizes), whole, "in pieces of {sizes:?}");
    }
    for frame in &whole.0 {
        written_and_read_again(frame);
    }
}

fn written_and_read_again(frame: &Frame) {
    // These two know no escapes, and what can't be escaped can't be written again.
    if frame.flaw.is_some() || matches!(&*frame.command, "CONNECT" | "CONNECTED") {
        return;
    }
    let headers = frame.headers.iter().filter(|(n, _)| n != "content-length");
    let length = frame.body.len().to_string();
    let mut all = vec![("content-length", length.as_str())];
    all.extend(headers.map(|(n, v)| (n.as_str(), v.as_str())));
    let mut out = BytesMut::new();
    let lines = all.iter().map(|(n, v)| codec::header(&mut out, n, v));
    let (longest, sum) = lines.fold((0, 0), |(most, sum), l| (most.max(l), sum + l));
    if longest > HEADER_LINE_BYTES_MAX || sum > 60_000 || all.len() > 250 {
        return;
    }
    let mut out = BytesMut::new();
    codec::encode(&mut out, &frame.command, &all, &frame.body);
    let (again, malformed) = decode(&out, &[]);
    assert_eq!((again.len(), malformed), (1, None), "{frame:?}");
    let read: Vec<(&str, &str)> = again[0]
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(read, all);
    assert_eq!((&again[0].body, again[0].flaw), (&frame.body, None));
}

/// A header with any name and value, written among others: exactly those headers arrive, in exactly one frame.
fn smuggle(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let middle = text.floor_char_boundary(text.len() / 3);
    let (name, value) = text.split_at(middle);
    if name == "content-length" || text.len() > HEADER_LINE_BYTES_MAX / 3 {
        return;
    }
    let length = bytes.len().to_string();
    let headers = [
        ("destination", "/queue/a"),
        (name, value),
        ("content-length", length.as_str()),
        ("receipt", "7"),
    ];
    let mut out = BytesMut::new();
    codec::encode(&mut out, "SEND", &headers, bytes);
    let (frames, malformed) = decode(&out, &[]);
    assert_eq!((frames.len(), malformed), (1, None));
    let read: Vec<(&str, &str)> = frames[0]
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(read, headers);
    assert_eq!(frames[0].body, bytes);
}

/// A body as text: what we write is read as it was; what anybody writes is read as something of a bounded size.
fn texts(bytes: &[u8]) {
    assert!(text::read(bytes).len() <= bytes.len() * 3);
    let sent = String::from_utf8_lossy(bytes);
    for encoding in [text::Encoding::Utf8, text::Encoding::Java] {
        let written = encoding.bytes(&sent);
        assert!(written.len() <= sent.len() / 2 * 3 + 3);
        assert_eq!(text::read(&written), sent);
    }
}

/// A peer that says something and then sends one byte for ever: what is held of it has a limit.
fn flood(opening: &[u8], filler: u8) {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(opening));
    let filler = vec![filler; READ_BYTES];
    for _ in 0..16 {
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => {
                    let headers = frame.headers.iter().map(|(n, v)| n.len() + v.len());
                    assert!(frame.body.len() <= HELD_BYTES_MAX);
                    assert!(headers.sum::<usize>() < 400_000);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(buffer.len() <= HELD_BYTES_MAX, "{} held", buffer.len());
        buffer.extend_from_slice(&filler);
    }
}
