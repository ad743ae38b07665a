//! What `doctor` asks a Redis: is it the master, which version, and do its settings suit a lock. It owns the remedies'
//! sentences; it changes nothing on the server.

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

/// What a Redis says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `master` or `slave`.
    pub role: String,
    /// As in `7.0.15`.
    pub version: String,
    /// What it drops when its memory is full; `None` where the user may not ask.
    pub maxmemory_policy: Option<String>,
    /// How many replicas are connected to it.
    pub replicas: u32,
    /// How many of them must be connected before it takes a write; `None` where the user may not ask.
    pub min_replicas_to_write: Option<u32>,
}

impl Probe {
    /// One sentence for each setting that is a risk to the lock, with its remedy. Empty where all is well.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        let mut remedies = Vec::new();
        if self.role != "master" {
            remedies.push(format!(
                "this Redis is a {}, not a master, and refuses the lock: let the setting `lock` name the master, or the group as redis+sentinel://HOST:PORT,HOST:PORT/SERVICE",
                self.role
            ));
        }
        if let Some(policy) = &self.maxmemory_policy
            && policy != "noeviction"
        {
            remedies.push(format!(
                "`maxmemory-policy` is {policy}, so a full Redis may drop the lock while it is held, and the leader changes: run CONFIG SET maxmemory-policy noeviction and write it into redis.conf, or give the lock a Redis of its own"
            ));
        }
        if self.replicas > 0 && self.min_replicas_to_write == Some(0) {
            remedies.push(format!(
                "{} replicas are connected and `min-replicas-to-write` is 0, so a master that is cut off goes on giving the lock away beside its successor: run CONFIG SET min-replicas-to-write 1 on every server and write it into redis.conf",
                self.replicas
            ));
        }
        remedies
    }
}

/// Asks.
pub(super) async fn read(connection: &mut MultiplexedConnection) -> RedisResult<Probe> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    Ok(Probe {
        role: field("role").unwrap_or_else(|| "unknown".to_owned()),
        version: field("redis_version").unwrap_or_else(|| "unknown".to_owned()),
        maxmemory_policy: field("maxmemory_policy"),
        replicas: field("connected_slaves")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0),
        min_replicas_to_write: min_replicas_to_write(connection).await?,
    })
}

async fn min_replicas_to_write(connection: &mut MultiplexedConnection) -> RedisResult<Option<u32>> {
    let answer = redis::cmd("CONFIG")
        .arg("GET")
        .arg("min-replicas-to-write")
        .query_async::<Option<(String, u32)>>(connection)
        .await;
    match answer {
        Ok(pair) => Ok(pair.map(|(_, count)| count)),
        // Hosted services forbid or rename CONFIG.
        Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => Ok(None),
        Err(error) => Err(error),
    }
}
