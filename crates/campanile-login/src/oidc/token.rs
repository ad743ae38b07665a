//! An id token: whether it is the provider's, for us, for now, and for this very login (OpenID Connect Core 3.1.3.7). Pure:
//! what is expected is handed in, the hour too.

use std::time::Duration;

use campanile_schedule::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{ALGORITHMS, Keys, No};
use super::{Identity, from_base64url, shown};
use crate::same;

/// How far the provider's clock and ours may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// The longest name of somebody.
const NAME_CHARS_MAX: usize = 200;
/// Groups of one person that are looked at.
const GROUPS_MAX: usize = 5_000;

/// What a token must say.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: Timestamp,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Perhaps the provider has new keys.
    #[error("the token is signed with a key that the provider does not publish")]
    UnknownKey,
    #[error("{0}")]
    Wrong(String),
}

/// What a token says, believed.
#[derive(Debug, Clone)]
pub struct Claims {
    subject: String,
    all: Value,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Checked {
    iss: String,
    sub: String,
    aud: OneOrMany,
    azp: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    iat: f64,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Wrong(what.into()))
}

/// Checks a token whole: first whose it is, then what it says.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Invalid> {
    let body = signed_part(token, keys)?;
    let read =
        |e: serde_json::Error| Invalid::Wrong(format!("the token's claims can't be read: {e}"));
    // Read twice: what is checked must stand there once.
    let checked: Checked = serde_json::from_slice(&body).map_err(read)?;
    let all: Value = serde_json::from_slice(&body).map_err(read)?;
    check(&checked, expected)?;
    Ok(Claims {
        subject: checked.sub,
        all,
    })
}

/// The claims of a token whose signature is the provider's.
fn signed_part(token: &str, keys: &Keys) -> Result<Vec<u8>, Invalid> {
    if token.len() > TOKEN_BYTES_MAX {
        return wrong("the token is too long");
    }
    let mut parts = token.split('.');
    let (Some(head), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return wrong("the token has not three parts");
    };
    let message = &token.as_bytes()[..head.len() + 1 + body.len()];
    let decoded = |text| {
        from_base64url(text).ok_or_else(|| Invalid::Wrong("the token is not base64url".to_owned()))
    };
    let read: Head = serde_json::from_slice(&decoded(head)?)
        .map_err(|e| Invalid::Wrong(format!("the token's head can't be read: {e}")))?;
    if !ALGORITHMS.contains(&read.alg.as_str()) {
        let alg = shown(&read.alg);
        return wrong(format!(
            "the token is signed by `{alg}`, which is not believed"
        ));
    }
    if read.crit.is_some() {
        return wrong("the token has a head that must be understood, and is not");
    }
    match keys.check(
        read.kid.as_deref(),
        &read.alg,
        message,
        &decoded(signature)?,
    ) {
        Ok(()) => decoded(body),
        Err(No::Unknown) => Err(Invalid::UnknownKey),
        Err(No::Wrong) => wrong("the token's signature is not the provider's"),
    }
}

fn check(claims: &Checked, expected: &Expected<'_>) -> Result<(), Invalid> {
    if claims.iss != expected.issuer {
        return wrong(format!(
            "the token is of the issuer `{}`",
            shown(&claims.iss)
        ));
    }
    let audience = claims.aud.as_slice();
    if !audience.iter().any(|one| one == expected.client_id) {
        return wrong("the token is for somebody else");
    }
    match &claims.azp {
        Some(azp) if azp != expected.client_id => {
            return wrong("the token was given to another client");
        }
        None if audience.len() > 1 => {
            return wrong("the token is for several, and does not say to whom it was given");
        }
        _ => {}
    }
    let now_s = seconds(expected.now);
    let leeway_s = LEEWAY.as_secs_f64();
    let numbers = [Some(claims.exp), claims.nbf, Some(claims.iat)];
    if numbers.iter().flatten().any(|n| !n.is_finite()) {
        return wrong("the token's times are no numbers");
    }
    if now_s >= claims.exp + leeway_s {
        return wrong("the token is over");
    }
    if claims.nbf.is_some_and(|nbf| now_s + leeway_s < nbf) {
        return wrong(
            "the token does not count yet: compare this machine's clock with the provider's",
        );
    }
    if now_s + leeway_s < claims.iat {
        return wrong(
            "the token is from the future: compare this machine's clock with the provider's",
        );
    }
    let nonce = claims.nonce.as_deref().unwrap_or_default();
    if !same(nonce.as_bytes(), expected.nonce.as_bytes()) {
        return wrong("the token is of another login");
    }
    if claims.sub.is_empty() || claims.sub.chars().count() > NAME_CHARS_MAX {
        return wrong("the token's subject is empty or too long");
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 have 41 bits"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_ms() as f64 / 1_000.0
}

impl Claims {
    /// Who it is, by the claims that the settings name.
    #[must_use]
    pub fn identity(&self, user_claim: &str, groups_claim: &str) -> Identity {
        let named = self.find(user_claim).and_then(Value::as_str);
        let unproved = user_claim == "email" && self.all["email_verified"] != Value::Bool(true);
        let fit = |name: &&str| {
            !name.trim().is_empty()
                && name.chars().count() <= NAME_CHARS_MAX
                && !name.chars().any(char::is_control)
        };
        let name = named
            .filter(|_| !unproved)
            .filter(fit)
            .unwrap_or(&self.subject);
        Identity {
            subject: self.subject.clone(),
            name: name.to_owned(),
            groups: match self.find(groups_claim) {
                Some(Value::String(one)) => vec![one.clone()],
                Some(Value::Array(many)) => {
                    let texts = many.iter().filter_map(Value::as_str);
                    texts.take(GROUPS_MAX).map(str::to_owned).collect()
                }
                _ => Vec::new(),
            },
        }
    }

    /// A claim of this name; one with points in it may also be a way through objects (`realm_access.roles`).
    fn find(&self, name: &str) -> Option<&Value> {
        self.all.get(name).or_else(|| {
            name.split('.')
                .try_fold(&self.all, |value, part| value.get(part))
        })
    }
}
