//! A registry as the files of other programs name it: scheme, host, port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// `https://witgate.example:7443`; what follows the port is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    /// Over TLS.
    Https,
    /// In clear.
    Http,
}

/// What is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no registry: expected `https://HOST[:PORT]` or `HOST[:PORT]`")]
pub(crate) struct NoEndpoint {
    text: String,
}

impl Endpoint {
    /// Whether both are the same server, in clear or not.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        let default = |endpoint: &Self| match endpoint.port {
            // The port that the scheme means: plain HTTP to the same host is told apart elsewhere.
            None | Some(443) => None,
            Some(80) if endpoint.scheme == Scheme::Http => None,
            port => port,
        };
        self.host == other.host && default(self) == default(other)
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let v6 = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        self.host == "localhost"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || v6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()))
    }

    /// `HOST[:PORT]`, as references and `registries.conf` write it.
    pub(super) fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    /// Only what every program reads alike: no user, no escapes, no capital scheme. A path may follow and is left out.
    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let invalid = || NoEndpoint { text: text.to_owned() };
        let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (Scheme::Https, rest),
            (_, Some(rest)) => (Scheme::Http, rest),
            _ => (Scheme::Https, text),
        };
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | '~');
        if !path.chars().all(in_path) {
            return Err(invalid());
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of `[::1]` are its own.
            Some((host, port)) if !port.ends_with(']') => {
                let plain = port.len() <= 5 && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|_| plain).ok_or_else(invalid)?;
                (host, Some(port))
            }
            _ => (authority, None),
        };
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let name = |host: &str| {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        let valid = v6.map_or_else(|| name(host), |host| host.parse::<Ipv6Addr>().is_ok());
        if !valid {
            return Err(invalid());
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_server_is_known_in_each_spelling() {
        let witgate = of("https://witgate.example");
        for text in
            ["witgate.example", "https://WITGATE.example:443/v2/x", "http://witgate.example", "witgate.example/"]
        {
            assert!(witgate.is_same_server(&of(text)), "{text}");
        }
        for text in ["witgate.example:7443", "https://ghcr.io", "https://witgate.example.", "https://x.witgate.example"]
        {
            assert!(!witgate.is_same_server(&of(text)), "{text}");
        }
        assert!(of("http://witgate.example:80").is_same_server(&witgate));
        assert!(!of("https://witgate.example:80").is_same_server(&witgate));
    }

    #[test]
    fn what_two_programs_may_read_differently_is_no_endpoint() {
        for text in [
            "",
            "https://",
            "HTTPS://witgate.example",
            "https://witgate.example@ghcr.io",
            "https://ghcr.io\\@witgate.example",
            "https://witgate.example?x",
            "https://witgate.example#x",
            "https://witgate.example:",
            "https://witgate.example:70000",
            "https://witgate.example:+443",
            "https://witgate%2eexample",
            "https://witgate.example/%2e%2e",
            "ftp://witgate.example",
            "https://[::1",
            "https://wítgate.example",
            " https://witgate.example",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn loopback_is_known() {
        for (text, here) in [
            ("http://127.0.0.1:5000", true),
            ("localhost:5000", true),
            ("http://[::1]:5000", true),
            ("127.evil.example", false),
            ("localhost.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(of(text).is_loopback(), here, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_endpoint_reads_as_it_is_written(text in "(https?://)?[a-z0-9.-]{1,12}(:[0-9]{1,4})?(/[a-z]{0,4})?") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            }
        }
    }
}
