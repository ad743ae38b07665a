//! What runs during the test, and when it must have run: the tasks as they are applied, and an oracle of their instants
//! that shares no code with the product. An instant is anchor + k × period, added up on paper.

use std::fmt::Write as _;
use std::path::Path;

use super::effects::Effects;

/// The destination that existed before.
pub const LEGACY_QUEUE: &str = "legacy.orders";
/// The body that its listener expects.
pub const LEGACY_BODY: &str = "<order id='1'/>";
/// The queues that the workers work on.
pub const QUEUES: &str = "default,slow,programs";
/// What command handlers run.
pub const SHELL: &str = "/bin/sh";
/// How far ahead of its instant an occurrence may be recorded: the published look-ahead, and the time of a transaction.
const AHEAD_MS: i64 = 2_000;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An HTTP effect that answers at once.
    Quick,
    /// An HTTP effect that takes a while: what a worker holds when it dies.
    Slow,
    /// The same, started at most once.
    Once,
    /// A program on the worker's machine.
    Program,
    /// A message for the listener that existed before.
    Order,
}

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// The time between two instants.
    pub period_ms: i64,
    /// The first instant.
    pub anchor_ms: i64,
}

/// All tasks, in the order of their names.
pub fn tasks(start_ms: i64) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut add = |name: String, kind, period_ms, phase_ms| {
        tasks.push(Task {
            name,
            kind,
            period_ms,
            anchor_ms: start_ms + phase_ms,
        });
    };
    for n in 0..100 {
        let kind = if n % 10 == 0 { Kind::Slow } else { Kind::Quick };
        add(format!("effect-{n:02}"), kind, 1_000, n * 10);
    }
    for n in 0..3 {
        add(format!("once-{n}"), Kind::Once, 1_000, n * 333);
    }
    add("order".to_owned(), Kind::Order, 1_000, 500);
    for n in 0..5 {
        add(format!("program-{n}"), Kind::Program, 5_000, n * 1_000);
    }
    tasks
}

/// The task file.
pub fn file(tasks: &[Task], effects: &Effects, script: &Path) -> String {
    let mut text = String::new();
    for task in tasks {
        let name = &task.name;
        let (queue, handler) = match task.kind {
            Kind::Quick => ("default", http(&effects.url(name, false))),
            Kind::Slow | Kind::Once => ("slow", http(&effects.url(name, true))),
            Kind::Order => (
                "legacy",
                format!(
                    "{{ external = {{ destination = \"{LEGACY_QUEUE}\", body = \"payload\", reply = \"none\" }} }}"
                ),
            ),
            Kind::Program => (
                "programs",
                format!(
                    "{{ command = {{ argv = [\"{SHELL}\", \"{}\"] }} }}",
                    script.display()
                ),
            ),
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "[[task]]\nname = \"{name}\"\nschedule = \"every {}s\"\nanchor = \"{}\"\nqueue = \"{queue}\"\nhandler = {handler}",
            task.period_ms / 1_000,
            rfc3339(task.anchor_ms)
        );
        match task.kind {
            Kind::Once => text.push_str("start = \"at-most-once\"\n"),
            Kind::Order => {
                let _ = writeln!(text, "payload = \"{LEGACY_BODY}\"");
            }
            Kind::Quick | Kind::Slow | Kind::Program => {}
        }
        text.push('\n');
    }
    text
}

fn http(url: &str) -> String {
    format!("{{ http = {{ url = \"{url}\", method = \"POST\" }} }}")
}

/// What the programs are: a shell script that says when it starts and when it ends, and lives a while in between, with
/// a child of its own. The words of a line: what, when, key, run, attempt, process.
pub const SCRIPT: &str = "\
#!/bin/sh
say() { echo \"$1 $(date +%s%3N) $CAMPANILE_KEY $CAMPANILE_RUN $CAMPANILE_ATTEMPT $$\" >> \"$0.log\"; }
say start
sleep 4
say end
";

/// The instants that a task must have an account of, given when it was paused (between these two moments by the
/// clock of the one who asked): all up to the request must be there, none from well after the answer may be.
pub fn expected(task: &Task, asked_ms: i64, answered_ms: i64) -> (Vec<i64>, Vec<i64>) {
    let mut must = Vec::new();
    let mut may = Vec::new();
    let mut at = task.anchor_ms;
    while at <= answered_ms + AHEAD_MS {
        if at < asked_ms {
            must.push(at);
        } else {
            may.push(at);
        }
        at += task.period_ms;
    }
    (must, may)
}

/// Milliseconds since 1970 as a UTC instant, by the civil calendar.
pub fn rfc3339(ms: i64) -> String {
    let (seconds, millis) = (ms.div_euclid(1_000), ms.rem_euclid(1_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 0000-03-01, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_spelled_by_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn what_must_be_there_ends_at_the_pause() {
        let task = Task {
            name: String::new(),
            kind: Kind::Quick,
            period_ms: 1_000,
            anchor_ms: 10,
        };
        let (must, may) = expected(&task, 2_010, 2_020);
        assert_eq!(must, [10, 1_010]);
        assert_eq!(may, [2_010, 3_010, 4_010]);
    }

    #[test]
    fn names_are_unique_and_phases_are_spread() {
        let tasks = tasks(0);
        let names: std::collections::BTreeSet<_> = tasks.iter().map(|t| &t.name).collect();
        assert_eq!(names.len(), tasks.len());
        let phases: std::collections::BTreeSet<_> = tasks.iter().map(|t| t.anchor_ms).collect();
        assert!(phases.len() > 100);
    }
}
