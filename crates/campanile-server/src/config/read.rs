//! Reads each part of the settings out of what was written, with its bounds. Owns what a value must look like; where it
//! was written, and what a key is called, it is told.

use std::time::Duration;

use super::*;
use campanile_adapters::open::schemes;

const DAYS_MAX: Duration = Duration::from_secs(3_650 * 86_400);

impl Written {
    pub(super) fn cluster(&self) -> Result<Cluster, Wrong> {
        let url = |key, schemes| -> Result<ServiceUrl, Wrong> {
            let url = ServiceUrl::new(self.required(key)?);
            schemes::check(&url, schemes).map_err(|m| self.wrong(key, m))?;
            Ok(url)
        };
        Ok(Cluster {
            store: url("store", schemes::STORE)?,
            lock: url("lock", schemes::LOCK)?,
            broker: url("broker", schemes::BROKER)?,
            name: self.name("cluster")?.unwrap_or_default(),
            lock_ttl: self.duration(
                "lock_ttl",
                Duration::from_secs(1),
                Duration::from_secs(300),
            )?,
            retention: self.duration("retention", Duration::from_secs(60), DAYS_MAX)?,
            audit_retention: self.duration("audit_retention", Duration::from_secs(60), DAYS_MAX)?,
            catch_up_per_second: self.number("catch_up_per_second", 1_000)?,
        })
    }

    pub(super) fn node(&self) -> Result<Node, Wrong> {
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
            log_bytes_max: self.size(
                "log_bytes_max",
                limits::LOG_BYTES_MIN,
                limits::LOG_BYTES_MAX,
            )?,
            lease: self.duration("lease", Duration::from_secs(2), Duration::from_secs(600))?,
            drain: self.duration("drain", Duration::ZERO, Duration::from_secs(86_400))?,
            tasks: self.text("tasks").map(PathBuf::from),
            allow_commands: self.commands()?,
            allow_env: self.allow_env()?,
            run_as: self.text("run_as").map(str::to_owned),
            cgroup: self.cgroup()?,
            allow_private_targets: self.switch("allow_private_targets")?,
            secrets: self.secrets()?,
        })
    }

    pub(super) fn http(&self) -> Result<Http, Wrong> {
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
            metrics_labels: self.metrics_labels()?,
            doors: self.doors()?,
            access: self.access()?,
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

    /// Keys of labels, no two of which metrics would call by one name.
    fn metrics_labels(&self) -> Result<Vec<String>, Wrong> {
        let (field, keys) = ("metrics_labels", self.list("metrics_labels"));
        if keys.len() > limits::METRIC_LABELS_MAX {
            let most = limits::METRIC_LABELS_MAX;
            let message = format!("has {} keys: write {most} at most", keys.len());
            return Err(self.wrong(field, message));
        }
        let plain = |key: &String| key.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        for (n, key) in keys.iter().enumerate() {
            campanile_core::task::check_label_key(field, key)
                .map_err(|e| self.wrong(field, e.message))?;
            let before = keys.get(..n).unwrap_or_default();
            if let Some(same) = before.iter().find(|other| plain(other) == plain(key)) {
                let message =
                    format!("`{same}` and `{key}` are one name in metrics: leave one of them out");
                return Err(self.wrong(field, message));
            }
        }
        Ok(keys.to_vec())
    }

    pub(super) fn log(&self) -> Result<Log, Wrong> {
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
    pub(super) fn number(&self, key: &'static str, max: u32) -> Result<u32, Wrong> {
        let text = self.required(key)?;
        text.parse()
            .ok()
            .filter(|n| (1..=max).contains(n))
            .ok_or_else(|| {
                let message = format!("`{text}` is out of range: write 1 to {max}");
                self.wrong(key, message)
            })
    }

    fn commands(&self) -> Result<Vec<Allowed>, Wrong> {
        let entries = self.list("allow_commands").iter().map(|text| text.parse());
        entries
            .collect::<Result<_, _>>()
            .map_err(|m: String| self.wrong("allow_commands", m))
    }

    fn allow_env(&self) -> Result<Vec<AllowedEnv>, Wrong> {
        let entries = self.list("allow_env").iter().map(|text| text.parse());
        entries
            .collect::<Result<_, _>>()
            .map_err(|m: String| self.wrong("allow_env", m))
    }

    fn cgroup(&self) -> Result<Cgroup, Wrong> {
        match self.required("cgroup")?.as_str() {
            "auto" => Ok(Cgroup::Auto),
            "required" => Ok(Cgroup::Required),
            "off" => Ok(Cgroup::Off),
            other => Err(self.wrong(
                "cgroup",
                format!("`{other}` is not known: write auto, required or off"),
            )),
        }
    }

    /// What no setting can see alone.
    pub(super) fn check_together(&self, settings: &Settings) -> Result<(), Wrong> {
        let (cluster, roles) = (&settings.cluster, settings.node.roles);
        if cluster.broker.reveal().starts_with("memory:") && roles.scheduler != roles.worker {
            return Err(self.wrong(
                "broker",
                "`memory:` carries runs inside one process, and this node has only one of the roles scheduler and worker: \
                 give it both, or let all nodes share a broker (store:, stomp://…)",
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

    pub(super) fn wrong(&self, key: &'static str, message: impl Into<String>) -> Wrong {
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

    pub(super) fn list(&self, key: &str) -> &[String] {
        self.all.get(key).map_or(&[], |raw| raw.parts.as_slice())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.list(key).first().map(String::as_str)
    }

    pub(super) fn required(&self, key: &'static str) -> Result<String, Wrong> {
        self.text(key)
            .map(str::to_owned)
            .ok_or_else(|| self.wrong(key, "is empty: leave it out, or give it a value"))
    }

    pub(super) fn switch(&self, key: &'static str) -> Result<bool, Wrong> {
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

    pub(super) fn duration(
        &self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Result<Duration, Wrong> {
        let text = self.required(key)?;
        let length = parse_duration(&text).map_err(|m| self.wrong(key, m))?;
        if length < least || length > most {
            let (least, most) = (
                campanile_schedule::time::format_duration(least),
                campanile_schedule::time::format_duration(most),
            );
            return Err(self.wrong(
                key,
                format!("`{text}` is out of range: write {least} to {most}"),
            ));
        }
        Ok(length)
    }
}

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
