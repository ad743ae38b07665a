//! The program `campanile-bench`: one workload, one JSON line. It drives the engine from outside: through the library's
//! calls, over the same ports as `serve`, with a handler that only notes its starts. Missed, doubled and early starts are
//! counted from the store's rows and from the handler's record, and unless both agree no figure is printed: read
//! `history` first. It never runs in a store that holds somebody's tasks.

mod burst;
mod child;
mod clock;
mod failover;
mod figures;
mod flow;
mod growth;
mod history;
mod hostile;
mod idle;
mod limit;
mod logs;
mod many;
mod midnight;
mod plot;
mod prepare;
mod program;
mod progress;
mod record;
mod redis_info;
mod site;
mod steady;
mod submit;
mod tally;
mod usage;

#[cfg(test)]
mod documents;
#[cfg(test)]
mod guards;

use std::path::PathBuf;
use std::process::ExitCode;

use campanile_core::port::store;
use campanile_server::cli::{self, Out};
use campanile_server::config;
use clap::Parser as _;
use serde::Serialize;
use serde_json::{Map, Value};

use self::history::{Counts, Disagreement};
use self::site::Site;

/// Measures Campanile: one workload, one line of JSON.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "campanile-bench",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 measured, 1 failed, or a promise is broken, 2 wrongly called."
)]
struct Args {
    /// What to measure
    #[command(subcommand)]
    workload: Workload,
}

/// What to measure.
#[derive(Debug, Clone, clap::Subcommand)]
enum Workload {
    /// Many runs stored beforehand, all due at one instant
    Burst(burst::Args),
    /// Tasks that recur every second, for a while
    Steady(steady::Args),
    /// One run at a time: from the request to the start
    Submit(submit::Args),
    /// Runs that are not due: what a node costs that has nothing to do
    Idle(idle::Args),
    /// Bursts on a growing heap of runs that wait, and on one of finished runs
    Growth(growth::Args),
    /// Steady load on three nodes while leaders are killed and stopped
    Failover(failover::Args),
    /// Many tasks that are all due at one instant, or spread behind it by their jitter
    Midnight(midnight::Args),
    /// Attempts that write all the time, and a burst beside them
    Logs(logs::Args),
    /// One leader, several workers and API nodes, each a process of its own, on one database
    Many(many::Args),
    /// The worst requests of each kind from many clients, beside a few tasks every second
    Hostile(hostile::Args),
    /// What store and broker do without the engine: the ceilings
    Limit(limit::Args),
    /// Draws what other workloads measured, from the lines that they printed
    Plot(plot::Args),
    /// One node of `failover` or `many`; not for people
    #[command(hide = true)]
    Node(child::Args),
    /// What the clients of `hostile` are measured against; not for people
    #[command(hide = true)]
    Stub(hostile::stub::Args),
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("failed to {0}")]
    Store(#[from] store::Error),
    /// What was asked of the system was refused.
    #[error("failed to prepare the workload: {0}")]
    Control(#[from] campanile_ask::Error),
    /// What is to be measured was not built.
    #[error(
        "there is no program {}: build it beside this one, with `cargo build --release` (or the profile of this one), or \
         name one with --program FILE", .0.display()
    )]
    NoProgram(PathBuf),
    /// A setting can't be taken.
    #[error(transparent)]
    Setting(#[from] config::Error),
    /// Something can't be reached or started.
    #[error("{0}")]
    Unavailable(String),
    /// A file could not be made or read.
    #[error("failed to use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store belongs to somebody.
    #[error(
        "the store holds the task `{0}`: a bench needs a store of its own; name an empty database, or none for a temporary file"
    )]
    InUse(String),
    /// No node came to lead.
    #[error(
        "no node came to lead within a minute: look at the log above for the store and the lock"
    )]
    NotLeading,
    /// The two witnesses differ.
    #[error("the counts can't be believed: {0}")]
    Disagreement(#[from] Disagreement),
    /// The counts agree and are not zero.
    #[error("{} missed, {} doubled, {} early: a promise is broken", .0.missed, .0.doubled, .0.early)]
    Broken(Counts),
    /// It can't be measured so.
    #[error("{0}")]
    Impossible(String),
}

