//! Who sends: each client one request after the other, going round the kinds; and connections that say half a request
//! and nothing more. Whatever is answered is counted, by kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile_core::system::{pause, spawn, within};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::kinds::{self, Kind, Request};
use super::process::client;
use crate::Error;
use crate::clock::now_us;
use crate::figures::ms;

/// How long an answer is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Between two tries to open a silent connection that was turned away.
const SILENT_PERIOD: Duration = Duration::from_millis(250);

/// What one kind of request met with.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Count {
    /// The kind.
    pub kind: &'static str,
    /// Requests.
    pub sent: usize,
    /// Answers by status.
    pub answers: BTreeMap<u16, usize>,
    /// Connections that ended without one.
    pub cut: usize,
    /// Those that took longer than ten seconds.
    pub late: usize,
    /// The slowest answer.
    pub slowest_ms: f64,
}

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    over: Arc<AtomicBool>,
    senders: Vec<JoinHandle<BTreeMap<&'static str, Count>>>,
    silent: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts them.
    ///
    /// # Errors
    /// A kind that is none; a client that can't be set up.
    pub fn start(
        url: &str,
        token: &str,
        clients: usize,
        silent: usize,
        only: &[String],
    ) -> Result<Self, Error> {
        let kinds = Arc::new(kinds::all(only)?);
        let over = Arc::new(AtomicBool::new(false));
        let mut senders = Vec::with_capacity(clients);
        for n in 0..clients {
            let sender = Sender {
                client: client()?,
                url: url.to_owned(),
                token: token.to_owned(),
                over: Arc::clone(&over),
            };
            senders.push(spawn(sender.run(Arc::clone(&kinds), n)));
        }
        let address = url.trim_start_matches("http://").to_owned();
        let silent = (0..silent)
            .map(|_| spawn(say_half(address.clone(), Arc::clone(&over))))
            .collect();
        Ok(Self {
            over,
            senders,
            silent,
        })
    }

    /// Ends them; what each kind met with.
    pub async fn stop(self) -> Vec<Count> {
        self.over.store(true, Ordering::Relaxed);
        let mut all: BTreeMap<&'static str, Count> = BTreeMap::new();
        for sender in self.senders {
            for (kind, count) in sender.await.unwrap_or_default() {
                let sum = all.entry(kind).or_default();
                sum.kind = kind;
                sum.sent += count.sent;
                sum.cut += count.cut;
                sum.late += count.late;
                sum.slowest_ms = sum.slowest_ms.max(count.slowest_ms);
                for (status, n) in count.answers {
                    *sum.answers.entry(status).or_default() += n;
                }
            }
        }
        for silent in self.silent {
            silent.abort();
        }
        all.into_values().collect()
    }
}

struct Sender {
    client: reqwest::Client,
    url: String,
    token: String,
    over: Arc<AtomicBool>,
}

impl Sender {
    async fn run(self, kinds: Arc<Vec<Kind>>, first: usize) -> BTreeMap<&'static str, Count> {
        let mut counts: BTreeMap<&'static str, Count> = BTreeMap::new();
        for turn in first.. {
            let Some(kind) = kinds.get(turn % kinds.len().max(1)) else {
                break;
            };
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let count = counts.entry(kind.name).or_default();
            count.sent += 1;
            let from = now_us();
            match within(ANSWER_LIMIT, self.send(kind, turn / kinds.len())).await {
                None => count.late += 1,
                Some(None) => count.cut += 1,
                Some(Some(status)) => *count.answers.entry(status).or_default() += 1,
            }
            count.slowest_ms = count.slowest_ms.max(ms(now_us() - from));
        }
        counts
    }

    /// The status of the answer, if one came.
    async fn send(&self, kind: &Kind, round: usize) -> Option<u16> {
        match kind
            .requests
            .get(round % kind.requests.len().max(1))?
            .clone()
        {
            Request::Raw(bytes) => self.send_raw(&bytes).await,
            Request::Http {
                method,
                path,
                body,
                token,
            } => {
                let token = token.unwrap_or_else(|| self.token.clone());
                let request = self.client.request(method, format!("{}{path}", self.url));
                let request = request
                    .bearer_auth(token)
                    .header("content-type", "application/json")
                    .body(body);
                let answer = request.send().await.ok()?;
                let status = answer.status().as_u16();
                answer.bytes().await.ok()?;
                Some(status)
            }
        }
    }

    async fn send_raw(&self, bytes: &[u8]) -> Option<u16> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.ok()?;
        // A service that has seen enough may close before all is sent, and answer all the same.
        let _ = stream.write_all(bytes).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        std::str::from_utf8(&head)
            .ok()?
            .split(' ')
            .nth(1)?
            .parse()
            .ok()
    }
}

/// Says half a request, waits until it is turned away, and comes again.
async fn say_half(address: String, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: 127").await;
            let mut answer = [0; 256];
            while stream.read(&mut answer).await.is_ok_and(|n| n > 0) {}
        }
        pause(SILENT_PERIOD).await;
    }
}

/// Lets this process have so many connections.
///
/// # Errors
/// The machine does not allow it.
pub fn raise_descriptors(wanted: usize) -> Result<(), Error> {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let failed = |e: nix::errno::Errno| {
        Error::Impossible(format!("{wanted} descriptors are not to be had: {e}"))
    };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if soft >= wanted {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).map_err(failed)
}
