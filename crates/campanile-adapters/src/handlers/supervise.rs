//! The supervisor: a small process between a worker and a program, so that the program and all that it starts end
//! when they are told to, when the worker dies (`kill -9` too), and when the program itself has ended. Owns one
//! program; never decides anything, and has no runtime, no network and no settings of its own.
//!
//! Its standard input is a socket pair whose other end the worker holds. The worker writes one order, a line; the
//! supervisor answers with reports, a line each; and the end of that stream (the worker closed it, or is no more) is
//! the one and only word for "stop": SIGTERM to the program's group, SIGKILL to whatever is left after the grace.
//!
//! The program is entered in two steps, so that there is no moment at which it runs and nobody answers for it. A
//! second process of the supervisor's own program, already in the group that will be the program's, waits for its
//! order. The worker is told the group, then the order is given, and the process becomes the program. If the
//! supervisor itself is killed, the kernel kills the program (PDEATHSIG) and the worker the group.
//!
//! The supervisor makes itself the subreaper of all it starts: a process that left the group (`setsid`, job control, a
//! double fork) becomes its child when its parent ends, and is killed with the rest. Where the worker made a cgroup for the
//! attempt, all in it is killed in one step, whoever's child it is. What can't be killed (it runs as another user, or hangs
//! in the kernel) is waited for a while, then named. Two things get past it: whatever is started by a service that the
//! program only asked (`systemd-run`, `docker run`), and, where the program runs as the worker's own user, a program that
//! kills or stops the supervisor itself: for that the worker looks after it ([`super::command`]).
//!
//! It holds off signals that ask politely (a terminal's, a service manager's): the worker decides. And it has no
//! PDEATHSIG of its own: that fires when the *thread* that started a process ends, which says nothing about a worker
//! with many threads, and the closed socket tells of a death just as soon.

mod enter;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::wait::{self, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

pub(super) use self::enter::RunAs;
use self::enter::{Entry, enter};
use super::cgroup::Cell;
use super::processes::{self, Process};

/// The verb under which a program that embeds the command handler calls [`main`].
pub const VERB: &str = "__supervise";

/// An order is a task's program and its input: a few hundred KiB at most.
const ORDER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What to run: the one line that the worker writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Its whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// Where it runs.
    pub(super) dir: String,
    /// What it reads on standard input.
    pub(super) stdin: String,
    /// Milliseconds between SIGTERM and SIGKILL.
    pub(super) grace_ms: u64,
    /// The folder of its cgroup, if it has one.
    pub(super) cell: Option<String>,
    /// Who it runs as, if not as the worker's own user.
    pub(super) run_as: Option<RunAs>,
    /// Whether what it started may go on after it ended well.
    pub(super) keep_children: bool,
}

/// What the supervisor answers, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The program is about to run, as the leader of a group with this number.
    Started(i32),
    /// It could not be started, and another attempt may find it better.
    Unable(String),
    /// It can't be started as it is written.
    Invalid(String),
    /// What can't be ended still lives; for people.
    Left(String),
    /// It ended by itself with this code, and nothing of it is left but what was told before.
    Exited(i32),
    /// The same, by this signal.
    Signalled(i32),
}

enum Event {
    Closed,
    Exited,
}

/// The second argument of the process that becomes the program.
const ENTER: &str = "enter";

/// How often it is looked whether what was killed is gone, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS_MAX: u32 = 300;
/// How often our own children are looked for in between.
const CHASES: u32 = 50;
/// What is told of one that no look finds.
const EVASIVE: &str = "one that is another process every moment";

/// The whole of a supervisor's life; for a `main` that was called with [`VERB`] as its first argument. Answers the
/// program's exit code, 128 + signal as shells do, or 127 when nothing was started.
#[must_use]
pub fn main() -> ExitCode {
    let enters = std::env::args_os().nth(2).is_some_and(|a| a == ENTER);
    let code = if enters { enter() } else { serve() };
    ExitCode::from(code.unwrap_or_else(|error| {
        // Nobody else is there to hear it; standard error is the attempt's log.
        let _ = writeln!(io::stderr(), "failed to supervise: {error}");
        127
    }))
}

