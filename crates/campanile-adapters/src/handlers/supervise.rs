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
//! double fork) becomes its child when its parent ends, and is killed with the rest. Two things get past it: a
//! process that runs as another user (a set-uid program), which it may not signal, and whatever is started by a
//! service that the program only asked (`systemd-run`, `docker run`).
//!
//! It holds off signals that ask politely (a terminal's, a service manager's): the worker decides. And it has no
//! PDEATHSIG of its own: that fires when the *thread* that started a process ends, which says nothing about a worker
//! with many threads, and the closed socket tells of a death just as soon.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::wait::{self, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

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
    /// It ended by itself with this code, and nothing of it is left.
    Exited(i32),
    /// It was ended by this signal, and nothing of it is left.
    Signalled(i32),
}

enum Event {
    Closed,
    Exited,
}

/// The second argument of the process that becomes the program.
const ENTER: &str = "enter";

/// What that process is given on its standard input, before the program's own input and after its length.
#[derive(Serialize, Deserialize)]
struct Entry {
    supervisor: u32,
    order: Order,
}

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
    let mut control = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut input = BufReader::new(control.try_clone()?);
    let Some(order) = read_order(&mut input)? else {
        return Ok(127);
    };
    let grace = Duration::from_millis(order.grace_ms);
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
    stand_by(group, input, grace);
    let status = clear(group, &mut child)?;
    let (mut report, code) = end(status);
    // All that could write it is gone by now. Nothing was written by a program that was entered.
    let mut line = String::new();
    if failure.read_to_string(&mut line)? > 0 {
        report = serde_json::from_str(&line).map_err(io::Error::other)?;
    }
    tell(&mut control, &report);
    Ok(code)
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

/// The life of the process that becomes the program: returns only if it could not, with the reason written.
fn enter() -> io::Result<u8> {
    let mut failure = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    // Past the standard library's buffer: what follows the entry is for the program.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut length = [0; 8];
    (&input).read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut entry = Vec::new();
    (&input).take(length).read_to_end(&mut entry)?;
    let Entry { supervisor, order } = serde_json::from_slice(&entry).map_err(io::Error::other)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if std::os::unix::process::parent_id() != supervisor {
        return Ok(127);
    }
    let Some((program, arguments)) = order.argv.split_first() else {
        tell(
            &mut failure,
            &Report::Invalid("handler.command.argv is empty".to_owned()),
        );
        return Ok(127);
    };
    if is_plain_text(program) {
        tell(&mut failure, &no_program(program));
        return Ok(127);
    }
    let log = io::stdout().as_fd().try_clone_to_owned()?;
    // A program inherits what is held off.
    SigSet::empty().thread_set_mask()?;
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&order.env)
        .current_dir(&order.dir)
        .stderr(Stdio::from(log))
        .exec();
    tell(&mut failure, &refusal(&order, program, &error));
    Ok(127)
}

/// A text that names no interpreter. The kernel refuses it, and the C library would then hand it to a shell, which
/// nobody asked for.
fn is_plain_text(program: &str) -> bool {
    let mut head = Vec::new();
    File::open(program)
        .and_then(|file| file.take(256).read_to_end(&mut head))
        .is_ok_and(|_| !head.starts_with(b"#!") && !head.contains(&0))
}

fn no_program(program: &str) -> Report {
    Report::Invalid(format!(
        "handler.command.argv: `{program}` is not a program: a script begins with a line such as #!/bin/sh"
    ))
}

fn refusal(order: &Order, program: &str, error: &io::Error) -> Report {
    if !Path::new(&order.dir).is_dir() {
        return Report::Invalid(format!(
            "handler.command.dir: `{}` is not a folder on this worker's machine: create it, or name another",
            order.dir
        ));
    }
    match error.kind() {
        io::ErrorKind::NotFound => Report::Invalid(format!(
            "handler.command.argv: `{program}` (or the interpreter that it names) is not on this worker's machine: \
             install it there, or correct the path"
        )),
        io::ErrorKind::PermissionDenied => Report::Invalid(format!(
            "handler.command.argv: this worker's user may not run `{program}` in `{}`: `chmod +x` it, or name another",
            order.dir
        )),
        io::ErrorKind::ArgumentListTooLong
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotADirectory => Report::Invalid(format!(
            "handler.command: `{program}` can't be started: {error}"
        )),
        _ => Report::Unable(format!("failed to start `{program}`: {error}")),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, without the runtime that campanile::system counts on"
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

/// Waits until the program has ended; makes it end when the worker says so. The program is not yet reaped when this
/// returns, so that its number is still its own and its group's.
fn stand_by(group: Pid, mut input: BufReader<File>, grace: Duration) {
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
    if matches!(events.recv(), Ok(Event::Closed)) {
        let _ = signal::killpg(group, Signal::SIGTERM);
        let _ = signal::killpg(group, Signal::SIGCONT);
        if events.recv_timeout(grace).is_err() {
            let _ = signal::killpg(group, Signal::SIGKILL);
            let _ = events.recv();
        }
    }
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

/// Kills what is left of the group and every process that has become ours, until there is none. Runs while no other
/// thread reaps, so that no number can come to mean another process between the look and the kill.
fn clear(group: Pid, child: &mut Child) -> io::Result<ExitStatus> {
    let _ = signal::killpg(group, Signal::SIGKILL);
    let status = child.wait()?;
    loop {
        match wait::waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                if !kill_children() {
                    return Ok(status);
                }
                let _ = wait::waitpid(None, None);
            }
            Err(Errno::ECHILD) => return Ok(status),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Whether one of our children will end by this. Those of another user can't be signalled, and aren't waited for.
fn kill_children() -> bool {
    let mut any = false;
    for pid in children() {
        any |= signal::kill(pid, Signal::SIGKILL).is_ok();
    }
    any
}

/// Our children, from /proc: the only list of those that were adopted.
fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            // `PID (NAME) STATE PARENT …`, where a name may hold anything, brackets too.
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                stat.rsplit_once(')')
                    .and_then(|(_, rest)| rest.split_whitespace().nth(1))
                    == Some(own.as_str())
            })
        })
        .map(Pid::from_raw)
        .collect()
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
