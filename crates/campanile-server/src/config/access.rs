//! The settings of how people get in: `public_url`, `[access.proxy]`, `[access.oidc]`. Owns what they must look like and what
//! goes with what; reaches nobody.

use axum::http::HeaderName;
use campanile_login::oidc::check_address;

use super::{Hidden, Written, Wrong};
use crate::access::grants::{Grants, read_rights};
use crate::access::proxy::ProxyHeader;
use crate::http::proxies::Proxies;
use crate::modes;

/// Where the browser comes back to, below `public_url`.
const CALLBACK: &str = "/login/oidc/callback";
/// The settings of each part, the first of which switches it on.
const PROXY: [&str; 5] = [
    "access_proxy_header",
    "access_proxy_from",
    "access_proxy_groups_header",
    "access_proxy_groups",
    "access_proxy_rights",
];
const OIDC: [&str; 5] = [
    "access_oidc_issuer",
    "access_oidc_client_id",
    "access_oidc_client_secret",
    "access_oidc_client_secret_file",
    "access_oidc_groups",
];
/// Headers that say something else.
const TAKEN: [&str; 6] = [
    "authorization",
    "cookie",
    "host",
    "origin",
    "forwarded",
    "x-forwarded-for",
];

/// How people get in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Where browsers know the service to be, without a path: `https://campanile.example`.
    pub origin: Option<String>,
    /// A proxy that names people.
    pub proxy: Option<ProxyHeader>,
    /// An identity provider.
    pub oidc: Option<Oidc>,
}

/// An identity provider, and what its groups are worth.
#[derive(Debug, Clone)]
pub struct Oidc {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<Hidden>,
    pub scopes: Vec<String>,
    pub redirect_uri: String,
    pub user_claim: String,
    pub groups_claim: String,
    pub grants: Grants,
}

impl Access {
    /// Whether browsers come over https to something that stands in front.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin
            .as_ref()
            .is_some_and(|origin| origin.starts_with("https://"))
    }
}

impl Written {
    /// The settings of this page.
    pub(super) fn access(&self) -> Result<Access, Wrong> {
        let origin = self.public_url()?;
        Ok(Access {
            proxy: self.proxy_header()?,
            oidc: self.oidc(origin.as_deref())?,
            origin,
        })
    }

    fn public_url(&self) -> Result<Option<String>, Wrong> {
        const KEY: &str = "public_url";
        let Some(text) = self.text(KEY) else {
            return Ok(None);
        };
        let refuse = |why: &str| {
            let message = format!(
                "`{text}` {why}: write https:// and the name that people type, as in https://campanile.example"
            );
            Err(self.wrong(KEY, message))
        };
        let Ok(url) = check_address(text) else {
            return refuse("is no https address (http is for this machine alone)");
        };
        if url.path() != "/" || url.query().is_some() {
            return refuse("has a path, and the service is at the root of its name");
        }
        Ok(Some(url.origin().ascii_serialization()))
    }

