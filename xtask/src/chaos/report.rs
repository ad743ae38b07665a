//! How a campaign tells what it saw: a table of faults with their proofs, the events that were met, the verdicts, and one
//! line of JSON. Decides only whether all of it together passes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ledger::Row;
use super::seen::Seen;
use crate::field::verdict::Check;
use crate::verbs::say;

/// From this length on every kind of fault and every event must have come up.
const LONG_S: u64 = 360;

/// All that is told of one stand.
#[derive(Default)]
pub struct Report {
    /// The stand.
    pub stand: &'static str,
    /// The seed of the dice.
    pub seed: u64,
    /// How long faults fell, in seconds.
    pub seconds: u64,
    /// The account of faults.
    pub faults: BTreeMap<String, Row>,
    /// Kinds that this machine can't do.
    pub not_run: Vec<String>,
    /// The events.
    pub seen: Vec<Seen>,
    /// The verdicts.
    pub checks: Vec<Check>,
    /// Figures beside.
    pub counts: Vec<(&'static str, u64)>,
    /// What broke the campaign itself.
    pub broken: Vec<String>,
}

impl Report {
    /// How many faults were seen to happen.
    pub fn happened(&self) -> u64 {
        self.faults.values().map(|row| row.happened).sum()
    }

    /// Kinds and events that did not come up.
    pub fn missing(&self) -> Vec<String> {
        let kinds = self.faults.iter().filter(|(_, row)| row.happened == 0);
        let mut missing: Vec<String> = kinds.map(|(kind, _)| kind.clone()).collect();
        let events = self.seen.iter().filter(|(_, count)| *count == 0);
        missing.extend(events.map(|(event, _)| (*event).to_owned()));
        missing.extend(self.not_run.iter().cloned());
        missing
    }

    /// Whether everything held, and in a long campaign came up too.
    pub fn passed(&self) -> bool {
        self.broken.is_empty()
            && self.checks.iter().all(|check| check.passed)
            && (self.seconds < LONG_S || self.missing().is_empty())
    }

    /// Prints it.
    pub fn tell(&self) {
        say(&format!(
            "── {}: {} faults in {} s, seed {}",
            self.stand,
            self.happened(),
            self.seconds,
            self.seed
        ));
        for (kind, row) in &self.faults {
            say(&format!(
                "  {:>5} of {:<5} {kind:<42} {}",
                row.happened, row.tried, row.proof
            ));
        }
        say("── events");
        for (event, count) in &self.seen {
            say(&format!("  {count:>8}  {event}"));
        }
        say("── verdicts");
        for check in &self.checks {
            let word = if check.passed { "holds " } else { "BROKEN" };
            say(&format!("  {word}  {:<44} {}", check.name, check.detail));
        }
        for line in &self.broken {
            say(&format!("  BROKEN  {line}"));
        }
        for what in self.missing() {
            let word = if self.seconds < LONG_S {
                "note"
            } else {
                "BROKEN"
            };
            say(&format!("  {word}  did not come up: {what}"));
        }
        say(&self.json().to_string());
    }

    /// One line for machines.
    pub fn json(&self) -> Value {
        let faults = self.faults.iter();
        let faults = faults.map(|(kind, row)| (kind.clone(), json!(row.happened)));
        let seen = self.seen.iter().map(|(e, n)| ((*e).to_owned(), json!(n)));
        let verdicts = self.checks.iter();
        let verdicts = verdicts.map(|c| (c.name.to_owned(), json!(c.violations)));
        let counts = self.counts.iter().map(|(c, n)| ((*c).to_owned(), json!(n)));
        json!({
            "record": "chaos",
            "part": self.stand,
            "seed": self.seed,
            "seconds": self.seconds,
            "passed": self.passed(),
            "faults": faults.collect::<Map<_, _>>(),
            "seen": seen.collect::<Map<_, _>>(),
            "verdicts": verdicts.collect::<Map<_, _>>(),
            "counts": counts.collect::<Map<_, _>>(),
            "missing": self.missing(),
            "broken": self.broken,
        })
    }
}

/// All stands together, as one more line.
pub fn sum(reports: &[Report]) -> Value {
    let mut all = Map::new();
    for part in ["faults", "seen", "verdicts", "counts"] {
        let mut total: BTreeMap<String, u64> = BTreeMap::new();
        for report in reports {
            let json = report.json();
            let own = json[part].as_object().into_iter().flatten();
            for (name, value) in own {
                *total.entry(name.clone()).or_default() += value.as_u64().unwrap_or(0);
            }
        }
        all.insert(part.to_owned(), json!(total));
    }
    let seconds: u64 = reports.iter().map(|report| report.seconds).sum();
    let happened: u64 = reports.iter().map(Report::happened).sum();
    all.insert("record".to_owned(), json!("chaos"));
    all.insert("part".to_owned(), json!("all"));
    all.insert("seed".to_owned(), json!(reports.first().map(|r| r.seed)));
    all.insert("seconds".to_owned(), json!(seconds));
    all.insert("happened".to_owned(), json!(happened));
    all.insert(
        "passed".to_owned(),
        json!(!reports.is_empty() && reports.iter().all(Report::passed)),
    );
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seconds: u64) -> Report {
        let row = Row {
            tried: 2,
            happened: 1,
            proof: String::new(),
        };
        Report {
            seconds,
            faults: [("kill".to_owned(), row)].into(),
            seen: vec![("takeover", 3)],
            ..Report::default()
        }
    }

    #[test]
    fn what_did_not_come_up_fails_a_long_campaign_only() {
        let (mut short, mut long) = (report(60), report(600));
        assert!(short.passed() && long.passed());
        for report in [&mut short, &mut long] {
            report.faults.insert("flood".to_owned(), Row::default());
        }
        assert!(short.passed() && !long.passed());
        assert_eq!(short.missing(), ["flood"]);
    }

    #[test]
    fn a_broken_verdict_or_event_fails() {
        let mut wrong = report(60);
        wrong.broken.push("it broke off".to_owned());
        assert!(!wrong.passed());
        let total = sum(&[report(60), wrong]);
        assert_eq!(total["passed"], json!(false));
        assert_eq!(total["faults"]["kill"], json!(2));
        assert_eq!(total["happened"], json!(2));
        let mut missed = report(600);
        missed.seen.push(("never met", 0));
        assert!(!missed.passed());
    }
}
