//! What has to hold on a node: which server is witgate, and which registries may be reached through it alone.

use std::collections::BTreeSet;

use super::endpoint::{Endpoint, Scheme};

/// The servers that are witgate, and the registries behind it.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// At least one; the first stands in what is to be pasted.
    witgates: Vec<Endpoint>,
    /// As references name them; empty when nobody said.
    upstreams: BTreeSet<String>,
}

impl Guard {
    /// None without a witgate: nothing can be told apart then.
    pub(super) fn new(witgates: Vec<Endpoint>, upstreams: BTreeSet<String>) -> Option<Self> {
        if witgates.is_empty() { None } else { Some(Self { witgates, upstreams }) }
    }

    /// The witgate that fixes name.
    pub(super) fn witgate(&self) -> &Endpoint {
        &self.witgates[0]
    }

    pub(super) fn is_witgate(&self, endpoint: &Endpoint) -> bool {
        self.witgates.iter().any(|witgate| witgate.is_same_server(endpoint))
    }

    /// The registries that have to be reached through witgate.
    pub(super) fn upstreams(&self) -> &BTreeSet<String> {
        &self.upstreams
    }

    /// Whether a registry has to be reached through witgate; where nobody said which, each has to.
    pub(super) fn guards(&self, registry: &str) -> bool {
        self.upstreams.is_empty() || self.upstreams.contains(registry) || self.upstreams.contains(other_name(registry))
    }

    /// Whether `registry` is witgate itself.
    pub(super) fn is_own_name(&self, registry: &str) -> bool {
        registry.parse().is_ok_and(|endpoint| self.is_witgate(&endpoint))
    }

    /// The `hosts.toml` that leaves containerd nobody else to ask.
    pub(super) fn hosts_toml(&self) -> String {
        let witgate = self.witgate();
        format!("server = \"{witgate}\"\n\n[host.\"{witgate}\"]\n  capabilities = [\"pull\", \"resolve\"]\n")
    }

    /// The `[[registry]]` that sends what begins with `prefix` to witgate alone.
    pub(super) fn registry(&self, prefix: &str) -> String {
        let location = self.location(prefix);
        let insecure = match self.witgate().scheme() {
            Scheme::Https => "",
            Scheme::Http => "insecure = true\n",
        };
        format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\n{insecure}")
    }

    /// What begins with `prefix`, at witgate.
    pub(super) fn location(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.witgate().authority())
    }
}

/// The name that a registry has besides: without the port of https, and Docker Hub's own for its servers.
fn other_name(registry: &str) -> &str {
    match registry.strip_suffix(":443").unwrap_or(registry) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_guarded_under_each_of_its_names() {
        let of = |names: &[&str]| {
            let upstreams = names.iter().map(|name| (*name).to_owned()).collect();
            Guard::new(vec!["https://witgate.example:7443".parse().unwrap()], upstreams).unwrap()
        };
        let guard = of(&["docker.io", "ghcr.io"]);
        for (registry, guarded) in [
            ("ghcr.io", true),
            ("ghcr.io:443", true),
            ("registry-1.docker.io", true),
            ("index.docker.io:443", true),
            ("ghcr.io:5000", false),
            ("quay.io", false),
        ] {
            assert_eq!(guard.guards(registry), guarded, "{registry}");
            assert!(of(&[]).guards(registry), "{registry}: nobody said which");
        }
        assert!(guard.is_own_name("witgate.example:7443") && !guard.is_own_name("witgate.example"));
        assert!(Guard::new(Vec::new(), BTreeSet::new()).is_none());
    }
}
