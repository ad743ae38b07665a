//! What can be typed: commands, arguments, and their help. Settings of nodes are flags made from the table in
//! [`crate::config`]; nothing here does anything.

use std::path::PathBuf;

use campanile_core::{forecast, limits};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod access;
mod number;
mod offline;
mod runs;
mod users;

pub use self::access::{Audit, Token, TokenCreate};
use self::number::within;
pub use self::offline::{
    Cron, CronExplain, CronNext, CronReading, Import, ImportCrontab, ImportIcs, ImportKubernetes,
    ImportSystemd,
};
pub use self::runs::{Inbox, OneRun, Quarantine, Run, RunList, Submit};
pub use self::users::{RightsTyped, Session, User};
use super::flags::SettingFlags;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Campanile runs tasks at their times on many machines.
#[derive(Debug, Parser)]
#[command(
    name = "campanile",
    version,
    max_term_width = 100,
    after_help = "Start with `campanile dev`: everything in one process, with example tasks.\n\
                  Client commands find the service by CAMPANILE_URL (default http://127.0.0.1:7070) and CAMPANILE_TOKEN; \
                  beside a SQLite store of this folder they find the token themselves.\n\
                  Exit status: 0 done, 1 failed, 2 wrongly called or set up."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

/// Options of all commands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How to write results
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub output: Form,
    /// The service's address, for client commands; several with commas are tried in turn until one can be reached
    /// [env: CAMPANILE_URL] [default: http://127.0.0.1:7070]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub url: Option<String>,
    /// A certificate (PEM) to trust besides the system's, for client commands [env: CAMPANILE_CA]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub ca: Option<PathBuf>,
    /// Send the token over plain http to another machine: everybody on the path can read it
    #[arg(
        long,
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Global options"
    )]
    pub insecure: Option<String>,
    /// Why, for the audit: what is asked for by this command
    #[arg(
        long,
        global = true,
        value_name = "TEXT",
        help_heading = "Global options"
    )]
    pub reason: Option<String>,
    /// Refused, with what to do instead
    #[arg(long, global = true, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub token: Option<TokenTyped>,
    /// The zone on whose wall instants are shown in tables, and whose wall times are typed (IANA); default: UTC is shown,
    /// and beside it the wall of a task's own zone
    #[arg(
        long,
        global = true,
        value_name = "ZONE",
        help_heading = "Global options"
    )]
    pub tz: Option<String>,
}

/// That a token was typed. What it was is dropped at once.
#[derive(Debug, Clone, Copy)]
pub struct TokenTyped;

impl From<String> for TokenTyped {
    fn from(_: String) -> Self {
        Self
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: everything in one process, with example tasks and the page's address
    Dev(Dev),
    /// Run a node
    Serve(Serve),
    /// Make the tasks be as a file says; prints the difference
    Apply(Apply),
    /// Look at tasks, pause, resume, trigger or delete them
    #[command(subcommand)]
    Task(Task),
    /// Submit runs, look at them, cancel or retry them
    #[command(subcommand)]
    Run(Box<Run>),
    /// Look at what other programs asked for in transactions of their own and did not get
    #[command(subcommand)]
    Inbox(Inbox),
    /// Look at what the store refused to record, release or drop it
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Look at the nodes
    #[command(subcommand)]
    Node(Node),
    /// Look at the leader, or ask it to hand over
    #[command(subcommand)]
    Leader(Leader),
    /// Let nothing start in the whole cluster, look at that, or end it; what runs goes on
    Hold(Hold),
    /// Look at the calendars; `apply` puts them
    #[command(subcommand)]
    Calendar(Calendar),
    /// Look at the limits of queues and groups, set or lift them
    #[command(subcommand)]
    Limit(Limit),
    /// Look at the queues, or give out a queue's key
    #[command(subcommand)]
    Queue(Queue),
    /// Why did a task (not) run at an instant?
    Why(Why),
    /// Look ahead: what will start when, the worst minutes, clock changes, overlaps, the catch-up after an outage
    Plan(Plan),
    /// Reckon with cron expressions
    #[command(subcommand)]
    Cron(Cron),
    /// Take over what another system knows
    #[command(subcommand)]
    Import(Import),
    /// API tokens: make, list, revoke; and the token of this machine's node: show it, or put a new one beside it
    #[command(subcommand)]
    Token(Token),
    /// Who did what, and whether nothing of that is missing
    #[command(subcommand)]
    Audit(Audit),
    /// Make local users, change or remove them
    #[command(subcommand)]
    User(User),
    /// Look at the sessions of browsers, or end them
    #[command(subcommand)]
    Session(Session),
    /// Who am I, by what, and what may I do
    Whoami,
    /// Make or upgrade the store's tables
    Migrate(Migrate),
    /// Test settings, store, lock and broker, and say what to do
    Doctor(Settings),
    /// Look at the settings
    #[command(subcommand)]
    Config(Config),
    /// Stands between a worker and a command; not for people
    #[command(name = super::SUPERVISE, hide = true)]
    Supervise,
}

/// Settings of a node.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// A file with settings (TOML) [env: CAMPANILE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub flags: SettingFlags,
}

