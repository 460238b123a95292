//! The writing half of distribution-spec: uploads, mounts, manifests, deletion.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, StatusCode};
use uuid::Uuid;

use super::content_digest::ContentDigest;
use super::refusal::Refusal;
use super::route::{self, ManifestReference, content_digest};
use super::serve::parameter;
use super::store::{Manifest, Store};
use super::{Limits, Referrers};
use crate::doors::http::oci::answer::{Answer, DOCKER_CONTENT_DIGEST};

/// `POST …/uploads/`: a whole blob with `?digest=`, a mount with `?mount=&from=`, else a session.
///
/// A mount of what the other repository does not have starts a session, as distribution-spec asks.
pub(super) fn begin(store: &mut Store, repository: &str, query: Option<&str>, body: Bytes) -> Result<Answer, Refusal> {
    if let Some(digest) = parameter(query, "digest") {
        return keep(store, repository, content_digest(&digest)?, body);
    }
    if let (Some(digest), Some(from)) = (parameter(query, "mount"), parameter(query, "from")) {
        let digest = content_digest(&digest)?;
        if let Some(bytes) = store.blob(&route::repository(&from)?, &digest) {
            store.put_blob(repository, digest, bytes)?;
            return Ok(created(repository, "blobs", &digest));
        }
    }
    let id = store.begin_upload(repository)?;
    Ok(session(StatusCode::ACCEPTED, repository, id, 0))
}

/// `PATCH …/uploads/<id>`: the next chunk.
pub(super) fn append(
    store: &mut Store,
    repository: &str,
    id: Uuid,
    headers: &HeaderMap,
    body: &[u8],
    limits: Limits,
) -> Result<Answer, Refusal> {
    let size = store.upload_size(repository, id)?;
    let start = chunk_start(headers, size, body.len())?;
    let size = store.append(repository, id, start, body, limits.blob_bytes)?;
    Ok(session(StatusCode::ACCEPTED, repository, id, size))
}

/// `PUT …/uploads/<id>?digest=`: perhaps a last chunk, then the end.
pub(super) fn finish(
    store: &mut Store,
    repository: &str,
    id: Uuid,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
    limits: Limits,
) -> Result<Answer, Refusal> {
    let digest = content_digest(&parameter(query, "digest").unwrap_or_default())?;
    if !body.is_empty() {
        append(store, repository, id, headers, body, limits)?;
    }
    let bytes = store.end_upload(repository, id)?;
    keep(store, repository, digest, bytes)
}

/// `GET …/uploads/<id>`: how far it is.
pub(super) fn status(store: &Store, repository: &str, id: Uuid) -> Result<Answer, Refusal> {
    let size = store.upload_size(repository, id)?;
    Ok(session(StatusCode::NO_CONTENT, repository, id, size))
}

/// `DELETE …/uploads/<id>`
pub(super) fn cancel(store: &mut Store, repository: &str, id: Uuid) -> Result<Answer, Refusal> {
    store.end_upload(repository, id)?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// `PUT …/manifests/<reference>`: any bytes; only a stated digest is checked.
pub(super) fn manifest(
    store: &mut Store,
    referrers: Referrers,
    repository: &str,
    reference: ManifestReference,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Answer, Refusal> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.ok_or_else(|| Refusal::manifest_invalid("no `Content-Type`"))?.to_owned();
    let digest = match &reference {
        ManifestReference::Tag(_) => ContentDigest::sha256(&body),
        ManifestReference::Digest(stated) => checked(*stated, &body)?,
    };
    let manifest = Manifest::new(media_type, body);
    let subject = manifest.subject();
    store.put_manifest(repository, reference, digest, manifest)?;
    let answer = created(repository, "manifests", &digest);
    Ok(match (subject, referrers) {
        (Some(subject), Referrers::Api { .. }) => {
            answer.with(HeaderName::from_static("oci-subject"), subject.to_string())
        }
        _ => answer,
    })
}

/// `DELETE …/manifests/<reference>`
pub(super) fn delete_manifest(
    store: &mut Store,
    repository: &str,
    reference: &ManifestReference,
) -> Result<Answer, Refusal> {
    match store.delete_manifest(repository, reference) {
        true => Ok(Answer::empty(StatusCode::ACCEPTED)),
        false => Err(Refusal::manifest_unknown("to delete")),
    }
}

/// `DELETE …/blobs/<digest>`
pub(super) fn delete_blob(store: &mut Store, repository: &str, digest: &ContentDigest) -> Result<Answer, Refusal> {
    match store.delete_blob(repository, digest) {
        true => Ok(Answer::empty(StatusCode::ACCEPTED)),
        false => Err(Refusal::blob_unknown(&digest.to_string())),
    }
}

fn keep(store: &mut Store, repository: &str, stated: ContentDigest, bytes: Bytes) -> Result<Answer, Refusal> {
    let digest = checked(stated, &bytes)?;
    store.put_blob(repository, digest, bytes)?;
    Ok(created(repository, "blobs", &digest))
}

fn checked(stated: ContentDigest, bytes: &[u8]) -> Result<ContentDigest, Refusal> {
    if stated.is_of(bytes) {
        return Ok(stated);
    }
    let found = match stated {
        ContentDigest::Sha256(_) => ContentDigest::sha256(bytes),
        ContentDigest::Sha512(_) => ContentDigest::sha512(bytes),
    };
    Err(Refusal::digest_differs(&stated.to_string(), &found.to_string()))
}

/// Where a chunk starts: `Content-Range: 0-99`, or at the end of what is there (a streamed upload states none).
fn chunk_start(headers: &HeaderMap, size: usize, chunk_len: usize) -> Result<usize, Refusal> {
    let Some(header) = headers.get(CONTENT_RANGE) else { return Ok(size) };
    let text = header.to_str().unwrap_or_default();
    let (first, last) = text.strip_prefix("bytes ").unwrap_or(text).split_once('-').unwrap_or_default();
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if last.checked_sub(first).and_then(|span| span.checked_add(1)) == Some(chunk_len) => {
            Ok(first)
        }
        _ => Err(Refusal::upload_out_of_order(size)),
    }
}

fn session(status: StatusCode, repository: &str, id: Uuid, size: usize) -> Answer {
    Answer::empty(status)
        .with(LOCATION, format!("/v2/{repository}/blobs/uploads/{id}"))
        .with(RANGE, format!("0-{}", size.saturating_sub(1)))
        .with(HeaderName::from_static("docker-upload-uuid"), id.to_string())
}

fn created(repository: &str, kind: &str, digest: &ContentDigest) -> Answer {
    Answer::empty(StatusCode::CREATED)
        .with(LOCATION, format!("/v2/{repository}/{kind}/{digest}"))
        .with(DOCKER_CONTENT_DIGEST, digest.to_string())
}
