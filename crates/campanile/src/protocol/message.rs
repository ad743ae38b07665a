//! The message contract: what scheduler and workers (and listeners that are not ours) say to each other over a broker.
//! Owns the envelope, its signature and the names of the properties; never sends anything.
//!
//! A worker believes nothing of a message but which attempt to claim, and that only under the queue's signature: the
//! handler and the payload that it runs come from the store. So a broker that was taken over can delay, and never
//! execute or alter.

use campanile_schedule::time::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::dispatch::Entry;
use super::limits;
use super::routing::{Need, Route};
use crate::id::RunId;
use crate::port::broker::Message;
use crate::run::Origin;
use crate::task::{ExternalBody, HandlerSpec, QueueName};

/// The version of the envelope.
pub const VERSION: u32 = 1;
/// Where answers of external executors go.
pub const REPLY_QUEUE: &str = "campanile.replies";

/// The JMS queue of one of our queues.
#[must_use]
pub fn destination(queue: &QueueName) -> String {
    format!("campanile.{queue}")
}

/// The JMS queue of those workers of one of our queues who have announced the same. No queue's name has a `~`.
#[must_use]
pub fn lane_destination(queue: &QueueName, lane: &str) -> String {
    format!("campanile.{queue}~{lane}")
}

/// The body.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    v: u32,
    run: RunId,
    attempt: u32,
    task: &'a str,
    queue: &'a QueueName,
    due_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<&'a HandlerSpec>,
    payload: &'a serde_json::Value,
    deadline: Option<Timestamp>,
    kid: &'a str,
}

/// The part of the body that a worker reads. Unknown fields are ignored: a newer scheduler may add some.
#[derive(Debug, Deserialize)]
struct Head {
    v: u32,
    run: RunId,
    attempt: u32,
    queue: QueueName,
}

/// The secret that all nodes share, from which each queue's key is derived.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// From its 256 bits.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The signing key of one queue: what an external executor of that queue is given, and no more.
    #[must_use]
    pub fn queue_key(&self, queue: &QueueName) -> Key {
        let mut mac = mac(&self.0);
        mac.update(b"campanile queue key 1\0");
        mac.update(queue.as_str().as_bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let id = hex::encode(&Sha256::digest(bytes)[..4]);
        Key { bytes, id }
    }
}

