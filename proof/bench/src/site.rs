//! Where a workload runs: the ports behind the URLs, or a temporary SQLite file when nothing is named, and over them the
//! very composition that `serve` starts, with one more handler: the one that notes its starts. Refuses a store that
//! holds somebody's tasks. The environment and settings files are not asked: what is measured stands on the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use campanile_ask::{Control, Editor};
use campanile_core::actor::Actor;
use campanile_core::engine::Handlers;
use campanile_core::id::Mint;
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::clock::Clock;
use campanile_core::port::store::Store;
use campanile_core::system::{Pool, Random, SystemClock, pause, within};
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::time::Timestamp;

use serde_json::Value;

use super::Error;
use super::clock::{StoreClock, now_us};
use super::record::{Noop, Record};
use super::usage::Watched;
use campanile_adapters::open::{self, Ports};
use campanile_adapters::sql;
use campanile_core::causes;
use campanile_core::port::ask::TaskFilter;
use campanile_server::compose::{self, App};
use campanile_server::config::{
    Environment, Hidden, Layer, Raw, Settings, Source, Written, find_key,
};
use campanile_server::programs::Host;

/// Every task of the bench has a name that begins so.
pub const PREFIX: &str = "bench-";
/// How long a node may take to lead.
const LEAD_WITHIN: Duration = Duration::from_secs(60);
/// The URL of a store that lives in this process: the engine alone.
pub const MEMORY: &str = "memory:";

/// What is named on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The store, as for `serve`; `memory:` = none, the engine alone [default: a temporary SQLite file]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The lock, as for `serve`
    #[arg(long, value_name = "URL", default_value = "store:")]
    pub lock: String,
    /// The broker, as for `serve`
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub broker: String,
    /// Runs that a worker runs at once
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub slots: u32,
    /// The process id of the database, to read its CPU time
    #[arg(long, value_name = "PID")]
    pub database_pid: Option<u32>,
    /// The process id of the broker, to read its CPU time
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
}

impl Place {
    /// Whose CPU time is read.
    #[must_use]
    pub const fn watched(&self) -> Watched {
        Watched {
            database: self.database_pid,
            broker: self.broker_pid,
        }
    }
}

