//! One child process: its log, its signals, its end. It is ended when its value is dropped, and by the kernel when the
//! process that started it dies first; it never signals a process id that it does not hold.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::holds_within;

/// How much of a log an error message shows, in bytes.
const LOG_TAIL: usize = 4_000;
/// How long killed processes may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A running child process, in a process group of its own.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to the file `log` and nothing to read. Arguments, folder and
    /// variables set or removed on the command are kept; `env_clear` is not (the standard library can't be asked
    /// about it).
    ///
    /// # Errors
    /// The operating system's.
    pub fn spawn(command: &Command, log: &Path) -> io::Result<Self> {
        Self::spawn_as(None, command, log)
    }

    /// The same, as another user of the machine (for root only).
    pub(super) fn spawn_as(user: Option<&str>, command: &Command, log: &Path) -> io::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let mut bound = bound_to_parent(user, command);
        bound
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = spawn_from_lasting_thread(bound)?;
        Ok(Self {
            pid: child.id(),
            child: Mutex::new(child),
            log: log.to_owned(),
        })
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs (a stopped process does).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Ends it at once, without a chance to clean up, and waits until it is gone.
    pub fn kill9(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Stops it where it stands (SIGSTOP).
    pub fn sigstop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a stopped process go on (SIGCONT).
    pub fn sigcont(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks it to end (SIGTERM).
    pub fn sigterm(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks it to end as a terminal's Ctrl-C does (SIGINT).
    pub fn sigint(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Asks it to end without ceremony (SIGQUIT).
    pub fn sigquit(&self) {
        self.signal(Signal::SIGQUIT);
    }

    /// How it ended; `None` when it still runs after `limit`.
    #[must_use]
    pub fn wait_exit(&self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        holds_within(limit, || {
            status = self.child().try_wait().ok().flatten();
            status.is_some()
        });
        status
    }

    /// Everything it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The end of what it has written, for error messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.len().saturating_sub(LOG_TAIL);
        log[log.ceil_char_boundary(start)..].to_owned()
    }

    /// The processes that it started and that still run, by id.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid)
    }

    /// Signals it and the processes it started: for servers made of several. The parent comes first for what halts,
    /// so that it starts nothing new in between.
    pub(super) fn signal_family(&self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        self.signal(signal);
        for child in self.children() {
            send(child, signal);
        }
    }

    /// Ends it and the processes it started at once, and waits until none is left. It is halted first, so that the
    /// list of what it started is complete.
    pub(super) fn kill9_family(&self) {
        self.sigstop();
        let children = if self.is_alive() {
            self.children()
        } else {
            Vec::new()
        };
        self.kill9();
        for &child in &children {
            send(child, Signal::SIGKILL);
        }
        holds_within(END_LIMIT, || children.iter().all(|&child| has_ended(child)));
    }

    fn signal(&self, signal: Signal) {
        let mut child = self.child();
        // Until it is reaped the id is ours, even when the process has ended; after that it may be anybody's.
        if matches!(child.try_wait(), Ok(None)) {
            send(self.pid, signal);
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_alive() {
            // What it started in its own group goes with it.
            let _ =
                i32::try_from(self.pid).map(|group| killpg(Pid::from_raw(group), Signal::SIGKILL));
            self.kill9();
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // The one error that can come is "no such process": it has just ended.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The processes that one has started, or that came to it, and whose end it has not taken note of.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_field(pid, 1)?.parse().ok()
}

/// Whether it is gone, or only waits to be reaped by whoever that falls to.
fn has_ended(pid: u32) -> bool {
    stat_field(pid, 0).is_none_or(|state| state == "Z" || state == "X")
}

/// A field of the kernel's account of a process: 0 is its state, 1 its parent.
fn stat_field(pid: u32, at: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets; the fields follow the last one.
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(at).map(str::to_owned)
}

/// The same command, run so that the kernel kills it when its starter ends.
fn bound_to_parent(user: Option<&str>, command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL"]);
    if let Some(user) = user {
        bound.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    bound
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

/// The kernel ties a child to the *thread* that started it, and a test's or a runtime's thread ends long before the
/// process does; so one thread that never ends starts them all.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static STARTER: OnceLock<Sender<Request>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // The caller blocks until this arrives, so somebody always receives it.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, result) = channel();
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    starter
        .send((command, answer))
        .map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
    result.recv().map_err(gone)?
}

/// A program's output, or the reason it failed.
pub(super) fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    ))
}
