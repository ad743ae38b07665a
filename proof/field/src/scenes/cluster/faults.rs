//! The faults, one function each: break one thing, prove that it broke, wait on facts until service is steady, mend it.
//! What a fault promises to survive is judged here where only this fault can tell; all else in `judge.rs`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use xtask::servers::{Process, Sentinel};

use super::LOCK_TTL;
use super::facts::{self, Open};
use super::scene::{Fault, RECOVERY_LIMIT, Scene, until};
use crate::stand::node::Node;
use crate::stand::processes::{descendants, is_alive};
use crate::stand::servers::{Lock, Store};
use crate::{Outcome, wall_ms};

/// How often a leader may be stopped in vain before one of its transactions is caught.
const CATCHES_MAX: u32 = 400;
/// How long one look for an open transaction may take.
const CATCH_LIMIT: Duration = Duration::from_secs(20);
/// How long a stopped node's last word may be on its way to the database.
const IN_THE_PIPE: Duration = Duration::from_millis(40);
/// How long a woken leader is watched for writes it may not make.
const WOKEN_WATCH: Duration = Duration::from_secs(3);
/// How long the broker stays away.
const BROKER_AWAY: Duration = Duration::from_secs(3);
/// Runs that nobody has claimed, before the leader that published them ends.
const IN_FLIGHT: i64 = 50;
/// How long programs may outlive their worker.
const ORPHAN_LIMIT: Duration = Duration::from_secs(15);

/// Starts a node again, and waits until it is ready.
pub fn start(node: &Node) -> Outcome<()> {
    node.start()?;
    let what = format!("{} is ready", node.name);
    until(&what, RECOVERY_LIMIT, || Ok(node.is_ready()))
}

/// The sum of a counter over these nodes.
pub fn sum<'n>(nodes: impl Iterator<Item = &'n Node>, counter: &str) -> u64 {
    nodes.map(|node| node.counter(counter)).sum()
}

/// The leader dies at once; later it comes back and waits.
pub fn kill_leader(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let node = scene.node(&leader.node)?;
    let name = node.name;
    let mut fault = Fault::now("leader kill -9");
    node.with(Process::kill9)?;
    fault.demand(!node.is_alive(), format!("{name} is dead"));
    let next = scene.next_term(leader.epoch)?;
    fault.demand(next.node != name, format!("{} began a term", next.node));
    scene.settle(&mut fault, &leader)?;
    start(node)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}

/// The leader is asked to end, hands over and ends; later it comes back and waits.
pub fn end_leader(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let node = scene.node(&leader.node)?;
    let name = node.name;
    let mut fault = Fault::now("leader SIGTERM");
    node.with(Process::sigterm)?;
    let next = scene.next_term(leader.epoch)?;
    fault.demand(next.node != name, format!("{} began a term", next.node));
    let status = node.with(|process| process.wait_exit(RECOVERY_LIMIT))?;
    fault.demand(
        status.is_some_and(|status| status.success()),
        format!("{name} ended well"),
    );
    scene.settle(&mut fault, &leader)?;
    start(node)?;
    Ok(fault)
}

/// The leader hands over while workers stand still and messages lie at the broker: the next one publishes again what
/// nobody has claimed, and the workers find each message twice.
pub fn end_leader_in_flight(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let node = scene.node(&leader.node)?;
    let before = sum(scene.stand.workers(), "claims_refused");
    for worker in scene.stand.workers() {
        worker.with(Process::sigstop)?;
    }
    let halted = Instant::now();
    until("messages lie at the broker", RECOVERY_LIMIT, || {
        Ok(facts::unclaimed(&scene.book, wall_ms())? >= IN_FLIGHT)
    })?;
    let mut fault = Fault::now("leader SIGTERM, messages in flight");
    node.with(Process::sigterm)?;
    let next = scene.next_term(leader.epoch)?;
    let again = until("the next leader publishes again", RECOVERY_LIMIT, || {
        let published = scene.node(&next.node)?.counter("messages_published");
        Ok(i64::try_from(published)? >= IN_FLIGHT)
    });
    for worker in scene.stand.workers() {
        worker.with(Process::sigcont)?;
    }
    let halt_ms = halted.elapsed().as_millis();
    again?;
    fault.saw(format!(
        "{} published again what nobody had claimed; the workers stood still for {halt_ms} ms",
        next.node
    ));
    scene.settle(&mut fault, &leader)?;
    let twice = sum(scene.stand.workers(), "claims_refused") - before;
    fault.demand(
        twice > 0,
        format!("{twice} messages came twice and were refused"),
    );
    start(node)?;
    Ok(fault)
}

