//! How private Redis servers and sentinels are guarded: a file of settings that all read first, TLS on a port of its own
//! beside the plain one, and users. It owns the arguments that say so; the certificates and the users are the test's.

use std::path::PathBuf;

use super::Error;
use super::resp::command;
use super::temp::free_port;

/// A guard; the default is none.
#[derive(Debug, Clone, Default)]
pub struct RedisGuard {
    /// A file of settings that each server reads first.
    pub config: Option<PathBuf>,
    /// A folder with `ca.pem`, `cert.pem` and `key.pem`. The plain port stays, for the test itself.
    pub tls: Option<PathBuf>,
    /// Who may do what.
    pub users: Option<RedisUsers>,
    /// The settings of each sentinel, in which `port 26379` and `10.0.0.1 6379 2` stand for its own; with users it says as
    /// whom it talks, and lets in a `tester` who may do everything.
    pub sentinel: Option<String>,
}

/// Users of the servers, who all have the same password.
#[derive(Debug, Clone)]
pub struct RedisUsers {
    /// Their file: with `replica`, `sentinel` and `tester`, who may do everything.
    pub servers: PathBuf,
    /// Everybody's password.
    pub password: String,
}

/// The ports of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) tls: Option<u16>,
}

impl Ports {
    /// The one that clients and other servers use.
    pub(super) fn service(&self) -> u16 {
        self.tls.unwrap_or(self.plain)
    }
}

impl RedisGuard {
    /// Free ports for one server.
    pub(super) fn ports(&self) -> Ports {
        Ports {
            plain: free_port(),
            tls: self.tls.as_ref().map(|_| free_port()),
        }
    }

    /// The settings of TLS, each with its value.
    pub(super) fn tls_settings(&self, ports: Ports) -> Vec<(&'static str, String)> {
        let (Some(folder), Some(port)) = (&self.tls, ports.tls) else {
            return Vec::new();
        };
        let at = |name: &str| folder.join(name).display().to_string();
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", at("cert.pem")),
            ("tls-key-file", at("key.pem")),
            ("tls-ca-cert-file", at("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }

    /// The arguments of a server.
    pub(super) fn arguments(&self, ports: Ports) -> Vec<String> {
        let mut settings = self.tls_settings(ports);
        if let Some(users) = &self.users {
            settings.push(("aclfile", users.servers.display().to_string()));
            settings.push(("masteruser", "replica".to_owned()));
            settings.push(("masterauth", users.password.clone()));
        }
        let spelt = settings.into_iter();
        spelt
            .flat_map(|(name, value)| [format!("--{name}"), value])
            .collect()
    }

    /// Who the test itself is.
    pub(super) fn tester(&self) -> Option<(&str, &str)> {
        let users = self.users.as_ref()?;
        Some(("tester", &users.password))
    }

    /// Runs one command on the server or sentinel at this plain port.
    pub(super) fn cli(&self, port: u16, arguments: &[&str]) -> Result<String, Error> {
        command(port, self.tester(), arguments)
            .map_err(|why| Error::failed(format!("run `{}` on Redis", arguments.join(" ")), why))
    }
}
