//! What is attached to an artifact, for those who were admitted to it: evidence they may check for themselves.
//!
//! Whoever may push decides what is attached, so nothing of it may ever run: a referrer is told of only if its subject is
//! exactly the artifact, its media types are those of evidence, and each of its blobs is a JSON object. No component, module,
//! archive or program is one, whatever a host thinks of media types.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::budgets::{ATTESTATION_BYTES, EVIDENCE_BYTES, MANIFEST_BYTES, REFERRERS_AT_ONCE};
use super::super::document::{self, Descriptor, OCI_INDEX, OCI_MANIFEST};
use super::super::fault::{Fault, Trouble};
use super::super::manifest::{Parts, Shape};
use super::super::resolve::{self, Served};
use super::super::upstream::Upstream;
use super::super::{Inner, Registry};
use super::Search;
use super::read::{Budget, lie};
use crate::case::{Digest, Repository};
use crate::outage::Outage;
use crate::strict_json;

/// A referrer as distribution-spec lists it, with the blobs that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The size of its manifest, in bytes.
    pub size_bytes: u64,
    /// The media type of its manifest.
    pub media_type: String,
    /// What it says it is: its `artifactType`, or its config's media type.
    pub artifact_type: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Config and layers.
    pub blobs: Vec<Digest>,
}

/// Everything that may be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    /// By digest.
    pub list: Vec<Attachment>,
    /// How many the registry lists besides: about something else, no JSON, too large, or not what was announced.
    pub left_out: usize,
}

impl Registry {
    /// What is attached to `subject`, fetched and hashed by us within the limits of one artifact's evidence.
    ///
    /// # Errors
    /// An outage of the registry; more referrers than can be told of are one, for a part must not look like the whole.
    pub async fn attachments(&self, repository: &Repository, subject: &Digest) -> Result<Arc<Attachments>, Outage> {
        let Ok(upstream) = self.inner.upstreams.of_registry(repository.registry()) else { return Ok(Arc::default()) };
        let key = (upstream.name.clone(), repository.name().to_owned(), *subject);
        let find = async {
            let reading = Reading { inner: &self.inner, upstream: &upstream, repository: repository.name(), subject };
            reading.all().await.map(Arc::new)
        };
        self.inner.memory.attachments.one(key, find).await.map_err(Trouble::into_outage)
    }
}

struct Reading<'a> {
    inner: &'a Inner,
    upstream: &'a Upstream,
    repository: &'a str,
    subject: &'a Digest,
}

