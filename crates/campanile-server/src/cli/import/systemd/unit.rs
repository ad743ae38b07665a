//! systemd's unit files as lines: sections, keys and values, with what continues over lines put together. Owns the syntax
//! (systemd.syntax(7)) and its quoting; what a key means is asked elsewhere.

use super::super::task::shown;

/// A unit file may be as large as this.
pub(in super::super) const UNIT_BYTES_MAX: u64 = 256 * 1024;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    /// The file, and its line.
    pub(super) place: String,
}

/// A unit with what its drop-ins add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Unit {
    /// As it is called: `backup.timer`.
    pub(in super::super) name: String,
    /// Where it was read.
    pub(in super::super) shown: String,
    pub(super) entries: Vec<Entry>,
}

impl Unit {
    /// Without any line.
    pub(in super::super) fn new(name: &str, shown: &str) -> Self {
        Self {
            name: name.to_owned(),
            shown: shown.to_owned(),
            entries: Vec::new(),
        }
    }

    /// Reads the lines of a file of it.
    pub(in super::super) fn read(&mut self, shown: &str, text: &str) {
        let mut section = String::new();
        let mut open: Option<(usize, String)> = None;
        for (n, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            let comment = trimmed.starts_with(['#', ';']);
            if comment || (trimmed.is_empty() && open.is_none()) {
                continue;
            }
            let (at, mut whole) = open.take().unwrap_or((n, String::new()));
            if !whole.is_empty() {
                whole.push(' ');
            }
            match trimmed.strip_suffix('\\') {
                Some(part) => {
                    whole.push_str(part.trim_end());
                    open = Some((at, whole));
                    continue;
                }
                None => whole.push_str(trimmed),
            }
            self.take(&mut section, &format!("{shown} line {at}"), &whole);
        }
        if let Some((at, whole)) = open {
            self.take(&mut section, &format!("{shown} line {at}"), &whole);
        }
    }

    fn take(&mut self, section: &mut String, place: &str, line: &str) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            *section = name.to_owned();
            return;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        self.entries.push(Entry {
            section: section.clone(),
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
            place: place.to_owned(),
        });
    }

    /// What counts of a key: an empty assignment takes those before it back.
    pub(super) fn all(&self, section: &str, key: &str) -> Vec<&Entry> {
        let mut out = Vec::new();
        let of = |e: &&Entry| e.section == section && e.key == key;
        for entry in self.entries.iter().filter(of) {
            if entry.value.is_empty() {
                out.clear();
            } else {
                out.push(entry);
            }
        }
        out
    }

    /// The last assignment of a key.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Entry> {
        self.all(section, key).pop()
    }

    /// The unit that a timer starts.
    pub(in super::super) fn starts(&self) -> String {
        let stem = self.name.trim_end_matches(".timer");
        let named = self.last("Timer", "Unit");
        named.map_or_else(|| format!("{stem}.service"), |e| e.value.clone())
    }

    /// A switch; `false` where it is not set.
    pub(super) fn is_on(&self, section: &str, key: &str) -> bool {
        let value = self
            .last(section, key)
            .map(|e| e.value.to_ascii_lowercase());
        matches!(value.as_deref(), Some("yes" | "true" | "on" | "1"))
    }
}

/// Splits a value into words: blanks part them, quotes keep them together, backslashes stand for what follows.
///
/// # Errors
/// A quote that is not closed.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => {
                let next = chars.next().unwrap_or('\\');
                word.get_or_insert_default().push(match next {
                    'n' => '\n',
                    't' => '\t',
                    's' => ' ',
                    other => other,
                });
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => out.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("`{}` has a quote that is not closed", shown(text)));
    }
    out.extend(word);
    Ok(out)
}
