//! Processes of the workload, each on a free port of loopback and ended with its value, and who asks for a node's health.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile_core::system::{pause, spawn, within};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::Error;
use crate::clock::now_us;
use crate::program::own_program;
use campanile_core::causes;

const START_LIMIT: Duration = Duration::from_secs(60);
const HEALTH_LIMIT: Duration = Duration::from_secs(10);
const HEALTH_PERIOD: Duration = Duration::from_millis(50);

/// A process of ours.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it serves.
    pub url: String,
}

impl Process {
    /// The stub.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn stub() -> Result<Self, Error> {
        let mut command = Command::new(own_program()?);
        command.args(["stub", "--listen"]);
        let started = Self::start(command)?;
        started.answers("/").await?;
        Ok(started)
    }

    /// Starts a program whose last argument is to be where it listens: a free port.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let failed = |e: std::io::Error| Error::Unavailable(e.to_string());
        let free = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = free.local_addr().map_err(failed)?;
        drop(free);
        command.arg(address.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.kill_on_drop(true).spawn().map_err(|e| {
            let program = command.as_std().get_program().display();
            Error::Unavailable(format!("failed to start {program}: {e}"))
        })?;
        let url = format!("http://{address}");
        Ok(Self { child, url })
    }

    /// Waits until it serves this path.
    ///
    /// # Errors
    /// It does not within a minute.
    pub async fn answers(&self, path: &str) -> Result<(), Error> {
        let client = client()?;
        let url = format!("{}{path}", self.url);
        let good = |answer: reqwest::Result<reqwest::Response>| {
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        let asking = async {
            while !good(client.get(&url).send().await) {
                pause(Duration::from_millis(20)).await;
            }
        };
        let late = || Error::Unavailable(format!("{url} does not answer"));
        within(START_LIMIT, asking).await.ok_or_else(late)
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns when it has ended.
    pub async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }
}

/// Who asks for the node's health, on a new connection each time, as a load balancer does.
#[derive(Debug)]
pub struct Prober {
    over: Arc<AtomicBool>,
    task: JoinHandle<Health>,
}

/// How long the answers took.
#[derive(Debug, Default)]
pub struct Health {
    /// Of those that came.
    pub took_us: Vec<i64>,
    /// Those that did not, or were no good.
    pub failed: usize,
    /// What was wrong with the last of them.
    pub why: Option<String>,
}

impl Prober {
    /// Starts asking.
    ///
    /// # Errors
    /// The client can't be set up.
    pub fn start(url: &str) -> Result<Self, Error> {
        let over = Arc::new(AtomicBool::new(false));
        let (seen, url, client) = (Arc::clone(&over), format!("{url}/healthz"), client()?);
        let task = spawn(async move {
            let mut health = Health::default();
            while !seen.load(Ordering::Relaxed) {
                let from = now_us();
                let answer = within(HEALTH_LIMIT, client.get(&url).send()).await;
                match answer.map(|sent| sent.and_then(reqwest::Response::error_for_status)) {
                    Some(Ok(_)) => health.took_us.push(now_us() - from),
                    bad => {
                        health.failed += 1;
                        health.why = Some(match bad {
                            Some(Err(error)) => causes(&error),
                            _ => "no answer in time".to_owned(),
                        });
                    }
                }
                pause(HEALTH_PERIOD).await;
            }
            health
        });
        Ok(Self { over, task })
    }

    /// What was seen.
    pub async fn stop(self) -> Health {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}

/// A client that keeps no connection.
///
/// # Errors
/// It can't be set up.
pub fn client() -> Result<reqwest::Client, Error> {
    let built = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build();
    built.map_err(|e| Error::Unavailable(e.to_string()))
}