/// `dev`
#[derive(Debug, Args)]
pub struct Dev {
    /// Where its database goes
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    pub listen: String,
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Hold the cluster before this node does anything, as after a restore: `campanile hold end` lets it go on
    #[arg(long)]
    pub paused: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// `migrate`
#[derive(Debug, Args)]
pub struct Migrate {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// `apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The task file (.toml, .yaml or .json)
    pub file: PathBuf,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Delete tasks of the file's owner that it does not name; without an owner, those that have none
    #[arg(long)]
    pub prune: bool,
    /// Who puts them, instead of the file's `owner`: the owner of tasks that name none, and whose tasks are pruned
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Change tasks that belong to another owner, too
    #[arg(long)]
    pub take_over: bool,
    /// The token that `--dry-run` showed: delete exactly what it named
    #[arg(long, value_name = "TOKEN", requires = "prune")]
    pub confirm: Option<String>,
}

/// A page of a list.
#[derive(Debug, Args)]
pub struct Page {
    /// How many, 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = within(1..=limits::PAGE_ROWS_MAX))]
    pub limit: usize,
    /// The `next_cursor` of the page before
    #[arg(long)]
    pub cursor: Option<String>,
}

/// `task …`
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Tasks by name
    List {
        /// Only those of this owner; empty = only those that have none
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// Only those with this label; several: those that have each of them
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One task
    Show {
        /// Its name
        name: String,
    },
    /// Let its schedule rest; requests still run
    Pause {
        /// Its name
        name: String,
        /// Why, for those who will wonder
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// When it goes on by itself (RFC 3339, or a wall time of --tz); default: when somebody resumes it
        #[arg(long, value_name = "INSTANT")]
        until: Option<String>,
    },
    /// Let its schedule go on, from its next instant
    Resume {
        /// Its name
        name: String,
    },
    /// Start it out of turn
    Trigger {
        /// Its name
        name: String,
        /// Its payload this time, whole (JSON)
        #[arg(long, value_name = "JSON")]
        payload: Option<String>,
        /// Its own payload with this field changed, as in day=monday or mail.to='["a@b.c"]'; several times for several
        /// fields. JSON where it can be read as such, else text; null removes the field; \. is a point of a name
        #[arg(long = "set", value_name = "FIELD=VALUE", conflicts_with = "payload")]
        set: Vec<String>,
    },
    /// Run past instants of its schedule after all
    Backfill(Backfill),
    /// Delete it; its history stays, its waiting runs are cancelled
    Delete {
        /// Its name
        name: String,
        /// Only say what it would take along
        #[arg(long)]
        dry_run: bool,
        /// The token that `--dry-run` showed; wanted when runs wait for it
        #[arg(long, value_name = "TOKEN")]
        confirm: Option<String>,
    },
}

/// `task backfill`
#[derive(Debug, Args)]
pub struct Backfill {
    /// The task
    pub name: String,
    /// The first instant (RFC 3339, or a wall time of --tz)
    #[arg(long, value_name = "INSTANT")]
    pub from: String,
    /// The instant before which it ends (RFC 3339, or a wall time of --tz); not in the future
    #[arg(long, value_name = "INSTANT")]
    pub until: String,
    /// Also instants that have a run already
    #[arg(long)]
    pub all: bool,
    /// Only say how many
    #[arg(long)]
    pub dry_run: bool,
    /// How many start in a second, 1 to 1000; default 10
    #[arg(long, value_name = "N", value_parser = within(1_u32..=1_000))]
    pub per_second: Option<u32>,
}

/// `calendar …`
#[derive(Debug, Subcommand)]
pub enum Calendar {
    /// The calendars
    List,
    /// One calendar
    Show {
        /// Its name
        name: String,
    },
    /// Delete one that no task names
    Delete {
        /// Its name
        name: String,
    },
}

/// `limit …`
#[derive(Debug, Subcommand)]
pub enum Limit {
    /// The limits, with what runs and waits under them
    List,
    /// Set a limit
    Set {
        /// queue:NAME or group:NAME
        limit: String,
        /// How many runs may be handed to workers at once, in the whole cluster: 1 to 1000
        #[arg(value_parser = within(1_u32..=1_000))]
        max_running: u32,
    },
    /// Lift a limit
    Lift {
        /// queue:NAME or group:NAME
        limit: String,
    },
}

/// `node …`
#[derive(Debug, Subcommand)]
pub enum Node {
    /// The members: nodes whose heartbeats arrive
    List,
}

/// `leader …`
#[derive(Debug, Subcommand)]
pub enum Leader {
    /// Who leads
    Show,
    /// Ask the leader to hand over
    Resign,
}

/// `hold …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Hold {
    #[command(subcommand)]
    pub verb: Option<HoldVerb>,
    /// Why, for those who will wonder
    #[arg(long, value_name = "TEXT", required = true)]
    pub why: Option<String>,
    /// When it ends by itself (RFC 3339, or a wall time of --tz); default: when somebody ends it
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
}

