//! Everything in a repository that is attached to an artifact as evidence.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use url::Url;

use crate::case::{Candidate, CandidateContent, CandidateSource, Candidates, Defect, Digest};
use crate::reason::Code;

use super::budgets::{
    ATTESTATION_BYTES, BUNDLE_BYTES, EVIDENCE_BYTES, MANIFEST_BYTES, REFERRER_PAGE_BYTES, REFERRER_PAGES, REFERRERS,
    REFERRERS_AT_ONCE,
};
use super::document::{self, Descriptor, OCI_EMPTY, OCI_INDEX, invalid, over_limit, shown};
use super::fault::{Fault, Trouble};
use super::fetch::Answer;
use super::manifest::{Parts, Shape};
use super::upstream::Upstream;

/// Asks the referrers API, then the fallback tag if that knows nothing; then reads each referrer.
///
/// Whatever was found but cannot be read is a candidate with a defect: a flood or a lie must never look like "none". A
/// registry that does not answer is an outage. What plainly is another kind of artifact, such as an SBOM, is no candidate.
pub(super) async fn candidates(upstream: &Upstream, repository: &str, subject: &Digest) -> Result<Candidates, Trouble> {
    let mut found = Candidates { looked_in: vec![API.into()], list: Vec::new() };
    let search = Search { upstream, repository, subject };
    let mut via = API;
    let mut listing = search.ask_api().await?;
    if listing.is_empty() {
        via = FALLBACK_TAG;
        found.looked_in.push(via.into());
        listing = search.ask_fallback_tag().await?;
    }
    let Listing { entries, defects } = listing;
    for (name, defect) in defects {
        found.list.push(Candidate { source: source(via, name), content: Err(defect) });
    }
    found.list.extend(search.read_all(via, entries).await?);
    found.list.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(found)
}

/// What was listed: descriptors in order, and what is wrong with the lists by the name of the place.
#[derive(Debug, Default)]
struct Listing {
    entries: Vec<Descriptor>,
    defects: Vec<(String, Defect)>,
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.defects.is_empty()
    }

    /// Adds the entries of one index; the first that is one too many ends the listing.
    fn add(&mut self, page: &str, answer: &Answer) {
        if let Err(defect) = self.try_add(page, answer) {
            self.defects.push((page.to_owned(), defect));
        }
    }

    fn try_add(&mut self, page: &str, answer: &Answer) -> Result<(), Defect> {
        let value = document::parse(&answer.bytes, page)?;
        let index = document::object(&value, page, &["schemaVersion", "mediaType", "manifests"])?;
        if index.field("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(invalid(page, "expected `schemaVersion` 2"));
        }
        if index.media_type("mediaType")?.unwrap_or(OCI_INDEX) != OCI_INDEX || answer.content_type != OCI_INDEX {
            return Err(invalid(page, format!("`{}` is no index", shown(&answer.content_type))));
        }
        let entries = index.array("manifests")?.ok_or_else(|| invalid(page, "no `manifests`"))?;
        for (position, entry) in entries.iter().enumerate() {
            let name = format!("{page} entry {position}");
            match document::descriptor(entry, &name) {
                Ok(entry) if self.entries.iter().any(|known| known.digest == entry.digest) => {}
                _ if self.entries.len() + self.defects.len() >= REFERRERS => {
                    return Err(over_limit(page, format!("more than {REFERRERS} referrers")));
                }
                Ok(entry) => self.entries.push(entry),
                Err(defect) => self.defects.push((name, defect)),
            }
        }
        Ok(())
    }

    fn over_limit(&self) -> bool {
        self.defects.iter().any(|(_, defect)| defect.code == Code::LIMIT_EXCEEDED)
    }
}

/// How many entries and how many defects one index has.
pub(super) fn listed(answer: &Answer) -> (usize, usize) {
    let mut listing = Listing::default();
    listing.add("page 1", answer);
    (listing.entries.len(), listing.defects.len())
}

