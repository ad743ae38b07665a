//! The processes of this machine, from /proc: who descends from whom, and their end. Owns the care that a number never
//! comes to mean another process between the look and the kill; decides nothing.

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// A process, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// The clock's tick at which it began: number and beginning name one process for ever.
    pub(super) start: u64,
    /// What it is called.
    pub(super) name: String,
    /// It has ended, and its parent hasn't taken note.
    pub(super) has_ended: bool,
}

impl Process {
    /// The process of this number, if there is one.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(
            pid,
            &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?,
        )
    }

    /// `PID (NAME) STATE PARENT …`, where a name may hold anything, brackets too.
    fn parse(pid: i32, stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self {
            pid,
            parent,
            group,
            start: fields.nth(16)?.parse().ok()?,
            name: name.to_owned(),
            has_ended: matches!(state, "Z" | "X" | "x"),
        })
    }

    /// Whether it still lives.
    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.start == self.start && !now.has_ended)
    }

    /// Ends it, stopped or not. Answers whether it could be told to.
    pub(super) fn kill(&self) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else {
            return true;
        };
        // What the handle means can't change any more; whether it is the one that was looked at, the beginning tells.
        let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|handle| {
            if self.is_alive() {
                return pidfd_send_signal(&handle, rustix::process::Signal::KILL);
            }
            Ok(())
        });
        match sent {
            Ok(()) | Err(rustix::io::Errno::SRCH) => true,
            Err(rustix::io::Errno::NOSYS) if self.is_alive() => {
                signal::kill(Pid::from_raw(self.pid), Signal::SIGKILL).is_ok()
            }
            Err(_) => !self.is_alive(),
        }
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.pid, self.name.escape_debug())
    }
}

/// All that there are.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Process::of).collect()
}

/// Children of this process's first thread, to which orphans below it come, too; none where the kernel does not tell.
pub(super) fn children() -> Vec<i32> {
    let own = std::process::id();
    let told = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    let numbers = told.unwrap_or_default();
    numbers
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Those of `all` that descend from one of `roots`, and live; not the roots.
pub(super) fn descendants(all: &[Process], roots: &[i32]) -> Vec<Process> {
    let mut of: Vec<i32> = roots.to_vec();
    let mut found: Vec<&Process> = Vec::new();
    loop {
        let is_new = |p: &&Process| of.contains(&p.parent) && !of.contains(&p.pid);
        let next: Vec<&Process> = all.iter().filter(is_new).collect();
        if next.is_empty() {
            let living = found.into_iter().filter(|p| !p.has_ended);
            return living.cloned().collect();
        }
        of.extend(next.iter().map(|p| p.pid));
        found.extend(next);
    }
}

/// Ends these, and the groups that are theirs alone: one that has another number every moment has the same group.
pub(super) fn kill(all: &[Process], found: &[Process]) {
    let is_found = |process: &Process| found.iter().any(|f| f.pid == process.pid);
    let mut groups: Vec<i32> = found
        .iter()
        .map(|p| p.group)
        .filter(|group| *group > 1)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| {
        all.iter()
            .all(|p| p.group != *group || p.has_ended || is_found(p))
    });
    for group in groups {
        let _ = signal::killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    for process in found {
        process.kill();
    }
}

/// Names some processes for people, but not endlessly many.
pub(super) fn named(processes: &[Process]) -> String {
    const SHOWN_MAX: usize = 10;
    let mut names: Vec<String> = processes
        .iter()
        .take(SHOWN_MAX)
        .map(Process::to_string)
        .collect();
    if processes.len() > SHOWN_MAX {
        names.push(format!("and {} more", processes.len() - SHOWN_MAX));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process {
            pid,
            parent,
            group: pid,
            start: 1,
            name: String::new(),
            has_ended: false,
        }
    }

    #[test]
    fn a_line_is_read_whatever_the_name_holds() {
        let stat = "7 (a) R 1) (b) S 42 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 9001 1 1";
        let process = Process::parse(7, stat).unwrap();
        assert_eq!(
            (process.parent, process.start, process.name.as_str()),
            (42, 9001, "a) R 1) (b")
        );
        assert!(!process.has_ended);
        assert!(
            Process::of(i32::try_from(std::process::id()).unwrap())
                .unwrap()
                .is_alive()
        );
    }

    #[test]
    fn a_family_is_all_below_its_roots() {
        let mut all = vec![
            process(9, 4),
            process(2, 1),
            process(3, 2),
            process(4, 3),
            process(5, 1),
        ];
        let pids = |all: &[Process], roots: &[i32]| -> Vec<i32> {
            let mut pids: Vec<i32> = descendants(all, roots).iter().map(|p| p.pid).collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids(&all, &[2]), [3, 4, 9]);
        assert_eq!(pids(&all, &[5]), [0; 0]);
        // One that has ended is no survivor; its children are.
        all[3].has_ended = true;
        assert_eq!(pids(&all, &[2, 5]), [3, 9]);
    }
}
