//! The worker's end of a supervised program: it starts the supervisor, reads what it reports and what the program prints,
//! and sees to the end itself where the supervisor can't any more, because the program has killed or stopped it. Owns the
//! promise that an attempt does not end while something of it lives, or says what does.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_core::port::handler::Log;
use campanile_core::system;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::process::Child;

use super::cgroup::{Cell, Cells};
use super::output::Output;
use super::processes::{self, Process};
use super::supervise::{self, Order, Report};

/// How long output is still read after the program's end: whoever holds it open then is not ours to kill.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(1);

/// How often it is looked whether what was killed is gone, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 250;
/// How many looks that find nothing say that there is nothing.
const LOOKS_IN_VAIN: u32 = 3;

/// How long the worker goes on ending what its supervisor did not.
pub(super) const SWEEP_MAX: Duration = Duration::from_secs(8);

/// The supervisors of one executor that live, by number and beginning.
#[derive(Debug, Default)]
pub(super) struct Living {
    supervisors: Mutex<HashMap<i32, u64>>,
    /// Whether orphans come to this process, and whatever child is no supervisor is one.
    adopts: bool,
}

impl Living {
    /// With `adopts`, this process becomes the parent of whatever loses its own below it.
    pub(super) fn new(adopts: bool) -> Self {
        let adopts = adopts && nix::sys::prctl::set_child_subreaper(true).is_ok();
        Self {
            supervisors: Mutex::default(),
            adopts,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, u64>> {
        self.supervisors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for what lives of an attempt, and ends it: what is in its cell, what descends from its supervisor, and what
    /// has come to this process since, because the supervisor was killed. The supervisor itself is last. Answers what it
    /// found.
    fn look(&self, supervisor: &Process, cell: Option<&Cell>) -> Vec<Process> {
        if let Some(cell) = cell {
            cell.kill();
        }
        let supervisors = self.lock();
        let all = processes::all();
        let is_there = all
            .iter()
            .any(|p| p.pid == supervisor.pid && p.start == supervisor.start);
        let mut found = match is_there {
            true => processes::descendants(&all, &[supervisor.pid]),
            false => Vec::new(),
        };
        if self.adopts {
            found.extend(adopted(&all, &supervisors, supervisor.start));
        }
        drop(supervisors);
        let members = cell.map(Cell::members).unwrap_or_default();
        found.extend(members.into_iter().filter_map(Process::of));
        processes::kill(&all, &found);
        if found.is_empty() && supervisor.is_alive() {
            supervisor.kill();
            found.push(supervisor.clone());
        }
        found
    }

    /// Ends whatever of an attempt lives. Answers what could not be ended in some seconds. One that is another process every
    /// moment may be missed by a look, but hardly by several.
    pub(super) async fn sweep(&self, supervisor: &Process, cell: Option<&Cell>) -> Vec<Process> {
        let mut found = Vec::new();
        let mut in_vain = 0;
        for _ in 0..LOOKS_MAX {
            found = self.look(supervisor, cell);
            in_vain = if found.is_empty() { in_vain + 1 } else { 0 };
            if in_vain == LOOKS_IN_VAIN {
                break;
            }
            system::pause(LOOK_EVERY).await;
        }
        found
    }
}

/// Children of this process that are no supervisors and began after `since`, with all below them; those that have ended are
/// taken note of.
fn adopted(all: &[Process], supervisors: &HashMap<i32, u64>, since: u64) -> Vec<Process> {
    let own = nix::unistd::getpid().as_raw();
    let is_orphan = |p: &&Process| {
        p.parent == own && p.start >= since && supervisors.get(&p.pid) != Some(&p.start)
    };
    let orphans: Vec<&Process> = all.iter().filter(is_orphan).collect();
    for ended in orphans.iter().filter(|p| p.has_ended) {
        let _ = waitpid(Pid::from_raw(ended.pid), Some(WaitPidFlag::WNOHANG));
    }
    let roots: Vec<i32> = orphans.iter().map(|p| p.pid).collect();
    let mut found = processes::descendants(all, &roots);
    found.extend(orphans.into_iter().filter(|p| !p.has_ended).cloned());
    found
}

/// Ends what is left in a cell, or keeps it, and takes the cell away. Answers what could not be ended in some seconds.
pub(super) async fn close(cells: &Cells, cell: &Cell, keeps: bool) -> Vec<Process> {
    for _ in 0..LOOKS_MAX {
        if cell.remove() {
            return Vec::new();
        }
        if !keeps {
            cell.kill();
        } else if let Err(error) = cells.keep(cell) {
            tracing::warn!(%error, "could not keep the children of a program: they are ended with their worker");
            return Vec::new();
        }
        system::pause(LOOK_EVERY).await;
    }
    cell.members().into_iter().filter_map(Process::of).collect()
}

/// The word to the supervisor: closing it, also by dropping it, is the one that stops the program.
pub(super) struct Control {
    socket: Option<OwnedWriteHalf>,
    supervisor: Process,
}

impl Control {
    /// Writes the order. A supervisor that doesn't take it has ended, which shows where its reports are read.
    pub(super) async fn send(&mut self, order: &Order) {
        if let (Some(socket), Ok(mut line)) = (&mut self.socket, serde_json::to_vec(order)) {
            line.push(b'\n');
            let _ = socket.write_all(&line).await;
        }
    }

    pub(super) const fn supervisor(&self) -> &Process {
        &self.supervisor
    }

    /// Tells the supervisor to stop, and wakes it if the program has laid it to sleep.
    pub(super) fn stop(&mut self) {
        if self.socket.take().is_some() && self.supervisor.is_alive() {
            let _ = signal::kill(Pid::from_raw(self.supervisor.pid), Signal::SIGCONT);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What became of a program.
pub(super) struct Ended {
    /// What the supervisor reported; `None` = it ended without a word.
    pub(super) report: Option<Report>,
    /// What it could not end; for people.
    pub(super) left: Option<String>,
    /// How the supervisor itself ended, if that was waited for.
    pub(super) supervisor: Option<io::Result<ExitStatus>>,
}

/// A supervisor and what comes from it.
pub(super) struct Supervised {
    child: Child,
    reports: BufReader<OwnedReadHalf>,
    output: pipe::Receiver,
}

impl Supervised {
    /// Starts a supervisor, with nothing of the worker's: no environment, a group of its own (a terminal's Ctrl-C is
    /// for the worker), one pipe for both outputs so that their order is kept.
    pub(super) fn start(living: &Living, supervisor: &Path) -> io::Result<(Self, Control)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (output, writer) = io::pipe()?;
        let mut command = tokio::process::Command::new(supervisor);
        command
            .arg0("campanile")
            .arg(supervise::VERB)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(writer.try_clone()?))
            .stderr(Stdio::from(writer));
        // Whoever looks for orphans must not take it for one.
        let mut supervisors = living.lock();
        supervisors.retain(|pid, start| Process::of(*pid).is_some_and(|now| now.start == *start));
        let child = command.spawn()?;
        let gone = || io::Error::other("it is gone, or /proc does not show it");
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(gone)?;
        let process = Process::of(pid).ok_or_else(gone)?;
        supervisors.insert(pid, process.start);
        drop(supervisors);
        let (reader, socket) = UnixStream::from_std(ours)?.into_split();
        let supervised = Self {
            child,
            reports: BufReader::new(reader),
            output: pipe::Receiver::from_owned_fd(output.into())?,
        };
        let control = Control {
            socket: Some(socket),
            supervisor: process,
        };
        Ok((supervised, control))
    }

    /// Follows the program to its end.
    pub(super) async fn live(mut self, log: Log) -> Ended {
        let mut seen = Seen::default();
        let mut drained = false;
        let report = {
            let mut reports = std::pin::pin!(last_report(&mut self.reports, &mut seen));
            let mut pump = std::pin::pin!(pump(&mut self.output, log));
            let end = loop {
                tokio::select! {
                    end = &mut reports => break end,
                    () = &mut pump, if !drained => drained = true,
                }
            };
            if !drained {
                system::within(DRAIN_MAX, pump).await;
            }
            end
        };
        let mut status = None;
        if report.is_none() {
            if let Some(group) = seen.group {
                // Somebody killed the supervisor itself. What it watched has no other keeper now.
                let _ = signal::killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            status = Some(self.child.wait().await);
        }
        // One that reported may stay for what it could not end, or was told to keep; the runtime takes note of its end.
        Ended {
            report,
            left: seen.left,
            supervisor: status,
        }
    }
}

#[derive(Default)]
struct Seen {
    group: Option<i32>,
    left: Option<String>,
}

/// The report that ends the story; `None` when the supervisor ended without one.
async fn last_report(reports: &mut BufReader<OwnedReadHalf>, seen: &mut Seen) -> Option<Report> {
    loop {
        let mut line = String::new();
        reports.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        match serde_json::from_str(&line).ok()? {
            Report::Started(number) => seen.group = Some(number),
            Report::Left(names) => seen.left = Some(names),
            end => return Some(end),
        }
    }
}

/// Reads to the end, whatever the log still takes: a program must never wait for a reader.
async fn pump(pipe: &mut pipe::Receiver, log: Log) {
    let mut output = Output::new(log);
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        output.push(&piece[..length]);
    }
    output.end();
}
