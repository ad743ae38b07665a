//! Users and sessions over SQL: [`LoginStore`], statement by statement. What changes something goes through the pen of
//! people; that a session is used is noted without one, for it is nobody's act.

use async_trait::async_trait;
use campanile_access::audit::Deed;
use campanile_core::actor::Actor;
use campanile_core::limits::PAGE_ROWS_MAX;
use campanile_core::port::Written;
use campanile_core::port::store::Error;
use campanile_login::session::{ALL_MAX, Found, Key, OF_ONE_MAX, SEEN_EVERY, Session};
use campanile_login::store::{LoginStore, Opened, Put, Which};
use campanile_login::user::{Kept, USERS_MAX, User};
use campanile_login::{Kind, Rights};
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::mariadb::steps;
use crate::sql::pen::{Record, as_editor};
use crate::sql::points::PEOPLE;
use crate::sql::statement::Statement;
use crate::sql::store::{Store, first};
use crate::sql::value::{Arg, Row};

const USER: &str = "user";
const SESSION: &str = "session";

/// Users, a page of them.
static USERS: Statement = Statement::new(
    "SELECT name, role, data, scope, disabled, created_at, password_at, version FROM campanile_user
     WHERE name > :after ORDER BY name LIMIT :limit",
);

/// One user, with what is kept of his password.
static ONE_USER: Statement = Statement::new(
    "SELECT name, role, data, scope, disabled, created_at, password_at, version, password FROM campanile_user WHERE name = :name",
);

/// How many there are.
static COUNT_USERS: Statement = Statement::new("SELECT COUNT(*) FROM campanile_user");

/// A new user; whose name is taken changes nothing.
static ADD_USER: Statement = Statement::new(
    "INSERT INTO campanile_user (name, password, role, data, scope, disabled, created_at, password_at, version)
     VALUES (:name, :password, :role, :data, :scope, :disabled, :created_at, :password_at, 1) ON CONFLICT (name) DO NOTHING",
)
.on_mariadb(steps::ADD_USER);

/// Changes a user who is as he was seen; an empty password leaves the old one.
static CHANGE_USER: Statement = Statement::new(
    "UPDATE campanile_user SET role = :role, data = :data, scope = :scope, disabled = :disabled, password_at = :password_at,
     password = CASE WHEN :password = '' THEN password ELSE :password END, version = version + 1
     WHERE name = :name AND version = :expected",
);

/// Removes a user.
static DROP_USER: Statement = Statement::new("DELETE FROM campanile_user WHERE name = :name");

/// A session, with the local user whose it is.
static ONE_SESSION: Statement = Statement::new(
    "SELECT s.digest, s.kind, s.subject, s.name, s.group_names, s.created_at, s.seen_at, s.address, s.agent,
     u.name, u.role, u.data, u.scope, u.disabled, u.created_at, u.password_at, u.version
     FROM campanile_session AS s LEFT JOIN campanile_user AS u ON s.kind = :local AND u.name = s.subject WHERE s.digest = :digest",
);

/// Sessions that are not over.
static SESSIONS: Statement = Statement::new(
    "SELECT digest, kind, subject, name, group_names, created_at, seen_at, address, agent FROM campanile_session
     WHERE seen_at > :idle AND created_at > :aged ORDER BY created_at DESC, digest DESC LIMIT :limit",
);

/// How many there are.
static COUNT_SESSIONS: Statement = Statement::new("SELECT COUNT(*) FROM campanile_session");

/// Puts a session.
static ADD_SESSION: Statement = Statement::new(
    "INSERT INTO campanile_session (digest, kind, subject, name, group_names, created_at, seen_at, address, agent)
     VALUES (:digest, :kind, :subject, :name, :groups, :created_at, :seen_at, :address, :agent)",
);

/// Notes that a session is used, at most once in a while.
static SEEN: Statement = Statement::new(
    "UPDATE campanile_session SET seen_at = :now WHERE digest = :digest AND seen_at <= :before",
);