/// The leader is stopped in the middle of a transaction for three lives of its lock, then goes on.
pub fn stop_leader(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let node = scene.node(&leader.node)?;
    let name = node.name;
    let (open, mut fault, tries) = catch_writing(scene, node)?;
    let stopped = Instant::now();
    fault.saw(format!(
        "{name} stopped with an open write to the leader row (server process {}, try {tries})",
        open.backend
    ));
    until("the database ends the open write", RECOVERY_LIMIT, || {
        Ok(!facts::backend_lives(&scene.book, open.backend)?)
    })?;
    let ended_ms = wall_ms() - fault.at_ms;
    let Store::Postgres(server, _) = &scene.stand.servers.store else {
        return Err("the store is no PostgreSQL".into());
    };
    let log = std::fs::read_to_string(server.folder().join("postgres.log"));
    fault.demand(
        log.is_ok_and(|log| log.contains("idle-in-transaction timeout")),
        format!("the database ended the open write by its idle-in-transaction timeout, after {ended_ms} ms"),
    );
    let next = scene.next_term(leader.epoch)?;
    fault.demand(
        stopped.elapsed() < LOCK_TTL * 3,
        format!(
            "{} began term {} while {name} was stopped",
            next.node, next.epoch
        ),
    );
    let effects = scene.effects.all().len();
    std::thread::sleep((LOCK_TTL * 3).saturating_sub(stopped.elapsed()));
    let served = scene.effects.all().len() - effects;
    fault.demand(served > 0, format!("{served} effects started meanwhile"));
    let before: BTreeSet<i64> = facts::fired_in(&scene.book, leader.epoch)?
        .into_iter()
        .collect();
    node.with(Process::sigcont)?;
    let over = format!("term {} is over", leader.epoch);
    let knows = until("the woken node gives up", Duration::from_secs(10), || {
        Ok(node.said().contains(&over))
    });
    fault.demand(knows.is_ok(), format!("{name} says that its {over}"));
    std::thread::sleep(WOKEN_WATCH);
    let after: BTreeSet<i64> = facts::fired_in(&scene.book, leader.epoch)?
        .into_iter()
        .collect();
    let late: Vec<_> = after.difference(&before).collect();
    fault.demand(
        late.is_empty(),
        format!("the woken node wrote nothing of its old term {late:?}"),
    );
    let now = facts::leader(&scene.book)?;
    fault.demand(
        now.epoch == next.epoch && node.is_alive(),
        format!("{name} waits, {} still leads", now.node),
    );
    scene.settle(&mut fault, &leader)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}

