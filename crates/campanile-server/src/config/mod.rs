//! The settings of a node: read once, from flags over the environment over a file over defaults; validated once; then
//! passed on as types. Owns what each setting means and what is refused; opens no connection.

mod doors;
mod keys;
mod layers;
mod secrets;
mod urls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile::protocol::limits;
use campanile::task::{QueueName, check_name};
use campanile::time::parse_duration;
pub use campanile_adapters::service_url::{Scrub, ServiceUrl};

use crate::http::proxies::Proxies;

pub use self::doors::{Doors, format_size};
pub use self::keys::{KEYS, Key, Kind, find as find_key};
pub use self::layers::{Environment, Layer, Raw, Source, environment};

/// Why the settings can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("can't read {}: {source}; check the path and its rights", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// File and line.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A name that no setting has.
    #[error("{place}: `{name}` is not a setting: {remedy}")]
    UnknownKey {
        /// Where it was written.
        place: String,
        /// The name.
        name: String,
        /// The name that was meant, perhaps.
        remedy: String,
    },
    /// A value that a setting can't take.
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

/// A value that a setting can't take.
#[derive(Debug, thiserror::Error)]
#[error("setting `{key}` ({place}): {message}")]
pub struct Wrong {
    /// The setting.
    pub key: &'static str,
    /// Where the value was written.
    pub place: String,
    /// What is wrong and what to write.
    pub message: String,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Contends for the lead.
    pub scheduler: bool,
    /// Runs tasks.
    pub worker: bool,
    /// Serves API and pages.
    pub api: bool,
}

/// What the node shares with the other nodes of its cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The store's URL.
    pub store: ServiceUrl,
    /// The lock's URL.
    pub lock: ServiceUrl,
    /// The broker's URL.
    pub broker: ServiceUrl,
    /// The cluster's name.
    pub name: String,
    /// How long a dead leader is waited for.
    pub lock_ttl: Duration,
    /// How long finished runs are kept.
    pub retention: Duration,
    /// How many missed occurrences are started in a second, at most, after an outage.
    pub catch_up_per_second: u32,
}

impl Cluster {
    /// What takes the secrets of its URLs out of texts.
    #[must_use]
    pub fn scrub(&self) -> Scrub {
        Scrub::of([&self.store, &self.lock, &self.broker])
    }
}

/// What the node is and does.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, for people.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// Queues that its worker takes from.
    pub queues: Vec<QueueName>,
    /// Runs at once.
    pub slots: u32,
    /// How long it may stay silent.
    pub lease: Duration,
    /// How long its runs may go on while it stops.
    pub drain: Duration,
    /// A task file to apply at the start.
    pub tasks: Option<PathBuf>,
    /// Programs that command handlers may run.
    pub allow_commands: Vec<String>,
    /// Whether http handlers may reach private addresses.
    pub allow_private_targets: bool,
}

/// What the node serves over HTTP.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where.
    pub listen: SocketAddr,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The bearer token, if it stands in the settings.
    pub token: Option<Hidden>,
    /// The file that holds the bearer token, if one is named.
    pub token_file: Option<PathBuf>,
    /// Whose word on the client's address counts.
    pub trusted_proxies: Proxies,
    /// Whether `/metrics` needs no token.
    pub metrics_public: bool,
    /// Tasks that have figures of their own.
    pub metrics_tasks: Vec<String>,
    /// What it takes at once.
    pub doors: Doors,
}

/// How log lines look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// JSON, for machines.
    pub json: bool,
    /// What is logged.
    pub filter: String,
}

/// The settings of a node, valid.
#[derive(Debug, Clone)]
pub struct Settings {
    /// With its cluster.
    pub cluster: Cluster,
    /// Itself.
    pub node: Node,
    /// Over HTTP.
    pub http: Http,
    /// Its log.
    pub log: Log,
}

/// The settings as they were written, each with its source: what `config check` shows.
#[derive(Debug, Clone)]
pub struct Written {
    all: BTreeMap<&'static str, Raw>,
    /// The file that was read.
    file: Option<PathBuf>,
    /// Variables of the environment that name a token and are left to client commands.
    clients: Vec<String>,
}

impl Written {
    /// Gathers the layers.
    ///
    /// # Errors
    /// A file that can't be read, a name that no setting has.
    pub fn gather(
        flags: Layer,
        environment: &Environment,
        file: Option<&Path>,
    ) -> Result<Self, Error> {
        let mut all: BTreeMap<&'static str, Raw> = KEYS
            .iter()
            .map(|k| (k.name, Raw::split(k.default, k.kind, Source::Default)))
            .collect();
        let from_file = file.map(layers::from_file).transpose()?.unwrap_or_default();
        let mut from_environment = layers::from_environment(environment)?;
        let clients = secrets::choose_token(&flags, &from_file, &mut from_environment, &mut all);
        all.extend(from_file);
        all.extend(from_environment);
        all.extend(flags);
        Ok(Self {
            all,
            file: file.map(Path::to_owned),
            clients,
        })
    }

