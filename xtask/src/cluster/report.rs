//! How the test tells what it saw: a table for people, one line of JSON for machines. It never decides what is right;
//! it only adds up who said so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::scene::Fault;
use crate::field::effects::Effect;
use crate::field::verdict::Check;
use crate::verbs::say;

/// How long the system is not yet warm after the first effect.
const WARM_UP_MS: i64 = 2_000;

/// All that is told.
#[derive(Default)]
pub struct Report {
    /// The faults, in their order.
    pub faults: Vec<Fault>,
    /// The verdicts.
    pub checks: Vec<Check>,
    /// What broke the campaign off.
    pub broken: Vec<String>,
    /// Resident memory of each node now and at its highest, in MiB.
    pub memory: Vec<(String, u64, u64)>,
    /// How late starts were while nothing was broken: the median, the 99th percentile and the latest, in milliseconds.
    pub lateness_ms: [i64; 3],
    /// How long the load ran.
    pub seconds: u64,
    /// How many terms there were, and how many the first and the faults account for. More is no harm to a run; but a
    /// leader that gave up and led again without a fault has a reason that somebody should know.
    pub terms: [usize; 2],
}

impl Report {
    /// Whether everything held.
    pub fn passed(&self) -> bool {
        self.broken.is_empty()
            && self.checks.iter().all(|check| check.passed)
            && self.faults.iter().all(|fault| fault.wrong.is_empty())
    }

    /// Prints the table and the line.
    pub fn tell(&self) {
        say("── faults");
        say(
            "  fault                                       new term  first effect  longest gap  latest start  steady after",
        );
        for fault in &self.faults {
            let (term, first) = fault.handover.as_ref().map_or_else(
                || ("-".to_owned(), "-".to_owned()),
                |h| {
                    (
                        format!("{} ms", h.gap_ms),
                        format!("{} ms", h.first_effect_ms),
                    )
                },
            );
            say(&format!(
                "  {:<42} {term:>9} {first:>13} {:>9} ms {:>10} ms {:>10} ms",
                fault.name, fault.gap_ms, fault.latest_ms, fault.steady_ms
            ));
        }
        for fault in &self.faults {
            say(&format!("  {}:", fault.name));
            for line in fault.seen.iter().chain(&fault.wrong) {
                say(&format!("    {line}"));
            }
        }
        say("── verdicts");
        for check in &self.checks {
            let word = if check.passed { "holds " } else { "BROKEN" };
            say(&format!("  {word}  {:<44} {}", check.name, check.detail));
        }
        for line in &self.broken {
            say(&format!("  BROKEN  {line}"));
        }
        let [median, most, latest] = self.lateness_ms;
        say(&format!(
            "── {} s of load; lateness away from faults: median {median} ms, p99 {most} ms, latest {latest} ms",
            self.seconds
        ));
        let [terms, explained] = self.terms;
        say(&format!(
            "  {terms} terms, of which the faults explain {explained}"
        ));
        for (name, now, highest) in &self.memory {
            say(&format!(
                "  {name}: {now} MiB resident, {highest} MiB at most"
            ));
        }
        say(&self.json().to_string());
    }

    fn json(&self) -> Value {
        let fault = |f: &Fault| {
            json!({
                "fault": f.name,
                "term_gap_ms": f.handover.as_ref().map(|h| h.gap_ms),
                "first_effect_ms": f.handover.as_ref().map(|h| h.first_effect_ms),
                "from": f.handover.as_ref().map(|h| &h.from),
                "to": f.handover.as_ref().map(|h| &h.to),
                "service_gap_ms": f.gap_ms,
                "latest_start_ms": f.latest_ms,
                "steady_after_ms": f.steady_ms,
                "wrong": f.wrong,
            })
        };
        let check = |c: &Check| json!({"check": c.name, "passed": c.passed, "detail": c.detail});
        let memory = |(name, now, most): &(String, u64, u64)| json!({"node": name, "rss_mib": now, "highest_mib": most});
        json!({
            "cluster": {
                "passed": self.passed(),
                "seconds": self.seconds,
                "terms": self.terms[0],
                "terms_explained": self.terms[1],
                "lateness_ms": {"p50": self.lateness_ms[0], "p99": self.lateness_ms[1], "max": self.lateness_ms[2]},
                "faults": self.faults.iter().map(fault).collect::<Vec<_>>(),
                "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
                "memory": self.memory.iter().map(memory).collect::<Vec<_>>(),
                "broken": self.broken,
            }
        })
    }
}

impl Report {
    /// What the evidence page keeps of it.
    pub fn record(&self) -> Value {
        let mut gaps: BTreeMap<&str, i64> = BTreeMap::new();
        for fault in &self.faults {
            let longest = gaps.entry(fault.name).or_default();
            *longest = fault.gap_ms.max(*longest);
        }
        let checks = self.checks.iter();
        let verdicts: BTreeMap<&str, u64> =
            checks.map(|c| (c.name, u64::from(!c.passed))).collect();
        let [median, most, latest] = self.lateness_ms;
        json!({
            "record": "cluster", "part": "PostgreSQL, Sentinel, ActiveMQ", "faults": self.faults.len(), "seconds": self.seconds,
            "terms": self.terms[0], "lateness away from faults, median ms": median, "the same, 99th percentile ms": most,
            "the same, at most ms": latest, "longest time without an effect, ms": gaps, "verdicts broken": verdicts,
        })
    }
}

/// The median of the values of one kind of fault.
pub fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Median, 99th percentile and maximum of the lateness of first attempts that were due away from every fault, and
/// after the first moments, in which a broker's program is still being compiled.
pub fn lateness(effects: &[Effect], faults: &[Fault]) -> [i64; 3] {
    let warm = effects.first().map_or(0, |e| e.at_ms + WARM_UP_MS);
    let near = |due: i64| {
        faults
            .iter()
            .any(|f| (f.at_ms - 500..=f.at_ms + f.steady_ms).contains(&due))
    };
    let mut late: Vec<i64> = effects
        .iter()
        .filter(|e| e.attempt == 1)
        .filter_map(|e| Some((e.due_ms()?, e.at_ms)))
        .filter(|(due, _)| *due > warm && !near(*due))
        .map(|(due, at)| at - due)
        .collect();
    late.sort_unstable();
    let at = |part: usize| late.get(late.len().saturating_sub(1) * part / 100).copied();
    [50, 99, 100].map(|part| at(part).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_passes_only_whole() {
        let mut report = Report::default();
        assert!(report.passed());
        let mut fault = Fault::now("a fault");
        fault.demand(true, "it happened");
        report.faults.push(fault.clone());
        assert!(report.passed());
        fault.demand(false, "it was survived");
        report.faults.push(fault);
        assert!(!report.passed());
        assert_eq!(report.json()["cluster"]["passed"], json!(false));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(Vec::new()), None);
    }
}
