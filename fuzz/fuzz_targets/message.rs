//! The envelope between scheduler and workers: any body with any signature is read or refused, never a panic; what the
//! scheduler builds its workers read, and no changed byte of it, no other queue's signature and no other master secret
//! is believed. The first byte chooses what is tried, the next four where a byte is changed.

#![no_main]

use campanile_core::id::{OutboxId, RunId};
use campanile_core::decide::publish::Entry;
use campanile_core::decide::publish::message;
use campanile_core::decide::publish::message::{Key, Refusal, Secret};
use campanile_core::decide::attempt as transitions;
use campanile_core::port::fire::Waiting;
use campanile_core::run::RunSpec;
use campanile_core::task::{HandlerSpec, QueueName, TaskSpec};
use campanile_schedule::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_at_checked(5) else {
        return;
    };
    let place = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let text = String::from_utf8_lossy(rest);
    match head[0] % 3 {
        0 => unsigned(&text, place),
        1 => signed(&text),
        _ => built(&text, place),
    }
});

fn key() -> Key {
    Secret::new([7; 32]).queue_key(&QueueName::default())
}

/// A stranger's body under a stranger's signature.
fn unsigned(text: &str, place: usize) {
    let at = text.floor_char_boundary(place % (text.len() + 1));
    let (signature, body) = text.split_at(at);
    let read = message::read(body, signature, &QueueName::default(), &key());
    assert!(matches!(read, Err(Refusal::Forged | Refusal::TooLarge)));
}

/// A body that somebody signed who has the key: only an envelope for this queue offers an attempt.
fn signed(body: &str) {
    let key = key();
    let queue = QueueName::default();
    if let Ok((run, attempt)) = message::read(body, &key.sign(body), &queue, &key) {
        // Our own reader may be less patient with the fields that a worker does not look at.
        if let Ok(value) = serde_json::from_str::<Value>(body) {
            assert_eq!(value["v"], message::VERSION);
            assert_eq!(value["queue"], queue.as_str());
            assert_eq!(value["attempt"], attempt);
            assert_eq!(value["run"].as_str().unwrap().parse(), Ok(run));
        }
    }
}

/// What the scheduler builds, as it is and with one byte changed.
fn built(text: &str, place: usize) {
    let payload = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let entry = entry(payload);
    let (queue, key) = (QueueName::default(), key());
    let built = message::build(&entry, &key);
    if built.body.len() > 500_000 {
        return;
    }
    built.check().unwrap();
    let find = |name: &str| built.properties.iter().find(|(n, _)| *n == name);
    let signature = &find("campanile_sig").unwrap().1;
    let read = |body: &str, signature: &str| message::read(body, signature, &queue, &key);
    assert_eq!(read(&built.body, signature), Ok((RunId::from_i64(77), 3)));
    let changed = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        let at = place % bytes.len();
        bytes[at] ^= 1 << (place % 7);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert_eq!(read(&changed(&built.body), signature), Err(Refusal::Forged));
    let other = changed(signature);
    // Hex is read in either case: the same 256 bits.
    if !other.eq_ignore_ascii_case(signature) {
        assert_eq!(read(&built.body, &other), Err(Refusal::Forged));
    }
    let elsewhere = Secret::new([7; 32]).queue_key(&QueueName::new("other"));
    let stranger = Secret::new([8; 32]).queue_key(&queue);
    for wrong in [elsewhere, stranger] {
        let forged = wrong.sign(&built.body);
        assert_eq!(read(&built.body, &forged), Err(Refusal::Forged));
    }
}

fn entry(payload: Value) -> Entry {
    let spec = TaskSpec::for_handler(HandlerSpec::Native("noop".to_owned()));
    let mut run = transitions::request(RunId::from_i64(77), None, &spec, Timestamp::from_ms(1_000));
    run.attempt = 3;
    Entry {
        waiting: Waiting {
            run,
            spec: Some(RunSpec {
                handler: None,
                payload: Some(payload),
                rules: None,
            }),
        },
        task: None,
        row: OutboxId::from_i64(1),
    }
}
