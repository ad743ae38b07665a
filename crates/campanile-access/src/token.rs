//! API tokens as they are kept: whose, with which rights, until when; of the token itself only a digest. How one is made
//! and shown once is the business of who makes it.

use campanile_schedule::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::right::Rights;

/// How every token begins.
pub const PREFIX: &str = "cmp_";
/// Tokens that are kept, those that are over included.
pub const TOKENS_MAX: usize = 1_000;

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What tells it from all others, and whose acts are written down under.
    pub name: String,
    pub rights: Rights,
    pub created_at: Timestamp,
    /// The identity of who made it.
    pub created_by: String,
    /// When it is over by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether it lets somebody in at an instant.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// What is kept of a token: SHA-256, as hex.
#[must_use]
pub fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// A token of 256 random bits.
#[must_use]
pub fn of_bits(bits: [u8; 32]) -> String {
    format!("{PREFIX}{}", hex::encode(bits))
}

/// Whether a text may be a token of ours.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.len() == 64 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::right::Role;

    #[test]
    fn a_token_is_good_until_it_is_over_or_revoked() {
        let at = Timestamp::from_ms;
        let token = ApiToken {
            name: "ci".to_owned(),
            rights: Rights::of(Role::Viewer),
            created_at: at(0),
            created_by: "library:x".to_owned(),
            expires_at: Some(at(10)),
            used_at: None,
            revoked_at: None,
        };
        assert!(token.is_good(at(9)) && !token.is_good(at(10)));
        let revoked = ApiToken {
            revoked_at: Some(at(5)),
            ..token
        };
        assert!(!revoked.is_good(at(4)));
        let text = of_bits([7; 32]);
        assert!(is_token(&text) && !is_token(&text[1..]) && !is_token("cmp_x"));
        assert_eq!(digest(&text).len(), 64);
    }
}
