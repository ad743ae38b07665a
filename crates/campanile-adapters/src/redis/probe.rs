//! What `doctor` asks a Redis: is it the master, which version, do its settings suit a lock, what its clock says, and how
//! those stand that watch it (a cluster's nodes, sentinels). It judges nothing (`judge.rs` does) and changes nothing on
//! the server. What the user may not ask is told as such, and never as well.

mod judge;

use std::collections::HashMap;

use campanile_core::system::{wall_now, within};
use campanile_schedule::time::Timestamp;
use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult};

use super::PROBE_LIMIT;
use super::lease::Session;
use super::servers::Servers;
use super::trouble::Trouble;
use super::url::Address;

pub use judge::Verdict;

/// What a Redis says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `master` or `slave`; `unknown` where the user may not ask.
    pub role: String,
    /// As in `7.0.15`; `unknown` where the user may not ask.
    pub version: String,
    /// Whether it is a node of a cluster.
    pub is_cluster: bool,
    /// Whether the setting takes it for one.
    pub as_cluster: bool,
    /// What it drops when its memory is full; `None` where the user may not ask.
    pub maxmemory_policy: Option<String>,
    /// How many replicas are connected to it.
    pub replicas: u32,
    /// How many of them must be connected before it takes a write; `None` where the user may not ask.
    pub min_replicas_to_write: Option<u32>,
    /// What it keeps on its disk; `None` where the user may not ask.
    pub persistence: Option<Persistence>,
    /// Its clock; `None` where the user may not ask.
    pub clock: Option<Reading>,
    /// The cluster as this node sees it.
    pub cluster: Option<ClusterView>,
    /// What the hosts of the setting say.
    pub around: Around,
    /// What the user may not ask, as an access list names it.
    pub unasked: Vec<&'static str>,
}

/// What a Redis keeps on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// Snapshots; `None` where the user may not ask.
    pub snapshots: Option<bool>,
    /// The append-only file.
    pub log: bool,
    /// Whether its last write to the disk failed.
    pub fails: bool,
}

/// A server's clock, between two looks at this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// This machine's before the question.
    pub before: Timestamp,
    /// The server's.
    pub theirs: Timestamp,
    /// This machine's after the answer.
    pub after: Timestamp,
}

/// A cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// `ok` or `fail`.
    pub state: String,
    /// Slots that a living master serves, of 16384.
    pub slots_ok: u32,
    /// Slots whose master is thought to be dead or is.
    pub slots_in_doubt: u32,
    /// Masters with slots.
    pub masters: u32,
    /// After how long a silent node counts as dead.
    pub node_timeout_ms: Option<u64>,
}

/// What the hosts of the setting say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// Those that gave no answer.
    pub silent: Vec<String>,
    /// The sentinels that did.
    pub sentinels: Vec<SentinelView>,
}

/// A group as one sentinel sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelView {
    /// The sentinel.
    pub sentinel: String,
    /// Whom it calls the master.
    pub master: String,
    /// How many sentinels it knows, itself included; 0 where the user may not ask.
    pub sentinels: u32,
    /// How many must agree that the master is down.
    pub quorum: u32,
    /// Why it could not replace the master now; `None` if it could, or may not be asked.
    pub no_quorum: Option<String>,
    /// What its user may not ask.
    pub unasked: Vec<&'static str>,
}

/// Asks the server that has the lock.
pub(super) async fn read(session: &mut Session, as_cluster: bool) -> RedisResult<Probe> {
    let mut asker = Asker {
        session,
        unasked: Vec::new(),
    };
    let info: Option<String> = asker.ask(&redis::cmd("INFO"), "info").await?;
    let fields = Fields(info);
    let word = |name: &str| fields.word(name).unwrap_or_else(|| "unknown".to_owned());
    let min_replicas = asker.config("min-replicas-to-write").await?;
    let save = asker.config("save").await?;
    let persistence = fields.word("aof_enabled").map(|log| Persistence {
        snapshots: save.map(|save| !save.is_empty()),
        log: log == "1",
        fails: ["rdb_last_bgsave_status", "aof_last_write_status"]
            .iter()
            .any(|name| fields.word(name).is_some_and(|status| status != "ok")),
    });
    let is_cluster = fields
        .word("redis_mode")
        .is_some_and(|mode| mode == "cluster");
    let clock = asker.clock().await?;
    let cluster = match as_cluster {
        true => asker.cluster().await?,
        false => None,
    };
    Ok(Probe {
        role: word("role"),
        version: word("redis_version"),
        is_cluster: is_cluster || as_cluster,
        as_cluster,
        maxmemory_policy: fields.word("maxmemory_policy"),
        replicas: fields.number("connected_slaves"),
        min_replicas_to_write: min_replicas.and_then(|count| count.parse().ok()),
        persistence,
        clock,
        cluster,
        around: Around::default(),
        unasked: asker.unasked,
    })
}

/// Lines of `name:value`.
struct Fields(Option<String>);

