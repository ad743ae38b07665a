//! Which addresses an HTTP handler may not reach, so that whoever can write a task can't make a worker speak to the
//! machines behind it. Owns the table and the resolver that applies it at connect time: the addresses that were
//! checked are the only ones that are connected to, so a name that changes its answer gains nothing. Never decides
//! by a host's name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Networks of IPv4 that are nobody's public address. The first that matches gives the reason.
const REFUSED_V4: &[([u8; 4], u32, &str)] = &[
    ([169, 254, 169, 254], 32, METADATA),
    ([168, 63, 129, 16], 32, METADATA),
    ([0, 0, 0, 0], 8, UNSPECIFIED),
    ([10, 0, 0, 0], 8, PRIVATE),
    ([100, 64, 0, 0], 10, "a carrier's shared network"),
    ([127, 0, 0, 0], 8, LOOPBACK),
    ([169, 254, 0, 0], 16, LINK_LOCAL),
    ([172, 16, 0, 0], 12, PRIVATE),
    ([192, 0, 0, 0], 24, PROTOCOL),
    ([192, 0, 2, 0], 24, DOCUMENTATION),
    ([192, 88, 99, 0], 24, TUNNEL),
    ([192, 168, 0, 0], 16, PRIVATE),
    ([198, 18, 0, 0], 15, BENCHMARK),
    ([198, 51, 100, 0], 24, DOCUMENTATION),
    ([203, 0, 113, 0], 24, DOCUMENTATION),
    ([224, 0, 0, 0], 4, MULTICAST),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, "a reserved network"),
];

/// The same for IPv6; whatever is outside 2000::/3 is refused even if it isn't named here.
const REFUSED_V6: &[([u16; 8], u32, &str)] = &[
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, UNSPECIFIED),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, LOOPBACK),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "an IPv4-compatible address"),
    (
        [0, 0, 0, 0, 0xffff, 0, 0, 0],
        96,
        "an IPv4-translated address",
    ),
    (
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        48,
        "a local NAT64 network",
    ),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "the discard network"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, TUNNEL),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, BENCHMARK),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, PROTOCOL),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, DOCUMENTATION),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, TUNNEL),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, DOCUMENTATION),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a unique-local network"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LINK_LOCAL),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a site-local network"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, MULTICAST),
];

/// Prefixes under which the last 32 bits are an IPv4 address, by which they are judged: v4-mapped and NAT64.
const EMBEDDED_V4: &[[u16; 8]] = &[
    [0, 0, 0, 0, 0, 0xffff, 0, 0],
    [0x64, 0xff9b, 0, 0, 0, 0, 0, 0],
];

const METADATA: &str = "a cloud's metadata service";
const UNSPECIFIED: &str = "an unspecified address";
const PRIVATE: &str = "a private network";
const LOOPBACK: &str = "the worker's own machine";
const LINK_LOCAL: &str = "a link-local network";
const PROTOCOL: &str = "a network for protocols";
const DOCUMENTATION: &str = "a network for documentation";
const TUNNEL: &str = "a tunnel into IPv4 or IPv6";
const BENCHMARK: &str = "a network for benchmarks";
const MULTICAST: &str = "a multicast address";

/// Why an HTTP handler may not connect to this address, in words that follow "which is"; `None` when it is a public
/// one.
#[must_use]
pub fn unsafe_target(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => unsafe_v4(ip),
        IpAddr::V6(ip) => unsafe_v6(ip),
    }
}

fn unsafe_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(ip);
    REFUSED_V4
        .iter()
        .find(|(net, length, _)| (bits ^ u32::from_be_bytes(*net)) >> (32 - length) == 0)
        .map(|(_, _, reason)| *reason)
}

fn unsafe_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let bits = u128::from(ip);
    let inside = |net: [u16; 8], length: u32| {
        (bits ^ u128::from(Ipv6Addr::from(net))) >> (128 - length) == 0
    };
    if EMBEDDED_V4.iter().any(|net| inside(*net, 96)) {
        let [.., a, b, c, d] = ip.octets();
        return unsafe_v4(Ipv4Addr::new(a, b, c, d));
    }
    REFUSED_V6
        .iter()
        .find(|(net, length, _)| inside(*net, *length))
        .map(|(_, _, reason)| *reason)
        .or_else(|| (!inside([0x2000, 0, 0, 0, 0, 0, 0, 0], 3)).then_some("not a public address"))
}

/// A target that this worker's settings don't allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` is at {address}, which is {reason}: this worker calls public addresses only; start it with \
     `--allow-private-targets` if its tasks are meant to reach such targets"
)]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
    reason: &'static str,
}

/// A target whose name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
pub(super) struct Unresolved(#[source] std::io::Error);

/// What is applied to every target before it is connected to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    pub(super) allow_private_targets: bool,
}

impl Guard {
    /// Checks a host that is written as an address: no resolver is asked for those. The URL parser has already turned
    /// decimal, octal, hexadecimal and short spellings of IPv4 into addresses.
    pub(super) fn check_literal(self, url: &Url) -> Result<(), Refused> {
        let address = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.check(&address.to_string(), &[SocketAddr::new(address, 0)])
    }

