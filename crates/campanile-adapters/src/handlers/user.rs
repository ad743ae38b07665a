//! Who programs run as: the worker's own user, or one that its settings name, which is the way to keep them from the
//! worker itself. Owns the look into the machine's list of users, and what cron tells its commands of theirs.

use std::collections::BTreeMap;

use campanile_core::port::handler::Failure;
use nix::unistd::{Uid, User};

use super::supervise;

/// Where cron's commands look for others.
const LOGIN_PATH: &str = "/usr/bin:/bin";

/// A user, other than root, that a worker's programs run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs(User);

impl RunAs {
    /// The user of this name. Its groups are those of the machine's list at each start of a program.
    ///
    /// # Errors
    /// Why programs can't run as this user, with what to do.
    pub fn named(name: &str) -> Result<Self, String> {
        let user = match User::from_name(name) {
            Ok(Some(user)) => user,
            Ok(None) => {
                return Err(format!(
                    "`{}` is no user of this machine: make one (`useradd --system --shell /usr/sbin/nologin {0}`), or name \
                     another",
                    name.escape_debug()
                ));
            }
            Err(error) => {
                return Err(format!(
                    "the machine's list of users can't be read: {error}"
                ));
            }
        };
        if user.uid.is_root() || user.gid.as_raw() == 0 {
            return Err(format!(
                "`{name}` is root, or of its group, whom nothing contains: name a user that is only for programs"
            ));
        }
        Ok(Self(user))
    }

    /// The same, if this process can start programs as somebody else.
    ///
    /// # Errors
    /// It can't, or [`Self::named`]'s.
    pub fn from_here(name: &str) -> Result<Self, String> {
        let user = Self::named(name)?;
        if Uid::effective().is_root() {
            return Ok(user);
        }
        Err(format!(
            "only root can start programs as `{name}`, and this worker runs as {}: start it as root, which drops its rights \
             for each program, or leave this out and give the worker a user of its own",
            Uid::effective()
        ))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its number.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.0.uid.as_raw()
    }

    pub(super) const fn user(&self) -> &User {
        &self.0
    }

    pub(super) fn order(&self) -> supervise::RunAs {
        supervise::RunAs {
            name: self.0.name.clone(),
            uid: self.0.uid.as_raw(),
            gid: self.0.gid.as_raw(),
        }
    }
}

/// The worker's own user, as the machine lists it. Nothing that a task says has a part in it.
pub(super) fn own() -> Result<User, Failure> {
    let uid = Uid::current();
    let unlisted = |why: String| {
        Failure::not_allowed(format!(
            "handler.command.login: this worker's user ({uid}) is not in its machine's list of users{why}: add it there, \
             or leave `login` out"
        ))
    };
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(unlisted(String::new())),
        Err(error) => Err(Failure::retry(format!(
            "handler.command.login: the machine's list of users can't be read: {error}"
        ))),
    }
}

/// Puts into an environment what cron gives its commands, and answers the home in which they start.
pub(super) fn log_in(env: &mut BTreeMap<String, String>, user: &User) -> Result<String, Failure> {
    let home = user.dir.to_str().ok_or_else(|| {
        Failure::not_allowed("handler.command.login: the home of this worker's user is not UTF-8")
    })?;
    for name in ["USER", "LOGNAME"] {
        env.insert(name.to_owned(), user.name.clone());
    }
    for (name, value) in [("HOME", home), ("SHELL", "/bin/sh"), ("PATH", LOGIN_PATH)] {
        env.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    Ok(env.get("HOME").map_or(home, String::as_str).to_owned())
}
