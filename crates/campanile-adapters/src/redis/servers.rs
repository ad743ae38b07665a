//! The way to the master: one fixed server, the one that sentinels name, or the one that has the lock's slot in a
//! cluster. It owns connecting, asking the sentinels in turn, and the news that the master was replaced; it keeps no
//! connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campanile_core::system::{spawn, within};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, Value};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::cluster::{self, Nodes};
use super::slots::slot_of;
use super::trouble::{Kind, Trouble};
use super::url::{Address, Group, Login, Target, UrlError};
use super::wire::{self, Allowance, Wire};

/// How long a connection may take, with its login.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long one command may take.
const RESPONSE_LIMIT: Duration = Duration::from_millis(500);
/// How long one sentinel may take, connection and answer, before the next is asked.
const SENTINEL_LIMIT: Duration = Duration::from_millis(500);

/// The way to the master.
pub(super) struct Servers {
    target: Target,
    tls: Option<TlsConnector>,
    /// The slot of the lock, in a cluster.
    slot: u16,
    /// What is known of a cluster's nodes.
    nodes: Nodes,
    /// The last news from the sentinels.
    switch: watch::Sender<Switch>,
    /// The sentinel to ask first: the last one that led to a master, or that told of a new one.
    first: AtomicUsize,
}

/// News of a master.
#[derive(Debug, Clone, Default)]
struct Switch {
    /// Grows with each.
    number: u64,
    /// The number of the last that came the moment it happened.
    happened: u64,
    master: Option<Address>,
}

/// A connection to the master, as it was when it was made.
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Address,
    /// The last news that was known before the master was looked for.
    known: u64,
}

impl Servers {
    /// The way to the server that has this key.
    pub(super) fn new(target: Target, key: &str) -> Result<Self, UrlError> {
        Ok(Self {
            tls: target.tls.as_ref().map(wire::trust).transpose()?,
            target,
            slot: slot_of(key),
            nodes: Nodes::default(),
            switch: watch::Sender::new(Switch::default()),
            first: AtomicUsize::new(0),
        })
    }

    /// The sentinels, if there are any.
    pub(super) fn sentinels(&self) -> &[Address] {
        match &self.target.group {
            Group::Single(_) | Group::Cluster(_) => &[],
            Group::Sentinel { sentinels, .. } => sentinels,
        }
    }

    /// The service that the sentinels watch; empty without any.
    pub(super) fn service(&self) -> &str {
        match &self.target.group {
            Group::Single(_) | Group::Cluster(_) => "",
            Group::Sentinel { service, .. } => service,
        }
    }

    /// The nodes of a cluster that the setting names.
    pub(super) fn seeds(&self) -> &[Address] {
        match &self.target.group {
            Group::Single(_) | Group::Sentinel { .. } => &[],
            Group::Cluster(seeds) => seeds,
        }
    }

