//! What a provider says of itself (OpenID Connect Discovery): where its doors are, and what it can do. Owns which
//! addresses are believed: https, or plain http on this machine alone.

use serde::Deserialize;
use url::{Host, Url};

use super::Error;

/// A provider, as its discovery document says; checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Provider {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Provider {
    /// Where the document of an issuer is.
    #[must_use]
    pub fn document(issuer: &str) -> String {
        format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        )
    }

    /// Reads a document.
    ///
    /// # Errors
    /// It is another issuer's, or names what can't be used.
    pub fn read(body: &[u8], issuer: &str) -> Result<Self, Error> {
        let wrong = |what: String| Error::Unreachable(format!("its discovery document {what}"));
        let found: Self =
            serde_json::from_slice(body).map_err(|e| wrong(format!("can't be read: {e}")))?;
        if found.issuer != issuer {
            let other = super::shown(&found.issuer);
            return Err(wrong(format!(
                "says that it is `{other}`, and the setting says `{issuer}`: they must be the same, character by character"
            )));
        }
        let doors = [
            ("authorization_endpoint", &found.authorization_endpoint),
            ("token_endpoint", &found.token_endpoint),
            ("jwks_uri", &found.jwks_uri),
        ];
        for (name, address) in doors {
            check_address(address).map_err(|why| wrong(format!("names a `{name}` that {why}")))?;
        }
        if let Some(methods) = &found.code_challenge_methods_supported
            && !methods.iter().any(|m| m == "S256")
        {
            return Err(wrong("says that it can't do PKCE with S256".to_owned()));
        }
        Ok(found)
    }

    /// Whether the secret goes into the form, because the provider takes it in no header.
    #[must_use]
    pub fn wants_secret_in_form(&self) -> bool {
        let listed = self
            .token_endpoint_auth_methods_supported
            .as_deref()
            .unwrap_or(&[]);
        let has = |name: &str| listed.iter().any(|m| m == name);
        has("client_secret_post") && !has("client_secret_basic")
    }

    /// Whether its answers say which provider they are from (RFC 9207).
    #[must_use]
    pub const fn names_itself(&self) -> bool {
        self.authorization_response_iss_parameter_supported
    }
}

/// Whether an address may be a provider's: https, or http on this machine.
///
/// # Errors
/// What is wrong with it, in words that follow "which".
pub fn check_address(address: &str) -> Result<Url, String> {
    let url = Url::parse(address).map_err(|e| format!("is no address ({e})"))?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && here) {
        return Err("is not https: everybody on the path could let himself in".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("holds a user, a password or a fragment".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> serde_json::Value {
        serde_json::json!({
            "issuer": "https://id.example/realms/a",
            "authorization_endpoint": "https://id.example/auth",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://id.example/keys",
            "something_else": [1, 2],
        })
    }

    fn read(document: &serde_json::Value) -> Result<Provider, Error> {
        Provider::read(
            document.to_string().as_bytes(),
            "https://id.example/realms/a",
        )
    }

    #[test]
    fn a_document_is_of_the_issuer_that_is_set() {
        let found = read(&document()).unwrap();
        assert!(!found.names_itself() && !found.wants_secret_in_form());
        let mut other = document();
        other["issuer"] = "https://id.example/realms/a/".into();
        let said = read(&other).unwrap_err().to_string();
        assert!(said.contains("character by character"), "{said}");
        assert_eq!(
            Provider::document("https://id.example/realms/a/"),
            "https://id.example/realms/a/.well-known/openid-configuration"
        );
    }

    #[test]
    fn doors_are_https_or_on_this_machine() {
        for key in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            for address in [
                "http://id.example/x",
                "ftp://id.example",
                "x",
                "https://u:p@id.example/",
            ] {
                let mut document = document();
                document[key] = address.into();
                assert!(
                    read(&document).unwrap_err().to_string().contains(key),
                    "{address}"
                );
            }
            let mut document = document();
            document[key] = "http://127.0.0.1:9/x".into();
            read(&document).unwrap();
            document.as_object_mut().unwrap().remove(key);
            read(&document).unwrap_err();
        }
        assert!(check_address("http://localhost.evil.example/").is_err());
        assert!(check_address("http://[::1]:3/").is_ok());
    }

    #[test]
    fn what_the_provider_can_not_do_is_told() {
        let mut weak = document();
        weak["code_challenge_methods_supported"] = serde_json::json!(["plain"]);
        assert!(read(&weak).unwrap_err().to_string().contains("S256"));
        let mut post = document();
        post["token_endpoint_auth_methods_supported"] = serde_json::json!(["client_secret_post"]);
        assert!(read(&post).unwrap().wants_secret_in_form());
    }
}
