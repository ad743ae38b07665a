//! `hostile`: the worst requests of each kind that a stranger with a token, or without one, can send, from many clients,
//! beside a few tasks every second. What is looked at: how late those tasks' runs were, how long `/healthz` took and how
//! much memory the node had. It is done twice: against the node, and as a control against a stub in a process of its own,
//! so that what the clients' own work costs on the same machine is told apart.

mod clients;
mod kinds;
mod process;
mod stand;
pub mod stub;

use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile_core::system::{pause, wall_now};
use serde::Serialize;

use self::clients::{Clients, Count};
use self::process::{Prober, Process};
use self::stand::Stand;
use super::figures::Percentiles;
use super::history::Counts;
use super::site::{Place, Site};
use super::{Error, Line, program};

/// Tasks, each every second.
const TASKS: usize = 10;
/// Between the storing of the tasks and what is looked at: the first instants warm everything up.
const WARM_UP: Duration = Duration::from_secs(5);
/// After the last instant, what has not started by then is counted as missed.
const PATIENCE: Duration = Duration::from_secs(20);

/// `campanile-bench hostile`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// For how long
    #[arg(long, value_name = "S", default_value_t = 30)]
    seconds: u32,
    /// Clients that send one request after the other
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: usize,
    /// Connections that send half a request and no more
    #[arg(long, value_name = "N", default_value_t = 700)]
    silent: usize,
    /// Only these kinds of request
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kinds: Vec<String>,
    /// The program to measure, such as an older one [default: `campanile` beside this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// The figures of one time of sending.
#[derive(Debug, Serialize)]
struct Figures {
    lateness_ms: Option<Percentiles>,
    health_ms: Option<Percentiles>,
    /// Health requests that had no good answer within ten seconds.
    health_failed: usize,
    /// What was wrong with the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    health_why: Option<String>,
    /// The most that the node had.
    peak_mb: Option<f64>,
    requests: Vec<Count>,
    #[serde(flatten)]
    counts: Counts,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => program::campanile()?,
    };
    clients::raise_descriptors(args.silent + 1_024)?;
    let place = Place {
        store: None,
        lock: "store:".to_owned(),
        broker: "memory:".to_owned(),
        slots: 64,
        database_pid: None,
        broker_pid: None,
    };
    let site = Site::join(&place, "bench", &[]).await?;
    let line = Line::new("hostile", &site);
    let control = measure(args, &program, &site, true).await?;
    let hostile = measure(args, &program, &site, false).await?;
    let counts = hostile.counts;
    let program = args.program.as_ref().map(|p| p.display().to_string());
    Ok(line
        .with("seconds", args.seconds)
        .with("clients", args.clients)
        .with("silent", args.silent)
        .with("program", program)
        .with("control", &control)
        .all(&hostile)
        .counted(counts))
}

/// One time: a fresh node with its tasks, and the clients against it or against the stub.
async fn measure(
    args: &Args,
    program: &Path,
    site: &Site,
    against_stub: bool,
) -> Result<Figures, Error> {
    let stub = Process::stub().await?;
    let stand = Stand::start(site, program, &stub.url).await?;
    stand.put_tasks(TASKS).await?;
    stand.prepare().await?;
    pause(WARM_UP).await;
    let from = wall_now();
    let prober = Prober::start(&stand.url)?;
    let (target, token) = if against_stub {
        (&stub.url, "cmp_nobodys-0123456789abcdef")
    } else {
        (&stand.url, stand.token.as_str())
    };
    let clients = Clients::start(target, token, args.clients, args.silent, &args.kinds)?;
    pause(Duration::from_secs(args.seconds.into())).await;
    let until = wall_now();
    let requests = clients.stop().await;
    let health = prober.stop().await;
    let seen = stand.starts(TASKS, (from, until), PATIENCE).await?;
    let peak_mb = stand.peak_mb();
    stand.stop().await?;
    Ok(Figures {
        lateness_ms: Percentiles::of_us(seen.lateness_us),
        health_ms: Percentiles::of_us(health.took_us),
        health_failed: health.failed,
        health_why: health.why,
        peak_mb,
        requests,
        counts: Counts {
            missed: seen.missed,
            doubled: seen.doubled,
            early: seen.early,
            restarted: 0,
        },
    })
}
