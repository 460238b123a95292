//! An OCI reference that can be read in one way only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use witgate_host_hook::digest::{Digest, DigestError};

/// An OCI reference: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, at least one of tag and digest.
///
/// The registry is always named: there is no default registry and no `library/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The longest reference that is parsed, in bytes (distribution-spec: host and name at most 255).
    pub const MAX_BYTES: usize = MAX_NAME_BYTES + 1 + 128 + 1 + 71;

    /// As it stands in a case.
    pub fn facts(&self) -> super::ReferenceFacts {
        super::ReferenceFacts {
            text: self.to_string(),
            upstream: self.registry().to_owned(),
            repository: self.repository().to_owned(),
            tag: self.tag().map(str::to_owned),
            digest: self.digest().copied(),
        }
    }

    /// The registry as written: `ghcr.io`, `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository: `acme/cart`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A repository of one registry: what `REGISTRY/REPOSITORY` in front of a tag or digest names.
///
/// ```text
/// ghcr.io/acme/cart
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    name: String,
}

impl Repository {
    /// The repository `name` of `registry`.
    ///
    /// # Errors
    /// [`ReferenceError::Registry`] or [`ReferenceError::Repository`].
    pub fn new(registry: &str, name: &str) -> Result<Self, ReferenceError> {
        if !is_registry(registry) {
            return Err(ReferenceError::Registry);
        }
        if !is_repository(name) || registry.len() + 1 + name.len() > MAX_NAME_BYTES {
            return Err(ReferenceError::Repository);
        }
        Ok(Self { registry: registry.to_owned(), name: name.to_owned() })
    }

    /// The registry: `ghcr.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name in it: `acme/cart`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A reference to what `tag` names here.
    ///
    /// # Errors
    /// [`ReferenceError::Tag`].
    pub fn at_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        let Self { registry, name } = self.clone();
        Ok(Reference { registry, repository: name, tag: Some(tag.to_owned()), digest: None })
    }

    /// A reference to `digest` here.
    pub fn at_digest(&self, digest: Digest) -> Reference {
        let Self { registry, name } = self.clone();
        Reference { registry, repository: name, tag: None, digest: Some(digest) }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (registry, name) = text.split_once('/').ok_or(ReferenceError::NoRegistry)?;
        Self::new(registry, name)
    }
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Longer than [`Reference::MAX_BYTES`].
    #[error("reference is longer than {} bytes", Reference::MAX_BYTES)]
    TooLong,
    /// No registry in front of the first `/`.
    #[error("reference names no registry: expected `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`")]
    NoRegistry,
    /// The registry is not `host` or `host:port`.
    #[error("registry is not `host` or `host:port`")]
    Registry,
    /// The repository breaks the grammar of distribution-spec.
    #[error("repository is not lower-case words joined by `/`, `.`, `_` or `-`")]
    Repository,
    /// The tag breaks the grammar of distribution-spec.
    #[error("tag is not 1 to 128 of `A-Z a-z 0-9 . _ -`")]
    Tag,
    /// The digest is none.
    #[error("digest is not `sha256:` and 64 lower-case hex digits")]
    Digest(#[from] DigestError),
    /// Neither tag nor digest: there is no default tag.
    #[error("reference has neither tag nor digest: add `:TAG` or `@sha256:…`")]
    NoTagOrDigest,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(ReferenceError::TooLong);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = name.split_once('/').ok_or(ReferenceError::NoRegistry)?;
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let Repository { registry, name: repository } = Repository::new(registry, repository)?;
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag);
        }
        if tag.is_none() && digest.is_none() {
            return Err(ReferenceError::NoTagOrDigest);
        }
        Ok(Self { registry, repository, tag: tag.map(str::to_owned), digest })
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The longest registry and repository together, in bytes (distribution-spec, "Pulling manifests": host and name).
const MAX_NAME_BYTES: usize = 255;

/// `localhost`, a name with a dot, an IPv4 address or `[v6]`, each with an optional port: never a bare word, which would
/// read as the first part of a repository.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    port.is_none_or(is_port)
        && (host.contains('.') || host == "localhost" || port.is_some())
        && host.split('.').all(label)
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && !text.starts_with('0') && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// distribution-spec: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`.
fn is_repository(text: &str) -> bool {
    text.split('/').all(|part| {
        let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        let ends_well = bytes.first().copied().is_some_and(alnum) && bytes.last().copied().is_some_and(alnum);
        ends_well
            && part
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .filter(|between| !between.is_empty())
                .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
    })
}

/// distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.as_bytes().first().copied().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_references_that_would_be_read_two_ways() {
        for text in [
            "",
            "cart",
            "cart:1",
            "acme/cart:1",
            "ghcr.io/acme/cart",
            "ghcr.io/Acme/cart:1",
            "ghcr.io/acme//cart:1",
            "ghcr.io/../x:1",
            "ghcr.io/acme/cart:",
            "ghcr.io/acme/cart:-x",
            "ghcr.io/acme/cart@sha256:12",
            "user@ghcr.io/acme/cart:1",
            "ghcr.io/a___b:1",
            "ghcr.io:0/a:1",
            "ghcr.io:99999/a:1",
            "ghcr.io/a/:1",
            "GHCR.io/a:1",
            "ghcr.io/a:1\n",
            "ghcr.io/%2e%2e/a:1",
            "http://ghcr.io/a:1",
            "[::1/a:1",
            "ghcr..io/a:1",
        ] {
            assert!(text.parse::<Reference>().is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn takes_the_usual_forms() {
        let digest = Digest::of(b"");
        for text in [
            "ghcr.io/acme/cart:1.4".to_owned(),
            "127.0.0.1:5000/a:latest".into(),
            "localhost:5000/a__b/c-d.e:v1".into(),
            "[::1]:5000/a:1".into(),
            format!("ghcr.io/acme/cart@{digest}"),
            format!("ghcr.io/acme/cart:1.4@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn printing_a_parsed_reference_gives_the_same_text(text in "[a-z0-9.:/@_\\[\\]-]{0,40}") {
            if let Ok(repository) = text.parse::<Repository>() {
                prop_assert_eq!(repository.to_string(), text.clone());
                let digest = Digest::of(b"");
                prop_assert_eq!(repository.at_digest(digest).to_string(), format!("{text}@{digest}"));
                prop_assert_eq!(repository.at_tag("1").unwrap().to_string(), format!("{text}:1"));
            }
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
