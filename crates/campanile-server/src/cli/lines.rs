//! Where log lines go. One event is one line, whatever the texts within it hold: a line break in somebody's error must not
//! write a second line that nobody logged. Other control characters are escaped by the formatter already.

use std::borrow::Cow;
use std::io::{self, Write};

/// Standard error, one line for each write: the formatter writes each event whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneLine;

impl Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(&one_line(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// An event without line breaks but the one at its end.
fn one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let (body, end) = match event.split_last() {
        Some((b'\n', body)) => (body, &b"\n"[..]),
        _ => (event, &b""[..]),
    };
    if !body.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        return Cow::Borrowed(event);
    }
    let mut out = Vec::with_capacity(event.len() + 8);
    for byte in body {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(*other),
        }
    }
    out.extend_from_slice(end);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(one_line(b"a\n").as_ref(), b"a\n");
        assert_eq!(one_line(b"a\r\nb\n\n").as_ref(), b"a\\r\\nb\\n\n");
        assert_eq!(one_line(b"").as_ref(), b"");
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, event: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(&one_line(event));
            Ok(event.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_formatter_writes_an_event_whole_and_escapes_the_rest() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(lines, || {
            let text = "x\r\n2026-01-01 INFO all is well\u{1b}[2J\u{9b}m\u{7}";
            tracing::warn!(error = %text, quoted = text, "failed: {text}");
        });
        let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line = written.strip_suffix('\n').unwrap();
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.contains("all is well"));
    }
}
