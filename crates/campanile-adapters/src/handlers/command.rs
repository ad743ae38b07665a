//! The `command` handler: one program for each attempt, on the worker's own machine. Owns which programs the worker
//! may start, what they are given and what is kept of their output; never uses a shell, never hands on the worker's
//! environment, and never starts a program without a supervisor ([`super::supervise`]) that ends it with the worker.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use campanile::port::handler::{Context, Executor, Failure, Log, Verdict};
use campanile::system;
use campanile::task::{Class, CommandSpec, HandlerSpec};
use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, Uid, User};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::process::Child;

use super::output::Output;
use super::supervise::{self, Order, Report};

/// Where a program looks for others when its task doesn't say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where cron's commands look for others.
const LOGIN_PATH: &str = "/usr/bin:/bin";

/// How much longer than its grace a supervisor may take to end everything, before the worker stops waiting for it.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// How long output is still read after the program's end: whoever holds it open then is not ours to kill.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Which programs this worker runs, and how.
#[derive(Debug, Clone)]
pub struct CommandOptions {
    /// `None`: no commands at all. Else the programs that tasks may start, by absolute path; `*` stands for any.
    pub allowed: Option<Vec<String>>,
    /// The program that supervises: one that calls [`supervise::main`] when its first argument is
    /// [`supervise::VERB`], or `campanile-supervise`. For the own program, `/proc/self/exe` is right even after the
    /// file was replaced by an upgrade.
    pub supervisor: PathBuf,
    /// How long a program that is told to stop may take, before it is killed.
    pub grace: Duration,
}

/// Runs `command` handlers. Exit status 0 is success, anything else [`Failure::retry`]; a program that isn't there or
/// can't be run is [`Failure::fatal`], one that the options don't name [`Failure::not_allowed`].
///
/// A program is allowed by the place it is started from. Folders are resolved, so that `..` and linked folders neither
/// help nor hurt; the last name is not, because one file under many names (busybox, coreutils) does many things. So a
/// link to an allowed program is not allowed, and an allowed name that is a link is allowed under that name alone.
///
/// Programs need a machine that runs Linux: supervision rests on its process tree.
#[derive(Debug, Clone)]
pub struct Command {
    options: CommandOptions,
}

impl Command {
    /// An executor. The supervisor isn't started, and so not looked for, before the first attempt.
    #[must_use]
    pub const fn new(options: CommandOptions) -> Self {
        Self { options }
    }

    /// The program as it will be started, if it may be.
    async fn allow(&self, spec: &CommandSpec) -> Result<PathBuf, Failure> {
        let program = spec.argv.first().map_or("", String::as_str);
        if !program.starts_with('/') {
            return Err(Failure::fatal(format!(
                "handler.command.argv: `{}` is not an absolute path: write it whole, as in /usr/bin/df",
                program.escape_debug()
            )));
        }
        let Some(allowed) = &self.options.allowed else {
            return Err(Failure::not_allowed(format!(
                "this worker runs no commands: start it with `--allow-commands {}` if it should run this one",
                program.escape_debug()
            )));
        };
        let place = place(Path::new(program)).await;
        for entry in allowed {
            if entry == "*" || self::place(Path::new(entry)).await == place {
                return Ok(place);
            }
        }
        Err(Failure::not_allowed(format!(
            "`{}` is not among the programs that this worker runs: add it to the worker's `--allow-commands`",
            place.display()
        )))
    }