/// What is over.
static DROP_OVER: Statement =
    Statement::new("DELETE FROM campanile_session WHERE seen_at <= :idle OR created_at <= :aged");

/// One session.
static DROP_ONE: Statement = Statement::new("DELETE FROM campanile_session WHERE digest = :digest");

/// One session, by what people call it.
static DROP_ID: Statement =
    Statement::new("DELETE FROM campanile_session WHERE substr(digest, 1, 16) = :id");

/// All sessions of somebody.
static DROP_OF: Statement =
    Statement::new("DELETE FROM campanile_session WHERE kind = :kind AND subject = :subject");

/// Those of somebody that were not used for longest, beyond so many.
static DROP_MORE: Statement = Statement::new(
    "DELETE FROM campanile_session WHERE digest IN (SELECT digest FROM campanile_session
     WHERE kind = :kind AND subject = :subject ORDER BY seen_at DESC, digest DESC LIMIT 1000000 OFFSET :keep)",
)
.on_mariadb(steps::DROP_MORE_SESSIONS);

fn count(n: usize) -> Arg {
    i64::try_from(n).unwrap_or(i64::MAX).into()
}

fn user_of(row: &mut Row) -> Result<User, Error> {
    let name = row.text(USER)?;
    user_called(name, row)
}

fn user_called(name: String, row: &mut Row) -> Result<User, Error> {
    let unread = |what: &str, message: String| Error::Corrupt {
        table: USER,
        row: None,
        message: format!("the {what} of `{name}`: {message}"),
    };
    let role = row.text(USER)?.parse().map_err(|e| unread("role", e))?;
    let data = row.int(USER)? != 0;
    let scope =
        serde_json::from_str(&row.text(USER)?).map_err(|e| unread("scope", e.to_string()))?;
    Ok(User {
        rights: Rights::of(role).with_data(data).within(scope),
        disabled: row.int(USER)? != 0,
        created_at: Timestamp::from_ms(row.int(USER)?),
        password_at: Timestamp::from_ms(row.int(USER)?),
        version: row.int(USER)?,
        name,
    })
}

fn session_of(row: &mut Row) -> Result<Session, Error> {
    let unread = |message: String| Error::Corrupt {
        table: SESSION,
        row: None,
        message,
    };
    let key = Key::from_kept(row.text(SESSION)?);
    let kind = row.text(SESSION)?;
    let known = Kind::ALL.into_iter().find(|k| k.as_str() == kind);
    Ok(Session {
        key,
        kind: known.ok_or_else(|| unread(format!("`{kind}` is no way in")))?,
        subject: row.text(SESSION)?,
        name: row.text(SESSION)?,
        groups: serde_json::from_str(&row.text(SESSION)?).map_err(|e| unread(e.to_string()))?,
        created_at: Timestamp::from_ms(row.int(SESSION)?),
        seen_at: Timestamp::from_ms(row.int(SESSION)?),
        address: row.text(SESSION)?,
        agent: row.text(SESSION)?,
    })
}

fn over(now: Timestamp) -> [(&'static str, Arg); 2] {
    let (idle, aged) = Session::cutoffs(now);
    [("idle", idle.as_ms().into()), ("aged", aged.as_ms().into())]
}

/// Texts of strangers go into the store without what it can't keep.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::from(Error::Refused(Box::new(e))))
}

async fn drop_of(tx: &mut Tx, kind: Kind, subject: &str) -> Result<u64, Failure> {
    let args = [("kind", kind.as_str().into()), ("subject", subject.into())];
    tx.write(&DROP_OF, &args).await
}

async fn counted(tx: &mut Tx, statement: &Statement, table: &'static str) -> Result<i64, Failure> {
    let rows = tx.rows(statement, &[]).await?;
    Ok(first(rows, table)?.int(table)?)
}

/// What the audit holds of a user: nothing of the password but that there is a new one.
fn told(put: &Put) -> Value {
    json!({
        "rights": put.user.rights,
        "disabled": put.user.disabled,
        "password": put.password.as_ref().map(|_| "new"),
    })
}

