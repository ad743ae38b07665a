//! What is measured: a node in a process of its own over a fresh SQLite file, its tasks, and what became of their
//! instants by the node's own answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile_core::system::{pause, within};
use campanile_schedule::time::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::Command;

use super::process::{Process, client};
use crate::Error;
use crate::clock::seconds_since;
use crate::site::{Scratch, Site};
use crate::usage;

const STOP_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(300);
/// Just behind the clients a node may say that it is busy: so often it is asked again.
const TRIES: usize = 100;
const TRY_PERIOD: Duration = Duration::from_millis(100);
/// Tasks with many schedules, for the pages that list them.
const HEAVY_TASKS: usize = 200;
const HEAVY_SCHEDULES: u32 = 20;

/// A node with its tasks.
#[derive(Debug)]
pub struct Stand {
    process: Process,
    /// Where it serves.
    pub url: String,
    /// What lets one in.
    pub token: String,
    stub: String,
    client: reqwest::Client,
    _folder: Scratch,
}

/// What the store says of the tasks' instants.
#[derive(Debug, Default)]
pub struct Seen {
    /// How late each run started.
    pub lateness_us: Vec<i64>,
    /// Instants without a run that started.
    pub missed: usize,
    /// Instants with two.
    pub doubled: usize,
    /// Runs that started before their instant.
    pub early: usize,
}

impl Stand {
    /// Starts the node. Its tasks' handlers go to the stub.
    ///
    /// # Errors
    /// What it lacks.
    pub async fn start(site: &Site, program: &Path, stub: &str) -> Result<Self, Error> {
        let folder = Scratch::new(&site.random)?;
        let store = folder.path().join("store.db");
        let log = folder.path().join("log");
        let file = |source| Error::File {
            path: log.clone(),
            source,
        };
        let mut command = Command::new(program);
        command
            .env_clear()
            .args(["serve", "--allow-private-targets", "--log-level", "error"])
            .args(["--store", &format!("sqlite:{}", store.display())])
            .stderr(std::fs::File::create(&log).map_err(file)?)
            .arg("--listen");
        let process = Process::start(command)?;
        process.answers("/readyz").await?;
        let path = PathBuf::from(format!("{}.token", store.display()));
        let text = std::fs::read_to_string(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            url: process.url.clone(),
            process,
            token: first_token(&text),
            stub: stub.to_owned(),
            client: client()?,
            _folder: folder,
        })
    }

    /// Stores the tasks that are looked at.
    ///
    /// # Errors
    /// A refusal.
    pub async fn put_tasks(&self, count: usize) -> Result<(), Error> {
        for n in 0..count {
            let name = format!("steady-{n}");
            let handler = json!({ "http": { "url": self.stub } });
            let task = json!({ "name": name, "schedule": "every 1s", "handler": handler });
            let path = format!("/tasks/{name}");
            self.send(reqwest::Method::PUT, &path, Some(task)).await?;
        }
        Ok(())
    }

    /// Stores what the clients ask about: tasks with many schedules and a count, none due before the year 2190.
    ///
    /// # Errors
    /// A refusal.
    pub async fn prepare(&self) -> Result<(), Error> {
        let schedules: Vec<String> = (0..HEAVY_SCHEDULES)
            .map(|n| format!("{} {} * * *", n * 3 % 60, n % 24))
            .collect();
        let task = |n| {
            json!({
                "name": format!("heavy-{n}"), "schedule": schedules, "starts_at": "2190-01-01T00:00:00Z",
                "max_count": 1_000, "timezone": "Europe/Berlin", "handler": { "native": "nobody" },
            })
        };
        let tasks: Vec<Value> = (0..HEAVY_TASKS).map(task).collect();
        let body = json!({ "tasks": tasks });
        let done = self.send(reqwest::Method::POST, "/apply", Some(body)).await;
        done.map(drop)
    }

    /// The most resident memory that it had, in megabytes.
    #[must_use]
    pub fn peak_mb(&self) -> Option<f64> {
        usage::memory_of(&self.process.id()?.to_string()).peak_mb
    }

    /// What became of the instants in a range; waits a while for the last of them.
    ///
    /// # Errors
    /// No answer.
    pub async fn starts(
        &self,
        tasks: usize,
        (from, until): (Timestamp, Timestamp),
        patience: Duration,
    ) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        for n in 0..tasks {
            let name = format!("steady-{n}");
            let path = format!("/tasks/{name}");
            let task = self.send(reqwest::Method::GET, &path, None).await?;
            let anchor = task["anchor"]
                .as_str()
                .and_then(|t| Timestamp::parse(t).ok());
            let anchor =
                anchor.ok_or_else(|| Error::Impossible(format!("{task} has no anchor")))?;
            let expected = expected(anchor, from, until);
            let waited_from = crate::clock::now_us();
            loop {
                let rows = self.rows(&name, from, until).await?;
                let all = expected.iter().all(|at| rows.contains_key(at));
                if all || seconds_since(waited_from) > patience.as_secs_f64() {
                    tally(&mut seen, &expected, &rows);
                    break;
                }
                pause(TRY_PERIOD).await;
            }
        }
        Ok(seen)
    }

    /// Starts of the runs of a task by their instants.
    async fn rows(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<HashMap<i64, Vec<i64>>, Error> {
        let mut rows: HashMap<i64, Vec<i64>> = HashMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/runs?task={name}&since={from}&until={until}&limit=1000{cursor}");
            let page = self.send(reqwest::Method::GET, &path, None).await?;
            for run in page["items"].as_array().into_iter().flatten() {
                let at = |field: &str| Timestamp::parse(run[field].as_str()?).ok();
                if let (Some(due), Some(started)) = (at("due_at"), at("started_at")) {
                    rows.entry(due.as_ms()).or_default().push(started.as_ms());
                }
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(rows),
            }
        }
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Error> {
        let url = format!("{}/api/v1{path}", self.url);
        let mut last = String::new();
        for _ in 0..TRIES {
            let mut request = self.client.request(method.clone(), &url);
            request = request.bearer_auth(&self.token).timeout(ANSWER_LIMIT);
            if let Some(body) = &body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(response) if response.status().is_success() => {
                    let read = response.json().await;
                    return read.map_err(|e| Error::Unavailable(e.to_string()));
                }
                Ok(response) => last = response.text().await.unwrap_or_default(),
                Err(error) => last = error.to_string(),
            }
            pause(TRY_PERIOD).await;
        }
        Err(Error::Impossible(format!("{path}: {last}")))
    }

    /// Stops the node.
    ///
    /// # Errors
    /// One that does not stop.
    pub async fn stop(mut self) -> Result<(), Error> {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let late = || Error::Impossible("the node did not stop within a minute".to_owned());
        let ended = within(STOP_LIMIT, self.process.ended()).await;
        ended.ok_or_else(late)
    }
}

