//! Which requests a registry lies to, with which lie.

use std::fmt;

use bytes::Bytes;
use http::Method;

use super::content_digest::ContentDigest;
use super::route::{ManifestReference, Route};
use super::store::Store;
use crate::case::Digest;

/// A lie, told to the requests it is meant for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which requests.
    pub on: Match,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    /// A rule from its two halves.
    pub fn new(on: Match, fault: Fault) -> Self {
        Self { on, fault }
    }
}

/// Which requests a rule is meant for: all that agree with every field that is set.
///
/// ```
/// # use witgate::dev::registry::{Match, Target};
/// let second_page = Match::on(Target::Referrers).from_nth(2).times(1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The method, if only one is meant.
    pub method: Option<Method>,
    /// The kind of endpoint.
    pub target: Target,
    /// The repository, if only one is meant.
    pub repository: Option<String>,
    /// The digest in the path, or the one that the tag in the path names now.
    pub digest: Option<ContentDigest>,
    /// The tag in the path.
    pub tag: Option<String>,
    /// The first of the agreeing requests that is struck, counted from 1 since the rule was injected.
    pub from_nth: u64,
    /// How many are struck; `None` strikes until [`super::DevRegistry::heal`].
    pub times: Option<u64>,
}

/// The kind of endpoint a rule is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/v2/`
    Ping,
    /// Manifests, the fallback tag among them.
    Manifest,
    /// Blobs that some manifest of the repository names as its config.
    Config,
    /// Blobs that no manifest of the repository names as its config.
    Layer,
    /// All blobs.
    Blob,
    /// `tags/list`
    Tags,
    /// The referrers API.
    Referrers,
    /// Uploads, from the first POST to the last PUT.
    Upload,
    /// The token endpoint.
    Token,
    /// Everything, paths that are no endpoint among them.
    Any,
}

impl Default for Match {
    fn default() -> Self {
        Self { method: None, target: Target::Any, repository: None, digest: None, tag: None, from_nth: 1, times: None }
    }
}

impl Match {
    /// Every request to one kind of endpoint.
    pub fn on(target: Target) -> Self {
        Self { target, ..Self::default() }
    }

    /// Only with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only in this repository.
    #[must_use]
    pub fn repository(mut self, repository: impl Into<String>) -> Self {
        self.repository = Some(repository.into());
        self
    }

    /// Only for this digest, also when it is asked for by tag.
    #[must_use]
    pub fn digest(mut self, digest: impl Into<ContentDigest>) -> Self {
        self.digest = Some(digest.into());
        self
    }

    /// Only for this tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// From the `nth` agreeing request on, counted from 1.
    #[must_use]
    pub fn from_nth(mut self, nth: u64) -> Self {
        self.from_nth = nth;
        self
    }

    /// At most this many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn agrees(&self, method: &Method, route: Option<&Route>, store: &Store) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.target.covers(route, store)
            && self.repository.as_deref().is_none_or(|wanted| route.and_then(Route::repository) == Some(wanted))
            && self.tag.as_deref().is_none_or(|wanted| route.and_then(tag_of) == Some(wanted))
            && self.digest.is_none_or(|wanted| route.and_then(|route| digest_of(route, store)) == Some(wanted))
    }

    fn strikes(&self, nth: u64) -> bool {
        nth >= self.from_nth && self.times.is_none_or(|times| nth - self.from_nth < times)
    }
}

impl Target {
    fn covers(self, route: Option<&Route>, store: &Store) -> bool {
        let is_config = |repository: &str, digest| store.is_config(repository, digest);
        match (self, route) {
            (Self::Any, _)
            | (Self::Ping, Some(Route::Ping))
            | (Self::Manifest, Some(Route::Manifest { .. }))
            | (Self::Blob, Some(Route::Blob { .. }))
            | (Self::Tags, Some(Route::Tags { .. }))
            | (Self::Referrers, Some(Route::Referrers { .. }))
            | (Self::Upload, Some(Route::Uploads { .. } | Route::Upload { .. }))
            | (Self::Token, Some(Route::Token)) => true,
            (Self::Config, Some(Route::Blob { repository, digest })) => is_config(repository, digest),
            (Self::Layer, Some(Route::Blob { repository, digest })) => !is_config(repository, digest),
            _ => false,
        }
    }
}

