//! What was measured, and the page that says so. Each instrument (the model, the simulation, the campaigns, …) prints lines
//! of JSON; the verb that runs it keeps them under `target/evidence`. `cargo xtask evidence` takes what is there over into
//! `docs/contribute/evidence`, and writes `docs/contribute/evidence.md` from all of it. No figure on that page is written by hand.

mod page;
mod promises;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use xtask::tidy;

use crate::verbs::say;

/// The field by which a line of JSON says which instrument it is of.
const MARK: &str = "record";

/// All that an instrument said when it was last run.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    /// The instrument.
    name: String,
    /// How to run it again.
    command: String,
    /// The day, as in `2026-11-26`.
    date: String,
    /// How long it took.
    seconds: u64,
    /// What it printed.
    lines: Vec<Value>,
}

impl Record {
    fn read(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let word = |key: &str| json[key].as_str().map(str::to_owned);
        Some(Self {
            name: word("name")?,
            command: word("command")?,
            date: word("date")?,
            seconds: json["seconds"].as_u64()?,
            lines: json["lines"].as_array()?.clone(),
        })
    }

    fn text(&self) -> String {
        let json = json!({
            "name": self.name, "command": self.command, "date": self.date, "seconds": self.seconds, "lines": self.lines,
        });
        format!("{json:#}\n")
    }
}

type Records = BTreeMap<String, Record>;

/// Where instruments leave what they said.
fn fresh() -> PathBuf {
    tidy::root().join("target/evidence")
}

/// Where it is kept with the project.
fn kept(root: &Path) -> PathBuf {
    root.join("docs/contribute/evidence")
}

/// Keeps what an instrument said, for the page. `command` is what a reader types to run it again.
pub fn keep(name: &str, command: &str, seconds: u64, lines: Vec<Value>) {
    let record = Record {
        name: name.to_owned(),
        command: command.to_owned(),
        date: today(),
        seconds,
        lines,
    };
    let folder = fresh();
    let file = folder.join(format!("{name}.json"));
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, record.text()));
    if let Err(error) = written {
        say(&format!("failed to keep {}: {error}", file.display()));
    }
}

/// Runs an instrument, shows what it prints, and keeps its lines if it passed. Whether it passed.
pub fn watch(name: &str, command: &str, program: &mut Command) -> bool {
    let start = Instant::now();
    let mut child = match program.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = program.get_program().display();
            say(&format!("failed to run {program}: {error}"));
            return false;
        }
    };
    let mut lines = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            lines.extend(line_of(name, &line));
            say(&line);
        }
    }
    let passed = child.wait().is_ok_and(|status| status.success());
    if passed && !lines.is_empty() {
        keep(name, command, start.elapsed().as_secs(), lines);
    }
    passed
}

/// A line that is one of the instrument's; a test's own words may stand before it.
fn line_of(name: &str, line: &str) -> Option<Value> {
    let json: Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
    (json[MARK].as_str() == Some(name)).then_some(json)
}

fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    date.unwrap_or_else(|_| "unknown".to_owned())
}

/// What runs by name alone, each with how to run it and the age of its last record.
pub fn by_name() -> Vec<String> {
    let records = read_all(&tidy::root()).unwrap_or_default();
    let now = seconds_of(&today());
    page::names()
        .map(|name| match records.get(name) {
            Some(record) => {
                let age = now.zip(seconds_of(&record.date));
                let age = age.map_or_else(
                    || "of unknown age".to_owned(),
                    |(now, then)| match now.saturating_sub(then) / 86_400 {
                        0 => "today".to_owned(),
                        1 => "1 day old".to_owned(),
                        days => format!("{days} days old"),
                    },
                );
                let (date, took) = (&record.date, record.seconds);
                format!(
                    "  {name}: `{}`, {took} s; last record {date}, {age}",
                    record.command
                )
            }
            None => format!("  {name}: no record yet"),
        })
        .collect()
}

/// A day as seconds since 1970.
fn seconds_of(date: &str) -> Option<u64> {
    let date = Command::new("date")
        .args(["-u", "-d", date, "+%s"])
        .output()
        .ok()?;
    String::from_utf8_lossy(&date.stdout).trim().parse().ok()
}

/// Takes over what instruments have left, and writes the page.
pub fn write() -> bool {
    match take_over().and_then(|taken| {
        let root = tidy::root();
        std::fs::write(root.join(page::PATH), page::render(&read_all(&root)?))?;
        Ok(taken)
    }) {
        Ok(taken) => {
            say(&format!(
                "{} is written; new: {}",
                page::PATH,
                taken.join(", ")
            ));
            true
        }
        Err(error) => {
            say(&format!("failed to write {}: {error}", page::PATH));
            false
        }
    }
}

/// Whether the page is what the kept records make of it.
pub fn check() -> bool {
    let root = tidy::root();
    let page = std::fs::read_to_string(root.join(page::PATH)).unwrap_or_default();
    match read_all(&root) {
        Ok(records) if page::render(&records) == page => true,
        Ok(_) => {
            say(&format!(
                "{} is not what its records say: run `cargo xtask evidence`",
                page::PATH
            ));
            false
        }
        Err(error) => {
            say(&format!("failed to read the records: {error}"));
            false
        }
    }
}

fn take_over() -> Result<Vec<String>, Box<dyn Error>> {
    let mut taken = Vec::new();
    let kept = kept(&tidy::root());
    std::fs::create_dir_all(&kept)?;
    for file in std::fs::read_dir(fresh()).into_iter().flatten() {
        let file = file?;
        std::fs::rename(file.path(), kept.join(file.file_name()))?;
        taken.push(file.file_name().to_string_lossy().into_owned());
    }
    taken.sort();
    Ok(taken)
}

fn read_all(root: &Path) -> Result<Records, Box<dyn Error>> {
    let mut records = Records::new();
    for file in std::fs::read_dir(kept(root))? {
        let path = file?.path();
        let text = std::fs::read_to_string(&path)?;
        let record = Record::read(&text);
        let record = record.ok_or_else(|| format!("{} is no record", path.display()))?;
        records.insert(record.name.clone(), record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            name: "model".to_owned(),
            command: "cargo xtask model".to_owned(),
            date: "2026-11-26".to_owned(),
            seconds: 12,
            lines: vec![json!({"record": "model", "part": "small scenes", "states": 7})],
        };
        assert_eq!(Record::read(&record.text()), Some(record));
        assert_eq!(Record::read("{}"), None);
    }

    #[test]
    fn lines_of_others_and_words_are_passed_over() {
        let line = r#"test a ... {"record":"model","states":7}"#;
        assert_eq!(line_of("model", line).unwrap()["states"], 7);
        assert_eq!(line_of("simulation", line), None);
        for line in ["", "states: {7}", "{\"states\":7}", "…}{"] {
            assert_eq!(line_of("model", line), None, "{line}");
        }
    }

    #[test]
    fn the_page_is_what_the_records_say() {
        assert!(check());
    }

    #[test]
    fn every_instrument_is_listed_with_its_age() {
        let lines = by_name();
        assert_eq!(lines.len(), page::names().count());
        assert!(
            lines
                .iter()
                .all(|line| line.contains("last record") || line.contains("no record yet")),
            "{lines:?}"
        );
        assert_eq!(seconds_of("2026-11-26"), Some(1_795_651_200));
    }
}
