//! Bytes from outside into an attempt's log: as UTF-8 whatever they are, without NUL (no database's TEXT holds one),
//! and never more work than the log has room for.

use campanile::port::handler::Log;
use campanile::protocol::limits;

/// Writes one stream of bytes to a log. A character may be split over two pieces.
#[derive(Debug)]
pub(super) struct Output {
    log: Log,
    /// The beginning of a character whose end hasn't come yet: three bytes at most.
    tail: Vec<u8>,
    taken: usize,
}

impl Output {
    pub(super) const fn new(log: Log) -> Self {
        Self {
            log,
            tail: Vec::new(),
            taken: 0,
        }
    }

    /// Adds a piece. Cheap once the log is full.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.is_over() {
            return;
        }
        self.taken += piece.len();
        let mut bytes = std::mem::take(&mut self.tail);
        bytes.extend_from_slice(piece);
        let mut rest = bytes.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => return self.write(text),
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.write(&String::from_utf8_lossy(good));
                    let Some(length) = error.error_len() else {
                        self.tail = bad.to_vec();
                        return;
                    };
                    self.write("\u{fffd}");
                    rest = &bad[length..];
                }
            }
        }
    }

    /// Whether more was taken than the log can hold, so that nothing that follows can show.
    pub(super) const fn is_over(&self) -> bool {
        self.taken > limits::LOG_BYTES_MAX
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn more_than_the_log_holds_is_cut_and_said() {
        let piece = vec![b'x'; 10_000];
        let text = logged(&vec![piece.as_slice(); 20]);
        assert!(text.len() < limits::LOG_BYTES_MAX + 100);
        assert!(
            text.ends_with("[cut at 65536 bytes]\n"),
            "{}",
            &text[65_500..]
        );
    }
}