impl Fields {
    fn word(&self, name: &str) -> Option<String> {
        let mut lines = self.0.as_deref()?.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    fn number(&self, name: &str) -> u32 {
        self.word(name)
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    }
}

/// Asks, and keeps what it may not.
struct Asker<'s> {
    session: &'s mut Session,
    unasked: Vec<&'static str>,
}

impl Asker<'_> {
    /// `None` where the user may not ask: hosted services forbid or rename commands, too.
    async fn ask<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        right: &'static str,
    ) -> RedisResult<Option<T>> {
        match command.query_async(&mut self.session.connection).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if is_forbidden(&error) => {
                if !self.unasked.contains(&right) {
                    self.unasked.push(right);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn config(&mut self, name: &str) -> RedisResult<Option<String>> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(name);
        let pair: Option<Option<(String, String)>> = self.ask(&command, "config|get").await?;
        Ok(pair.flatten().map(|(_, value)| value))
    }

    async fn clock(&mut self) -> RedisResult<Option<Reading>> {
        let before = wall_now();
        let told: Option<(i64, i64)> = self.ask(&redis::cmd("TIME"), "time").await?;
        let after = wall_now();
        Ok(told.and_then(|(seconds, micros)| {
            let ms = seconds.checked_mul(1_000)?.checked_add(micros / 1_000)?;
            Some(Reading {
                before,
                theirs: Timestamp::from_ms(ms),
                after,
            })
        }))
    }

    async fn cluster(&mut self) -> RedisResult<Option<ClusterView>> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("INFO");
        let Some(info) = self.ask(&command, "cluster|info").await? else {
            return Ok(None);
        };
        let timeout = self.config("cluster-node-timeout").await?;
        let fields = Fields(Some(info));
        Ok(Some(ClusterView {
            state: fields
                .word("cluster_state")
                .unwrap_or_else(|| "unknown".to_owned()),
            slots_ok: fields.number("cluster_slots_ok"),
            slots_in_doubt: fields
                .number("cluster_slots_pfail")
                .saturating_add(fields.number("cluster_slots_fail")),
            masters: fields.number("cluster_size"),
            node_timeout_ms: timeout.and_then(|ms| ms.parse().ok()),
        }))
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    let unknown = |error: &RedisError| error.detail().is_some_and(|told| told.contains("unknown"));
    match error.code() {
        Some("NOPERM") => true,
        Some("ERR") => unknown(error),
        _ => false,
    }
}

/// Asks each host of the setting, all at once.
pub(super) async fn look_around(servers: &Servers) -> Around {
    let mut around = Around::default();
    let answers = join_all(servers.sentinels().iter().map(|sentinel| async move {
        let asking = ask_sentinel(servers, sentinel);
        let silent = || Trouble::Silent {
            server: sentinel.clone(),
        };
        let answer = within(PROBE_LIMIT / 2, asking).await;
        (sentinel, answer.unwrap_or_else(|| Err(silent())))
    }));
    for (sentinel, answer) in answers.await {
        match answer {
            Ok(view) => around.sentinels.push(view),
            Err(_) => around.silent.push(sentinel.to_string()),
        }
    }
    let opened = join_all(
        servers
            .seeds()
            .iter()
            .map(|node| async move { (node, servers.open(node).await.is_ok()) }),
    );
    let silent = opened.await.into_iter().filter(|(_, is_open)| !is_open);
    around
        .silent
        .extend(silent.map(|(node, _)| node.to_string()));
    around
}

async fn ask_sentinel(servers: &Servers, sentinel: &Address) -> Result<SentinelView, Trouble> {
    let connection = servers.open_sentinel(sentinel).await?;
    let mut session = Session::new(connection);
    let mut asker = Asker {
        session: &mut session,
        unasked: Vec::new(),
    };
    let trouble = |error| servers.trouble(error, sentinel);
    let question = |what: &str| {
        let mut command = redis::cmd("SENTINEL");
        command.arg(what).arg(servers.service());
        command
    };
    let told: Option<HashMap<String, String>> = asker
        .ask(&question("MASTER"), "sentinel|master")
        .await
        .map_err(trouble)?;
    let elects: Result<Option<String>, RedisError> =
        asker.ask(&question("CKQUORUM"), "sentinel|ckquorum").await;
    let no_quorum = match elects {
        Ok(_) => None,
        Err(error) if error.code().is_some() => {
            Some(error.detail().unwrap_or("it says no").to_owned())
        }
        Err(error) => return Err(trouble(error)),
    };
    let mut view = SentinelView {
        sentinel: sentinel.to_string(),
        no_quorum,
        unasked: asker.unasked,
        ..SentinelView::default()
    };
    if let Some(told) = told {
        let word = |name: &str| told.get(name).map_or("", String::as_str);
        let number = |name: &str| word(name).parse::<u32>().unwrap_or(0);
        view.master = format!("{}:{}", word("ip"), word("port"));
        view.sentinels = number("num-other-sentinels").saturating_add(1);
        view.quorum = number("quorum");
    }
    Ok(view)
}
