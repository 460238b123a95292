//! One upstream: who it is, where it may lead us, which credential it gets.

use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;

use super::budgets::{Budgets, REQUESTS_PER_UPSTREAM};
use super::credential::Credential;
use super::pause::Pauses;
use super::token::Authorizations;
use crate::egress::Reach;

/// Everything that requests to one upstream need.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    /// The name in the configuration, and the registry in references.
    pub name: String,
    /// Where its `/v2/` is.
    pub base: Url,
    /// Which addresses it may lead us to.
    pub reach: Reach,
    /// What it gets when it asks who we are.
    pub credential: Credential,
    /// Token endpoints beside its own origin.
    pub auth_hosts: Vec<HostPattern>,
    /// Where blobs may be redirected to beside its own origin.
    pub redirect_hosts: Vec<HostPattern>,
    /// The client of this upstream alone.
    pub client: reqwest::Client,
    /// Places for requests.
    pub places: Arc<Semaphore>,
    /// What it last took.
    pub authorizations: Authorizations,
    /// Whether it said to wait.
    pub pauses: Pauses,
    /// How long it may take.
    pub budgets: Arc<Budgets>,
}

impl Upstream {
    /// Places for a new upstream.
    pub fn places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(REQUESTS_PER_UPSTREAM))
    }

    /// `{base}/v2/{repository}/{kind}/{last}`, each part percent-encoded.
    pub fn endpoint(&self, repository: &str, kind: &str, last: &str) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an upstream's URL is http or https: checked at start")
            .pop_if_empty()
            .push("v2")
            .extend(repository.split('/'))
            .push(kind)
            .push(last);
        url
    }

    /// Whether it answers us what it would not answer everybody.
    pub fn lends_access(&self) -> bool {
        !matches!(self.credential, Credential::Anonymous) || matches!(self.reach, Reach::Anywhere | Reach::PrivateOnly)
    }

    /// Whether `url` may see what we send to a token endpoint, the credential included.
    pub fn trusts_realm(&self, url: &Url) -> bool {
        self.may_lead_to(url, &self.auth_hosts)
    }

    /// Whether a blob may be read from `url`, without any credential.
    pub fn trusts_redirect(&self, url: &Url) -> bool {
        self.may_lead_to(url, &self.redirect_hosts)
    }

    fn may_lead_to(&self, url: &Url, hosts: &[HostPattern]) -> bool {
        let in_clear = url.scheme() == "http" && self.base.scheme() == "http";
        (url.scheme() == "https" || in_clear)
            && url.username().is_empty()
            && url.password().is_none()
            && (url.origin() == self.base.origin() || hosts.iter().any(|pattern| pattern.matches(url)))
    }
}

/// A host in `auth_hosts` or `redirect_hosts`: `host`, `host:port` or `*.domain`; without a port the scheme's own counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    host: String,
    port: Option<u16>,
    /// `*.`: at least one label in front.
    below: bool,
}

impl HostPattern {
    /// Parses a pattern; none if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        // Parsed as a URL is, so that both sides are written alike (IDNA, IPv4 forms, case).
        let url = Url::parse(&format!("https://{rest}/")).ok()?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let host = url.host_str()?;
        let wildcard_fits = !below || (url.domain().is_some() && host.contains('.'));
        let written = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        (plain && url.password().is_none() && wildcard_fits && !host.contains('*') && !rest.ends_with('/')).then(|| {
            Self { host: host.to_owned(), port: if written { url.port_or_known_default() } else { None }, below }
        })
    }

    fn matches(&self, url: &Url) -> bool {
        let port_fits = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        port_fits
            && url.host_str().is_some_and(|host| {
                if self.below {
                    host.strip_suffix(&self.host).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
                } else {
                    host == self.host
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        HostPattern::parse(pattern).unwrap().matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn patterns_match_whole_hosts_and_their_port() {
        assert!(matches("auth.docker.io", "https://auth.docker.io/token?x"));
        assert!(matches("AUTH.docker.io", "https://auth.docker.io/"));
        assert!(matches("*.blob.core.windows.net", "https://x.blob.core.windows.net/a"));
        assert!(matches("*.blob.core.windows.net", "https://x.y.blob.core.windows.net/a"));
        assert!(matches("127.0.0.1:8080", "http://127.0.0.1:8080/"));
        assert!(matches("a.example:443", "https://a.example/"));
        assert!(matches("[::1]:8080", "http://[::1]:8080/"));
        for (pattern, url) in [
            ("docker.io", "https://auth.docker.io/"),
            ("auth.docker.io", "https://auth.docker.io.evil.example/"),
            ("auth.docker.io", "https://auth.docker.io:8443/"),
            ("auth.docker.io", "https://auth.docker.io@evil.example/"),
            ("*.core.windows.net", "https://core.windows.net/"),
            ("*.core.windows.net", "https://evilcore.windows.net/"),
            ("*.core.windows.net", "https://.core.windows.net/"),
            ("127.0.0.1:8080", "http://127.0.0.1:8081/"),
            ("127.0.0.1", "http://127.0.0.1:8080/"),
        ] {
            assert!(!matches(pattern, url), "`{pattern}` takes `{url}`");
        }
    }

    #[test]
    fn refuses_patterns_that_say_more_than_a_host() {
        for text in [
            "",
            "*",
            "*.",
            "*.com",
            "a.*.b",
            "https://a",
            "a/b",
            "a/",
            "u@a.example",
            "a?x",
            "*.10.0.0.1",
            "a:b",
            "a b",
        ] {
            assert_eq!(HostPattern::parse(text), None, "`{text}` was taken");
        }
    }
}
