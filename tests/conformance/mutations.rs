//! Good bundles with one thing changed: refused, and with the code of what was changed.

#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use witgate::case::{Digest, Timestamp};
use witgate::dev::sigstore::{Content, Log, ManagedKey, Sign, Sigstore};
use witgate::evidence::{Expected, OneBundleError, Subject, verify_bundle};

use super::vectors::{self, Outcome, read};

/// A bundle that verifies, with all it takes.
struct Good {
    name: String,
    root: Vec<u8>,
    bundle: Value,
    artifact: Vec<u8>,
    signer: Signer,
}

#[derive(Clone)]
enum Signer {
    Identity { san: String, issuer: String },
    Key { pem: String },
}

impl Good {
    fn outcome(&self, bundle: &Value) -> String {
        let expected = match &self.signer {
            Signer::Identity { san, issuer } => Expected::Identity { san, issuer },
            Signer::Key { pem } => Expected::Key { pem, algorithm: None },
        };
        let bytes = serde_json::to_vec(bundle).unwrap();
        match verify_bundle(&self.root, &bytes, Subject::Bytes(&self.artifact), expected) {
            Ok(_) => "verified".into(),
            Err(OneBundleError::Rejected(rejection)) => rejection.code.to_string(),
            Err(other) => panic!("{}: {other:?}", self.name),
        }
    }
}

fn of_the_suite() -> Vec<Good> {
    let Some((folder, vectors)) = vectors::all() else { return Vec::new() };
    let good = vectors.into_iter().filter(|vector| vector.expect == Outcome::Pass);
    good.map(|vector| {
        let signer = match (&vector.key, vector.identity.clone(), vector.issuer.clone()) {
            (Some(key), ..) => Signer::Key { pem: String::from_utf8(read(&folder, key)).unwrap() },
            (None, Some(san), Some(issuer)) => Signer::Identity { san, issuer },
            _ => panic!("`{}` names nobody", vector.name),
        };
        Good {
            root: read(&folder, &vector.trusted_root),
            bundle: serde_json::from_slice(&read(&folder, &vector.bundle)).unwrap(),
            artifact: read(&folder, &vector.artifact),
            name: vector.name,
            signer,
        }
    })
    .collect()
}

fn of_our_own() -> Vec<Good> {
    witgate::tls::install_provider();
    let start: Timestamp = "2025-06-01T12:00:00Z".parse().unwrap();
    let sigstore = Sigstore::new(start).unwrap();
    let key = ManagedKey::generate().unwrap();
    let artifact = b"{\"schemaVersion\":2}".to_vec();
    let (san, issuer) = ("https://github.com/acme/cart/release.yml", "https://issuer.example");
    let mut good = Vec::new();
    for log in [Log::RekorV1, Log::RekorV2] {
        for what in [Content::Message { bytes: artifact.clone().into() }, Content::SignStatement] {
            let kind = if matches!(what, Content::SignStatement) { "statement" } else { "message" };
            let request = Sign::cosign(Digest::of(&artifact), san, issuer, start).logged_in(log).signing(what);
            let keyless = Signer::Identity { san: san.into(), issuer: issuer.into() };
            let made = [
                ("keyless", sigstore.sign(request.clone()), keyless),
                ("keyed", sigstore.sign_with_key(&key, request), Signer::Key { pem: key.public_pem() }),
            ];
            for (by, bundle, signer) in made {
                good.push(Good {
                    name: format!("{by} {kind} in {log:?}"),
                    root: sigstore.trusted_root_json().into(),
                    bundle: serde_json::from_slice(&bundle.unwrap()).unwrap(),
                    artifact: artifact.clone(),
                    signer,
                });
            }
        }
    }
    good
}

/// Every leaf of a document, as JSON pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found));
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The pointer without the numbers in it, and without what every entry shares.
fn field(pointer: &str) -> String {
    let words = pointer.split('/').filter(|word| word.parse::<usize>().is_err());
    words.collect::<Vec<_>>().join("/").replace("/verificationMaterial", "")
}

fn without(bundle: &Value, pointer: &str) -> Value {
    let mut bundle = bundle.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match bundle.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(name)),
        Value::Array(values) => drop(values.remove(name.parse().unwrap())),
        other => panic!("{other} has no fields"),
    }
    bundle
}

fn with(bundle: &Value, pointer: &str, value: Value) -> Value {
    let mut bundle = bundle.clone();
    *bundle.pointer_mut(pointer).unwrap() = value;
    bundle
}

