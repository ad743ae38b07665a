//! What goes wrong between this node and Redis, told apart by what it asks of us: try again soon (no answer), or tell
//! an operator (an answer that refuses). It owns the sentences of both; it never holds a password.

use std::sync::Arc;
use std::time::Duration;

use campanile_core::port::lock;
use redis::{ErrorKind, RedisError};

use super::url::Address;

/// A fragment fit for "failed to …".
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// No answer in time.
    #[error("get an answer from Redis at {server} in time (setting `lock`)")]
    Silent { server: Address },
    /// The whole request took too long: connections, sentinels and all.
    #[error("get an answer from Redis within {} ms (setting `lock`)", limit.as_millis())]
    TooLate { limit: Duration },
    /// The connection broke or was never made, or the server isn't ready to serve.
    #[error("talk to Redis at {server} (setting `lock`)")]
    Broken {
        server: Address,
        #[source]
        source: RedisError,
    },
    /// The sentinels say that another server leads now.
    #[error("go on with Redis at {server}, which is not the master any more")]
    Replaced { server: Address },
    /// A replica, where the master should be.
    #[error("take Redis at {server} for the master: it says that it is a {role}")]
    NotMaster { server: Address, role: String },
    /// No sentinel led to a master.
    #[error("find the master of `{service}` through {asked} sentinels (setting `lock`)")]
    NoMaster {
        service: String,
        asked: usize,
        #[source]
        last: Option<Arc<Trouble>>,
    },
    /// An answer that refuses.
    #[error("be served by Redis at {server}: it answers `{answer}`; {remedy}")]
    Refused {
        server: Address,
        answer: String,
        remedy: &'static str,
    },
    /// The sentinels answer, and don't know the service.
    #[error(
        "find `{service}`: the sentinels watch no service of this name; `SENTINEL MASTERS` lists the names, and the setting `lock` ends in the right one, as in redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
    )]
    UnknownService { service: String },
    /// The operating system refused a thread.
    #[error("start the thread that talks to Redis")]
    Thread(#[source] Arc<std::io::Error>),
    /// The thread that talks to Redis is gone; the next request starts another.
    #[error("go on with the thread that talks to Redis: it has ended")]
    Ended,
}

impl Trouble {
    /// Whether the server answered and refused, so that trying again won't help.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::UnknownService { .. })
    }

    /// Whether a new connection may do better at once: the old one was dead already, or led to the wrong server.
    pub(super) const fn asks_for_another_connection(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Replaced { .. })
    }

    /// What an error of the client library means, said by `server`.
    pub(super) fn from_redis(error: RedisError, server: &Address, watched: bool) -> Self {
        if error.is_timeout() {
            return Self::Silent {
                server: server.clone(),
            };
        }
        let refused = |answer: String, remedy| Self::Refused {
            server: server.clone(),
            answer,
            remedy,
        };
        if error.kind() == ErrorKind::AuthenticationFailed {
            return refused(error.to_string(), WRONG_LOGIN);
        }
        // In an aborted transaction the reason comes before the abort itself.
        let said = error.clone().into_server_errors().and_then(|all| {
            let (_, first) = all.first()?;
            Some((first.code().to_owned(), first.to_string()))
        });
        match said {
            Some((code, answer)) => match remedy(&code, watched) {
                Some(remedy) => refused(answer, remedy),
                None => Self::Broken {
                    server: server.clone(),
                    source: error,
                },
            },
            None => Self::Broken {
                server: server.clone(),
                source: error,
            },
        }
    }
}

impl From<Trouble> for lock::Error {
    fn from(trouble: Trouble) -> Self {
        if trouble.is_refusal() {
            Self::Refused(Box::new(trouble))
        } else {
            Self::Unreachable(Box::new(trouble))
        }
    }
}

const WRONG_LOGIN: &str = "put the right user and password into the setting `lock`, as in redis://USER:PASSWORD@HOST:PORT (redis://:PASSWORD@HOST:PORT for the default user; the sentinels' own are ?sentinel_username= and ?sentinel_password=)";

/// What an operator does about a refusal; `None` for an answer that passes by itself. `watched` says that sentinels
/// name the master, so that a replica is only a moment's mistake.
fn remedy(code: &str, watched: bool) -> Option<&'static str> {
    Some(match code {
        "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" => return None,
        "READONLY" if watched => return None,
        "READONLY" => {
            "this server is a replica: let the setting `lock` name its master, or the group as redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
        }
        "NOAUTH" | "WRONGPASS" => WRONG_LOGIN,
        "NOPERM" => {
            "allow the user what the lock needs: ACL SETUSER NAME +@connection +get +set +pexpire +pttl +del +watch +unwatch +multi +exec +publish +subscribe +ping +role ~{campanile:*}* &{campanile:*}* (and for `campanile doctor` +info +config|get)"
        }
        "WRONGTYPE" => {
            "something that is not a lock is stored under the lock's key: delete the key that starts with {campanile:, or give this cluster another name"
        }
        "OOM" => "its memory is full: raise `maxmemory` or move other data elsewhere",
        "NOREPLICAS" => {
            "fewer replicas are connected than its `min-replicas-to-write` demands: bring them back"
        }
        "MISCONF" => "it can't write its snapshots: look at its log and its disk",
        "MOVED" | "ASK" | "CROSSSLOT" => {
            "it is a node of a Redis Cluster, which is not built yet: name a single Redis or a Sentinel group"
        }
        _ => "look at this server's log and settings",
    })
}
