//! Which endpoint of which upstream's repository a raw path with its query names.

use crate::case::{Digest, Reference, Repository};

/// A request of distribution-spec's reading half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The upstream and the repository in it: from here on the only name.
    pub repository: Repository,
    /// What is asked of it.
    pub what: What,
    /// Who named the upstream.
    pub named_by: NamedBy,
}

/// The endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `manifests/TAG`
    Tag(Reference),
    /// `manifests/DIGEST`
    Manifest(AnyDigest),
    /// `blobs/DIGEST`
    Blob(AnyDigest),
    /// `tags/list?n=&last=`
    Tags(Page),
    /// `referrers/DIGEST?artifactType=`
    Referrers {
        /// What they are about.
        subject: AnyDigest,
        /// The one kind that is wanted.
        artifact_type: Option<String>,
    },
}

/// A well-formed digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyDigest {
    /// SHA-256: what witgate hashes and admits.
    Sha256(Digest),
    /// SHA-512: nothing admitted goes by it.
    Sha512,
}

/// A part of a sorted list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub n: Option<usize>,
    /// Behind this one.
    pub last: Option<String>,
}

/// Who named the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The path's first segment.
    Prefix,
    /// containerd's `?ns=`.
    Namespace,
}

/// A path that is answered without a look at anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// Names are never enumerated.
    Catalog,
    /// No endpoint of the specification.
    NoEndpoint,
    /// Neither the path nor `ns` names an upstream.
    NoUpstream,
    /// The path names an upstream and `ns` does: two repositories could be meant.
    TwoUpstreams,
    /// The rest is no repository.
    Name,
    /// It has a `:` and is no digest.
    Digest,
    /// It can be no tag.
    Tag,
    /// A parameter that stands twice, or is none.
    Query(&'static str),
}

/// The longest query that is looked into, in bytes: four parameters, the longest of them a media type of 255.
pub const QUERY_MAX_BYTES: usize = 4096;

/// The longest `last`, in bytes: a tag has 128, and some registries write more into it.
pub const LAST_MAX_BYTES: usize = 256;

impl Target {
    /// Reads a raw path from the right, because a repository's name holds slashes. Nothing is decoded: no name holds a `%`.
    ///
    /// ```text
    /// /v2/ghcr.io/acme/cart/manifests/1.4
    /// /v2/acme/cart/manifests/1.4?ns=ghcr.io
    /// ```
    ///
    /// # Errors
    /// [`PathFault`]
    pub fn parse(path: &str, query: Option<&str>, is_upstream: impl Fn(&str) -> bool) -> Result<Self, PathFault> {
        let rest = path.strip_prefix("/v2/").ok_or(PathFault::NoEndpoint)?;
        if rest == "_catalog" {
            return Err(PathFault::Catalog);
        }
        let (front, last) = rest.rsplit_once('/').ok_or(PathFault::NoEndpoint)?;
        let (name, kind) = front.rsplit_once('/').ok_or(PathFault::NoEndpoint)?;
        let endpoint = Endpoint::of(kind, last).ok_or(PathFault::NoEndpoint)?;
        let query = Query::parse(query.unwrap_or_default())?;
        let (registry, name, named_by) = match (&query.ns, name.split_once('/')) {
            (Some(ns), first) if is_upstream(ns) => {
                let first = first.map_or(name, |(first, _)| first);
                if is_upstream(first) {
                    return Err(PathFault::TwoUpstreams);
                }
                (ns.as_str(), name, NamedBy::Namespace)
            }
            (None, Some((registry, name))) if is_upstream(registry) => (registry, name, NamedBy::Prefix),
            _ => return Err(PathFault::NoUpstream),
        };
        let repository = Repository::new(registry, name).map_err(|_| PathFault::Name)?;
        let what = match endpoint {
            Endpoint::Manifests if last.contains(':') => What::Manifest(AnyDigest::parse(last)?),
            Endpoint::Manifests => What::Tag(repository.at_tag(last).map_err(|_| PathFault::Tag)?),
            Endpoint::Blobs => What::Blob(AnyDigest::parse(last)?),
            Endpoint::Tags => What::Tags(query.page),
            Endpoint::Referrers => {
                What::Referrers { subject: AnyDigest::parse(last)?, artifact_type: query.artifact_type }
            }
        };
        Ok(Self { repository, what, named_by })
    }
}

