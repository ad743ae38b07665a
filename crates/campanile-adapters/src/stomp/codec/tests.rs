//! The codec against every split of a stream, hostile frames and noise: what was sent comes back, what is too much is
//! left out, nothing panics and nothing grows.

use proptest::prelude::*;

use super::*;

/// Feeds the stream in pieces of these lengths (then the rest) and collects what comes out.
fn decode_in_pieces(stream: &[u8], pieces: &[usize]) -> Result<Vec<Frame>, Malformed> {
    let (mut decoder, mut buffer, mut out) = (Decoder::default(), BytesMut::new(), Vec::new());
    let mut rest = stream;
    let mut pieces = pieces.iter().copied();
    while !rest.is_empty() {
        let length = pieces.next().unwrap_or(rest.len()).clamp(1, rest.len());
        buffer.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        while let Some(frame) = decoder.decode(&mut buffer)? {
            out.push(frame);
        }
        assert!(buffer.len() <= BODY_BYTES_MAX + 1 + length);
    }
    Ok(out)
}

fn decode(stream: &[u8]) -> Result<Vec<Frame>, Malformed> {
    decode_in_pieces(stream, &[])
}

fn message(headers: &[(&str, &str)], body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out, "MESSAGE", headers, body);
    out
}

#[test]
fn a_stream_split_at_every_byte_gives_the_same_frames() {
    let mut stream = BytesMut::from(&b"\n\r\n"[..]);
    stream.extend_from_slice(b"CONNECTED\r\nversion:1.2\r\npath:c\\d:e\r\n\r\n\0\n\n");
    stream.extend_from_slice(&message(
        &[("content-length", "5"), ("a", "x:y\\z\r\n")],
        b"a\0\n\0b",
    ));
    stream.extend_from_slice(b"\nRECEIPT\nreceipt-id:7\n\n\0\r\n");
    stream.extend_from_slice("MESSAGE\nack:1\nack:2\n\nohne Länge\0\n".as_bytes());
    let whole = decode(&stream).unwrap();
    let seen: Vec<_> = whole.iter().map(|f| f.command.as_str()).collect();
    assert_eq!(seen, ["CONNECTED", "MESSAGE", "RECEIPT", "MESSAGE"]);
    assert_eq!(whole[0].header("path"), Some("c\\d:e"));
    assert_eq!(&whole[1].body[..], b"a\0\n\0b");
    assert_eq!(whole[1].header("a"), Some("x:y\\z\r\n"));
    assert_eq!(whole[2].number("receipt-id"), Some(7));
    assert_eq!(whole[3].header("ack"), Some("1"));
    assert_eq!(&whole[3].body[..], "ohne Länge".as_bytes());
    assert!(whole.iter().all(|f| f.flaw.is_none()));
    for at in 0..=stream.len() {
        assert_eq!(decode_in_pieces(&stream, &[at]).unwrap(), whole);
    }
    assert_eq!(
        decode_in_pieces(&stream, &vec![1; stream.len()]).unwrap(),
        whole
    );
}

#[test]
fn heart_beats_alone_are_no_frames() {
    assert_eq!(decode(b"\n\n\r\n\n").unwrap(), vec![]);
}

/// After a flawed frame the next one is read as if nothing had been.
fn flawed(stream: &[u8], flaw: Flaw) -> Frame {
    let mut stream = stream.to_vec();
    stream.extend_from_slice(b"\nRECEIPT\nreceipt-id:1\n\n\0");
    let frames = decode(&stream).unwrap();
    for piece in [1_000, 4_099, 65_536] {
        let pieces = vec![piece; stream.len() / piece];
        assert_eq!(decode_in_pieces(&stream, &pieces).unwrap(), frames);
    }
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].header("receipt-id"), Some("1"));
    assert_eq!(frames[0].flaw, Some(flaw));
    frames[0].clone()
}