/// The token that a node wrote at its first start; a note may stand before it.
fn first_token(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    lines
        .find(|line| line.starts_with("cmp_"))
        .unwrap_or_default()
        .to_owned()
}

/// The instants of `every 1s` in a range.
fn expected(anchor: Timestamp, from: Timestamp, until: Timestamp) -> Vec<i64> {
    let first = from.as_ms() + (anchor.as_ms() - from.as_ms()).rem_euclid(1_000);
    (first..until.as_ms()).step_by(1_000).collect()
}

fn tally(seen: &mut Seen, expected: &[i64], rows: &HashMap<i64, Vec<i64>>) {
    for due in expected {
        let starts = rows.get(due).map_or(&[][..], Vec::as_slice);
        seen.missed += usize::from(starts.is_empty());
        seen.doubled += usize::from(starts.len() > 1);
        for start in starts {
            seen.early += usize::from(start < due);
            seen.lateness_us.push((start - due) * 1_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_counted_from_the_anchor() {
        let at = Timestamp::from_ms;
        assert_eq!(expected(at(250), at(10_000), at(12_250)), [10_250, 11_250]);
        assert_eq!(expected(at(99_250), at(10_000), at(11_000)), [10_250]);
        let rows = HashMap::from([(10, vec![12, 13]), (20, vec![19])]);
        let mut seen = Seen::default();
        tally(&mut seen, &[10, 20, 30], &rows);
        assert_eq!((seen.missed, seen.doubled, seen.early), (1, 1, 1));
        assert_eq!(seen.lateness_us, [2_000, 3_000, -1_000]);
    }
}