    /// One address that may not be reached refuses them all: which of them is used is the network's choice.
    fn check(self, host: &str, addresses: &[SocketAddr]) -> Result<(), Refused> {
        if self.allow_private_targets {
            return Ok(());
        }
        addresses
            .iter()
            .map(SocketAddr::ip)
            .try_for_each(|address| {
                unsafe_target(address).map_or(Ok(()), |reason| {
                    Err(Refused {
                        host: host.to_owned(),
                        address,
                        reason,
                    })
                })
            })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(Unresolved)?
                .collect();
            guard.check(name.as_str(), &addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Guard = Guard {
        allow_private_targets: false,
    };

    fn reason(ip: &str) -> Option<&'static str> {
        unsafe_target(ip.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_free() {
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2a00:1450:4001:82a::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(reason(ip), None, "{ip}");
        }
    }

    #[test]
    fn every_other_network_is_refused_to_its_edges() {
        for (ip, why) in [
            ("169.254.169.254", METADATA),
            ("168.63.129.16", METADATA),
            ("fd00:ec2::254", METADATA),
            ("0.0.0.0", UNSPECIFIED),
            ("0.255.255.255", UNSPECIFIED),
            ("::", UNSPECIFIED),
            ("10.0.0.0", PRIVATE),
            ("10.255.255.255", PRIVATE),
            ("172.16.0.0", PRIVATE),
            ("172.31.255.255", PRIVATE),
            ("192.168.0.0", PRIVATE),
            ("192.168.255.255", PRIVATE),
            ("100.64.0.0", "a carrier's shared network"),
            ("100.127.255.255", "a carrier's shared network"),
            ("127.0.0.1", LOOPBACK),
            ("127.255.255.255", LOOPBACK),
            ("::1", LOOPBACK),
            ("169.254.0.0", LINK_LOCAL),
            ("169.254.170.2", LINK_LOCAL),
            ("fe80::1", LINK_LOCAL),
            ("febf:ffff::", LINK_LOCAL),
            ("192.0.0.192", PROTOCOL),
            ("192.0.2.1", DOCUMENTATION),
            ("198.51.100.1", DOCUMENTATION),
            ("203.0.113.255", DOCUMENTATION),
            ("2001:db8::1", DOCUMENTATION),
            ("3fff:fff::1", DOCUMENTATION),
            ("198.18.0.0", BENCHMARK),
            ("198.19.255.255", BENCHMARK),
            ("2001:2::1", BENCHMARK),
            ("224.0.0.1", MULTICAST),
            ("239.255.255.255", MULTICAST),
            ("ff02::1", MULTICAST),
            ("255.255.255.255", "the broadcast address"),
            ("240.0.0.1", "a reserved network"),
            ("192.88.99.1", TUNNEL),
            ("2001::1", TUNNEL),
            ("2002:7f00:1::", TUNNEL),
            ("2002:808:808::1", TUNNEL),
            ("fc00::1", "a unique-local network"),
            ("fdff::1", "a unique-local network"),
            ("fec0::1", "a site-local network"),
            ("::127.0.0.1", "an IPv4-compatible address"),
            ("::8.8.8.8", "an IPv4-compatible address"),
            ("::ffff:127.0.0.1", LOOPBACK),
            ("::ffff:169.254.169.254", METADATA),
            ("::ffff:0:10.0.0.1", "an IPv4-translated address"),
            ("64:ff9b::10.0.0.1", PRIVATE),
            ("64:ff9b::169.254.169.254", METADATA),
            ("64:ff9b:1::8.8.8.8", "a local NAT64 network"),
            ("100::1", "the discard network"),
            ("4000::1", "not a public address"),
            ("5f00::1", "not a public address"),
        ] {
            assert_eq!(reason(ip), Some(why), "{ip}");
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_the_address() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "[::1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:0:0:1]",
            "user:pass@127.0.0.1",
        ] {
            let url = Url::parse(&format!("http://{host}:8080/x")).unwrap();
            assert!(GUARD.check_literal(&url).is_err(), "{host} gave {url}");
        }
        let url = Url::parse("http://127.0.0.1@example.com/").unwrap();
        assert_eq!(GUARD.check_literal(&url), Ok(()));
    }

    #[test]
    fn one_bad_address_refuses_the_name() {
        let public = "93.184.215.14:0".parse().unwrap();
        let private = "10.0.0.7:0".parse().unwrap();
        assert_eq!(GUARD.check("mixed.example", &[public]), Ok(()));
        let refused = GUARD
            .check("mixed.example", &[public, private])
            .unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("mixed.example") && text.contains("10.0.0.7"),
            "{text}"
        );
        assert!(text.contains("--allow-private-targets"), "{text}");
        let open = Guard {
            allow_private_targets: true,
        };
        assert_eq!(open.check("mixed.example", &[public, private]), Ok(()));
    }
}
