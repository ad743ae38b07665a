//! How a campaign tells what it saw: a table of faults with their proofs, the events that were met, the verdicts, and one
//! line of JSON, which the evidence page keeps. Decides only whether all of it together passes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::judge::verdict::{self, Check};
use crate::say;

/// What became of one kind of fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// How often it was tried.
    pub tried: u64,
    /// How often it was seen to happen.
    pub happened: u64,
    /// What proved it the last time.
    pub proof: String,
}

/// All that is told of one stand.
#[derive(Default)]
pub struct Report {
    /// Which campaign.
    pub record: &'static str,
    pub stand: &'static str,
    /// The seed of the dice, where they are thrown.
    pub seed: Option<u64>,
    /// How long it took, or was to take, in seconds.
    pub seconds: u64,
    /// Whether every kind of fault and every event must have come up.
    pub demands_all: bool,
    pub faults: BTreeMap<String, Row>,
    /// What is said of single faults, in their order.
    pub notes: Vec<String>,
    /// Kinds that this machine can't do.
    pub not_run: Vec<String>,
    /// Events, and how often each was met.
    pub seen: Vec<(&'static str, u64)>,
    pub checks: Vec<Check>,
    /// Figures, by what they are of.
    pub figures: BTreeMap<&'static str, BTreeMap<String, u64>>,
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

    /// Whether everything held, and came up too where it must.
    pub fn passed(&self) -> bool {
        self.broken.is_empty()
            && self.checks.iter().all(|check| check.passed)
            && (!self.demands_all || self.missing().is_empty())
    }

    pub fn tell(&self) {
        let seed = self
            .seed
            .map_or(String::new(), |seed| format!(", seed {seed}"));
        let (stand, happened, seconds) = (self.stand, self.happened(), self.seconds);
        say(&format!(
            "── {stand}: {happened} faults in {seconds} s{seed}"
        ));
        for (kind, row) in &self.faults {
            say(&format!(
                "  {:>5} of {:<5} {kind:<42} {}",
                row.happened, row.tried, row.proof
            ));
        }
        for note in &self.notes {
            say(&format!("  {note}"));
        }
        say("── events");
        for (event, count) in &self.seen {
            say(&format!("  {count:>8}  {event}"));
        }
        for (of, figures) in &self.figures {
            say(&format!("── {of}"));
            for (name, figure) in figures {
                say(&format!("  {figure:>8}  {name}"));
            }
        }
        verdict::tell(&self.checks, &self.broken);
        let word = if self.demands_all { "BROKEN" } else { "note" };
        for what in self.missing() {
            say(&format!("  {word}  did not come up: {what}"));
        }
        say(&self.json().to_string());
    }

    pub fn json(&self) -> Value {
        let faults = self.faults.iter();
        let faults = faults.map(|(kind, row)| (kind.clone(), json!(row.happened)));
        let seen = self.seen.iter().map(|(e, n)| ((*e).to_owned(), json!(n)));
        let verdicts = self.checks.iter();
        let verdicts = verdicts.map(|c| (c.name.to_owned(), json!(c.wrong.len())));
        let mut all = json!({
            "record": self.record,
            "part": self.stand,
            "seconds": self.seconds,
            "passed": self.passed(),
            "faults": faults.collect::<Map<_, _>>(),
            "seen": seen.collect::<Map<_, _>>(),
            "verdicts": verdicts.collect::<Map<_, _>>(),
            "missing": self.missing(),
            "broken": self.broken,
        });
        for (of, figures) in &self.figures {
            all[of] = json!(figures);
        }
        if let Some(seed) = self.seed {
            all["seed"] = json!(seed);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(demands_all: bool) -> Report {
        let row = Row {
            tried: 2,
            happened: 1,
            proof: String::new(),
        };
        Report {
            demands_all,
            faults: [("kill".to_owned(), row)].into(),
            seen: vec![("takeover", 3)],
            ..Report::default()
        }
    }

    #[test]
    fn what_did_not_come_up_fails_a_campaign_that_demands_all() {
        let (mut short, mut long) = (report(false), report(true));
        assert!(short.passed() && long.passed());
        for report in [&mut short, &mut long] {
            report.faults.insert("flood".to_owned(), Row::default());
        }
        assert!(short.passed() && !long.passed());
        assert_eq!(short.missing(), ["flood"]);
        let mut missed = report(true);
        missed.seen.push(("never met", 0));
        assert!(!missed.passed());
    }

    #[test]
    fn a_report_passes_only_whole() {
        let mut wrong = report(false);
        assert_eq!(wrong.json()["passed"], json!(true));
        wrong.broken.push("it broke off".to_owned());
        assert!(!wrong.passed());
        assert_eq!(wrong.json()["passed"], json!(false));
        let broken = verdict::check("a verdict", vec!["a case".to_owned()], String::new());
        let mut wrong = report(false);
        wrong.checks.push(broken);
        assert!(!wrong.passed());
        assert_eq!(wrong.json()["verdicts"]["a verdict"], json!(1));
    }
}
