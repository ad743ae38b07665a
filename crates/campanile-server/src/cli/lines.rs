//! Where log lines go. One event is one line of harmless characters, whatever the texts within it hold: a line break in
//! somebody's error must not write a second line that nobody logged, nor an escape sequence move the reader's cursor. The
//! formatter escapes its messages alone, not its fields.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use campanile_adapters::secrets::Seen;

use crate::config::Scrub;

/// Standard error, one line for each write: the formatter writes each event whole.
#[derive(Debug, Clone)]
pub(super) struct OneLine {
    /// Whether the formatter colours: then its own sequences pass.
    pub(super) color: bool,
    /// What never stands in the log, whoever wrote it: the passwords of the cluster's URLs.
    pub(super) scrub: Arc<Scrub>,
    /// Nor do values of secrets that this process has given out.
    pub(super) seen: Seen,
}

impl Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let clean = self.scrub.clean(&text);
        let clean = self.seen.forms().clean(&clean);
        let line = one_line(&clean, self.color);
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// An event without control characters but the line break at its end; escaped in a way that JSON reads too.
fn one_line(event: &str, color: bool) -> Cow<'_, str> {
    let body = event.strip_suffix('\n').unwrap_or(event);
    if !body.contains(char::is_control) {
        return Cow::Borrowed(event);
    }
    let mut out = String::with_capacity(event.len() + 16);
    for (at, c) in body.char_indices() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' if color && is_color(&body[at + 1..]) => out.push(c),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push_str(&event[body.len()..]);
    Cow::Owned(out)
}

/// Whether an escape sequence, behind its first character, only chooses a colour.
fn is_color(sequence: &str) -> bool {
    let Some(rest) = sequence.strip_prefix('[') else {
        return false;
    };
    let end = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    end.starts_with('m')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(one_line("a\n", false), "a\n");
        assert_eq!(one_line("a\r\nb\n\n", false), "a\\r\\nb\\n\n");
        assert_eq!(one_line("", false), "");
        let colored = "\u{1b}[2;31mWARN\u{1b}[0m \u{1b}[2J\u{9b}m\n";
        assert_eq!(
            one_line(colored, true),
            "\u{1b}[2;31mWARN\u{1b}[0m \\u001b[2J\\u009bm\n"
        );
        assert!(!one_line(colored, false).contains('\u{1b}'));
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, event: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(event);
            let line = one_line(&text, false);
            self.0.lock().unwrap().extend_from_slice(line.as_bytes());
            Ok(event.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_formatter_writes_is_made_harmless() {
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
