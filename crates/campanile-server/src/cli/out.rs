//! What the CLI writes: results to standard output, as tables or JSON; remarks and errors to standard error. The only
//! place of the program that does. A reader that goes away (`| head`) ends the output, and is no error. What others wrote
//! (descriptions, errors, logs) is shown and never obeyed: no character of it reaches a terminal that would move its
//! cursor, change its colours or turn the order of the letters around.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use campanile::system;
use campanile::time::Timestamp;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::args::Form;

/// How long nothing is shown of something that goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// How they are written.
    pub form: Form,
}

impl Out {
    /// A line of a result.
    pub fn line(self, text: impl std::fmt::Display) {
        let _ = writeln!(std::io::stdout(), "{}", harmless(&text.to_string()));
    }

    /// A text of a result: as it is to a file or a pipe, harmless to a terminal.
    pub fn text(self, text: &str) {
        let mut stdout = std::io::stdout();
        let text = if stdout.is_terminal() {
            harmless(text)
        } else {
            Cow::Borrowed(text)
        };
        let _ = write!(stdout, "{text}");
    }

    /// A remark beside the result.
    pub fn remark(self, text: impl std::fmt::Display) {
        let _ = writeln!(std::io::stderr(), "{}", harmless(&text.to_string()));
    }

    /// A result for programs.
    pub fn json(self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        // JSON's own escape keeps the value: such characters stand within its strings alone.
        self.line(escaped(&text, |c| format!("\\u{:04x}", u32::from(c))));
    }

    /// A result in both forms: the value for programs, for people what `table` makes of it.
    pub fn show<T: Serialize>(self, value: &T, people: impl FnOnce(Self, &T)) {
        match self.form {
            Form::Json => self.json(value),
            Form::Table => people(self, value),
        }
    }

    /// A table.
    pub fn table(self, head: &[&str], rows: Vec<Vec<String>>) {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(head.iter().map(|h| h.to_uppercase()));
        for row in rows {
            table.add_row(row.iter().map(|cell| {
                // A line of a cell is a line of the table: nobody else's text makes one.
                cell.replace('\n', "\\n")
            }));
        }
        for line in table.to_string().lines() {
            self.line(line.trim_end());
        }
    }
}

/// Waits for something, and says so on a terminal once it takes longer than a moment.
pub async fn waiting<F: Future>(what: &'static str, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    if let Some(done) = system::within(PATIENCE, future.as_mut()).await {
        return done;
    }
    if !std::io::stderr().is_terminal() {
        return future.await;
    }
    let bar = indicatif::ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = future.await;
    bar.finish_and_clear();
    done
}

/// Whether a terminal does something at this character rather than show it: a control, or a mark of direction.
fn is_order(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_order(c) {
            out.push_str(&escape(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A text as a terminal may have it: its own lines, and no orders to the terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.escape_unicode().to_string())
}

/// An instant in a table.
#[must_use]
pub fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |t| t.to_string())
}

/// A text in a table: no control characters, not too long.
#[must_use]
pub fn short(text: &str, most: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match clean.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_gives_orders_to_a_terminal() {
        let text = "a\u{1b}[31m\r\0\u{9b}2J\u{7f}\u{202e}b\u{2066}\tc\nd é 🦀";
        let shown = harmless(text);
        assert_eq!(
            shown,
            "a\\u{1b}[31m\\u{d}\\u{0}\\u{9b}2J\\u{7f}\\u{202e}b\\u{2066}\tc\nd é 🦀"
        );
        let json = serde_json::to_string(text).unwrap();
        let json = escaped(&json, |c| format!("\\u{:04x}", u32::from(c)));
        assert!(!json.contains(is_order), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert!(matches!(harmless("plain\n"), Cow::Borrowed(_)));
    }
}