    /// Each setting with its value and source, secrets masked, in the order of the table.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, String, String)> {
        KEYS.iter()
            .filter_map(|key| {
                let raw = self.all.get(key.name)?;
                let text = raw.parts.join(",");
                let value = match (key.secret && !raw.parts.is_empty(), key.is_url()) {
                    (true, _) => "(hidden)".to_owned(),
                    (false, true) => ServiceUrl::new(text).shown(),
                    (false, false) => text,
                };
                Some((key.name, value, self.source_shown(key, raw)))
            })
            .collect()
    }

    /// What the settings mean.
    ///
    /// # Errors
    /// The first value that its setting can't take.
    pub fn settings(&self) -> Result<Settings, Error> {
        let settings = Settings {
            cluster: self.cluster()?,
            node: self.node()?,
            http: self.http()?,
            log: self.log()?,
        };
        self.check_together(&settings)?;
        Ok(settings)
    }

    fn cluster(&self) -> Result<Cluster, Wrong> {
        let url = |key, schemes| -> Result<ServiceUrl, Wrong> {
            let url = ServiceUrl::new(self.required(key)?);
            urls::check(&url, schemes).map_err(|m| self.wrong(key, m))?;
            Ok(url)
        };
        Ok(Cluster {
            store: url("store", urls::STORE)?,
            lock: url("lock", urls::LOCK)?,
            broker: url("broker", urls::BROKER)?,
            name: self.name("cluster")?.unwrap_or_default(),
            lock_ttl: self.duration(
                "lock_ttl",
                Duration::from_secs(1),
                Duration::from_secs(300),
            )?,
            retention: self.duration("retention", Duration::from_secs(60), DAYS_MAX)?,
            catch_up_per_second: self.number("catch_up_per_second", 1_000)?,
        })
    }

    fn node(&self) -> Result<Node, Wrong> {
        let mut queues = Vec::new();
        for queue in self.list("queues") {
            check_name("queue", queue).map_err(|e| self.wrong("queues", e.message))?;
            queues.push(QueueName::new(queue));
        }
        Ok(Node {
            name: self.name("name")?.unwrap_or_else(default_name),
            roles: self.roles()?,
            queues,
            slots: self.number("slots", 10_000)?,
            lease: self.duration("lease", Duration::from_secs(2), Duration::from_secs(600))?,
            drain: self.duration("drain", Duration::ZERO, Duration::from_secs(86_400))?,
            tasks: self.text("tasks").map(PathBuf::from),
            allow_commands: self.commands()?,
            allow_private_targets: self.switch("allow_private_targets")?,
        })
    }

    fn http(&self) -> Result<Http, Wrong> {
        let text = self.required("listen")?;
        let listen: SocketAddr = text.parse().map_err(|_| {
            let message = format!(
                "`{text}` is not an address and a port: write 127.0.0.1:7070, or 0.0.0.0:7070 for all of this machine's"
            );
            self.wrong("listen", message)
        })?;
        let tls = match (self.text("tls_cert"), self.text("tls_key")) {
            (Some(cert), Some(key)) => Some((PathBuf::from(cert), PathBuf::from(key))),
            (None, None) => None,
            (Some(_), None) => return Err(self.wrong("tls_cert", "needs `tls_key` beside it")),
            (None, Some(_)) => return Err(self.wrong("tls_key", "needs `tls_cert` beside it")),
        };
        let insecure = self.switch("insecure")?;
        if !listen.ip().is_loopback() && tls.is_none() && !insecure {
            return Err(self.wrong(
                "listen",
                format!(
                    "{listen} is reachable from other machines, and without TLS everybody on the path can read the token: \
                     set `tls_cert` and `tls_key`, listen on 127.0.0.1, or say `insecure` if something in front does TLS"
                ),
            ));
        }
        let (token, token_file) = self.token()?;
        let trusted_proxies = Proxies::read(self.list("trusted_proxies"))
            .map_err(|m| self.wrong("trusted_proxies", m))?;
        Ok(Http {
            listen,
            tls,
            token,
            token_file,
            trusted_proxies,
            metrics_public: self.switch("metrics_public")?,
            metrics_tasks: self.metrics_tasks()?,
            doors: self.doors()?,
        })
    }

    /// Names of tasks, in which `*` stands for anything.
    fn metrics_tasks(&self) -> Result<Vec<String>, Wrong> {
        let patterns = self.list("metrics_tasks");
        if patterns.len() > limits::METRIC_PATTERNS_MAX {
            let message = format!(
                "has {} names: write {} at most",
                patterns.len(),
                limits::METRIC_PATTERNS_MAX
            );
            return Err(self.wrong("metrics_tasks", message));
        }
        for pattern in patterns {
            let plain = pattern.replace('*', "x");
            check_name("metrics_tasks", &plain).map_err(|e| {
                let message = format!("`{pattern}`: {}; * stands for anything", e.message);
                self.wrong("metrics_tasks", message)
            })?;
        }
        Ok(patterns.to_vec())
    }

    fn log(&self) -> Result<Log, Wrong> {
        let json = match self.required("log")?.as_str() {
            "text" => false,
            "json" => true,
            other => {
                return Err(
                    self.wrong("log", format!("`{other}` is not known: write text or json"))
                );
            }
        };
        let filter = self.required("log_level")?;
        tracing_subscriber::EnvFilter::try_new(&filter)
            .map_err(|e| self.wrong("log_level", format!("`{filter}` is not a filter: {e}")))?;
        Ok(Log { json, filter })
    }

    fn roles(&self) -> Result<Roles, Wrong> {
        let mut roles = Roles::default();
        for role in self.list("roles") {
            match role.as_str() {
                "scheduler" => roles.scheduler = true,
                "worker" => roles.worker = true,
                "api" => roles.api = true,
                other => {
                    let message = format!(
                        "`{other}` is not a role: write scheduler, worker, api, or several of them"
                    );
                    return Err(self.wrong("roles", message));
                }
            }
        }
        if roles == Roles::default() {
            return Err(self.wrong(
                "roles",
                "is empty: write scheduler, worker, api, or several of them",
            ));
        }
        Ok(roles)
    }

    /// A whole number from 1 to `max`.
    fn number(&self, key: &'static str, max: u32) -> Result<u32, Wrong> {
        let text = self.required(key)?;
        text.parse()
            .ok()
            .filter(|n| (1..=max).contains(n))
            .ok_or_else(|| {
                let message = format!("`{text}` is out of range: write 1 to {max}");
                self.wrong(key, message)
            })
    }

    fn commands(&self) -> Result<Vec<String>, Wrong> {
        let list = self.list("allow_commands").to_vec();
        match list.iter().find(|p| !p.starts_with('/') && *p != "*") {
            None => Ok(list),
            Some(odd) => Err(self.wrong(
                "allow_commands",
                format!("`{odd}` is not an absolute path: write it whole, as in /usr/bin/df (or * for any program)"),
            )),
        }
    }

    /// What no setting can see alone.
    fn check_together(&self, settings: &Settings) -> Result<(), Wrong> {
        let (cluster, roles) = (&settings.cluster, settings.node.roles);
        if cluster.broker.reveal().starts_with("memory:") && roles.scheduler != roles.worker {
            return Err(self.wrong(
                "broker",
                "`memory:` carries runs inside one process, and this node has only one of the roles scheduler and worker: \
                 give it both, or let all nodes share a broker (stomp://…)",
            ));
        }
        if roles.worker && settings.node.queues.is_empty() {
            return Err(self.wrong(
                "queues",
                "is empty, and this node is a worker: name a queue",
            ));
        }
        Ok(())
    }

    fn wrong(&self, key: &'static str, message: impl Into<String>) -> Wrong {
        let place = self
            .all
            .get(key)
            .map_or_else(String::new, |raw| raw.source.to_string());
        Wrong {
            key,
            place,
            message: message.into(),
        }
    }

    fn list(&self, key: &str) -> &[String] {
        self.all.get(key).map_or(&[], |raw| raw.parts.as_slice())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.list(key).first().map(String::as_str)
    }

    fn required(&self, key: &'static str) -> Result<String, Wrong> {
        self.text(key)
            .map(str::to_owned)
            .ok_or_else(|| self.wrong(key, "is empty: leave it out, or give it a value"))
    }

    fn switch(&self, key: &'static str) -> Result<bool, Wrong> {
        match self.required(key)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(self.wrong(key, format!("`{other}` is neither true nor false"))),
        }
    }

    fn name(&self, key: &'static str) -> Result<Option<String>, Wrong> {
        let Some(name) = self.text(key) else {
            return Ok(None);
        };
        check_name(key, name).map_err(|e| self.wrong(key, e.message))?;
        Ok(Some(name.to_owned()))
    }

    fn duration(
        &self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Result<Duration, Wrong> {
        let text = self.required(key)?;
        let length = parse_duration(&text).map_err(|m| self.wrong(key, m))?;
        if length < least || length > most {
            let (least, most) = (
                campanile::time::format_duration(least),
                campanile::time::format_duration(most),
            );
            return Err(self.wrong(
                key,
                format!("`{text}` is out of range: write {least} to {most}"),
            ));
        }
        Ok(length)
    }
}

const DAYS_MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// The host's name and the process id, in the letters that a name may have.
fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(100)
        .collect();
    let host = if host.is_empty() { "node" } else { &host };
    format!("{host}-{}", std::process::id())
}

#[cfg(test)]
mod tests;