    /// What is known of a cluster's nodes.
    pub(super) const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Whether it is a cluster that is asked.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.target.group, Group::Cluster(_))
    }

    /// What an error of the client library means here.
    pub(super) fn trouble(&self, error: RedisError, server: &Address) -> Trouble {
        let kind = match self.target.group {
            Group::Single(_) => Kind::Single,
            Group::Sentinel { .. } => Kind::Sentinel,
            Group::Cluster(_) => Kind::Cluster,
        };
        Trouble::from_redis(error, server, kind)
    }

    /// What a request's trouble with `server` says about the cluster's nodes.
    pub(super) fn learn(&self, server: &Address, trouble: &Trouble) {
        match trouble {
            Trouble::Moved { to, .. } => self.nodes.moved_to(to.as_ref()),
            _ => self.nodes.doubt(server),
        }
    }

    /// A new connection to the master.
    pub(super) async fn connect(&self) -> Result<Live, Trouble> {
        loop {
            let known = self.switch.borrow().number;
            let found = match &self.target.group {
                Group::Single(server) => Ok((self.open(server).await?, server.clone())),
                Group::Cluster(seeds) => cluster::connect(self, seeds, self.slot).await,
                Group::Sentinel { .. } => tokio::select! {
                    found = self.through_sentinels() => found,
                    // Don't wait for the old master when the new one is known.
                    () = self.switched_since(known) => continue,
                },
            };
            return found.map(|(connection, server)| Live {
                connection,
                server,
                known,
            });
        }
    }

    /// Asks the sentinels in turn, the one that was right last first, and takes the first master that says it is one.
    async fn through_sentinels(&self) -> Result<(MultiplexedConnection, Address), Trouble> {
        let sentinels = self.sentinels();
        let first = self.first.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        let mut troubles = Vec::new();
        for turn in 0..sentinels.len() {
            let index = (first + turn) % sentinels.len();
            let named = match self.ask(&sentinels[index]).await {
                Ok(named) => named,
                Err(trouble) => {
                    troubles.push(trouble);
                    continue;
                }
            };
            if tried.contains(&named) {
                continue;
            }
            match self.open_master(&named).await {
                Ok(connection) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok((connection, named));
                }
                Err(trouble) => troubles.push(trouble),
            }
            tried.push(named);
        }
        Err(self.no_master(troubles))
    }

    /// A refusal only if nothing else stands in the way; else the last obstacle, as the cause.
    fn no_master(&self, mut troubles: Vec<Trouble>) -> Trouble {
        if troubles.iter().all(Trouble::is_refusal)
            && let Some(refusal) = troubles.pop()
        {
            return refusal;
        }
        troubles.retain(|trouble| !trouble.is_refusal());
        Trouble::NoMaster {
            service: self.service().to_owned(),
            asked: self.sentinels().len(),
            last: troubles.pop().map(Arc::new),
        }
    }

    /// The master that this sentinel names.
    pub(super) async fn ask(&self, sentinel: &Address) -> Result<Address, Trouble> {
        let asking = async {
            let mut connection = self.session(sentinel, true).await?;
            redis::cmd("SENTINEL")
                .arg("get-master-addr-by-name")
                .arg(self.service())
                .query_async::<Option<(String, u16)>>(&mut connection)
                .await
                .map_err(|error| self.trouble(error, sentinel))
        };
        match within(SENTINEL_LIMIT, asking).await {
            None => Err(Trouble::Silent {
                server: sentinel.clone(),
            }),
            Some(Err(trouble)) => Err(trouble),
            Some(Ok(None)) => Err(Trouble::UnknownService {
                service: self.service().to_owned(),
            }),
            Some(Ok(Some((host, port)))) => Ok(Address { host, port }),
        }
    }

    /// A connection to a server that was named as master, after it said so itself.
    async fn open_master(&self, server: &Address) -> Result<MultiplexedConnection, Trouble> {
        let mut connection = self.open(server).await?;
        let answer = redis::cmd("ROLE")
            .query_async::<Vec<Value>>(&mut connection)
            .await;
        match answer {
            Ok(answer) => match answer.first() {
                Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
                Some(Value::BulkString(role)) => Err(Trouble::NotMaster {
                    server: server.clone(),
                    role: String::from_utf8_lossy(role).into_owned(),
                }),
                _ => Err(Trouble::NotMaster {
                    server: server.clone(),
                    role: "server of no known role".to_owned(),
                }),
            },
            // A user may be forbidden to ask. A replica then refuses the first write, so nothing is lost but time.
            Err(error) if error.code() == Some("NOPERM") => Ok(connection),
            Err(error) => Err(self.trouble(error, server)),
        }
    }

    pub(super) async fn open(&self, server: &Address) -> Result<MultiplexedConnection, Trouble> {
        bounded(CONNECT_LIMIT, server, self.session(server, false)).await
    }

    /// A connection to one sentinel, for a diagnosis.
    pub(super) async fn open_sentinel(
        &self,
        sentinel: &Address,
    ) -> Result<MultiplexedConnection, Trouble> {
        bounded(CONNECT_LIMIT, sentinel, self.session(sentinel, true)).await
    }

    /// A connection that hears what is published on `channel`: by a sentinel, or by the master.
    pub(super) async fn subscribe(
        &self,
        server: &Address,
        is_sentinel: bool,
        channel: &str,
    ) -> Result<(PubSub, Allowance), Trouble> {
        let opening = async {
            let wire = self.dial(server).await?;
            let allowance = wire.allowance();
            let info = self.login(is_sentinel);
            let trouble = |error| self.trouble(error, server);
            let mut channels = PubSub::new(&info, wire).await.map_err(trouble)?;
            channels.subscribe(channel).await.map_err(trouble)?;
            Ok((channels, allowance))
        };
        bounded(CONNECT_LIMIT, server, opening).await
    }

    async fn session(
        &self,
        server: &Address,
        is_sentinel: bool,
    ) -> Result<MultiplexedConnection, Trouble> {
        let wire = self.dial(server).await?;
        let info = self.login(is_sentinel);
        let made = MultiplexedConnection::new_with_config(&info, wire, bounds()).await;
        let (connection, driver) = made.map_err(|error| {
            let trouble = self.trouble(error, server);
            match self.tls {
                None => trouble.at_first_without_tls(),
                Some(_) => trouble,
            }
        })?;
        // It ends with the connection's last handle.
        spawn(driver);
        Ok(connection)
    }

    async fn dial(&self, server: &Address) -> Result<Wire, Trouble> {
        let dialled = wire::dial(server, self.tls.as_ref()).await;
        dialled.map_err(|error| Trouble::from_io(error, server))
    }

    /// How a connection introduces itself.
    fn login(&self, is_sentinel: bool) -> RedisConnectionInfo {
        let (login, database) = match &self.target.group {
            Group::Sentinel { login, .. } if is_sentinel => (login, 0),
            _ => (&self.target.login, self.target.database),
        };
        introduce(login, database)
    }

    /// The sentinel at `index` names `master`. Connections to others that were made before end.
    pub(super) fn announce(&self, master: Address, index: usize, happened_now: bool) {
        if happened_now {
            // It knows more than the others, who may name the old master for a moment yet.
            self.first.store(index, Ordering::Relaxed);
        }
        self.switch.send_modify(|switch| {
            switch.number += 1;
            if happened_now {
                switch.happened = switch.number;
            }
            switch.master = Some(master);
        });
    }

    async fn switched_since(&self, known: u64) {
        let mut news = self.switch.subscribe();
        // The only error is that the sender is gone, and it is a field of `self`.
        let _ = news.wait_for(|switch| switch.happened > known).await;
    }

    /// Returns once `live` is known to lead to a server that isn't the master any more.
    pub(super) async fn replaced(&self, live: &Live) {
        let mut news = self.switch.subscribe();
        let superseded = |switch: &Switch| {
            switch.number > live.known
                && switch
                    .master
                    .as_ref()
                    .is_some_and(|master| *master != live.server)
        };
        let _ = news.wait_for(superseded).await;
    }
}

fn bounds() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(RESPONSE_LIMIT))
}

async fn bounded<T>(
    limit: Duration,
    server: &Address,
    opening: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    within(limit, opening).await.unwrap_or_else(|| {
        Err(Trouble::Silent {
            server: server.clone(),
        })
    })
}

fn introduce(login: &Login, database: i64) -> RedisConnectionInfo {
    let mut session = RedisConnectionInfo::default()
        .set_db(database)
        .set_lib_name("campanile", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &login.username {
        session = session.set_username(username);
    }
    if let Some(password) = &login.password {
        session = session.set_password(password);
    }
    session
}
