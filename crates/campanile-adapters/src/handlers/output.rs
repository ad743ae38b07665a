//! Bytes from outside into an attempt's log: as UTF-8 whatever they are, without NUL (no database's TEXT holds one),
//! and in few steps, however much it is.

use campanile_core::port::handler::Log;

/// Writes one stream of bytes to a log. A character may be split over two pieces.
#[derive(Debug)]
pub(super) struct Output {
    log: Log,
    /// The beginning of a character whose end hasn't come yet: three bytes at most.
    tail: Vec<u8>,
}

impl Output {
    pub(super) const fn new(log: Log) -> Self {
        Self {
            log,
            tail: Vec::new(),
        }
    }

    /// Adds a piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut bytes = std::mem::take(&mut self.tail);
        bytes.extend_from_slice(piece);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            match chunk.invalid() {
                [] => {}
                bad if chunks.peek().is_none() && is_begun(bad) => self.tail = bad.to_vec(),
                _ => text.push('\u{fffd}'),
            }
        }
        self.write(&text);
    }

    /// Whether more was taken than the log can hold.
    pub(super) fn is_over(&self) -> bool {
        self.log.is_over()
    }

    /// The stream has ended: half a character is written as what it is.
    pub(super) fn end(&mut self) {
        if !std::mem::take(&mut self.tail).is_empty() {
            self.write("\u{fffd}");
        }
    }

    fn write(&self, text: &str) {
        if text.contains('\0') {
            self.log.push(&text.replace('\0', ""));
        } else {
            self.log.push(text);
        }
    }
}

/// Whether bytes may become a character with those that follow.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use campanile_core::limits;

    fn logged(pieces: &[&[u8]]) -> String {
        let log = Log::default();
        let mut output = Output::new(log.clone());
        for piece in pieces {
            output.push(piece);
        }
        output.end();
        log.text()
    }

    #[test]
    fn a_character_split_anywhere_is_whole_again() {
        let text = "a é € 𝄞 z";
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(logged(&[head, tail]), text, "split at {at}");
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(logged(&single), text);
    }

    #[test]
    fn what_is_not_utf8_is_marked_and_nul_is_dropped() {
        assert_eq!(logged(&[b"a\xffb\0c"]), "a\u{fffd}bc");
        assert_eq!(logged(&[b"end\xe2\x82"]), "end\u{fffd}");
        assert_eq!(logged(&[b"\xe2", b"x"]), "\u{fffd}x");
    }

    #[test]
    fn of_more_than_the_log_holds_beginning_and_end_are_kept_and_the_rest_is_counted() {
        // Whole pieces, one large one, and characters of three bytes that fall on every border.
        let large = "x".repeat(200_000);
        let wide = "€".repeat(70_000);
        for (body, pieces_of) in [(&large, 10_000), (&large, 200_000), (&wide, 8_191)] {
            let all = format!("begin {body} end");
            let pieces: Vec<&[u8]> = all.as_bytes().chunks(pieces_of).collect();
            let text = logged(&pieces);
            assert!(text.len() <= limits::LOG_BYTES + 64, "{}", text.len());
            assert!(text.starts_with("begin ") && text.ends_with(" end"));
            let (head, rest) = text.split_once("\n[").unwrap();
            let (count, tail) = rest.split_once(" bytes are left out here]\n").unwrap();
            let count: usize = count.parse().unwrap();
            assert_eq!(head.len() + count + tail.len(), all.len());
            assert!(tail.len() > 30_000, "{}", tail.len());
        }
        let whole = "y".repeat(limits::LOG_BYTES);
        assert_eq!(logged(&[whole.as_bytes()]), whole);
    }
}