/// What a registry does wrong.
///
/// Faults that replace the answer strike before credentials are looked at, so that a lying challenge can be the first thing
/// a client sees. Faults that alter the honest answer strike only requests that were let in. For HEAD the headers lie the
/// same way, without a body.
#[derive(Clone, PartialEq, Eq)]
pub enum Fault {
    /// Replaces: this answer; a `code` outside 100..=999 becomes 500.
    Status {
        /// The status.
        code: u16,
        /// The body.
        body: Bytes,
        /// Name and value of each header.
        headers: Vec<(String, String)>,
    },
    /// Replaces: nothing is ever answered, the connection stays open.
    Hang,
    /// Replaces: the connection is closed without a byte.
    CloseAtOnce,
    /// Alters: closes after so many bytes of a body whose `Content-Length` promises all of it.
    Truncate {
        /// Bytes of the body that are sent.
        after_bytes: usize,
    },
    /// Alters: falls silent after so many bytes of the body, the connection stays open.
    Stall {
        /// Bytes of the body that are sent.
        after_bytes: usize,
    },
    /// Alters: one byte more at the end, honestly counted in `Content-Length`.
    ExtraByte,
    /// Alters: this body under the digest that was asked for.
    WrongBytes(Bytes),
    /// Alters: `Docker-Content-Digest` names something else.
    WrongDigestHeader,
    /// Alters: one header is set.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Alters: one header is missing; `content-length` leaves the end of the connection as the end of the body.
    WithoutHeader(String),
    /// Alters: `Content-Length` says this, the body is sent whole, then the connection is closed.
    ContentLength {
        /// What it says, in bytes.
        claimed: u64,
    },
    /// Replaces: a redirect; a `status` outside 100..=999 becomes 500.
    Redirect {
        /// Where to, as given.
        location: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Alters: a chunked body of so many spaces instead of the honest one; `u64::MAX` never ends.
    Flood {
        /// Bytes of the body.
        bytes: u64,
    },
    /// Replaces: a status line, then so many bytes of headers, then silence without an end of the head.
    HeaderFlood {
        /// Bytes of headers.
        bytes: u64,
    },
    /// Alters: the honest body, so slowly.
    Drip {
        /// Bytes of the body a second, at least one.
        bytes_per_second: u64,
    },
    /// Replaces: bytes that are no HTTP, then the end.
    Garbage,
    /// Alters: another `Content-Type`.
    WrongMediaType(String),
    /// Alters: says so in `Content-Encoding`; the body stays as it is.
    ContentEncoding(String),
    /// Alters: a manifest request is answered with this manifest of the same repository, headers and all.
    FlipTag {
        /// The manifest that is served instead.
        to: Digest,
    },
    /// Replaces: 401 with this challenge.
    Challenge {
        /// The header's value.
        www_authenticate: String,
    },
    /// Replaces: 200 with this body as `application/json`, meant for the token endpoint.
    TokenBody(Bytes),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, .. } => write!(f, "Status({code})"),
            Self::Hang => f.write_str("Hang"),
            Self::CloseAtOnce => f.write_str("CloseAtOnce"),
            Self::Truncate { after_bytes } => write!(f, "Truncate({after_bytes})"),
            Self::Stall { after_bytes } => write!(f, "Stall({after_bytes})"),
            Self::ExtraByte => f.write_str("ExtraByte"),
            Self::WrongBytes(bytes) => write!(f, "WrongBytes({} bytes)", bytes.len()),
            Self::WrongDigestHeader => f.write_str("WrongDigestHeader"),
            Self::Header { name, .. } => write!(f, "Header({name})"),
            Self::WithoutHeader(name) => write!(f, "WithoutHeader({name})"),
            Self::ContentLength { claimed } => write!(f, "ContentLength({claimed})"),
            Self::Redirect { location, status } => write!(f, "Redirect({status} {location})"),
            Self::Flood { bytes } => write!(f, "Flood({bytes})"),
            Self::HeaderFlood { bytes } => write!(f, "HeaderFlood({bytes})"),
            Self::Drip { bytes_per_second } => write!(f, "Drip({bytes_per_second})"),
            Self::Garbage => f.write_str("Garbage"),
            Self::WrongMediaType(media_type) => write!(f, "WrongMediaType({media_type})"),
            Self::ContentEncoding(encoding) => write!(f, "ContentEncoding({encoding})"),
            Self::FlipTag { to } => write!(f, "FlipTag({to})"),
            Self::Challenge { www_authenticate } => write!(f, "Challenge({www_authenticate})"),
            Self::TokenBody(_) => f.write_str("TokenBody"),
        }
    }
}

