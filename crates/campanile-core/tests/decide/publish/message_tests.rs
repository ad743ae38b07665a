//! Messages: what goes to workers and to listeners, and what of it is believed.

use super::*;
use crate::decide::attempt as transitions;
use crate::id::OutboxId;
use crate::port::fire::Waiting;
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
        Ok(Offers {
            runs: vec![(RunId::from_i64(77), 1)],
            priority: 0
        })
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
    let newer = message.body.replace("\"v\":1", "\"v\":3");
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
