//! What a provider signs, honestly or not: keys, tokens of any claims under any algorithm, and the documents beside them.
//! For tests; the RSA key is of no use for anything else.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// A provider's pen.
pub struct Sham {
    random: SystemRandom,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    /// How its keys are called: another name makes other keys of them.
    pub mark: String,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Sham {
    pub fn new(mark: &str) -> Self {
        let random = SystemRandom::new();
        let der = include_str!("rsa-test-key.b64").replace('\n', "");
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            rsa: RsaKeyPair::from_der(&STANDARD.decode(der).unwrap()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
                .unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            mark: mark.to_owned(),
            random,
        }
    }

    pub fn kid(&self, alg: &str) -> String {
        // One key is for all of RSA.
        let kind = if alg.starts_with("PS") {
            "RS"
        } else {
            &alg[..2]
        };
        format!("{}-{kind}", self.mark)
    }

    /// What is published of its keys.
    pub fn keys(&self) -> Value {
        let rsa: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        let (n, e) = (&rsa.n, &rsa.e);
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": self.kid("RS256"), "use": "sig", "n": text(n), "e": text(e) },
            { "kty": "EC", "crv": "P-256", "kid": self.kid("ES256"), "alg": "ES256",
              "x": text(&point[1..33]), "y": text(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": self.kid("EdDSA"), "x": text(self.ed.public_key().as_ref()) },
            { "kty": "RSA", "kid": "sealing", "use": "enc", "n": text(n), "e": text(e) },
            { "kty": "oct", "kid": "shared", "k": text(b"secret") },
            { "kty": "EC", "crv": "P-256", "kid": "short", "x": "AA", "y": "AA" },
            "nonsense",
        ]})
    }

    /// A token under this algorithm, with a key's name of its choice.
    pub fn token_by(&self, alg: &str, kid: Option<&str>, claims: &Value) -> String {
        let mut head = json!({ "alg": alg, "typ": "JWT" });
        if let Some(kid) = kid {
            head["kid"] = kid.into();
        }
        self.token_of(&head, claims)
    }

    /// A token with this head.
    pub fn token_of(&self, head: &Value, claims: &Value) -> String {
        self.signed(head, &claims.to_string())
    }

    /// A token of a text that is perhaps no honest JSON.
    pub fn signed(&self, head: &Value, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            text(head.to_string().as_bytes()),
            text(claims.as_bytes())
        );
        let bytes = message.as_bytes();
        let rsa = |padding: &'static dyn ring::signature::RsaEncoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa
                .sign(padding, &self.random, bytes, &mut signature)
                .unwrap();
            signature
        };
        let signature = match head["alg"].as_str().unwrap() {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.ec.sign(&self.random, bytes).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(bytes).as_ref().to_vec(),
            // With what everybody knows: the public key, as it is published.
            "HS256" => {
                let published = self.rsa.public().as_ref().to_vec();
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &published);
                ring::hmac::sign(&key, bytes).as_ref().to_vec()
            }
            "none" => Vec::new(),
            other => panic!("{other}"),
        };
        format!("{message}.{}", text(&signature))
    }

    /// An honest token.
    pub fn token(&self, alg: &str, claims: &Value) -> String {
        self.token_by(alg, Some(&self.kid(alg)), claims)
    }
}

/// What a provider at this address says of itself.
pub fn document(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}
