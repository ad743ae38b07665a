//! The way to the master of one slot of a Redis Cluster: asked from any node, followed when it moves. It owns what is
//! remembered of the nodes and whom to ask next; it keeps no connection, and what it remembers is only a hint: the
//! master itself refuses whoever is wrong. Plain connections, because the client library's own for clusters waits for a
//! hung master until it wakes, and shares one connection among those who WATCH.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_core::system::within;
use redis::aio::MultiplexedConnection;

use super::servers::Servers;
use super::slots::{self, Topology};
use super::trouble::Trouble;
use super::url::Address;

/// How long one node may take, connection and answer, before the next is asked.
const NODE_LIMIT: Duration = Duration::from_millis(500);
/// How long a node is waited for that gave no answer last time.
const SUSPECT_LIMIT: Duration = Duration::from_millis(300);

/// The nodes, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The slot's master: who served last, or whom another named when it refused.
    master: Option<Address>,
    /// Nodes that others named, beside those of the setting: the setting may outlive its hosts.
    named: Vec<Address>,
    /// Who gave no answer last: asked after all others.
    suspect: Option<Address>,
}

impl Nodes {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another node is the master now.
    pub(super) fn moved_to(&self, master: Option<&Address>) {
        self.known().master = master.cloned();
    }

    /// `server` gave no answer, or none that is of use.
    pub(super) fn doubt(&self, server: &Address) {
        let mut known = self.known();
        known.suspect = Some(server.clone());
        if known.master.as_ref() == Some(server) {
            known.master = None;
        }
    }

    fn found(&self, master: &Address) {
        let mut known = self.known();
        if known.suspect.as_ref() == Some(master) {
            known.suspect = None;
        }
        known.master = Some(master.clone());
    }

    /// Whom to ask: the setting's hosts, then those that others named, and the suspect last.
    fn to_ask(&self, seeds: &[Address]) -> Vec<Address> {
        let known = self.known();
        let mut all: Vec<Address> = Vec::with_capacity(seeds.len() + known.named.len());
        for node in seeds.iter().chain(&known.named) {
            if !all.contains(node) {
                all.push(node.clone());
            }
        }
        all.sort_by_key(|node| known.suspect.as_ref() == Some(node));
        all
    }
}

/// Finds the slot's master and connects to it.
pub(super) async fn connect(
    servers: &Servers,
    seeds: &[Address],
    slot: u16,
) -> Result<(MultiplexedConnection, Address), Trouble> {
    let nodes = servers.nodes();
    let (mut tried, mut troubles) = (Vec::new(), Vec::new());
    let remembered = nodes.known().master.clone();
    if let Some(master) = remembered {
        match open(servers, &master).await {
            Ok(connection) => return Ok((connection, master)),
            Err(trouble) => troubles.push(trouble),
        }
        tried.push(master);
    }
    let to_ask = nodes.to_ask(seeds);
    for node in &to_ask {
        let master = match ask(servers, node, slot).await {
            Ok(master) => master,
            Err(trouble) => {
                troubles.push(trouble);
                continue;
            }
        };
        if tried.contains(&master) {
            continue;
        }
        match open(servers, &master).await {
            Ok(connection) => return Ok((connection, master)),
            Err(trouble) if seeds.contains(&master) => troubles.push(trouble),
            Err(trouble) => troubles.push(trouble.announced(&master, node)),
        }
        tried.push(master);
    }
    Err(none_of(troubles, slot, to_ask.len()))
}

/// Connects to a node that was named as the slot's master. Whether it is, its first answer tells.
async fn open(servers: &Servers, master: &Address) -> Result<MultiplexedConnection, Trouble> {
    let is_suspect = servers.nodes().known().suspect.as_ref() == Some(master);
    let opened = if is_suspect {
        within(SUSPECT_LIMIT, servers.open(master))
            .await
            .unwrap_or_else(|| {
                Err(Trouble::Silent {
                    server: master.clone(),
                })
            })
    } else {
        servers.open(master).await
    };
    match opened {
        Ok(_) => servers.nodes().found(master),
        Err(_) => servers.nodes().doubt(master),
    }
    opened
}

/// The slot's master as this node sees it.
async fn ask(servers: &Servers, node: &Address, slot: u16) -> Result<Address, Trouble> {
    let asking = async {
        let mut connection = servers.open(node).await?;
        redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query_async::<redis::Value>(&mut connection)
            .await
            .map_err(|error| servers.trouble(error, node))
    };
    let answer = within(NODE_LIMIT, asking).await.unwrap_or_else(|| {
        Err(Trouble::Silent {
            server: node.clone(),
        })
    })?;
    let Some(Topology { master, nodes }) = slots::read(&answer, slot, node) else {
        return Err(Trouble::Unreadable {
            server: node.clone(),
        });
    };
    if !nodes.is_empty() {
        servers.nodes().known().named = nodes;
    }
    master.ok_or_else(|| Trouble::Uncovered {
        server: node.clone(),
        slot,
    })
}

/// A refusal only if nothing else stands in the way; else the last obstacle, as the cause.
fn none_of(mut troubles: Vec<Trouble>, slot: u16, asked: usize) -> Trouble {
    if troubles.iter().all(Trouble::is_refusal)
        && let Some(refusal) = troubles.pop()
    {
        return refusal;
    }
    troubles.retain(|trouble| !trouble.is_refusal());
    Trouble::NoNode {
        slot,
        asked,
        last: troubles.pop().map(Arc::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address {
            host: "a".to_owned(),
            port,
        }
    }

    #[test]
    fn who_gave_no_answer_is_asked_last_and_is_not_the_master_any_more() {
        let nodes = Nodes::default();
        nodes.known().named = vec![at(3), at(1)];
        assert_eq!(nodes.to_ask(&[at(1), at(2)]), [at(1), at(2), at(3)]);
        nodes.found(&at(1));
        nodes.doubt(&at(1));
        assert_eq!(nodes.to_ask(&[at(1), at(2)]), [at(2), at(3), at(1)]);
        assert_eq!(nodes.known().master, None);
        nodes.found(&at(1));
        assert_eq!(nodes.to_ask(&[at(1), at(2)]), [at(1), at(2), at(3)]);
        nodes.moved_to(Some(&at(3)));
        nodes.doubt(&at(2));
        assert_eq!(nodes.known().master, Some(at(3)));
    }
}
