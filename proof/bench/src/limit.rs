//! `limit`: what store and broker can do without the engine, on the same machine in the same minute: the ceilings that
//! the engine is held against. The store's by its own batch calls (see [`super::flow`]); the broker's by messages as the
//! leader sends them, from the first publish to the last acknowledgement.

use std::collections::BTreeMap;
use std::sync::Arc;

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::publish::Entry;
use campanile_core::decide::publish::message;
use campanile_core::decide::publish::message::Secret;
use campanile_core::id::Mint;
use campanile_core::limits;
use campanile_core::port::broker::{self, Broker, Message};
use campanile_core::port::fire::Waiting;
use campanile_core::system::{spawn, wall_now, within};
use campanile_core::task::{QueueName, Task};
use serde::Serialize;
use tokio::task::JoinSet;

use super::clock::{now_us, seconds_since};
use super::figures::{median, per_second, rounded};
use super::flow::Flow;
use super::progress::Progress;
use super::site::{Place, Site};
use super::usage::Cpu;
use super::{Error, Line, prepare};

/// Connections that whole lives are overlapped on.
const LANES: [usize; 3] = [1, 2, 4];
/// Runs of one firing, claim and finish, to see what batches are worth.
const BATCHES: [usize; 4] = [1, 10, 100, 1_000];
/// Of each of them so many are fired at most.
const FIRINGS: usize = 500;
/// Runs and messages that only warm up.
const WARM_UP: usize = 2_000;
/// Messages that a consumer holds unacknowledged.
const PREFETCH: usize = limits::CLAIM_ROWS_MAX;
/// How long all messages may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// `campanile-bench limit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Runs of each measurement
    #[arg(short = 'n', long = "runs", value_name = "N", default_value_t = 20_000)]
    runs: usize,
    /// How often each is measured; the figures are medians
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Limit {
    store_limit: StoreLimit,
    broker_limit: BrokerLimit,
}

#[derive(Debug, Serialize)]
struct StoreLimit {
    /// Each stage by itself, on one connection.
    insert_per_s: Option<f64>,
    fire_per_s: Option<f64>,
    claim_per_s: Option<f64>,
    finish_per_s: Option<f64>,
    /// Fire, claim and finish one after the other.
    stages_lives_per_s: Option<f64>,
    /// As a flow, by connections.
    lives_per_s: BTreeMap<String, Option<f64>>,
    /// On all connections, by the runs of a batch.
    by_batch: BTreeMap<usize, Option<f64>>,
    /// The best of those by connections.
    best_lives_per_s: Option<f64>,
    cpu_s: Cpu,
}

#[derive(Debug, Serialize)]
struct BrokerLimit {
    /// Publish, consume, acknowledge.
    messages_per_s: Option<f64>,
    message_bytes: usize,
    cpu_s: Cpu,
}

/// Runs the workload.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(args: &Args) -> Result<Line, Error> {
    let site = Site::open(&args.place).await?;
    let line = Line::new("limit", &site)
        .with("n", args.runs)
        .with("rounds", args.rounds);
    let limit = Limit {
        store_limit: of_store(args, &site).await?,
        broker_limit: of_broker(args, &site).await?,
    };
    Ok(line.all(&limit))
}

async fn of_store(args: &Args, site: &Site) -> Result<StoreLimit, Error> {
    let progress = Progress::new("store", args.runs);
    let flow = Flow::begin(site).await?;
    let _ = flow.lives(WARM_UP, 2, &progress).await?;
    let watched = args.place.watched();
    let mark = watched.mark();
    let mut stages = [const { Vec::new() }; 5];
    let mut lives: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for _ in 0..args.rounds {
        let took = flow.stages(args.runs).await?;
        let whole = took.fire_s + took.claim_s + took.finish_s;
        let each = [
            took.insert_s,
            took.fire_s,
            took.claim_s,
            took.finish_s,
            whole,
        ];
        for (rates, seconds) in stages.iter_mut().zip(each) {
            rates.push(per_second(args.runs, seconds));
        }
        for lanes in LANES {
            let seconds = flow.lives(args.runs, lanes, &progress).await?;
            lives
                .entry(lanes)
                .or_default()
                .push(per_second(args.runs, seconds));
        }
    }
    let cpu_s = watched.since(&mark);
    let by_batch = by_batch(args, &flow, &progress).await?;
    flow.end().await?;
    let [insert, fire, claim, finish, whole] = stages.map(|rates| median(&rates));
    let lives: BTreeMap<String, Option<f64>> = lives
        .iter()
        .map(|(n, rates)| (n.to_string(), median(rates)))
        .collect();
    Ok(StoreLimit {
        insert_per_s: insert,
        fire_per_s: fire,
        claim_per_s: claim,
        finish_per_s: finish,
        stages_lives_per_s: whole,
        best_lives_per_s: lives.values().flatten().copied().max_by(f64::total_cmp),
        lives_per_s: lives,
        by_batch,
        cpu_s,
    })
}

