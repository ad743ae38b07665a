//! What a worker's own settings let tasks start: programs, and their arguments where they are pinned. Owns the syntax of these settings and says which part of a command does not fit; starts nothing, and reads
//! no file.
//!
//! A pattern is for one argument, whole. `*` stands for one or more characters but `/`, `**` also for `/`, and `\` takes
//! the next character as it is. Nobody gets out of a folder by it: an argument that holds `..`, or a control character,
//! fits no pattern with a `*`, and one that begins with `-` fits none that begins with `*`. A link may still lead
//! elsewhere: whoever may write below `/data` decides what `/data/*` reaches.

use std::fmt;
use std::str::FromStr;

/// What stands for any program.
const ANY: &str = "*";

/// What stands for any further arguments.
const MORE: &str = "...";

/// What stands for no arguments, where a list of none would look like no list.
const NONE: &str = "()";

/// Bytes of one entry.
const ENTRY_BYTES_MAX: usize = 4_096;

/// Bytes of an argument that is held against a pattern with a `*`.
const ARGUMENT_BYTES_MAX: usize = 4_096;

/// Characters of an argument that are shown.
const SHOWN_CHARS_MAX: usize = 80;

/// A program that tasks may start, and with which arguments.
///
/// ```
/// # use campanile_adapters::handlers::Allowed;
/// let df: Allowed = "/usr/bin/df -h /data/*".parse().unwrap();
/// assert_eq!(df.program(), "/usr/bin/df");
/// assert_eq!(df.misfit(&["-h", "/data/x"]), None);
/// assert!(df.misfit(&["-h", "/data/../etc"]).is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    program: String,
    /// `None` = whatever arguments.
    arguments: Option<Arguments>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Arguments {
    patterns: Vec<Pattern>,
    /// Whether others may follow.
    more: bool,
}

impl Allowed {
    /// A program by its absolute path, or `*` for any; with the patterns of its arguments, or `None` for whatever arguments.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn new(program: &str, arguments: Option<&[&str]>) -> Result<Self, String> {
        if program == ANY {
            return match arguments {
                None => Ok(Self {
                    program: ANY.to_owned(),
                    arguments: None,
                }),
                Some(_) => Err("`*` stands for any program with any arguments: name the program whose arguments you pin".to_owned()),
            };
        }
        let shown = program.escape_debug();
        if !program.starts_with('/') {
            return Err(format!(
                "`{shown}` is not an absolute path: write it whole, as in /usr/bin/df (or * for any program)"
            ));
        }
        if program.contains('*') {
            return Err(format!(
                "`{shown}`: a program is named, without `*`; patterns are for its arguments"
            ));
        }
        let length = arguments
            .unwrap_or_default()
            .iter()
            .map(|a| a.len())
            .sum::<usize>();
        if program.len() + length > ENTRY_BYTES_MAX {
            return Err(format!("an entry has at most {ENTRY_BYTES_MAX} bytes"));
        }
        Ok(Self {
            program: program.to_owned(),
            arguments: arguments.map(Arguments::new).transpose()?,
        })
    }

    /// Any program, with any arguments.
    #[must_use]
    pub fn any() -> Self {
        Self {
            program: ANY.to_owned(),
            arguments: None,
        }
    }

    /// Whether it stands for any program.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.program == ANY
    }

    /// Its path, or `*`.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether its arguments are pinned.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.arguments.is_some()
    }

    /// Which part of these arguments (without the program's name) does not fit; `None` = all do.
    #[must_use]
    pub fn misfit<S: AsRef<str>>(&self, arguments: &[S]) -> Option<String> {
        self.arguments.as_ref()?.misfit(arguments)
    }
}