/// Whether a referrer's manifest is taken for a bundle about `subject`.
pub(super) fn is_evidence(answer: &Answer, subject: &Digest) -> bool {
    matches!(Kind::of(answer, subject), Ok(Kind::Bundle { .. }))
}

/// One search for the referrers of one subject.
struct Search<'a> {
    upstream: &'a Upstream,
    repository: &'a str,
    subject: &'a Digest,
}

impl Search<'_> {
    /// Distribution-spec, "Listing Referrers": an index in pages; 404 means that there is no such API.
    async fn ask_api(&self) -> Result<Listing, Trouble> {
        let mut listing = Listing::default();
        let first = self.upstream.endpoint(self.repository, "referrers", &self.subject.to_string());
        let mut url = first.clone();
        for page in 1.. {
            let name = format!("page {page}");
            if page > REFERRER_PAGES {
                listing.defects.push((name, over_limit("referrers", format!("more than {REFERRER_PAGES} pages"))));
                break;
            }
            let doing = || format!("listing the referrers of `{}@{}`, page {page}", self.repository, self.subject);
            let answer = match self.upstream.metadata(&url, self.repository, OCI_INDEX, REFERRER_PAGE_BYTES).await {
                Err(Fault::NotFound) if page == 1 => break,
                Err(Fault::TooLarge { limit_bytes }) => {
                    listing
                        .defects
                        .push((name, over_limit("referrers", format!("a page of more than {limit_bytes} bytes"))));
                    break;
                }
                answer => answer.map_err(|fault| self.trouble(doing(), fault))?,
            };
            if answer.content_type != OCI_INDEX {
                // A web page, say: this is no referrers API, nor does it say that there is none.
                let fault = Fault::ContentType { expected: OCI_INDEX, found: shown(&answer.content_type) };
                return Err(self.trouble(doing(), fault));
            }
            listing.add(&name, &answer);
            match next_page(&answer.links, &url, &first).map_err(|fault| self.trouble(doing(), fault))? {
                Some(next) if !listing.over_limit() => url = next,
                _ => break,
            }
        }
        Ok(listing)
    }

    /// Distribution-spec, "Referrers Tag Schema": an index under the tag `sha256-HEX`.
    async fn ask_fallback_tag(&self) -> Result<Listing, Trouble> {
        let mut listing = Listing::default();
        let tag = format!("sha256-{}", self.subject.hex());
        let url = self.upstream.endpoint(self.repository, "manifests", &tag);
        match self.upstream.metadata(&url, self.repository, OCI_INDEX, REFERRER_PAGE_BYTES).await {
            Ok(answer) => listing.add(&tag, &answer),
            Err(Fault::NotFound) => {}
            Err(Fault::TooLarge { limit_bytes }) => {
                let defect = over_limit("referrers", format!("an index of more than {limit_bytes} bytes"));
                listing.defects.push((tag, defect));
            }
            Err(fault) => {
                return Err(self.trouble(format!("reading the referrers tag `{}:{tag}`", self.repository), fault));
            }
        }
        Ok(listing)
    }

    /// Reads every referrer, some at once; what counts against the evidence limit is announced sizes in listed order, so
    /// that the outcome does not depend on which answer comes first.
    async fn read_all(&self, via: &str, entries: Vec<Descriptor>) -> Result<Vec<Candidate>, Trouble> {
        let mut left_bytes = EVIDENCE_BYTES;
        let manifests = entries.into_iter().map(|entry| {
            let charged = charge(&mut left_bytes, &entry, MANIFEST_BYTES);
            async move {
                let kind = match charged {
                    Ok(()) => self.read_manifest(&entry).await?,
                    Err(defect) => Kind::Defective(defect),
                };
                Ok::<_, Trouble>((entry, kind))
            }
        });
        // Collected first: the iterator borrows what is left, the futures do not.
        let manifests: Vec<_> = manifests.collect();
        let read: Vec<_> = stream::iter(manifests).buffered(REFERRERS_AT_ONCE).try_collect().await?;
        let bundles = read.into_iter().filter_map(|(entry, kind)| {
            let mut source = source(via, entry.digest.to_string());
            let bundle = match kind {
                Kind::Other => return None,
                Kind::Defective(defect) => Err(defect),
                Kind::Bundle { bundle, limit_bytes } => {
                    source.media_type = Some(bundle.media_type.clone());
                    charge(&mut left_bytes, &bundle, limit_bytes).map(|()| bundle)
                }
            };
            Some(async move {
                let bytes = match bundle {
                    Ok(bundle) => self.read_bundle(&bundle).await?,
                    Err(defect) => Err(defect),
                };
                source.digest = bytes.as_ref().ok().map(|bytes| Digest::of(bytes));
                Ok::<_, Trouble>(Candidate { source, content: bytes.map(CandidateContent::Bundle) })
            })
        });
        let bundles: Vec<_> = bundles.collect();
        stream::iter(bundles).buffered(REFERRERS_AT_ONCE).try_collect().await
    }

    async fn read_manifest(&self, entry: &Descriptor) -> Result<Kind, Trouble> {
        let name = entry.digest.to_string();
        let url = self.upstream.endpoint(self.repository, "manifests", &name);
        let accept = [document::OCI_MANIFEST, OCI_INDEX].join(", ");
        let answer = self.upstream.metadata(&url, self.repository, &accept, entry.size_bytes).await;
        let answer = match answer {
            Ok(answer) if answer.digest == entry.digest && answer.bytes.len() as u64 == entry.size_bytes => answer,
            Ok(answer) => return Ok(Kind::Defective(other_bytes("manifest", entry, &answer.digest.to_string()))),
            Err(fault) => match lie(&fault, "manifest", entry) {
                Some(defect) => return Ok(Kind::Defective(defect)),
                None => return Err(self.trouble(format!("reading the referrer `{}@{name}`", self.repository), fault)),
            },
        };
        Ok(Kind::of(&answer, self.subject).unwrap_or_else(Kind::Defective))
    }

    async fn read_bundle(&self, bundle: &Descriptor) -> Result<Result<Bytes, Defect>, Trouble> {
        match self.upstream.blob(self.repository, &bundle.digest, bundle.size_bytes).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(fault) => match lie(&fault, "bundle", bundle) {
                Some(defect) => Ok(Err(defect)),
                None => Err(self.trouble(format!("reading the bundle `{}@{}`", self.repository, bundle.digest), fault)),
            },
        }
    }

    fn trouble(&self, doing: String, fault: Fault) -> Trouble {
        Trouble::Registry { upstream: self.upstream.name.clone(), doing, fault }
    }
}

