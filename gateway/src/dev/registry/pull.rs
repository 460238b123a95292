//! The reading half of distribution-spec: manifests, blobs, tags, referrers.

use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, LINK, RANGE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::json;

use super::content_digest::ContentDigest;
use super::refusal::Refusal;
use super::route::{ManifestReference, content_digest};
use super::store::Store;
use super::{Referrers, serve};
use crate::doors::http::oci::answer::{Answer, DOCKER_CONTENT_DIGEST};
use crate::doors::http::oci::range::{Wanted, wanted};

/// `GET /v2/<name>/manifests/<reference>`
pub(super) fn manifest(store: &Store, repository: &str, reference: &ManifestReference) -> Result<Answer, Refusal> {
    let (digest, manifest) = store.manifest(repository, reference).ok_or_else(|| match reference {
        ManifestReference::Tag(tag) => Refusal::manifest_unknown(tag),
        ManifestReference::Digest(digest) => Refusal::manifest_unknown(&digest.to_string()),
    })?;
    Ok(Answer::empty(StatusCode::OK)
        .with(CONTENT_TYPE, &manifest.media_type)
        .with(DOCKER_CONTENT_DIGEST, digest.to_string())
        .with(ETAG, format!("\"{digest}\""))
        .carrying(manifest.bytes.clone()))
}

/// `GET /v2/<name>/blobs/<digest>`, whole or one range of it; HEAD knows no ranges (RFC 9110, section 14.2).
pub(super) fn blob(
    store: &Store,
    repository: &str,
    digest: &ContentDigest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Answer, Refusal> {
    let bytes = store.blob(repository, digest).ok_or_else(|| Refusal::blob_unknown(&digest.to_string()))?;
    let range = headers.get(RANGE).filter(|_| *method == Method::GET).and_then(|value| value.to_str().ok());
    let size = bytes.len();
    let answer = match wanted(range, size) {
        Wanted::Whole => Answer::empty(StatusCode::OK).carrying(bytes),
        Wanted::Part { first, last } => Answer::empty(StatusCode::PARTIAL_CONTENT)
            .with(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))
            .carrying(bytes.slice(first..=last)),
        Wanted::Nothing => {
            Answer::empty(StatusCode::RANGE_NOT_SATISFIABLE).with(CONTENT_RANGE, format!("bytes */{size}"))
        }
    };
    Ok(answer
        .with(CONTENT_TYPE, "application/octet-stream")
        .with(DOCKER_CONTENT_DIGEST, digest.to_string())
        .with(ETAG, format!("\"{digest}\""))
        .with(ACCEPT_RANGES, "bytes"))
}

/// `GET /v2/<name>/tags/list?n=&last=`
pub(super) fn tags(store: &Store, repository: &str, query: Option<&str>) -> Result<Answer, Refusal> {
    let wanted = serve::parameter(query, "n").and_then(|n| n.parse().ok()).unwrap_or(MAX_TAGS_PAGE);
    let count = wanted.min(MAX_TAGS_PAGE);
    let last = serve::parameter(query, "last");
    let page = store.tags(repository, last.as_deref(), count).ok_or_else(|| Refusal::name_unknown(repository))?;
    let answer = Answer::json(StatusCode::OK, &json!({"name": repository, "tags": page.entries}));
    Ok(match page.more {
        Some(last) => answer.with(LINK, format!("</v2/{repository}/tags/list?n={count}&last={last}>; rel=\"next\"")),
        None => answer,
    })
}

/// `GET /v2/<name>/referrers/<digest>?artifactType=`: an index, empty for an unknown subject.
pub(super) fn referrers(
    store: &Store,
    referrers: Referrers,
    repository: &str,
    subject: &ContentDigest,
    query: Option<&str>,
) -> Result<Answer, Refusal> {
    let Referrers::Api { page_size } = referrers else {
        return Err(Refusal::no_such_path(&format!("/v2/{repository}/referrers/{subject}")));
    };
    let artifact_type = serve::parameter(query, "artifactType");
    let last = serve::parameter(query, "last").map(|last| content_digest(&last)).transpose()?;
    let page = store.referrers(repository, subject, artifact_type.as_deref(), last, page_size.max(1));
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.entries});
    let mut answer = Answer::json(StatusCode::OK, &index).with(CONTENT_TYPE, OCI_INDEX);
    if let Some(last) = page.more {
        let mut next = url::form_urlencoded::Serializer::new(String::new());
        next.append_pair("last", &last);
        if let Some(artifact_type) = &artifact_type {
            next.append_pair("artifactType", artifact_type);
        }
        let next = next.finish();
        answer = answer.with(LINK, format!("</v2/{repository}/referrers/{subject}?{next}>; rel=\"next\""));
    }
    Ok(match artifact_type {
        Some(_) => answer.with(HeaderName::from_static("oci-filters-applied"), "artifactType"),
        None => answer,
    })
}

/// The media type of an image index.
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Tags on one page at most.
const MAX_TAGS_PAGE: usize = 10_000;
