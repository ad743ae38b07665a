//! Reads the setting `lock` where it names Redis, once and whole. It owns the spelling and every complaint about it;
//! it opens no connection and never repeats a URL in a message, because a password may be in it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::service_url::{STRAY_AT, ServiceUrl, has_stray_at, option_name};

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A name and a password, either of which may be absent. Its debug form hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

/// How the connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// The authorities to trust; the system's where absent.
    pub(super) authorities: Option<Authorities>,
}

/// A file of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authorities {
    pub(super) path: PathBuf,
    pub(super) pem: Vec<u8>,
}

/// Which server is the one to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Group {
    /// This one.
    Single(Address),
    /// The one that these sentinels call the service's master.
    Sentinel {
        service: String,
        sentinels: Vec<Address>,
        login: Login,
    },
    /// The one that has the lock's slot, as any of these nodes says.
    Cluster(Vec<Address>),
}

/// All that a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: Group,
    pub(super) login: Login,
    pub(super) database: i64,
    pub(super) tls: Option<Tls>,
}

/// What is wrong with the setting, and what to write.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// Not one of Redis's schemes.
    #[error(
        "setting `lock`: the scheme of `{0}` is not one of Redis's; write redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT (each with rediss for TLS)"
    )]
    Scheme(String),
    /// A number in a cluster, which has one database.
    #[error(
        "setting `lock`: a Redis Cluster has one database, and this URL names number {0}; write redis+cluster://HOST:PORT,HOST:PORT without one"
    )]
    ClusterDatabase(i64),
    /// No host, several where one is allowed, or a port that is none.
    #[error("setting `lock`: {problem}; write {example}")]
    Host {
        /// What is wrong.
        problem: String,
        /// How it should look.
        example: &'static str,
    },
    /// A Sentinel URL without the name of its service.
    #[error(
        "setting `lock`: the service that the sentinels watch is missing; write redis+sentinel://HOST:PORT,HOST:PORT/SERVICE (`SENTINEL MASTERS` lists the names, often `mymaster`)"
    )]
    Service,
    /// Not a database number.
    #[error(
        "setting `lock`: `{0}` is not a database number; write one from 0 up, as in redis://HOST:PORT/0 or redis+sentinel://HOST:PORT/SERVICE?db=0"
    )]
    Database(String),
    /// A user without a password, or an escape that is none.
    #[error(
        "setting `lock`: {0}; write redis://USER:PASSWORD@HOST:PORT or redis://:PASSWORD@HOST:PORT, with %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %"
    )]
    Login(&'static str),
    /// An option that this kind of URL doesn't have.
    #[error(
        "setting `lock`: unknown option `{name}`; this URL knows {known} (a `?` inside a password is written %3F)"
    )]
    Option {
        /// As written.
        name: String,
        /// Those that exist.
        known: &'static str,
    },
    /// The file of certificate authorities can't be read.
    #[error("setting `lock`: can't read the certificate authorities in `{}`; let `ca` name a readable PEM file", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file of certificate authorities holds none that can be used.
    #[error("setting `lock`: can't use the certificate authorities in `{}`: {why}; let `ca` name a PEM file with the authority's certificate", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The machine trusts nobody.
    #[error(
        "setting `lock`: it asks for TLS, and this machine has no trusted certificates; name a PEM file with the authority's certificate as ?ca=FILE"
    )]
    NoAuthorities,
    /// TLS can't be had.
    #[error("setting `lock`: it asks for TLS, which can't be had; report this")]
    Tls(#[source] rustls::Error),
    /// The cluster's name doesn't fit into a key.
    #[error(
        "setting `cluster`: `{0}` does not fit into a key of Redis; write 1 to 64 letters, digits, `.`, `_` or `-`"
    )]
    Cluster(String),
}

const SINGLE: &str = "redis://HOST:PORT";
const SENTINEL: &str = "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE";
const CLUSTER: &str = "redis+cluster://HOST:PORT,HOST:PORT";
const SEVERAL: &str =
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT";
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const HOSTS_MAX: usize = 32;
/// Of a file of authorities; the whole world's take a quarter of a megabyte.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a scheme says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Single,
    Sentinel,
    Cluster,
}

/// Reads a URL.
pub(super) fn parse(url: &str) -> Result<Target, UrlError> {
    let unknown = || UrlError::Scheme(ServiceUrl::new(url).shown());
    let (scheme, rest) = url.split_once("://").ok_or_else(unknown)?;
    let (secure, shape) = match scheme {
        "redis" => (false, Shape::Single),
        "rediss" => (true, Shape::Single),
        "redis+sentinel" => (false, Shape::Sentinel),
        "rediss+sentinel" => (true, Shape::Sentinel),
        "redis+cluster" => (false, Shape::Cluster),
        "rediss+cluster" => (true, Shape::Cluster),
        _ => return Err(unknown()),
    };
    if has_stray_at(url) {
        return Err(UrlError::Login(STRAY_AT));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (read_login(login)?, hosts),
        None => (Login::default(), authority),
    };
    let options = Options::read(query, secure, shape == Shape::Sentinel)?;
    let tls = options.tls(secure)?;
    let in_path = (shape != Shape::Sentinel && !path.is_empty()).then(|| path.to_owned());
    let database = read_database(options.database.or(in_path))?;
    let group = match shape {
        Shape::Single => read_single(hosts)?,
        Shape::Sentinel => read_sentinels(path, hosts, options.sentinel_login)?,
        Shape::Cluster if database != 0 => return Err(UrlError::ClusterDatabase(database)),
        Shape::Cluster => Group::Cluster(read_hosts(hosts, PORT, CLUSTER)?),
    };
    Ok(Target {
        group,
        login,
        database,
        tls,
    })
}