async fn put_in(tx: &mut Tx, put: &Put) -> Result<Verdict<Written>, Failure> {
    let user = &put.user;
    let mut args = vec![
        ("name", user.name.as_str().into()),
        (
            "password",
            put.password.as_deref().unwrap_or_default().into(),
        ),
        ("role", user.rights.role().as_str().into()),
        ("data", i64::from(user.rights.data()).into()),
        ("scope", json(user.rights.scope())?.as_str().into()),
        ("disabled", i64::from(user.disabled).into()),
        ("created_at", user.created_at.as_ms().into()),
        ("password_at", user.password_at.as_ms().into()),
    ];
    let changed = match put.expected {
        Some(expected) => {
            args.push(("expected", expected.into()));
            tx.write(&CHANGE_USER, &args).await?
        }
        None if put.password.is_none() => {
            return Err(Error::Refused("a user without a password".into()).into());
        }
        None => {
            let most = i64::try_from(USERS_MAX).unwrap_or(i64::MAX);
            if counted(tx, &COUNT_USERS, USER).await? >= most {
                return Ok(Verdict::Rollback(Written::Stale));
            }
            tx.write_if_free(&ADD_USER, &args).await?
        }
    };
    if changed == 0 {
        return Ok(Verdict::Rollback(Written::Stale));
    }
    if put.ends_sessions {
        drop_of(tx, Kind::User, &user.name).await?;
    }
    Ok(Verdict::Commit(Written::Applied))
}

async fn open_in(
    tx: &mut Tx,
    session: &Session,
    instead_of: Option<&Key>,
) -> Result<Verdict<Opened>, Failure> {
    tx.write(&DROP_OVER, &over(session.created_at)).await?;
    if let Some(key) = instead_of {
        tx.write(&DROP_ONE, &[("digest", key.as_str().into())])
            .await?;
    }
    let most = i64::try_from(ALL_MAX).unwrap_or(i64::MAX);
    if counted(tx, &COUNT_SESSIONS, SESSION).await? >= most {
        return Ok(Verdict::Rollback(Opened::Full));
    }
    let subject = clean(&session.subject);
    let of_one = [
        ("kind", session.kind.as_str().into()),
        ("subject", subject.as_str().into()),
        ("keep", count(OF_ONE_MAX - 1)),
    ];
    tx.write(&DROP_MORE, &of_one).await?;
    let args = [
        ("digest", session.key.as_str().into()),
        ("kind", session.kind.as_str().into()),
        ("subject", subject.as_str().into()),
        ("name", clean(&session.name).as_str().into()),
        ("groups", json(&session.groups)?.as_str().into()),
        ("created_at", session.created_at.as_ms().into()),
        ("seen_at", session.seen_at.as_ms().into()),
        ("address", session.address.as_str().into()),
        ("agent", clean(&session.agent).as_str().into()),
    ];
    tx.write(&ADD_SESSION, &args).await?;
    Ok(Verdict::Commit(Opened::Open))
}

async fn close_in(tx: &mut Tx, which: &Which) -> Result<Verdict<usize>, Failure> {
    let closed = match which {
        Which::Own(key) => {
            tx.write(&DROP_ONE, &[("digest", key.as_str().into())])
                .await?
        }
        Which::Id(id) => tx.write(&DROP_ID, &[("id", id.as_str().into())]).await?,
        Which::Of(kind, subject) => drop_of(tx, *kind, subject).await?,
    };
    let closed = usize::try_from(closed).unwrap_or(usize::MAX);
    Ok(Verdict::Commit(closed))
}

#[async_trait]
impl LoginStore for Store {
    async fn users(&self, after: Option<&str>, limit: usize) -> Result<Vec<User>, Error> {
        let args = [
            ("after", after.unwrap_or_default().into()),
            ("limit", count(limit.min(PAGE_ROWS_MAX))),
        ];
        let rows = self.pools.reader.rows(&USERS, &args).await?;
        rows.into_iter().map(|mut row| user_of(&mut row)).collect()
    }

