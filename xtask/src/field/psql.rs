//! A lasting `psql` session: asks the store from outside the product's own code, many times a second, without a new
//! process for each question. Reads only; whoever asks twenty times a second must not be a load of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use xtask::servers::Postgres;

use super::Outcome;

/// Between two cells of a row: a character that no column of ours holds.
const CELL_END: char = '\u{1f}';
/// Begins the line that tells that an answer is complete.
const ANSWER_END: &str = "\u{1e}end";

/// One session.
pub struct Psql {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Psql {
    /// Opens a session on the database at `url`.
    pub fn open(postgres: &Postgres, url: &str) -> Outcome<Self> {
        let mut command = postgres.psql(url);
        // A refused statement is this session's answer, not its end.
        command.args(["--set", "ON_ERROR_STOP=0"]);
        command.args(["--field-separator", &CELL_END.to_string()]);
        command.env("PGAPPNAME", "cluster-test");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("psql was started without its pipes".into());
        };
        let output = BufReader::new(output);
        let mut session = Self {
            child,
            input,
            output,
        };
        session.rows("SELECT 1")?;
        Ok(session)
    }

    /// The rows of one statement, as texts; nothing (NULL) is empty.
    pub fn rows(&mut self, statement: &str) -> Outcome<Vec<Vec<String>>> {
        writeln!(
            self.input,
            "{statement};\n\\echo {ANSWER_END} :ERROR :LAST_ERROR_MESSAGE"
        )?;
        self.input.flush()?;
        let mut rows = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                return Err(format!("psql ended while it was asked: {statement}").into());
            }
            let text = line.trim_end_matches('\n');
            if let Some(end) = text.strip_prefix(ANSWER_END) {
                return match end.trim_start().strip_prefix("true") {
                    Some(why) => Err(format!("{statement}: {}", why.trim()).into()),
                    None => Ok(rows),
                };
            }
            rows.push(text.split(CELL_END).map(str::to_owned).collect());
        }
    }

    /// The first cell of the first row as a number.
    pub fn number(&mut self, statement: &str) -> Outcome<i64> {
        let rows = self.rows(statement)?;
        let cell = rows.first().and_then(|row| row.first());
        let cell = cell.ok_or_else(|| format!("no row: {statement}"))?;
        Ok(cell.parse()?)
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_tells_answers_from_refusals_and_goes_on() {
        let Some(server) = xtask::or_skip(Postgres::shared()) else {
            return;
        };
        let mut psql = Psql::open(&server, &server.url()).unwrap();
        let rows = psql.rows("SELECT 1, NULL, 'a b' UNION ALL SELECT 2, 'x', 'y' ORDER BY 1");
        assert_eq!(rows.unwrap(), [["1", "", "a b"], ["2", "x", "y"]]);
        let refusal = psql.rows("SELECT nothing").unwrap_err().to_string();
        assert!(refusal.contains("does not exist"), "{refusal}");
        assert_eq!(psql.number("SELECT 7").unwrap(), 7);
        assert!(psql.rows("SELECT 1 WHERE false").unwrap().is_empty());
    }
}