impl Arguments {
    fn new(patterns: &[&str]) -> Result<Self, String> {
        let (patterns, more) = match patterns.split_last() {
            Some((last, rest)) if *last == MORE => (rest, true),
            _ => (patterns, false),
        };
        if patterns.contains(&MORE) {
            return Err(format!(
                "`{MORE}` stands for all further arguments, so nothing follows it; the argument itself is \\{MORE}"
            ));
        }
        let patterns = patterns
            .iter()
            .map(|text| Pattern::new(text))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns, more })
    }

    fn misfit<S: AsRef<str>>(&self, arguments: &[S]) -> Option<String> {
        for (index, pattern) in self.patterns.iter().enumerate() {
            let number = index + 1;
            let Some(argument) = arguments.get(index) else {
                return Some(format!(
                    "argument {number} is missing, which is to be `{}`",
                    pattern.text
                ));
            };
            if let Err(why) = pattern.fits(argument.as_ref()) {
                let shown = shown(argument.as_ref());
                return Some(format!(
                    "argument {number} `{shown}` does not fit `{}`{why}",
                    pattern.text
                ));
            }
        }
        let next = arguments.get(self.patterns.len()).filter(|_| !self.more)?;
        Some(format!(
            "argument {} `{}` is one more than the {} that it may have",
            self.patterns.len() + 1,
            shown(next.as_ref()),
            self.patterns.len()
        ))
    }
}

/// An argument as an error may quote it.
pub(super) fn shown(argument: &str) -> String {
    let mut text: String = argument.chars().take(SHOWN_CHARS_MAX).collect();
    if text.len() < argument.len() {
        text.push('…');
    }
    text.escape_debug().to_string()
}

/// A pattern of one argument. However it is written, it is what its pieces are.
#[derive(Debug, Clone, Eq)]
struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `*`
    Within,
    /// `**`
    Across,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' => plain.push(chars.next().ok_or_else(|| {
                    format!(
                        "`{}` ends in `\\`: write `\\\\` for one",
                        text.escape_debug()
                    )
                })?),
                '*' => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    let across = chars.next_if_eq(&'*').is_some();
                    if chars.peek() == Some(&'*') {
                        return Err(format!(
                            "`{}` has more than two `*` in a row",
                            text.escape_debug()
                        ));
                    }
                    pieces.push(if across { Piece::Across } else { Piece::Within });
                }
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// The error is a remark on why, empty where it is plain to see.
    fn fits(&self, argument: &str) -> Result<(), &'static str> {
        match self.pieces.as_slice() {
            [] => return argument.is_empty().then_some(()).ok_or(""),
            [Piece::Text(text)] => return (text == argument).then_some(()).ok_or(""),
            [Piece::Within | Piece::Across, ..] if argument.starts_with('-') => {
                return Err(" (what begins with `-` fits no pattern that begins with `*`)");
            }
            _ => {}
        }
        if argument.contains("..") {
            return Err(" (what holds `..` fits no `*`)");
        }
        if argument.contains(char::is_control) {
            return Err(" (what holds a control character fits no `*`)");
        }
        if argument.len() > ARGUMENT_BYTES_MAX {
            return Err(" (it is too long for a `*`)");
        }
        self.reaches_the_end(argument.as_bytes())
            .then_some(())
            .ok_or("")
    }

    /// Whether the pieces, one after the other, can cover all of it: which places each can end at, from those of the one
    /// before.
    fn reaches_the_end(&self, argument: &[u8]) -> bool {
        let mut here = vec![false; argument.len() + 1];
        here[0] = true;
        for piece in &self.pieces {
            let mut next = vec![false; argument.len() + 1];
            match piece {
                Piece::Text(text) => {
                    for (at, _) in argument.iter().enumerate().filter(|(at, _)| here[*at]) {
                        if argument[at..].starts_with(text.as_bytes()) {
                            next[at + text.len()] = true;
                        }
                    }
                }
                Piece::Within | Piece::Across => {
                    let mut open = false;
                    for (at, byte) in argument.iter().enumerate() {
                        open |= here[at];
                        open &= *piece == Piece::Across || *byte != b'/';
                        next[at + 1] = open;
                    }
                }
            }
            here = next;
        }
        here[argument.len()]
    }
}

impl FromStr for Allowed {
    type Err = String;

