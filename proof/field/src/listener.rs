//! A JMS listener as it existed before: it reads one queue over STOMP, knows no word of ours, takes the body as it is,
//! notes it and acknowledges. The properties that it notes beside are for the test's account, not for its work.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Outcome, wall_ms};

/// How soon the listener notices that it is to end.
const REACTION: Duration = Duration::from_millis(200);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// One message as the listener got it.
#[derive(Debug, Clone)]
pub struct Order {
    pub key: String,
    pub body: String,
    pub at_ms: i64,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Vec<Order>>,
    ending: AtomicBool,
}

pub struct Listener {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `queue` of the broker at this STOMP port, and connects again whenever the broker went away.
    pub fn start(port: u16, queue: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let queue = queue.to_owned();
        let thread = std::thread::spawn(move || {
            while !own.ends() {
                // Whatever went wrong, a listener in the field connects again.
                let _ = listen(port, &queue, &own);
                std::thread::sleep(REACTION);
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// All messages so far, in the order of their arrival.
    pub fn all(&self) -> Vec<Order> {
        let orders = &self.shared.orders;
        orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn ends(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

fn listen(port: u16, queue: &str, shared: &Shared) -> Outcome<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    stream.set_read_timeout(Some(REACTION))?;
    stream.write_all(b"CONNECT\naccept-version:1.2\nhost:localhost\nheart-beat:0,0\n\n\0")?;
    let subscribe =
        format!("SUBSCRIBE\nid:0\ndestination:/queue/{queue}\nack:client-individual\n\n\0");
    stream.write_all(subscribe.as_bytes())?;
    let mut frames = Frames::default();
    while !shared.ends() {
        let Some(frame) = frames.next(&mut stream)? else {
            continue;
        };
        match frame.command.as_str() {
            "CONNECTED" => {}
            "MESSAGE" => {
                let order = Order {
                    key: frame.header("campanile_key"),
                    body: frame.body.clone(),
                    at_ms: wall_ms(),
                };
                let orders = &shared.orders;
                orders
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(order);
                let ack = frame.headers.get("ack").map_or("", String::as_str);
                stream.write_all(format!("ACK\nid:{ack}\n\n\0").as_bytes())?;
            }
            other => return Err(format!("the broker said {other}: {}", frame.body).into()),
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Frame {
    command: String,
    /// As they were sent, still escaped.
    headers: HashMap<String, String>,
    body: String,
}

impl Frame {
    fn header(&self, name: &str) -> String {
        let raw = self.headers.get(name).map_or("", String::as_str);
        raw.replace("\\c", ":")
            .replace("\\n", "\n")
            .replace("\\\\", "\\")
    }
}

/// Bytes that came in and are not yet a whole frame.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// The next frame; `None` when there is none yet.
    fn next(&mut self, stream: &mut TcpStream) -> Outcome<Option<Frame>> {
        if let Some(frame) = self.take() {
            return Ok(Some(frame));
        }
        let mut chunk = [0; 8_192];
        match stream.read(&mut chunk) {
            Ok(0) => Err("the broker closed the connection".into()),
            Ok(n) => {
                self.bytes.extend_from_slice(&chunk[..n]);
                Ok(self.take())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a whole frame off the front. The bodies of this test hold no NUL, so a frame ends at the first one.
    fn take(&mut self) -> Option<Frame> {
        let end = self.bytes.iter().position(|byte| *byte == 0)?;
        let raw: Vec<u8> = self.bytes.drain(..=end).collect();
        let text = String::from_utf8_lossy(&raw[..end]).into_owned();
        let text = text.trim_start_matches(['\n', '\r']);
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let mut frame = Frame {
            command: lines.next().unwrap_or_default().to_owned(),
            body: body.to_owned(),
            ..Frame::default()
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            // The first of a repeated header is the one that counts.
            frame
                .headers
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        let mut frames = Frames {
            bytes:
                b"CONNECTED\nversion:1.2\n\n\0\nMESSAGE\nack:7\ncampanile_key:a\\c17\n\n<o/>\0MESS"
                    .to_vec(),
        };
        assert_eq!(frames.take().unwrap().command, "CONNECTED");
        let message = frames.take().unwrap();
        assert_eq!(message.header("campanile_key"), "a:17");
        assert_eq!(message.body, "<o/>");
        assert!(frames.take().is_none());
        assert_eq!(frames.bytes, b"MESS");
    }

    #[test]
    fn a_message_arrives_with_its_key_and_is_not_sent_again() {
        let Some(broker) = xtask::or_skip(xtask::servers::ActiveMq::shared()) else {
            return;
        };
        let queue = format!("listener.{}", std::process::id());
        let address = SocketAddr::from(([127, 0, 0, 1], broker.stomp_port()));
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT).unwrap();
        stream
            .write_all(b"CONNECT\naccept-version:1.2\nhost:localhost\n\n\0")
            .unwrap();
        let send = format!(
            "SEND\ndestination:/queue/{queue}\npersistent:true\ncampanile_key:order\\c17\n\n<o/>\0"
        );
        stream.write_all(send.as_bytes()).unwrap();
        let arrives = |listener: &Listener| {
            xtask::servers::holds_within(Duration::from_secs(10), || !listener.all().is_empty())
        };
        let listener = Listener::start(broker.stomp_port(), &queue);
        assert!(arrives(&listener));
        let order = listener.all().remove(0);
        assert_eq!(
            (order.key.as_str(), order.body.as_str()),
            ("order:17", "<o/>")
        );
        drop(listener);
        // The acknowledged one does not come again: the next that comes is the next that was sent.
        stream
            .write_all(send.replace("c17", "c18").as_bytes())
            .unwrap();
        let listener = Listener::start(broker.stomp_port(), &queue);
        assert!(arrives(&listener));
        assert_eq!(listener.all()[0].key, "order:18");
    }
}