/// The value with something flipped: a bit at the start, in the middle, at the end of what base64 stands for; a character of
/// a checkpoint; a digit.
fn flips(pointer: &str, value: &Value) -> Vec<Value> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => return vec![Value::from(number.as_i64().unwrap() + 1)],
        // An empty list has nothing to flip.
        _ => return Vec::new(),
    };
    if let Ok(number) = text.parse::<i64>() {
        return vec![(number + 1).to_string().into()];
    }
    let positions = |length: usize| [0, length / 3, length / 2, length - 1];
    let is_text = ["envelope", "kind", "version", "mediaType", "algorithm", "payloadType", "hint"];
    let binary = BASE64_STANDARD.decode(&text).ok().filter(|bytes| !bytes.is_empty());
    match binary.filter(|_| !is_text.iter().any(|name| pointer.ends_with(name))) {
        Some(bytes) => positions(bytes.len())
            .map(|at| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                Value::from(BASE64_STANDARD.encode(bytes))
            })
            .to_vec(),
        None => {
            let letters: Vec<char> = text.chars().collect();
            if letters.is_empty() {
                return vec!["x".into()];
            }
            positions(letters.len())
                .map(|at| {
                    let mut letters = letters.clone();
                    letters[at] = if letters[at] == 'b' { 'c' } else { 'b' };
                    Value::from(letters.into_iter().collect::<String>())
                })
                .to_vec()
        }
    }
}

/// What a change of a field is refused with: any of these, never another.
const CODES: &[(&str, &[&str])] = &[
    (
        "/certificate/rawBytes",
        &["bundle-malformed", "certificate-untrusted", "certificate-outside-validity", "signature-invalid"],
    ),
    (
        "/x509CertificateChain/certificates/rawBytes",
        &["bundle-malformed", "certificate-untrusted", "certificate-outside-validity"],
    ),
    ("/dsseEnvelope/payload", &["bundle-malformed", "key-not-trusted", "signature-invalid", "statement-malformed"]),
    ("/dsseEnvelope/payloadType", &["bundle-unsupported"]),
    ("/dsseEnvelope/signatures/keyid", &[]),
    (
        "/dsseEnvelope/signatures/sig",
        &["bundle-malformed", "key-not-trusted", "signature-invalid", "timestamp-invalid"],
    ),
    ("/mediaType", &["bundle-malformed"]),
    ("/messageSignature/messageDigest/algorithm", &["bundle-malformed"]),
    ("/messageSignature/messageDigest/digest", &["bundle-malformed", "subject-mismatch"]),
    ("/messageSignature/signature", &["bundle-malformed", "key-not-trusted", "signature-invalid", "timestamp-invalid"]),
    ("/publicKey/hint", &[]),
    ("/timestampVerificationData/rfc3161Timestamps/signedTimestamp", &["bundle-malformed", "timestamp-invalid"]),
    ("/tlogEntries/canonicalizedBody", &["bundle-malformed", "log-proof-invalid"]),
    ("/tlogEntries/inclusionPromise/signedEntryTimestamp", &["bundle-malformed", "log-proof-invalid"]),
    ("/tlogEntries/inclusionProof/checkpoint/envelope", &["log-proof-invalid"]),
    ("/tlogEntries/inclusionProof/hashes", &["log-proof-invalid"]),
    ("/tlogEntries/inclusionProof/logIndex", &["log-proof-invalid"]),
    ("/tlogEntries/inclusionProof/rootHash", &["bundle-malformed", "log-proof-invalid"]),
    ("/tlogEntries/inclusionProof/treeSize", &["bundle-malformed", "log-proof-invalid"]),
    ("/tlogEntries/integratedTime", &["log-proof-invalid", "log-time-invalid", "timestamp-missing"]),
    ("/tlogEntries/kindVersion/kind", &["bundle-unsupported", "log-entry-malformed", "log-proof-invalid"]),
    (
        "/tlogEntries/kindVersion/version",
        &["bundle-unsupported", "log-entry-malformed", "log-proof-invalid", "timestamp-missing"],
    ),
    ("/tlogEntries/logId/keyId", &["bundle-malformed", "log-proof-invalid", "log-unknown"]),
    ("/tlogEntries/logIndex", &["log-proof-invalid"]),
];