    /// Reads a program and the patterns of its arguments, separated by blanks: `/usr/bin/df -h /data/*`. The program alone
    /// stands for whatever arguments, `()` after it for none. Quotes (`'…'`, `"…"`) keep blanks and commas together.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        // A program is no pattern, but was written like one.
        let program = words
            .first()
            .map(|word| unescaped(word))
            .unwrap_or_default();
        if let Some(first) = words.first_mut() {
            *first = &program;
        }
        match words.as_slice() {
            [] => Err("is empty: write an absolute path, as in /usr/bin/df".to_owned()),
            [program] => Self::new(program, None),
            [program, NONE] => Self::new(program, Some(&[])),
            [program, arguments @ ..] => Self::new(program, Some(arguments)),
        }
    }
}

impl fmt::Display for Allowed {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.program.replace('\\', "\\\\")))?;
        let Some(arguments) = &self.arguments else {
            return Ok(());
        };
        for pattern in &arguments.patterns {
            write!(f, " {}", quoted(&pattern.text))?;
        }
        match (arguments.patterns.is_empty(), arguments.more) {
            (_, true) => write!(f, " {MORE}"),
            (true, false) => write!(f, " {NONE}"),
            (false, false) => Ok(()),
        }
    }
}

/// A pattern as a word of an entry.
fn quoted(word: &str) -> String {
    let odd = |c: char| c.is_whitespace() || matches!(c, ',' | '\'' | '"');
    if word == NONE {
        return format!("\\{word}");
    }
    if !word.is_empty() && !word.contains(odd) {
        return word.to_owned();
    }
    let mut out = String::from("'");
    let mut chars = word.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                out.push(char);
                out.extend(chars.next());
            }
            '\'' => out.push_str("\\'"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

/// Splits a list of entries at its commas, but for those in quotes or after `\`.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    walk(text, |piece, last| match piece {
        Bit::Char(',') => out.push(String::new()),
        Bit::Char(char) | Bit::Quote(char) | Bit::Held(char) => {
            if let Some(entry) = out.last_mut() {
                if last == Some('\\') {
                    entry.push('\\');
                }
                entry.push(char);
            }
        }
    });
    let entries = out.iter().map(|entry| entry.trim());
    entries
        .filter(|e| !e.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The words of an entry. What `\` stands before stays behind it: that is the pattern's to read.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let open = walk(text, |piece, last| match piece {
        Bit::Char(char) if char.is_whitespace() => out.extend(word.take()),
        Bit::Quote(_) => {
            word.get_or_insert_default();
        }
        Bit::Char(char) | Bit::Held(char) => {
            let word = word.get_or_insert_default();
            if last == Some('\\') {
                word.push('\\');
            }
            word.push(char);
        }
    });
    out.extend(word);
    match open {
        None => Ok(out),
        Some(what) => Err(format!("`{}`: {what}", text.escape_debug())),
    }
}

fn unescaped(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(char) = chars.next() {
        out.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    out
}

enum Bit {
    /// A character that may separate.
    Char(char),
    /// One in quotes or after `\`, which then is the second argument.
    Held(char),
    /// One that quotes.
    Quote(char),
}

/// Tells each character of a text; answers what is missing at its end.
fn walk(text: &str, mut tell: impl FnMut(Bit, Option<char>)) -> Option<&'static str> {
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', _) => match chars.next() {
                Some(next) => tell(Bit::Held(next), Some('\\')),
                None => return Some("nothing follows the last `\\`"),
            },
            (char, Some(open)) if char == open => {
                quote = None;
                tell(Bit::Quote(char), None);
            }
            (char, Some(_)) => tell(Bit::Held(char), None),
            ('\'' | '"', None) => {
                quote = Some(char);
                tell(Bit::Quote(char), None);
            }
            (char, None) => tell(Bit::Char(char), None),
        }
    }
    quote.map(|_| "a quote is not closed")
}

#[cfg(test)]
#[path = "allow_tests.rs"]
mod tests;
