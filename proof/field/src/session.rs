//! A lasting session of a store's own shell (`psql`, `sqlite3`): asks from outside the product's code, many times a second,
//! without a new process for each question. A shell that is refused, or whose server dies, ends; its session is over then.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Outcome;

/// Between two cells of a row: a character that no column of ours holds.
pub const CELL_END: &str = "\u{1f}";
/// The line that tells that an answer is complete.
const ANSWER_END: &str = "\u{1e}end";

pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The shell's own command that prints a line.
    print: &'static str,
}

impl Session {
    /// Starts a shell that ends at the first error and separates cells by [`CELL_END`]; `print` is its command for a line.
    pub fn start(shell: &mut Command, print: &'static str) -> Outcome<Self> {
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.stderr(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a shell was started without its pipes".into());
        };
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
            print,
        })
    }

    /// The rows of one statement, as texts; nothing (NULL) is empty. After an error the session is over.
    pub fn rows(&mut self, statement: &str) -> Outcome<Vec<Vec<String>>> {
        let print = self.print;
        // A shell that is gone tells why below.
        let _ = writeln!(self.input, "{statement};\n{print} {ANSWER_END}");
        let _ = self.input.flush();
        let mut rows = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                let mut said = String::new();
                if let Some(errors) = &mut self.child.stderr {
                    errors.read_to_string(&mut said)?;
                }
                return Err(format!("{statement}: {}", said.trim()).into());
            }
            let text = line.trim_end_matches('\n');
            if text == ANSWER_END {
                return Ok(rows);
            }
            rows.push(text.split(CELL_END).map(str::to_owned).collect());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
