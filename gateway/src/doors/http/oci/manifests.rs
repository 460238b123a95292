//! `GET|HEAD /v2/NAME/manifests/REFERENCE`: a whole decision, then exactly the bytes it is about.

use http::StatusCode;
use http::header::{CONTENT_TYPE, WARNING};

use super::answer::Answer;
use super::error::{ErrorAnswer, warnings};
use super::headers::has_already;
use super::path::AnyDigest;
use super::pulls::Pulling;
use super::{Asking, verified};
use crate::case::{Digest, Reference};
use crate::gate::{Live, PartKind};

/// What a tag means now is decided about; the answer is the digest that was admitted.
pub(super) async fn by_tag(asking: &Asking<'_>, reference: &Reference) -> Result<Answer, ErrorAnswer> {
    let pulling = asking.pulling();
    let admitted = pulling.admitted(reference).await?;
    let gate = &asking.door.gate;
    let live = gate.pull_live(&admitted.pull, admitted.pull.root(), PartKind::Manifest, (asking.door.clock)());
    // Made a moment ago and over already: what was believed was swapped meanwhile.
    let live = live.ok_or_else(|| ErrorAnswer::outage(&gate.pull_lapsed()))?;
    let decision = admitted.recorded.decision.facts();
    let answer = send(asking, &pulling, &live).await?;
    let lines = warnings(&decision.warnings, decision.id);
    Ok(lines.iter().fold(answer, |answer, line| answer.and(WARNING, line)))
}

/// A digest is sent under the grant that covers it, an index's child among them; if there is none it is decided about.
pub(super) async fn by_digest(asking: &Asking<'_>, digest: AnyDigest) -> Result<Answer, ErrorAnswer> {
    let AnyDigest::Sha256(digest) = digest else { return Err(ErrorAnswer::no_such_manifest()) };
    let pulling = asking.pulling();
    let live = pulling.may_have_manifest(&digest).await?;
    send(asking, &pulling, &live).await
}

async fn send(asking: &Asking<'_>, pulling: &Pulling<'_>, live: &Live) -> Result<Answer, ErrorAnswer> {
    let digest: Digest = live.part().digest;
    let answer = verified(live);
    if has_already(asking.headers, &digest) {
        pulling.hand_out(live, 0)?;
        return Ok(answer(StatusCode::NOT_MODIFIED));
    }
    let (registry, repository) = (asking.door.gate.registry.clone(), asking.repository.clone());
    let unknown = || ErrorAnswer::manifest_unknown(&asking.repository.at_digest(digest));
    let manifest = pulling.read(async move { registry.manifest(&repository, &digest).await }, unknown).await?;
    pulling.hand_out(live, asking.body_bytes(manifest.bytes.len()))?;
    Ok(answer(StatusCode::OK).with(CONTENT_TYPE, manifest.media_type).carrying(manifest.bytes))
}
