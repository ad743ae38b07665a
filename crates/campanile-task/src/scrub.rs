//! Takes the values of secrets out of what leaves a worker: output while it is written, errors, results, progress. Owns the
//! forms in which a value is known again, and that a value in two pieces is found; it knows nothing of names. What
//! somebody disguises on purpose it can't find: whoever gives a program a secret trusts the program.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde_json::Value;

use crate::limits::SECRET_BYTES_MIN;
use crate::task::secret::percent_encode;

/// What stands in place of a value.
pub const SCRUBBED: &str = "***";

/// Bytes by which a form is looked up: no form is shorter.
const HEAD: usize = SECRET_BYTES_MIN;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The forms of some values. Cheap to clone; never shows what it holds.
#[derive(Clone, Default)]
pub struct Forms(Arc<Index>);

#[derive(Default)]
struct Index {
    /// All forms in order, so that those which begin with something stand together.
    sorted: Vec<String>,
    /// By their first [`HEAD`] bytes, which of them.
    heads: HashMap<[u8; HEAD], Vec<usize>>,
    /// Whether any form begins with a byte.
    first: Vec<bool>,
    longest: usize,
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forms({})", self.0.sorted.len())
    }
}

impl Forms {
    /// Of these values: as they are, line by line, in base64 at any place of a longer text, in hex, and escaped for an
    /// address, for JSON and for a page. What is shorter than [`SECRET_BYTES_MIN`] is left out.
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = BTreeSet::new();
        for value in values {
            forms(value, &mut all);
            let lines = value
                .lines()
                .map(str::trim)
                .filter(|line| line.len() < value.len());
            all.extend(lines.map(str::to_owned));
        }
        all.retain(|form| form.len() >= HEAD);
        let mut index = Index {
            sorted: all.into_iter().collect(),
            first: vec![false; 256],
            ..Index::default()
        };
        for (n, form) in index.sorted.iter().enumerate() {
            let bytes = form.as_bytes();
            if let (Some(head), Some(first)) = (head(bytes), bytes.first()) {
                index.heads.entry(head).or_default().push(n);
                index.first[usize::from(*first)] = true;
            }
            index.longest = index.longest.max(form.len());
        }
        Self(Arc::new(index))
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.sorted.is_empty()
    }

    /// The length of the longest form.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.0.longest
    }

    /// A stream of its own.
    #[must_use]
    pub fn scrubber(&self) -> Scrubber {
        Scrubber {
            forms: self.clone(),
            held: String::new(),
            covered: 0,
        }
    }

    /// A whole text without the values.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut scrubber = self.scrubber();
        let mut out = scrubber.push(text);
        out.push_str(&scrubber.end());
        out
    }

    /// A JSON value without the values: in texts, in keys, and numbers that are one. It stays JSON, whatever it holds.
    #[must_use]
    pub fn clean_json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.clean(&text)),
            Value::Array(values) => values.into_iter().map(|v| self.clean_json(v)).collect(),
            Value::Object(fields) => {
                let fields = fields.into_iter();
                fields
                    .map(|(key, value)| (self.clean(&key), self.clean_json(value)))
                    .collect()
            }
            Value::Number(number) => {
                let text = number.to_string();
                let clean = self.clean(&text);
                if clean == text {
                    Value::Number(number)
                } else {
                    Value::String(clean)
                }
            }
            other => other,
        }
    }

    /// The end of the longest form that stands at the beginning of some bytes.
    fn match_at(&self, bytes: &[u8]) -> Option<usize> {
        let first = *bytes.first()?;
        if !self
            .0
            .first
            .get(usize::from(first))
            .copied()
            .unwrap_or(false)
        {
            return None;
        }
        let forms = self.0.heads.get(&head(bytes)?)?;
        let found = forms.iter().filter_map(|n| {
            let form = self.0.sorted.get(*n)?;
            bytes.starts_with(form.as_bytes()).then_some(form.len())
        });
        found.max()
    }

    /// Where the part begins that may be the beginning of a form.
    fn begun(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let from = bytes.len().saturating_sub(self.0.longest.saturating_sub(1));
        let begins = |at: &usize| {
            let end = &bytes[*at..];
            let likely = self.0.first.get(usize::from(end[0])).copied();
            if likely != Some(true) {
                return false;
            }
            let next = self.0.sorted.partition_point(|form| form.as_bytes() < end);
            let mut longer = self.0.sorted[next..].iter().map(String::as_bytes);
            // What is the whole of a form is only begun where a longer one goes on.
            longer
                .find(|form| *form != end)
                .is_some_and(|form| form.starts_with(end))
        };
        (from..bytes.len()).find(begins).unwrap_or(bytes.len())
    }
}

/// One stream of text without the values. Holds back what may be the beginning of one: less than the longest form.
#[derive(Debug, Clone)]
pub struct Scrubber {
    forms: Forms,
    held: String,
    /// Bytes of what is held for which a mask was given out already.
    covered: usize,
}

