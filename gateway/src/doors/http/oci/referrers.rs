//! `GET|HEAD /v2/NAME/referrers/DIGEST`: what is attached to an admitted artifact, and may be fetched with it.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, WARNING};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::Asking;
use super::answer::Answer;
use super::error::{ErrorAnswer, WITGATE_DECISION, warning};
use super::path::AnyDigest;
use crate::gate::{Attached, Attachment, Part, PartKind};
use crate::outage::{Outage, Peer};

/// An index, native even where the upstream has the tag scheme alone; empty for what the caller was not admitted to, as it is
/// for what is not there. What is listed, and its blobs, can then be fetched under the same grant.
pub(super) async fn of(
    asking: &Asking<'_>,
    subject: AnyDigest,
    artifact_type: Option<String>,
) -> Result<Answer, ErrorAnswer> {
    let nothing = || index(&[], artifact_type.as_deref());
    let AnyDigest::Sha256(subject) = subject else { return Ok(nothing()) };
    let (pulling, gate) = (asking.pulling(), &asking.door.gate);
    let Some(live) = pulling.was_granted(&subject, PartKind::Manifest).await? else { return Ok(nothing()) };
    let (registry, repository) = (gate.registry.clone(), asking.repository.clone());
    let read = async move { registry.attachments(&repository, &subject).await.map(Some) };
    let found = pulling.read(read, || ErrorAnswer::repository_unknown(asking.repository)).await?;
    let wanted =
        |attachment: &&Attachment| artifact_type.as_deref().is_none_or(|wanted| wanted == attachment.artifact_type);
    let list: Vec<&Attachment> = found.list.iter().filter(wanted).collect();
    let answer = index(&list, artifact_type.as_deref());
    if answer.body.len() > INDEX_MAX_BYTES {
        let peer = Peer::Registry(asking.repository.registry().to_owned());
        let outage = Outage::new(peer, format!("listing the referrers of `{subject}`"));
        let fault = format!("their annotations make an index of more than {INDEX_MAX_BYTES} bytes");
        return Err(ErrorAnswer::outage(&outage.because(fault)));
    }
    pulling.hand_out(&live, asking.body_bytes(answer.body.len()))?;
    gate.pull_attach(&live, list.iter().flat_map(|attachment| attached(attachment)).collect());
    let answer = answer.with(WITGATE_DECISION, live.pull().decision().to_string());
    Ok(match found.left_out {
        0 => answer,
        many => answer.with(WARNING, warning(&format!("witgate: {many} {LEFT_OUT}"))),
    })
}

fn attached(attachment: &Attachment) -> impl Iterator<Item = Attached> {
    let referrer = attachment.digest;
    let blobs = attachment.blobs.iter().map(|digest| Part { digest: *digest, kind: PartKind::Blob });
    let manifest = Part { digest: referrer, kind: PartKind::Manifest };
    [manifest].into_iter().chain(blobs).map(move |part| Attached { part, referrer })
}

fn index(list: &[&Attachment], filtered_by: Option<&str>) -> Answer {
    let descriptor = |attachment: &&Attachment| -> Value {
        let Attachment { digest, size_bytes, media_type, artifact_type, annotations, .. } = attachment;
        let mut descriptor =
            json!({"mediaType": media_type, "digest": digest, "size": size_bytes, "artifactType": artifact_type});
        if !annotations.is_empty() {
            descriptor["annotations"] = json!(annotations);
        }
        descriptor
    };
    let manifests: Vec<Value> = list.iter().map(descriptor).collect();
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let answer =
        Answer::json(StatusCode::OK, &body).with(CONTENT_TYPE, OCI_INDEX).with(CACHE_CONTROL, "private, max-age=0");
    match filtered_by {
        Some(_) => answer.with(OCI_FILTERS_APPLIED, "artifactType"),
        None => answer,
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The largest index, in bytes: as large as a manifest may be (distribution-spec: registries take at least 4 MiB).
const INDEX_MAX_BYTES: usize = 4 << 20;
const LEFT_OUT: &str = "referrers are left out: about something else, no evidence in JSON, or past a limit";