#[derive(Clone, Copy)]
enum Endpoint {
    Manifests,
    Blobs,
    Tags,
    Referrers,
}

impl Endpoint {
    fn of(kind: &str, last: &str) -> Option<Self> {
        match (kind, last) {
            (_, "") => None,
            ("manifests", _) => Some(Self::Manifests),
            ("blobs", _) => Some(Self::Blobs),
            ("tags", "list") => Some(Self::Tags),
            ("referrers", _) => Some(Self::Referrers),
            _ => None,
        }
    }
}

impl AnyDigest {
    fn parse(text: &str) -> Result<Self, PathFault> {
        if let Ok(digest) = text.parse() {
            return Ok(Self::Sha256(digest));
        }
        let hex = text.strip_prefix("sha512:").ok_or(PathFault::Digest)?;
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() == 128 && hex.bytes().all(is_digit) { Ok(Self::Sha512) } else { Err(PathFault::Digest) }
    }
}

/// The parameters that mean something; each stands once at most, others are passed over.
#[derive(Default)]
struct Query {
    ns: Option<String>,
    artifact_type: Option<String>,
    page: Page,
}

impl Query {
    fn parse(text: &str) -> Result<Self, PathFault> {
        if text.len() > QUERY_MAX_BYTES {
            return Err(PathFault::Query("longer than 4096 bytes"));
        }
        let mut query = Self::default();
        for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "ns" => once(&mut query.ns, value, "`ns` stands twice")?,
                "artifactType" => once(&mut query.artifact_type, value, "`artifactType` stands twice")?,
                "last" if value.len() > LAST_MAX_BYTES => {
                    return Err(PathFault::Query("`last` is longer than 256 bytes"));
                }
                "last" => once(&mut query.page.last, value, "`last` stands twice")?,
                "n" => {
                    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                    if !is_number {
                        return Err(PathFault::Query("`n` is no number"));
                    }
                    // More than can be counted is more than there ever is.
                    once(&mut query.page.n, value.parse().unwrap_or(usize::MAX), "`n` stands twice")?;
                }
                _ => {}
            }
        }
        Ok(query)
    }
}

