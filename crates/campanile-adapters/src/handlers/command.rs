//! The `command` handler: one program for each attempt, on the worker's own machine. Owns which programs the worker
//! may start, what they are given and what is kept of their output; never uses a shell, never hands on the worker's
//! environment, and never starts a program without a supervisor ([`super::supervise`]) that ends it with the worker, nor
//! records its end while something of it lives (`leash`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::port::handler::{Context, Executor, Failure, Returned, Verdict};
use campanile_core::system;
use campanile_core::task::{Class, CommandSpec, HandlerSpec};
use nix::unistd::User;

use super::allow::Allowed;
use super::cgroup::{Cell, Cells};
use super::environment::{AllowedEnv, refused_env};
use super::leash::{self, Control, Ended, Living, SWEEP_MAX, Supervised};
use super::processes;
use super::supervise::{Order, Report};
use super::user::{self, RunAs};

/// Where a program looks for others when its task doesn't say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How much longer than its grace a supervisor may take to end everything, before the worker does it.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// Entries of the allow-list that an error tells of.
const TOLD_MAX: usize = 5;

/// Which programs this worker runs, and how.
#[derive(Debug, Clone)]
pub struct CommandOptions {
    /// `None`: no commands at all. Else the programs that tasks may start.
    pub allowed: Option<Vec<Allowed>>,
    /// The variables that tasks may set for them.
    pub allowed_env: Vec<AllowedEnv>,
    /// Who they run as; `None`: as the worker does.
    pub run_as: Option<RunAs>,
    /// Where each attempt gets a cgroup of its own; `None`: it gets none.
    pub cells: Option<Cells>,
    /// Whether this process may become the parent of orphans below it (`PR_SET_CHILD_SUBREAPER`), and end those that a
    /// killed supervisor has left. Only for a process that has no other children: they would be taken for orphans.
    pub adopts: bool,
    /// The program that supervises: one that calls [`supervise::main`](super::supervise::main) when its first argument is
    /// [`supervise::VERB`](super::supervise::VERB), or `campanile-supervise`. For the own program, `/proc/self/exe` is right
    /// even after the file was replaced by an upgrade.
    pub supervisor: PathBuf,
    /// How long a program that is told to stop may take, before it is killed.
    pub grace: Duration,
}

impl Default for CommandOptions {
    /// No commands at all.
    fn default() -> Self {
        Self {
            allowed: None,
            allowed_env: Vec::new(),
            run_as: None,
            cells: None,
            adopts: false,
            supervisor: PathBuf::from("/proc/self/exe"),
            grace: Duration::from_secs(5),
        }
    }
}

/// Runs `command` handlers. Exit status 0 is success, anything else [`Failure::retry`]; a program that isn't there or
/// can't be run is [`Failure::fatal`], one that the options don't allow as it is written [`Failure::not_allowed`].
///
/// A program is allowed by the place it is started from. Folders are resolved, so that `..` and linked folders neither
/// help nor hurt; the last name is not, because one file under many names (busybox, coreutils) does many things. So a
/// link to an allowed program is not allowed, and an allowed name that is a link is allowed under that name alone.
///
/// Programs need a machine that runs Linux: supervision rests on its process tree.
#[derive(Debug, Clone)]
pub struct Command {
    options: CommandOptions,
    living: Arc<Living>,
    started: Arc<AtomicU64>,
}

impl Command {
    /// An executor. The supervisor isn't started, and so not looked for, before the first attempt.
    #[must_use]
    pub fn new(options: CommandOptions) -> Self {
        Self {
            living: Arc::new(Living::new(options.adopts)),
            started: Arc::default(),
            options,
        }
    }

    /// The program as it will be started, if it may be, with these arguments and variables.
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
        let arguments = spec.argv.get(1..).unwrap_or_default();
        let mut misfits = Vec::new();
        let mut is_allowed = false;
        for entry in allowed {
            if entry.is_any() || self::place(Path::new(entry.program())).await == place {
                match entry.misfit(arguments) {
                    Some(misfit) => misfits.push(format!("{misfit} (`{entry}`)")),
                    None => is_allowed = true,
                }
            }
        }
        if !is_allowed {
            return Err(Failure::not_allowed(refusal(&place, &misfits)));
        }
        match refused_env(spec.env.keys(), &self.options.allowed_env) {
            Some(refused) => Err(Failure::not_allowed(refused)),
            None => Ok(place),
        }
    }

    /// Whose home, name and shell a program is told of.
    fn login(&self, spec: &CommandSpec) -> Result<Option<User>, Failure> {
        match (&self.options.run_as, spec.login) {
            (_, false) => Ok(None),
            (Some(user), true) => Ok(Some(user.user().clone())),
            (None, true) => user::own().map(Some),
        }
    }

    fn order(
        &self,
        program: &Path,
        spec: &CommandSpec,
        context: &Context,
        cell: Option<&Cell>,
    ) -> Result<Order, Failure> {
        let program = program.to_str().ok_or_else(|| {
            Failure::fatal("handler.command.argv: the program's folder is not UTF-8".to_owned())
        })?;
        let mut env = spec.env.clone();
        let home = match self.login(spec)? {
            Some(user) => Some(user::log_in(&mut env, &user)?),
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
            cell: cell.map(|cell| cell.path().display().to_string()),
            run_as: self.options.run_as.as_ref().map(RunAs::order),
            keep_children: spec.keep_children,
        })
    }

    /// A cgroup for one attempt.
    fn cell(&self, context: &Context) -> Result<Option<Cell>, Failure> {
        let Some(cells) = &self.options.cells else {
            return Ok(None);
        };
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", context.run, context.attempt);
        cells.cell(&name).map(Some).map_err(|error| {
            Failure::retry(format!(
                "failed to make a cgroup in {}: {error}",
                cells.path().display()
            ))
        })
    }

    /// Follows a program to its end, or makes it end when the attempt is told to stop. `None` = it was told to.
    async fn follow(
        &self,
        supervised: Supervised,
        mut control: Control,
        order: &Order,
        context: &Context,
        cell: Option<&Cell>,
    ) -> (Option<Ended>, Vec<String>) {
        let supervisor = control.supervisor().clone();
        let mut life = std::pin::pin!(supervised.live(context.log.clone()));
        let (mut ended, stopped) = tokio::select! {
            ended = async {
                control.send(order).await;
                life.as_mut().await
            } => (Some(ended), false),
            () = context.stop.cancelled() => (None, true),
        };
        if stopped {
            control.stop();
            ended = system::within(self.options.grace + KILL_MARGIN, life.as_mut()).await;
        }
        let mut left = Vec::new();
        if !matches!(
            &ended,
            Some(Ended {
                report: Some(_),
                ..
            })
        ) {
            // The program has killed its supervisor, or stopped it.
            let survivors = self.living.sweep(&supervisor, cell).await;
            left.extend(Some(processes::named(&survivors)).filter(|names| !names.is_empty()));
        }
        if ended.is_none() {
            system::within(leash::DRAIN_MAX, life).await;
        }
        left.extend(ended.as_mut().and_then(|ended| ended.left.take()));
        (ended.filter(|_| !stopped), left)
    }
}