/// What a referrer is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A Sigstore bundle in its one layer.
    Bundle {
        /// The layer.
        bundle: Descriptor,
        /// What it may be long.
        limit_bytes: u64,
    },
    /// Plainly something else: no evidence.
    Other,
    /// Perhaps evidence, but it cannot be used.
    Defective(Defect),
}

impl Kind {
    /// Looks into a referrer's manifest. The list's `artifactType` is never believed: ghcr.io lists bundles as
    /// `application/vnd.oci.empty.v1+json`.
    fn of(answer: &Answer, subject: &Digest) -> Result<Self, Defect> {
        let value = document::parse(&answer.bytes, "manifest")?;
        let shape = Shape::of(&value, &answer.content_type)?;
        let (config, layers) = match &shape.parts {
            Parts::Image { config, layers } => (Some(config), layers.as_slice()),
            Parts::Index { .. } => (None, [].as_slice()),
        };
        let config_type = config.map(|config| config.media_type.as_str()).filter(|kind| *kind != OCI_EMPTY);
        let named: Vec<&str> = shape.artifact_type.into_iter().chain(config_type).collect();
        let all = || named.iter().copied().chain(layers.iter().map(|layer| layer.media_type.as_str()));
        if !all().any(is_bundle) {
            let signs = all().any(|kind| {
                kind.starts_with("application/vnd.dev.cosign") || kind.starts_with("application/vnd.dev.sigstore")
            });
            let says_nothing = named.iter().all(|kind| *kind == OCI_EMPTY);
            if !signs && !says_nothing {
                return Ok(Self::Other);
            }
            let detail = format!("no Sigstore bundle: {:?}", all().take(4).collect::<Vec<_>>());
            return Err(Defect { code: Code::BUNDLE_UNSUPPORTED, about: "layers".into(), detail });
        }
        match &shape.subject {
            Some(found) if found.digest == *subject => {}
            found => {
                let found = found.as_ref().map_or_else(|| "nothing".to_owned(), |found| found.digest.to_string());
                let detail = format!("is about `{found}`, expected `{subject}`");
                return Err(Defect { code: Code::SUBJECT_MISMATCH, about: "subject".into(), detail });
            }
        }
        let [bundle] = layers else {
            return Err(invalid("layers", format!("{} layers, expected one bundle", layers.len())));
        };
        if !is_bundle(&bundle.media_type) {
            let detail = format!("`{}` is no Sigstore bundle", bundle.media_type);
            return Err(Defect { code: Code::BUNDLE_UNSUPPORTED, about: "layers[0].mediaType".into(), detail });
        }
        let predicate = shape.annotations.get("dev.sigstore.bundle.predicateType");
        let limit_bytes = match predicate {
            Some(predicate) if predicate != COSIGN_SIGN => ATTESTATION_BYTES,
            _ => BUNDLE_BYTES,
        };
        Ok(Self::Bundle { bundle: bundle.clone(), limit_bytes })
    }
}