/// A folder that is removed with its value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder under the system's temporary folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(random: &Random) -> Result<Self, Error> {
        let name = format!(
            "campanile-bench-{}-{:08x}",
            std::process::id(),
            random.below(1 << 32)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed lies in the temporary folder, where the system clears up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The words for what the ports are, as they stand in the figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Kinds {
    /// `sqlite`, `postgres`, `memory`.
    pub store: String,
    /// `store`, `redis`, …
    pub lock: String,
    /// `memory`, `stomp`, …
    pub broker: String,
}

/// The ports of a workload.
pub struct Site {
    /// The ports.
    pub ports: Ports,
    /// What they are.
    pub kinds: Kinds,
    /// This process's source of random numbers.
    pub random: Arc<Random>,
    /// The settings of its nodes.
    pub settings: Settings,
    clock: SystemClock,
    // Last: removed when nothing uses it any more.
    _scratch: Option<Scratch>,
}

impl Site {
    /// Opens what is named, and refuses a store that is in use.
    ///
    /// # Errors
    /// What can't be reached; a store that is not the bench's.
    pub async fn open(place: &Place) -> Result<Self, Error> {
        let site = Self::join(place, "bench", &[]).await?;
        let page = site
            .store()
            .tasks(&TaskFilter::default(), None, 1_000)
            .await?;
        match page.tasks.iter().find(|t| !t.spec.name.starts_with(PREFIX)) {
            Some(task) => Err(Error::InUse(task.spec.name.clone())),
            None => Ok(site),
        }
    }

    /// Opens what is named, whoever else uses it, with more settings for its nodes.
    ///
    /// # Errors
    /// What can't be reached, or is no setting.
    pub async fn join(place: &Place, name: &str, more: &[(&str, &str)]) -> Result<Self, Error> {
        let random = Arc::new(Random::from_system());
        let in_memory = place.store.as_deref() == Some(MEMORY);
        let (store, scratch) = match &place.store {
            Some(url) if !in_memory => (url.clone(), None),
            _ => {
                let scratch = Scratch::new(&random)?;
                (
                    format!("sqlite:{}", scratch.path().join("store.db").display()),
                    Some(scratch),
                )
            }
        };
        let slots = place.slots.to_string();
        let named = [
            ("store", store.as_str()),
            ("lock", &place.lock),
            ("broker", &place.broker),
            ("slots", &slots),
            ("name", name),
            ("listen", "127.0.0.1:0"),
        ];
        let mut settings = settings(named.iter().chain(more))?;
        // Nobody is told it: only this process asks this service.
        settings.http.token = Some(Hidden::new(hex::encode(random.secret())));
        let ports = if in_memory {
            in_this_process()
        } else {
            open::ports(&settings.urls(), sql::Migrate::Always)
                .await
                .map_err(|e| Error::Unavailable(causes(&e)))?
        };
        Ok(Self {
            ports,
            kinds: Kinds {
                store: scheme(if in_memory { MEMORY } else { &store }),
                lock: scheme(&place.lock),
                broker: scheme(&place.broker),
            },
            random,
            settings,
            clock: SystemClock::new(),
            _scratch: scratch,
        })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.ports.store
    }

    /// What this process's nodes let in.
    #[must_use]
    pub fn token(&self) -> &str {
        let token = self.settings.http.token.as_ref();
        token.map_or("", |token| token.reveal())
    }

    /// Asks an API for runs; what it answers.
    ///
    /// # Errors
    /// It does not answer, refuses, or answers no JSON.
    pub async fn ask(
        &self,
        client: &reqwest::Client,
        url: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let unavailable = |e: reqwest::Error| Error::Unavailable(causes(&e));
        let request = client.post(format!("{url}/api/v1/runs"));
        let answer = request.bearer_auth(self.token()).json(body).send().await;
        let answer = answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(unavailable)?;
        answer.json().await.map_err(unavailable)
    }

    /// What people ask of the system, without a node.
    #[must_use]
    pub fn control(&self) -> Editor {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Control::new(campanile_ask::Parts {
            store: Arc::clone(&self.ports.store),
            lock: Arc::clone(&self.ports.lock),
            time: DatabaseTime::new(Arc::clone(&clock)),
            clock,
            mint: Arc::new(Mint::new(Arc::clone(&self.random))),
            random: Arc::clone(&self.random),
            metrics: Arc::default(),
            pool: Pool::inline(),
            on_work: Arc::new(|| {}),
        })
        .by(Actor::new("a benchmark", "this process"))
    }

    /// Starts the program over these ports, with the handler that notes its starts.
    ///
    /// # Errors
    /// What it lacks.
    pub async fn start(&self, record: &Arc<Record>) -> Result<App, Error> {
        self.start_with(record, |handlers| handlers).await
    }

    async fn start_with(
        &self,
        record: &Arc<Record>,
        more: impl FnOnce(Handlers) -> Handlers,
    ) -> Result<App, Error> {
        let noop = Noop(Arc::clone(record));
        let handlers = |handlers: Handlers| more(handlers.native(noop));
        // The servers are children of this process; programs are not measured.
        let host = Host::Shared {
            supervisor: "/proc/self/exe".into(),
        };
        let ports = self.ports.clone();
        let started = compose::start_with(&self.settings, ports, &host, handlers).await;
        started.map_err(|e| Error::Unavailable(causes(&e)))
    }

    /// The same, and waits until it leads.
    ///
    /// # Errors
    /// What it lacks; a node that does not come to lead.
    pub async fn lead(&self, record: &Arc<Record>) -> Result<App, Error> {
        self.lead_with(record, |handlers| handlers).await
    }

    /// The same with more handlers.
    ///
    /// # Errors
    /// As [`Self::lead`].
    pub async fn lead_with(
        &self,
        record: &Arc<Record>,
        more: impl FnOnce(Handlers) -> Handlers,
    ) -> Result<App, Error> {
        let app = self.start_with(record, more).await?;
        let mut status = app.node.status();
        let leads = within(LEAD_WITHIN, status.wait_for(|s| s.leading.is_some())).await;
        let leads = leads.is_some_and(|l| l.is_ok());
        if leads {
            return Ok(app);
        }
        stop(app).await;
        Err(Error::NotLeading)
    }

    /// The store's time.
    ///
    /// # Errors
    /// The store's.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.store().leader().await?.now)
    }

    /// Waits for an instant of the store's clock.
    pub async fn sleep_until(&self, clock: &StoreClock, at: Timestamp) {
        let left_us = clock.reading_us(at.as_ms()) - now_us();
        self.clock
            .sleep(Duration::from_micros(u64::try_from(left_us).unwrap_or(0)))
            .await;
    }

    /// Waits a while, and a random part of another more, so that nothing falls into step with a period of the engine.
    pub async fn rest(&self, least: Duration, more_ms: u64) {
        pause(least + Duration::from_millis(self.random.below(more_ms))).await;
    }
}

/// Stops a program that was started here.
pub async fn stop(app: App) {
    app.node.stop().await;
    app.serving.stop().await;
}

fn settings<'a>(named: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Result<Settings, Error> {
    let mut layer = Layer::new();
    for (name, value) in named {
        let key =
            find_key(name).ok_or_else(|| Error::Impossible(format!("`{name}` is no setting")))?;
        let raw = Raw::split(value, key.kind, Source::Flag(key.flag()));
        layer.insert(key.name, raw);
    }
    let written = Written::gather(layer, &Environment::new(), None)?;
    Ok(written.settings()?)
}

fn in_this_process() -> Ports {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Ports {
        space: None,
        logins: None,
        store: Arc::new(MemoryStore::new(Arc::clone(&clock))),
        lock: Arc::new(MemoryLock::new(clock)),
        broker: Arc::new(MemoryBroker::new()),
    }
}

fn scheme(url: &str) -> String {
    url.split_once(':')
        .map_or(url, |(scheme, _)| scheme)
        .to_owned()
}
