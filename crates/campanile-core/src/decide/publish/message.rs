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

use crate::decide::publish::Entry;
use crate::decide::publish::group::{Offer, Parcel};
use crate::decide::publish::routing::{Need, Route};
use crate::id::RunId;
use crate::limits;
use crate::port::broker::Message;
use crate::run::Origin;
use crate::task::{ExternalBody, HandlerSpec, QueueName};

/// The version of the envelope of one run.
pub const VERSION: u32 = 1;
/// The version of a message that offers several.
pub const GROUP_VERSION: u32 = 2;
const SIGNATURE: &str = "campanile_sig";
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

/// The JMS queue of messages that offer several runs of one of our queues. Older workers don't listen there.
#[must_use]
pub fn group_destination(queue: &QueueName) -> String {
    format!("campanile.{queue}~groups")
}

#[derive(Debug, Serialize)]
struct Envelope<'a> {
    v: u32,
    run: RunId,
    attempt: u32,
    task: &'a str,
    queue: &'a QueueName,
    due_at: Timestamp,
    payload: &'a serde_json::Value,
    deadline: Option<Timestamp>,
    kid: &'a str,
}

/// What our own workers are told of one run: nothing but which attempt it is.
#[derive(Debug, Serialize)]
struct Alone<'a> {
    v: u32,
    run: RunId,
    attempt: u32,
    queue: &'a QueueName,
    kid: &'a str,
}

#[derive(Debug, Serialize)]
struct Group<'a> {
    v: u32,
    queue: &'a QueueName,
    priority: u8,
    runs: &'a [Offer],
    kid: &'a str,
}

/// The part of the body that a worker reads. Unknown fields are ignored: a newer scheduler may add some.
#[derive(Debug, Deserialize)]
struct Head {
    v: u32,
    queue: QueueName,
    #[serde(default)]
    run: Option<RunId>,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    runs: Vec<Offer>,
}

/// What a message offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    pub runs: Vec<Offer>,
    /// Of a group: under which priority what is not taken is offered again.
    pub priority: u8,
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
        Origin::Request | Origin::Inbox => format!("{task}:{run}"),
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
    let body = match (external.map(|e| e.body), entry.payload()) {
        (Some(ExternalBody::Payload), serde_json::Value::String(text)) => text.clone(),
        (Some(ExternalBody::Payload), serde_json::Value::Null) => String::new(),
        (Some(ExternalBody::Payload), payload) => payload.to_string(),
        (Some(ExternalBody::Envelope), _) => envelope(entry, task, key),
        (None, _) => alone(&run.queue, (run.id, run.attempt), key),
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
        (SIGNATURE, key.sign(&body)),
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

fn envelope(entry: &Entry, task: &str, key: &Key) -> String {
    let run = &entry.waiting.run;
    let late = entry.task.as_ref().and_then(|t| t.spec.max_lateness);
    let envelope = Envelope {
        v: VERSION,
        run: run.id,
        attempt: run.attempt,
        task,
        queue: &run.queue,
        due_at: run.due_at,
        payload: entry.payload(),
        deadline: late.map(|d| run.due_at.plus(d)),
        kid: key.id(),
    };
    serde_json::to_string(&envelope).unwrap_or_default()
}

fn alone(queue: &QueueName, (run, attempt): Offer, key: &Key) -> String {
    let alone = Alone {
        v: VERSION,
        run,
        attempt,
        queue,
        kid: key.id(),
    };
    serde_json::to_string(&alone).unwrap_or_default()
}

/// The message that offers several runs of one queue, priority and need. One signature covers them all.
#[must_use]
pub fn build_group(
    queue: &QueueName,
    priority: u8,
    runs: &[Offer],
    need: &str,
    key: &Key,
) -> Message {
    let group = Group {
        v: GROUP_VERSION,
        queue,
        priority,
        runs,
        kid: key.id(),
    };
    let body = serde_json::to_string(&group).unwrap_or_default();
    let first = runs
        .first()
        .map(|(run, attempt)| format!("{run}:{attempt}"));
    Message {
        destination: group_destination(queue),
        correlation_id: format!(
            "{}+{}",
            first.unwrap_or_default(),
            runs.len().saturating_sub(1)
        ),
        reply_to: String::new(),
        priority,
        properties: vec![
            (SIGNATURE, key.sign(&body)),
            ("campanile_needs", need.to_owned()),
        ],
        body,
    }
}

/// The messages of a parcel.
#[must_use]
pub fn build_parcel(parcel: &Parcel, key: &Key) -> Vec<Message> {
    match (&parcel.group, parcel.entries.as_slice()) {
        (Some(need), [first, ..]) => {
            let run = &first.waiting.run;
            let runs: Vec<Offer> = parcel.entries.iter().map(|e| e.key()).collect();
            vec![build_group(&run.queue, run.priority, &runs, need, key)]
        }
        (None, [entry]) => build_all(entry, key, &parcel.route),
        _ => Vec::new(),
    }
}

/// What a worker had no slots for, each run alone: so no run is handed back twice.
#[must_use]
pub fn offer_again(queue: &QueueName, priority: u8, runs: &[Offer], key: &Key) -> Vec<Message> {
    let message = |(run, attempt): &Offer| {
        let body = alone(queue, (*run, *attempt), key);
        Message {
            destination: destination(queue),
            correlation_id: format!("{run}:{attempt}"),
            reply_to: String::new(),
            priority,
            properties: vec![(SIGNATURE, key.sign(&body))],
            body,
        }
    };
    runs.iter().map(message).collect()
}

/// The messages of one attempt: one, or one to each lane of its route.
fn build_all(entry: &Entry, key: &Key, route: &Route) -> Vec<Message> {
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

/// Reads a delivery: which attempts it offers, if it is genuine.
///
/// # Errors
/// Why it starts nothing; the delivery is acknowledged and counted.
pub fn read(body: &str, signature: &str, queue: &QueueName, key: &Key) -> Result<Offers, Refusal> {
    if body.len() > limits::MESSAGE_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    if !key.verifies(body, signature) {
        return Err(Refusal::Forged);
    }
    let head: Head = serde_json::from_str(body).map_err(|_| Refusal::Malformed)?;
    if head.queue != *queue {
        return Err(Refusal::WrongQueue);
    }
    let runs = match (head.v, head.run.zip(head.attempt)) {
        (VERSION, Some(offer)) => vec![offer],
        (GROUP_VERSION, _) if head.runs.len() <= limits::GROUP_RUNS_MAX => head.runs,
        (VERSION | GROUP_VERSION, _) => return Err(Refusal::Malformed),
        _ => return Err(Refusal::UnknownVersion),
    };
    if runs.is_empty() || head.priority > 9 {
        return Err(Refusal::Malformed);
    }
    Ok(Offers {
        runs,
        priority: head.priority,
    })
}

#[cfg(test)]
#[path = "../../../tests/decide/publish/message_tests.rs"]
mod tests;
