//! The broker's URL: `stomp://user:pass@h1:p,h2:p` or `stomp+ssl://…`, several hosts being the fail-over list. Parsed
//! and checked once, here; its errors name the setting and the remedy, and never the password.

use std::fmt;
use std::path::PathBuf;

use crate::service_url::{host_shown, option_name};

/// STOMP's port by custom, and over TLS.
const PORTS: (u16, u16) = (61_613, 61_614);
/// Addresses of one list: each costs up to a connect timeout when its host is dead.
const ADDRESSES_MAX: usize = 16;

/// Why the setting `broker` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting `broker` {problem}; {remedy}")]
pub struct UrlError {
    problem: String,
    remedy: String,
}

impl UrlError {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// One broker of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or address, IPv6 without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Who we are to the broker.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}:…)", self.user)
    }
}

/// The URL's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) addresses: Vec<Address>,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: bool,
    /// Trusted instead of the system's roots.
    pub(super) ca: Option<PathBuf>,
}

const SHAPE: &str = "write it as stomp://user:password@host:61613,other:61613 or stomp+ssl://…";

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let tls = match url.split_once("://") {
            Some(("stomp", _)) => false,
            Some(("stomp+ssl", _)) => true,
            _ => return Err(UrlError::new("is no STOMP URL", SHAPE)),
        };
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            // Half of a password would be taken for a host, and shown in an error.
            return Err(UrlError::new(
                "has an @ behind its first ?",
                "write special characters as %40 (@), %3F (?)",
            ));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, hosts) = match rest.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, rest),
        };
        let credentials = user.map(credentials).transpose()?;
        let default_port = if tls { PORTS.1 } else { PORTS.0 };
        let addresses: Vec<Address> = hosts
            .split(',')
            .map(|host| address(host, default_port))
            .collect::<Result<_, _>>()?;
        if addresses.len() > ADDRESSES_MAX {
            let problem = format!("lists {} hosts", addresses.len());
            return Err(UrlError::new(
                problem,
                format!("give at most {ADDRESSES_MAX}"),
            ));
        }
        let ca = query_ca(query)?;
        if ca.is_some() && !tls {
            return Err(UrlError::new(
                "has `ca` without TLS",
                "begin it with stomp+ssl://",
            ));
        }
        Ok(Self {
            addresses,
            credentials,
            tls,
            ca,
        })
    }
}

fn credentials(text: &str) -> Result<Credentials, UrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(Credentials {
        user: decoded("user name", user)?,
        password: decoded("password", password)?,
    })
}

fn address(text: &str, default_port: u16) -> Result<Address, UrlError> {
    // What stands at a host's or a port's place may be half of a password.
    let shown = host_shown(text);
    let bad = |problem: &str| UrlError::new(format!("has {problem} in `{shown}`"), SHAPE);
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, port) = bracketed
            .split_once(']')
            .ok_or_else(|| bad("an open bracket"))?;
        (host, port.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(clean) {
        return Err(bad("no proper host"));
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| bad("no proper port"))?,
    };
    if port == 0 {
        return Err(bad("no proper port"));
    }
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

fn query_ca(query: &str) -> Result<Option<PathBuf>, UrlError> {
    let mut ca = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("ca", file)) if !file.is_empty() => {
                ca = Some(PathBuf::from(decoded("`ca`", file)?));
            }
            _ => {
                return Err(UrlError::new(
                    format!("has the unknown option `{}`", option_name(pair)),
                    "the only option is ca=FILE, the certificates to trust (PEM)",
                ));
            }
        }
    }
    Ok(ca)
}

/// Undoes percent escapes. Control characters are refused: CONNECT has no way to escape them.
fn decoded(what: &str, text: &str) -> Result<String, UrlError> {
    let bad = || {
        UrlError::new(
            format!("has a {what} that is not percent-encoded UTF-8 without control characters"),
            "write special characters as %40 (@), %3A (:), %2F (/), %25 (%)",
        )
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().ok_or_else(bad)?, rest.next().ok_or_else(bad)?];
            out.extend(hex::decode(digits).map_err(|_| bad())?);
        } else {
            out.push(byte);
        }
    }
    let text = String::from_utf8(out).map_err(|_| bad())?;
    if text.chars().any(char::is_control) {
        return Err(bad());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Vec<String> {
        let target = Target::parse(url).unwrap();
        target.addresses.iter().map(Address::to_string).collect()
    }

    #[test]
    fn a_list_keeps_its_order_and_fills_in_the_port() {
        assert_eq!(
            shown("stomp://u:p@a:1,b,[::1]:3/"),
            ["a:1", "b:61613", "[::1]:3"]
        );
        assert_eq!(shown("stomp+ssl://a"), ["a:61614"]);
    }

    #[test]
    fn credentials_and_options_are_decoded_and_the_password_is_never_shown() {
        let target = Target::parse("stomp+ssl://s%40x:p%3Aw%25@a?ca=/etc/ca%20x.pem").unwrap();
        let credentials = target.credentials.clone().unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("s@x", "p:w%")
        );
        assert_eq!(target.ca, Some(PathBuf::from("/etc/ca x.pem")));
        assert!(!format!("{target:?}").contains("p:w"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy_and_without_the_password() {
        for (url, part) in [
            ("http://a", "no STOMP URL"),
            ("stomp:a", "no STOMP URL"),
            ("stomp://", "host"),
            ("stomp://u:topsecret@a:0", "port"),
            ("stomp://u:topsecret@a:x,b", "port"),
            ("stomp://u:topsecret@a,,b", "host"),
            ("stomp://u:topsecret@[::1", "bracket"),
            ("stomp://u:topsecret%0a@a", "password"),
            ("stomp://u:topsecret%zz@a", "password"),
            ("stomp://a?heartbeat=3", "`heartbeat`"),
            ("stomp://a?topsecret", "unknown option `***`"),
            ("stomp://a?passcode=topsecret", "unknown option `passcode`"),
            ("stomp://u:topsecret", "port"),
            ("stomp://a?ca=x", "stomp+ssl"),
            ("stomp://a b", "host"),
            ("stomp://u:topsecret?x@a", "behind its first"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.starts_with("the setting `broker` "), "{error}");
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("topsecret"), "{error}");
        }
    }
}
