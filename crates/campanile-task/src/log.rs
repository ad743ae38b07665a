//! What is kept of an attempt's output: its beginning and its end, within a bound, and how much is missing in between.
//! And what of it the store still lacks: chunks, each of which may be written any number of times, in any order. Pure; who
//! writes them, and when, is the engine's.

use std::collections::VecDeque;
use std::ops::Range;

use crate::limits;

/// A piece of what an attempt wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins, in bytes of all that the attempt wrote.
    pub at: u64,
    pub text: String,
}

/// What becomes of an attempt's log in the store. Any number of times, in any order, it makes the same: of two chunks that begin
/// at one place the longer one stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunks {
    pub put: Vec<Chunk>,
    /// Chunks that begin in here are let go.
    pub gone: Option<Range<u64>>,
}

impl Chunks {
    /// One text from the beginning on.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        let text = text.into();
        let put = Some(Chunk { at: 0, text }).filter(|chunk| !chunk.text.is_empty());
        Self {
            put: put.into_iter().collect(),
            gone: None,
        }
    }

    /// About how many bytes it takes on its way to the store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.put.iter().map(|chunk| chunk.text.len() + 64).sum()
    }
}

/// How much is kept of a log: its beginning, and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    head: usize,
    tail: usize,
}

impl Room {
    /// A quarter for the beginning, the rest for the end: errors stand at the end.
    #[must_use]
    pub const fn of(bytes: usize) -> Self {
        let head = bytes / 4;
        Self {
            head,
            tail: bytes - head,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.head + self.tail
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::of(limits::LOG_BYTES)
    }
}

/// An attempt's output as its worker keeps it. Positions count the bytes of all that was written, kept or not.
#[derive(Debug, Default)]
pub struct Kept {
    room: Room,
    head: String,
    head_is_full: bool,
    /// What follows the head: the last of it, and up to as much again before some is let go.
    tail: String,
    /// Where the tail begins.
    tail_at: u64,
    stored: Stored,
}

/// What the store has of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// All that is kept before this position.
    until: u64,
    /// Where its last chunk begins, if that may still grow; else the same.
    open: u64,
    /// Where its chunks of the tail begin.
    tail: VecDeque<u64>,
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

impl Kept {
    /// Nothing yet, with this much room.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    /// Adds what was written. NUL, which no database's text holds, is replaced before it counts.
    pub fn push(&mut self, text: &str) {
        if text.contains('\0') {
            return self.push(&text.replace('\0', "\u{fffd}"));
        }
        let mut text = text;
        if !self.head_is_full {
            let room = self.room.head - self.head.len();
            let fit = text.floor_char_boundary(room.min(text.len()));
            self.head.push_str(&text[..fit]);
            self.tail_at = length(&self.head);
            text = &text[fit..];
            self.head_is_full = !text.is_empty();
        }
        let room = self.room.tail;
        let skipped = text.ceil_char_boundary(text.len().saturating_sub(room));
        if skipped > 0 {
            self.tail_at = self.end() + length(&text[..skipped]);
            self.tail.clear();
        }
        self.tail.push_str(&text[skipped..]);
        if self.tail.len() > 2 * room {
            let gone = self.tail.ceil_char_boundary(self.tail.len() - room);
            self.tail_at += length(&self.tail[..gone]);
            self.tail.drain(..gone);
        }
    }

    /// How much was written in all.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.tail_at + length(&self.tail)
    }

