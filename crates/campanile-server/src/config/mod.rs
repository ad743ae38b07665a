//! The settings of a node: read once, from flags over the environment over a file over defaults; validated once; then
//! passed on as types. Owns what each setting means and what is refused; opens no connection.

mod access;
mod doors;
mod keys;
mod layers;
mod read;
mod secrets;
mod vault;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile_adapters::handlers::{Allowed, AllowedEnv};
use campanile_adapters::open::Urls;
use campanile_adapters::secrets::Options as SecretOptions;
pub use campanile_adapters::service_url::{Scrub, ServiceUrl};
use campanile_core::limits;
use campanile_core::task::QueueName;
use campanile_core::task::mask::Masks;
use campanile_schedule::check_name;
use campanile_schedule::time::parse_duration;

use crate::http::proxies::Proxies;

pub use self::access::{Access, Oidc};
pub use self::doors::{Doors, format_size};
pub use self::keys::{KEYS, Key, Kind, find as find_key};
pub use self::layers::{Environment, Layer, Raw, SECRET_PREFIX, Source};
pub use self::vault::look_over;

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
    /// How long lines of the audit are kept.
    pub audit_retention: Duration,
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

/// Whether each program gets a cgroup of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroup {
    /// Where one can be made.
    Auto,
    /// Else the node does not start.
    Required,
    /// No.
    Off,
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
    /// The most that is kept of one attempt's output, in bytes.
    pub log_bytes_max: usize,
    /// How long it may stay silent.
    pub lease: Duration,
    /// How long its runs may go on while it stops.
    pub drain: Duration,
    /// A task file to apply at the start.
    pub tasks: Option<PathBuf>,
    /// Programs that command handlers may run.
    pub allow_commands: Vec<Allowed>,
    /// Variables that tasks may set for them.
    pub allow_env: Vec<AllowedEnv>,
    /// The user that they run as, if not the worker's own.
    pub run_as: Option<String>,
    /// Whether each gets a cgroup of its own.
    pub cgroup: Cgroup,
    /// Whether http handlers may reach private addresses.
    pub allow_private_targets: bool,
    /// Secrets that tasks name, and who may use them here.
    pub secrets: SecretOptions,
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
    /// Keys of labels that these figures show.
    pub metrics_labels: Vec<String>,
    /// What it takes at once.
    pub doors: Doors,
    /// How people get in.
    pub access: Access,
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
    /// What is masked where definitions are shown.
    pub masks: Masks,
}

impl Settings {
    /// What the node connects to.
    #[must_use]
    pub fn urls(&self) -> Urls {
        let cluster = &self.cluster;
        Urls {
            store: cluster.store.clone(),
            lock: cluster.lock.clone(),
            broker: cluster.broker.clone(),
            cluster: cluster.name.clone(),
            node: self.node.name.clone(),
        }
    }
}

/// The settings as they were written, each with its source: what `config check` shows.
#[derive(Debug, Clone)]
pub struct Written {
    all: BTreeMap<&'static str, Raw>,
    /// The file that was read.
    file: Option<PathBuf>,
    /// Variables of the environment that name a token and are left to client commands.
    clients: Vec<String>,
    /// The tables `[[secret]]` of the file.
    secret_rules: Vec<vault::Placed>,
    /// Secrets that stand in the environment.
    given: BTreeMap<String, Hidden>,
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
        let (from_file, secret_rules) =
            file.map(layers::from_file).transpose()?.unwrap_or_default();
        let mut from_environment = layers::from_environment(environment)?;
        let clients = secrets::choose_token(&flags, &from_file, &mut from_environment, &mut all);
        all.extend(from_file);
        all.extend(from_environment);
        all.extend(flags);
        Ok(Self {
            all,
            file: file.map(Path::to_owned),
            clients,
            secret_rules,
            given: vault::given(environment),
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
            masks: Masks::with(self.list("mask_keys")).map_err(|m| self.wrong("mask_keys", m))?,
        };
        self.check_together(&settings)?;
        Ok(settings)
    }

    /// All values that their settings can't take, and what the rest means. One that is wrong counts as not written, so that
    /// the others are still looked at.
    pub fn wrongs(&self) -> (Vec<Error>, Option<Settings>) {
        let mut tried = self.clone();
        let mut wrongs: Vec<Error> = Vec::new();
        for _ in KEYS {
            let wrong = match tried.settings() {
                Ok(settings) => return (wrongs, Some(settings)),
                Err(wrong) => wrong,
            };
            let Error::Wrong(Wrong { key: name, .. }) = &wrong else {
                wrongs.push(wrong);
                break;
            };
            let key = KEYS.iter().find(|key| key.name == *name);
            let default = key.map(|k| (k.name, Raw::split(k.default, k.kind, Source::Default)));
            let known = wrongs
                .iter()
                .any(|w| matches!(w, Error::Wrong(w) if w.key == *name));
            let Some((name, default)) = default.filter(|_| !known) else {
                break;
            };
            tried.all.insert(name, default);
            wrongs.push(wrong);
        }
        (wrongs, None)
    }

    /// A refusal of one setting, with the place where it was written.
    #[must_use]
    pub fn refused(&self, key: &'static str, message: impl Into<String>) -> Error {
        self.wrong(key, message).into()
    }
}

#[cfg(test)]
mod tests;