/// What nobody signed, so that changing it proves nothing; each with the reason.
const FREE: &[(&str, &[&str], &str)] = &[
    ("/dsseEnvelope/signatures/keyid", &["drop", "flip", "swap"], "a hint that decides nothing"),
    ("/publicKey/hint", &["drop", "flip", "swap"], "a hint that decides nothing"),
    ("/mediaType", &["drop", "swap"], "unsigned; the gateway takes v0.3 alone, which the suite's path does not"),
    (
        "/timestampVerificationData/rfc3161Timestamps/signedTimestamp",
        &["flip"],
        "a response holds more than the signed token, such as certificates that the root names itself",
    ),
    (
        "/tlogEntries/inclusionProof/checkpoint/envelope",
        &["flip", "swap"],
        "signatures beside the log's own, and what stands behind them; another good checkpoint of the same tree",
    ),
    ("/tlogEntries/inclusionProof/hashes", &["drop"], "an empty list, which is what stays"),
    (
        "/tlogEntries/inclusionProof/logIndex",
        &["drop", "flip", "swap"],
        "Rekor v2: the entry's own index is what is proven",
    ),
    (
        "/tlogEntries/inclusionProof/rootHash",
        &["flip", "swap"],
        "Rekor v2: a copy, the checkpoint's root is what is proven",
    ),
    (
        "/tlogEntries/inclusionProof/treeSize",
        &["flip", "swap"],
        "Rekor v2: a copy, the checkpoint's size is what is proven",
    ),
    ("/tlogEntries/logId/keyId", &["flip", "swap"], "Rekor v2: a lookup aid, the checkpoint's key decides"),
];

/// The outcome of one change, if it is none of those that it may have.
fn fault(one: &Good, field: &str, how: &str, changed: &Value) -> Option<String> {
    let outcome = one.outcome(changed);
    let is_free = FREE.iter().any(|(free, hows, reason)| *free == field && hows.contains(&how) && !reason.is_empty());
    let codes = CODES.iter().find(|(name, _)| *name == field).map(|(_, codes)| *codes);
    let codes =
        codes.unwrap_or_else(|| panic!("`{field}` of `{}` stands in no row: decide what it is worth", one.name));
    let is_expected = if outcome == "verified" { is_free } else { codes.contains(&outcome.as_str()) };
    (!is_expected).then(|| format!("{}: {how} {field}: {outcome}, expected one of {codes:?}", one.name))
}

fn each_change(good: &[Good]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, one) in good.iter().enumerate() {
        assert_eq!(one.outcome(&one.bundle), "verified", "{}", one.name);
        let mut pointers = Vec::new();
        leaves(&one.bundle, "", &mut pointers);
        for pointer in &pointers {
            let (value, field) = (one.bundle.pointer(pointer).unwrap(), field(pointer));
            faults.extend(fault(one, &field, "drop", &without(&one.bundle, pointer)));
            for flipped in flips(pointer, value) {
                faults.extend(fault(one, &field, "flip", &with(&one.bundle, pointer, flipped)));
            }
            let mut donors = good.iter().cycle().skip(index + 1).take(good.len() - 1);
            let other = donors.find_map(|donor| donor.bundle.pointer(pointer).filter(|other| *other != value));
            faults
                .extend(other.and_then(|other| fault(one, &field, "swap", &with(&one.bundle, pointer, other.clone()))));
        }
    }
    faults
}

#[test]
fn each_field_of_a_good_vector_is_worth_something() {
    let faults = each_change(&of_the_suite());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_field_of_our_own_bundles_is_worth_something() {
    let faults = each_change(&of_our_own());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_signer_by_one_bundle_and_a_content_by_another_are_refused() {
    for good in [of_the_suite(), of_our_own()] {
        for one in &good {
            // The same entry with another good checkpoint is the same signature.
            let entry =
                |good: &Good| good.bundle.pointer("/verificationMaterial/tlogEntries/0/canonicalizedBody").cloned();
            for other in good.iter().filter(|other| entry(other) != entry(one)) {
                for part in
                    ["/verificationMaterial", "/verificationMaterial/tlogEntries", "/messageSignature", "/dsseEnvelope"]
                {
                    let Some(donated) = other.bundle.pointer(part).filter(|_| one.bundle.pointer(part).is_some())
                    else {
                        continue;
                    };
                    if one.bundle.pointer(part) == Some(donated) {
                        continue;
                    }
                    let crossed = with(&one.bundle, part, donated.clone());
                    assert_ne!(one.outcome(&crossed), "verified", "{} with {part} of {}", one.name, other.name);
                }
            }
        }
    }
}

/// Neither a year before nor a second past: times are signed.
#[test]
fn a_shifted_time_is_refused() {
    for one in [of_the_suite(), of_our_own()].into_iter().flatten() {
        let Some(entry) = one.bundle.pointer("/verificationMaterial/tlogEntries/0/integratedTime") else { continue };
        let Some(time) = entry.as_str().and_then(|text| text.parse::<i64>().ok()).filter(|time| *time > 0) else {
            continue;
        };
        for shift_s in [-31_536_000, -1, 1, 600, 31_536_000] {
            let shifted = with(
                &one.bundle,
                "/verificationMaterial/tlogEntries/0/integratedTime",
                (time + shift_s).to_string().into(),
            );
            let outcome = one.outcome(&shifted);
            assert!(
                ["log-proof-invalid", "log-time-invalid", "certificate-outside-validity"].contains(&outcome.as_str()),
                "{}: {shift_s} s: {outcome}",
                one.name
            );
        }
    }
}
