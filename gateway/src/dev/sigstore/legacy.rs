//! Signatures as cosign v2 kept them: a layer with its annotations (sigstore/cosign `specs/SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::ca::{Authority, Leaf};
use super::key::{SignerKey, pem};
use super::rekor::Verifier;
use super::request::{Content, Knob, Knobs, Sign};
use super::{Made, ManagedKey, SIGNED_AFTER_S, Sigstore};
use crate::case::{CosignLayer, Digest};

/// Under which of cosign's tags a layer lies.
#[derive(Clone, Copy)]
pub(super) enum Tag {
    Signature,
    Attestation,
}

/// The annotation of a time-stamp.
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// What makes a payload a signature of an image.
const TYPE: &str = "cosign container image signature";

impl Sigstore {
    /// A layer of `sha256-HEX.sig`, keyless; what the request signs is not looked at.
    ///
    /// # Errors
    /// As [`Self::sign`].
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn sign_legacy(&self, request: Sign) -> Result<CosignLayer> {
        self.keyless_layer(&payload(&request)?, &request)
    }

    /// A layer of `sha256-HEX.att`, keyless, with the statement that the request signs.
    ///
    /// # Errors
    /// As [`Self::sign`].
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn attest_legacy(&self, request: Sign) -> Result<CosignLayer> {
        self.keyless_layer(&request.what, &request)
    }

    /// A layer of `sha256-HEX.sig` by a managed key.
    ///
    /// # Errors
    /// When the signature cannot be made.
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn sign_legacy_with_key(&self, key: &ManagedKey, request: Sign) -> Result<CosignLayer> {
        self.keyed_layer(key.signer(), &payload(&request)?, &request)
    }

    /// A layer of `sha256-HEX.att` by a managed key, with the statement that the request signs.
    ///
    /// # Errors
    /// When the signature cannot be made.
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn attest_legacy_with_key(&self, key: &ManagedKey, request: Sign) -> Result<CosignLayer> {
        self.keyed_layer(key.signer(), &request.what, &request)
    }

    fn keyless_layer(&self, what: &Content, request: &Sign) -> Result<CosignLayer> {
        self.certified_layer(&self.authority, &self.authority.issue(request)?, what, request)
    }

    /// A layer of `sha256-HEX.sig` by a certificate of an own authority, or of `.att` with the statement that the request signs.
    pub(super) fn own_layer(
        &self,
        authority: &Authority,
        leaf: &Leaf,
        tag: Tag,
        request: &Sign,
    ) -> Result<CosignLayer> {
        match tag {
            Tag::Signature => self.certified_layer(authority, leaf, &payload(request)?, request),
            Tag::Attestation => self.certified_layer(authority, leaf, &request.what, request),
        }
    }

    fn certified_layer(
        &self,
        authority: &Authority,
        leaf: &Leaf,
        what: &Content,
        request: &Sign,
    ) -> Result<CosignLayer> {
        let made = self.make(&leaf.key, Verifier::Certificate(&leaf.certificate), what, request)?;
        let mut layer = layer(made, what)?;
        let chain =
            authority.chain().into_iter().map(|certificate| pem("CERTIFICATE", certificate)).collect::<String>();
        layer.annotations.insert("dev.sigstore.cosign/certificate".into(), pem("CERTIFICATE", &leaf.certificate));
        layer.annotations.insert("dev.sigstore.cosign/chain".into(), chain);
        self.dated(layer, request)
    }

    fn keyed_layer(&self, key: &SignerKey, what: &Content, request: &Sign) -> Result<CosignLayer> {
        let layer = layer(self.make(key, Verifier::PublicKey(&key.public_key()), what, request)?, what)?;
        self.dated(layer, request)
    }

    /// The layer with a time-stamp over all of it, where that is asked for.
    fn dated(&self, mut layer: CosignLayer, request: &Sign) -> Result<CosignLayer> {
        if request.knobs.has(Knob::TimestampOfTheLayer) {
            let at = request.at + SignedDuration::from_secs(SIGNED_AFTER_S);
            let stamp = self.stamp(&layer.payload, at, &request.knobs)?;
            layer.annotations.insert(TIMESTAMP.into(), stamped(&stamp));
        }
        Ok(layer)
    }
}

/// A simple-signing payload about the request's manifest.
fn payload(request: &Sign) -> Result<Content> {
    let Sign { manifest, knobs, .. } = request;
    let mut bytes = if knobs.has(Knob::PayloadNotJson) {
        b"no payload at all".to_vec()
    } else {
        serde_json::to_vec(&json!({
            "critical": critical(*manifest, knobs),
            "optional": if request.annotations.is_empty() { Value::Null } else { json!(request.annotations) },
        }))?
    };
    if knobs.has(Knob::PayloadDuplicateKey) {
        bytes.pop();
        bytes.extend(b",\"optional\":null}");
    }
    Ok(Content::Message { bytes: bytes.into() })
}

fn critical(manifest: Digest, knobs: &Knobs) -> Value {
    let digest = match knobs.has(Knob::UpperCaseSubject) {
        true => format!("sha256:{}", manifest.hex().to_uppercase()),
        false => manifest.to_string(),
    };
    let mut critical = json!({
        "identity": {"docker-reference": "registry.example/acme/cart"},
        "image": {"docker-manifest-digest": digest},
    });
    if !knobs.has(Knob::NoPayloadType) {
        let other = knobs.has(Knob::WrongPayloadType);
        critical["type"] = if other { "atomic container signature" } else { TYPE }.into();
    }
    critical
}

/// The signed bytes or the envelope, with the annotations that cosign v2 wrote.
fn layer(made: Made, what: &Content) -> Result<CosignLayer> {
    let Made { signed, entries, stamp } = made;
    let (payload, signature) = match what {
        Content::Message { bytes } => (bytes.clone(), STANDARD.encode(&signed.signature)),
        _ => (Bytes::from(serde_json::to_vec(&signed.value)?), String::new()),
    };
    let mut annotations = BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), signature)]);
    if let Some(entry) = entries.first() {
        annotations.insert("dev.sigstore.cosign/bundle".into(), rekor_bundle(entry)?.to_string());
    }
    if let Some(stamp) = stamp {
        annotations.insert(TIMESTAMP.into(), stamped(&stamp));
    }
    Ok(CosignLayer { payload, annotations })
}

/// What the annotation of a time-stamp says.
fn stamped(stamp: &[u8]) -> String {
    json!({"SignedRFC3161Timestamp": STANDARD.encode(stamp)}).to_string()
}

/// cosign's `RekorBundle`: the promise with what it is over, without a proof.
fn rekor_bundle(entry: &Value) -> Result<Value> {
    let number = |name: &str| entry[name].as_str().and_then(|text| text.parse::<i64>().ok());
    let log = entry["logId"]["keyId"].as_str().context("an entry names its log")?;
    Ok(json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"].as_str().unwrap_or_default(),
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": number("integratedTime"),
            "logIndex": number("logIndex"),
            "logID": hex::encode(STANDARD.decode(log)?),
        },
    }))
}
