//! A login that a browser has begun: one random value in a cookie, from which all that the protocol wants to be random is
//! derived. Nothing is kept of it on our side, so that whoever asks for a thousand logins takes no room, and any node can
//! finish what another began.
//!
//! `state`, `nonce` and the verifier of PKCE are digests of the whole cookie, the provider's name included: an answer fits
//! one cookie of one browser and one provider, and none of the three tells another.

use std::time::Duration;

use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{base64url, from_base64url};
use crate::same;

/// How long somebody may take at the provider.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(600);
/// The longest address within this service to go to afterwards.
const NEXT_BYTES_MAX: usize = 1_000;

/// A login that was begun.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What the cookie holds.
    text: String,
    begun_at: Timestamp,
    next: String,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt(begun at {})", self.begun_at)
    }
}

impl Attempt {
    /// A new one. `next` is where the browser goes afterwards, within this service.
    #[must_use]
    pub fn begin(random: &Random, now: Timestamp, next: &str) -> Self {
        let next = if next.len() > NEXT_BYTES_MAX {
            "/"
        } else {
            next
        };
        let (secret, path) = (base64url(&random.secret()), base64url(next.as_bytes()));
        Self {
            text: format!("{secret}.{}.{path}", now.as_ms()),
            begun_at: now,
            next: next.to_owned(),
        }
    }

    /// The one that a cookie holds, if it is one.
    #[must_use]
    pub fn read(cookie: &str) -> Option<Self> {
        let mut parts = cookie.split('.');
        let (secret, at, next) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && cookie.len() <= NEXT_BYTES_MAX * 2;
        let whole = whole && from_base64url(secret)?.len() == 32;
        whole.then_some(())?;
        Some(Self {
            text: cookie.to_owned(),
            begun_at: Timestamp::from_ms(at.parse().ok()?),
            next: String::from_utf8(from_base64url(next)?).ok()?,
        })
    }

    /// What the cookie is to hold.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.text
    }

    /// Where the browser goes afterwards, as it was asked for: whoever follows it checks that it is within this service.
    #[must_use]
    pub fn next(&self) -> &str {
        &self.next
    }

    /// Whether it may still be finished.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let age_ms = now.as_ms().saturating_sub(self.begun_at.as_ms());
        // Another node's reading of the clock may be a little behind the one that began it.
        (-60_000..=i64::try_from(ATTEMPT_MAX.as_millis()).unwrap_or(i64::MAX)).contains(&age_ms)
    }

    /// What comes back unchanged.
    #[must_use]
    pub fn state(&self, issuer: &str) -> String {
        base64url(&self.derived("state", issuer))
    }

    /// Whether this is what came back.
    #[must_use]
    pub fn is_of(&self, state: &str, issuer: &str) -> bool {
        same(state.as_bytes(), self.state(issuer).as_bytes())
    }

    /// What the token must hold.
    #[must_use]
    pub fn nonce(&self, issuer: &str) -> String {
        base64url(&self.derived("nonce", issuer))
    }

    /// What proves to the provider that the code is brought by who began.
    #[must_use]
    pub fn verifier(&self, issuer: &str) -> String {
        base64url(&self.derived("verifier", issuer))
    }

    /// What the provider is told of the verifier beforehand.
    #[must_use]
    pub fn challenge(&self, issuer: &str) -> String {
        base64url(&Sha256::digest(self.verifier(issuer).as_bytes()))
    }

    /// A name by which it is remembered as used up.
    #[must_use]
    pub fn mark(&self) -> [u8; 32] {
        self.derived("mark", "")
    }

    fn derived(&self, what: &str, issuer: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in ["campanile login", what, issuer, &self.text] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Attempt {
        Attempt::begin(
            &Random::from_seed(1),
            Timestamp::from_ms(1_000_000),
            "/a?b=c",
        )
    }

    #[test]
    fn an_attempt_is_all_in_its_cookie() {
        let attempt = begun();
        let read = Attempt::read(attempt.cookie()).unwrap();
        assert_eq!(read, attempt);
        assert_eq!(read.next(), "/a?b=c");
        for wrong in [
            "",
            "a.b.c",
            "x",
            &format!("{}.x", attempt.cookie()),
            &attempt.cookie()[3..],
        ] {
            assert!(Attempt::read(wrong).is_none(), "{wrong}");
        }
        let long = "x".repeat(5_000);
        let other = Attempt::begin(&Random::from_seed(1), Timestamp::from_ms(0), &long);
        assert_eq!(other.next(), "/");
    }

    #[test]
    fn what_is_derived_belongs_to_one_cookie_and_one_provider() {
        let (one, other) = (
            begun(),
            Attempt::begin(
                &Random::from_seed(2),
                Timestamp::from_ms(1_000_000),
                "/a?b=c",
            ),
        );
        let all = [
            one.state("i"),
            one.nonce("i"),
            one.verifier("i"),
            one.challenge("i"),
            one.state("j"),
            other.state("i"),
            other.nonce("i"),
            other.verifier("i"),
        ];
        let different: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        // Another time in the cookie is another login: its age can't be made younger.
        let at = one.cookie().replacen("1000000", "1000001", 1);
        assert!(!Attempt::read(&at).unwrap().is_of(&one.state("i"), "i"));
        assert!(one.is_of(&one.state("i"), "i") && !one.is_of("", "i"));
        assert_eq!(one.verifier("i").len(), 43);
    }

    #[test]
    fn an_attempt_is_open_for_a_while() {
        let at = |ms: i64| begun().is_open(Timestamp::from_ms(1_000_000 + ms));
        assert!(at(0) && at(600_000) && at(-59_000));
        assert!(!at(600_001) && !at(-61_000));
    }
}
