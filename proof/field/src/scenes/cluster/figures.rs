//! Figures of the cluster test that no verdict needs: how late starts were, and how large the nodes became.

use std::collections::BTreeMap;

use xtask::servers::Process;

use super::scene::Fault;
use crate::effects::Effect;
use crate::stand::Stand;

/// How long the system is not yet warm after the first effect.
const WARM_UP_MS: i64 = 2_000;

/// The resident memory of each node at its highest, in MiB.
pub fn memory(stand: &Stand) -> BTreeMap<String, u64> {
    let highest = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM"));
        let kib = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
        kib.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / 1_024
    };
    let nodes = stand.nodes.iter();
    nodes
        .filter_map(|node| {
            let pid = node.with(Process::pid).ok()?;
            Some((node.name.to_owned(), highest(pid)))
        })
        .collect()
}

/// The longest time without an effect around each kind of fault, in milliseconds.
pub fn gaps(faults: &[Fault]) -> BTreeMap<String, u64> {
    let mut gaps = BTreeMap::new();
    for fault in faults {
        let longest: &mut u64 = gaps.entry(fault.name.to_owned()).or_default();
        *longest = fault.gap_ms.unsigned_abs().max(*longest);
    }
    gaps
}

/// The median of the values of one kind of fault.
pub fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Median, 99th percentile and maximum of the lateness of first attempts that were due away from every fault, and
/// after the first moments, in which a broker's program is still being compiled.
pub fn lateness(effects: &[Effect], faults: &[Fault]) -> BTreeMap<String, u64> {
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
    [("median", 50), ("99th percentile", 99), ("latest", 100)]
        .map(|(name, part)| (name.to_owned(), at(part).unwrap_or(0).unsigned_abs()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn the_longest_gap_of_a_kind_is_told() {
        let fault = |gap_ms| Fault {
            gap_ms,
            ..Fault::now("a fault")
        };
        let faults = [fault(3), fault(9), fault(5)];
        assert_eq!(gaps(&faults), BTreeMap::from([("a fault".to_owned(), 9)]));
    }
}
