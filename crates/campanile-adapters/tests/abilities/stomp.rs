//! A STOMP client of the tests' own, which does what ours never does (transactions on purpose, selectors, NACK), and the
//! trials that need nothing else.

use std::time::Duration;

use campanile_core::system;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::prefix;

const SOON: Duration = Duration::from_secs(60);

/// One connection.
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    receipts: u32,
}

/// A frame that came.
#[derive(Debug)]
pub struct Came {
    pub command: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Came {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Raw {
    pub async fn connect(port: u16, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut raw = Self {
            stream,
            buffer: Vec::new(),
            receipts: 0,
        };
        let base = [("accept-version", "1.2"), ("heart-beat", "0,0")];
        raw.send("CONNECT", &[&base, headers].concat(), "").await;
        let answer = raw.next().await;
        assert_eq!(answer.command, "CONNECTED", "{answer:?}");
        raw
    }

    pub async fn send(&mut self, command: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{command}\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push('\n');
        text.push_str(body);
        text.push('\0');
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends and waits for the receipt. Whether it came, and not an ERROR.
    pub async fn sure(&mut self, command: &str, headers: &[(&str, &str)], body: &str) -> bool {
        self.receipts += 1;
        let receipt = self.receipts.to_string();
        let own = [("receipt", receipt.as_str())];
        self.send(command, &[headers, &own].concat(), body).await;
        loop {
            let came = self.next().await;
            match came.command.as_str() {
                "RECEIPT" if came.header("receipt-id") == receipt => return true,
                "ERROR" => return false,
                _ => {}
            }
        }
    }

    pub async fn next(&mut self) -> Came {
        let came = system::within(SOON, self.next_at_last()).await;
        came.expect("a frame comes in time")
    }

    async fn next_at_last(&mut self) -> Came {
        loop {
            while self
                .buffer
                .first()
                .is_some_and(|b| matches!(b, b'\n' | b'\r'))
            {
                self.buffer.remove(0);
            }
            if let Some(end) = self.buffer.iter().position(|b| *b == 0) {
                let frame: Vec<u8> = self.buffer.drain(..=end).collect();
                return parse(&String::from_utf8_lossy(&frame[..end]));
            }
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the broker closed the connection");
        }
    }
}

fn parse(text: &str) -> Came {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let command = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Came {
        command,
        headers,
        body: body.to_owned(),
    }
}

/// How to reach a broker over STOMP, and what to say beside the ordinary.
pub struct Way {
    pub port: u16,
    pub login: Vec<(&'static str, String)>,
    /// On every SEND and SUBSCRIBE.
    pub extra: Vec<(&'static str, &'static str)>,
}

impl Way {
    pub async fn raw(&self) -> Raw {
        let login: Vec<(&str, &str)> = self.login.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Raw::connect(self.port, &login).await
    }

    pub async fn put(&self, raw: &mut Raw, queue: &str, body: &str, n: &str) -> bool {
        let destination = format!("/queue/{queue}");
        let mut headers = vec![
            ("destination", destination.as_str()),
            ("persistent", "true"),
            ("n", n),
        ];
        headers.extend(&self.extra);
        raw.sure("SEND", &headers, body).await
    }

    pub async fn subscribe(&self, raw: &mut Raw, queue: &str, more: &[(&str, &str)]) {
        let destination = format!("/queue/{queue}");
        let mut headers = vec![
            ("id", "1"),
            ("destination", destination.as_str()),
            ("ack", "client-individual"),
            ("prefetch-count", "1"),
            ("activemq.prefetchSize", "1"),
        ];
        headers.extend(&self.extra);
        headers.extend(more);
        raw.send("SUBSCRIBE", &headers, "").await;
    }

    pub async fn chooses(&self) -> bool {
        let queue = prefix();
        let mut raw = self.raw().await;
        self.put(&mut raw, &queue, "one", "1").await;
        self.put(&mut raw, &queue, "two", "2").await;
        self.subscribe(&mut raw, &queue, &[("selector", "n = '2'")])
            .await;
        raw.next().await.body == "two"
    }

    /// A message that was given back, and one that was sent later: whether the later one comes first, and the other still.
    pub async fn delays(&self) -> bool {
        let queue = prefix();
        let mut raw = self.raw().await;
        self.put(&mut raw, &queue, "given back", "1").await;
        self.subscribe(&mut raw, &queue, &[]).await;
        let first = raw.next().await;
        raw.send("NACK", &[("id", first.header("ack"))], "").await;
        let mut other = self.raw().await;
        self.put(&mut other, &queue, "later", "2").await;
        let second = raw.next().await;
        if second.body != "later" {
            return false;
        }
        raw.send("ACK", &[("id", second.header("ack"))], "").await;
        let quiet = Duration::from_secs(10);
        let third = system::within(quiet, raw.next()).await;
        third.is_some_and(|came| came.body == "given back")
    }

    /// A message that was given up, and what comes out of `dead`.
    pub async fn gives_up_to(&self, queue: &str, dead: &str) -> bool {
        let mut raw = self.raw().await;
        self.put(&mut raw, queue, "given up", "1").await;
        self.subscribe(&mut raw, queue, &[]).await;
        let mut watch = self.raw().await;
        self.subscribe(&mut watch, dead, &[]).await;
        // Its queue is there before anything is given up to it.
        watch.sure("BEGIN", &[("transaction", "t")], "").await;
        loop {
            let again = tokio::select! {
                letter = watch.next() => return letter.body == "given up",
                again = raw.next() => again,
            };
            // Where there is delayed redelivery, it comes a few times more.
            let headers = [("id", again.header("ack")), ("requeue", "false")];
            raw.send("NACK", &headers, "").await;
        }
    }

    /// A set of two of which nothing may be seen before its end: neither while it is open, nor after it was dropped.
    pub async fn keeps_together(&self) -> bool {
        let queues = [prefix(), prefix()];
        let mut raw = self.raw().await;
        for end in ["ABORT", "COMMIT"] {
            raw.send("BEGIN", &[("transaction", end)], "").await;
            for queue in &queues {
                let destination = format!("/queue/{queue}");
                let mut headers = vec![
                    ("destination", destination.as_str()),
                    ("persistent", "true"),
                    ("transaction", end),
                ];
                headers.extend(&self.extra);
                raw.send("SEND", &headers, end).await;
            }
            assert!(raw.sure(end, &[("transaction", end)], "").await);
        }
        let mut both = true;
        for queue in &queues {
            let mut watch = self.raw().await;
            self.subscribe(&mut watch, queue, &[]).await;
            both &= watch.next().await.body == "COMMIT";
        }
        both
    }
}
