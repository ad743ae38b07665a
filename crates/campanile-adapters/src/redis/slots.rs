//! What a Redis Cluster says of its slots: which one a key is in, who its master is, and where a node sends us instead.
//! Pure; it owns the bounds on what a stranger's answer may hold, and asks nobody.

use redis::Value;

use super::url::Address;

/// Slots of every cluster.
const SLOTS: u16 = 16_384;
/// Ranges of slots that an answer may hold: each slot alone is the worst that a cluster can be.
const RANGES_MAX: usize = SLOTS as usize;
/// Nodes that are remembered of an answer, beside those of the setting.
const NODES_MAX: usize = 64;
/// Characters of a host's name, as DNS has it.
const HOST_CHARS_MAX: usize = 253;

/// The slot of a key: of the part in its first braces, where there is one.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    crc16(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, which Redis Cluster shares keys out by.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |mut crc, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
        crc
    })
}

/// Who serves what, as one node sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Topology {
    /// The master of the slot that was asked about; `None` where no node serves it.
    pub(super) master: Option<Address>,
    /// Masters and replicas, each once, as many as are remembered.
    pub(super) nodes: Vec<Address>,
}

/// Reads the answer to CLUSTER SLOTS that `asked` gave; `None` if it is none.
pub(super) fn read(answer: &Value, slot: u16, asked: &Address) -> Option<Topology> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    if ranges.len() > RANGES_MAX {
        return None;
    }
    let mut topology = Topology::default();
    for range in ranges {
        let Value::Array(parts) = range else {
            return None;
        };
        let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
            return None;
        };
        for (place, node) in nodes.iter().enumerate() {
            let node = read_node(node, asked)?;
            if place == 0 && (*first..=*last).contains(&i64::from(slot)) {
                topology.master = Some(node.clone());
            }
            if topology.nodes.len() < NODES_MAX && !topology.nodes.contains(&node) {
                topology.nodes.push(node);
            }
        }
    }
    Some(topology)
}

/// One node: its host and port first. A host that is missing is that of the node that was asked.
fn read_node(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else {
        return None;
    };
    let [host, Value::Int(port), ..] = parts.as_slice() else {
        return None;
    };
    let host = match host {
        Value::Nil => "",
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        _ => return None,
    };
    address(host, u16::try_from(*port).ok()?, asked)
}

/// Where MOVED or ASK sends us: `SLOT HOST:PORT`, in which the host may be missing.
pub(super) fn redirection(details: &str, asked: &Address) -> Option<Address> {
    let (_slot, place) = details.split_once(' ')?;
    let (host, port) = place.trim().rsplit_once(':')?;
    address(host, port.parse().ok()?, asked)
}

fn address(host: &str, port: u16, asked: &Address) -> Option<Address> {
    let named = !matches!(host, "" | "?");
    let host = if named { host } else { &asked.host };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let fits = host.len() <= HOST_CHARS_MAX && host.chars().all(is_host);
    (fits && port != 0).then(|| Address {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.to_owned(),
            port,
        }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![
            host,
            Value::Int(port),
            bulk("id"),
            Value::Array(vec![]),
        ])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    #[test]
    fn a_key_is_in_the_slot_that_redis_says() {
        // The check value of CRC-16/XMODEM, and CLUSTER KEYSLOT of a server.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of("foo"), 12182);
        assert_eq!(slot_of("{foo}:lock"), 12182);
        assert_eq!(slot_of("{}foo"), slot_of("{}foo"));
        assert_ne!(slot_of("{}foo"), slot_of("foo"));
    }

    #[test]
    fn the_master_of_a_slot_is_the_first_node_of_its_range() {
        let asked = at("seed", 1);
        let answer = Value::Array(vec![
            range(0, 99, vec![node(bulk("a"), 10), node(bulk("b"), 11)]),
            range(100, 200, vec![node(Value::Nil, 12), node(bulk("a"), 10)]),
            range(300, 300, vec![node(bulk("?"), 13), node(bulk(""), 14)]),
        ]);
        let topology = read(&answer, 100, &asked).unwrap();
        assert_eq!(topology.master, Some(at("seed", 12)));
        let nodes = [
            ("a", 10),
            ("b", 11),
            ("seed", 12),
            ("seed", 13),
            ("seed", 14),
        ];
        assert_eq!(topology.nodes, nodes.map(|(host, port)| at(host, port)));
        assert_eq!(read(&answer, 250, &asked).unwrap().master, None);
    }

    #[test]
    fn what_is_no_answer_or_too_much_of_one_is_refused() {
        let asked = at("seed", 1);
        for answer in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(0, 1, vec![bulk("a")])]),
            Value::Array(vec![range(0, 1, vec![node(bulk("a"), 0)])]),
            Value::Array(vec![range(0, 1, vec![node(bulk("a"), 65_536)])]),
            Value::Array(vec![range(0, 1, vec![node(bulk("a b\u{1b}[2J"), 1)])]),
            Value::Array(vec![range(0, 1, vec![node(bulk(&"a".repeat(254)), 1)])]),
            Value::Array(vec![range(0, 1, vec![]); RANGES_MAX + 1]),
        ] {
            assert_eq!(read(&answer, 0, &asked), None);
        }
        let many = (1..=1_000).map(|port| range(port, port, vec![node(bulk("a"), port)]));
        let topology = read(&Value::Array(many.collect()), 1_000, &asked).unwrap();
        assert_eq!(topology.nodes.len(), NODES_MAX);
        assert_eq!(topology.master, Some(at("a", 1_000)));
    }

    #[test]
    fn a_redirection_names_a_place_or_none() {
        let asked = at("seed", 1);
        for (details, place) in [
            ("3999 127.0.0.1:6381", Some(at("127.0.0.1", 6381))),
            ("3999 ::1:6381", Some(at("::1", 6381))),
            ("3999 :6381", Some(at("seed", 6381))),
            ("3999 ?:6381", Some(at("seed", 6381))),
            ("3999 host:0", None),
            ("3999 host:70000", None),
            ("3999 host", None),
            ("3999", None),
        ] {
            assert_eq!(redirection(details, &asked), place, "{details}");
        }
    }
}
