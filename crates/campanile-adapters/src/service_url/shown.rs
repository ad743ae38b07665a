//! Which parts of a URL may be shown: a list of what is harmless, and `***` for the rest. It reads any text, and judges
//! none: what is no URL is hidden as a whole.

use super::{HIDDEN, option_name};

/// Schemes that are known, so that what follows them without `//` is a URL that was written wrong.
const KNOWN: &[&str] = &[
    "store",
    "memory",
    "sqlite",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "stomp",
    "stomp+ssl",
    "amqp",
    "amqps",
    "amqp10",
    "amqp10s",
];

/// Schemes whose login is often a name alone. Elsewhere a login without a colon may well be a password.
const NAME_ALONE: &[&str] = &[
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "stomp",
    "stomp+ssl",
    "amqp",
    "amqps",
    "amqp10",
    "amqp10s",
];

/// Options whose values are no secrets.
const HARMLESS: &[&str] = &[
    "db",
    "ca",
    "queues",
    "vhost",
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "user",
    "username",
    "dbname",
    "sentinel_username",
    "application_name",
    "statement-cache-capacity",
];

/// Parts of the names of options that hold secrets: such a name is shown, its value isn't.
const SECRET: &[&str] = &[
    "pass", "pwd", "secret", "token", "key", "auth", "cred", "sign",
];

/// A URL, or what should be one, as people may see it.
pub(super) fn shown(text: &str) -> String {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("sqlite:") {
        return match path.split_once('?') {
            None => text.to_owned(),
            Some((path, query)) => format!("sqlite:{path}?{}", query_shown(query)),
        };
    }
    if let Some((scheme, rest)) = text.split_once("://")
        && is_scheme(scheme)
    {
        return format!("{scheme}://{}", rest_shown(scheme, rest));
    }
    match text.split_once(':') {
        Some((scheme, "")) if is_scheme(scheme) => text.to_owned(),
        Some((scheme, _)) if KNOWN.contains(&scheme.to_ascii_lowercase().as_str()) => {
            format!("{scheme}:{HIDDEN}")
        }
        _ => rest_shown("", text),
    }
}

/// What stands behind the scheme.
fn rest_shown(scheme: &str, rest: &str) -> String {
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let mut out = login.map_or_else(String::new, |login| {
        format!("{}@", login_shown(scheme, login))
    });
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, tail) = rest.split_at(end);
    let (hosts, path) = match place.split_once('/') {
        Some((hosts, path)) => (hosts, Some(path)),
        None => (place, None),
    };
    if !are_hosts(hosts) {
        // What is no list of hosts may be anything, and so may be what follows.
        out.push_str(HIDDEN);
        return out;
    }
    out.push_str(hosts);
    if let Some(path) = path {
        out.push('/');
        out.push_str(if path.split('/').all(is_plain) {
            path
        } else {
            HIDDEN
        });
    }
    match tail.strip_prefix('?') {
        Some(query) => {
            out.push('?');
            out.push_str(&query_shown(query));
        }
        None if tail.is_empty() => {}
        None => {
            out.push('#');
            out.push_str(HIDDEN);
        }
    }
    out
}

fn login_shown(scheme: &str, login: &str) -> String {
    match login.split_once(':') {
        Some((user, password)) if is_plain(user) && !password.is_empty() => {
            format!("{user}:{HIDDEN}")
        }
        None if is_plain(login) && NAME_ALONE.contains(&scheme) => login.to_owned(),
        _ => HIDDEN.to_owned(),
    }
}

fn query_shown(query: &str) -> String {
    let pairs: Vec<String> = query
        .split(['&', ';'])
        .map(|pair| {
            let name = option_name(pair);
            let low = name.to_ascii_lowercase();
            let value = pair.split_once('=').map_or("", |(_, value)| value);
            let harmless = HARMLESS.contains(&low.as_str());
            if harmless && value.split(['/', '%', ':', '+', '~']).all(is_plain) {
                pair.to_owned()
            } else if harmless || SECRET.iter().any(|part| low.contains(part)) {
                format!("{name}={HIDDEN}")
            } else {
                HIDDEN.to_owned()
            }
        })
        .collect();
    pairs.join("&")
}

/// Whether a text is a scheme, as far as its letters go; JDBC's URLs have two.
fn is_scheme(text: &str) -> bool {
    let text = text.strip_prefix("jdbc:").unwrap_or(text);
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether a text is a list of hosts, each with a port or without.
pub(super) fn are_hosts(text: &str) -> bool {
    text.split(',').all(|host| match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(address, port)| {
            let letters = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
            address.chars().all(letters) && is_port(port)
        }),
        None => match host.find(':') {
            Some(at) => is_plain(&host[..at]) && is_port(&host[at..]),
            None => is_plain(host),
        },
    })
}

/// `:` and digits, or nothing.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit()))
}

/// Letters, digits, `.`, `_` and `-`: what names are made of.
pub(super) fn is_plain(text: &str) -> bool {
    text.len() <= 128
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
