//! Users and sessions in memory: what the suites compare databases with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use campanile_access::{Actor, Kind};
use campanile_core::port::Written;
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::session::{ALL_MAX, Found, Key, OF_ONE_MAX, Session};
use crate::store::{LoginStore, Opened, Put, Which};
use crate::user::{Kept, USERS_MAX, User};

/// The store. Share it as `Arc<MemoryLogins>`.
#[derive(Debug, Default)]
pub struct MemoryLogins(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    users: BTreeMap<String, Kept>,
    sessions: BTreeMap<Key, Session>,
}

impl MemoryLogins {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn sweep(&mut self, now: Timestamp) -> usize {
        let before = self.sessions.len();
        self.sessions.retain(|_, session| session.is_open(now));
        before - self.sessions.len()
    }

    fn close(&mut self, which: &Which) -> usize {
        let before = self.sessions.len();
        self.sessions.retain(|key, session| match which {
            Which::Own(own) => key != own,
            Which::Id(id) => key.id() != id,
            Which::Of(kind, subject) => session.kind != *kind || session.subject != *subject,
        });
        before - self.sessions.len()
    }

    fn close_of_user(&mut self, name: &str) {
        self.close(&Which::Of(Kind::User, name.to_owned()));
    }
}

#[async_trait]
impl LoginStore for MemoryLogins {
    async fn users(&self, after: Option<&str>, limit: usize) -> Result<Vec<User>, Error> {
        let tables = self.lock();
        let behind = tables.users.values().map(|kept| &kept.user);
        let behind = behind.filter(|user| after.is_none_or(|after| user.name.as_str() > after));
        Ok(behind.take(limit).cloned().collect())
    }

    async fn user(&self, name: &str) -> Result<Option<Kept>, Error> {
        Ok(self.lock().users.get(name).cloned())
    }

    async fn put_user(&self, _: &Actor, put: &Put, _: Timestamp) -> Result<Written, Error> {
        let mut tables = self.lock();
        let old = tables.users.get(&put.user.name).cloned();
        let is_full = old.is_none() && tables.users.len() >= USERS_MAX;
        if is_full || old.as_ref().map(|old| old.user.version) != put.expected {
            return Ok(Written::Stale);
        }
        let password = put.password.clone().or_else(|| old.map(|old| old.password));
        let Some(password) = password else {
            return Err(Error::Refused("a user without a password".into()));
        };
        let mut user = put.user.clone();
        user.version = put.expected.map_or(1, |version| version + 1);
        if put.ends_sessions {
            tables.close_of_user(&user.name);
        }
        tables
            .users
            .insert(user.name.clone(), Kept { user, password });
        Ok(Written::Applied)
    }

    async fn remove_user(&self, _: &Actor, name: &str, _: Timestamp) -> Result<Written, Error> {
        let mut tables = self.lock();
        if tables.users.remove(name).is_none() {
            return Ok(Written::Stale);
        }
        tables.close_of_user(name);
        Ok(Written::Applied)
    }

    async fn open_session(
        &self,
        _: &Actor,
        session: &Session,
        instead_of: Option<&Key>,
    ) -> Result<Opened, Error> {
        let mut tables = self.lock();
        tables.sweep(session.created_at);
        if let Some(key) = instead_of {
            tables.sessions.remove(key);
        }
        if tables.sessions.len() >= ALL_MAX {
            return Ok(Opened::Full);
        }
        let own = tables.sessions.values();
        let own = own.filter(|s| s.kind == session.kind && s.subject == session.subject);
        let mut own: Vec<(Timestamp, Key)> = own.map(|s| (s.seen_at, s.key.clone())).collect();
        own.sort_by(|a, b| b.cmp(a));
        for (_, key) in own.iter().skip(OF_ONE_MAX - 1) {
            tables.sessions.remove(key);
        }
        tables.sessions.insert(session.key.clone(), session.clone());
        Ok(Opened::Open)
    }

    async fn session(&self, key: &Key) -> Result<Option<Found>, Error> {
        let tables = self.lock();
        Ok(tables.sessions.get(key).cloned().map(|session| Found {
            user: (session.kind == Kind::User)
                .then(|| {
                    tables
                        .users
                        .get(&session.subject)
                        .map(|kept| kept.user.clone())
                })
                .flatten(),
            session,
        }))
    }

    async fn seen(&self, key: &Key, now: Timestamp) -> Result<(), Error> {
        if let Some(session) = self.lock().sessions.get_mut(key)
            && session.is_stale(now)
        {
            session.seen_at = now;
        }
        Ok(())
    }

    async fn close_sessions(&self, _: &Actor, which: &Which, _: Timestamp) -> Result<usize, Error> {
        Ok(self.lock().close(which))
    }

    async fn sessions(&self, now: Timestamp, limit: usize) -> Result<Vec<Session>, Error> {
        let tables = self.lock();
        let open = tables.sessions.values().filter(|s| s.is_open(now));
        let mut open: Vec<Session> = open.cloned().collect();
        open.sort_by(|a, b| (b.created_at, &b.key).cmp(&(a.created_at, &a.key)));
        open.truncate(limit);
        Ok(open)
    }

    async fn sweep_sessions(&self, now: Timestamp) -> Result<usize, Error> {
        Ok(self.lock().sweep(now))
    }
}
