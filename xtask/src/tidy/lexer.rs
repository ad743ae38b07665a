//! Just enough of Rust's grammar to tell code from comments and from the insides of strings. It keeps every line where
//! it was, so that what is found in its output has the line number of the source; it knows nothing of items or types.

/// The source with comments removed and each character inside a string or a character literal replaced by `s`.
pub(super) fn code_of(source: &str) -> String {
    let mut lexer = Lexer {
        rest: source,
        code: String::with_capacity(source.len()),
    };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.code
}

struct Lexer<'a> {
    rest: &'a str,
    code: String,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let after_word = self
            .code
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_');
        if self.rest.starts_with("//") {
            self.drop_until(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.drop_until(block_comment_end(self.rest));
        } else if let Some((open, hashes)) = raw_string_start(self.rest).filter(|_| !after_word) {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = self.rest[open..]
                .find(&close)
                .map_or(self.rest.len(), |at| open + at);
            self.string(open, end, close.len());
        } else if self.rest.starts_with('"') {
            let end = quoted_end(&self.rest[1..], '"') + 1;
            self.string(1, end, 1);
        } else if self.rest.starts_with('\'') {
            self.quote();
        } else {
            self.keep(1);
        }
    }

    /// A character literal, or the start of a lifetime.
    fn quote(&mut self) {
        let mut chars = self.rest.chars().skip(1);
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') || second == Some('\'') {
            let end = quoted_end(&self.rest[1..], '\'') + 1;
            self.string(1, end, 1);
        } else {
            self.keep(1);
        }
    }

    /// Keeps so many characters.
    fn keep(&mut self, count: usize) {
        let end = self
            .rest
            .char_indices()
            .nth(count)
            .map_or(self.rest.len(), |(at, _)| at);
        self.code.push_str(&self.rest[..end]);
        self.rest = &self.rest[end..];
    }

    /// Keeps the marks of a string, and its lines; hides what it says.
    fn string(&mut self, open: usize, end: usize, close: usize) {
        let after = (end + close).min(self.rest.len());
        self.code.push_str(&self.rest[..open]);
        self.code.extend(
            self.rest[open..end]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { 's' }),
        );
        self.code.push_str(&self.rest[end..after]);
        self.rest = &self.rest[after..];
    }

    fn drop_until(&mut self, end: usize) {
        self.code
            .extend(self.rest[..end].chars().filter(|c| *c == '\n'));
        self.rest = &self.rest[end..];
    }
}

/// Where the block comment at the start ends; they nest.
fn block_comment_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// For `r"`, `r#"`, `br##"`, `cr"` at the start: the length of the opening and the number of hashes.
fn raw_string_start(text: &str) -> Option<(usize, usize)> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix);
        after.is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = text[prefix.len()..]
        .chars()
        .take_while(|c| *c == '#')
        .count();
    Some((prefix.len() + hashes + 1, hashes))
}

/// Where the closing mark is that no backslash escapes.
fn quoted_end(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::code_of;

    #[test]
    fn comments_go_and_lines_stay() {
        assert_eq!(code_of("a // b\nc /* d\n/* e */ f */ g\n"), "a \nc \n g\n");
        assert_eq!(code_of("/* never closed"), "");
    }

    #[test]
    fn the_insides_of_strings_are_hidden() {
        assert_eq!(
            code_of(r#"f("a // {", b'"', 'x', '\'', '\u{7f}')"#),
            r#"f("ssssss", b's', 's', 'ss', 'ssssss')"#
        );
        assert_eq!(
            code_of("r#\"a\" {\"# + br\"\\\" + b"),
            "r#\"ssss\"# + br\"s\" + b"
        );
        assert_eq!(code_of("\"two\nlines\""), "\"sss\nsssss\"");
        assert_eq!(code_of("\"never closed"), "\"ssssssssssss");
    }

    #[test]
    fn lifetimes_and_names_ending_in_r_are_code() {
        assert_eq!(
            code_of("fn f<'a>(x: &'a str) { bar\"x\" }"),
            "fn f<'a>(x: &'a str) { bar\"s\" }"
        );
        assert_eq!(
            code_of("'label: loop { break 'label; }"),
            "'label: loop { break 'label; }"
        );
    }
}
