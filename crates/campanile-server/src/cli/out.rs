//! What the CLI writes: results to standard output, as tables or JSON; remarks and errors to standard error. The only
//! place of the program that does. A reader that goes away (`| head`) ends the output, and is no error.

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
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A text of a result, as it is.
    pub fn text(self, text: &str) {
        let _ = write!(std::io::stdout(), "{text}");
    }

    /// A remark beside the result.
    pub fn remark(self, text: impl std::fmt::Display) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A result for programs.
    pub fn json(self, value: &impl Serialize) {
        self.line(serde_json::to_string_pretty(value).unwrap_or_default());
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
            table.add_row(row);
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
