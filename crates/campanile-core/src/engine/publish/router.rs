//! Keeps the term's knowledge of who can carry out what: reads the members, every second and when a hint says that
//! somebody came or refused; and lets blocked runs go on once somebody can. What it means is decided in
//! [`crate::decide::publish::routing`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::decide::permits::LimitKey;
use crate::decide::publish::routing::{Can, Need, Routes, Trouble};
use crate::engine::lead::duty::{Duty, TermOver};
use crate::id::TaskId;
use crate::limits;

/// Hints come as fast as runs end: the members are read at most this often.
const HINT_WAIT: Duration = Duration::from_millis(100);

/// Reads who can carry out what. Answers whether the store did as asked.
///
/// # Errors
/// The term is over.
pub async fn read(duty: &Duty) -> Result<bool, TermOver> {
    match duty.store.nodes().await {
        Ok(nodes) => {
            let routes = Routes::of(&nodes).reaching(duty.shared.broker.reaches_listeners());
            duty.buffer.with(|d| {
                if *d.routes() != routes {
                    d.set_routes(Arc::new(routes));
                }
            });
            Ok(true)
        }
        Err(error) => duty.put_off("to list the members", &error).map(|()| false),
    }
}

/// Looks at the members until the term ends.
pub async fn keep(duty: Arc<Duty>) {
    let _ = keep_for_ever(&duty).await;
}

async fn keep_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let mut blocked = BTreeSet::new();
    loop {
        let hint = duty.buffer.members.notified();
        if read(duty).await? {
            blocked = go_on(duty, blocked).await?;
        }
        duty.rest(HINT_WAIT).await?;
        tokio::select! {
            biased;
            () = hint => {}
            rested = duty.rest(limits::MEMBERS_PERIOD - HINT_WAIT) => rested?,
        }
    }
}

/// Lets the runs go on that somebody can carry out by now; says of the others once that they are blocked. Answers under
/// what runs are.
async fn go_on(duty: &Duty, known: BTreeSet<LimitKey>) -> Result<BTreeSet<LimitKey>, TermOver> {
    let store = &duty.store;
    let counts = match store.blocked().await {
        Ok(counts) => counts,
        Err(error) => {
            let blocked = duty.put_off("to name blocked runs", &error);
            return blocked.map(|()| known);
        }
    };
    let needs = |key: &LimitKey| match key {
        LimitKey::Ability(_, token) => token.parse::<Need>().ok(),
        _ => None,
    };
    // A definition that has changed names other secrets.
    let tasks = counts.iter().filter_map(|(key, _)| match needs(key) {
        Some(Need::Secrets(task, ..)) => Some(task),
        _ => None,
    });
    let tasks: Vec<TaskId> = tasks.take(limits::PAGE_ROWS_MAX).collect();
    let versions: BTreeMap<TaskId, i64> = match tasks.is_empty() {
        true => BTreeMap::new(),
        false => match store.tasks_by_id(&tasks).await {
            Ok(tasks) => tasks.iter().map(|task| (task.id, task.version)).collect(),
            Err(error) => {
                let blocked = duty.put_off("to name blocked runs", &error);
                return blocked.map(|()| known);
            }
        },
    };
    let routes = duty.buffer.with(|d| d.routes());
    let can = |key: &LimitKey| match (key, needs(key)) {
        (_, Some(Need::Secrets(task, version, _))) if versions.get(&task) != Some(&version) => {
            Can::Maybe
        }
        (LimitKey::Ability(queue, _), Some(need)) => routes.can(queue, &need),
        _ => Can::Maybe,
    };
    let (free, blocked): (Vec<_>, Vec<_>) =
        counts.into_iter().partition(|(key, _)| can(key) != Can::No);
    let mut by_queue = BTreeMap::new();
    for (key, count) in &blocked {
        if let LimitKey::Ability(queue, _) = key {
            *by_queue.entry(queue.clone()).or_default() += count;
        }
        if !known.contains(key) {
            say(key, *count);
        }
    }
    duty.shared.metrics.set_blocked(by_queue);
    if !free.is_empty() {
        let keys: Vec<LimitKey> = free.into_iter().map(|(key, _)| key).collect();
        match store.unblock(&duty.leadership.term, &keys).await {
            Ok(Some(count)) => {
                tracing::info!(
                    runs = count,
                    "{count} blocked runs go on: a worker can carry them out"
                );
                duty.shared.wake.notify_one();
            }
            Ok(None) => return Err(duty.fenced()),
            Err(error) => duty.put_off("to let blocked runs go on", &error)?,
        }
    }
    Ok(blocked.into_iter().map(|(key, _)| key).collect())
}

fn say(key: &LimitKey, count: u64) {
    if let LimitKey::Ability(queue, need) = key {
        let trouble = |need| {
            Trouble::NobodyCan {
                queue: queue.clone(),
                need,
            }
            .to_string()
        };
        let why = need.parse().map_or_else(|_: String| need.clone(), trouble);
        tracing::warn!(%queue, need, runs = count, "{count} runs are blocked: {why}");
    }
}