#[async_trait]
impl Executor for Command {
    async fn refusal(&self, handler: &HandlerSpec) -> Option<String> {
        let HandlerSpec::Command(spec) = handler else {
            return None;
        };
        let refused = match self.allow(spec).await {
            Ok(_) => self.login(spec).err()?,
            Err(refused) => refused,
        };
        (refused.verdict() == Verdict::NotAllowed).then(|| refused.message().to_owned())
    }

    fn programs(&self) -> Option<Vec<String>> {
        let allowed = self.options.allowed.iter().flatten();
        Some(allowed.map(|entry| entry.program().to_owned()).collect())
    }

    /// Its own grace, and what it takes to be sure that nothing is left.
    fn stop_grace(&self, _: &HandlerSpec) -> Duration {
        self.options.grace + KILL_MARGIN + SWEEP_MAX * 2
    }

    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<Returned, Failure> {
        let HandlerSpec::Command(spec) = handler else {
            return Err(super::misplaced("command", handler));
        };
        let program = self.allow(spec).await?;
        if context.stop.is_cancelled() {
            return Err(super::stopped());
        }
        let cell = self.cell(&context)?;
        let order = self.order(&program, spec, &context, cell.as_ref());
        let started = order.and_then(|order| {
            let started = Supervised::start(&self.living, &self.options.supervisor);
            let started = started.map_err(|error| {
                Failure::retry(format!(
                    "failed to start the supervisor `{}`: {error}",
                    self.options.supervisor.display()
                ))
            })?;
            Ok((order, started))
        });
        let (order, (supervised, control)) = match started {
            Ok(started) => started,
            Err(failure) => {
                if let Some(cell) = cell {
                    cell.remove();
                }
                return Err(failure);
            }
        };
        let (ended, mut left) = self
            .follow(supervised, control, &order, &context, cell.as_ref())
            .await;
        let result = ended.map_or_else(|| Err(super::stopped()), result);
        if let (Some(cells), Some(cell)) = (&self.options.cells, &cell) {
            let keeps = spec.keep_children && result.is_ok();
            let survivors = leash::close(cells, cell, keeps).await;
            left.extend(Some(processes::named(&survivors)).filter(|names| !names.is_empty()));
        }
        tell_left(&left, &program, &context);
        result.map(|()| None)
    }
}

/// Says of a program what could not be ended, to whoever reads the run and to whoever reads the worker's log.
fn tell_left(left: &[String], program: &Path, context: &Context) {
    if left.is_empty() {
        return;
    }
    let names = left.join(", ");
    context.log.push(&format!(
        "\n[campanile: still alive after the end, because it can't be killed (it runs as another user, or hangs in the \
         kernel): {names}]\n"
    ));
    tracing::warn!(
        run = %context.run,
        processes = names,
        "run {} of `{}` has ended, and what it started still lives: {names}",
        context.run,
        program.display()
    );
}

fn result(ended: Ended) -> Result<(), Failure> {
    match ended.report {
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
        Some(Report::Started(_) | Report::Left(_)) | None => {
            let status = ended.supervisor.map_or_else(
                || "it is still there".to_owned(),
                |status| status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            );
            Err(Failure::retry(format!(
                "the program's supervisor ended before it ({status})"
            )))
        }
    }
}

/// Why a program may not be started like this.
fn refusal(place: &Path, misfits: &[String]) -> String {
    let place = place.display();
    if misfits.is_empty() {
        return format!(
            "`{place}` is not among the programs that this worker runs: add it to the worker's `--allow-commands`"
        );
    }
    let mut told = misfits.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>();
    if misfits.len() > TOLD_MAX {
        told.push(format!("and {} entries more", misfits.len() - TOLD_MAX));
    }
    format!(
        "this worker runs `{place}` with other arguments alone: {}; change handler.command.argv, or the worker's \
         `--allow-commands`",
        told.join("; ")
    )
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