/// The signing key of one queue.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 32],
    /// Its public name: eight hex digits.
    id: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    /// Its spelling for the operator who hands it to an external executor: hex.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.bytes)
    }

    /// Its public name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The signature of a body: hex HMAC-SHA256.
    #[must_use]
    pub fn sign(&self, body: &str) -> String {
        let mut mac = mac(&self.bytes);
        mac.update(body.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn verifies(&self, body: &str, signature: &str) -> bool {
        let Ok(tag) = hex::decode(signature) else {
            return false;
        };
        let mut mac = mac(&self.bytes);
        mac.update(body.as_bytes());
        mac.verify_slice(&tag).is_ok()
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("a key of any length")
}

/// The key that lets a target do an effect once: `task:due_ms` of an occurrence, `task:run` of a request.
#[must_use]
pub fn effect_key(task: &str, origin: Origin, run: RunId, due_at: Timestamp) -> String {
    let task = if task.is_empty() { "run" } else { task };
    match origin {
        Origin::Schedule | Origin::Backfill => format!("{task}:{}", due_at.as_ms()),
        Origin::Request => format!("{task}:{run}"),
    }
}

/// Builds the message of one attempt: for our own workers, or in the plain form of an external listener.
#[must_use]
pub fn build(entry: &Entry, key: &Key) -> Message {
    let run = &entry.waiting.run;
    let task = entry.task.as_ref().map_or("", |t| t.spec.name.as_str());
    let external = match entry.handler() {
        Some(HandlerSpec::External(external)) => Some(external),
        _ => None,
    };
    let envelope = Envelope {
        v: VERSION,
        run: run.id,
        attempt: run.attempt,
        task,
        queue: &run.queue,
        due_at: run.due_at,
        handler: None,
        payload: entry.payload(),
        deadline: entry
            .task
            .as_ref()
            .and_then(|t| t.spec.max_lateness)
            .map(|d| run.due_at.plus(d)),
        kid: key.id(),
    };
    let body = match (external.map(|e| e.body), entry.payload()) {
        (Some(ExternalBody::Payload), serde_json::Value::String(text)) => text.clone(),
        (Some(ExternalBody::Payload), serde_json::Value::Null) => String::new(),
        (Some(ExternalBody::Payload), payload) => payload.to_string(),
        _ => serde_json::to_string(&envelope).unwrap_or_default(),
    };
    let mut properties = vec![
        ("campanile_run", run.id.to_string()),
        ("campanile_attempt", run.attempt.to_string()),
        ("campanile_task", task.to_owned()),
        ("campanile_due_at", run.due_at.to_string()),
        (
            "campanile_key",
            effect_key(task, run.origin, run.id, run.due_at),
        ),
        ("campanile_sig", key.sign(&body)),
    ];
    // For people and their tools: a worker goes by the store.
    let needs = entry.handler().and_then(Need::of);
    properties.extend(needs.map(|need| ("campanile_needs", need.token())));
    Message {
        destination: external.map_or_else(|| destination(&run.queue), |e| e.destination.clone()),
        body,
        correlation_id: format!("{}:{}", run.id, run.attempt),
        reply_to: if external.is_some() {
            String::new()
        } else {
            REPLY_QUEUE.to_owned()
        },
        priority: run.priority,
        properties,
    }
}

/// The messages of one attempt: one, or one to each lane of its route.
#[must_use]
pub fn build_all(entry: &Entry, key: &Key, route: &Route) -> Vec<Message> {
    let message = build(entry, key);
    let Route::Lanes(lanes) = route else {
        return vec![message];
    };
    let queue = &entry.waiting.run.queue;
    let to = |lane: &String| Message {
        destination: lane_destination(queue, lane),
        ..message.clone()
    };
    lanes.iter().map(to).collect()
}

/// Why a message starts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Over the size limit.
    #[error("it is larger than a message may be")]
    TooLarge,
    /// No signature, or a wrong one.
    #[error("its signature is not this queue's")]
    Forged,
    /// Signed, but not as we write it.
    #[error("it is not an envelope")]
    Malformed,
    /// From a newer scheduler.
    #[error("its version is not known here")]
    UnknownVersion,
    /// Signed for another queue.
    #[error("it names another queue")]
    WrongQueue,
}

/// Reads a delivery: which attempt it offers, if it is genuine.
///
/// # Errors
/// Why it starts nothing; the delivery is acknowledged and counted.
pub fn read(
    body: &str,
    signature: &str,
    queue: &QueueName,
    key: &Key,
) -> Result<(RunId, u32), Refusal> {
    if body.len() > limits::MESSAGE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    if !key.verifies(body, signature) {
        return Err(Refusal::Forged);
    }
    let head: Head = serde_json::from_str(body).map_err(|_| Refusal::Malformed)?;
    if head.v != VERSION {
        return Err(Refusal::UnknownVersion);
    }
    if head.queue != *queue {
        return Err(Refusal::WrongQueue);
    }
    Ok((head.run, head.attempt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OutboxId;
    use crate::protocol::run as transitions;
    use crate::protocol::work::Waiting;
    use crate::run::RunSpec;
    use crate::task::{ExternalReply, ExternalSpec};

    fn entry() -> Entry {
        let spec =
            serde_json::from_value(serde_json::json!({"name": "t", "handler": {"native": "noop"}}))
                .unwrap();
        let run = transitions::request(RunId::from_i64(77), None, &spec, Timestamp::from_ms(1_000));
        let own = RunSpec {
            handler: None,
            payload: Some(serde_json::json!({"day": "d\u{0}\r\n"})),
            ..RunSpec::default()
        };
        Entry {
            waiting: Waiting {
                run,
                spec: Some(own),
            },
            task: None,
            row: OutboxId::from_i64(1),
        }
    }

    #[test]
    fn what_one_side_builds_the_other_reads_and_nothing_else() {
        let queue = QueueName::default();
        let secret = Secret::new([7; 32]);
        let key = secret.queue_key(&queue);
        let message = build(&entry(), &key);
        let sig = &message
            .properties
            .iter()
            .find(|(n, _)| *n == "campanile_sig")
            .unwrap()
            .1;
        assert_eq!(
            read(&message.body, sig, &queue, &key),
            Ok((RunId::from_i64(77), 1))
        );
        let other = QueueName::new("other");
        let cases = [
            (message.body.clone() + " ", sig.clone(), Refusal::Forged),
            (message.body.clone(), String::new(), Refusal::Forged),
            (message.body.clone(), "zz".to_owned(), Refusal::Forged),
            (
                message.body.clone(),
                secret.queue_key(&other).sign(&message.body),
                Refusal::Forged,
            ),
            ("[".repeat(1_000_000), String::new(), Refusal::TooLarge),
            (
                "[".repeat(100_000),
                key.sign(&"[".repeat(100_000)),
                Refusal::Malformed,
            ),
            ("{}".to_owned(), key.sign("{}"), Refusal::Malformed),
        ];
        for (body, sig, refusal) in cases {
            assert_eq!(read(&body, &sig, &queue, &key), Err(refusal));
        }
        let newer = message.body.replace("\"v\":1", "\"v\":2");
        assert_eq!(
            read(&newer, &key.sign(&newer), &queue, &key),
            Err(Refusal::UnknownVersion)
        );
        let elsewhere = message
            .body
            .replace("\"queue\":\"default\"", "\"queue\":\"other\"");
        assert_eq!(
            read(&elsewhere, &key.sign(&elsewhere), &queue, &key),
            Err(Refusal::WrongQueue)
        );
    }

    #[test]
    fn a_plain_listener_gets_its_payload_and_nothing_around_it() {
        let mut entry = entry();
        let external = ExternalSpec {
            destination: "legacy.orders".to_owned(),
            body: ExternalBody::Payload,
            reply: ExternalReply::None,
        };
        entry.waiting.spec = Some(RunSpec {
            handler: Some(HandlerSpec::External(external)),
            payload: Some(serde_json::json!("<order id='1'/>")),
            ..RunSpec::default()
        });
        let message = build(
            &entry,
            &Secret::new([1; 32]).queue_key(&QueueName::default()),
        );
        assert_eq!(
            (message.destination.as_str(), message.body.as_str()),
            ("legacy.orders", "<order id='1'/>")
        );
    }
}
