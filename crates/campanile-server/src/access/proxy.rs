//! A proxy that has checked people itself and says who they are in a header. Its word counts only where the connection is
//! its own: the peer's address is one that the settings name, whatever any header says of where a request came from.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName};
use campanile_login::Rights;

use super::grants::Grants;
use crate::http::proxies::Proxies;

/// The longest name, and the most that is read of a header of groups, in bytes.
const NAME_BYTES_MAX: usize = 200;
const GROUPS_BYTES_MAX: usize = 16 * 1024;

/// What the settings say of it.
#[derive(Debug, Clone)]
pub struct ProxyHeader {
    /// The header with somebody's name.
    pub header: HeaderName,
    /// From where it counts.
    pub from: Proxies,
    /// The header with his groups, separated by commas.
    pub groups_header: Option<HeaderName>,
    /// What groups are worth.
    pub grants: Grants,
    /// What somebody is worth who is in none of them.
    pub rights: Option<Rights>,
}

/// What a request says of who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing that counts.
    Nothing,
    /// This one, with these rights.
    Somebody(String, Rights),
    /// This one, who is in no group that is worth anything.
    Nobody(String),
    /// What can't be told apart or read.
    Odd(String),
}

/// Headers that came from where they don't count.
#[derive(Debug, Default)]
pub struct Ignored(AtomicU64);

impl Ignored {
    /// Counts one; answers whether it is worth a line of the log: the first, and then each time there are twice as many.
    pub fn note(&self) -> Option<u64> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        count.is_power_of_two().then_some(count)
    }
}

impl ProxyHeader {
    /// Who a request is from, that came over a connection from `peer`.
    #[must_use]
    pub fn read(&self, peer: IpAddr, headers: &HeaderMap, ignored: &Ignored) -> Said {
        let mut values = headers.get_all(&self.header).iter();
        let Some(value) = values.next() else {
            return Said::Nothing;
        };
        if !self.from.hold(peer) {
            if let Some(count) = ignored.note() {
                tracing::warn!(
                    %peer, count,
                    "{count} requests so far said by `{}` who they are, the last of them from {peer}, which is no address of \
                     `access_proxy_from`: the header was ignored",
                    self.header
                );
            }
            return Said::Nothing;
        }
        if values.next().is_some() {
            return Said::Odd(format!(
                "the request has several headers `{}`: the proxy must replace what clients send",
                self.header
            ));
        }
        let name = value.to_str().map(str::trim).unwrap_or_default();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Said::Odd(format!(
                "the header `{}` holds no name of 1 to {NAME_BYTES_MAX} characters",
                self.header
            ));
        }
        let groups = match &self.groups_header {
            None => Vec::new(),
            Some(header) => match groups(headers, header) {
                Ok(groups) => groups,
                Err(wrong) => return Said::Odd(wrong),
            },
        };
        match self.grants.of(&groups).or(self.rights.as_ref()) {
            Some(rights) => Said::Somebody(name.to_owned(), rights.clone()),
            None => Said::Nobody(name.to_owned()),
        }
    }
}

fn groups(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(Vec::new());
    };
    if values.next().is_some() {
        return Err(format!(
            "the request has several headers `{name}`: the proxy must send one"
        ));
    }
    let text = value
        .to_str()
        .ok()
        .filter(|text| text.len() <= GROUPS_BYTES_MAX);
    let text = text.ok_or_else(|| format!("the header `{name}` can't be read, or is too long"))?;
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    Ok(parts.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(peer: &str, headers: &[(&'static str, &str)], rights: Option<&str>) -> Said {
        let proxy = ProxyHeader {
            header: HeaderName::from_static("x-forwarded-user"),
            from: Proxies::read(&["10.0.0.0/8".to_owned()]).unwrap(),
            groups_header: Some(HeaderName::from_static("x-forwarded-groups")),
            grants: Grants::read(&["ops=operator".to_owned(), "all=viewer".to_owned()]).unwrap(),
            rights: rights.map(|r| super::super::grants::read_rights(r).unwrap()),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxy.read(peer.parse().unwrap(), &map, &Ignored::default())
    }

    #[test]
    fn the_peer_alone_makes_a_header_count() {
        let ada = ("x-forwarded-user", "ada");
        let ops = ("x-forwarded-groups", "all, ops");
        let somebody = |name: &str, rights: &str| {
            Said::Somebody(
                name.to_owned(),
                super::super::grants::read_rights(rights).unwrap(),
            )
        };
        assert_eq!(
            read("10.1.2.3", &[ada, ops], None),
            somebody("ada", "operator")
        );
        assert_eq!(
            read("::ffff:10.1.2.3", &[ada, ops], None),
            somebody("ada", "operator")
        );
        for peer in ["11.0.0.1", "127.0.0.1", "::1", "2001:db8::1"] {
            assert_eq!(read(peer, &[ada, ops], None), Said::Nothing, "{peer}");
            // Whatever else it says of where it comes from.
            let said = [
                ada,
                ops,
                ("x-forwarded-for", "10.1.2.3"),
                ("forwarded", "for=10.1.2.3"),
            ];
            assert_eq!(read(peer, &said, None), Said::Nothing, "{peer}");
        }
        assert_eq!(read("10.1.2.3", &[ops], None), Said::Nothing);
        // Who is in no group that counts is nobody, unless the settings give everybody something.
        let other = ("x-forwarded-groups", "Ops,opsx, ");
        assert_eq!(
            read("10.1.2.3", &[ada, other], None),
            Said::Nobody("ada".to_owned())
        );
        assert_eq!(
            read("10.1.2.3", &[ada], None),
            Said::Nobody("ada".to_owned())
        );
        assert_eq!(
            read("10.1.2.3", &[ada], Some("viewer")),
            somebody("ada", "viewer")
        );
    }

    #[test]
    fn what_can_not_be_told_apart_is_refused() {
        let odd = |headers: &[(&'static str, &str)]| {
            matches!(read("10.0.0.1", headers, Some("viewer")), Said::Odd(_))
        };
        assert!(odd(&[
            ("x-forwarded-user", "ada"),
            ("x-forwarded-user", "eve")
        ]));
        assert!(odd(&[
            ("x-forwarded-user", "ada"),
            ("x-forwarded-user", "ada")
        ]));
        assert!(odd(&[("x-forwarded-user", "  ")]));
        assert!(odd(&[("x-forwarded-user", &"x".repeat(201))]));
        assert!(odd(&[
            ("x-forwarded-user", "ada"),
            ("x-forwarded-groups", "a"),
            ("x-forwarded-groups", "b")
        ]));
        assert!(odd(&[
            ("x-forwarded-user", "ada"),
            ("x-forwarded-groups", &"x".repeat(20_000))
        ]));
    }

    #[test]
    fn what_is_ignored_is_told_less_and_less_often() {
        let ignored = Ignored::default();
        let told: Vec<u64> = (0..1_000).filter_map(|_| ignored.note()).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    }
}
