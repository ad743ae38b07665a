//! What the head of a request says about its own framing, read from the bytes as they arrive. The HTTP library settles a
//! request with two lengths by itself and forgets that there were two; whoever stands in front may have settled it the
//! other way, and would then see another request behind this one. Only counts; never changes or keeps a byte.

/// The longest name of a header that is looked for.
const NAME_BYTES_MAX: usize = 32;

/// What was found in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Framing {
    /// `Content-Length` lines.
    pub(super) lengths: u8,
    /// `Transfer-Encoding` lines.
    pub(super) encodings: u8,
}

/// Reads one head, in whatever pieces it comes.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    found: Framing,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    /// Whether anything but line breaks has come: those before a request don't end its head.
    begun: bool,
    over: bool,
}

impl Scanner {
    /// Takes what arrived; answers what was found once the head is over, and that once.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<Framing> {
        if self.over {
            return None;
        }
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < NAME_BYTES_MAX {
                    self.line.push(*byte);
                }
                continue;
            }
            let empty = self.line.is_empty() || self.line == b"\r";
            if empty && self.begun {
                self.over = true;
                return Some(self.found);
            }
            self.begun |= !empty;
            self.count();
            self.line.clear();
        }
        None
    }

    /// Whether anything of a request has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun || !self.line.is_empty()
    }

    fn count(&mut self) {
        let mut parts = self.line.splitn(2, |b| *b == b':');
        let (Some(name), Some(_)) = (parts.next(), parts.next()) else {
            return;
        };
        if name.eq_ignore_ascii_case(b"content-length") {
            self.found.lengths = self.found.lengths.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.found.encodings = self.found.encodings.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Option<Framing> {
        let mut scanner = Scanner::default();
        pieces
            .iter()
            .filter_map(|p| scanner.take(p.as_bytes()))
            .last()
    }

    #[test]
    fn a_head_in_any_pieces_says_the_same() {
        let head = "\r\nPOST / HTTP/1.1\r\nhost: a\r\nContent-Length: 1\r\nTRANSFER-encoding:chunked\r\n\r\nbody";
        let found = Framing {
            lengths: 1,
            encodings: 1,
        };
        for at in 0..=head.len() {
            assert_eq!(read(&[&head[..at], &head[at..]]), Some(found), "{at}");
        }
        let bytes: Vec<&str> = head.split_inclusive(|_| true).collect();
        assert_eq!(read(&bytes), Some(found));
    }

    #[test]
    fn what_is_no_length_is_not_counted_and_an_unfinished_head_says_nothing() {
        let other = "GET /content-length:1 HTTP/1.1\nx-content-length: 1\ncontent-length : 1\n\n";
        assert_eq!(read(&[other]), Some(Framing::default()));
        assert_eq!(read(&["GET / HTTP/1.1\r\nContent-Length: 1\r\n"]), None);
        let long = format!("GET / HTTP/1.1\n{}:1\n\n", "content-length".repeat(9));
        assert_eq!(read(&[&long]), Some(Framing::default()));
    }
}
