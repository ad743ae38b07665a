//! The faults, one function each: break one thing, prove that it broke, wait on facts until service is steady, mend it.
//! What a fault promises to survive is judged here where only this fault can tell; all else in `judge.rs`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::facts::Open;
use super::scene::{Fault, RECOVERY_LIMIT, Scene, until};
use super::stand::{LOCK_TTL, SCHEDULERS, Stand, WORKERS};
use crate::field::processes::{descendants, is_alive};
use crate::field::{Outcome, wall_ms};

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

/// The leader dies at once; later it comes back and waits.
pub fn kill_leader(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = scene.facts.leader()?;
    let name = Stand::known(&leader.node)?;
    let mut fault = Fault::now("leader kill -9");
    scene.stand.process(name).kill9();
    fault.demand(
        !scene.stand.process(name).is_alive(),
        format!("{name} is dead"),
    );
    let next = scene.next_term(leader.epoch)?;
    fault.demand(next.node != name, format!("{} began a term", next.node));
    scene.settle(&mut fault, &leader)?;
    scene.stand.start(name)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}

/// The leader is asked to end, hands over and ends; later it comes back and waits.
pub fn end_leader(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = scene.facts.leader()?;
    let name = Stand::known(&leader.node)?;
    let mut fault = Fault::now("leader SIGTERM");
    scene.stand.process(name).sigterm();
    let next = scene.next_term(leader.epoch)?;
    fault.demand(next.node != name, format!("{} began a term", next.node));
    let status = scene.stand.process(name).wait_exit(RECOVERY_LIMIT);
    fault.demand(
        status.is_some_and(|status| status.success()),
        format!("{name} ended well"),
    );
    scene.settle(&mut fault, &leader)?;
    scene.stand.start(name)?;
    Ok(fault)
}

/// The leader hands over while workers stand still and messages lie at the broker: the next one publishes again what
/// nobody has claimed, and the workers find each message twice.
pub fn end_leader_in_flight(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = scene.facts.leader()?;
    let name = Stand::known(&leader.node)?;
    let refused = |scene: &Scene<'_>| -> u64 {
        let of = |name| scene.stand.counter(name, "claims_refused");
        WORKERS.into_iter().map(of).sum()
    };
    let before = refused(scene);
    for worker in WORKERS {
        scene.stand.process(worker).sigstop();
    }
    let halted = Instant::now();
    until("messages lie at the broker", RECOVERY_LIMIT, || {
        Ok(scene.facts.unclaimed(wall_ms())? >= IN_FLIGHT)
    })?;
    let mut fault = Fault::now("leader SIGTERM, messages in flight");
    scene.stand.process(name).sigterm();
    let next = scene.next_term(leader.epoch)?;
    let again = until("the next leader publishes again", RECOVERY_LIMIT, || {
        let published = scene.stand.counter(&next.node, "messages_published");
        Ok(i64::try_from(published)? >= IN_FLIGHT)
    });
    for worker in WORKERS {
        scene.stand.process(worker).sigcont();
    }
    let halt_ms = halted.elapsed().as_millis();
    again?;
    fault.saw(format!(
        "{} published again what nobody had claimed; the workers stood still for {halt_ms} ms",
        next.node
    ));
    scene.settle(&mut fault, &leader)?;
    let twice = refused(scene) - before;
    fault.demand(
        twice > 0,
        format!("{twice} messages came twice and were refused"),
    );
    scene.stand.start(name)?;
    Ok(fault)
}

/// The leader is stopped in the middle of a transaction for three lives of its lock, then goes on.
pub fn stop_leader(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = scene.facts.leader()?;
    let name = Stand::known(&leader.node)?;
    let (open, mut fault, tries) = catch_writing(scene, name)?;
    let stopped = Instant::now();
    fault.saw(format!(
        "{name} stopped with an open write to the leader row (server process {}, try {tries})",
        open.backend
    ));
    until("the database ends the open write", RECOVERY_LIMIT, || {
        Ok(!scene.facts.backend_lives(open.backend)?)
    })?;
    let ended_ms = wall_ms() - fault.at_ms;
    let log = std::fs::read_to_string(scene.stand.servers.postgres.folder().join("postgres.log"));
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
    let before: BTreeSet<i64> = scene.facts.fired_in(leader.epoch)?.into_iter().collect();
    scene.stand.process(name).sigcont();
    let over = format!("term {} is over", leader.epoch);
    let knows = until("the woken node gives up", Duration::from_secs(10), || {
        Ok(scene.stand.process(name).log().contains(&over))
    });
    fault.demand(knows.is_ok(), format!("{name} says that its {over}"));
    std::thread::sleep(WOKEN_WATCH);
    let after: BTreeSet<i64> = scene.facts.fired_in(leader.epoch)?.into_iter().collect();
    let late: Vec<_> = after.difference(&before).collect();
    fault.demand(
        late.is_empty(),
        format!("the woken node wrote nothing of its old term {late:?}"),
    );
    let now = scene.facts.leader()?;
    fault.demand(
        now.epoch == next.epoch && scene.stand.process(name).is_alive(),
        format!("{name} waits, {} still leads", now.node),
    );
    scene.settle(&mut fault, &leader)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}