fn serve() -> io::Result<u8> {
    SigSet::all().thread_block()?;
    prctl::set_child_subreaper(true)?;
    // The order holds what a program's other programs must not read.
    prctl::set_dumpable(false)?;
    let mut control = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut input = BufReader::new(control.try_clone()?);
    let Some(order) = read_order(&mut input)? else {
        return Ok(127);
    };
    let grace = Duration::from_millis(order.grace_ms);
    let cell = order.cell.as_deref().map(Cell::at);
    let keep_children = order.keep_children;
    let (mut child, mut failure) = match start() {
        Ok(started) => started,
        Err(error) => {
            let text = format!("failed to start a second supervisor: {error}");
            tell(&mut control, &Report::Unable(text));
            return Ok(127);
        }
    };
    let group = Pid::from_raw(child.id().try_into().map_err(io::Error::other)?);
    tell(&mut control, &Report::Started(group.as_raw()));
    if let Some(stdin) = child.stdin.take() {
        feed(stdin, order)?;
    }
    let was_stopped = stand_by(group, input, grace);
    let keeps = keep_children && !was_stopped && ended_well(group);
    if !keeps {
        // While its leader is not reaped, the group's number is still its own.
        let _ = signal::killpg(group, Signal::SIGKILL);
    }
    let status = child.wait()?;
    if !keeps && let Some(left) = clear(cell.as_ref()) {
        tell(&mut control, &Report::Left(left));
    }
    let (mut report, code) = end(status);
    // Nothing was written by a program that was entered: then all that could write it is gone by now.
    let mut line = String::new();
    if failure.read_to_string(&mut line)? > 0 {
        report = serde_json::from_str(&line).map_err(io::Error::other)?;
    }
    tell(&mut control, &report);
    if let Some(cell) = cell.filter(|_| !keeps) {
        cell.remove();
    }
    drop(control);
    stay_for_the_rest()?;
    Ok(code)
}

/// Whoever is left needs a parent that takes note of its end: this one, which now holds nothing else.
fn stay_for_the_rest() -> io::Result<()> {
    if !matches!(
        wait::waitpid(None, Some(WaitPidFlag::WNOHANG)),
        Err(Errno::ECHILD)
    ) {
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&nothing)?;
        nix::unistd::dup2_stdout(&nothing)?;
        nix::unistd::dup2_stderr(&nothing)?;
        while !matches!(wait::waitpid(None, None), Err(Errno::ECHILD)) {}
    }
    Ok(())
}

/// `None` when the worker went away before it said anything.
fn read_order(input: &mut BufReader<File>) -> io::Result<Option<Order>> {
    let mut line = String::new();
    input.take(ORDER_BYTES_MAX).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line)
        .map(Some)
        .map_err(io::Error::other)
}

/// A worker that no longer listens isn't an error: its end is noticed where it is waited for.
fn tell(control: &mut File, report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let _ = control.write_all(&line);
    }
}

