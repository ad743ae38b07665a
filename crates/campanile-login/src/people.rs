//! What is done with users and sessions by who may ([`Right::People`]): each function asks first, then checks what it was
//! given, then writes. Nobody gives more than he has, and nobody takes over who has more.

use std::sync::Arc;

use campanile_access::{Actor, Denied, Kind, Right, Rights};
use campanile_core::port::{Written, store};
use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;

use crate::password::{self, Passwords};
use crate::session::Session;
use crate::store::{LoginStore, Put, Which};
use crate::user::{USERS_MAX, User, read_name};

/// Whether a text may be the password of the user of this name; else why not.
pub type Strength = fn(&str, &str) -> Result<(), String>;

/// Why it was not done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Denied(#[from] Box<Denied>),
    #[error("no user `{0}`: `campanile user list` shows them")]
    NoUser(String),
    #[error("no session `{0}`: `campanile session list` shows them")]
    NoSession(String),
    #[error("{field}: {message}")]
    Invalid {
        field: &'static str,
        message: String,
    },
    /// The name is taken, or there are as many as there may be.
    #[error(
        "there is a user `{0}` already, or {USERS_MAX} of them: take another name, or change that one"
    )]
    Taken(String),
    /// Somebody else changed the user meanwhile.
    #[error("the user `{0}` was changed by somebody else meanwhile: look again")]
    Changed(String),
    #[error(transparent)]
    Password(#[from] password::Error),
    #[error("the store is not available")]
    Unavailable(#[from] store::Error),
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::Denied(Box::new(denied))
    }
}

/// Users and sessions, for who may.
pub struct People {
    store: Arc<dyn LoginStore>,
    passwords: Passwords,
    random: Arc<Random>,
    strength: Strength,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("People")
    }
}

fn may(actor: &Actor) -> Result<(), Error> {
    Ok(actor.check_everywhere(Right::People, "who may come in")?)
}

/// Refuses who has less than is given, or than somebody has whom he would take over.
fn covers(actor: &Actor, rights: &Rights) -> Result<(), Error> {
    if actor.rights().cover(rights) {
        return Ok(());
    }
    let why = format!("has less than is asked for ({rights})");
    Err(actor.denied(Right::People, why).into())
}

fn name_of(text: &str) -> Result<String, Error> {
    read_name(text).map_err(|message| Error::Invalid {
        field: "name",
        message,
    })
}

impl People {
    #[must_use]
    pub fn new(
        store: Arc<dyn LoginStore>,
        passwords: Passwords,
        random: Arc<Random>,
        strength: Strength,
    ) -> Self {
        Self {
            store,
            passwords,
            random,
            strength,
        }
    }