    /// Refuses what stands there without the setting that it belongs to.
    fn belongs(&self, keys: [&'static str; 5]) -> Result<bool, Wrong> {
        let [first, rest @ ..] = keys;
        if self.text(first).is_some() {
            return Ok(true);
        }
        match rest.into_iter().find(|key| !self.list(key).is_empty()) {
            None => Ok(false),
            Some(key) => Err(self.wrong(key, format!("means nothing without `{first}` beside it"))),
        }
    }

    fn header(&self, key: &'static str) -> Result<Option<HeaderName>, Wrong> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let name: Option<HeaderName> = text.to_ascii_lowercase().parse().ok();
        match name.filter(|name| !TAKEN.contains(&name.as_str())) {
            Some(name) => Ok(Some(name)),
            None => Err(self.wrong(
                key,
                format!("`{text}` can't be that header: write one as X-Forwarded-User"),
            )),
        }
    }

    fn proxy_header(&self) -> Result<Option<ProxyHeader>, Wrong> {
        if !self.belongs(PROXY)? {
            return Ok(None);
        }
        let Some(header) = self.header("access_proxy_header")? else {
            return Ok(None);
        };
        let from = self.list("access_proxy_from");
        if from.is_empty() {
            let message = "says who people are, and anybody could: name the proxy's own addresses in `access_proxy_from`";
            return Err(self.wrong("access_proxy_header", message));
        }
        let from = Proxies::read(from).map_err(|m| self.wrong("access_proxy_from", m))?;
        let grants = self.list("access_proxy_groups");
        let grants = Grants::read(grants).map_err(|m| self.wrong("access_proxy_groups", m))?;
        let groups_header = self.header("access_proxy_groups_header")?;
        let rights = self
            .text("access_proxy_rights")
            .map(read_rights)
            .transpose();
        let rights = rights.map_err(|m| self.wrong("access_proxy_rights", m))?;
        if groups_header.is_none() != grants.is_empty() {
            let message = "goes with `access_proxy_groups`: the one says where groups stand, the other what they are worth";
            return Err(self.wrong("access_proxy_groups_header", message));
        }
        if grants.is_empty() && rights.is_none() {
            let message = "lets nobody in: say what people may do by `access_proxy_groups` (with `access_proxy_groups_header`) or, \
                           for all of them, by `access_proxy_rights`";
            return Err(self.wrong("access_proxy_header", message));
        }
        Ok(Some(ProxyHeader {
            header,
            from,
            groups_header,
            grants,
            rights,
        }))
    }

    fn oidc(&self, origin: Option<&str>) -> Result<Option<Oidc>, Wrong> {
        const ISSUER: &str = "access_oidc_issuer";
        if !self.belongs(OIDC)? {
            return Ok(None);
        }
        let issuer = self.required(ISSUER)?;
        check_address(&issuer).map_err(|why| self.wrong(ISSUER, format!("`{issuer}` {why}")))?;
        let Some(origin) = origin else {
            return Err(self.wrong(
                ISSUER,
                "needs `public_url` beside it: the provider sends people back to an address below it",
            ));
        };
        let Some(client_id) = self.text("access_oidc_client_id") else {
            return Err(self.wrong(
                ISSUER,
                "needs `access_oidc_client_id` beside it: what the provider calls this service",
            ));
        };
        let grants = self.list("access_oidc_groups");
        let grants = Grants::read(grants).map_err(|m| self.wrong("access_oidc_groups", m))?;
        if grants.is_empty() {
            return Err(self.wrong(
                ISSUER,
                "lets nobody in: say what groups may do by `access_oidc_groups`, as in [\"admins=admin+data\", \"ops=operator\"]",
            ));
        }
        let mut scopes = self.list("access_oidc_scopes").to_vec();
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        Ok(Some(Oidc {
            issuer,
            client_id: client_id.to_owned(),
            client_secret: self.client_secret()?,
            scopes,
            redirect_uri: format!("{origin}{CALLBACK}"),
            user_claim: self.required("access_oidc_user_claim")?,
            groups_claim: self.required("access_oidc_groups_claim")?,
            grants,
        }))
    }

    fn client_secret(&self) -> Result<Option<Hidden>, Wrong> {
        const FILE: &str = "access_oidc_client_secret_file";
        match (self.text("access_oidc_client_secret"), self.text(FILE)) {
            (Some(_), Some(_)) => Err(self.wrong(
                FILE,
                "is given beside `access_oidc_client_secret`: keep one of them",
            )),
            (Some(secret), None) => Ok(Some(Hidden::new(secret.to_owned()))),
            (None, None) => Ok(None),
            (None, Some(path)) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|e| self.wrong(FILE, format!("can't read {path}: {e}")))?;
                if let Some(who) = modes::readable_by_others(path.as_ref()) {
                    return Err(self.wrong(
                        FILE,
                        format!("{path} holds a secret, and {who}: chmod 600 {path}"),
                    ));
                }
                let secret = text.trim();
                if secret.is_empty() {
                    return Err(self.wrong(FILE, format!("{path} is empty")));
                }
                Ok(Some(Hidden::new(secret.to_owned())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Layer, Raw, Source, find_key};
    use super::*;

    fn access(pairs: &[(&str, &str)]) -> Result<Access, Wrong> {
        let mut layer = Layer::new();
        for (name, value) in pairs {
            let key = find_key(name).unwrap();
            layer.insert(
                key.name,
                Raw::split(value, key.kind, Source::Flag(key.flag())),
            );
        }
        Written::gather(layer, &Environment::new(), None)
            .unwrap()
            .access()
    }

    const PROVIDER: [(&str, &str); 4] = [
        ("public_url", "https://campanile.example/"),
        ("access_oidc_issuer", "https://id.example/realms/a"),
        ("access_oidc_client_id", "campanile"),
        ("access_oidc_groups", "admins=admin"),
    ];

    #[test]
    fn a_provider_wants_a_way_back_and_groups() {
        let oidc = access(&PROVIDER).unwrap().oidc.unwrap();
        assert_eq!(
            oidc.redirect_uri,
            "https://campanile.example/login/oidc/callback"
        );
        assert_eq!(oidc.scopes, ["openid", "profile", "email"]);
        assert_eq!(
            (oidc.user_claim.as_str(), oidc.groups_claim.as_str()),
            ("preferred_username", "groups")
        );
        for left_out in PROVIDER {
            let rest: Vec<_> = PROVIDER
                .into_iter()
                .filter(|pair| *pair != left_out)
                .collect();
            let said = access(&rest).unwrap_err().to_string();
            assert!(said.contains(left_out.0), "{said}");
        }
        let with = |name, value| {
            access(&[&PROVIDER[..], &[(name, value)]].concat())
                .unwrap_err()
                .to_string()
        };
        assert!(with("access_oidc_issuer", "http://id.example").contains("not https"));
        assert!(with("access_oidc_groups", "admins").contains("write"));
        assert!(with("access_oidc_client_secret_file", "/nowhere/x").contains("can't read"));
        assert!(with("public_url", "https://a.example/campanile").contains("has a path"));
        assert!(with("public_url", "http://a.example").contains("no https address"));
        assert!(
            access(&[("public_url", "http://localhost:7070")])
                .unwrap()
                .origin
                .is_some()
        );
    }

    #[test]
    fn a_proxys_word_is_bound_to_addresses_and_worth_something() {
        let pairs = [
            ("access_proxy_header", "X-Forwarded-User"),
            ("access_proxy_from", "10.0.0.0/8"),
            ("access_proxy_rights", "viewer"),
        ];
        assert_eq!(
            access(&pairs).unwrap().proxy.unwrap().header,
            "x-forwarded-user"
        );
        let said = |pairs: &[(&str, &str)]| access(pairs).unwrap_err().to_string();
        assert!(said(&[pairs[0], pairs[2]]).contains("access_proxy_from"));
        assert!(said(&pairs[..2]).contains("lets nobody in"));
        assert!(said(&pairs[1..]).contains("access_proxy_header"));
        assert!(
            said(&[pairs[0], ("access_proxy_from", "0.0.0.0/0"), pairs[2]]).contains("everybody")
        );
        assert!(
            said(&[("access_proxy_header", "Authorization"), pairs[1], pairs[2]])
                .contains("X-Forwarded-User")
        );
        assert!(
            said(&[pairs[0], pairs[1], ("access_proxy_groups", "a=viewer")]).contains("goes with")
        );
        assert!(said(&[pairs[0], pairs[1], ("access_proxy_rights", "root")]).contains("no role"));
    }
}