async fn by_batch(
    args: &Args,
    flow: &Flow,
    progress: &Progress,
) -> Result<BTreeMap<usize, Option<f64>>, Error> {
    let lanes = LANES.into_iter().max().unwrap_or(1);
    let mut rates: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for _ in 0..args.rounds {
        for batch in BATCHES {
            let count = args.runs.min(batch * FIRINGS);
            let flow = flow.in_batches_of(batch);
            let seconds = flow.lives(count, lanes, progress).await?;
            let rate = per_second(count, seconds);
            rates.entry(batch).or_default().push(rate);
        }
    }
    Ok(rates.iter().map(|(n, of)| (*n, median(of))).collect())
}

async fn of_broker(args: &Args, site: &Site) -> Result<BrokerLimit, Error> {
    let task = prepare::task(site, &site.control(), "limit").await?;
    let messages = messages(site, task, args.runs);
    let message_bytes = messages.first().map_or(0, |m| m.body.len());
    let _ = transfer(site, messages.iter().take(WARM_UP).cloned().collect()).await?;
    let watched = args.place.watched();
    let mark = watched.mark();
    let mut rates = Vec::new();
    for _ in 0..args.rounds {
        let seconds = transfer(site, messages.clone()).await?;
        rates.push(per_second(args.runs, seconds));
    }
    Ok(BrokerLimit {
        messages_per_s: median(&rates).map(rounded),
        message_bytes,
        cpu_s: watched.since(&mark),
    })
}

/// Messages as the leader sends them, on a queue that no worker listens on.
fn messages(site: &Site, mut task: Task, count: usize) -> Vec<Message> {
    let mint = Mint::new(Arc::clone(&site.random));
    let now = wall_now();
    task.spec.queue = QueueName::new(&format!("bench-limit-{}", site.random.below(1 << 32)));
    let key = Secret::new(site.random.secret()).queue_key(&task.spec.queue);
    let (task, row) = (Arc::new(task), mint.outbox(now));
    let message = |id| {
        let entry = Entry {
            waiting: Waiting {
                run: transitions::request(id, Some(&task), &task.spec, now),
                spec: None,
            },
            task: Some(Arc::clone(&task)),
            row,
        };
        message::build(&entry, &key)
    };
    mint.runs(now, count).into_iter().map(message).collect()
}

/// Sends them all as the dispatcher does, and takes them as a worker does; answers with the seconds from the first
/// publish to the last acknowledgement.
async fn transfer(site: &Site, messages: Vec<Message>) -> Result<f64, Error> {
    let broken = |e: broker::Error| Error::Unavailable(format!("failed to {e}"));
    let Some(destination) = messages.first().map(|m| m.destination.clone()) else {
        return Ok(0.0);
    };
    let mut consumer = site
        .ports
        .broker
        .consume(&destination, PREFETCH)
        .await
        .map_err(broken)?;
    let count = messages.len();
    let began = now_us();
    let publishing = spawn(publish_all(Arc::clone(&site.ports.broker), messages));
    let consuming = async {
        let mut taken = 0;
        while taken < count {
            let arrived = consumer.receive().await?;
            let tokens: Vec<u64> = arrived.iter().map(|d| d.token).collect();
            consumer.ack(&tokens).await?;
            taken += tokens.len();
        }
        Ok(())
    };
    let consumed = within(PATIENCE, consuming).await;
    let seconds = seconds_since(began);
    let late = || Error::Impossible(format!("{count} messages did not pass within {PATIENCE:?}"));
    consumed.ok_or_else(late)?.map_err(broken)?;
    publishing
        .await
        .map_err(|e| Error::Impossible(format!("the publisher died: {e}")))?
        .map_err(broken)?;
    Ok(seconds)
}

async fn publish_all(broker: Arc<dyn Broker>, messages: Vec<Message>) -> Result<(), broker::Error> {
    let mut under_way = JoinSet::new();
    for batch in messages.chunks(limits::PUBLISH_BATCH_MAX) {
        if under_way.len() >= limits::PUBLISHES_MAX
            && let Some(Ok(answer)) = under_way.join_next().await
        {
            answer?;
        }
        let (broker, batch) = (Arc::clone(&broker), batch.to_vec());
        under_way.spawn(async move { broker.publish(&batch).await });
    }
    while let Some(ended) = under_way.join_next().await {
        if let Ok(answer) = ended {
            answer?;
        }
    }
    Ok(())
}