/// Stops a node again and again until it is stopped with a transaction open that has written the leader row.
fn catch_writing(scene: &Scene<'_>, node: &Node) -> Outcome<(Open, Fault, u32)> {
    let name = node.name;
    for tries in 1..=CATCHES_MAX {
        let end = Instant::now() + CATCH_LIMIT;
        while facts::open_leader_write(&scene.book, name)?.is_none() {
            if Instant::now() > end {
                return Err(format!("{name} leads and writes nothing").into());
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        let fault = Fault::now("leader SIGSTOP 3 × TTL in a transaction");
        node.with(Process::sigstop)?;
        std::thread::sleep(IN_THE_PIPE);
        let first = facts::open_leader_write(&scene.book, name)?;
        if let Some(open) = first.filter(|open| open.idle) {
            return Ok((open, fault, tries));
        }
        node.with(Process::sigcont)?;
    }
    Err(format!("{name} was stopped {CATCHES_MAX} times and never in a transaction").into())
}

/// A worker dies with runs in its hands and programs below it.
pub fn kill_worker(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let mut target = None;
    until("a worker holds runs and programs", RECOVERY_LIMIT, || {
        for worker in scene.stand.workers() {
            let below = descendants(worker.with(Process::pid)?);
            for id in facts::node_ids(&scene.book, worker.name)? {
                let holds = facts::running_on(&scene.book, id)?;
                if holds > 5 && below.len() > 2 {
                    target = Some((worker, id));
                }
            }
        }
        Ok(target.is_some())
    })?;
    let (node, id) = target.ok_or("no worker to kill")?;
    let name = node.name;
    scene.refused_before += node.counter("claims_refused");
    let below = descendants(node.with(Process::pid)?);
    let mut fault = Fault::now("worker kill -9 with runs in hand");
    node.with(Process::kill9)?;
    let held = facts::running_on(&scene.book, id)?;
    scene.killed.push(id);
    fault.demand(
        held > 0,
        format!("{name} died with {held} runs in its hands"),
    );
    fault.demand(
        !below.is_empty(),
        format!("{} processes lived below it", below.len()),
    );
    let died = until("the programs below it end", ORPHAN_LIMIT, || {
        Ok(!below.iter().any(|(pid, line)| is_alive(*pid, line)))
    });
    let after = wall_ms() - fault.at_ms;
    if died.is_err() {
        fault.saw(format!("these lived below it: {below:?}"));
    }
    fault.demand(died.is_ok(), format!("none of them lived {after} ms later"));
    until("its runs are requeued", RECOVERY_LIMIT, || {
        Ok(facts::running_on(&scene.book, id)? == 0)
    })?;
    fault.saw(format!(
        "its runs were requeued after {} ms",
        wall_ms() - fault.at_ms
    ));
    scene.settle(&mut fault, &leader)?;
    start(node)?;
    Ok(fault)
}

/// The Redis master dies; Sentinel makes another.
pub fn kill_redis_master(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let Lock::Sentinel(sentinel) = &scene.stand.servers.lock else {
        return Err("the lock is not under Sentinel".into());
    };
    let before = sum(scene.stand.schedulers(), "lock_failures");
    let mut fault = Fault::now("Redis master kill -9");
    let old = sentinel.kill9_master();
    let mut new = None;
    until("Sentinel makes another master", RECOVERY_LIMIT, || {
        new = sentinel.master_port().filter(|port| *port != old);
        Ok(new.is_some())
    })?;
    let new = new.ok_or("no other master")?;
    let promoted = Instant::now();
    fault.saw(format!(
        "port {new} is master instead of {old} after {} ms",
        wall_ms() - fault.at_ms
    ));
    // A lock that was taken or renewed before the promotion has run out by then.
    std::thread::sleep((LOCK_TTL + Duration::from_secs(1)).saturating_sub(promoted.elapsed()));
    let mut left = 0;
    let held = until("the lock is held in the new master", RECOVERY_LIMIT, || {
        left = lock_life_ms(sentinel, new)?;
        Ok(left > 0)
    });
    fault.demand(
        held.is_ok(),
        format!("the lock lives in the new master, {left} ms to go"),
    );
    let failed = sum(scene.stand.schedulers(), "lock_failures") - before;
    fault.demand(
        failed > 0,
        format!("{failed} calls to the lock service failed"),
    );
    scene.settle(&mut fault, &leader)?;
    sentinel.restart_node(old)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}

/// The longest life of any key with an end on this Redis.
fn lock_life_ms(sentinel: &Sentinel, port: u16) -> Outcome<i64> {
    let keys = sentinel.cli(port, &["KEYS", "*"])?;
    let mut longest = -1;
    for key in keys.lines().filter(|key| !key.is_empty()) {
        let life: i64 = sentinel.cli(port, &["PTTL", key])?.parse()?;
        longest = longest.max(life);
    }
    Ok(longest)
}

/// The broker dies and comes back with what it had confirmed.
pub fn kill_broker(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let node = scene.node(&leader.node)?;
    let broker = scene.stand.servers.broker()?;
    let unconfirmed = node.counter("messages_unconfirmed");
    let complaints = |scene: &Scene<'_>| -> usize {
        let of = |worker: &Node| worker.said().matches("trying again").count();
        scene.stand.workers().map(of).sum()
    };
    let before = complaints(scene);
    let mut fault = Fault::now("broker kill -9 and restart");
    broker.kill9();
    let mut failed = 0;
    let felt = until("publishes fail and workers lose it", RECOVERY_LIMIT, || {
        let now = node.counter("messages_unconfirmed");
        failed = now.saturating_sub(unconfirmed);
        Ok(failed > 0
            && complaints(scene) > before
            && wall_ms() - fault.at_ms > BROKER_AWAY.as_millis() as i64)
    });
    fault.demand(
        felt.is_ok(),
        format!(
            "{failed} messages were not confirmed, workers complained {} times",
            complaints(scene) - before
        ),
    );
    broker.restart()?;
    fault.saw(format!("it was back after {} ms", wall_ms() - fault.at_ms));
    scene.settle(&mut fault, &leader)?;
    Ok(fault)
}