    async fn user(&self, name: &str) -> Result<Option<Kept>, Error> {
        let rows = self
            .pools
            .reader
            .rows(&ONE_USER, &[("name", name.into())])
            .await?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(Kept {
            user: user_of(&mut row)?,
            password: row.text(USER)?,
        }))
    }

    async fn put_user(&self, actor: &Actor, put: &Put, _at: Timestamp) -> Result<Written, Error> {
        let act = if put.expected.is_some() {
            "user.change"
        } else {
            "user.create"
        };
        let record = Record::act(actor, || {
            let deed = Deed::new(act, "user", &put.user.name);
            deed.changing(Value::Null, told(put))
        });
        let done = as_editor!(PEOPLE, self, &record, None, tx => put_in(tx, put))?;
        Ok(done.unwrap_or(Written::Stale))
    }

    async fn remove_user(
        &self,
        actor: &Actor,
        name: &str,
        _at: Timestamp,
    ) -> Result<Written, Error> {
        let record = Record::act(actor, || Deed::new("user.remove", "user", name));
        let done = as_editor!(PEOPLE, self, &record, None, tx => async {
            if tx.write(&DROP_USER, &[("name", name.into())]).await? == 0 {
                return Ok(Verdict::Rollback(Written::Stale));
            }
            drop_of(tx, Kind::User, name).await?;
            Ok(Verdict::Commit(Written::Applied))
        })?;
        Ok(done.unwrap_or(Written::Stale))
    }

    async fn open_session(
        &self,
        actor: &Actor,
        session: &Session,
        instead_of: Option<&Key>,
    ) -> Result<Opened, Error> {
        let whose = format!("{}:{}", session.kind.as_str(), session.name);
        let record = Record::act(actor, || Deed::new("session.open", "session", &whose));
        let done = as_editor!(PEOPLE, self, &record, None, tx => open_in(tx, session, instead_of))?;
        Ok(done.unwrap_or(Opened::Full))
    }

    async fn session(&self, key: &Key) -> Result<Option<Found>, Error> {
        let args = [
            ("digest", key.as_str().into()),
            ("local", Kind::User.as_str().into()),
        ];
        let rows = self.pools.reader.rows(&ONE_SESSION, &args).await?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let session = session_of(&mut row)?;
        let user = match row.opt_text(USER)? {
            Some(name) => Some(user_called(name, &mut row)?),
            None => None,
        };
        Ok(Some(Found { session, user }))
    }

    async fn seen(&self, key: &Key, now: Timestamp) -> Result<(), Error> {
        let args = [
            ("digest", key.as_str().into()),
            ("now", now.as_ms().into()),
            ("before", now.minus(SEEN_EVERY).as_ms().into()),
        ];
        self.pools.main.write(&SEEN, &args).await.map(drop)
    }

    async fn close_sessions(
        &self,
        actor: &Actor,
        which: &Which,
        _at: Timestamp,
    ) -> Result<usize, Error> {
        let whose = match which {
            Which::Own(_) => "own".to_owned(),
            Which::Id(id) => id.clone(),
            Which::Of(kind, name) => format!("{}:{name}", kind.as_str()),
        };
        let record = Record::act(actor, || Deed::new("session.close", "session", &whose));
        let done = as_editor!(PEOPLE, self, &record, None, tx => async {
            Ok(match close_in(tx, which).await? {
                Verdict::Commit(0) => Verdict::Rollback(0),
                verdict => verdict,
            })
        })?;
        Ok(done.unwrap_or(0))
    }

    async fn sessions(&self, now: Timestamp, limit: usize) -> Result<Vec<Session>, Error> {
        let [idle, aged] = over(now);
        let args = [idle, aged, ("limit", count(limit.min(PAGE_ROWS_MAX)))];
        let rows = self.pools.reader.rows(&SESSIONS, &args).await?;
        rows.into_iter()
            .map(|mut row| session_of(&mut row))
            .collect()
    }

    async fn sweep_sessions(&self, now: Timestamp) -> Result<usize, Error> {
        let gone = self.pools.main.write(&DROP_OVER, &over(now)).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}