/// When in the path of a request a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before credentials are looked at, instead of any answer.
    Replacing,
    /// After the request was let in.
    Altering,
}

impl Fault {
    fn moment(&self) -> Moment {
        match self {
            Self::Status { .. }
            | Self::Hang
            | Self::CloseAtOnce
            | Self::Redirect { .. }
            | Self::HeaderFlood { .. }
            | Self::Garbage
            | Self::Challenge { .. }
            | Self::TokenBody(_) => Moment::Replacing,
            _ => Moment::Altering,
        }
    }
}

/// The injected rules with what each has seen.
#[derive(Default)]
pub(super) struct Rules(Vec<(Rule, u64)>);

impl Rules {
    pub(super) fn inject(&mut self, rule: Rule) {
        self.0.push((rule, 0));
    }

    pub(super) fn heal(&mut self) {
        self.0.clear();
    }

    /// The fault for this request at this moment: that of the first rule that strikes; every agreeing rule counts it.
    pub(super) fn strike(
        &mut self,
        moment: Moment,
        method: &Method,
        route: Option<&Route>,
        store: &Store,
    ) -> Option<Fault> {
        let mut struck = None;
        for (rule, seen) in &mut self.0 {
            if rule.fault.moment() == moment && rule.on.agrees(method, route, store) {
                *seen += 1;
                if struck.is_none() && rule.on.strikes(*seen) {
                    struck = Some(rule.fault.clone());
                }
            }
        }
        struck
    }
}

fn tag_of(route: &Route) -> Option<&str> {
    match route {
        Route::Manifest { reference: ManifestReference::Tag(tag), .. } => Some(tag),
        _ => None,
    }
}

fn digest_of(route: &Route, store: &Store) -> Option<ContentDigest> {
    match route {
        Route::Manifest { repository, reference } => match reference {
            ManifestReference::Digest(digest) => Some(*digest),
            ManifestReference::Tag(_) => store.manifest(repository, reference).map(|(digest, _)| digest),
        },
        Route::Blob { digest, .. } | Route::Referrers { digest, .. } => Some(*digest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(rules: &mut Rules, path: &str) -> Option<Fault> {
        let route = Route::parse(path).ok();
        rules.strike(Moment::Replacing, &Method::GET, route.as_ref(), &Store::new(0))
    }

    #[test]
    fn a_rule_counts_agreeing_requests_and_strikes_its_share_of_them() {
        let mut rules = Rules::default();
        rules.inject(Rule::new(Match::on(Target::Manifest).tag("1").from_nth(2).times(2), Fault::Hang));
        rules.inject(Rule::new(Match::on(Target::Manifest).from_nth(3), Fault::Garbage));
        let found: Vec<_> = (0..5).map(|_| struck(&mut rules, "/v2/a/manifests/1")).collect();
        let hang = Some(Fault::Hang);
        assert_eq!(found, [None, hang.clone(), hang, Some(Fault::Garbage), Some(Fault::Garbage)]);
        assert_eq!(struck(&mut rules, "/v2/"), None);
        rules.heal();
        assert_eq!(struck(&mut rules, "/v2/a/manifests/1"), None);
    }

    #[test]
    fn every_field_that_is_set_has_to_agree() {
        let digest = ContentDigest::sha256(b"x");
        let on = Match::on(Target::Blob).repository("a/b").digest(digest).method(Method::GET);
        let store = Store::new(0);
        let agrees = |method: Method, path: &str| on.agrees(&method, Route::parse(path).ok().as_ref(), &store);
        assert!(agrees(Method::GET, &format!("/v2/a/b/blobs/{digest}")));
        assert!(!agrees(Method::HEAD, &format!("/v2/a/b/blobs/{digest}")));
        assert!(!agrees(Method::GET, &format!("/v2/a/blobs/{digest}")));
        assert!(!agrees(Method::GET, &format!("/v2/a/b/blobs/{}", ContentDigest::sha256(b"y"))));
        assert!(!agrees(Method::GET, &format!("/v2/a/b/manifests/{digest}")));
        assert!(Match::default().agrees(&Method::GET, None, &store));
    }
}
