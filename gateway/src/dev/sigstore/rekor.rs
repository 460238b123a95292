//! A transparency log, as Rekor v1 or Rekor v2 answers.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::key::{SignerKey, pem};
use super::merkle::Tree;
use super::request::{Knob, Knobs, Log};
use crate::case::Timestamp;

/// Entries of other people that are in every log from its start, so that no proof is empty.
const OTHER_ENTRIES: [&[u8]; 3] = [b"first", b"second", b"third"];

/// One log.
pub(super) struct Rekor {
    kind: Log,
    key: KeyPair,
    tree: Mutex<Tree>,
}

/// Who made a signature, as an entry tells it.
pub(super) enum Verifier<'a> {
    /// A certificate, DER.
    Certificate(&'a [u8]),
    /// A bare public key, SPKI DER.
    PublicKey(&'a [u8]),
}

/// What an entry is about.
pub(super) struct Entry<'a> {
    pub(super) signer: &'a SignerKey,
    pub(super) verifier: Verifier<'a>,
    /// The signed bytes: the message, or a DSSE pre-authentication encoding.
    pub(super) signed: &'a [u8],
    pub(super) signature: &'a [u8],
    /// The envelope and its payload, for DSSE.
    pub(super) envelope: Option<(&'a Value, &'a [u8])>,
}

impl Rekor {
    pub(super) fn new(kind: Log) -> Result<Self> {
        let key = KeyPair::generate_for(match kind {
            Log::RekorV1 => &PKCS_ECDSA_P256_SHA256,
            Log::RekorV2 => &PKCS_ED25519,
        })?;
        let mut tree = Tree::default();
        for entry in OTHER_ENTRIES {
            tree.append(entry);
        }
        Ok(Self { kind, key, tree: Mutex::new(tree) })
    }

    /// The log's row in a trusted root.
    pub(super) fn trusted(&self, valid_for: &Value) -> Value {
        let (url, details) = match self.kind {
            Log::RekorV1 => ("https://rekor.witgate.test", "PKIX_ECDSA_P256_SHA_256"),
            Log::RekorV2 => ("https://log.rekor2.witgate.test", "PKIX_ED25519"),
        };
        super::trusted_log(url, &self.key.subject_public_key_info(), details, &self.id(), valid_for)
    }

    /// Appends an entry and answers as the log does: `TransparencyLogEntry` of a bundle.
    pub(super) fn append(&self, entry: &Entry<'_>, at: Timestamp, knobs: &Knobs) -> Result<Value> {
        let (kind, version, body) = match self.kind {
            Log::RekorV1 if entry.envelope.is_some() && knobs.has(Knob::IntotoEntry) => {
                ("intoto", "0.0.2", intoto_v1(entry)?)
            }
            Log::RekorV1 if entry.envelope.is_some() => ("dsse", "0.0.1", dsse_v1(entry)?),
            Log::RekorV1 => ("hashedrekord", "0.0.1", hashedrekord_v1(entry)),
            Log::RekorV2 => ("hashedrekord", "0.0.2", hashedrekord_v2(entry)),
        };
        // Maps are sorted and everything is ASCII without control characters: this is the canonical form (RFC 8785).
        let body = serde_json::to_vec(&body)?;
        let mut answer = self.include(&body, knobs)?;
        answer["kindVersion"] = json!({"kind": kind, "version": version});
        answer["canonicalizedBody"] = STANDARD.encode(&body).into();
        if self.kind == Log::RekorV1 {
            self.promise(&mut answer, at, knobs)?;
        }
        if knobs.has(Knob::NoInclusionProof) || knobs.has(Knob::LabelledV01) {
            remove(&mut answer, "inclusionProof");
        }
        Ok(answer)
    }

    /// Index, log and inclusion proof with its checkpoint.
    fn include(&self, body: &[u8], knobs: &Knobs) -> Result<Value> {
        let (index, size, root, path) = {
            let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
            let index = tree.append(body);
            (index, tree.size(), tree.root(), tree.path(index))
        };
        let signed_root = if knobs.has(Knob::CheckpointOfAnotherTree) { Sha256::digest(root).into() } else { root };
        Ok(json!({
            "logIndex": index.to_string(),
            "logId": {"keyId": STANDARD.encode(self.id())},
            "inclusionProof": {
                "logIndex": index.to_string(),
                "treeSize": size.to_string(),
                "rootHash": STANDARD.encode(root),
                "hashes": path.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
                "checkpoint": {"envelope": self.checkpoint(size, &signed_root)?},
            },
        }))
    }

