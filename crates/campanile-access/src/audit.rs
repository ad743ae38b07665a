//! The record of acts: a [`Deed`] is what somebody does, a [`Line`] what is written down of it, and lines form a chain, in
//! which each one's hash covers the one before. [`Chain`] walks over them and tells the first that is missing, changed or
//! in another's place. What a line holds is bounded; what of a definition may be shown is decided by who makes the deed.

use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::actor::Actor;

/// How many bytes of JSON are kept of what was, and of what is.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// How many bytes of JSON are kept of one thing of many.
pub const ITEM_BYTES_MAX: usize = 8 * 1024;
/// How much of an object's name is kept, in characters.
const NAME_CHARS_MAX: usize = 200;

/// What somebody does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deed {
    /// Which act: `task.put`.
    pub act: &'static str,
    /// The kind of what it is done to: `task`.
    pub object: &'static str,
    /// Its name.
    pub name: String,
    /// What was; null = nothing.
    pub before: Value,
    /// What is; null = nothing any more.
    pub after: Value,
    /// How many things it was done to.
    pub count: u64,
}

impl Deed {
    /// An act on one thing.
    #[must_use]
    pub fn new(act: &'static str, object: &'static str, name: &str) -> Self {
        Self {
            act,
            object,
            name: name.chars().take(NAME_CHARS_MAX).collect(),
            count: 1,
            ..Self::default()
        }
    }

    /// The same, with what was and what is; what is too long is told by its size and its hash.
    #[must_use]
    pub fn changing(mut self, before: Value, after: Value) -> Self {
        self.before = fit(before, VALUE_BYTES_MAX);
        self.after = fit(after, VALUE_BYTES_MAX);
        self
    }

    /// The same, of so many things.
    #[must_use]
    pub const fn of_many(mut self, count: u64) -> Self {
        self.count = count;
        self
    }
}

/// A value, or how long it is and its hash.
#[must_use]
pub fn fit(value: Value, most: usize) -> Value {
    let text = value.to_string();
    if text.len() <= most {
        return value;
    }
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    json!({ "$cut": { "bytes": text.len(), "sha256": hash } })
}

/// What is written down of an act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AuditLine))]
pub struct Line {
    /// Its number: they are counted without a gap.
    pub seq: i64,
    /// When, by the store's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who: how the name was proved, and the name, as in `token:ci`.
    pub actor: String,
    /// Where the request came from.
    pub from: String,
    /// The id of the request.
    pub request: Option<String>,
    /// Which act, as in `task.put`; `denied` and `login.failed` are none.
    pub act: String,
    /// What it was done to: kind and name, as in `task:bill`.
    pub object: String,
    /// How many things it was done to.
    pub count: u64,
    /// What was; null = nothing.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub before: Value,
    /// What is; null = nothing.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub after: Value,
    /// Why, as the one who asked says.
    pub reason: Option<String>,
}

impl Line {
    /// Of an act of somebody, with this number and at this time.
    #[must_use]
    pub fn of(actor: &Actor, deed: &Deed, seq: i64, at: Timestamp) -> Self {
        Self {
            seq,
            at,
            actor: actor.identity(),
            from: actor.from().to_owned(),
            request: actor.request().map(str::to_owned),
            act: deed.act.to_owned(),
            object: format!("{}:{}", deed.object, deed.name),
            count: deed.count,
            before: deed.before.clone(),
            after: deed.after.clone(),
            reason: actor.reason().map(str::to_owned),
        }
    }

    /// As it is kept and hashed.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The hash of a line after the one with this hash; the first has the empty text before it.
#[must_use]
pub fn seal(previous: &str, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(previous.as_bytes());
    hash.update(b"\n");
    hash.update(text.as_bytes());
    hex::encode(hash.finalize())
}

/// A line as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: String,
    pub object: String,
    /// [`Line::text`].
    pub text: String,
    pub hash: String,
}

impl Kept {
    /// A line after the one with this hash.
    #[must_use]
    pub fn after(previous: &str, line: &Line) -> Self {
        let text = line.text();
        Self {
            seq: line.seq,
            at: line.at,
            actor: line.actor.clone(),
            object: line.object.clone(),
            hash: seal(previous, &text),
            text,
        }
    }

    /// The line, if it can be read.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        serde_json::from_str(&self.text).ok()
    }
}

/// A place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// The number of its line; 0 = before the first.
    pub seq: i64,
    /// The hash of that line.
    pub hash: String,
}

