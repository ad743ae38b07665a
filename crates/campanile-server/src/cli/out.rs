//! What the CLI writes: results to standard output, as tables or JSON; remarks and errors to standard error. The only
//! place of the program that does. A reader that goes away (`| head`) ends the output, and is no error. What others wrote
//! (descriptions, errors, logs) is shown and never obeyed: no character of it reaches a terminal that would move its
//! cursor, change its colours or turn the order of the letters around.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use campanile_core::system;
use campanile_schedule::instant::is_utc;
use campanile_schedule::time::Timestamp;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::args::Form;

/// How long nothing is shown of something that goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where results go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Out {
    /// How they are written.
    pub form: Form,
    /// On whose wall instants are shown in tables, if somebody said so. Said once for the process.
    pub zone: Option<&'static str>,
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

    /// An instant in a table: on the wall of the zone that was asked for; else in UTC, and where its task has another
    /// zone on the wall of that, with the UTC behind it.
    #[must_use]
    pub fn at(self, at: Timestamp, task_zone: Option<&str>) -> String {
        let zone = self.zone.or(task_zone).filter(|zone| !is_utc(zone));
        let Some(wall) = zone.and_then(|zone| on_wall(at, zone)) else {
            return at.to_string();
        };
        match self.zone {
            Some(_) => wall,
            None => format!("{wall} ({at})"),
        }
    }

    /// The same for one that may be absent.
    #[must_use]
    pub fn instant(self, at: Option<Timestamp>, task_zone: Option<&str>) -> String {
        at.map_or_else(|| "-".to_owned(), |at| self.at(at, task_zone))
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

/// What a clock on the wall of a zone shows at an instant, with its difference from UTC.
fn on_wall(at: Timestamp, zone: &str) -> Option<String> {
    let zone = jiff::tz::TimeZone::get(zone).ok()?;
    let at = jiff::Timestamp::from_millisecond(at.as_ms()).ok()?;
    let wall = at.to_zoned(zone);
    Some(wall.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string())
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
    fn an_instant_is_shown_in_utc_and_on_the_wall_that_matters() {
        let at = Timestamp::parse("2026-10-25T00:30:00.250Z").unwrap();
        let out = |zone| Out {
            form: Form::Table,
            zone,
        };
        for (asked, of_task, shown) in [
            (None, None, "2026-10-25T00:30:00.250Z"),
            (None, Some("UTC"), "2026-10-25T00:30:00.250Z"),
            (
                None,
                Some("Europe/Berlin"),
                "2026-10-25T02:30:00.250+02:00 (2026-10-25T00:30:00.250Z)",
            ),
            (
                Some("UTC"),
                Some("Europe/Berlin"),
                "2026-10-25T00:30:00.250Z",
            ),
            (
                Some("Asia/Tokyo"),
                Some("Europe/Berlin"),
                "2026-10-25T09:30:00.250+09:00",
            ),
        ] {
            assert_eq!(out(asked).at(at, of_task), shown);
        }
    }

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
