//! `idle`: many runs in the store, none of them due for a day: what a node costs that has nothing to do.

use std::time::Duration;

use campanile_adapters::sql;
use campanile_core::system::pause;
use serde::Serialize;

use super::figures::{per_second, rounded};
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::redis_info;
use super::site::{self, Place, Site};
use super::usage::{self, Cpu, Memory};
use super::{Error, Line};
use campanile_server::compose::App;

/// How far away the runs are due.
const DAY: Duration = Duration::from_secs(86_400);
/// After the last run was stored: what that costs is not what idleness costs.
const SETTLE: Duration = Duration::from_secs(5);

/// `campanile-bench idle`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Runs that are not due
    #[arg(
        short = 'n',
        long = "runs",
        value_name = "N",
        default_value_t = 100_000
    )]
    runs: usize,
    /// For how long
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u32,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Idle {
    cpu_s: Cpu,
    /// CPU seconds of this process a minute.
    node_cpu_s_per_minute: f64,
    statements_per_s: f64,
    redis_commands_per_s: Option<f64>,
    memory: Memory,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("idle", &site);
    let record = Record::with_room(0);
    let app = site.lead(&record).await?;
    let measured = measure(args, &site, &app).await;
    site::stop(app).await;
    let figures = measured?;
    let started = record.len();
    if started > 0 {
        return Err(Error::Impossible(format!(
            "{started} runs started a day early"
        )));
    }
    Ok(line
        .with("n", args.runs)
        .with("seconds", args.seconds)
        .all(&figures))
}

async fn measure(args: &Args, site: &Site, app: &App) -> Result<Idle, Error> {
    let task = prepare::task(site, &app.control, "idle").await?;
    let one = prepare::request(&task, site.now().await?.plus(DAY), None);
    let progress = Progress::new("insert", args.runs);
    let _ = prepare::submit(&app.control, &one, args.runs, prepare::BATCH, &progress).await?;
    drop(progress);
    let watched = args.place.watched();
    let redis = Some(args.place.lock.as_str()).filter(|url| url.starts_with("redis://"));
    pause(SETTLE).await;
    let redis_before = redis_info::commands(redis).await;
    let statements = sql::statements();
    let mark = watched.mark();
    let progress = Progress::new("idle", args.seconds as usize);
    for second in 0..args.seconds {
        pause(Duration::from_secs(1)).await;
        progress.at(second as usize);
    }
    let cpu_s = watched.since(&mark);
    let seconds = f64::from(args.seconds);
    let statements = sql::statements() - statements;
    let redis_after = redis_info::commands(redis).await;
    // Our own second INFO is not the node's.
    let commands = redis_after
        .zip(redis_before)
        .map(|(after, before)| after - before - 1);
    Ok(Idle {
        node_cpu_s_per_minute: rounded(cpu_s.node * 60.0 / seconds),
        cpu_s,
        statements_per_s: per_s(statements, seconds),
        redis_commands_per_s: commands.map(|n| per_s(n, seconds)),
        memory: usage::memory(),
    })
}

fn per_s(count: u64, seconds: f64) -> f64 {
    let tenths = per_second(usize::try_from(count).unwrap_or(usize::MAX) * 10, seconds);
    tenths / 10.0
}
