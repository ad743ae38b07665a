//! A Java listener over OpenWire, compiled here, which nobody wrote for Campanile: it must see plain JMS messages, and
//! we its answer.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use campanile_core::limits;
use serde_json::{Value, json};
use xtask::servers::TempDir;

use super::*;

/// The running listener; ended with its value.
struct Listener {
    child: Child,
    _program: Program,
}

/// A program of one class, compiled.
struct Program {
    class: &'static str,
    classpath: String,
    folder: TempDir,
}

impl Program {
    fn compile(class: &'static str, text: &str) -> Option<Self> {
        let classpath = xtask::or_skip(ActiveMq::java_classpath())?;
        let folder = TempDir::new("java").unwrap();
        let source = folder.join(&format!("{class}.java"));
        std::fs::write(&source, text).unwrap();
        let compiled = Command::new("javac")
            .args(["-encoding", "UTF-8", "-cp", &classpath, "-d"])
            .arg(folder.path())
            .arg(&source)
            .output();
        let Ok(compiled) = compiled else {
            xtask::skip("javac is missing: apt-get install -y default-jdk-headless");
            return None;
        };
        let errors = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{errors}");
        Some(Self {
            class,
            classpath,
            folder,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!(
                "{}:{}",
                self.classpath,
                self.folder.path().display()
            ))
            .arg(self.class)
            .args(arguments);
        command
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Listener {
    /// Compiles and starts a listener for `count` messages.
    fn start(server: &ActiveMq, queue: &str, count: usize) -> Option<Self> {
        let program = Program::compile("Listener", include_str!("../java/Listener.java"))?;
        let child = program
            .command(&[&server.openwire_url(), queue, &count.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            child,
            _program: program,
        })
    }

    /// What it saw, in order.
    fn findings(mut self) -> Vec<Value> {
        let out = self.child.stdout.take().unwrap();
        let lines = BufReader::new(out).lines();
        let findings = lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {findings:?}");
        findings
    }
}

const BODY: &str = "{\"grüße\":\"世界 🦀\",\"nul\":\"a\0b\",\"nl\":\"\r\n\"}";
const PLAIN_BODY: &str = "<order id='1'/>";

/// One message with everything, one in the form for a listener that exists already (the payload alone, and nobody to
/// answer), and the largest.
fn messages(queue: &str, replies: &str) -> [Message; 3] {
    let full = Message {
        destination: queue.to_owned(),
        body: BODY.to_owned(),
        correlation_id: "77:1".to_owned(),
        reply_to: replies.to_owned(),
        priority: 8,
        properties: vec![
            ("campanile_run", "77".to_owned()),
            ("campanile_attempt", "1".to_owned()),
            ("campanile_task", String::new()),
            ("campanile_due_at", "2026-12-01T08:00:00.000Z".to_owned()),
            ("campanile_key", "a:b\\c \\n".to_owned()),
            ("campanile_sig", "ab".repeat(32)),
            ("traceparent", "00-1-2-01".to_owned()),
        ],
    };
    let plain = Message {
        body: PLAIN_BODY.to_owned(),
        reply_to: String::new(),
        priority: 4,
        properties: vec![],
        ..full.clone()
    };
    let large = Message {
        body: "x".repeat(limits::MESSAGE_BYTES_MAX),
        ..plain.clone()
    };
    [full, plain, large]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_java_listener_sees_a_plain_jms_message_and_its_answer_comes_back() {
    let Some(server) = shared() else { return };
    let (queue, replies) = (prefix(), prefix());
    let broker = connect(&server.stomp_url());
    let [full, plain, large] = messages(&queue, &replies);
    let properties = full.properties.clone();
    let Some(listener) = tokio::task::block_in_place(|| Listener::start(&server, &queue, 3)) else {
        return;
    };
    broker.publish(&[full]).await.unwrap();
    broker.publish(&[plain, large]).await.unwrap();
    let findings = tokio::task::block_in_place(|| listener.findings());
    let by_text = |text: &str| findings.iter().find(|f| f["text"] == text);
    let full = by_text(BODY).unwrap_or_else(|| panic!("{findings:?}"));
    for (field, value) in [
        ("text_message", json!(true)),
        ("correlation_id", json!("77:1")),
        ("reply_to", json!(format!("queue://{replies}"))),
        ("priority", json!(8)),
        ("persistent", json!(true)),
        ("expiration", json!(0)),
        ("redelivered", json!(false)),
    ] {
        assert_eq!(full[field], value, "{field} in {full}");
    }
    let seen = full["properties"].as_object().unwrap();
    for (name, value) in &properties {
        assert_eq!(seen[*name], json!(value), "{name} in {full}");
    }
    // Nothing else leaks into the properties but what ActiveMQ makes of two of its own headers.
    let ours: Vec<&str> = properties.iter().map(|(n, _)| *n).collect();
    let others: Vec<&String> = seen
        .keys()
        .filter(|n| !ours.contains(&n.as_str()))
        .collect();
    assert_eq!(others, ["amq-msg-type", "content-length"]);
    let plain = by_text(PLAIN_BODY).unwrap_or_else(|| panic!("{findings:?}"));
    assert_eq!(
        (&plain["text_message"], &plain["reply_to"]),
        (&json!(true), &Value::Null)
    );
    let large = findings.iter().any(|f| {
        f["text"]
            .as_str()
            .is_some_and(|t| t.len() == limits::MESSAGE_BYTES_MAX)
    });
    assert!(large);

    let mut consumer = broker.consume(&replies, 10).await.unwrap();
    let answers = receive(&mut *consumer).await;
    assert_eq!(answers[0].body, format!("answer\0 to {BODY}"));
    assert_eq!(answers[0].signature, "java:signed\\here");
    acknowledge(&mut *consumer, &answers).await;
}

/// Messages that a Java program may send and that no STOMP connection survives: the broker writes their properties as
/// headers, one of them over the length that it needs itself, and their texts as they are. Each is delivered again on the
/// next connection, for a broker counts no deliveries of its own; so each has to be taken off, and what is behind them
/// comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_no_connection_survives_are_taken_off_and_the_next_one_arrives() {
    let Some(server) = private(ActiveMqOptions::default()) else {
        return;
    };
    let queue = prefix();
    let broker = connect(&server.stomp_url());
    let sent = tokio::task::block_in_place(|| {
        let program = Program::compile("Stranger", include_str!("../java/Stranger.java"))?;
        let sent = program.command(&[&server.openwire_url(), &queue]).output();
        let sent = sent.unwrap();
        let errors = String::from_utf8_lossy(&sent.stderr);
        assert!(sent.status.success(), "{errors}");
        String::from_utf8(sent.stdout).unwrap().trim().parse().ok()
    });
    let Some(sent): Option<u64> = sent else {
        return;
    };
    broker.publish(&[message(&queue, "good")]).await.unwrap();
    let mut good = 0;
    let arrived = system::within(SOON, async {
        while good == 0 {
            let mut consumer = consume_at_last(&*broker, &queue, 10).await;
            while let Ok(deliveries) = consumer.receive().await {
                let fine = deliveries.iter().filter(|d| d.body == "good").count();
                // A connection may break in front of the acknowledgement: then it is delivered again.
                let tokens: Vec<u64> = deliveries.iter().map(|d| d.token).collect();
                if consumer.ack(&tokens).await.is_ok() {
                    good += fine;
                }
                if good > 0 {
                    break;
                }
            }
        }
    });
    arrived.await.expect("the good one arrives");
    let broken = broker.faults().connections_broken;
    assert!((sent..=2 * sent).contains(&broken), "{broken} of {sent}");
    // None of them is left to break what comes later.
    let mut consumer = consume_at_last(&*broker, &queue, 10).await;
    broker.publish(&[message(&queue, "later")]).await.unwrap();
    let mut later = Vec::new();
    while !later.iter().any(|body| body == "later") {
        let got = receive(&mut *consumer).await;
        acknowledge(&mut *consumer, &got).await;
        later.extend(got.into_iter().map(|d| d.body));
    }
    assert_eq!(broker.faults().connections_broken, broken);
}