/// What a store says of its chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The last line.
    pub last: Link,
    /// The last line that was pruned: the chain begins behind it.
    pub anchor: Link,
}

/// Which lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this actor: `token:ci`.
    pub actor: Option<String>,
    /// About this: `task:bill`, or all of a kind: `task`.
    pub object: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether a line is one of them.
    #[must_use]
    pub fn holds(&self, line: &Kept) -> bool {
        let object = self.object.as_deref();
        self.actor.as_ref().is_none_or(|actor| line.actor == *actor)
            && object.is_none_or(|object| {
                let rest = line.object.strip_prefix(object);
                line.object == object
                    || (!object.contains(':') && rest.is_some_and(|r| r.starts_with(':')))
            })
            && self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
    }
}

/// A walk over the lines, from the anchor or from a place that somebody noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    at: Link,
}

impl Chain {
    /// Behind this place.
    #[must_use]
    pub const fn behind(at: Link) -> Self {
        Self { at }
    }

    /// How far it has come.
    #[must_use]
    pub const fn place(&self) -> &Link {
        &self.at
    }

    /// The next line of the store.
    ///
    /// # Errors
    /// What is wrong with it, or before it.
    pub fn take(&mut self, line: &Kept) -> Result<(), String> {
        let wanted = self.at.seq + 1;
        if line.seq != wanted {
            return Err(match line.seq - wanted {
                1 => format!("line {wanted} is missing"),
                _ => format!("lines {wanted} to {} are missing", line.seq - 1),
            });
        }
        if seal(&self.at.hash, &line.text) != line.hash {
            return Err(format!(
                "line {wanted} was changed, or stands where another stood: its hash is not that of its text after line {}",
                self.at.seq
            ));
        }
        let told = line.line().is_some_and(|told| {
            told.seq == line.seq
                && told.at == line.at
                && told.actor == line.actor
                && told.object == line.object
        });
        if !told {
            return Err(format!(
                "line {wanted} says something else than the columns beside it"
            ));
        }
        self.at = Link {
            seq: line.seq,
            hash: line.hash.clone(),
        };
        Ok(())
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// What is missing at the end.
    pub fn end(&self, head: &Head) -> Result<(), String> {
        if self.at == head.last {
            return Ok(());
        }
        Err(if self.at.seq < head.last.seq {
            format!(
                "lines {} to {} are missing: the end was cut off",
                self.at.seq + 1,
                head.last.seq
            )
        } else {
            format!(
                "line {} is not the last that the store has counted ({})",
                self.at.seq, head.last.seq
            )
        })
    }
}

/// The lines of a store that lives in memory.
#[derive(Debug, Default)]
pub struct Book {
    lines: Vec<Kept>,
    head: Head,
}

impl Book {
    /// Writes an act down.
    pub fn note(&mut self, actor: &Actor, deed: &Deed, now: Timestamp) {
        let at = self.lines.last().map_or(now, |last| last.at.max(now));
        let line = Line::of(actor, deed, self.head.last.seq + 1, at);
        let kept = Kept::after(&self.head.last.hash, &line);
        self.head.last = Link {
            seq: kept.seq,
            hash: kept.hash.clone(),
        };
        self.lines.push(kept);
    }

    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The lines of a filter, newest first, with numbers below `before`.
    #[must_use]
    pub fn page(&self, filter: &Filter, before: Option<i64>, limit: usize) -> Vec<Kept> {
        let lines = self.lines.iter().rev();
        let lines = lines
            .filter(|line| before.is_none_or(|before| line.seq < before) && filter.holds(line));
        lines.take(limit).cloned().collect()
    }

    /// All lines behind a number, oldest first.
    #[must_use]
    pub fn behind(&self, seq: i64, limit: usize) -> Vec<Kept> {
        let lines = self.lines.iter().filter(|line| line.seq > seq);
        lines.take(limit).cloned().collect()
    }

