//! What can be typed of what works without a service: reckoning with cron expressions, and taking files over.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::number::within;

/// `cron …`
#[derive(Debug, Subcommand)]
pub enum Cron {
    /// The next instants of an expression, one a line
    Next(CronNext),
    /// What an expression means: a sentence, the next instants with each change of the clocks, and other dialects
    Explain(CronExplain),
}

/// How `cron …` reads an expression.
#[derive(Debug, Args)]
pub struct CronReading {
    /// How to read it: auto, unix, spring or quartz
    #[arg(long, default_value = "auto")]
    pub dialect: String,
    /// The zone (IANA)
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub tz: String,
    /// Strictly after this instant (RFC 3339, or a wall time of --tz); default: now
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<String>,
    /// What happens to listed times that the clocks leave out
    #[arg(long, default_value = "next-valid", value_parser = ["next-valid", "skip", "shift"])]
    pub gap: String,
    /// What happens to listed times that the clocks show twice
    #[arg(long, default_value = "first", value_parser = ["first", "both", "last"])]
    pub repeat: String,
    /// The task's name, which H is spread by
    #[arg(long, default_value = "task")]
    pub name: String,
}

/// `cron next`
#[derive(Debug, Args)]
pub struct CronNext {
    /// The expression
    #[arg(required_unless_present = "batch")]
    pub expr: Option<String>,
    #[command(flatten)]
    pub reading: CronReading,
    /// How many
    #[arg(long, default_value_t = 8, value_parser = within(1_u32..=10_000))]
    pub count: u32,
    /// Many at once: a TSV file (or -) of dialect, zone, from, expression; one line out for each, `!` for a refused one
    #[arg(long, value_name = "FILE", conflicts_with = "expr")]
    pub batch: Option<PathBuf>,
}

/// `cron explain`
#[derive(Debug, Args)]
pub struct CronExplain {
    /// The expression
    pub expr: String,
    #[command(flatten)]
    pub reading: CronReading,
    /// How many
    #[arg(long, default_value_t = 10, value_parser = within(1_u32..=1_000))]
    pub count: u32,
}

/// `import …`
#[derive(Debug, Subcommand)]
pub enum Import {
    /// A crontab, as a task file
    Crontab(ImportCrontab),
    /// systemd's timers and the services that they start, as a task file
    Systemd(ImportSystemd),
    /// Kubernetes' CronJobs, as a task file
    Kubernetes(ImportKubernetes),
    /// The whole-day events of a calendar file (.ics), as a task file with one calendar
    Ics(ImportIcs),
}

/// `import systemd`
#[derive(Debug, Args)]
pub struct ImportSystemd {
    /// Timers, services, or folders with both; the service of a timer is also looked for beside it
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// The zone that events without one are meant in; default: this machine's
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Where the task file goes; default: standard output
    #[arg(short, long = "out", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

/// `import kubernetes`
#[derive(Debug, Args)]
pub struct ImportKubernetes {
    /// The manifests (YAML; or - for standard input)
    pub file: PathBuf,
    /// Start the images by this command, as in "/usr/bin/podman run --rm"; default: their commands run as they are
    #[arg(long, value_name = "COMMAND")]
    pub run_with: Option<String>,
    /// Where the task file goes; default: standard output
    #[arg(short, long = "out", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

/// `import ics`
#[derive(Debug, Args)]
pub struct ImportIcs {
    /// The calendar file (or - for standard input)
    pub file: PathBuf,
    /// The calendar's name
    #[arg(long)]
    pub name: String,
    /// To the end of which year events that repeat are spelled out; default: ten years from now
    #[arg(long, value_name = "YEAR")]
    pub through: Option<i32>,
    /// Where the task file goes; default: standard output
    #[arg(short, long = "out", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

/// `import crontab`
#[derive(Debug, Args)]
pub struct ImportCrontab {
    /// The crontab (or - for standard input)
    pub file: PathBuf,
    /// Its lines name a user, as in /etc/crontab
    #[arg(long, conflicts_with = "user")]
    pub system: bool,
    /// Its lines name no user, as in `crontab -l`
    #[arg(long)]
    pub user: bool,
    /// The zone that the lines without CRON_TZ are meant in; default: this machine's
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Where the task file goes; default: standard output
    #[arg(short, long = "out", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}
