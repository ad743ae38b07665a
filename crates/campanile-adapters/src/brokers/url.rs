//! A broker's URL: `SCHEME://user:pass@h1:p,h2:p`, several hosts being the fail-over list, then what its dialect has:
//! a path, options. Parsed and checked once, here; its errors name the setting and the remedy, and never the password.
//! Which schemes and options there are, each adapter says; what they mean, it alone knows.

use std::fmt;
use std::path::PathBuf;

use crate::service_url::{host_shown, option_name};

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
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// One broker of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Name or address, IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
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
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}:…)", self.user)
    }
}

/// How the URLs of one kind of broker are written.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// What it speaks, for people.
    pub(crate) name: &'static str,
    /// Without TLS, and with it.
    pub(crate) schemes: (&'static str, &'static str),
    /// The ports by custom, in the same order.
    pub(crate) ports: (u16, u16),
    /// An example, as a remedy.
    pub(crate) shape: &'static str,
    /// Whether something may follow the hosts behind a slash.
    pub(crate) has_path: bool,
    /// Its options beside `ca`, each with what it is for.
    pub(crate) options: &'static [(&'static str, &'static str)],
}

/// The URL's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) addresses: Vec<Address>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls: bool,
    /// Trusted instead of the system's roots.
    pub(crate) ca: Option<PathBuf>,
    /// What follows the hosts, without its slash; `None` where nothing does.
    pub(crate) path: Option<String>,
    options: Vec<(&'static str, String)>,
}

impl Target {
    pub(crate) fn parse(url: &str, dialect: &Dialect) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let tls = scheme == dialect.schemes.1;
        if !tls && scheme != dialect.schemes.0 {
            let problem = format!("is no {} URL", dialect.name);
            return Err(UrlError::new(problem, dialect.shape));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            // Half of a password would be taken for a host, and shown in an error.
            return Err(UrlError::new(
                "has an @ behind its first ?",
                "write special characters as %40 (@), %3F (?)",
            ));
        }
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let credentials = user.map(credentials).transpose()?;
        let (hosts, path) = match place.split_once('/') {
            Some((hosts, "")) => (hosts, None),
            Some((hosts, path)) if dialect.has_path => {
                (hosts, Some(decoded("virtual host", path)?))
            }
            _ => (place, None),
        };
        let default_port = if tls {
            dialect.ports.1
        } else {
            dialect.ports.0
        };
        let addresses: Vec<Address> = hosts
            .split(',')
            .map(|host| address(host, default_port, dialect))
            .collect::<Result<_, _>>()?;
        if addresses.len() > ADDRESSES_MAX {
            let problem = format!("lists {} hosts", addresses.len());
            return Err(UrlError::new(
                problem,
                format!("give at most {ADDRESSES_MAX}"),
            ));
        }
        let (ca, options) = options(query, dialect)?;
        if ca.is_some() && !tls {
            return Err(UrlError::new(
                "has `ca` without TLS",
                format!("begin it with {}://", dialect.schemes.1),
            ));
        }
        Ok(Self {
            addresses,
            credentials,
            tls,
            ca,
            path,
            options,
        })
    }

    /// What an option was set to.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(n, _)| *n == name)?;
        Some(&found.1)
    }
}

fn credentials(text: &str) -> Result<Credentials, UrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(Credentials {
        user: decoded("user name", user)?,
        password: decoded("password", password)?,
    })
}

fn address(text: &str, default_port: u16, dialect: &Dialect) -> Result<Address, UrlError> {
    // What stands at a host's or a port's place may be half of a password.
    let shown = host_shown(text);
    let bad = |problem: &str| UrlError::new(format!("has {problem} in `{shown}`"), dialect.shape);
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

type Options = (Option<PathBuf>, Vec<(&'static str, String)>);

fn options(query: &str, dialect: &Dialect) -> Result<Options, UrlError> {
    let (mut ca, mut options) = (None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = dialect.options.iter().find(|(n, _)| *n == name);
        match known {
            Some((name, _)) if !value.is_empty() => {
                options.push((*name, decoded(&format!("`{name}`"), value)?));
            }
            None if name == "ca" && !value.is_empty() => {
                ca = Some(PathBuf::from(decoded("`ca`", value)?));
            }
            _ => {
                let others: Vec<String> = dialect
                    .options
                    .iter()
                    .map(|(name, what)| format!(", {name}={what}"))
                    .collect();
                return Err(UrlError::new(
                    format!("has the unknown option `{}`", option_name(pair)),
                    format!(
                        "there are ca=FILE (the certificates to trust, PEM){}",
                        others.concat()
                    ),
                ));
            }
        }
    }
    Ok((ca, options))
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

    const STOMP: Dialect = Dialect {
        name: "STOMP",
        schemes: ("stomp", "stomp+ssl"),
        ports: (61_613, 61_614),
        shape: "write it as stomp://…",
        has_path: false,
        options: &[],
    };
    const AMQP: Dialect = Dialect {
        name: "AMQP",
        schemes: ("amqp", "amqps"),
        ports: (5_672, 5_671),
        shape: "write it as amqp://…",
        has_path: true,
        options: &[("queues", "classic")],
    };

    fn shown(url: &str) -> Vec<String> {
        let target = Target::parse(url, &STOMP).unwrap();
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
        let target =
            Target::parse("stomp+ssl://s%40x:p%3Aw%25@a?ca=/etc/ca%20x.pem", &STOMP).unwrap();
        let credentials = target.credentials.clone().unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("s@x", "p:w%")
        );
        assert_eq!(target.ca, Some(PathBuf::from("/etc/ca x.pem")));
        assert!(!format!("{target:?}").contains("p:w"));
    }

    #[test]
    fn a_path_and_options_are_read_where_the_dialect_has_them() {
        let path = |url: &str| Target::parse(url, &AMQP).unwrap().path;
        assert_eq!(path("amqp://u:p@a,b/"), None);
        assert_eq!(path("amqp://a/%2Fx"), Some("/x".to_owned()));
        assert_eq!(path("amqp://a/b/c"), Some("b/c".to_owned()));
        let target = Target::parse("amqps://a/v?queues=classic&ca=x", &AMQP).unwrap();
        assert_eq!(target.option("queues"), Some("classic"));
        assert_eq!(target.ca, Some(PathBuf::from("x")));
        assert_eq!(target.option("ca"), None);
        assert_eq!(target.addresses[0].port, 5_671);
        let refused = Target::parse("amqp://a?heart=1", &AMQP).unwrap_err();
        assert!(refused.to_string().contains("queues=classic"), "{refused}");
        assert!(Target::parse("stomp://a/v", &STOMP).is_err());
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
            let error = Target::parse(url, &STOMP).unwrap_err().to_string();
            assert!(error.starts_with("the setting `broker` "), "{error}");
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("topsecret"), "{error}");
        }
    }
}