/// `hold …`
#[derive(Debug, Subcommand)]
pub enum HoldVerb {
    /// Whether the cluster is held, by whom and why
    Show,
    /// End it: what became due meanwhile follows each task's `misfire`
    End,
}

/// `queue …`
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// Queues with their live runs
    List,
    /// The signing key that an external executor of the queue is given (hex)
    Key {
        /// The queue
        queue: String,
    },
}

/// `why`
#[derive(Debug, Args)]
pub struct Why {
    /// The task
    pub task: String,
    /// The instant: RFC 3339, a wall time in the zone of --tz, by default the task's own (2026-11-22T02:30; 02:30 is
    /// today's), last or next
    #[arg(default_value = "last")]
    pub instant: String,
}

/// `plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// How many times 24 hours, 1 to 366
    #[arg(long, default_value_t = 7, value_parser = within(1_u16..=366))]
    pub days: u16,
    /// From this instant on: RFC 3339, or a wall time of --tz (2026-11-27T00:00); default: now
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<String>,
    /// Show what would be caught up if nothing were planned from the one instant to the other
    #[arg(long, value_name = "FROM/UNTIL")]
    pub outage: Option<String>,
    /// How many worst minutes, and tasks of other lists, 1 to 50
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = within(1..=forecast::TOP_MAX))]
    pub top: usize,
    /// In whose days and on whose wall it is shown (IANA)
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub tz: String,
    /// Draw a heat map (SVG) into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Look at the tasks of this file instead of the service's: without a service, and without measured durations
    #[arg(long, value_name = "TASKS")]
    pub file: Option<PathBuf>,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print each setting with its value and source, and say what is wrong
    Check(Settings),
}
