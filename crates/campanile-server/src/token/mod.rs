//! The bearer tokens of API and pages: which are in force, how a presented one is compared, which are too weak. There is
//! no default token: one is configured, or one is made at the first start and kept beside the SQLite file. Two may be in
//! force at once, so that a cluster can change its token without refusing anybody. How a file is read and written is in
//! [`mod@file`], what is weak in [`strength`].

pub mod file;
pub mod strength;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use campanile_core::system::Random;
use sha2::{Digest as _, Sha256};

use self::file::Owner;
use crate::config::Settings;
use crate::modes;

pub use self::strength::check;

const PREFIX: &str = "cmp_";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None is configured, and there is no place for one.
    #[error(
        "role `api` needs a token, and there is none: set `token_file`, or `token` (CAMPANILE_TOKEN); every node of a \
         cluster gets the same; with a SQLite store one is made at the first start"
    )]
    Missing,
    /// Its file can't be used.
    #[error("can't use the token in {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a presented token is compared with: the digest, so that the token itself is held nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Expected([u8; 32]);

impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expected(…)")
    }
}

impl Expected {
    /// Of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(digest(token))
    }

    /// Whether this is the token. Takes the same time wherever the first difference is.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        let presented = digest(presented);
        let difference = self
            .0
            .iter()
            .zip(presented)
            .fold(0_u8, |all, (a, b)| all | (a ^ b));
        difference == 0
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Where the tokens come from.
#[derive(Debug)]
enum Origin {
    /// Nowhere: nobody is let in.
    None,
    /// The settings, which stay as they are.
    Settings,
    /// A file, which may change.
    File(PathBuf, Owner),
}

/// The tokens in force, shared by all that compare.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Origin,
    now: RwLock<Vec<Expected>>,
}

/// What reading the tokens again has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// How many are in force.
    pub tokens: usize,
    /// Whether they are others than before.
    pub changed: bool,
}

impl Tokens {
    fn new(origin: Origin, now: Vec<Expected>) -> Self {
        let now = RwLock::new(now);
        Self(Arc::new(Inner { origin, now }))
    }

    /// None: nobody is let in.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Origin::None, Vec::new())
    }

    /// This one, for ever.
    #[must_use]
    pub fn fixed(token: &str) -> Self {
        Self::new(Origin::Settings, vec![Expected::of(token)])
    }

    /// Whether there are any.
    #[must_use]
    pub fn exist(&self) -> bool {
        !self.now().is_empty()
    }

    /// Whether a presented token is one of them. Takes the same time whichever it is.
    #[must_use]
    pub fn hold(&self, presented: &str) -> bool {
        self.now()
            .iter()
            .fold(false, |any, one| any | one.is(presented))
    }

    /// Reads the file again, if they come from one.
    ///
    /// # Errors
    /// The file can't be used: the tokens stay as they were.
    pub fn reload(&self) -> Result<Reloaded, Error> {
        let mut changed = false;
        if let Origin::File(path, owner) = &self.0.origin {
            let read = read(path, *owner)?.expected();
            let mut now = self.0.now.write().unwrap_or_else(PoisonError::into_inner);
            changed = *now != read;
            *now = read;
        }
        let tokens = self.now().len();
        Ok(Reloaded { tokens, changed })
    }

    fn now(&self) -> std::sync::RwLockReadGuard<'_, Vec<Expected>> {
        self.0.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token that was made for a store and that nobody has seen yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The token.
    pub token: String,
    /// The file that holds it.
    pub path: PathBuf,
}

impl std::fmt::Debug for Unseen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unseen({})", self.path.display())
    }
}

/// What requests of a node with these settings are checked against, and the token itself as long as nobody has seen it.
///
/// # Errors
/// Nobody could ever be let in, and the node has the role `api`.
pub fn of(settings: &Settings, random: &Random) -> Result<(Tokens, Option<Unseen>), Error> {
    if let Some(token) = &settings.http.token {
        return Ok((Tokens::fixed(token.reveal()), None));
    }
    if let Some(path) = &settings.http.token_file {
        let owner = Owner::Anybody;
        let held = read(path, owner)?;
        let origin = Origin::File(path.clone(), owner);
        return Ok((Tokens::new(origin, held.expected()), None));
    }
    if !settings.node.roles.api {
        return Ok((Tokens::none(), None));
    }
    let path = file_of(settings.cluster.store.reveal()).ok_or(Error::Missing)?;
    let held = match file::load_or_create(&path, random) {
        Ok(held) => held,
        Err(source) => return Err(Error::File { path, source }),
    };
    let unseen = held.unseen.then(|| Unseen {
        token: held.first().to_owned(),
        path: path.clone(),
    });
    let origin = Origin::File(path, Owner::Us);
    Ok((Tokens::new(origin, held.expected()), unseen))
}

fn read(path: &Path, owner: Owner) -> Result<file::Held, Error> {
    file::read(path, owner).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

/// A new token: 256 random bits behind a prefix that secret scanners can know.
#[must_use]
pub fn generate(random: &Random) -> String {
    format!("{PREFIX}{}", hex::encode(random.secret()))
}

/// Where the token of a store is kept, if the store is a file of this machine.
#[must_use]
pub fn file_of(store: &str) -> Option<PathBuf> {
    let mut path = modes::database(store)?.into_os_string();
    path.push(".token");
    Some(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_this_machine_has_a_token_beside_it() {
        assert_eq!(file_of("sqlite:a.db"), Some("a.db.token".into()));
        assert_eq!(
            file_of("sqlite:///v/a.db?x=1"),
            Some("/v/a.db.token".into())
        );
        assert_eq!(file_of("sqlite::memory:"), None);
        assert_eq!(file_of("postgres://h/d"), None);
    }

    #[test]
    fn two_tokens_are_in_force_at_once_and_a_file_is_read_anew() {
        let folder = xtask::servers::TempDir::new("token").unwrap();
        let path = folder.join("tokens");
        let random = Random::from_seed(3);
        let (one, two) = (generate(&random), generate(&random));
        let put = |text: String| modes::write_secret(&path, &text, false).unwrap();
        put(format!("# the cluster's\n{one}\n"));
        let held = read(&path, Owner::Anybody).unwrap().expected();
        let tokens = Tokens::new(Origin::File(path.clone(), Owner::Anybody), held);
        let shared = tokens.clone();
        assert!(shared.hold(&one) && !shared.hold(&two) && !shared.hold(&one[1..]));
        put(format!("{two}\n{one}\n"));
        let got = tokens.reload().unwrap();
        assert_eq!((got.tokens, got.changed), (2, true));
        assert!(shared.hold(&one) && shared.hold(&two));
        assert!(!tokens.reload().unwrap().changed);
        put(format!("{two}\n"));
        tokens.reload().unwrap();
        assert!(!shared.hold(&one) && shared.hold(&two));
        // What can't be used changes nothing.
        put("changeme-changeme\n".to_owned());
        assert!(tokens.reload().is_err());
        assert!(shared.hold(&two));
        assert!(!Tokens::none().exist() && !Tokens::none().hold(""));
    }
}
