//! Where a client command's requests go, read once: which machine that is decides whether a token that was found here may
//! go there, and whether it may go in the clear. Compared is what was parsed, never how it was spelled. Sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;

use super::client::DEFAULT_URL;
use crate::config::ServiceUrl;

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, and what to write. A password within it is not repeated.
    pub fn read(text: &str, insecure: bool) -> Result<Self, String> {
        let shown = ServiceUrl::new(text);
        let url = Url::parse(text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            return Err(format!(
                "`{shown}` is not the address of a service: write it as in {DEFAULT_URL}"
            ));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "the address `{shown}` holds a user: the service is `{}`, if that is the one you mean, and the token is \
                 set by CAMPANILE_TOKEN",
                url.host_str().unwrap_or_default()
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "the address `{shown}` has something behind its path: write it as in {DEFAULT_URL}"
            ));
        }
        let target = Self(url);
        if target.0.scheme() == "http" && !target.is_local() && !insecure {
            return Err(format!(
                "`{shown}` is another machine and plain http: everybody on the path could read the token; write https:// \
                 (with --ca FILE for a certificate of your own), or say --insecure"
            ));
        }
        Ok(target)
    }

    /// The host, as it was parsed.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether the service is on this very machine.
    pub fn is_local(&self) -> bool {
        let host = self.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// The addresses of a name that no name server is asked about.
    pub fn resolved(&self) -> Option<[SocketAddr; 2]> {
        // The port is the URL's.
        (self.host() == "localhost").then(|| {
            [
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0),
            ]
        })
    }

    /// The address, without a slash at its end.
    pub fn into_url(self) -> String {
        self.0.as_str().trim_end_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_token_goes_to_this_machine_alone() {
        for url in [
            "http://127.0.0.1:7070",
            "http://localhost:7070",
            "http://LOCALHOST",
            "https://localhost/prefix/",
            "http://[::1]:7070",
            "http://[::ffff:127.0.0.1]:7070",
            "http://127.1:7070",
            "http://0x7f.0.0.1",
            "http://2130706433",
        ] {
            let target = Target::read(url, false).expect(url);
            assert!(target.is_local(), "{url}");
        }
        for url in [
            "https://127.0.0.1.evil:7070",
            "https://localhost.evil",
            "https://evil/localhost",
            "https://evil#@localhost",
            "https://[::ffff:10.0.0.1]",
            "https://[::2]",
            "https://0.0.0.0",
            "https://10.0.0.1",
            "https://xn--lcalhost-c0a",
        ] {
            // With a mark behind the path it is refused altogether.
            let local = Target::read(url, false).is_ok_and(|t| t.is_local());
            assert!(!local, "{url}");
        }
    }

    #[test]
    fn what_could_take_the_token_elsewhere_is_refused_with_the_remedy() {
        for (url, part) in [
            ("localhost", "is not the address of a service"),
            ("localhost:7070", "is not the address of a service"),
            ("ftp://localhost", "is not the address of a service"),
            ("http://", "is not the address of a service"),
            (
                "http://localhost@elsewhere:7070",
                "holds a user: the service is `elsewhere`",
            ),
            ("http://localhost:7070@elsewhere", "holds a user"),
            ("http://user:hunter2@localhost", "CAMPANILE_TOKEN"),
            ("http://127.0.0.1\\@elsewhere", "behind its path"),
            ("http://localhost/?x=hunter2", "behind its path"),
            ("http://localhost/#x", "behind its path"),
            ("http://10.0.0.1:7070", "say --insecure"),
            ("http://127.0.0.1.evil:7070", "say --insecure"),
            ("http://[::ffff:10.0.0.1]", "say --insecure"),
        ] {
            let got = Target::read(url, false);
            if url.contains('\\') {
                // A backslash is a slash: what follows is a path on this machine.
                assert_eq!(got.unwrap().host(), "127.0.0.1");
                continue;
            }
            let said = got.expect_err(url);
            assert!(said.contains(part), "{url}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        let far = Target::read("http://10.0.0.1:7070/", true).unwrap();
        assert!(!far.is_local());
        assert_eq!(far.into_url(), "http://10.0.0.1:7070");
    }
}
