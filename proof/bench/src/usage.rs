//! What a run of the bench costs: CPU seconds and resident memory of this process, and of the database and the broker
//! where their process ids are given. Read from the kernel (Linux); what can't be read is null, never zero.

use std::collections::HashMap;

use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

/// The kernel's ticks a second in `/proc/*/stat`: 100 on every Linux that people run.
const TICKS_PER_S: f64 = 100.0;
const KB_PER_MB: f64 = 1_024.0;

/// Whose CPU time is read beside our own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watched {
    /// The database's first process.
    pub database: Option<u32>,
    /// The broker's.
    pub broker: Option<u32>,
}

/// CPU seconds, as they stood at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    node: f64,
    database: Option<f64>,
    broker: Option<f64>,
}

/// CPU seconds between two moments.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub struct Cpu {
    /// Of this process: node, handlers and the bench itself.
    pub node: f64,
    /// Of the database and its children.
    pub database: Option<f64>,
    /// Of the broker and its children.
    pub broker: Option<f64>,
}

impl Watched {
    /// The CPU times now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            node: own_cpu_s(),
            database: self.database.and_then(tree_cpu_s),
            broker: self.broker.and_then(tree_cpu_s),
        }
    }

    /// The CPU time since a mark.
    #[must_use]
    pub fn since(&self, mark: &Mark) -> Cpu {
        let now = self.mark();
        let other =
            |now: Option<f64>, then: Option<f64>| Some(super::figures::rounded(now? - then?));
        Cpu {
            node: super::figures::rounded(now.node - mark.node),
            database: other(now.database, mark.database),
            broker: other(now.broker, mark.broker),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of CPU time are small")]
fn own_cpu_s() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

/// CPU seconds of a process and all that descend from it, those that have ended included.
#[must_use]
pub fn tree_cpu_s(root: u32) -> Option<f64> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut stats: HashMap<u32, Stat> = HashMap::new();
    for entry in processes.flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok();
        if let (Some(pid), Some(stat)) = (pid, stat.as_deref().and_then(Stat::read)) {
            stats.insert(pid, stat);
        }
    }
    stats.get(&root)?;
    Some(tree_ticks(&stats, root) / TICKS_PER_S)
}

struct Stat {
    parent: u32,
    /// Its own and its ended children's.
    ticks: f64,
}

impl Stat {
    /// `pid (name) state ppid …`: the name may hold anything, so fields are counted behind its last parenthesis.
    fn read(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = (11..=14)
            .filter_map(|n| fields.get(n)?.parse::<f64>().ok())
            .sum();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks,
        })
    }
}

fn tree_ticks(stats: &HashMap<u32, Stat>, root: u32) -> f64 {
    let descends = |mut pid: u32| {
        // Bounded: a chain of parents is no longer than the list of processes.
        for _ in 0..stats.len() {
            if pid == root {
                return true;
            }
            match stats.get(&pid) {
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    stats
        .iter()
        .filter(|(pid, _)| descends(**pid))
        .map(|(_, stat)| stat.ticks)
        .sum()
}

/// Resident memory of this process in megabytes: now, and at its highest.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Now.
    pub resident_mb: Option<f64>,
    /// The most so far.
    pub peak_mb: Option<f64>,
}

/// This process's memory.
#[must_use]
pub fn memory() -> Memory {
    memory_of("self")
}

/// A process's memory.
#[must_use]
pub fn memory_of(pid: &str) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Memory {
        resident_mb: megabytes(&status, "VmRSS:"),
        peak_mb: megabytes(&status, "VmHWM:"),
    }
}

fn megabytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kb: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kb / KB_PER_MB * 10.0).round() / 10.0)
}

/// The machine's load over the last minute: a figure taken on a busy machine says little.
#[must_use]
pub fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_a_process_and_all_that_descend_from_it() {
        let line = "12 (a b) c) S 7 1 1 0 -1 4194304 100 0 0 0 30 20 4 1 20 0 1 0";
        let read = Stat::read(line).unwrap();
        assert_eq!((read.parent, read.ticks), (7, 55.0));
        let stat = |parent, ticks| Stat { parent, ticks };
        let stats = HashMap::from([
            (1, stat(0, 1_000.0)),
            (7, stat(1, 1.0)),
            (12, stat(7, 10.0)),
            (13, stat(12, 100.0)),
        ]);
        assert_eq!(tree_ticks(&stats, 7), 111.0);
        assert!(tree_cpu_s(std::process::id()).is_some());
        assert_eq!(tree_cpu_s(u32::MAX), None);
    }

    #[test]
    fn memory_is_read_in_megabytes() {
        assert_eq!(
            megabytes("Name:\tx\nVmRSS:\t    5120 kB\n", "VmRSS:"),
            Some(5.0)
        );
        assert_eq!(megabytes("Name:\tx\n", "VmRSS:"), None);
        assert!(memory().peak_mb.is_some_and(|mb| mb > 0.0));
    }
}