impl Scrubber {
    /// Takes a piece; answers what can be told of the stream by now.
    #[must_use]
    pub fn push(&mut self, piece: &str) -> String {
        if self.forms.is_empty() {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        let until = self.forms.begun(&self.held);
        self.tell(until)
    }

    /// The stream is over: answers what was held back.
    #[must_use]
    pub fn end(&mut self) -> String {
        self.tell(self.held.len())
    }

    /// How many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn tell(&mut self, until: usize) -> String {
        let bytes = self.held.as_bytes();
        let mut out = String::with_capacity(until);
        // Up to where all is masked, and up to where all was told.
        let (mut masked, mut told) = (self.covered, self.covered.min(until));
        for at in 0..until {
            let Some(length) = self.forms.match_at(&bytes[at..]) else {
                continue;
            };
            if at > masked || (at == masked && masked == 0) {
                out.push_str(&self.held[told..at]);
                out.push_str(SCRUBBED);
            }
            masked = masked.max(at + length);
            told = masked.min(until);
        }
        out.push_str(&self.held[told..until]);
        self.covered = masked.saturating_sub(until);
        self.held.drain(..until);
        out
    }
}

fn head(bytes: &[u8]) -> Option<[u8; HEAD]> {
    bytes.first_chunk::<HEAD>().copied()
}

fn forms(value: &str, all: &mut BTreeSet<String>) {
    if value.len() < SECRET_BYTES_MIN {
        return;
    }
    let bytes = value.as_bytes();
    all.insert(value.to_owned());
    all.insert(value.escape_debug().to_string());
    escaped_for_json(value, all);
    escaped_for_addresses(bytes, all);
    escaped_for_pages(value, all);
    let hex = bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    });
    all.insert(hex.to_uppercase());
    all.insert(hex);
    for before in 0..3 {
        let form = in_base64(bytes, before);
        all.insert(form.replace('+', "-").replace('/', "_"));
        all.insert(form);
    }
}

/// As it stands between quotes: plainly, with `\/`, and in ASCII alone.
fn escaped_for_json(value: &str, all: &mut BTreeSet<String>) {
    let quoted = Value::from(value).to_string();
    let plain = quoted[1..quoted.len() - 1].to_owned();
    let mut ascii = String::with_capacity(plain.len());
    for c in plain.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    // As writers do that take no risk with pages.
    let careful = ascii.replace('<', "\\u003c").replace('>', "\\u003e");
    all.insert(careful.replace('&', "\\u0026").replace('\'', "\\u0027"));
    all.insert(plain.replace('/', "\\/"));
    all.extend([plain, ascii]);
}

/// As strict and as lenient writers have it, in capitals and in small letters, and as forms do.
fn escaped_for_addresses(bytes: &[u8], all: &mut BTreeSet<String>) {
    for plain in [
        "-._~",
        "-_.!~*'()",
        "-_.",
        "-._*",
        "-_.!~*'();/?:@&=+$,#",
        "-._~!$&'()*+,;=:@",
        "-._~!$&'()*+,;=:@/?%|`{}",
    ] {
        let mut form = String::new();
        percent_encode(&mut form, bytes, |b| {
            b.is_ascii_alphanumeric() || plain.as_bytes().contains(&b)
        });
        let small = small_escapes(&form);
        all.extend([
            form.replace("%20", "+"),
            small.replace("%20", "+"),
            small,
            form,
        ]);
    }
}

fn small_escapes(form: &str) -> String {
    let mut digits = 0;
    let lower = form.chars().map(|c| {
        let within = digits > 0;
        digits = if c == '%' {
            2
        } else {
            usize::saturating_sub(digits, 1)
        };
        if within { c.to_ascii_lowercase() } else { c }
    });
    lower.collect()
}

fn escaped_for_pages(value: &str, all: &mut BTreeSet<String>) {
    let tags = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let quotes = tags.replace('"', "&quot;");
    for apostrophe in ["&#39;", "&#x27;", "&apos;"] {
        all.insert(quotes.replace('\'', apostrophe));
    }
    all.insert(tags.replace('"', "&#34;").replace('\'', "&#39;"));
    all.extend([tags, quotes]);
}

/// What is the same wherever so many bytes, modulo three, stand before the value: all but its first and last digits.
fn in_base64(bytes: &[u8], before: usize) -> String {
    let mut padded = vec![0; before];
    padded.extend_from_slice(bytes);
    let digits = padded.chunks(3).flat_map(|chunk| {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        [18, 12, 6, 0].map(|shift| BASE64[(bits >> shift & 63) as usize])
    });
    let whole = padded.len() * 8 / 6;
    let first = (before * 8).div_ceil(6);
    digits.take(whole).skip(first).map(char::from).collect()
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
