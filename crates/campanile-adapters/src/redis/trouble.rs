//! What goes wrong between this node and Redis, told apart by what it asks of us: try again soon (no answer), go to
//! another node (a slot that moved), or tell an operator (an answer that refuses). It owns the sentences of all; the
//! remedies stand in `remedy.rs`. It never holds a password.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use campanile_core::port::lock;
use redis::{ErrorKind, RedisError};

use super::remedy::{self, WRONG_LOGIN};
use super::slots::redirection;
use super::url::Address;

/// How the setting names the server that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its address.
    Single,
    /// Through sentinels.
    Sentinel,
    /// As one of a cluster's nodes.
    Cluster,
}

/// A fragment fit for "failed to …".
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// No answer in time.
    #[error("get an answer from Redis at {server} in time (setting `lock`)")]
    Silent { server: Address },
    /// The whole request took too long: connections, sentinels and all.
    #[error("get an answer from Redis within {} ms (setting `lock`)", limit.as_millis())]
    TooLate { limit: Duration },
    /// The connection was never made.
    #[error("reach Redis at {server} (setting `lock`)")]
    Unreached {
        server: Address,
        #[source]
        source: Arc<io::Error>,
    },
    /// A server that wants nothing to do with us.
    #[error(
        "be greeted by Redis at {server}: it closes the connection; where this is its `tls-port`, begin the setting `lock` with rediss:// (rediss+sentinel://, rediss+cluster://)"
    )]
    Ungreeted {
        server: Address,
        #[source]
        source: RedisError,
    },
    /// The connection broke.
    #[error("talk to Redis at {server} (setting `lock`)")]
    Broken {
        server: Address,
        #[source]
        source: RedisError,
    },
    /// The server isn't ready to serve.
    #[error(
        "be served by Redis at {server}, which isn't ready: it answers `{answer}` (setting `lock`)"
    )]
    NotReady { server: Address, answer: String },
    /// The sentinels say that another server leads now, or the server itself says that it doesn't.
    #[error("go on with Redis at {server}, which is not the master any more")]
    Replaced { server: Address },
    /// Another node of the cluster has the lock's slot.
    #[error("go on with Redis at {server}, which hasn't the lock's slot any more")]
    Moved {
        server: Address,
        to: Option<Address>,
    },
    /// The slot is on its way, and its key is at the other node or will be.
    #[error("go on with Redis at {server}: the lock's slot is moving to {to}")]
    Asked { server: Address, to: Address },
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
    /// No node led to the slot's master.
    #[error("find the master of slot {slot} through {asked} nodes of the cluster (setting `lock`)")]
    NoNode {
        slot: u16,
        asked: usize,
        #[source]
        last: Option<Arc<Trouble>>,
    },
    /// A node that another one named, and that can't be reached under that name.
    #[error(
        "reach the lock's master as {by} announces it; if {server} is no address for this machine, set `cluster-announce-ip` and its ports, or `cluster-announce-hostname` with `cluster-preferred-endpoint-type hostname`, on the nodes"
    )]
    Announced {
        server: Address,
        by: Address,
        #[source]
        source: Arc<Trouble>,
    },
    /// A cluster that has no master for the slot.
    #[error(
        "find the master of slot {slot}: Redis at {server} says that no node serves it; `redis-cli --cluster fix {server}` gives it one"
    )]
    Uncovered { server: Address, slot: u16 },
    /// An answer to CLUSTER SLOTS that is none.
    #[error(
        "read which nodes the cluster has: Redis at {server} says something else, or more than is taken (setting `lock`)"
    )]
    Unreadable { server: Address },
    /// An answer that refuses.
    #[error("be served by Redis at {server}: it answers `{answer}`; {remedy}")]
    Refused {
        server: Address,
        answer: String,
        remedy: &'static str,
    },
    /// A server whose certificate doesn't convince, or that speaks no TLS.
    #[error("trust Redis at {server}: {why}; {remedy} (setting `lock`)")]
    Distrusted {
        server: Address,
        why: String,
        remedy: &'static str,
    },
    /// The sentinels answer, and don't know the service.
    #[error(
        "find `{service}`: the sentinels watch no service of this name; `SENTINEL MASTERS` lists the names, and the setting `lock` ends in the right one, as in redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
    )]
    UnknownService { service: String },
    /// The operating system refused a thread.
    #[error("start the thread that talks to Redis")]
    Thread(#[source] Arc<io::Error>),
    /// The thread that talks to Redis is gone; the next request starts another.
    #[error("go on with the thread that talks to Redis: it has ended")]
    Ended,
}