/// What came of it.
#[derive(Debug)]
enum Done {
    /// A workload's figures.
    Measured(Line),
    /// A node of `failover` has ended.
    Node(ExitCode),
}

/// The one line that a workload prints.
#[derive(Debug)]
pub struct Line {
    fields: Map<String, Value>,
    counts: Counts,
}

impl Line {
    fn new(workload: &str, site: &Site) -> Self {
        let line = Self {
            fields: Map::new(),
            counts: Counts::default(),
        };
        line.with("workload", workload)
            .with("version", env!("CARGO_PKG_VERSION"))
            .with(
                "build",
                if cfg!(debug_assertions) {
                    "debug"
                } else {
                    "optimised"
                },
            )
            .with(
                "cpus",
                std::thread::available_parallelism().map_or(0, usize::from),
            )
            .with("load_average", usage::load_average())
            .all(&site.kinds)
            .with("slots", site.settings.node.slots)
    }

    /// One more field.
    fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// All fields of a struct.
    fn all(mut self, fields: &impl Serialize) -> Self {
        if let Ok(Value::Object(more)) = serde_json::to_value(fields) {
            self.fields.extend(more);
        }
        self
    }

    /// What decides how the program ends.
    const fn counted(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    /// Whether nothing was missed, doubled or early.
    ///
    /// # Errors
    /// [`Error::Broken`] with the counts.
    pub const fn promises_kept(&self) -> Result<(), Error> {
        let Counts {
            missed,
            doubled,
            early,
            ..
        } = self.counts;
        if missed == 0 && doubled == 0 && early == 0 {
            Ok(())
        } else {
            Err(Error::Broken(self.counts))
        }
    }
}

/// Runs one workload.
///
/// # Errors
/// Why there are no figures.
async fn run(args: &Args) -> Result<Done, Error> {
    let line = match &args.workload {
        Workload::Burst(args) => burst::run(args).await,
        Workload::Steady(args) => steady::run(args).await,
        Workload::Submit(args) => submit::run(args).await,
        Workload::Idle(args) => idle::run(args).await,
        Workload::Growth(args) => growth::run(args).await,
        Workload::Failover(args) => failover::run(args).await,
        Workload::Midnight(args) => midnight::run(args).await,
        Workload::Logs(args) => logs::run(args).await,
        Workload::Many(args) => many::run(args).await,
        Workload::Limit(args) => limit::run(args).await,
        Workload::Hostile(args) => hostile::run(args).await,
        Workload::Plot(args) => {
            let drawn = plot::run(args)?;
            for file in drawn {
                Out::default().line(file.display());
            }
            return Ok(Done::Node(ExitCode::SUCCESS));
        }
        Workload::Stub(args) => return hostile::stub::run(args).await.map(Done::Node),
        Workload::Node(args) => return child::run(args).await.map(Done::Node),
    };
    line.map(Done::Measured)
}

fn main() -> ExitCode {
    // The error is that it was installed before, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return say(format!("failed to start: {error}")),
    };
    let code = runtime.block_on(measure(&args)).unwrap_or_else(say);
    // What still runs after a hard end is not waited for.
    runtime.shutdown_background();
    code
}

fn say(error: impl std::fmt::Display) -> ExitCode {
    Out::default().remark(format!("error: {error}"));
    ExitCode::FAILURE
}

/// Runs the workload, and writes its line.
async fn measure(args: &Args) -> Result<ExitCode, Error> {
    cli::log_warnings();
    match run(args).await? {
        Done::Node(code) => Ok(code),
        Done::Measured(figures) => {
            Out::default().line(figures.line());
            figures.promises_kept()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
