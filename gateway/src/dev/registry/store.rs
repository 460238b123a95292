//! What was pushed: repositories with blobs, manifests, tags, and unfinished uploads.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use uuid::Uuid;

use super::content_digest::ContentDigest;
use super::refusal::Refusal;
use super::route::ManifestReference;

/// Everything the registry holds, counted against one limit.
pub(super) struct Store {
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<Uuid, Upload>,
    held_bytes: usize,
    limit_bytes: usize,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeMap<ContentDigest, Bytes>,
    manifests: BTreeMap<ContentDigest, Manifest>,
    tags: BTreeMap<String, ContentDigest>,
}

/// A manifest's bytes with what its media type says they are.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
    subject: Option<ContentDigest>,
    config: Option<ContentDigest>,
    artifact_type: Option<String>,
    annotations: Option<Value>,
}

struct Upload {
    repository: String,
    bytes: BytesMut,
}

impl Manifest {
    /// Takes any bytes; what cannot be read as a manifest has no subject.
    pub(super) fn new(media_type: String, bytes: Bytes) -> Self {
        let json: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let digest = |pointer| json.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse().ok());
        let text = |pointer| json.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            subject: digest("/subject/digest"),
            config: digest("/config/digest"),
            artifact_type: text("/artifactType").or_else(|| text("/config/mediaType")),
            annotations: json.get("annotations").filter(|value| value.is_object()).cloned(),
            media_type,
            bytes,
        }
    }

    /// The digest that its `subject` names.
    pub(super) fn subject(&self) -> Option<ContentDigest> {
        self.subject
    }

    /// Its entry in a referrers index (distribution-spec, "Listing Referrers").
    fn descriptor(&self, digest: &ContentDigest) -> Value {
        let mut descriptor =
            json!({"mediaType": self.media_type, "digest": digest.to_string(), "size": self.bytes.len()});
        if let Some(artifact_type) = &self.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        if let Some(annotations) = &self.annotations {
            descriptor["annotations"] = annotations.clone();
        }
        descriptor
    }
}

/// One page of a sorted list; `more` holds the last entry's name when others follow.
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    pub(super) more: Option<String>,
}

