//! The Redis that has the lock dies: under Sentinel, or as a master of a Redis Cluster. It owns who the master is and how
//! long the lock in it lives yet; it breaks nothing but that server, and brings it back.

use std::time::{Duration, Instant};

use xtask::servers::{RedisCluster, Sentinel};

use super::LOCK_TTL;
use super::facts;
use super::faults::sum;
use super::scene::{Fault, RECOVERY_LIMIT, Scene, until};
use crate::stand::servers::Lock;
use crate::{Outcome, wall_ms};

/// The lock's key: the nodes of a stand are of the cluster that every node is of by default.
const KEY: &str = "{campanile:campanile}:lock";

/// Servers of which one is the master of the lock.
enum Group<'s> {
    Sentinel(&'s Sentinel),
    Cluster(&'s RedisCluster, u16),
}

impl<'s> Group<'s> {
    fn of(lock: &'s Lock) -> Outcome<Self> {
        match lock {
            Lock::Sentinel(sentinel) => Ok(Self::Sentinel(sentinel)),
            Lock::Cluster(cluster) => Ok(Self::Cluster(cluster, cluster.slot_of(KEY))),
            Lock::Redis(_) | Lock::InStore | Lock::Lie => {
                Err("the lock has no master that another could replace".into())
            }
        }
    }

    fn kill_master(&self) -> Outcome<u16> {
        match self {
            Self::Sentinel(sentinel) => Ok(sentinel.kill9_master()),
            Self::Cluster(cluster, slot) => {
                let master = cluster.master_of(*slot).ok_or("the slot has no master")?;
                cluster.kill9(master);
                Ok(master)
            }
        }
    }

    fn master(&self) -> Option<u16> {
        match self {
            Self::Sentinel(sentinel) => sentinel.master_port(),
            Self::Cluster(cluster, slot) => cluster.master_of(*slot),
        }
    }

    /// How long the lock lives yet in the server at this port.
    fn lock_life_ms(&self, port: u16) -> Outcome<i64> {
        let ask = ["PTTL", KEY];
        let life = match self {
            Self::Sentinel(sentinel) => sentinel.cli(port, &ask)?,
            Self::Cluster(cluster, _) => cluster.cli(port, &ask)?,
        };
        Ok(life.parse()?)
    }

    fn restart(&self, port: u16) -> Outcome<()> {
        match self {
            Self::Sentinel(sentinel) => sentinel.restart_node(port)?,
            Self::Cluster(cluster, _) => cluster.restart(port)?,
        }
        Ok(())
    }
}

/// The master dies; the others make another.
pub fn kill_master(scene: &mut Scene<'_>) -> Outcome<Fault> {
    let leader = facts::leader(&scene.book)?;
    let group = Group::of(&scene.stand.servers.lock)?;
    let before = sum(scene.stand.schedulers(), "lock_failures");
    let mut fault = Fault::now("Redis master kill -9");
    let old = group.kill_master()?;
    let mut new = None;
    until("another master is made", RECOVERY_LIMIT, || {
        new = group.master().filter(|port| *port != old);
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
        left = group.lock_life_ms(new)?;
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
    group.restart(old)?;
    scene.api_agrees(&mut fault)?;
    Ok(fault)
}