fn read_single(hosts: &str) -> Result<Group, UrlError> {
    let mut hosts = read_hosts(hosts, PORT, SINGLE)?;
    match (hosts.pop(), hosts.is_empty()) {
        (Some(address), true) => Ok(Group::Single(address)),
        _ => Err(host_error(
            "several hosts, which only a Sentinel group or a cluster has",
            SEVERAL,
        )),
    }
}

fn read_sentinels(path: &str, hosts: &str, login: Login) -> Result<Group, UrlError> {
    let service = decode(path)?;
    if service.is_empty() || service.contains('/') {
        return Err(UrlError::Service);
    }
    let sentinels = read_hosts(hosts, SENTINEL_PORT, SENTINEL)?;
    Ok(Group::Sentinel {
        service,
        sentinels,
        login,
    })
}

fn read_database(text: Option<String>) -> Result<i64, UrlError> {
    let Some(text) = text else {
        return Ok(0);
    };
    let number = text.parse::<u32>().map(i64::from);
    number.map_err(|_| UrlError::Database(text))
}

#[derive(Default)]
struct Options {
    database: Option<String>,
    authorities: Option<PathBuf>,
    sentinel_login: Login,
}

impl Options {
    fn read(query: &str, secure: bool, sentinel: bool) -> Result<Self, UrlError> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "db" => options.database = Some(value),
                "ca" if secure => options.authorities = Some(value.into()),
                "sentinel_username" if sentinel => options.sentinel_login.username = Some(value),
                "sentinel_password" if sentinel => options.sentinel_login.password = Some(value),
                _ => {
                    return Err(UrlError::Option {
                        name: option_name(pair).to_owned(),
                        known: match (sentinel, secure) {
                            (true, true) => "db, ca, sentinel_username, sentinel_password",
                            (true, false) => "db, sentinel_username, sentinel_password",
                            (false, true) => "db, ca",
                            (false, false) => "db",
                        },
                    });
                }
            }
        }
        if options.sentinel_login.username.is_some() && options.sentinel_login.password.is_none() {
            return Err(UrlError::Login(
                "sentinel_username has no sentinel_password",
            ));
        }
        Ok(options)
    }

    fn tls(&self, secure: bool) -> Result<Option<Tls>, UrlError> {
        if !secure {
            return Ok(None);
        }
        let authorities = match &self.authorities {
            None => None,
            Some(path) => Some(read_authorities(path)?),
        };
        Ok(Some(Tls { authorities }))
    }
}

/// A file of certificates; what is longer than any of those is not read to its end.
fn read_authorities(path: &Path) -> Result<Authorities, UrlError> {
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut pem));
    read.map_err(|source| UrlError::Authorities {
        path: path.to_owned(),
        source,
    })?;
    if pem.len() as u64 > PEM_BYTES_MAX {
        return Err(UrlError::Certificates {
            path: path.to_owned(),
            why: format!("it is longer than {PEM_BYTES_MAX} bytes"),
        });
    }
    Ok(Authorities {
        path: path.to_owned(),
        pem,
    })
}

fn read_login(text: &str) -> Result<Login, UrlError> {
    let (username, password) = text
        .split_once(':')
        .ok_or(UrlError::Login("there is a user without a password"))?;
    let username = decode(username)?;
    Ok(Login {
        username: (!username.is_empty()).then_some(username),
        password: Some(decode(password)?),
    })
}

fn read_hosts(text: &str, port: u16, example: &'static str) -> Result<Vec<Address>, UrlError> {
    let hosts: Vec<Address> = text
        .split(',')
        .map(|host| read_host(host, port, example))
        .collect::<Result<_, _>>()?;
    if hosts.len() > HOSTS_MAX {
        return Err(host_error(&format!("more than {HOSTS_MAX} hosts"), example));
    }
    Ok(hosts)
}

fn read_host(text: &str, port: u16, example: &'static str) -> Result<Address, UrlError> {
    let (host, port_text) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| host_error("an address in brackets is not closed", example))?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(host_error("a host is missing", example));
    }
    let port = match port_text {
        None => port,
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => {
                // What stands at a port's place may be half of a password with a stray `@`, so it isn't repeated.
                return Err(host_error(
                    "a port is not a number from 1 to 65535",
                    example,
                ));
            }
            Ok(port) => port,
        },
    };
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

fn host_error(problem: &str, example: &'static str) -> UrlError {
    UrlError::Host {
        problem: problem.to_owned(),
        example,
    }
}

/// Resolves `%XX`.
fn decode(text: &str) -> Result<String, UrlError> {
    let wrong = || UrlError::Login("a `%` is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let digits = after.get(..2).ok_or_else(wrong)?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).map_err(|_| wrong())?;
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Login("an escaped text is not UTF-8"))
}

#[cfg(test)]
mod tests;