    /// Forgets the oldest lines before an instant; the chain begins behind them. Answers how many.
    pub fn prune(&mut self, before: Timestamp, limit: usize) -> usize {
        let old = self
            .lines
            .iter()
            .take(limit)
            .take_while(|line| line.at < before)
            .count();
        if let Some(last) = self.lines.drain(..old).next_back() {
            self.head.anchor = Link {
                seq: last.seq,
                hash: last.hash,
            };
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(lines: u8) -> Book {
        let mut book = Book::default();
        for n in 0..lines {
            let deed = Deed::new("task.put", "task", &format!("t{n}"));
            let deed = deed.changing(Value::Null, json!({ "n": n }));
            let actor = Actor::new(if n % 2 == 0 { "even" } else { "odd" }, "here");
            book.note(&actor, &deed, Timestamp::from_ms(i64::from(n) * 10));
        }
        book
    }

    fn verify(lines: &[Kept], head: &Head) -> Result<(), String> {
        let mut chain = Chain::behind(head.anchor.clone());
        lines.iter().try_for_each(|line| chain.take(line))?;
        chain.end(head)
    }

    #[test]
    fn whatever_is_done_to_a_chain_is_found_and_told_where() {
        let book = book(9);
        let whole = book.behind(0, 100);
        assert_eq!(verify(&whole, book.head()), Ok(()));
        let changed = |change: fn(&mut Vec<Kept>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            verify(&lines, book.head()).unwrap_err()
        };
        assert_eq!(changed(|l| drop(l.remove(4))), "line 5 is missing");
        assert_eq!(changed(|l| drop(l.drain(2..5))), "lines 3 to 5 are missing");
        assert_eq!(changed(|l| drop(l.remove(0))), "line 1 is missing");
        assert!(changed(|l| l.truncate(7)).contains("lines 8 to 9 are missing: the end"));
        let edited = changed(|l| l[3].text = l[3].text.replace("t3", "t4"));
        assert!(edited.starts_with("line 4 was changed"), "{edited}");
        let swapped = changed(|l| {
            let (a, b) = (l[1].seq, l[2].seq);
            l.swap(1, 2);
            (l[1].seq, l[2].seq) = (a, b);
        });
        assert!(swapped.starts_with("line 2 was changed"), "{swapped}");
        let column = changed(|l| l[5].actor = "library:else".to_owned());
        assert!(column.starts_with("line 6 says something else"), "{column}");
        // Who writes one again, with all hashes behind it, is found by the head.
        let forged = changed(|l| {
            l[8].text = l[8].text.replace("t8", "t9");
            l[8].object = "task:t9".to_owned();
            l[8].hash = seal(&l[7].hash, &l[8].text);
        });
        assert!(forged.starts_with("line 9 is not the last"), "{forged}");
    }

    #[test]
    fn a_pruned_chain_begins_at_its_anchor() {
        let mut book = book(9);
        assert_eq!(book.prune(Timestamp::from_ms(40), 3), 3);
        assert_eq!(book.prune(Timestamp::from_ms(40), 3), 1);
        assert_eq!(book.prune(Timestamp::from_ms(40), 3), 0);
        assert_eq!(book.head().anchor.seq, 4);
        assert_eq!(verify(&book.behind(0, 100), book.head()), Ok(()));
        assert_eq!(book.prune(Timestamp::from_ms(400), 30), 5);
        assert_eq!(verify(&[], book.head()), Ok(()));
    }

    #[test]
    fn lines_are_found_by_who_what_and_when() {
        let book = book(9);
        let seqs = |filter: &Filter, before| -> Vec<i64> {
            book.page(filter, before, 3)
                .iter()
                .map(|line| line.seq)
                .collect()
        };
        let of = |actor: &str| Filter {
            actor: Some(actor.to_owned()),
            ..Filter::default()
        };
        assert_eq!(seqs(&of("library:odd"), None), [8, 6, 4]);
        assert_eq!(seqs(&of("library:odd"), Some(4)), [2]);
        for (object, found) in [
            ("task:t3", &[4][..]),
            ("task", &[9, 8, 7]),
            ("tas", &[]),
            ("task:t", &[]),
        ] {
            let filter = Filter {
                object: Some(object.to_owned()),
                ..Filter::default()
            };
            assert_eq!(seqs(&filter, None), found, "{object}");
        }
        let times = Filter {
            since: Some(Timestamp::from_ms(20)),
            until: Some(Timestamp::from_ms(40)),
            ..Filter::default()
        };
        assert_eq!(seqs(&times, None), [4, 3]);
    }

    #[test]
    fn what_is_too_long_is_told_by_size_and_hash() {
        let long = json!({ "payload": "x".repeat(VALUE_BYTES_MAX) });
        let deed = Deed::new("task.put", "task", &"n".repeat(999)).changing(long.clone(), json!(1));
        assert_eq!(deed.before["$cut"]["bytes"], long.to_string().len());
        assert_eq!((deed.after, deed.name.len()), (json!(1), NAME_CHARS_MAX));
    }
}