    /// A signed note over the tree head (C2SP signed-note, tlog-checkpoint).
    fn checkpoint(&self, size: usize, root: &[u8; 32]) -> Result<String> {
        let name = self.name();
        let origin = match self.kind {
            Log::RekorV1 => format!("{name} - 1"),
            Log::RekorV2 => name.to_owned(),
        };
        let note = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        let signature = [&self.id()[..4], &self.key.sign(note.as_bytes())?].concat();
        Ok(format!("{note}\n\u{2014} {name} {}\n", STANDARD.encode(signature)))
    }

    /// Rekor v1's signed entry time-stamp over body, time, log and index.
    fn promise(&self, answer: &mut Value, at: Timestamp, knobs: &Knobs) -> Result<()> {
        let time = at.as_second();
        let index = answer["logIndex"].as_str().and_then(|index| index.parse::<u64>().ok());
        let promised = json!({
            "body": answer["canonicalizedBody"],
            "integratedTime": time,
            "logID": hex::encode(self.id()),
            "logIndex": index,
        });
        let signature = self.key.sign(&serde_json::to_vec(&promised)?)?;
        let told = if knobs.has(Knob::ForgedIntegratedTime) { time + 1 } else { time };
        answer["integratedTime"] = told.to_string().into();
        if !knobs.has(Knob::NoPromise) {
            answer["inclusionPromise"] = json!({"signedEntryTimestamp": STANDARD.encode(signature)});
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Log::RekorV1 => "rekor.witgate.test",
            Log::RekorV2 => "log.rekor2.witgate.test",
        }
    }

    /// v1: the hash of the SPKI; v2: that of a signed note's key (C2SP signed-note, "Ed25519").
    fn id(&self) -> [u8; 32] {
        match self.kind {
            Log::RekorV1 => Sha256::digest(self.key.subject_public_key_info()).into(),
            Log::RekorV2 => Sha256::digest([self.name().as_bytes(), b"\n\x01", self.key.der_bytes()].concat()).into(),
        }
    }
}

fn hashedrekord_v1(entry: &Entry<'_>) -> Value {
    json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hex::encode(Sha256::digest(entry.signed))}},
            "signature": {
                "content": STANDARD.encode(entry.signature),
                "publicKey": {"content": STANDARD.encode(entry.verifier.pem())},
            },
        },
    })
}

fn dsse_v1(entry: &Entry<'_>) -> Result<Value> {
    let (envelope, payload) = entry.envelope.expect("only asked for entries with an envelope");
    Ok(json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {
                "algorithm": "sha256",
                "value": hex::encode(Sha256::digest(serde_json::to_vec(envelope)?)),
            },
            "payloadHash": {"algorithm": "sha256", "value": hex::encode(Sha256::digest(payload))},
            "signatures": [{
                "signature": STANDARD.encode(entry.signature),
                "verifier": STANDARD.encode(entry.verifier.pem()),
            }],
        },
    }))
}

/// The log keeps signatures in base64 twice, and no payload.
fn intoto_v1(entry: &Entry<'_>) -> Result<Value> {
    let (envelope, payload) = entry.envelope.expect("only asked for entries with an envelope");
    let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(bytes))});
    Ok(json!({
        "apiVersion": "0.0.2",
        "kind": "intoto",
        "spec": {"content": {
            "envelope": {
                "payloadType": envelope["payloadType"],
                "signatures": [{
                    "publicKey": STANDARD.encode(entry.verifier.pem()),
                    "sig": STANDARD.encode(STANDARD.encode(entry.signature)),
                }],
            },
            "hash": hash(&serde_json::to_vec(envelope)?),
            "payloadHash": hash(payload),
        }},
    }))
}

fn hashedrekord_v2(entry: &Entry<'_>) -> Value {
    let (field, bytes) = match entry.verifier {
        Verifier::Certificate(bytes) => ("x509Certificate", bytes),
        Verifier::PublicKey(bytes) => ("publicKey", bytes),
    };
    json!({
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": STANDARD.encode(Sha256::digest(entry.signed))},
            "signature": {
                "content": STANDARD.encode(entry.signature),
                "verifier": {"keyDetails": entry.signer.kind().details(), field: {"rawBytes": STANDARD.encode(bytes)}},
            },
        }},
    })
}

impl Verifier<'_> {
    fn pem(&self) -> String {
        match self {
            Self::Certificate(bytes) => pem("CERTIFICATE", bytes),
            Self::PublicKey(bytes) => pem("PUBLIC KEY", bytes),
        }
    }
}

fn remove(value: &mut Value, field: &str) {
    value.as_object_mut().expect("an entry is an object").remove(field);
}