#[test]
fn a_frame_over_a_limit_is_read_to_its_end_and_keeps_what_its_ack_needs() {
    let long = "x".repeat(HEADER_LINE_BYTES_MAX);
    let frame = flawed(
        &message(&[("a", &long), ("ack", "i")], b"body"),
        Flaw::LongHeader,
    );
    assert_eq!(frame.header("ack"), Some("i"));
    assert_eq!(frame.header("a"), None);

    let names: Vec<String> = (0..900).map(|n| format!("h{n}")).collect();
    let mut headers: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "v")).collect();
    headers.push(("ack", "i"));
    let frame = flawed(&message(&headers, b""), Flaw::ManyHeaders);
    assert_eq!(frame.header("ack"), Some("i"));
    assert!(frame.headers.len() <= HEADERS_MAX + ESSENTIAL.len());

    let wide = "x".repeat(HEADER_LINE_BYTES_MAX - 10);
    let mut headers = vec![("h", wide.as_str()); 100];
    headers.extend([("ack", "i"); 3]);
    let frame = flawed(&message(&headers, b""), Flaw::ManyHeaders);
    assert!(frame.headers.len() <= 12 && frame.header("ack") == Some("i"));

    let large = vec![b'x'; BODY_BYTES_MAX + 1];
    let length = large.len().to_string();
    let frame = flawed(
        &message(&[("content-length", &length), ("ack", "i")], &large),
        Flaw::LargeBody,
    );
    assert_eq!((frame.header("ack"), frame.body.len()), (Some("i"), 0));
    flawed(&message(&[("ack", "i")], &large), Flaw::LargeBody);
}

/// Whatever is wrong with a message's headers, it is known afterwards which message it was and how to be rid of it,
/// wherever in the headers that stood.
#[test]
fn a_message_that_breaks_the_stream_is_known() {
    let many = "a:b\n".repeat(HEADERS_SANE_MAX + 1);
    let wide = format!("h:{}\n", "x".repeat(HEADER_LINE_BYTES_MAX - 10)).repeat(200);
    let longest = format!("h:{}\n", "x".repeat(2 * 1024 * 1024));
    for (headers, error) in [
        (many.as_str(), Malformed::Headers),
        (&wide, Malformed::Headers),
        (&longest, Malformed::Headers),
        ("bad\\tescape:1\n", Malformed::BadHeader),
        ("ends:in\\\n", Malformed::BadHeader),
        ("no colon\n", Malformed::BadHeader),
        ("\0\n", Malformed::BadHeader),
        ("content-length:-1\n", Malformed::ContentLength),
        ("content-length:\n", Malformed::ContentLength),
        ("content-length:1e3\n", Malformed::ContentLength),
        ("content-length:0\n", Malformed::Unterminated),
        (
            "content-length:9999999999\n",
            Malformed::AbsurdLength(9_999_999_999),
        ),
    ] {
        for known in ["ack:i\nmessage-id:m\\c1\n", ""] {
            for (before, after) in [("", known), (known, "")] {
                let text = format!("MESSAGE\n{before}{headers}{after}\nx\0");
                let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(text.as_str()));
                assert_eq!(decoder.decode(&mut buffer), Err(error));
                let culprit = decoder.culprit().map(|c| (c.message, c.ack));
                let expected = (!known.is_empty()).then(|| ("m:1".to_owned(), "i".to_owned()));
                assert_eq!(culprit, expected, "{error}");
            }
        }
    }
    // What is not a message has nothing to acknowledge.
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::from(&b"RECEIPT\nack:1\nno colon\n\n\0"[..]);
    assert_eq!(decoder.decode(&mut buffer), Err(Malformed::BadHeader));
    assert_eq!(decoder.culprit(), None);
}

#[test]
fn a_body_at_the_limit_passes() {
    let body = vec![0; BODY_BYTES_MAX];
    let length = body.len().to_string();
    let frames = decode(&message(&[("content-length", &length)], &body)).unwrap();
    assert_eq!((frames[0].flaw, frames[0].body.len()), (None, body.len()));
}