impl Store {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { repositories: BTreeMap::new(), uploads: BTreeMap::new(), held_bytes: 0, limit_bytes }
    }

    pub(super) fn manifest(
        &self,
        repository: &str,
        reference: &ManifestReference,
    ) -> Option<(ContentDigest, &Manifest)> {
        let held = self.repositories.get(repository)?;
        let digest = match reference {
            ManifestReference::Tag(tag) => held.tags.get(tag)?,
            ManifestReference::Digest(digest) => digest,
        };
        held.manifests.get(digest).map(|manifest| (*digest, manifest))
    }

    pub(super) fn blob(&self, repository: &str, digest: &ContentDigest) -> Option<Bytes> {
        self.repositories.get(repository)?.blobs.get(digest).cloned()
    }

    /// Keeps a manifest under `digest`, and under the tag if it was pushed by tag.
    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        reference: ManifestReference,
        digest: ContentDigest,
        manifest: Manifest,
    ) -> Result<(), Refusal> {
        self.reserve(manifest.bytes.len())?;
        let held = self.repositories.entry(repository.to_owned()).or_default();
        if let ManifestReference::Tag(tag) = reference {
            held.tags.insert(tag, digest);
        }
        if let Some(replaced) = held.manifests.insert(digest, manifest) {
            self.held_bytes -= replaced.bytes.len();
        }
        Ok(())
    }

    pub(super) fn put_blob(&mut self, repository: &str, digest: ContentDigest, bytes: Bytes) -> Result<(), Refusal> {
        self.reserve(bytes.len())?;
        let held = self.repositories.entry(repository.to_owned()).or_default();
        if let Some(replaced) = held.blobs.insert(digest, bytes) {
            self.held_bytes -= replaced.len();
        }
        Ok(())
    }

    /// Deletes a tag, or a manifest with every tag that names it; says whether it was there.
    pub(super) fn delete_manifest(&mut self, repository: &str, reference: &ManifestReference) -> bool {
        let Some(held) = self.repositories.get_mut(repository) else { return false };
        match reference {
            ManifestReference::Tag(tag) => held.tags.remove(tag).is_some(),
            ManifestReference::Digest(digest) => {
                let Some(removed) = held.manifests.remove(digest) else { return false };
                held.tags.retain(|_, named| named != digest);
                self.held_bytes -= removed.bytes.len();
                true
            }
        }
    }

    /// Deletes a blob from one repository; says whether it was there.
    pub(super) fn delete_blob(&mut self, repository: &str, digest: &ContentDigest) -> bool {
        let removed = self.repositories.get_mut(repository).and_then(|held| held.blobs.remove(digest));
        self.held_bytes -= removed.as_ref().map_or(0, Bytes::len);
        removed.is_some()
    }

    /// The tags behind `last`, at most `count`; `None` for an unknown repository.
    pub(super) fn tags(&self, repository: &str, last: Option<&str>, count: usize) -> Option<Page<String>> {
        let tags = &self.repositories.get(repository)?.tags;
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = tags.range::<str, _>((start, Bound::Unbounded)).map(|(name, _)| name);
        let entries: Vec<_> = names.by_ref().take(count).cloned().collect();
        let more = names.next().and_then(|_| entries.last().cloned());
        Some(Page { entries, more })
    }

    /// The descriptors of the manifests whose subject is `subject`, behind `last`, at most `count`.
    pub(super) fn referrers(
        &self,
        repository: &str,
        subject: &ContentDigest,
        artifact_type: Option<&str>,
        last: Option<ContentDigest>,
        count: usize,
    ) -> Page<Value> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = self
            .repositories
            .get(repository)
            .into_iter()
            .flat_map(|held| held.manifests.range((start, Bound::Unbounded)))
            .filter(|(_, manifest)| manifest.subject.as_ref() == Some(subject))
            .filter(|(_, manifest)| artifact_type.is_none() || manifest.artifact_type.as_deref() == artifact_type);
        let page: Vec<_> = found.by_ref().take(count).collect();
        let more = found.next().and_then(|_| page.last().map(|(digest, _)| digest.to_string()));
        Page { entries: page.into_iter().map(|(digest, manifest)| manifest.descriptor(digest)).collect(), more }
    }

    /// Whether some manifest of the repository names `digest` as its config.
    pub(super) fn is_config(&self, repository: &str, digest: &ContentDigest) -> bool {
        let held = self.repositories.get(repository);
        held.is_some_and(|held| held.manifests.values().any(|manifest| manifest.config.as_ref() == Some(digest)))
    }

    pub(super) fn begin_upload(&mut self, repository: &str) -> Result<Uuid, Refusal> {
        if self.uploads.len() == MAX_UPLOADS {
            return Err(Refusal::too_many_uploads());
        }
        let id = Uuid::now_v7();
        self.uploads.insert(id, Upload { repository: repository.to_owned(), bytes: BytesMut::new() });
        Ok(id)
    }

    /// The bytes that an upload has so far.
    pub(super) fn upload_size(&self, repository: &str, id: Uuid) -> Result<usize, Refusal> {
        let upload = self.uploads.get(&id).filter(|upload| upload.repository == repository);
        upload.map(|upload| upload.bytes.len()).ok_or_else(Refusal::upload_unknown)
    }

    /// Appends a chunk that starts at byte `start`; gives the new size.
    pub(super) fn append(
        &mut self,
        repository: &str,
        id: Uuid,
        start: usize,
        chunk: &[u8],
        blob_limit_bytes: usize,
    ) -> Result<usize, Refusal> {
        let size = self.upload_size(repository, id)?;
        if start != size {
            return Err(Refusal::upload_out_of_order(size));
        }
        if chunk.len() > blob_limit_bytes.saturating_sub(size) {
            return Err(Refusal::too_large(blob_limit_bytes));
        }
        self.reserve(chunk.len())?;
        let upload = self.uploads.get_mut(&id).ok_or_else(Refusal::upload_unknown)?;
        upload.bytes.extend_from_slice(chunk);
        Ok(upload.bytes.len())
    }

    /// Ends an upload, whatever becomes of its bytes.
    pub(super) fn end_upload(&mut self, repository: &str, id: Uuid) -> Result<Bytes, Refusal> {
        self.upload_size(repository, id)?;
        let upload = self.uploads.remove(&id).ok_or_else(Refusal::upload_unknown)?;
        self.held_bytes -= upload.bytes.len();
        Ok(upload.bytes.freeze())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.limit_bytes.saturating_sub(self.held_bytes) {
            return Err(Refusal::full(self.limit_bytes));
        }
        self.held_bytes += bytes;
        Ok(())
    }
}

/// Unfinished uploads at once.
const MAX_UPLOADS: usize = 256;
