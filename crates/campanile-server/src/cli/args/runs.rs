//! What can be typed of runs, and of what was set aside.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Page;
use super::number::within;

/// `run …`
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Submit a run, or several from a file
    Submit(Submit),
    /// Runs, newest first
    List(RunList),
    /// One run, with its attempts and its timeline
    Show(OneRun),
    /// End it
    Cancel(OneRun),
    /// Let it start at another instant, if it has not started
    Move {
        #[command(flatten)]
        run: OneRun,
        /// When instead (RFC 3339, or a wall time of --tz); what has passed means now
        #[arg(long, value_name = "INSTANT")]
        to: String,
    },
    /// Make an ended run happen again, as a new run
    Retry {
        /// Its id
        id: String,
    },
    /// What its attempts wrote, each under its number, also while they run: of more than its task's `log_bytes` (64 KiB) the
    /// beginning and the end, with a line between that says how much is left out. What is not UTF-8 is shown as U+FFFD
    Logs {
        /// Its id
        id: String,
        /// Only what this attempt wrote, without the lines that name attempts; with --follow: from this attempt on
        #[arg(long, value_name = "N", value_parser = within(1..=u32::MAX))]
        attempt: Option<u32>,
        /// Go on with what is written, through all attempts until the run has ended. The exit status is 0 if it succeeded,
        /// otherwise 1. With --output json each event is a line
        #[arg(long, short)]
        follow: bool,
    },
}

/// Which run: its id, or the key with which it was submitted.
#[derive(Debug, Args)]
pub struct OneRun {
    /// Its id
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    pub id: Option<String>,
    /// Or the idempotency key with which it was submitted
    #[arg(long)]
    pub key: Option<String>,
    /// With --key: of this task; may be left out while only one has the key
    #[arg(long, requires = "key", conflicts_with = "handler")]
    pub task: Option<String>,
    /// With --key: of runs without a task and with such a handler: http, command, external, native:NAME
    #[arg(long, requires = "key")]
    pub handler: Option<String>,
}

/// `run submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// Of this task
    #[arg(long, required_unless_present_any = ["handler", "file"])]
    pub task: Option<String>,
    /// Or with this handler (JSON), as in '{"http": {"url": "https://…"}}'
    #[arg(long, value_name = "JSON")]
    pub handler: Option<String>,
    /// Its payload (JSON)
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Its queue
    #[arg(long)]
    pub queue: Option<String>,
    /// Its priority, 0 to 9
    #[arg(long, value_parser = within(0_u8..=9))]
    pub priority: Option<u8>,
    /// When (RFC 3339, or a wall time of --tz); default: now
    #[arg(long, value_name = "INSTANT")]
    pub run_at: Option<String>,
    /// How often it is tried, and after which waits (JSON), as in '{"max_attempts": 5, "initial": "10s"}'
    #[arg(long, value_name = "JSON")]
    pub retry: Option<String>,
    /// How long one of its attempts may take, as in 30s
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// A second submission with the same key, of the same task, answers with the first one's run
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Or several: a file with {"runs": […]}, all or none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task", "handler", "payload", "queue", "priority", "run_at", "retry", "timeout", "idempotency_key"])]
    pub file: Option<PathBuf>,
}

/// `run list`
#[derive(Debug, Args)]
pub struct RunList {
    /// Of this task
    #[arg(long)]
    pub task: Option<String>,
    /// Of the tasks that there are with this label; several: of those that have each of them
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// In this state
    #[arg(long)]
    pub state: Option<String>,
    /// Due at or after (RFC 3339, or a wall time of --tz)
    #[arg(long, value_name = "INSTANT")]
    pub since: Option<String>,
    /// Due before (RFC 3339, or a wall time of --tz)
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
    /// Submitted with this idempotency key
    #[arg(long)]
    pub key: Option<String>,
    #[command(flatten)]
    pub page: Page,
}

/// `inbox …`
#[derive(Debug, Subcommand)]
pub enum Inbox {
    /// Requests that became no run, newest first: duplicates, conflicts, refusals
    List(Page),
}

/// `quarantine …`
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// What is set aside, oldest first
    List(Page),
    /// Let it go on, once the cause is mended: its end is recorded, or it waits for its start again
    Release {
        /// Its number
        id: String,
    },
    /// Forget it, and its run with it
    Drop {
        /// Its number
        id: String,
    },
}
