//! The programs that command handlers run in a test, and the log that they keep themselves.

use super::effects::Effect;

/// What the programs are: a shell script that says when it starts and when it ends, and lives so many seconds in between,
/// with a child of its own; and says the same to who started it. The words of a line: what, when, key, run, attempt, process.
pub fn script(seconds: &str) -> String {
    format!(
        "#!/bin/sh\n\
         say() {{ echo \"$1 $(date +%s%3N) $CAMPANILE_KEY $CAMPANILE_RUN $CAMPANILE_ATTEMPT $$\" | tee -a \"$0.log\"; }}\n\
         say start\nsleep {seconds}\nsay end\n"
    )
}

/// A line that a program wrote.
#[derive(Debug, Clone)]
pub struct ProgramLine {
    /// Whether it is its first; else its last.
    pub start: bool,
    /// The start that it tells of.
    pub effect: Effect,
}

/// Reads what the programs wrote; a line that its program could not finish is left out.
pub fn read_programs(text: &str) -> Vec<ProgramLine> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [word, at, key, run, attempt, _] = words.as_slice() else {
            return None;
        };
        Some(ProgramLine {
            start: *word == "start",
            effect: Effect {
                task: key.split(':').next()?.to_owned(),
                key: (*key).to_owned(),
                run: (*run).to_owned(),
                attempt: attempt.parse().ok()?,
                at_ms: at.parse().ok()?,
                ended_ms: 0,
                status: 0,
                forged: false,
            },
        })
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_left_out() {
        let lines = read_programs("start 5 t:1 r 2 99\nend 9 t:1 r 2 99\nstart 7 t:2");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].start && !lines[1].start);
        assert_eq!((lines[0].effect.attempt, lines[0].effect.at_ms), (2, 5));
    }
}