impl Trouble {
    /// Whether the server answered and refused, so that trying again won't help.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Distrusted { .. } | Self::UnknownService { .. }
        )
    }

    /// Whether a new connection may do better at once: the old one was dead already, or led to the wrong server.
    pub(super) const fn asks_for_another_connection(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. } | Self::Replaced { .. } | Self::NotReady { .. }
        )
    }

    /// Whether the same question may be answered in a moment.
    pub(super) const fn passes_by_itself(&self) -> bool {
        matches!(self, Self::NotReady { .. })
    }

    /// The same, when it was the first that was said on a connection without TLS.
    pub(super) fn at_first_without_tls(self) -> Self {
        match self {
            Self::Broken { server, source } => Self::Ungreeted { server, source },
            other => other,
        }
    }

    /// The same of a node that nobody but `by` named.
    pub(super) fn announced(self, server: &Address, by: &Address) -> Self {
        if self.is_refusal() {
            return self;
        }
        Self::Announced {
            server: server.clone(),
            by: by.clone(),
            source: Arc::new(self),
        }
    }

    /// What an error of dialling means.
    pub(super) fn from_io(error: io::Error, server: &Address) -> Self {
        let inner = error.get_ref();
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls) => {
                let (why, remedy) = remedy::of_tls(tls);
                Self::Distrusted {
                    server: server.clone(),
                    why,
                    remedy,
                }
            }
            None => Self::Unreached {
                server: server.clone(),
                source: Arc::new(error),
            },
        }
    }

    /// What an error of the client library means, said by `server`.
    pub(super) fn from_redis(error: RedisError, server: &Address, kind: Kind) -> Self {
        if error.is_timeout() {
            return Self::Silent {
                server: server.clone(),
            };
        }
        // A login that is refused comes as a kind of its own, with the answer in its text.
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Refused {
                server: server.clone(),
                answer: error.to_string(),
                remedy: WRONG_LOGIN,
            };
        }
        if error.kind() == ErrorKind::Parse {
            return Self::Refused {
                server: server.clone(),
                answer: "something that is not Redis's protocol".to_owned(),
                remedy: remedy::NO_REDIS,
            };
        }
        // In an aborted transaction the reason comes before the abort itself.
        let said = error.clone().into_server_errors().and_then(|all| {
            let (_, first) = all.first()?;
            let (code, details) = (first.code().to_owned(), first.details().unwrap_or_default());
            Some((code, details.to_owned()))
        });
        match said {
            Some((code, details)) => Self::of_answer(&code, &details, server, kind),
            None => Self::Broken {
                server: server.clone(),
                source: error,
            },
        }
    }

    /// What an answer means that is an error.
    fn of_answer(code: &str, details: &str, server: &Address, kind: Kind) -> Self {
        let (server, answer) = (server.clone(), format!("{code} {details}"));
        match code {
            "MOVED" if kind == Kind::Cluster => Self::Moved {
                to: redirection(details, &server),
                server,
            },
            "ASK" if kind == Kind::Cluster => match redirection(details, &server) {
                Some(to) => Self::Asked { server, to },
                None => Self::NotReady { server, answer },
            },
            "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" => {
                Self::NotReady { server, answer }
            }
            "READONLY" if kind != Kind::Single => Self::Replaced { server },
            _ => Self::Refused {
                server,
                remedy: remedy::of(code, details),
                answer,
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