impl Reading<'_> {
    async fn all(&self) -> Result<Attachments, Trouble> {
        let Self { upstream, repository, subject, .. } = *self;
        let (_, listing) = Search { upstream, repository, subject }.ask_for_referrers().await?;
        if let Some((name, defect)) =
            listing.defects.iter().find(|(_, defect)| defect.code == crate::reason::Code::LIMIT_EXCEEDED)
        {
            let doing = format!("listing the referrers of `{repository}@{subject}`");
            let fault = Fault::ReferrersMalformed { detail: format!("{name}: {}", defect.detail) };
            return Err(resolve::registry_trouble(upstream, doing, fault));
        }
        let listed = listing.entries.len() + listing.defects.len();
        let mut budget = Budget::besides(listed);
        let charged = listing.entries.into_iter().filter(|entry| budget.charge(entry, MANIFEST_BYTES).is_ok());
        let manifests: Vec<_> = charged.map(|entry| async move { self.manifest(entry).await }).collect();
        let manifests: Vec<_> = stream::iter(manifests).buffered(REFERRERS_AT_ONCE).try_collect().await?;
        let mut left_bytes = EVIDENCE_BYTES;
        let mut within = |blobs: &[Descriptor]| {
            let bytes = blobs.iter().try_fold(0_u64, |sum, blob| {
                (blob.size_bytes <= ATTESTATION_BYTES).then(|| sum.checked_add(blob.size_bytes)).flatten()
            });
            let left = bytes.and_then(|bytes| left_bytes.checked_sub(bytes));
            left.map(|left| left_bytes = left).is_some()
        };
        let referrers: Vec<_> = manifests.into_iter().flatten().filter(|(_, blobs)| within(blobs)).collect();
        let read: Vec<_> = referrers
            .into_iter()
            .map(|(attachment, blobs)| async move {
                let mut is_json = true;
                for blob in &blobs {
                    is_json = is_json && self.is_json(blob).await?;
                }
                Ok::<_, Trouble>(is_json.then_some(attachment))
            })
            .collect();
        let read: Vec<_> = stream::iter(read).buffered(REFERRERS_AT_ONCE).try_collect().await?;
        let mut list: Vec<Attachment> = read.into_iter().flatten().collect();
        list.sort_by_key(|attachment| attachment.digest);
        Ok(Attachments { left_out: listed - list.len(), list })
    }

    /// A referrer's manifest, if it is what its list says and about the subject.
    async fn manifest(&self, entry: Descriptor) -> Result<Option<(Attachment, Vec<Descriptor>)>, Trouble> {
        let key = (self.upstream.name.clone(), self.repository.to_owned(), entry.digest);
        let served = match self.inner.memory.served(&key).await {
            Some(served) => served,
            None => match self.fetch(&entry).await? {
                Some(served) => served,
                None => return Ok(None),
            },
        };
        if served.bytes.len() as u64 != entry.size_bytes {
            return Ok(None);
        }
        let Ok(value) = document::parse(&served.bytes, "manifest") else { return Ok(None) };
        let Ok(shape) = Shape::of(&value, &served.content_type) else { return Ok(None) };
        let (Parts::Image { config, layers }, Some(subject)) = (shape.parts, shape.subject) else { return Ok(None) };
        if subject.digest != *self.subject {
            return Ok(None);
        }
        let of_evidence = layers.iter().all(|layer| is_evidence(&layer.media_type))
            && shape.artifact_type.is_none_or(is_evidence)
            && (is_evidence(&config.media_type) || config.media_type == IMAGE_CONFIG);
        if !of_evidence {
            return Ok(None);
        }
        let artifact_type = shape.artifact_type.unwrap_or(&config.media_type).to_owned();
        let mut blobs = layers;
        blobs.push(config);
        let attachment = Attachment {
            digest: entry.digest,
            size_bytes: entry.size_bytes,
            media_type: shape.media_type.to_owned(),
            artifact_type,
            annotations: shape.annotations,
            blobs: blobs.iter().map(|blob| blob.digest).collect(),
        };
        Ok(Some((attachment, blobs)))
    }

    async fn fetch(&self, entry: &Descriptor) -> Result<Option<Served>, Trouble> {
        let name = entry.digest.to_string();
        let url = self.upstream.endpoint(self.repository, "manifests", &name);
        let accept = [OCI_MANIFEST, OCI_INDEX].join(", ");
        match self.upstream.metadata(&url, self.repository, &accept, entry.size_bytes).await {
            Ok(answer) if answer.digest == entry.digest => {
                Ok(Some(resolve::remember(self.inner, self.upstream, self.repository, answer).await))
            }
            Ok(_) => Ok(None),
            Err(fault) if lie(&fault, "manifest", entry).is_some() => Ok(None),
            Err(fault) => {
                let doing = format!("reading the referrer `{}@{name}`", self.repository);
                Err(resolve::registry_trouble(self.upstream, doing, fault))
            }
        }
    }

    /// Whether a blob is there, is what its descriptor says, and is a JSON object.
    async fn is_json(&self, blob: &Descriptor) -> Result<bool, Trouble> {
        let doing = format!("reading blob `{}` of `{}`", blob.digest, self.repository);
        let _room = self.inner.memory.cold(self.upstream, blob.size_bytes, &doing).await?;
        match resolve::blob(self.inner, self.upstream, self.repository, blob.into()).await {
            Ok(bytes) => Ok(strict_json::parse(&bytes, strict_json::MAX_DEPTH).is_ok_and(|value| value.is_object())),
            Err(Trouble::Registry { fault, .. }) if lie(&fault, "blob", blob).is_some() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }
}

/// Whether a media type says that it vouches for something, and nothing that anybody would run.
fn is_evidence(media_type: &str) -> bool {
    EVIDENCE.iter().any(|known| {
        let rest = media_type.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+', '-']) || known.ends_with('.'))
    })
}

/// Signatures, attestations, bills of materials, scans and statements about them.
const EVIDENCE: [&str; 14] = [
    "application/vnd.dev.sigstore.",
    "application/vnd.dev.cosign.",
    "application/vnd.dsse.envelope",
    "application/vnd.in-toto",
    "application/vnd.oci.empty.v1+json",
    "application/spdx+json",
    "text/spdx+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.syft+json",
    "application/sarif+json",
    "application/openvex+json",
    "application/vnd.openvex",
    "application/vnd.security.vulnerability.report",
    "application/json",
];
/// What cosign writes for a config.
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
