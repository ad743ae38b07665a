//! The process that becomes the program: it waits for its order, puts itself into its cgroup, takes on the user that it is
//! to be, drops what it inherited, and is replaced by the program. Returns only if that could not be.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, Gid, Uid};
use serde::{Deserialize, Serialize};

use super::{Order, Report, tell};
use crate::handlers::cgroup::Cell;

/// What that process reads first from its standard input, before the program's own input and after its length.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) supervisor: u32,
    pub(super) order: Order,
}

/// The user that the program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::handlers) struct RunAs {
    pub(in crate::handlers) name: String,
    pub(in crate::handlers) uid: u32,
    pub(in crate::handlers) gid: u32,
}

/// One more than the last signal there is.
const SIGNALS_END: i32 = 65;

/// Its whole life.
pub(super) fn enter() -> io::Result<u8> {
    let mut failure = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    // Past the standard library's buffer: what follows the entry is for the program.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut length = [0; 8];
    (&input).read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut entry = Vec::new();
    (&input).take(length).read_to_end(&mut entry)?;
    let Entry { supervisor, order } = serde_json::from_slice(&entry).map_err(io::Error::other)?;
    if let Err(error) = prepare(&order) {
        let text = format!("failed to prepare the start of the program: {error}");
        tell(&mut failure, &Report::Unable(text));
        return Ok(127);
    }
    // After the change of user, which takes it back.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if std::os::unix::process::parent_id() != supervisor {
        return Ok(127);
    }
    let Some((program, arguments)) = order.argv.split_first() else {
        let text = "handler.command.argv is empty".to_owned();
        tell(&mut failure, &Report::Invalid(text));
        return Ok(127);
    };
    if is_plain_text(program) {
        tell(&mut failure, &no_program(program));
        return Ok(127);
    }
    let log = io::stdout().as_fd().try_clone_to_owned()?;
    forget_signals();
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

/// What has to be true before the program runs: it is in its cgroup, and it is who it is to be.
fn prepare(order: &Order) -> io::Result<()> {
    if let Some(cell) = &order.cell {
        Cell::at(cell).enter().map_err(|error| {
            io::Error::other(format!("it can't be put into its cgroup {cell}: {error}"))
        })?;
    }
    match &order.run_as {
        Some(user) => become_user(user)
            .map_err(|error| io::Error::other(format!("it can't run as `{}`: {error}", user.name))),
        None => Ok(()),
    }
}

/// For good: no way back, no other way up.
fn become_user(user: &RunAs) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // So that it may open its own /dev/stdin and /dev/stderr.
    for pipe in [io::stdin().as_fd(), io::stdout().as_fd()] {
        unistd::fchown(pipe, Some(uid), Some(gid))?;
    }
    let name = CString::new(user.name.as_str())?;
    unistd::initgroups(&name, gid)?;
    unistd::setresgid(gid, gid, gid)?;
    unistd::setresuid(uid, uid, uid)?;
    // Of a worker that got its rights without being root.
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    prctl::set_no_new_privs()?;
    let root = Uid::from_raw(0);
    if unistd::getuid() != uid || unistd::geteuid() != uid || unistd::getegid() != gid {
        return Err(io::Error::other("the user did not change"));
    }
    if unistd::setresuid(root, root, root).is_ok() {
        return Err(io::Error::other("the change could be taken back"));
    }
    Ok(())
}

/// A program inherits which signals are held off and which are ignored (`nohup`), and may rest on neither. One that has
/// an action when a program is entered has the default after it.
fn forget_signals() {
    let _ = SigSet::empty().thread_set_mask();
    let unread = Arc::new(AtomicBool::new(false));
    let all = (1..SIGNALS_END).filter(|signal| !signal_hook::consts::FORBIDDEN.contains(signal));
    for signal in all {
        // Two of them are the C library's own, and refused.
        let _ = signal_hook::flag::register(signal, Arc::clone(&unread));
    }
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
    let user = order.run_as.as_ref().map_or_else(
        || "this worker's user".to_owned(),
        |user| format!("the user `{}`", user.name),
    );
    if !Path::new(&order.dir).is_dir() {
        return Report::Invalid(format!(
            "handler.command.dir: `{}` is not a folder on this worker's machine that {user} can see: create it, or name \
             another",
            order.dir
        ));
    }
    match error.kind() {
        io::ErrorKind::NotFound => Report::Invalid(format!(
            "handler.command.argv: `{program}` (or the interpreter that it names) is not on this worker's machine: \
             install it there, or correct the path"
        )),
        io::ErrorKind::PermissionDenied => Report::Invalid(format!(
            "handler.command.argv: {user} may not run `{program}` in `{}`: `chmod +x` it, or name another",
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
