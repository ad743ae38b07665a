//! Cells: a cgroup (version 2) of its own for each attempt, so that whatever a program starts, however it hides, is found
//! and ended in one step. Owns where cells are made, what is in them and their end; puts nothing in by itself, and sets no
//! limits.
//!
//! Cells are made below the worker's own cgroup: `campanile-PID-START/NAME`. The mount is found in
//! /proc/self/mountinfo, wherever it is. A worker needs the right to make folders there: as root, or by `Delegate=yes` in
//! its unit. What a worker that died has left is ended by the next one that starts in the same cgroup.

use std::io;
use std::path::{Path, PathBuf};

use super::processes::Process;

/// The beginning of the name of a worker's own folder.
const PREFIX: &str = "campanile-";

/// Where processes go that somebody wants to keep: nobody ends them.
const KEPT: &str = "campanile-kept";

/// Levels of cgroups that a program may have made below its own and that are looked into.
const DEPTH_MAX: usize = 16;

/// Where a worker makes its cells.
#[derive(Debug, Clone)]
pub struct Cells {
    own: PathBuf,
    base: PathBuf,
}

impl Cells {
    /// Finds the place, ends what dead workers have left there, and makes this worker's own folder.
    ///
    /// # Errors
    /// Why there is no place, with what to do.
    pub fn open() -> Result<Self, String> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = places(&mounts, &cgroup)
            .into_iter()
            .find(|place| place.join("cgroup.procs").exists())
            .ok_or("no cgroup v2 of this process is mounted on this machine")?;
        let me = i32::try_from(std::process::id()).ok().and_then(Process::of);
        let me = me.ok_or("/proc does not show this process")?;
        sweep(&own);
        let base = own.join(format!("{PREFIX}{}-{}", me.pid, me.start));
        match std::fs::create_dir(&base) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!(
                    "can't make a cgroup below {} ({error}): run the worker as root, or give its unit `Delegate=yes`",
                    own.display()
                ));
            }
            _ => {}
        }
        let cells = Self { own, base };
        match std::fs::read_to_string(cells.base.join("cgroup.type")) {
            Ok(kind) if kind.trim() == "domain" => Ok(cells),
            Ok(kind) => Err(format!(
                "the cgroup {} takes no processes (it is `{}`): start the worker in one of its own",
                cells.base.display(),
                kind.trim()
            )),
            Err(error) => Err(format!("can't read {}: {error}", cells.base.display())),
        }
    }

    /// The folder of this worker's cells.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.base
    }

    /// Whether processes of this user can be moved out of a cell again by themselves.
    #[must_use]
    pub fn is_tight_for(&self, uid: u32) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let tight = |path: PathBuf| std::fs::metadata(path).is_ok_and(|file| file.uid() != uid);
        uid != 0 && tight(self.own.join("cgroup.procs")) && tight(self.base.join("cgroup.procs"))
    }

    pub(super) fn cell(&self, name: &str) -> io::Result<Cell> {
        let path = self.base.join(name);
        std::fs::create_dir(&path)?;
        Ok(Cell { path })
    }

    /// Moves what is in a cell to where nobody ends it.
    pub(super) fn keep(&self, cell: &Cell) -> io::Result<()> {
        let kept = self.own.join(KEPT);
        match std::fs::create_dir(&kept) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // What is started meanwhile is started in either.
        for _ in 0..1_000 {
            let members = cell.members();
            if members.is_empty() {
                return Ok(());
            }
            for pid in members {
                // It may have ended since.
                let _ = std::fs::write(kept.join("cgroup.procs"), pid.to_string());
            }
        }
        Err(io::Error::other(
            "its processes multiply faster than they can be moved",
        ))
    }
}

impl Cells {
    /// Takes the worker's folder away, if nothing is in it.
    pub fn close(&self) {
        let _ = std::fs::remove_dir(&self.base);
    }
}

/// The cgroup of one attempt.
#[derive(Debug)]
pub(super) struct Cell {
    path: PathBuf,
}

impl Cell {
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the calling process in.
    pub(super) fn enter(&self) -> io::Result<()> {
        std::fs::write(self.path.join("cgroup.procs"), "0")
    }