fn is_bundle(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.dev.sigstore.bundle")
}

/// Takes an announced size from what may still be read.
fn charge(left_bytes: &mut u64, entry: &Descriptor, limit_bytes: u64) -> Result<(), Defect> {
    let size_bytes = entry.size_bytes;
    if size_bytes > limit_bytes {
        return Err(over_limit(entry.digest.to_string(), format!("{size_bytes} bytes, at most {limit_bytes}")));
    }
    *left_bytes = left_bytes.checked_sub(size_bytes).ok_or_else(|| {
        over_limit(entry.digest.to_string(), format!("evidence of more than {EVIDENCE_BYTES} bytes in total"))
    })?;
    Ok(())
}

/// A registry that answers, but not with what its own list announced: accounted for, never believed.
fn lie(fault: &Fault, about: &str, entry: &Descriptor) -> Option<Defect> {
    match fault {
        Fault::NotFound => Some(invalid(about, format!("`{}` is listed, but the registry answers 404", entry.digest))),
        Fault::DigestMismatch { found, .. } | Fault::HeaderDigest { found } => {
            Some(other_bytes(about, entry, &found.to_string()))
        }
        Fault::SizeMismatch { found, .. } => Some(other_bytes(about, entry, found)),
        Fault::TooLarge { .. } => Some(other_bytes(about, entry, "longer")),
        _ => None,
    }
}

fn other_bytes(about: &str, entry: &Descriptor, found: &str) -> Defect {
    let detail = format!("expected `{}` of {} bytes, found {found}", entry.digest, entry.size_bytes);
    Defect { code: Code::DIGEST_MISMATCH, about: about.into(), detail }
}

/// The next page's URL (RFC 8288): of the same origin and path, so that a registry cannot send us anywhere else.
fn next_page(links: &[String], url: &Url, first: &Url) -> Result<Option<Url>, Fault> {
    let mut targets = BTreeSet::new();
    for line in links {
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (target, behind) =
                rest.strip_prefix('<').and_then(|link| link.split_once('>')).ok_or(Fault::LinkRefused)?;
            let (parameters, further) = behind.split_once(',').unwrap_or((behind, ""));
            let is_next = |parameter: &str| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            };
            if parameters.split(';').any(is_next) {
                targets.insert(target);
            }
            rest = further.trim_start();
        }
    }
    let target = match targets.len() {
        0 => return Ok(None),
        1 => targets.first().expect("one was counted"),
        _ => return Err(Fault::LinkRefused),
    };
    let next = url.join(target).map_err(|_| Fault::LinkRefused)?;
    let stays = next.origin() == first.origin()
        && next.path() == first.path()
        && next.username().is_empty()
        && next.password().is_none();
    if stays { Ok(Some(next)) } else { Err(Fault::LinkRefused) }
}

