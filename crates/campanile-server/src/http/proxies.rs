//! Who the client is, when proxies stand in front of a node. A forwarded header is anybody's text: it counts only as far
//! as it was written by an address of the setting `trusted_proxies`, read from the right, where the nearest proxy wrote.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

/// Networks that the setting may list.
const NETWORKS_MAX: usize = 64;
/// Addresses of a forwarded header that are looked at, from the right.
const HOPS_MAX: usize = 16;

/// The proxies whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// A network: the bits of an address that are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub address: IpAddr,
    /// Whether it is the very peer of the connection: no proxy spoke for it.
    pub direct: bool,
}

impl Client {
    /// Somebody on this machine, without a proxy between.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.direct && self.address.is_loopback()
    }
}

impl Proxies {
    /// Reads the setting.
    ///
    /// # Errors
    /// A part that is neither an address nor a network.
    pub fn read(parts: &[String]) -> Result<Self, String> {
        if parts.len() > NETWORKS_MAX {
            return Err(format!(
                "lists {} networks: write {NETWORKS_MAX} at most",
                parts.len()
            ));
        }
        parts
            .iter()
            .map(|part| Network::read(part))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether this address is a proxy's.
    #[must_use]
    pub fn hold(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.holds(address))
    }

    /// Who sent a request with these headers over a connection from `peer`.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        let direct = Client {
            address: peer,
            direct: true,
        };
        if !self.hold(peer) {
            return direct;
        }
        let mut address = peer;
        for said in forwarded(headers).into_iter().take(HOPS_MAX) {
            match said {
                Some(said) => address = said.to_canonical(),
                // What the nearest proxy wrote can't be read: it speaks for itself.
                None => break,
            }
            if !self.hold(address) {
                break;
            }
        }
        if address == peer {
            return direct;
        }
        Client {
            address,
            direct: false,
        }
    }
}

impl Network {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is neither an address nor a network: write 10.0.0.5, 10.0.0.0/8 or fd00::/8"
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|b| *b <= width)
                .ok_or_else(wrong)?,
        };
        if bits == 0 {
            return Err(format!(
                "`{text}` is everybody: then anybody could say to be anybody; write your proxies' own addresses"
            ));
        }
        Ok(Self { address, bits })
    }

    fn holds(&self, other: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| (a ^ b) >> (width - self.bits) == 0;
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same(u128::from(u32::from(a)), u128::from(u32::from(b)), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(u128::from(a), u128::from(b), 128),
            _ => false,
        }
    }
}

/// The addresses of the forwarded headers, nearest first; `None` = one that can't be read. A request with both kinds says
/// nothing: a proxy writes one of them and passes the client's other one on.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .flat_map(|v| v.to_str().unwrap_or("?").split(','))
            .map(|part| part.trim().to_owned())
            .collect()
    };
    let (old, new) = (all("x-forwarded-for"), all("forwarded"));
    match (old.is_empty(), new.is_empty()) {
        (false, true) => old.iter().rev().map(|part| address(part)).collect(),
        (true, false) => new.iter().rev().map(|part| address_of_for(part)).collect(),
        _ => Vec::new(),
    }
}

/// The address of one element of `Forwarded`.
fn address_of_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| address(value.trim().trim_matches('"')))?
    })
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, _) = rest.split_once(']')?;
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(parts: &[&str]) -> Result<Proxies, String> {
        let parts: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
        Proxies::read(&parts)
    }

    fn client(trusted: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let got = proxies(trusted)
            .unwrap()
            .client(peer.parse().unwrap(), &map);
        assert_eq!(
            got.direct,
            got.address == peer.parse::<IpAddr>().unwrap().to_canonical()
        );
        got.address.to_string()
    }

    /// The trusted networks; the peer; what it forwards; who the client is.
    const CLIENTS: &[(&str, &str, &str, &str)] = &[
        ("", "10.0.0.1", "x-forwarded-for: 1.1.1.1", "10.0.0.1"),
        (
            "10.0.0.0/8",
            "11.0.0.1",
            "x-forwarded-for: 1.1.1.1",
            "11.0.0.1",
        ),
        ("10.0.0.0/8", "10.9.9.9", "", "10.9.9.9"),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: 1.1.1.1",
            "1.1.1.1",
        ),
        // What stands left of the nearest stranger is the stranger's own text.
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: 6.6.6.6, 1.1.1.1",
            "1.1.1.1",
        ),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: 1.1.1.1, 10.0.0.2",
            "1.1.1.1",
        ),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: 6.6.6.6|x-forwarded-for: 1.1.1.1",
            "1.1.1.1",
        ),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: 1.1.1.1, rubbish",
            "10.9.9.9",
        ),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: rubbish, 10.0.0.2",
            "10.0.0.2",
        ),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: 1.1.1.1:4711",
            "1.1.1.1",
        ),
        (
            "10.0.0.0/8",
            "::ffff:10.9.9.9",
            "x-forwarded-for: 1.1.1.1",
            "1.1.1.1",
        ),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            "x-forwarded-for: ::ffff:1.1.1.1",
            "1.1.1.1",
        ),
        (
            "fd00::/8 127.0.0.1",
            "127.0.0.1",
            "x-forwarded-for: 2001:db8::5, fd01::1",
            "2001:db8::5",
        ),
        (
            "127.0.0.1",
            "127.0.0.1",
            "forwarded: for=1.1.1.1;proto=https",
            "1.1.1.1",
        ),
        (
            "127.0.0.1",
            "127.0.0.1",
            "forwarded: for=6.6.6.6, For=\"[2001:db8::1]:47\"",
            "2001:db8::1",
        ),
        (
            "127.0.0.1",
            "127.0.0.1",
            "forwarded: for=unknown",
            "127.0.0.1",
        ),
        (
            "127.0.0.1",
            "127.0.0.1",
            "forwarded: proto=https",
            "127.0.0.1",
        ),
        // One of the two is the client's own.
        (
            "127.0.0.1",
            "127.0.0.1",
            "forwarded: for=6.6.6.6|x-forwarded-for: 1.1.1.1",
            "127.0.0.1",
        ),
    ];

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        for (trusted, peer, forwarded, expected) in CLIENTS {
            let trusted: Vec<&str> = trusted.split_whitespace().collect();
            let headers = forwarded.split('|').filter_map(|h| h.split_once(": "));
            let headers: Vec<(&str, &str)> = headers.collect();
            let got = client(&trusted, peer, &headers);
            assert_eq!(got, *expected, "{trusted:?} {peer} {headers:?}");
        }
        let long = vec!["10.0.0.2"; 1_000].join(", ");
        let got = client(&["10.0.0.0/8"], "10.9.9.9", &[("x-forwarded-for", &long)]);
        assert_eq!(got, "10.0.0.2");
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for text in [
            "proxy",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/129",
            "10.0.0.0/",
            "",
        ] {
            let said = proxies(&[text]).unwrap_err();
            assert!(said.contains("write 10.0.0.5"), "{said}");
        }
        assert!(proxies(&["0.0.0.0/0"]).unwrap_err().contains("everybody"));
        assert!(proxies(&["::/0"]).unwrap_err().contains("everybody"));
        assert!(
            proxies(&["10.1.2.3/8"])
                .unwrap()
                .hold("10.255.0.1".parse().unwrap())
        );
    }
}
