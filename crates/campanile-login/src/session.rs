//! A session: what a browser's cookie stands for. 256 random bits are in the cookie alone; what is kept is their digest,
//! by which any node knows them again and nobody who reads the store can come in.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile_access::Kind;
use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::user::User;

/// A session that nobody uses for so long is over.
pub const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// A session is over after so long, however much it is used.
pub const AGE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// That it was used is written down at most once in this time.
pub const SEEN_EVERY: Duration = Duration::from_secs(60);
/// Sessions of one person: the one that was not used for longest makes room.
pub const OF_ONE_MAX: usize = 20;
/// Sessions of all.
pub const ALL_MAX: usize = 20_000;
/// What is kept of the groups that an identity provider names, in bytes.
pub const GROUPS_BYTES_MAX: usize = 8 * 1024;
/// How much of a browser's name is kept, in characters.
pub const AGENT_CHARS_MAX: usize = 200;

/// What the cookie holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token of {:?}", self.key())
    }
}

impl Token {
    #[must_use]
    pub fn new(random: &Random) -> Self {
        Self(random.secret())
    }

    /// The one that a cookie holds.
    #[must_use]
    pub fn read(cookie: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// For the cookie.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    #[must_use]
    pub fn key(&self) -> Key {
        Key(hex::encode(self.derived("key")))
    }

    /// What a form of this session carries: who can't read the page can't know it.
    #[must_use]
    pub fn form(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.derived("form"))
    }

    fn derived(&self, what: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"campanile session\0");
        hash.update(what.as_bytes());
        hash.update([0]);
        hash.update(self.0);
        hash.finalize().into()
    }
}

/// What is kept of a token: a digest, in hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Key {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it was kept.
    #[must_use]
    pub const fn from_kept(text: String) -> Self {
        Self(text)
    }

    /// What people call the session by.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub key: Key,
    /// By what he came in: [`Kind::User`] or [`Kind::Oidc`].
    pub kind: Kind,
    /// Whose it is: a local user's name, or the provider's unchanging name of somebody.
    pub subject: String,
    /// What people call him.
    pub name: String,
    /// The groups that the provider named, from which his rights are made at each request.
    pub groups: Vec<String>,
    pub created_at: Timestamp,
    /// Within [`SEEN_EVERY`].
    pub seen_at: Timestamp,
    /// Where he came in from.
    pub address: String,
    /// What his browser calls itself.
    pub agent: String,
}

/// A session with the local user whose it is, as he is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub session: Session,
    /// Of a local user's session: who is gone or disabled is not in.
    pub user: Option<User>,
}

impl Session {
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let (idle, aged) = Self::cutoffs(now);
        self.seen_at > idle && self.created_at > aged
    }

    /// What was last used, or made, at or before these is over.
    #[must_use]
    pub fn cutoffs(now: Timestamp) -> (Timestamp, Timestamp) {
        let before = |length: Duration| {
            let ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_ms(now.as_ms().saturating_sub(ms))
        };
        (before(IDLE_MAX), before(AGE_MAX))
    }

    /// Whether that it is used now is worth a write.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let since_ms = now.as_ms().saturating_sub(self.seen_at.as_ms());
        since_ms >= i64::try_from(SEEN_EVERY.as_millis()).unwrap_or(i64::MAX)
    }

    /// When it is over if it is used on and on.
    #[must_use]
    pub fn over_at(&self) -> Timestamp {
        self.created_at.plus(AGE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_and_tells_nothing_else() {
        let token = Token::new(&Random::from_seed(4));
        let read = Token::read(&token.reveal()).unwrap();
        assert_eq!(read.key(), token.key());
        assert_eq!(
            (token.key().as_str().len(), token.key().id().len()),
            (64, 16)
        );
        let shown = format!("{token:?} {:?}", token.key());
        assert!(
            !shown.contains(&token.reveal()) && !shown.contains(token.key().as_str()),
            "{shown}"
        );
        assert_ne!(
            hex::encode(URL_SAFE_NO_PAD.decode(token.form()).unwrap()),
            token.key().as_str()
        );
        for text in [
            "",
            "x",
            &token.reveal()[1..],
            &format!("{}A", token.reveal()),
            "!".repeat(43).as_str(),
        ] {
            assert!(Token::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_session_ends_by_idleness_and_by_age() {
        let at = |s: i64| Timestamp::from_ms(1_000_000_000 + s * 1_000);
        let session = |seen| Session {
            key: Token::new(&Random::from_seed(1)).key(),
            kind: Kind::User,
            subject: "ada".to_owned(),
            name: "ada".to_owned(),
            groups: Vec::new(),
            created_at: at(0),
            seen_at: at(seen),
            address: String::new(),
            agent: String::new(),
        };
        assert!(session(0).is_open(at(3_599)) && !session(0).is_open(at(3_600)));
        assert!(session(43_000).is_open(at(43_199)) && !session(43_000).is_open(at(43_200)));
        assert!(!session(0).is_stale(at(59)) && session(0).is_stale(at(60)));
        assert_eq!(session(0).over_at(), at(43_200));
    }
}