/// Starts the process that will be the program. What it has to say goes to the stream that is handed back.
fn start() -> io::Result<(Child, PipeReader)> {
    let (failure, writer) = io::pipe()?;
    let child = Command::new("/proc/self/exe")
        .args([VERB, ENTER])
        .env_clear()
        .stdin(Stdio::piped())
        .stderr(Stdio::from(writer))
        .process_group(0)
        .spawn()?;
    Ok((child, failure))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, without the runtime that campanile_core::system counts on"
)]
fn thread(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// Gives the word to enter, and then the program its input. One that ends without reading it all is no failure.
fn feed(mut stdin: ChildStdin, mut order: Order) -> io::Result<()> {
    let text = std::mem::take(&mut order.stdin);
    let supervisor = std::process::id();
    let entry = serde_json::to_vec(&Entry { supervisor, order }).map_err(io::Error::other)?;
    thread(move || {
        let _ = stdin
            .write_all(&(entry.len() as u64).to_le_bytes())
            .and_then(|()| stdin.write_all(&entry))
            .and_then(|()| stdin.write_all(text.as_bytes()));
    });
    Ok(())
}

/// Waits until the program has ended; makes it end when the worker says so, and answers whether it did. The program is not
/// yet reaped when this returns, so that its number is still its own and its group's.
fn stand_by(group: Pid, mut input: BufReader<File>, grace: Duration) -> bool {
    let (sender, events) = mpsc::channel();
    let closed = sender.clone();
    thread(move || {
        let _ = io::copy(&mut input, &mut io::sink());
        let _ = closed.send(Event::Closed);
    });
    thread(move || {
        reap_until(group);
        let _ = sender.send(Event::Exited);
    });
    let is_stopped = matches!(events.recv(), Ok(Event::Closed));
    if is_stopped {
        let _ = signal::killpg(group, Signal::SIGTERM);
        let _ = signal::killpg(group, Signal::SIGCONT);
        if events.recv_timeout(grace).is_err() {
            let _ = signal::killpg(group, Signal::SIGKILL);
            let _ = events.recv();
        }
    }
    is_stopped
}

/// Reaps orphans that were given to us, until the program itself waits to be reaped.
#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, without a Clock port"
)]
fn reap_until(group: Pid) {
    loop {
        match wait::waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(status) if status.pid() == Some(group) => return,
            Ok(status) => {
                let _ = wait::waitpid(status.pid(), Some(WaitPidFlag::WNOHANG));
            }
            Err(Errno::EINTR) => {}
            // An end that the wrapper can't name (a real-time signal): whose, is asked apart.
            Err(_) => {
                let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
                if !matches!(
                    wait::waitid(Id::Pid(group), ended),
                    Ok(WaitStatus::StillAlive)
                ) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Whether the program, which has ended, ended with 0. Its end is not taken note of.
fn ended_well(group: Pid) -> bool {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    matches!(
        wait::waitid(Id::Pid(group), ended),
        Ok(WaitStatus::Exited(_, 0))
    )
}

/// Kills what is left in the cgroup and below us, until there is none. Answers what could not be ended in some seconds, for
/// people. Runs while no other thread reaps.
fn clear(cell: Option<&Cell>) -> Option<String> {
    let own = [nix::unistd::getpid().as_raw()];
    let mut left = Vec::new();
    for _ in 0..LOOKS_MAX {
        if let Some(cell) = cell {
            cell.kill();
        }
        let is_alone = chase();
        let in_cell = cell.map(Cell::members).unwrap_or_default();
        if is_alone && in_cell.is_empty() {
            return None;
        }
        let all = processes::all();
        left = processes::descendants(&all, &own);
        processes::kill(&all, &left);
        left.extend(in_cell.into_iter().filter_map(Process::of));
    }
    if left.is_empty() {
        return Some(EVASIVE.to_owned());
    }
    Some(processes::named(&left))
}

/// Ends children as they come to us, for a moment: one that is another process all the time is met before its next change,
/// and a look at all processes may miss it. Answers whether there is none. Whatever loses its parent below us becomes our
/// child, so then nothing lives below us.
#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, without a Clock port"
)]
fn chase() -> bool {
    for _ in 0..CHASES {
        loop {
            match wait::waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return true,
                Ok(WaitStatus::StillAlive) => break,
                // One end was taken note of, whatever it was.
                Ok(_) | Err(_) => {}
            }
        }
        // Their numbers stay theirs until we take note of their end.
        for child in processes::children() {
            let _ = signal::kill(Pid::from_raw(child), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK_EVERY / CHASES);
    }
    false
}

fn end(status: ExitStatus) -> (Report, u8) {
    let byte = |n: i32| u8::try_from(n).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => (Report::Exited(code), byte(code)),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            (Report::Signalled(signal), byte(128 + signal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_report_are_one_line_each() {
        let order = Order {
            argv: vec!["/bin/echo".to_owned(), "a\nb".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "x=y \"z\"\n".to_owned())]),
            dir: "/".to_owned(),
            stdin: "first\nsecond\n".to_owned(),
            grace_ms: 5_000,
            cell: None,
            run_as: None,
            keep_children: true,
        };
        let line = serde_json::to_string(&order).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        assert_eq!(
            serde_json::to_string(&Report::Exited(3)).unwrap(),
            r#"{"exited":3}"#
        );
    }

    #[test]
    fn an_end_is_told_as_shells_do() {
        assert_eq!(end(ExitStatus::from_raw(3 << 8)), (Report::Exited(3), 3));
        assert_eq!(end(ExitStatus::from_raw(9)), (Report::Signalled(9), 137));
    }
}