fn once<T>(place: &mut Option<T>, value: T, twice: &'static str) -> Result<(), PathFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(PathFault::Query(twice)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_upstream(name: &str) -> bool {
        matches!(name, "ghcr.io" | "corp.example" | "127.0.0.1:5000")
    }

    fn parse(path: &str, query: Option<&str>) -> Result<Target, PathFault> {
        Target::parse(path, query, is_upstream)
    }

    fn repository(path: &str, query: Option<&str>) -> Result<String, PathFault> {
        parse(path, query).map(|target| target.repository.to_string())
    }

    #[test]
    fn the_prefix_or_the_namespace_names_the_upstream() {
        let target = parse("/v2/ghcr.io/acme/cart/manifests/1.4", None).unwrap();
        assert_eq!(target.what, What::Tag("ghcr.io/acme/cart:1.4".parse().unwrap()));
        assert_eq!(target.named_by, NamedBy::Prefix);
        let named = parse("/v2/acme/cart/manifests/1.4", Some("ns=ghcr.io")).unwrap();
        assert_eq!(
            (named.repository, named.what, named.named_by),
            (target.repository, target.what, NamedBy::Namespace)
        );
        let digest = Digest::of(b"x");
        let by_digest = parse(&format!("/v2/ghcr.io/cart/manifests/{digest}"), None).unwrap();
        assert_eq!(by_digest.what, What::Manifest(AnyDigest::Sha256(digest)));
        let blob = parse(&format!("/v2/cart/blobs/{digest}"), Some("ns=127.0.0.1%3A5000&x=y")).unwrap();
        assert_eq!(blob.what, What::Blob(AnyDigest::Sha256(digest)));
        assert_eq!(blob.repository.to_string(), "127.0.0.1:5000/cart");
        let sha512 = format!("/v2/ghcr.io/cart/blobs/sha512:{}", "0".repeat(128));
        assert_eq!(parse(&sha512, None).unwrap().what, What::Blob(AnyDigest::Sha512));
        let tags = parse("/v2/ghcr.io/cart/tags/list", Some("n=10&last=a%26b")).unwrap();
        assert_eq!(tags.what, What::Tags(Page { n: Some(10), last: Some("a&b".into()) }));
        let huge = parse("/v2/ghcr.io/cart/tags/list", Some("n=99999999999999999999999")).unwrap();
        assert_eq!(huge.what, What::Tags(Page { n: Some(usize::MAX), last: None }));
        let referrers = parse(&format!("/v2/ghcr.io/cart/referrers/{digest}"), Some("artifactType=a%2Fb%2Bjson"));
        let subject = AnyDigest::Sha256(digest);
        let artifact_type = Some("a/b+json".into());
        assert_eq!(referrers.unwrap().what, What::Referrers { subject, artifact_type });
    }

    #[test]
    fn names_with_endpoint_words_are_read_from_the_right() {
        for (path, name) in [
            ("/v2/ghcr.io/x/manifests/y/manifests/1", "ghcr.io/x/manifests/y"),
            ("/v2/ghcr.io/tags/list/tags/list", "ghcr.io/tags/list"),
            ("/v2/ghcr.io/blobs/manifests/list", "ghcr.io/blobs"),
            ("/v2/ghcr.io/referrers/manifests/referrers", "ghcr.io/referrers"),
        ] {
            assert_eq!(repository(path, None).as_deref(), Ok(name), "{path}");
        }
    }

    #[test]
    fn a20_1_each_odd_spelling_is_refused_before_anything_is_looked_at() {
        let long = format!("/v2/ghcr.io/{}/manifests/1", "a".repeat(300));
        let longest = format!("/v2/ghcr.io/{}/manifests/1", "a".repeat(255 - 8));
        assert!(parse(&longest, None).is_ok());
        let dots = "/v2/ghcr.io/../corp.example/x/manifests/1";
        for (path, fault) in [
            (dots, PathFault::Name),
            (long.as_str(), PathFault::Name),
            ("/v2/ghcr.io/./x/manifests/1", PathFault::Name),
            ("/v2/ghcr.io/%2e%2e/corp.example/x/manifests/1", PathFault::Name),
            ("/v2/ghcr.io%2fcorp/x/manifests/1", PathFault::NoUpstream),
            ("/v2/ghcr.io/a%2fb/manifests/1", PathFault::Name),
            ("/v2//ghcr.io/x/manifests/1", PathFault::NoUpstream),
            ("/v2/ghcr.io//x/manifests/1", PathFault::Name),
            ("/v2/ghcr.io/x//manifests/1", PathFault::Name),
            ("/v2/ghcr.io/x/manifests//1", PathFault::NoEndpoint),
            ("/v2/ghcr.io/x/manifests/1/", PathFault::NoEndpoint),
            ("/v2/ghcr.io/X/manifests/1", PathFault::Name),
            ("/v2/ghcr.io/x:y/manifests/1", PathFault::Name),
            ("/v2/GHCR.io/x/manifests/1", PathFault::NoUpstream),
            ("/v2/ghcr.io./x/manifests/1", PathFault::NoUpstream),
            ("/v2/ghcr.io:443/x/manifests/1", PathFault::NoUpstream),
            ("/v2/169.254.169.254/x/manifests/1", PathFault::NoUpstream),
            ("/v2/x/manifests/1", PathFault::NoUpstream),
            ("/v2/ghcr.io/manifests/1", PathFault::NoUpstream),
            ("/v2/library/x/manifests/1", PathFault::NoUpstream),
            ("/v2/ghcr.io/x/manifests/.INVALID", PathFault::Tag),
            ("/v2/ghcr.io/x/manifests/-x", PathFault::Tag),
            ("/v2/ghcr.io/x/manifests/sha256%3aabc", PathFault::Tag),
            ("/v2/ghcr.io/x/manifests/sha256:baddigeststring", PathFault::Digest),
            ("/v2/ghcr.io/x/blobs/sha256:../../etc/passwd", PathFault::NoEndpoint),
            ("/v2/ghcr.io/x/blobs/md5:00", PathFault::Digest),
            ("/v2/ghcr.io/x/blobs/1", PathFault::Digest),
            ("/v2/ghcr.io/x/blobs/sha512:00", PathFault::Digest),
            ("/v2/ghcr.io/x/referrers/sha256:bad", PathFault::Digest),
            ("/v2/ghcr.io/x/tags/1", PathFault::NoEndpoint),
            ("/v2/ghcr.io/x/blobs/uploads/", PathFault::NoEndpoint),
            ("/v2/_catalog", PathFault::Catalog),
            ("/v2/ghcr.io/_catalog", PathFault::NoEndpoint),
            ("/v2/manifests/1", PathFault::NoEndpoint),
            ("/v2/x", PathFault::NoEndpoint),
            ("/v1/ghcr.io/x/manifests/1", PathFault::NoEndpoint),
            ("", PathFault::NoEndpoint),
        ] {
            assert_eq!(parse(path, None), Err(fault), "{path}");
        }
    }

    #[test]
    fn a20_1_the_namespace_has_one_spelling_and_never_contradicts_the_path() {
        let path = "/v2/acme/cart/manifests/1";
        for (query, fault) in [
            ("ns=", PathFault::NoUpstream),
            ("ns", PathFault::NoUpstream),
            ("ns=quay.io", PathFault::NoUpstream),
            ("ns=GHCR.IO", PathFault::NoUpstream),
            ("ns=ghcr.io.", PathFault::NoUpstream),
            ("ns=ghcr.io%00", PathFault::NoUpstream),
            ("ns=ghcr.io%2Facme", PathFault::NoUpstream),
            ("ns=https://ghcr.io", PathFault::NoUpstream),
            ("ns=ghcr.io&ns=ghcr.io", PathFault::Query("`ns` stands twice")),
            ("ns=ghcr.io&%6es=corp.example", PathFault::Query("`ns` stands twice")),
            ("NS=ghcr.io", PathFault::NoUpstream),
            ("ns=ghcr.io&n=1&n=2", PathFault::Query("`n` stands twice")),
            ("ns=ghcr.io&n=-1", PathFault::Query("`n` is no number")),
            ("ns=ghcr.io&n=", PathFault::Query("`n` is no number")),
            ("ns=ghcr.io&last=a&last=b", PathFault::Query("`last` stands twice")),
        ] {
            assert_eq!(parse(path, Some(query)), Err(fault), "{query}");
        }
        for ns in ["ghcr.io", "corp.example"] {
            let both = parse("/v2/ghcr.io/acme/cart/manifests/1", Some(&format!("ns={ns}")));
            assert_eq!(both, Err(PathFault::TwoUpstreams), "{ns}");
        }
        assert_eq!(parse("/v2/ghcr.io/manifests/1", Some("ns=corp.example")), Err(PathFault::TwoUpstreams));
        let last = |size: usize| parse("/v2/x/tags/list", Some(&format!("ns=ghcr.io&last={}", "y".repeat(size))));
        assert!(last(LAST_MAX_BYTES).is_ok() && last(LAST_MAX_BYTES + 1).is_err());
        let long = format!("ns=ghcr.io&x={}", "y".repeat(QUERY_MAX_BYTES - 13));
        assert!(parse(path, Some(&long)).is_ok());
        assert!(matches!(parse(path, Some(&format!("{long}z"))), Err(PathFault::Query(_))));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_of_a_known_upstream_and_well_formed(
            path in "/v2/(ghcr.io|acme|corp.example|[a-zA-Z0-9./_%:-]{0,20})/[a-z0-9./_%:-]{0,20}/?(manifests|blobs|tags|referrers)/[a-zA-Z0-9._:-]{0,12}",
            query in proptest::option::of("(ns=(ghcr.io|x)&)?[a-z=&%0-9]{0,12}"),
        ) {
            if let Ok(target) = parse(&path, query.as_deref()) {
                prop_assert!(is_upstream(target.repository.registry()));
                let text = target.repository.to_string();
                prop_assert_eq!(text.parse::<Repository>().unwrap(), target.repository);
            }
        }
    }
}
