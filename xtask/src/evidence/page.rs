//! The evidence page as a text, made of the promises' table and the kept records alone. It judges nothing: an instrument
//! that did not pass leaves no record.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::promises::PROMISES;
use super::{MARK, Record, Records};

/// Where the page stands.
pub const PATH: &str = "docs/contribute/evidence.md";

/// An instrument, in the order of the page.
struct Instrument {
    name: &'static str,
    title: &'static str,
    guide: &'static str,
    says: &'static str,
}

const INSTRUMENTS: &[Instrument] = &[
    Instrument {
        name: "model",
        title: "The model",
        guide: "docs/contribute/model.md",
        says: "Every order of steps that the bounds allow; every guard taken away once.",
    },
    Instrument {
        name: "simulation",
        title: "The simulation",
        guide: "docs/contribute/simulation.md",
        says: "The production engine on simulated time; a seed's dice break everything around it.",
    },
    Instrument {
        name: "stepping",
        title: "Real engines, statement by statement",
        guide: "docs/contribute/interleavings.md",
        says: "The stores' own statements, sent by two and three sessions in chosen orders, against the store in memory.",
    },
    Instrument {
        name: "failpoints",
        title: "Failpoints",
        guide: "docs/contribute/failpoints.md",
        says: "A process killed, or stopped, at every named step; the next one finds what it left.",
    },
    Instrument {
        name: "chaos",
        title: "The chaos campaign",
        guide: "docs/contribute/chaos.md",
        says: "Real processes and servers under faults that never stop, and three schedulers without any lock.",
    },
    Instrument {
        name: "cluster",
        title: "The cluster test",
        guide: "docs/contribute/cluster-test.md",
        says: "One fault after another on a whole cluster, with the time that service was away.",
    },
    Instrument {
        name: "provider",
        title: "A foreign identity provider",
        guide: "docs/guide/access.md",
        says: "People log in through the pages of npm's oidc-provider; who is in no group, and a code that was used, get nobody in.",
    },
    Instrument {
        name: "fuzz",
        title: "Hostile input",
        guide: "docs/contribute/hostile-input.md",
        says: "Any bytes as what comes from outside, on a build with a sanitizer.",
    },
];

/// The instruments' names, in the order of the page.
pub fn names() -> impl Iterator<Item = &'static str> {
    INSTRUMENTS.iter().map(|instrument| instrument.name)
}

const HEAD: &str = "\
# Evidence

What each promise rests on, and what was counted when it was last put to the test. `cargo xtask evidence` writes this page
from what the instruments printed (`docs/contribute/evidence/`); no figure here is written by hand, and `cargo xtask check` refuses the
page if it says anything else. All of it was run on one virtual machine with two cores, some of it while other work ran
beside it: the counts say what was tried, not how fast this is.

An instrument that finds a promise broken exits with an error and leaves no record. What they found while they were built,
with the seeds, is in `CHANGELOG.md`; that they find known bugs, put in on purpose, is told on each instrument's page.

## From the promise to its test

The invariants are predicates in `crates/campanile-core/src/decide/invariants.rs` and in the sources named in the table;
`docs/contribute/protocol.md` has the list.
";

/// The whole page.
pub fn render(records: &Records) -> String {
    let mut out = HEAD.to_owned();
    out.push_str(
        "\n| promise | invariant | model | simulation | statements, failpoints | real processes |\n|---|---|---|---|---|---|\n",
    );
    for promise in PROMISES {
        let cells = promise.cells().join(" | ");
        let _ = writeln!(out, "| {cells} |");
    }
    out.push_str("\n## What was counted\n\n| instrument | when | how long | again with |\n|---|---|---|---|\n");
    for instrument in INSTRUMENTS {
        let (title, guide) = (instrument.title, instrument.guide);
        let told = records.get(instrument.name).map_or_else(
            || "not run yet | | ".to_owned(),
            |r| format!("{} | {} s | `{}`", r.date, r.seconds, r.command),
        );
        let _ = writeln!(out, "| {title} (`{guide}`) | {told} |");
    }
    for instrument in INSTRUMENTS {
        if let Some(record) = records.get(instrument.name) {
            let _ = write!(out, "\n## {}\n\n{}\n", instrument.title, instrument.says);
            tell(&mut out, record);
        }
    }
    out
}

/// The figures of one instrument: a table of what is single, and one for each group of counts by name.
fn tell(out: &mut String, record: &Record) {
    let columns: Vec<(String, &Value)> =
        record.lines.iter().map(|line| (part(line), line)).collect();
    let mut groups = BTreeSet::new();
    let mut single = BTreeSet::new();
    for line in &record.lines {
        for (key, value) in line.as_object().into_iter().flatten() {
            if value.is_object() {
                groups.insert(key.as_str());
            } else if value.is_u64() || value.is_i64() {
                single.insert(key.as_str());
            }
        }
    }
    table(out, "", &columns, &single, |line, name| line[name].as_i64());
    for group in groups {
        let named = columns.iter().filter(|(_, line)| line[group].is_object());
        let named: Vec<(String, &Value)> = named.cloned().collect();
        let names: BTreeSet<&str> = named
            .iter()
            .flat_map(|(_, line)| line[group].as_object().into_iter().flatten())
            .map(|(name, _)| name.as_str())
            .collect();
        let title = if group == "verdicts" {
            "violations of"
        } else {
            group
        };
        table(out, title, &named, &names, |line, name| {
            line[group][name].as_i64()
        });
    }
}

/// Which part of the instrument a line is of.
fn part(line: &Value) -> String {
    line["part"].as_str().unwrap_or("all").to_owned()
}

fn table(
    out: &mut String,
    title: &str,
    columns: &[(String, &Value)],
    rows: &BTreeSet<&str>,
    cell: impl Fn(&Value, &str) -> Option<i64>,
) {
    if rows.is_empty() {
        return;
    }
    let heads: Vec<&str> = columns.iter().map(|(head, _)| head.as_str()).collect();
    let _ = writeln!(
        out,
        "\n| {title} | {} |\n|---|{}",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
    for row in rows.iter().filter(|row| **row != MARK) {
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, line)| cell(line, row).map_or(String::new(), grouped))
            .collect();
        let _ = writeln!(out, "| {row} | {} |", cells.join(" | "));
    }
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345_678, "-12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_record_becomes_tables() {
        let record = Record {
            name: "chaos".to_owned(),
            command: "cargo xtask chaos".to_owned(),
            date: "2026-11-26".to_owned(),
            seconds: 60,
            lines: vec![
                json!({"record": "chaos", "part": "postgres", "runs": 1_200, "faults": {"kill -9": 3}}),
                json!({"record": "chaos", "part": "sqlite", "runs": 7, "faults": {"disk full": 1}}),
            ],
        };
        let records = Records::from([("chaos".to_owned(), record)]);
        let page = render(&records);
        for line in [
            "| The chaos campaign (`docs/contribute/chaos.md`) | 2026-11-26 | 60 s | `cargo xtask chaos` |",
            "|  | postgres | sqlite |",
            "| runs | 1,200 | 7 |",
            "| faults | postgres | sqlite |",
            "| disk full |  | 1 |",
            "| The model (`docs/contribute/model.md`) | not run yet | |  |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(!page.contains("| record |"));
    }
}