#[test]
fn bytes_that_are_no_frames_end_the_stream() {
    let cases: [(&[u8], Malformed); 8] = [
        (
            b"MESSAGE\ncontent-length:18446744073709551615\n\n\0",
            Malformed::AbsurdLength(u64::MAX),
        ),
        (
            b"MESSAGE\ncontent-length:268435457\n\n\0",
            Malformed::AbsurdLength(FRAME_BYTES_MAX + 1),
        ),
        (b"HTTP/1.1 400 Bad Request\r\n", Malformed::Command),
        (b"get / \n", Malformed::Command),
        (&[b'A'; 100], Malformed::Command),
        (
            b"MESSAGE\ncontent-length:-1\n\n\0",
            Malformed::ContentLength,
        ),
        (
            b"MESSAGE\ncontent-length:99999999999999999999\n\n\0",
            Malformed::ContentLength,
        ),
        (
            b"MESSAGE\ncontent-length:1\n\nab\0",
            Malformed::Unterminated,
        ),
    ];
    for (stream, error) in cases {
        assert_eq!(decode(stream), Err(error));
    }
}

#[test]
fn what_does_not_end_ends_the_stream() {
    let piece = vec![b'x'; 64 * 1024];
    let lines = b"name:value\n".repeat(piece.len() / 11);
    for (begin, endless) in [
        (&b"MESSAGE\nh:"[..], &piece),
        (b"MESSAGE\n", &lines),
        (b"MESSAGE\n\n", &piece),
    ] {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(begin));
        assert_eq!(decoder.decode(&mut buffer), Ok(None));
        // As after most of it: all of it takes long in a build without optimisation.
        decoder.passed = FRAME_BYTES_MAX - 1024 * 1024;
        let mut outcome = Ok(None);
        for _ in 0..40 {
            buffer.extend_from_slice(endless);
            outcome = decoder.decode(&mut buffer);
            if outcome.is_err() {
                break;
            }
            assert!(decoder.is_midway());
        }
        assert_eq!(outcome, Err(Malformed::Endless));
    }
}

#[test]
fn a_header_can_not_begin_another() {
    let mut out = BytesMut::new();
    let hostile = "a\nadmin:yes\n\nbody\0SEND\r\n";
    encode(
        &mut out,
        "MESSAGE",
        &[("x", &hostile.replace('\0', ""))],
        b"",
    );
    let frames = decode(&out).unwrap();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].headers.len(), 1);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        headers in proptest::collection::vec(("[a-z:\\\\\r\n]{1,12}", "[ -~äß\r\n]{0,40}"), 0..20),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        pieces in proptest::collection::vec(1_usize..40, 0..60),
    ) {
        let mut headers: Vec<(String, String)> = headers;
        headers.insert(0, ("content-length".to_owned(), body.len().to_string()));
        let given: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut stream = message(&given, &body);
        stream.put_u8(b'\n');
        let twice = [&stream[..], &stream[..]].concat();
        let frames = decode_in_pieces(&twice, &pieces).unwrap();
        prop_assert_eq!(frames.len(), 2);
        for frame in frames {
            prop_assert_eq!(&frame.headers, &headers);
            prop_assert_eq!(&frame.body[..], &body[..]);
            prop_assert_eq!(frame.flaw, None);
        }
    }

    #[test]
    fn noise_neither_panics_nor_depends_on_how_it_was_split(
        noise in proptest::collection::vec(
            prop_oneof![
                Just(b"MESSAGE\n".to_vec()), Just(b"\n".to_vec()), Just(vec![0]), Just(b"content-length:3\n".to_vec()),
                Just(b"a:b\\".to_vec()), Just(b"\r".to_vec()), proptest::collection::vec(any::<u8>(), 0..8),
            ],
            0..40,
        ),
        pieces in proptest::collection::vec(1_usize..10, 0..80),
    ) {
        let noise = noise.concat();
        let whole = decode(&noise);
        let split = decode_in_pieces(&noise, &pieces);
        prop_assert_eq!(whole.is_ok(), split.is_ok());
        prop_assert_eq!(whole.ok(), split.ok());
    }
}