    /// Ends all that is in it: at once where the kernel can (Linux 5.14), else by a freeze in which nothing can multiply.
    pub(super) fn kill(&self) {
        if std::fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        let frozen = std::fs::write(self.path.join("cgroup.freeze"), "1").is_ok();
        for process in self.members().into_iter().filter_map(Process::of) {
            process.kill();
        }
        if frozen {
            let _ = std::fs::write(self.path.join("cgroup.freeze"), "0");
        }
    }

    /// The numbers of all that live in it, and below.
    pub(super) fn members(&self) -> Vec<i32> {
        let mut out = Vec::new();
        for path in below(&self.path) {
            let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            out.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        out.retain(|pid| Process::of(*pid).is_some_and(|process| !process.has_ended));
        out
    }

    /// Takes it away. Answers whether it is gone, which it can't be while something is in it.
    pub(super) fn remove(&self) -> bool {
        for path in below(&self.path).iter().rev() {
            let _ = std::fs::remove_dir(path);
        }
        !self.path.exists()
    }
}

/// A folder and those below it, parents first.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut out = vec![path.to_owned()];
    let mut level = vec![path.to_owned()];
    for _ in 0..DEPTH_MAX {
        let inner = level
            .iter()
            .filter_map(|path| std::fs::read_dir(path).ok())
            .flatten();
        let folders = inner
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        level = folders.map(|entry| entry.path()).collect();
        out.extend(level.iter().cloned());
    }
    out
}

/// Ends what workers have left that are no more.
fn sweep(own: &Path) {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((pid, start)) = name.to_str().and_then(worker) else {
            continue;
        };
        if Process::of(pid).is_some_and(|process| process.start == start) {
            continue;
        }
        let left = Cell { path: entry.path() };
        let members: Vec<Process> = left.members().into_iter().filter_map(Process::of).collect();
        if !members.is_empty() {
            let names = super::processes::named(&members);
            tracing::warn!(
                processes = names,
                "ending what a worker that died has left in {}: {names}",
                left.path.display()
            );
        }
        left.kill();
        for _ in 0..50 {
            if left.remove() {
                break;
            }
            std::thread::yield_now();
        }
    }
}

/// Whose folder it is: number and beginning of a worker.
fn worker(name: &str) -> Option<(i32, u64)> {
    let (pid, start) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

/// Where the own cgroup may be found: each mount of the hierarchy that shows it.
fn places(mounts: &str, cgroup: &str) -> Vec<PathBuf> {
    let Some(own) = cgroup.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for line in mounts.lines() {
        // ID PARENT DEVICE ROOT PLACE OPTIONS … - KIND SOURCE OPTIONS
        let Some((head, tail)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = head.split(' ').skip(3);
        if let (Some(root), Some(place)) = (fields.next(), fields.next())
            && tail.split(' ').next() == Some("cgroup2")
            && let Ok(rest) = Path::new(own).strip_prefix(unescaped(root))
        {
            out.push(Path::new(&unescaped(place)).join(rest));
        }
    }
    out
}

/// Blanks and the like stand in octal there.
fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for (octal, char) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        out = out.replace(octal, char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_wherever_it_is_mounted() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n\
                      50 31 0:38 /system.slice /mnt/a\\040b rw - cgroup2 none rw\n\
                      51 31 0:38 /user.slice /mnt/c rw - cgroup2 none rw\n";
        let own = "4:memory:/x\n0::/system.slice/campanile.service\n";
        assert_eq!(
            places(mounts, own),
            [
                Path::new("/sys/fs/cgroup/unified/system.slice/campanile.service"),
                Path::new("/mnt/a b/campanile.service"),
            ]
        );
        assert_eq!(
            places(mounts, "0::/\n"),
            [Path::new("/sys/fs/cgroup/unified/")]
        );
        assert!(places(mounts, "4:memory:/x\n").is_empty());
        assert!(places("", own).is_empty());
    }

    #[test]
    fn a_workers_folder_names_the_worker() {
        assert_eq!(worker("campanile-12-345"), Some((12, 345)));
        for other in [
            "campanile-kept",
            "campanile-12",
            "campanile.service",
            "x-1-2",
        ] {
            assert_eq!(worker(other), None);
        }
    }
}
