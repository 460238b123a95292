//! Which network addresses a peer that we ask may lead us to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// How far the requests for one peer may reach: an upstream with its token endpoint and redirects, an issuer of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The public internet and nothing else.
    Public,
    /// Marked `private`: private networks as well.
    Anywhere,
    /// Plain http on a private network: nothing public may be asked in clear.
    PrivateOnly,
    /// This machine only.
    LoopbackOnly,
}

/// An address that a peer may not lead to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` leads to an address that may not be reached")]
pub(crate) struct AddressRefused {
    /// The host as it was asked for.
    pub host: String,
}

impl Reach {
    /// Whether a connection to `address` may be made.
    pub fn allows(self, address: IpAddr) -> bool {
        let class = Class::of(address);
        match self {
            Self::Public => class == Class::Public,
            Self::Anywhere => class != Class::Forbidden,
            Self::PrivateOnly => matches!(class, Class::Private | Class::Loopback),
            Self::LoopbackOnly => class == Class::Loopback,
        }
    }

    /// The addresses of `host` that a connection may be made to; it is made to one of these and no other.
    fn within(self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, AddressRefused> {
        let within: Vec<_> = found.into_iter().filter(|found| self.allows(found.ip())).collect();
        if within.is_empty() { Err(AddressRefused { host: host.to_owned() }) } else { Ok(within) }
    }

    /// Checks an address that stands in the URL itself: no resolver ever sees those.
    pub fn check_literal(self, url: &Url) -> Result<(), AddressRefused> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(AddressRefused { host: String::new() }),
        };
        if self.allows(address) { Ok(()) } else { Err(AddressRefused { host: address.to_string() }) }
    }
}

/// Whether `host` names this machine: `localhost` (RFC 6761 §6.3) or a loopback address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => is_localhost(name),
        None => false,
    }
}

/// A resolver whose answers hold only addresses within reach: the check and the connection see the same addresses, so a
/// name that changes between them (rebinding) gains nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardedResolver(pub Reach);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = if is_localhost(name.as_str()) {
                vec![(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
            } else {
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect()
            };
            Ok(Box::new(reach.within(name.as_str(), found)?.into_iter()) as Addrs)
        })
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Public,
    Private,
    Loopback,
    /// Unspecified, multicast, reserved, documentation, tunnels: no registry lives there.
    Forbidden,
}

impl Class {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// IANA IPv4 Special-Purpose Address Registry.
    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..] => Self::Private,
            [198, 18..=19, ..] => Self::Private,
            [0 | 224..=255, ..] => Self::Forbidden,
            [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => Self::Forbidden,
            _ => Self::Public,
        }
    }

    /// IANA IPv6 Special-Purpose Address Registry.
    fn of_v6(address: Ipv6Addr) -> Self {
        if let Some(mapped) = address.to_ipv4_mapped() {
            // A way to write an IPv4 address that filters overlook: never as good as the address itself.
            return match Self::of_v4(mapped) {
                Self::Public => Self::Private,
                other => other,
            };
        }
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // NAT64 (RFC 6052): what counts is the IPv4 address behind it.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                Self::of_v4(Ipv4Addr::new(a, b, c, d))
            }
            [0xfe80..=0xfeff, ..] | [0xfc00..=0xfdff, ..] => Self::Private,
            // Teredo, other protocol assignments, documentation and 6to4.
            [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] => Self::Forbidden,
            [0x2000..=0x3ffe, ..] => Self::Public,
            _ => Self::Forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(reach: Reach, addresses: &[&str]) -> Vec<String> {
        addresses.iter().filter(|text| reach.allows(text.parse().unwrap())).map(|text| (*text).to_owned()).collect()
    }

    const PUBLIC: &[&str] = &["8.8.8.8", "140.82.121.33", "2606:4700::1111", "64:ff9b::808:808"];
    const PRIVATE: &[&str] = &[
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
    ];
    const LOOPBACK: &[&str] = &["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"];
    const FORBIDDEN: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::",
        "::127.0.0.1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2001::1",
        "5f00::1",
    ];

    #[test]
    fn public_reach_takes_public_addresses_only() {
        for refused in [PRIVATE, LOOPBACK, FORBIDDEN] {
            assert_eq!(allowed(Reach::Public, refused), Vec::<String>::new());
        }
        assert_eq!(allowed(Reach::Public, PUBLIC), PUBLIC);
    }

    #[test]
    fn the_other_reaches_take_what_they_say() {
        assert_eq!(allowed(Reach::Anywhere, &[PUBLIC, PRIVATE, LOOPBACK].concat()).len(), 20);
        assert_eq!(allowed(Reach::Anywhere, FORBIDDEN), Vec::<String>::new());
        assert_eq!(allowed(Reach::PrivateOnly, &[PUBLIC, FORBIDDEN].concat()), Vec::<String>::new());
        assert_eq!(allowed(Reach::PrivateOnly, PRIVATE), PRIVATE);
        assert_eq!(allowed(Reach::LoopbackOnly, &[PUBLIC, PRIVATE, FORBIDDEN].concat()), Vec::<String>::new());
        assert_eq!(allowed(Reach::LoopbackOnly, LOOPBACK), LOOPBACK);
    }

    #[test]
    fn literals_are_checked_however_they_are_written() {
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest",
        ] {
            assert!(Reach::Public.check_literal(&Url::parse(url).unwrap()).is_err(), "`{url}` was taken");
        }
        assert!(Reach::Public.check_literal(&Url::parse("https://8.8.8.8/").unwrap()).is_ok());
    }

    #[test]
    fn a17_2_a_name_that_rebinds_gains_nothing() {
        let socket = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
        let found = |texts: &[&str]| Reach::Public.within("a.example", texts.iter().map(socket).collect());
        // One answer mixes both: the private ones are never tried. Each answer is looked at, not the first alone.
        assert_eq!(found(&["10.0.0.1", "8.8.8.8", "::ffff:8.8.8.8", "::1"]), Ok(vec![socket(&"8.8.8.8")]));
        for rebound in [&["127.0.0.1"] as &[&str], &["::ffff:127.0.0.1", "169.254.169.254"], &["fd00::1"], &[]] {
            assert_eq!(found(rebound), Err(AddressRefused { host: "a.example".into() }));
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_resolve_without_dns_within_reach_only() {
        for name in ["localhost", "LOCALHOST", "a.localhost", "localhost."] {
            let refused = GuardedResolver(Reach::Public).resolve(name.parse().unwrap()).await;
            assert!(refused.is_err(), "`{name}` was taken");
            let found: Vec<_> =
                GuardedResolver(Reach::LoopbackOnly).resolve(name.parse().unwrap()).await.unwrap().collect();
            assert_eq!(found, ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
        }
    }
}