fn source(via: &str, name: String) -> CandidateSource {
    CandidateSource { via: via.to_owned(), name, index: None, media_type: None, digest: None }
}

const API: &str = "referrers-api";
const FALLBACK_TAG: &str = "fallback-tag";
/// The predicate by which cosign signs: a signature, not an attestation.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::outage::Outage;
    use crate::registry::Settings;
    use crate::registry::budgets::Budgets;
    use crate::registry::document::OCI_MANIFEST;
    use crate::registry::peer::{Ending, Peer, Pushed, Reply, Stage, descriptor, index};

    use super::*;

    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

    /// An artifact `x:1` on a peer, to which a test attaches things.
    struct Scene {
        peer: Peer,
        stage: Stage,
        subject: Digest,
        api: String,
        tag: String,
    }

    impl Scene {
        async fn new() -> Self {
            let peer = Peer::start().await;
            let subject = Pushed::new("x", b"component").on(&peer, "1").digest();
            let (api, tag) =
                (format!("/v2/x/referrers/{subject}"), format!("/v2/x/manifests/sha256-{}", subject.hex()));
            Self { peer, stage: Stage::bare(), subject, api, tag }
        }

        /// The same, for answers that never come.
        async fn impatient() -> Self {
            let budgets = Budgets { idle: std::time::Duration::from_millis(300), ..Budgets::default() };
            Self { stage: Stage::of(&Settings::default(), budgets), ..Self::new().await }
        }

        fn referrer(&self, layers: &[Value]) -> Value {
            json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor(OCI_EMPTY, b"{}"),
                "layers": layers,
                "subject": {"mediaType": OCI_MANIFEST, "digest": self.subject.to_string(), "size": 1},
            })
        }

        /// Puts a referrer's manifest there; gives its entry for a list, with the wrong type that ghcr.io gives.
        fn put(&self, manifest: &Value) -> Value {
            let bytes = manifest.to_string().into_bytes();
            self.peer.on(format!("/v2/x/manifests/{}", Digest::of(&bytes)), Reply::ok(OCI_MANIFEST, bytes.clone()));
            let mut entry = descriptor(OCI_MANIFEST, &bytes);
            entry["artifactType"] = OCI_EMPTY.into();
            entry
        }

        fn bundle(&self, bytes: &[u8]) -> Value {
            self.peer.on(blob_path(bytes), Reply::ok("application/octet-stream", bytes));
            self.put(&self.referrer(&[descriptor(BUNDLE, bytes)]))
        }

        async fn candidates(&self) -> Result<Candidates, Outage> {
            let artifact = Stage::bare().resolve(&self.peer, "x:1").await.unwrap();
            Box::pin(self.stage.registry.candidates(&artifact)).await
        }

        /// What became of the candidates: the bundle's text or the code, sorted.
        async fn outcomes(&self) -> Vec<String> {
            let found = self.candidates().await.unwrap();
            let outcome = |one: &Candidate| match &one.content {
                Ok(CandidateContent::Bundle(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
                Ok(other) => panic!("{other:?} is no bundle"),
                Err(defect) => defect.code.to_string(),
            };
            let mut outcomes: Vec<_> = found.list.iter().map(outcome).collect();
            outcomes.sort();
            outcomes
        }
    }

    fn blob_path(bytes: &[u8]) -> String {
        format!("/v2/x/blobs/{}", Digest::of(bytes))
    }

    #[tokio::test]
    async fn finds_bundles_over_all_pages_with_their_source() {
        let scene = Scene::new().await;
        let (a, b) = (scene.bundle(b"bundle a"), scene.bundle(b"bundle b"));
        scene.peer.on(
            &scene.api,
            index(std::slice::from_ref(&a)).header("link", "</v2/x/x>; rel=\"prev\", <?last=a,b>; rel=next"),
        );
        scene.peer.on(format!("{}?last=a,b", scene.api), index(&[a.clone(), b]));
        let found = scene.candidates().await.unwrap();
        assert_eq!(found.looked_in, ["referrers-api"]);
        assert_eq!(scene.outcomes().await, ["bundle a", "bundle b"]);
        let source = CandidateSource {
            via: "referrers-api".into(),
            name: a["digest"].as_str().unwrap().into(),
            index: None,
            media_type: Some(BUNDLE.into()),
            digest: Some(Digest::of(b"bundle a")),
        };
        assert!(found.list.iter().any(|one| one.source == source));
    }

    #[tokio::test]
    async fn a25_1_the_fallback_tag_is_tried_when_the_api_is_missing_or_empty() {
        let scene = Scene::new().await;
        let none = Candidates { looked_in: vec!["referrers-api".into(), "fallback-tag".into()], list: Vec::new() };
        assert_eq!(scene.candidates().await.unwrap(), none);
        scene.peer.on(&scene.tag, index(&[scene.bundle(b"bundle")]));
        assert_eq!(scene.outcomes().await, ["bundle"]);
        scene.peer.on(&scene.api, index(&[]));
        assert_eq!(scene.outcomes().await, ["bundle"]);
        assert_eq!(scene.candidates().await.unwrap().looked_in, none.looked_in);
    }

    #[tokio::test]
    async fn a25_2_a_refusal_to_show_evidence_is_never_none() {
        let scene = Scene::impatient().await;
        let page_2 = format!("{}?page=2", scene.api);
        let first = || index(&[]).header("link", &format!("<{page_2}>; rel=\"next\""));
        let refusals = || {
            [401, 403, 429, 500, 503, 301, 405].map(Reply::status).into_iter().chain([
                Reply::ok("text/html", "<html>"),
                Reply::ok(OCI_INDEX, "{}").ending(Ending::Mute),
                Reply::ok(OCI_INDEX, "{}").ending(Ending::Announcing(100)),
                Reply::ok(OCI_INDEX, "{}").header("content-encoding", "gzip"),
            ])
        };
        for refusal in refusals() {
            scene.peer.on(&scene.api, refusal.clone());
            assert!(scene.candidates().await.is_err(), "api: {refusal:?}");
            scene.peer.on(&scene.api, first());
            scene.peer.on(&page_2, refusal.clone());
            assert!(scene.candidates().await.is_err(), "page 2: {refusal:?}");
        }
        scene.peer.on(&page_2, Reply::status(404));
        assert!(scene.candidates().await.is_err(), "page 2 is missing");
        for link in [
            "<http://127.0.0.1:1/>; rel=next",
            "</v2/y/referrers/z>; rel=next",
            "nonsense",
            "<a>;rel=next, <b>;rel=next",
        ] {
            scene.peer.on(&scene.api, index(&[]).header("link", link));
            assert!(scene.candidates().await.is_err(), "{link}");
        }
        scene.peer.on(&scene.api, Reply::status(404));
        for refusal in
            refusals().filter(|refusal| refusal.headers.first().is_none_or(|(_, value)| value != "text/html"))
        {
            scene.peer.on(&scene.tag, refusal.clone());
            assert!(scene.candidates().await.is_err(), "tag: {refusal:?}");
        }
    }

    #[tokio::test]
    async fn malformed_lists_are_candidates_with_a_defect() {
        let scene = Scene::new().await;
        let good = scene.bundle(b"bundle");
        for body in [
            "",
            "[]",
            "{\"schemaVersion\":2}",
            "{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}",
            "{\"schemaVersion\":1,\"manifests\":[]}",
        ] {
            scene.peer.on(&scene.api, Reply::ok(OCI_INDEX, body));
            assert_eq!(scene.outcomes().await, ["manifest-invalid"], "{body}");
        }
        scene.peer.on(&scene.api, Reply::status(404));
        scene.peer.on(&scene.tag, Reply::ok(OCI_MANIFEST, scene.referrer(&[]).to_string()));
        assert_eq!(scene.outcomes().await, ["manifest-invalid"], "the tag is no index");
        scene.peer.on(&scene.tag, Reply::ok("text/html", "<html>"));
        assert_eq!(scene.outcomes().await, ["manifest-invalid"]);
        let mut bad = good.clone();
        bad["size"] = (-1).into();
        scene.peer.on(&scene.tag, index(&[bad, good]));
        assert_eq!(scene.outcomes().await, ["bundle", "manifest-invalid"]);
    }

    #[tokio::test]
    async fn a12_2_floods_end_at_the_limit_which_is_accounted_for() {
        let scene = Scene::new().await;
        let sbom = scene.put(&json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "artifactType": "application/spdx+json",
            "config": descriptor(OCI_EMPTY, b"{}"),
        }));
        let gone =
            |count: usize| -> Vec<Value> { (0..count).map(|n| descriptor(OCI_MANIFEST, &n.to_be_bytes())).collect() };
        scene.peer.on(&scene.api, index(&gone(REFERRERS)));
        assert_eq!(scene.outcomes().await, vec!["manifest-invalid"; REFERRERS]);
        scene.peer.on(&scene.api, index(&gone(REFERRERS + 1)));
        let outcomes = scene.outcomes().await;
        assert_eq!((outcomes.len(), outcomes[0].as_str()), (REFERRERS + 1, "limit-exceeded"));

        let pages = || scene.peer.asked().iter().filter(|asked| asked.path.contains("/referrers/")).count();
        let asked = pages();
        scene.peer.on(&scene.api, index(std::slice::from_ref(&sbom)).header("link", "<>; rel=next"));
        assert_eq!(scene.outcomes().await, ["limit-exceeded"], "a page that leads to itself");
        assert_eq!(pages() - asked, REFERRER_PAGES);

        for reply in [
            Reply::ok(OCI_INDEX, "x").ending(Ending::Announcing(REFERRER_PAGE_BYTES + 1)),
            Reply::ok(OCI_INDEX, "").ending(Ending::Endless),
        ] {
            scene.peer.on(&scene.api, reply.clone());
            assert_eq!(scene.outcomes().await, ["limit-exceeded"]);
            scene.peer.on(&scene.api, Reply::status(404));
            scene.peer.on(&scene.tag, reply);
            assert_eq!(scene.outcomes().await, ["limit-exceeded"]);
        }
    }

    #[tokio::test]
    async fn bundles_past_their_limit_are_not_read() {
        let scene = Scene::new().await;
        let announce = |size: u64, predicate: Option<&str>| {
            let layer =
                json!({"mediaType": BUNDLE, "digest": Digest::of(&size.to_be_bytes()).to_string(), "size": size});
            let mut manifest = scene.referrer(&[layer]);
            if let Some(predicate) = predicate {
                manifest["annotations"] = json!({"dev.sigstore.bundle.predicateType": predicate});
            }
            scene.put(&manifest)
        };
        let slsa = Some("https://slsa.dev/provenance/v1");
        for (entry, expected) in [
            (announce(BUNDLE_BYTES, None), "manifest-invalid"),
            (announce(BUNDLE_BYTES + 1, None), "limit-exceeded"),
            (announce(BUNDLE_BYTES + 1, Some(COSIGN_SIGN)), "limit-exceeded"),
            (announce(ATTESTATION_BYTES, slsa), "manifest-invalid"),
            (announce(ATTESTATION_BYTES + 1, slsa), "limit-exceeded"),
        ] {
            scene.peer.on(&scene.api, index(&[entry]));
            assert_eq!(scene.outcomes().await, [expected]);
        }
        // Within the limit each was asked for and is not there; together three are more than all evidence may be.
        let three = [1, 2, 3].map(|less| announce(ATTESTATION_BYTES - less, slsa));
        scene.peer.on(&scene.api, index(&three));
        assert_eq!(scene.outcomes().await, ["limit-exceeded", "limit-exceeded", "manifest-invalid"]);
    }

    #[tokio::test]
    async fn a2_2_a5_2_what_lies_about_itself_is_a_candidate_with_a_defect() {
        let scene = Scene::new().await;
        let path = |entry: &Value| format!("/v2/x/manifests/{}", entry["digest"].as_str().unwrap());
        let good = scene.bundle(b"good");
        let with = |change: fn(&mut Value)| {
            let mut manifest = scene.referrer(&[descriptor(BUNDLE, b"good")]);
            change(&mut manifest);
            scene.put(&manifest)
        };
        let other_manifest = scene.bundle(b"m");
        scene.peer.on(path(&other_manifest), Reply::ok(OCI_MANIFEST, "{}"));
        let longer_manifest = scene.bundle(b"n");
        scene.peer.on(path(&longer_manifest), Reply::ok(OCI_MANIFEST, " ".repeat(2000)));
        let other_bundle = scene.bundle(b"bundle");
        scene.peer.on(blob_path(b"bundle"), Reply::ok("a/b", "bumble"));
        let longer_bundle = scene.bundle(b"longer");
        scene.peer.on(blob_path(b"longer"), Reply::ok("a/b", "longer!").ending(Ending::Chunked));
        for (lie, code) in [
            (other_manifest, "digest-mismatch"),
            (longer_manifest, "digest-mismatch"),
            (other_bundle, "digest-mismatch"),
            (longer_bundle, "digest-mismatch"),
            (with(|m| m["subject"]["digest"] = Digest::of(b"other").to_string().into()), "subject-mismatch"),
            (with(|m| drop(m.as_object_mut().unwrap().remove("subject"))), "subject-mismatch"),
            (with(|m| m["layers"] = json!([m["layers"][0], m["layers"][0]])), "manifest-invalid"),
            (with(|m| m["layers"][0]["size"] = (-1).into()), "manifest-invalid"),
            (with(|m| m["schemaVersion"] = 1.into()), "manifest-invalid"),
            (
                with(|m| m["layers"][0]["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into()),
                "bundle-unsupported",
            ),
            (with(|m| m["layers"][0]["mediaType"] = "application/octet-stream".into()), "bundle-unsupported"),
        ] {
            scene.peer.on(&scene.api, index(&[lie, good.clone()]));
            assert_eq!(scene.outcomes().await, sorted([code, "good"]));
        }
        let sbom = with(|m| {
            m["artifactType"] = "application/spdx+json".into();
            m["layers"][0]["mediaType"] = "application/spdx+json".into();
        });
        scene.peer.on(&scene.api, index(&[sbom, good]));
        assert_eq!(scene.outcomes().await, ["good"]);
    }

    fn sorted<const N: usize>(mut list: [&str; N]) -> [&str; N] {
        list.sort_unstable();
        list
    }

    #[tokio::test]
    async fn a_registry_that_fails_on_a_referrer_is_an_outage() {
        let scene = Scene::new().await;
        let entry = scene.bundle(b"bundle");
        scene.peer.on(&scene.api, index(std::slice::from_ref(&entry)));
        for reply in [Reply::status(403), Reply::status(500), Reply::ok("a/b", "bun").ending(Ending::Announcing(6))] {
            scene.peer.on(blob_path(b"bundle"), reply);
            assert!(scene.candidates().await.is_err());
        }
        scene.peer.on(format!("/v2/x/manifests/{}", entry["digest"].as_str().unwrap()), Reply::status(403));
        assert!(scene.candidates().await.is_err());
    }
}