    fn order(
        &self,
        program: &Path,
        spec: &CommandSpec,
        context: &Context,
        user: Option<&User>,
    ) -> Result<Order, Failure> {
        let program = program.to_str().ok_or_else(|| {
            Failure::fatal("handler.command.argv: the program's folder is not UTF-8".to_owned())
        })?;
        let mut env = spec.env.clone();
        let home = match user {
            Some(user) => Some(log_in(&mut env, user)?),
            None => None,
        };
        env.entry("PATH".to_owned())
            .or_insert_with(|| PATH.to_owned());
        env.extend([
            ("CAMPANILE_RUN".to_owned(), context.run.to_string()),
            ("CAMPANILE_ATTEMPT".to_owned(), context.attempt.to_string()),
            ("CAMPANILE_TASK".to_owned(), context.task.clone()),
            ("CAMPANILE_DUE_AT".to_owned(), context.due_at.to_string()),
            ("CAMPANILE_KEY".to_owned(), context.key.clone()),
        ]);
        let payload = || match &context.payload {
            serde_json::Value::Null => String::new(),
            payload => payload.to_string(),
        };
        Ok(Order {
            argv: std::iter::once(program.to_owned())
                .chain(spec.argv.iter().skip(1).cloned())
                .collect(),
            env,
            dir: spec.dir.clone().or(home).unwrap_or_else(|| "/".to_owned()),
            stdin: spec.stdin.clone().unwrap_or_else(payload),
            grace_ms: u64::try_from(self.options.grace.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

#[async_trait]
impl Executor for Command {
    async fn refusal(&self, handler: &HandlerSpec) -> Option<String> {
        let HandlerSpec::Command(spec) = handler else {
            return None;
        };
        let refused = match self.allow(spec).await {
            Ok(_) if spec.login => own_user().err()?,
            Ok(_) => return None,
            Err(refused) => refused,
        };
        (refused.verdict() == Verdict::NotAllowed).then(|| refused.message().to_owned())
    }

    fn programs(&self) -> Option<Vec<String>> {
        Some(self.options.allowed.clone().unwrap_or_default())
    }

    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<(), Failure> {
        let HandlerSpec::Command(spec) = handler else {
            return Err(super::misplaced("command", handler));
        };
        let program = self.allow(spec).await?;
        let user = if spec.login { Some(own_user()?) } else { None };
        let order = self.order(&program, spec, &context, user.as_ref())?;
        if context.stop.is_cancelled() {
            return Err(super::stopped());
        }
        let (supervised, control) =
            Supervised::start(&self.options.supervisor).map_err(|error| {
                Failure::retry(format!(
                    "failed to start the supervisor `{}`: {error}",
                    self.options.supervisor.display()
                ))
            })?;
        let mut life = std::pin::pin!(supervised.live(context.log.clone()));
        // Held until the end: closing it is the one word that stops the program. Dropping this future closes it too.
        let mut control = control;
        tokio::select! {
            end = async {
                send(&mut control, &order).await;
                life.as_mut().await
            } => return end,
            () = context.stop.cancelled() => {}
        }
        drop(control);
        if system::within(self.options.grace + KILL_MARGIN, life)
            .await
            .is_none()
        {
            tracing::warn!(
                run = %context.run,
                program = %program.display(),
                "a program that was killed is still there: it runs as another user, or hangs in the kernel"
            );
        }
        Err(super::stopped())
    }
}

/// The worker's own user, as the machine lists it. Nothing that a task says has a part in it.
fn own_user() -> Result<User, Failure> {
    let uid = Uid::current();
    let unlisted = |why: String| {
        Failure::not_allowed(format!(
            "handler.command.login: this worker's user ({uid}) is not in its machine's list of users{why}: add it there, \
             or leave `login` out"
        ))
    };
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(unlisted(String::new())),
        Err(error) => Err(Failure::retry(format!(
            "handler.command.login: the machine's list of users can't be read: {error}"
        ))),
    }
}

/// Puts into an environment what cron gives its commands, and answers the home in which they start.
fn log_in(
    env: &mut std::collections::BTreeMap<String, String>,
    user: &User,
) -> Result<String, Failure> {
    let home = user.dir.to_str().ok_or_else(|| {
        Failure::not_allowed("handler.command.login: the home of this worker's user is not UTF-8")
    })?;
    for name in ["USER", "LOGNAME"] {
        env.insert(name.to_owned(), user.name.clone());
    }
    for (name, value) in [("HOME", home), ("SHELL", "/bin/sh"), ("PATH", LOGIN_PATH)] {
        env.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    Ok(env.get("HOME").map_or(home, String::as_str).to_owned())
}

/// Where a program is started from: its folder resolved, its own name as it is.
async fn place(program: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (program.parent(), program.file_name()) else {
        return program.to_owned();
    };
    match tokio::fs::canonicalize(folder).await {
        Ok(folder) => folder.join(name),
        Err(_) => program.to_owned(),
    }
}

/// Writes the order. A supervisor that doesn't take it has ended, which shows where its reports are read.
async fn send(control: &mut OwnedWriteHalf, order: &Order) {
    if let Ok(mut line) = serde_json::to_vec(order) {
        line.push(b'\n');
        let _ = control.write_all(&line).await;
    }
}

/// A supervisor and what comes from it.
struct Supervised {
    child: Child,
    reports: BufReader<OwnedReadHalf>,
    output: pipe::Receiver,
}

impl Supervised {
    /// Starts a supervisor, with nothing of the worker's: no environment, a group of its own (a terminal's Ctrl-C is
    /// for the worker), one pipe for both outputs so that their order is kept.
    fn start(supervisor: &Path) -> io::Result<(Self, OwnedWriteHalf)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (output, writer) = io::pipe()?;
        let child = tokio::process::Command::new(supervisor)
            .arg0("campanile")
            .arg(supervise::VERB)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(writer.try_clone()?))
            .stderr(Stdio::from(writer))
            .spawn()?;
        let (reader, control) = UnixStream::from_std(ours)?.into_split();
        let supervised = Self {
            child,
            reports: BufReader::new(reader),
            output: pipe::Receiver::from_owned_fd(output.into())?,
        };
        Ok((supervised, control))
    }

    /// Follows the program to its end.
    async fn live(mut self, log: Log) -> Result<(), Failure> {
        let mut group = None;
        let mut drained = false;
        let end = {
            let mut reports = std::pin::pin!(last_report(&mut self.reports, &mut group));
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
        if end.is_none()
            && let Some(group) = group
        {
            // Somebody killed the supervisor itself. What it watched has no other keeper now.
            let _ = signal::killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let status = self.child.wait().await;
        match end {
            Some(Report::Exited(0)) => Ok(()),
            Some(Report::Exited(code)) => {
                Err(Failure::retry(format!("exit status {code}")).with_class(Class::Exit(code)))
            }
            Some(Report::Signalled(signal)) => {
                let failure = Failure::retry(format!("killed by signal {signal}"));
                Err(failure.with_class(Class::Signal(signal)))
            }
            Some(Report::Invalid(message)) => Err(Failure::fatal(message)),
            Some(Report::Unable(message)) => Err(Failure::retry(message)),
            Some(Report::Started(_)) | None => Err(Failure::retry(format!(
                "the program's supervisor ended before it ({})",
                status.map_or_else(|error| error.to_string(), |status| status.to_string())
            ))),
        }
    }
}

/// The report that ends the story; `None` when the supervisor ended without one.
async fn last_report(
    reports: &mut BufReader<OwnedReadHalf>,
    group: &mut Option<i32>,
) -> Option<Report> {
    loop {
        let mut line = String::new();
        reports.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        match serde_json::from_str(&line).ok()? {
            Report::Started(number) => *group = Some(number),
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
