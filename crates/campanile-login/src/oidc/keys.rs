//! The keys of a provider (RFC 7517), and the one question they are asked: whether this signature is one of theirs.
//! Signatures that anybody could make who knows the public key, or nobody at all (`HS256`, `none`), are no algorithms here.

use std::fmt;

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use super::from_base64url;

/// Keys of a provider that are kept.
const KEYS_MAX: usize = 100;

/// The algorithms that are believed.
pub const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

/// The signing keys of a provider.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

/// One key: as it came, as far as it can be used.
#[derive(Clone)]
struct Key {
    kid: Option<String>,
    alg: Option<String>,
    public: Public,
}

#[derive(Clone)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.kid, self.alg)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Why no key says yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum No {
    /// None of that name, or none that fits the algorithm.
    Unknown,
    /// The signature is not of that key.
    Wrong,
}

impl Keys {
    /// Reads a set of keys. Those that can't be used (encryption, kinds that are not believed) are left out.
    ///
    /// # Errors
    /// It is no set, or has too many.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let set: Set =
            serde_json::from_slice(body).map_err(|e| format!("its keys can't be read: {e}"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!(
                "it has {} keys: {KEYS_MAX} at most are looked at",
                set.keys.len()
            ));
        }
        let usable = |value| Key::of(serde_json::from_value(value).ok()?);
        Ok(Self(set.keys.into_iter().filter_map(usable).collect()))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a message was signed with the key of this name. Without a name there must be one key that fits, and no other.
    pub(super) fn check(
        &self,
        kid: Option<&str>,
        alg: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), No> {
        let mut fit = self.0.iter().filter(|key| {
            let named = kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
            named && key.is_for(alg)
        });
        let (Some(key), None) = (fit.next(), fit.next()) else {
            return Err(No::Unknown);
        };
        if key.public.signed(alg, message, signature) {
            Ok(())
        } else {
            Err(No::Wrong)
        }
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return None;
        }
        let part = |text: &Option<String>, length: usize| {
            let bytes = from_base64url(text.as_deref()?)?;
            (bytes.len() == length).then_some(bytes)
        };
        let point = |length| {
            let (x, y) = (part(&jwk.x, length)?, part(&jwk.y, length)?);
            Some([vec![4], x, y].concat())
        };
        let number = |text: &Option<String>| {
            let bytes = from_base64url(text.as_deref()?)?;
            let zeros = bytes.iter().take_while(|b| **b == 0).count();
            Some(bytes[zeros..].to_vec()).filter(|b| !b.is_empty())
        };
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Public::Rsa {
                n: number(&jwk.n)?,
                e: number(&jwk.e)?,
            },
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(part(&jwk.x, 32)?),
            _ => return None,
        };
        Some(Self {
            kid: jwk.kid,
            alg: jwk.alg,
            public,
        })
    }

    fn is_for(&self, alg: &str) -> bool {
        let kind = match self.public {
            Public::Rsa { .. } => matches!(
                alg,
                "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512"
            ),
            Public::P256(_) => alg == "ES256",
            Public::P384(_) => alg == "ES384",
            Public::Ed25519(_) => alg == "EdDSA",
        };
        kind && self.alg.as_deref().is_none_or(|own| own == alg)
    }
}

impl Public {
    fn signed(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        let with = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &Vec<u8>| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, signature)
                .is_ok()
        };
        match self {
            Self::Rsa { n, e } => {
                let parameters = match alg {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signature).is_ok()
            }
            Self::P256(point) => with(&signature::ECDSA_P256_SHA256_FIXED, point),
            Self::P384(point) => with(&signature::ECDSA_P384_SHA384_FIXED, point),
            Self::Ed25519(point) => with(&signature::ED25519, point),
        }
    }
}