    /// Whether more was written than is kept.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.tail_from() > length(&self.head)
    }

    /// Whether the store lacks some of it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.stored.until < self.end()
    }

    /// Whether the store has some of it.
    #[must_use]
    pub const fn is_streamed(&self) -> bool {
        self.stored.until > 0
    }

    /// Where the end begins that is kept.
    fn tail_from(&self) -> u64 {
        let over = self.tail.len().saturating_sub(self.room.tail);
        self.tail_at + length(&self.tail[..self.tail.ceil_char_boundary(over)])
    }

    fn tail_since(&self, at: u64) -> &str {
        let from = usize::try_from(at.saturating_sub(self.tail_at)).unwrap_or(usize::MAX);
        self.tail.get(from..).unwrap_or_default()
    }

    /// All of it as chunks, whatever the store has.
    #[must_use]
    pub fn whole(&self) -> Vec<Chunk> {
        let mut all = Vec::new();
        cut(&self.head, 0, &mut all);
        let from = self.tail_from();
        cut(self.tail_since(from), from, &mut all);
        all
    }

    /// What the store lacks, and what it has once that is written; `None` = it has all. Asked again after an answer that nobody
    /// heard, it gives chunks that begin at the same places and are no shorter, or lie behind all that were given.
    #[must_use]
    pub fn pending(&self) -> Option<(Chunks, Stored)> {
        if !self.is_pending() {
            return None;
        }
        let stored = &self.stored;
        let (head_end, tail_from) = (length(&self.head), self.tail_from());
        let mut put = Vec::new();
        if stored.open < head_end {
            let from = usize::try_from(stored.open).unwrap_or(usize::MAX);
            let lacking = self.head.get(from..).unwrap_or_default();
            cut(lacking, stored.open, &mut put);
        }
        let of_head = put.len();
        let from = if stored.until < tail_from {
            tail_from
        } else if stored.open >= self.tail_at {
            stored.open
        } else {
            stored.until
        };
        cut(self.tail_since(from), from, &mut put);
        let mut tail = stored.tail.clone();
        for chunk in &put[of_head..] {
            if tail.back().is_none_or(|last| *last < chunk.at) {
                tail.push_back(chunk.at);
            }
        }
        // A chunk is let go when the next one begins where the tail does, or before.
        while tail.get(1).is_some_and(|next| *next <= tail_from) {
            tail.pop_front();
        }
        let gone = tail.front().copied().filter(|first| *first > head_end);
        let open = match put.last() {
            Some(last) if last.text.len() < limits::LOG_CHUNK_BYTES_MIN => last.at,
            _ => self.end(),
        };
        let stored = Stored {
            until: self.end(),
            open,
            tail,
        };
        let gone = gone.map(|first| head_end..first);
        Some((Chunks { put, gone }, stored))
    }

    /// The store has what [`Self::pending`] gave.
    pub fn settle(&mut self, stored: Stored) {
        self.stored = stored;
    }
}

/// Cuts text into chunks.
fn cut(text: &str, mut at: u64, into: &mut Vec<Chunk>) {
    let mut rest = text;
    while !rest.is_empty() {
        let most = rest.floor_char_boundary(limits::LOG_CHUNK_BYTES_MAX.min(rest.len()));
        let (first, others) = rest.split_at(most);
        into.push(Chunk {
            at,
            text: first.to_owned(),
        });
        at += length(first);
        rest = others;
    }
}

/// What chunks make together from a position on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// Where it begins: where was asked from, or behind it where that is not kept any more.
    pub from: u64,
    /// Up to where nothing is missing.
    pub head: String,
    /// Bytes that are missing behind the head, or (with an empty head) from where was asked from on.
    pub missing: u64,
    /// What follows.
    pub tail: String,
    /// Where it ends: what is written from here on is not in it.
    pub next: u64,
}

/// Puts chunks together, which are in the order of their places. Of two that overlap the first is taken whole.
#[must_use]
pub fn join(from: u64, chunks: &[Chunk]) -> Joined {
    let mut joined = Joined {
        from,
        next: from,
        ..Joined::default()
    };
    for chunk in chunks {
        let end = chunk.at + length(&chunk.text);
        if end <= joined.next {
            continue;
        }
        joined.missing += chunk.at.saturating_sub(joined.next);
        let known = joined.next.saturating_sub(chunk.at);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        // A position that somebody made up may lie in a character.
        let new = &chunk.text[chunk.text.ceil_char_boundary(known.min(chunk.text.len()))..];
        if joined.missing == 0 {
            joined.head.push_str(new);
        } else {
            joined.tail.push_str(new);
        }
        joined.next = end;
    }
    joined
}

impl Joined {
    /// As people read it: with a line that tells how much is missing.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { head, tail, .. } = self;
        if self.missing == 0 {
            return head.clone();
        }
        let line_end = if head.is_empty() || head.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let missing = self.missing;
        format!("{head}{line_end}[{missing} bytes are left out here]\n{tail}")
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
