//! `GET|HEAD /v2/NAME/blobs/DIGEST`: bytes under a live grant, whole or one range of them.

use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE};
use http::{Method, StatusCode};

use super::error::ErrorAnswer;
use super::headers::{has_already, range};
use super::path::AnyDigest;
use super::range::Wanted;
use super::{Asking, Reply, verified};
use crate::gate::PartKind;

/// Only what an admitted artifact of this repository names, and only to who was admitted.
pub(super) async fn by_digest(asking: &Asking<'_>, digest: AnyDigest) -> Result<Reply, ErrorAnswer> {
    let AnyDigest::Sha256(digest) = digest else { return Err(ErrorAnswer::blob_unknown()) };
    let pulling = asking.pulling();
    let live = pulling.was_granted(&digest, PartKind::Blob).await?.ok_or_else(ErrorAnswer::blob_unknown)?;
    let answer = |status| verified(&live)(status).with(ACCEPT_RANGES, "bytes");
    if has_already(asking.headers, &digest) {
        pulling.hand_out(&live, 0)?;
        return Ok(answer(StatusCode::NOT_MODIFIED).into());
    }
    let (registry, repository) = (asking.door.gate.registry.clone(), asking.repository.clone());
    let manifest = *live.named_by();
    let read = async move { registry.blob(&repository, &manifest, &digest).await };
    let blob = pulling.read(read, ErrorAnswer::blob_unknown).await?;
    let size = usize::try_from(blob.size_bytes()).map_err(|_| ErrorAnswer::blob_unknown())?;
    // HEAD knows no ranges (RFC 9110, section 14.2).
    let wanted = match *asking.method {
        Method::GET => range(asking.headers, &digest, size)?,
        _ => Wanted::Whole,
    };
    let (status, content_range, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, None, 0..size),
        Wanted::Part { first, last } => {
            (StatusCode::PARTIAL_CONTENT, Some(format!("bytes {first}-{last}/{size}")), first..last + 1)
        }
        Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, Some(format!("bytes */{size}")), 0..0),
    };
    pulling.hand_out(&live, asking.body_bytes(part.len()))?;
    let mut answer = answer(status).with(CONTENT_TYPE, "application/octet-stream");
    if let Some(content_range) = content_range {
        answer = answer.with(CONTENT_RANGE, content_range);
    }
    Ok(Reply { answer, blob: Some((blob, part.start as u64..part.end as u64)) })
}