/// Stops a node again and again until it is stopped with a transaction open that has written the leader row.
fn catch_writing(scene: &mut Scene<'_>, name: &'static str) -> Outcome<(Open, Fault, u32)> {
    for tries in 1..=CATCHES_MAX {
        let end = Instant::now() + CATCH_LIMIT;
        while scene.facts.open_leader_write(name)?.is_none() {
            if Instant::now() > end {
                return Err(format!("{name} leads and writes nothing").into());
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        let fault = Fault::now("leader SIGSTOP 3 × TTL in a transaction");
        scene.stand.process(name).sigstop();
        std::thread::sleep(IN_THE_PIPE);
        let first = scene.facts.open_leader_write(name)?;
        if let Some(open) = first.filter(|open| open.idle) {
            return Ok((open, fault, tries));
        }
        scene.stand.process(name).sigcont();
    }
    Err(format!("{name} was stopped {CATCHES_MAX} times and never in a transaction").into())
}

/// A worker dies with runs in its hands and programs below it.
pub fn kill_worker(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = scene.facts.leader()?;
    let mut target = None;
    until("a worker holds runs and programs", RECOVERY_LIMIT, || {
        for name in WORKERS {
            let below = descendants(scene.stand.process(name).pid());
            for node in scene.facts.node_ids(name)? {
                let holds = scene.facts.running_on(node)?;
                if holds > 5 && below.len() > 2 {
                    target = Some((name, node));
                }
            }
        }
        Ok(target.is_some())
    })?;
    let (name, node) = target.ok_or("no worker to kill")?;
    scene.refused_before += scene.stand.counter(name, "claims_refused");
    let below = descendants(scene.stand.process(name).pid());
    let mut fault = Fault::now("worker kill -9 with runs in hand");
    scene.stand.process(name).kill9();
    let held = scene.facts.running_on(node)?;
    scene.killed.push(node);
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
    until("its runs are given on", RECOVERY_LIMIT, || {
        Ok(scene.facts.running_on(node)? == 0)
    })?;
    fault.saw(format!(
        "its runs were given on after {} ms",
        wall_ms() - fault.at_ms
    ));
    scene.settle(&mut fault, &leader)?;
    scene.stand.start(name)?;
    Ok(fault)
}

/// The Redis master dies; Sentinel makes another.
pub fn kill_redis_master(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = scene.facts.leader()?;
    let failures = |scene: &Scene<'_>| -> u64 {
        let of = |name| scene.stand.counter(name, "lock_failures");
        SCHEDULERS.into_iter().map(of).sum()
    };
    let before = failures(scene);
    let mut fault = Fault::now("Redis master kill -9");
    let old = scene.stand.servers.sentinel.kill9_master();
    let mut new = None;
    until("Sentinel makes another master", RECOVERY_LIMIT, || {
        new = scene
            .stand
            .servers
            .sentinel
            .master_port()
            .filter(|port| *port != old);
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
        left = lock_life_ms(scene, new)?;
        Ok(left > 0)
    });
    fault.demand(
        held.is_ok(),
        format!("the lock lives in the new master, {left} ms to go"),
    );
    let failed = failures(scene) - before;
    fault.demand(
        failed > 0,
        format!("{failed} calls to the lock service failed"),
    );
    scene.settle(&mut fault, &leader)?;
    scene.stand.servers.sentinel.restart_node(old)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}

/// The longest life of any key with an end on this Redis.
fn lock_life_ms(scene: &Scene<'_>, port: u16) -> Outcome<i64> {
    let sentinel = &scene.stand.servers.sentinel;
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
    let leader = scene.facts.leader()?;
    let name = Stand::known(&leader.node)?;
    let unconfirmed = scene.stand.counter(name, "messages_unconfirmed");
    let complaints = |scene: &Scene<'_>| -> usize {
        let of = |name| {
            scene
                .stand
                .process(name)
                .log()
                .matches("trying again")
                .count()
        };
        WORKERS.into_iter().map(of).sum()
    };
    let before = complaints(scene);
    let mut fault = Fault::now("broker kill -9 and restart");
    scene.stand.servers.broker.kill9();
    let mut failed = 0;
    let felt = until("publishes fail and workers lose it", RECOVERY_LIMIT, || {
        failed = scene
            .stand
            .counter(name, "messages_unconfirmed")
            .saturating_sub(unconfirmed);
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
    scene.stand.servers.broker.restart()?;
    fault.saw(format!("it was back after {} ms", wall_ms() - fault.at_ms));
    scene.settle(&mut fault, &leader)?;
    Ok(fault)
}
