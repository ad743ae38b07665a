//! The whole conformance suite on every form of the lock in Redis: single, Sentinel and Cluster, each open, and each with
//! TLS and the users of the samples in `deploy/redis`. It owns the servers behind them and breaks none.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, Weak};

use xtask::servers::{RedisCluster, RedisGuard, RedisUsers, Sentinel, SentinelOptions, TempDir};

use super::certs::{Certificates, Flaw};
use super::*;

pub(super) const PASSWORD: &str = "only-for-this-test-7f3a";

/// A guard of TLS and users, with what it is made of.
pub(super) struct Guarded {
    pub(super) guard: RedisGuard,
    pub(super) certificates: Certificates,
    _folder: TempDir,
}

pub(super) fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/redis");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// The samples as they stand, but for their passwords, paths and the cluster's name (each test has its own), and with a
/// user of every right for the test itself.
pub(super) fn guarded(settings: &[&str], flaw: Flaw) -> Option<Guarded> {
    let certificates = Certificates::new(flaw)?;
    let folder = TempDir::new("guard").unwrap();
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tls = certificates.folder().display().to_string();
    let settings: Vec<String> = settings
        .iter()
        .chain(&["tls.conf"])
        .map(|name| sample(name))
        .collect();
    let users = |name: &str| {
        let text = sample(name).replace("CHANGE-ME", PASSWORD);
        let text = text.replace("{campanile:campanile}", "{campanile:*}");
        format!("{text}user tester on >{PASSWORD} ~* &* +@all\n")
    };
    // The lines that stand there for whoever has users.
    let sentinel_users = write("sentinel-users.acl", users("sentinel-users.acl"));
    let sentinel = sample("sentinel.conf")
        .replace("# sentinel ", "sentinel ")
        .replace(
            "# aclfile /etc/redis/sentinel-users.acl",
            &format!("aclfile {}", sentinel_users.display()),
        )
        .replace("CHANGE-ME", PASSWORD);
    let guard = RedisGuard {
        config: Some(write(
            "redis.conf",
            settings.join("\n").replace("/etc/redis/tls", &tls),
        )),
        tls: Some(certificates.folder()),
        users: Some(RedisUsers {
            servers: write("users.acl", users("users.acl")),
            password: PASSWORD.to_owned(),
        }),
        sentinel: Some(sentinel),
    };
    Some(Guarded {
        guard,
        certificates,
        _folder: folder,
    })
}

/// A server with its lock's URL, and what it is made of.
struct Form<S> {
    _server: S,
    url: String,
    _guarded: Option<Guarded>,
}

/// The one of this process; its last test ends it.
struct Shared<S>(Mutex<Weak<Form<S>>>);

impl<S: Send + Sync + 'static> Shared<S> {
    const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    fn handles(&self, start: impl FnOnce() -> Option<Form<S>>) -> Option<Handles> {
        let mut here = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let form = match here.upgrade() {
            Some(form) => form,
            None => Arc::new(start()?),
        };
        *here = Arc::downgrade(&form);
        drop(here);
        let cluster = fresh_name();
        let (a, b) = (lock_at(&form.url, &cluster), lock_at(&form.url, &cluster));
        Some(Handles::new(a, b).keeping(form))
    }
}

/// The URL's part that says who we are.
pub(super) fn user() -> String {
    format!("campanile:{PASSWORD}@")
}

fn tls_single() -> Option<Form<Redis>> {
    let guarded = guarded(&["redis.conf"], Flaw::None)?;
    let server = or_skip(Redis::start_guarded(guarded.guard.clone(), &[]))?;
    let (port, ca) = (server.tls_port().unwrap(), guarded.certificates.ca());
    Some(Form {
        url: format!("rediss://{}127.0.0.1:{port}?{ca}", user()),
        _server: server,
        _guarded: Some(guarded),
    })
}

pub(super) fn sentinels(guard: RedisGuard) -> SentinelOptions {
    SentinelOptions {
        replicas: 1,
        guard,
        ..SentinelOptions::default()
    }
}

fn open_sentinel() -> Option<Form<Sentinel>> {
    let group = or_skip(Sentinel::start_with(&sentinels(RedisGuard::default())))?;
    Some(Form {
        url: group.url(),
        _server: group,
        _guarded: None,
    })
}

fn tls_sentinel() -> Option<Form<Sentinel>> {
    let guarded = guarded(&["redis.conf"], Flaw::None)?;
    let group = or_skip(Sentinel::start_with(&sentinels(guarded.guard.clone())))?;
    Some(Form {
        url: sentinel_url(&group, &guarded),
        _server: group,
        _guarded: Some(guarded),
    })
}

/// The URL of a group behind a guard.
pub(super) fn sentinel_url(group: &Sentinel, guarded: &Guarded) -> String {
    let open = group.url();
    let (_, hosts) = open.split_once("://").unwrap();
    format!(
        "rediss+sentinel://{}{hosts}?{}&sentinel_username=campanile&sentinel_password={PASSWORD}",
        user(),
        guarded.certificates.ca()
    )
}

fn open_cluster() -> Option<Form<Arc<RedisCluster>>> {
    let cluster = or_skip(RedisCluster::shared())?;
    Some(Form {
        url: cluster.url(),
        _server: cluster,
        _guarded: None,
    })
}

fn tls_cluster() -> Option<Form<RedisCluster>> {
    let guarded = guarded(&["redis.conf", "cluster.conf"], Flaw::None)?;
    let cluster = or_skip(RedisCluster::start_guarded(guarded.guard.clone()))?;
    Some(Form {
        url: cluster_url(&cluster, &guarded),
        _server: cluster,
        _guarded: Some(guarded),
    })
}

/// The URL of a cluster behind a guard.
pub(super) fn cluster_url(cluster: &RedisCluster, guarded: &Guarded) -> String {
    let ca = guarded.certificates.ca();
    format!("rediss+cluster://{}{}?{ca}", user(), cluster.hosts())
}

macro_rules! form {
    ($name:ident, $server:ty, $start:path) => {
        mod $name {
            use super::*;

            async fn two_handles() -> Option<Handles> {
                static HERE: Shared<$server> = Shared::new();
                HERE.handles($start)
            }

            campanile_conformance::lock!(two_handles);
        }
    };
}

// The single server without TLS and users is in `lock.rs`: the run shares it.
form!(single_with_tls_and_users, Redis, tls_single);
form!(sentinel, Sentinel, open_sentinel);
form!(sentinel_with_tls_and_users, Sentinel, tls_sentinel);
form!(cluster, Arc<RedisCluster>, open_cluster);
form!(cluster_with_tls_and_users, RedisCluster, tls_cluster);
