//! The servers that nodes share: the store, who decides who tries to lead, and what carries runs to workers. Some are a
//! stand's own and broken on purpose; others are shared by several stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xtask::servers::{ActiveMq, Postgres, PostgresOptions, Redis, Sentinel, TempDir, Tmpfs};

use crate::Outcome;
use crate::book::{Book, Way};

pub enum Store {
    /// A server and the database in it.
    Postgres(Arc<Postgres>, String),
    Sqlite {
        file: PathBuf,
        /// The disk that it lies on, where there can be one: unmounted before its folder is removed.
        disk: Option<Tmpfs>,
        _folder: TempDir,
    },
}

impl Store {
    /// A server of its own that writes to the disk for true, with a new database.
    pub fn postgres(settings: &[(&str, &str)], disk_mib: Option<u32>) -> Outcome<Self> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options = PostgresOptions {
            fsync: true,
            settings: settings.iter().map(own).collect(),
            disk_mib,
        };
        Self::database(&Arc::new(Postgres::start_with(options)?), "field")
    }

    /// A new database on a server.
    pub fn database(server: &Arc<Postgres>, name: &str) -> Outcome<Self> {
        let url = server.create_database(name)?;
        Ok(Self::Postgres(Arc::clone(server), url))
    }

    /// A file, on a disk of its own of this size where one can be mounted.
    pub fn sqlite(disk_mib: Option<u32>) -> Outcome<Self> {
        let folder = TempDir::new("sqlite")?;
        let disk = disk_mib.and_then(|mib| Tmpfs::mount(folder.path(), mib, None).ok());
        Ok(Self::Sqlite {
            file: folder.join("store.db"),
            disk,
            _folder: folder,
        })
    }

    /// The disk that can be filled.
    pub fn disk(&self) -> Option<&Tmpfs> {
        match self {
            Self::Postgres(server, _) => server.disk(),
            Self::Sqlite { disk, .. } => disk.as_ref(),
        }
    }

    pub fn book(&self) -> Book {
        Book::new(match self {
            Self::Postgres(server, url) => Way::Postgres(Arc::clone(server), url.clone()),
            Self::Sqlite { file, .. } => Way::Sqlite(file.clone()),
        })
    }

    /// The URL for a node.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(_, url) => url.clone(),
            Self::Sqlite { file, .. } => format!("sqlite:{}", file.display()),
        }
    }

    /// Its port, where it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Postgres(server, _) => Some(server.port()),
            Self::Sqlite { .. } => None,
        }
    }
}

/// What decides who tries to lead.
pub enum Lock {
    Redis(Arc<Redis>),
    Sentinel(Sentinel),
    /// A row in the store.
    InStore,
    /// Nothing: each scheduler is told that the lock is its own.
    Lie,
}

impl Lock {
    /// The URL for a node.
    pub fn url(&self) -> String {
        match self {
            Self::Redis(redis) => redis.url(),
            Self::Sentinel(sentinel) => sentinel.url(),
            Self::InStore | Self::Lie => "store:".to_owned(),
        }
    }
}

pub struct Servers {
    /// Where tasks and runs are kept.
    pub store: Store,
    pub lock: Lock,
    /// What carries runs to workers; nothing = each process for itself.
    pub broker: Option<Arc<ActiveMq>>,
}

impl Servers {
    /// Starts servers of their own, side by side.
    pub fn start(
        store: impl FnOnce() -> Outcome<Store> + Send,
        lock: impl FnOnce() -> Outcome<Lock> + Send,
    ) -> Outcome<Self> {
        let (store, lock, broker) = std::thread::scope(|scope| {
            let store = scope.spawn(store);
            let lock = scope.spawn(lock);
            let broker = scope.spawn(ActiveMq::start);
            (store.join(), lock.join(), broker.join())
        });
        let broker = broker.map_err(|_| "ActiveMQ's start panicked")??;
        Ok(Self {
            store: store.map_err(|_| "the store's start panicked")??,
            lock: lock.map_err(|_| "the lock's start panicked")??,
            broker: Some(Arc::new(broker)),
        })
    }

    /// The broker of a scene that has one.
    pub fn broker(&self) -> Outcome<&ActiveMq> {
        Ok(self.broker.as_deref().ok_or("this stand has no broker")?)
    }

    /// Copies the servers' logs into `folder`, for whoever looks for the reason of a failure.
    pub fn keep_logs(&self, folder: &Path) {
        let mut own: Vec<&Path> = Vec::new();
        own.extend(self.broker.as_ref().map(|broker| broker.folder()));
        match &self.lock {
            Lock::Redis(redis) => own.push(redis.folder()),
            Lock::Sentinel(sentinel) => own.push(sentinel.folder()),
            Lock::InStore | Lock::Lie => {}
        }
        if let Store::Postgres(server, _) = &self.store {
            own.push(server.folder());
        }
        for entry in own.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let _ = std::fs::copy(&path, folder.join(entry.file_name()));
            }
        }
    }
}
