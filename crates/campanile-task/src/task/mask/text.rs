//! Hidden names inside texts: `--password=x`, `token: x`, `"api_key": "x"`, `?api_key=x&…`, `https://user:x@host`. Reads a
//! text once from its beginning to its end; whatever it holds is no error.

use std::borrow::Cow;

use super::{MASK, Masks};

/// Names whose value goes to the end of the line, where a header's value does.
const WHOLE_LINES: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];

impl Masks {
    /// A text in which the values after hidden names are masked. References to secrets stay.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = String::new();
        let mut kept = 0;
        let mut from = 0;
        while let Some(found) = text[from..].find(['=', ':']) {
            let at = from + found;
            from = at + 1;
            // A reference is a name.
            if text[..from].ends_with("${secret:") {
                continue;
            }
            let found = password(text, at).or_else(|| self.value(text, at, kept));
            let Some((start, end)) = found.filter(|(start, end)| start < end) else {
                continue;
            };
            let hidden = &text[start..end];
            if hidden.starts_with("${secret:") || hidden.starts_with(MASK) {
                continue;
            }
            out.push_str(&text[kept..start]);
            out.push_str(MASK);
            kept = end;
            from = end;
        }
        if kept == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[kept..]);
        Cow::Owned(out)
    }

    /// Where the value lies that a `=` or `:` at `at` gives to a hidden name.
    fn value(&self, text: &str, at: usize, least: usize) -> Option<(usize, usize)> {
        let before = text[least..at].trim_end_matches([' ', '\t']);
        let before = before.trim_end_matches(['"', '\'', '\\', '`']);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let start = before.rfind(|c| !is_name(c)).map_or(0, |at| {
            at + before[at..].chars().next().map_or(1, char::len_utf8)
        });
        let name = &before[start..];
        if name.is_empty() || !self.hides(name) {
            return None;
        }
        let behind = &text[at + 1..];
        let blank = behind.len() - behind.trim_start_matches([' ', '\t']).len();
        let (from, rest) = (at + 1 + blank, &behind[blank..]);
        let whole = text[at..].starts_with(':')
            && WHOLE_LINES
                .iter()
                .any(|line| line.eq_ignore_ascii_case(name));
        let (from, end) = extent(from, rest, whole);
        Some((from, end))
    }
}

/// From where to where a value goes that begins at `from`, with `rest`.
fn extent(from: usize, rest: &str, whole: bool) -> (usize, usize) {
    let slash = usize::from(rest.starts_with('\\'));
    let quote = rest[slash..]
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'));
    if let Some(quote) = quote {
        let inner = slash + 1;
        let mut escaped = false;
        for (n, c) in rest[inner..].char_indices() {
            let closes = c == quote && (slash == 1 || !escaped);
            if closes {
                let back = usize::from(slash == 1 && escaped);
                return (from + inner, from + inner + n - back);
            }
            escaped = c == '\\' && !escaped;
        }
        return (from + inner, from + rest.len());
    }
    // What has parts of its own is looked at part by part.
    if rest.starts_with(['{', '[']) {
        return (from, from);
    }
    let ends = |c: char| match whole {
        true => matches!(c, '\n' | '\r' | '"' | '\''),
        false => {
            c.is_whitespace()
                || matches!(
                    c,
                    '&' | ';' | ',' | '"' | '\'' | ')' | ']' | '}' | '<' | '>'
                )
        }
    };
    let length = rest.find(ends).unwrap_or(rest.len());
    (from, from + length)
}

/// Where the password of `scheme://user:password@host` lies, if the `:` at `at` is the first of it.
fn password(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text[at..].strip_prefix("://")?;
    let host = at + 3;
    let authority = rest
        .find(['/', '?', '#', ' ', '\n', '"', '\''])
        .unwrap_or(rest.len());
    let end = rest[..authority].rfind('@')?;
    let colon = rest[..end].find(':')?;
    Some((host + colon + 1, host + end))
}