    /// Users by name, behind this one.
    ///
    /// # Errors
    /// He may not ask; the store's.
    pub async fn users(
        &self,
        actor: &Actor,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<User>, Error> {
        may(actor)?;
        Ok(self.store.users(after, limit).await?)
    }

    /// One user.
    ///
    /// # Errors
    /// As [`Self::users`]; there is none.
    pub async fn user(&self, actor: &Actor, name: &str) -> Result<User, Error> {
        may(actor)?;
        let name = name_of(name)?;
        let kept = self.store.user(&name).await?;
        kept.map(|kept| kept.user).ok_or(Error::NoUser(name))
    }

    /// Makes a user.
    ///
    /// # Errors
    /// As [`Self::users`]; the name is taken, or the password too weak.
    pub async fn add(
        &self,
        actor: &Actor,
        name: &str,
        password: String,
        rights: Rights,
        now: Timestamp,
    ) -> Result<User, Error> {
        may(actor)?;
        covers(actor, &rights)?;
        let name = name_of(name)?;
        let kept = self.hash(&name, password).await?;
        let user = User {
            name: name.clone(),
            rights,
            disabled: false,
            created_at: now,
            password_at: now,
            version: 1,
        };
        let put = Put {
            expected: None,
            user,
            password: Some(kept),
            ends_sessions: false,
        };
        match self.store.put_user(actor, &put, now).await? {
            Written::Applied => Ok(put.user),
            Written::Stale => Err(Error::Taken(name)),
        }
    }

    /// Gives a user another password, and ends his sessions.
    ///
    /// # Errors
    /// As [`Self::users`]; there is no such user, or the password is too weak.
    pub async fn set_password(
        &self,
        actor: &Actor,
        name: &str,
        password: String,
        now: Timestamp,
    ) -> Result<User, Error> {
        let mut user = self.user(actor, name).await?;
        covers(actor, &user.rights)?;
        let kept = self.hash(&user.name, password).await?;
        user.password_at = now;
        self.change(actor, user, Some(kept), true, now).await
    }

    /// Lets a user do something else from now on.
    ///
    /// # Errors
    /// As [`Self::users`]; there is no such user.
    pub async fn set_rights(
        &self,
        actor: &Actor,
        name: &str,
        rights: Rights,
        now: Timestamp,
    ) -> Result<User, Error> {
        let mut user = self.user(actor, name).await?;
        covers(actor, &user.rights)?;
        covers(actor, &rights)?;
        user.rights = rights;
        self.change(actor, user, None, false, now).await
    }

    /// Lets a user in no more, and ends his sessions; or lets him in again.
    ///
    /// # Errors
    /// As [`Self::users`]; there is no such user.
    pub async fn set_disabled(
        &self,
        actor: &Actor,
        name: &str,
        disabled: bool,
        now: Timestamp,
    ) -> Result<User, Error> {
        let mut user = self.user(actor, name).await?;
        covers(actor, &user.rights)?;
        user.disabled = disabled;
        self.change(actor, user, None, disabled, now).await
    }

    /// Removes a user, and ends his sessions.
    ///
    /// # Errors
    /// As [`Self::users`]; there is no such user.
    pub async fn remove(&self, actor: &Actor, name: &str, now: Timestamp) -> Result<(), Error> {
        let user = self.user(actor, name).await?;
        covers(actor, &user.rights)?;
        match self.store.remove_user(actor, &user.name, now).await? {
            Written::Applied => Ok(()),
            Written::Stale => Err(Error::NoUser(user.name)),
        }
    }

    /// Sessions that are not over, the newest first.
    ///
    /// # Errors
    /// As [`Self::users`].
    pub async fn sessions(
        &self,
        actor: &Actor,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        may(actor)?;
        Ok(self.store.sessions(now, limit).await?)
    }

    /// Ends one session.
    ///
    /// # Errors
    /// As [`Self::users`]; there is no such session.
    pub async fn end_session(&self, actor: &Actor, id: &str, now: Timestamp) -> Result<(), Error> {
        may(actor)?;
        let ended = self
            .store
            .close_sessions(actor, &Which::Id(id.to_owned()), now)
            .await?;
        if ended == 0 {
            return Err(Error::NoSession(id.chars().take(40).collect()));
        }
        Ok(())
    }

    /// Ends all sessions of a local user; answers how many.
    ///
    /// # Errors
    /// As [`Self::users`].
    pub async fn end_sessions_of(
        &self,
        actor: &Actor,
        name: &str,
        now: Timestamp,
    ) -> Result<usize, Error> {
        may(actor)?;
        let name = name_of(name)?;
        let which = Which::Of(Kind::User, name);
        Ok(self.store.close_sessions(actor, &which, now).await?)
    }

    async fn hash(&self, name: &str, password: String) -> Result<String, Error> {
        (self.strength)(&password, name).map_err(|message| Error::Invalid {
            field: "password",
            message,
        })?;
        Ok(self.passwords.hash(password, &self.random).await?)
    }

    async fn change(
        &self,
        actor: &Actor,
        mut user: User,
        password: Option<String>,
        ends_sessions: bool,
        now: Timestamp,
    ) -> Result<User, Error> {
        let put = Put {
            expected: Some(user.version),
            user: user.clone(),
            password,
            ends_sessions,
        };
        match self.store.put_user(actor, &put, now).await? {
            Written::Applied => {
                user.version += 1;
                Ok(user)
            }
            Written::Stale => Err(Error::Changed(user.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use campanile_access::{Role, Scope};

    use super::*;
    use crate::memory::MemoryLogins;

    fn people() -> People {
        let strength: Strength = |password, _| match password.len() {
            0..4 => Err("too short".to_owned()),
            _ => Ok(()),
        };
        let store = Arc::new(MemoryLogins::default());
        People::new(
            store,
            Passwords::default(),
            Arc::new(Random::from_seed(1)),
            strength,
        )
    }

    fn actor(rights: Rights) -> Actor {
        Actor::of(Kind::Token, "somebody", "a test", rights)
    }

    #[tokio::test]
    async fn nobody_gives_more_than_he_has_nor_takes_over_who_has_more() {
        let (people, now) = (people(), Timestamp::from_ms(1));
        let root = actor(Rights::all());
        let add = async |by: &Actor, name: &str, rights| {
            people
                .add(by, name, "long enough".to_owned(), rights, now)
                .await
        };
        add(&root, "Root", Rights::all()).await.unwrap();
        // An admin who sees no data makes nobody who does, and does not become one.
        let blind = actor(Rights::of(Role::Admin));
        let denied = |done: Result<User, Error>| matches!(done, Err(Error::Denied(_)));
        assert!(denied(
            add(&blind, "x", Rights::of(Role::Viewer).with_data(true)).await
        ));
        assert!(denied(
            people
                .set_password(&blind, "root", "long enough".to_owned(), now)
                .await
        ));
        assert!(denied(
            people
                .set_rights(&blind, "root", Rights::of(Role::Viewer), now)
                .await
        ));
        assert!(denied(people.set_disabled(&blind, "root", true, now).await));
        assert!(matches!(
            people.remove(&blind, "root", now).await,
            Err(Error::Denied(_))
        ));
        add(&blind, "y", Rights::of(Role::Admin)).await.unwrap();
        assert!(denied(
            people.set_rights(&blind, "y", Rights::all(), now).await
        ));
        // Who has no right to people does nothing of it, nor an admin of a part.
        let part = Rights::all().within(Scope::of(&["owner:a"]).unwrap());
        for rights in [Rights::of(Role::Editor).with_data(true), part] {
            let by = actor(rights);
            assert!(denied(add(&by, "z", Rights::of(Role::Viewer)).await));
            assert!(matches!(
                people.users(&by, None, 9).await,
                Err(Error::Denied(_))
            ));
            assert!(matches!(
                people.sessions(&by, now, 9).await,
                Err(Error::Denied(_))
            ));
            assert!(matches!(
                people.end_session(&by, "x", now).await,
                Err(Error::Denied(_))
            ));
            assert!(matches!(
                people.end_sessions_of(&by, "y", now).await,
                Err(Error::Denied(_))
            ));
        }
    }

    #[tokio::test]
    async fn a_user_is_made_and_changed() {
        let (people, now) = (people(), Timestamp::from_ms(1));
        let root = actor(Rights::all());
        let rights = || Rights::of(Role::Viewer);
        let weak = people
            .add(&root, "ada", "abc".to_owned(), rights(), now)
            .await;
        assert!(matches!(
            weak,
            Err(Error::Invalid {
                field: "password",
                ..
            })
        ));
        let odd = people
            .add(&root, "a b", "long enough".to_owned(), rights(), now)
            .await;
        assert!(matches!(odd, Err(Error::Invalid { field: "name", .. })));
        people
            .add(&root, "Ada", "long enough".to_owned(), rights(), now)
            .await
            .unwrap();
        let again = people
            .add(&root, "ada", "long enough".to_owned(), rights(), now)
            .await;
        assert!(matches!(again, Err(Error::Taken(_))));
        let changed = people.set_disabled(&root, "ADA", true, now).await.unwrap();
        assert!(changed.disabled && changed.version == 2);
        assert_eq!(people.user(&root, "ada").await.unwrap(), changed);
        people.remove(&root, "ada", now).await.unwrap();
        assert!(matches!(
            people.user(&root, "ada").await,
            Err(Error::NoUser(_))
        ));
        assert!(matches!(
            people.end_session(&root, "ada", now).await,
            Err(Error::NoSession(_))
        ));
    }
}
