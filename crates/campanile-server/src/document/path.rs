//! Paths to fields: `task[0].handler.http.url`. Owns their steps and their text.

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A field of an object.
    Key(String),
    /// An element of a list, from 0.
    Index(usize),
}

/// Characters of a key that are shown: a stranger chooses its length.
const SHOWN_CHARS_MAX: usize = 60;

/// A path as people read it.
#[must_use]
pub fn text(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Index(n) => out.push_str(&format!("[{n}]")),
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                let shown = key.chars().take(SHOWN_CHARS_MAX);
                out.extend(shown.flat_map(char::escape_debug));
            }
        }
    }
    out
}

/// Reads what [`text`] wrote; a key with a dot in it becomes two.
#[must_use]
pub fn parse(text: &str) -> Vec<Step> {
    let mut out = Vec::new();
    for part in text.split('.').filter(|p| !p.is_empty()) {
        let (key, rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !key.is_empty() {
            out.push(Step::Key(key.to_owned()));
        }
        let indexes = rest.split(['[', ']']).filter(|n| !n.is_empty());
        out.extend(indexes.filter_map(|n| n.parse().ok()).map(Step::Index));
    }
    out
}
