//! Managed keys: which may be one, what they sign with, and what counts without a log.

use std::sync::LazyLock;

use serde_json::json;

use super::super::revocation::RevocationList;
use super::super::standing::Revocations;
use super::super::{Algorithm, KeyFile, LogDemand, Standing};
use super::*;
use crate::case::{CosignLayer, FindingKind, Signer, Waiver};
use crate::dev::sigstore::{Content, KeyKind, Knob, Log};

const LOGS: [Log; 2] = [Log::RekorV1, Log::RekorV2];

/// One of each kind; RSA takes a while.
static KEYS: LazyLock<Vec<ManagedKey>> =
    LazyLock::new(|| KeyKind::ALL.into_iter().map(|kind| ManagedKey::of(kind).unwrap()).collect());

fn of(kind: KeyKind) -> &'static ManagedKey {
    KEYS.iter().find(|key| key.kind() == kind).unwrap()
}

fn optional(name: &str, managed: &ManagedKey) -> KeySettings {
    KeySettings { transparency_log: LogDemand::Optional, ..key(name, managed) }
}

fn trusting(sigstore: &Sigstore, keys: Vec<KeySettings>) -> Collector {
    collector(&Settings { roots: vec![root("acme", sigstore)], keys, ..Settings::default() })
}

fn contents() -> [Content; 3] {
    [
        Content::Message { bytes: manifest() },
        Content::SignStatement,
        Content::Statement { predicate_type: "https://acme.example/level/v1".into(), predicate: json!({"level": 3}) },
    ]
}

fn unlogged() -> Sign {
    cosign().with(Knob::NoLogEntry)
}

fn signed_by(name: &str, managed: &ManagedKey) -> Signer {
    let spki = managed.public_pem().lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let spki = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, spki).unwrap();
    Signer::Key { name: name.into(), keyid: Digest::of(&spki).hex() }
}

/// The layers that cosign v2 left of a signature and of an attestation. It hashed with SHA-256 whatever the key, which no
/// crate here signs with on P-384.
fn layers(sigstore: &Sigstore, managed: &ManagedKey, knobs: &[Knob]) -> [CandidateContent; 2] {
    let [_, _, statement] = contents();
    let request = || knobs.iter().copied().fold(cosign(), Sign::with);
    [
        CandidateContent::CosignSignature(sigstore.sign_legacy_with_key(managed, request()).unwrap()),
        CandidateContent::CosignAttestation(
            sigstore.attest_legacy_with_key(managed, request().signing(statement)).unwrap(),
        ),
    ]
}

async fn layer_finding(collector: &Collector, content: CandidateContent) -> Finding {
    examine(collector, vec![Candidate { content: Ok(content), ..candidate("one", "") }]).await.findings.remove(0)
}

fn code(finding: &Finding) -> Option<&Code> {
    match finding {
        Finding::Verified(_) => None,
        Finding::Rejected(found) => Some(&found.code),
    }
}

#[tokio::test]
async fn every_kind_of_key_signs() {
    let sigstore = Sigstore::new(start()).unwrap();
    for managed in KEYS.iter() {
        let collector =
            trusting(&sigstore, vec![key("other", &ManagedKey::generate().unwrap()), key("release", managed)]);
        for log in LOGS {
            for what in contents() {
                if managed.kind() == KeyKind::Ed25519Ph && matches!(what, Content::Message { .. }) {
                    continue; // Without an entry only: see below.
                }
                let bundle = sigstore.sign_with_key(managed, cosign().logged_in(log).signing(what.clone())).unwrap();
                if log == Log::RekorV2 && managed.kind() != KeyKind::P256 {
                    let (code, detail) = rejected(&collector, bundle).await;
                    assert_eq!(code, Code::BUNDLE_UNSUPPORTED);
                    assert!(
                        detail.starts_with("expected an entry of Rekor v2 by a `PKIX_ECDSA_P256_SHA_256`, "),
                        "{detail}"
                    );
                    continue;
                }
                let found = verified(&collector, bundle).await;
                assert_eq!((found.trust.as_str(), &found.signer), ("release", &signed_by("release", managed)));
                assert_eq!(found.times, ["2025-06-01T12:00:05Z".parse::<Timestamp>().unwrap()]);
                assert_eq!(found.waived, []);
                let attests = matches!(what, Content::Statement { .. });
                assert_eq!(found.kind == FindingKind::Attestation, attests);
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_needs_no_log_signs_without_a_proven_time() {
    let sigstore = Sigstore::new(start()).unwrap();
    for managed in KEYS.iter() {
        let by_layer = managed.kind() != KeyKind::P384;
        let release = optional("release", managed);
        // Nothing of a deployment is needed.
        let alone = collector(&Settings { keys: vec![release.clone()], ..Settings::default() });
        let beside = trusting(&sigstore, vec![key("other", &ManagedKey::generate().unwrap()), release]);
        for what in contents() {
            let bundle = sigstore.sign_with_key(managed, unlogged().signing(what)).unwrap();
            let absent = changed(&bundle, |bundle| {
                let entries = bundle["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries");
                assert_eq!(entries, Some(json!([])));
            });
            for collector in [&alone, &beside] {
                for bundle in [&bundle, &absent] {
                    let found = verified(collector, bundle.clone()).await;
                    assert_eq!((&found.signer, &found.times[..]), (&signed_by("release", managed), &[][..]));
                    assert_eq!(found.waived, [Waiver::TransparencyLog]);
                }
            }
        }
        for layer in layers(&sigstore, managed, &[Knob::NoLogEntry]).into_iter().filter(|_| by_layer) {
            let Finding::Verified(found) = layer_finding(&alone, layer).await else { panic!("{:?}", managed.kind()) };
            assert_eq!((&found.signer, &found.times[..]), (&signed_by("release", managed), &[][..]));
            assert_eq!(found.waived, [Waiver::TransparencyLog]);
        }
    }
}

#[tokio::test]
async fn a6_4_without_a_log_counts_for_the_key_that_says_so_alone() {
    let sigstore = Sigstore::new(start()).unwrap();
    let (strict, lax, stranger) = (of(KeyKind::Rsa2048), of(KeyKind::P256), ManagedKey::generate().unwrap());
    for keys in [vec![key("strict", strict), optional("lax", lax)], vec![optional("lax", lax), key("strict", strict)]] {
        let collector = trusting(&sigstore, keys);
        for what in contents() {
            let by = |managed| sigstore.sign_with_key(managed, unlogged().signing(what.clone())).unwrap();
            verified(&collector, by(lax)).await;
            assert_eq!(rejected(&collector, by(strict)).await.0, Code::LOG_PROOF_MISSING);
            let (code, detail) = rejected(&collector, by(&stranger)).await;
            assert_eq!(code, Code::KEY_NOT_TRUSTED);
            assert!(detail.starts_with("expected one of the keys `lax`, found "), "{detail}");
        }
        for (managed, expected) in
            [(lax, None), (strict, Some(Code::LOG_PROOF_MISSING)), (&stranger, Some(Code::KEY_NOT_TRUSTED))]
        {
            for layer in layers(&sigstore, managed, &[Knob::NoLogEntry]) {
                assert_eq!(code(&layer_finding(&collector, layer).await), expected.as_ref());
            }
        }
    }
    let collector = trusting(&sigstore, vec![key("strict", strict)]);
    for managed in [strict, &stranger] {
        let bundle = sigstore.sign_with_key(managed, unlogged()).unwrap();
        assert_eq!(rejected(&collector, bundle).await.0, Code::LOG_PROOF_MISSING);
    }
    // Nor does a key's settings say anything of certificates.
    let collector = trusting(&sigstore, vec![optional("lax", lax)]);
    let bundle = sigstore.sign(unlogged().logged_in(Log::RekorV2)).unwrap();
    assert_eq!(rejected(&collector, bundle).await.0, Code::LOG_PROOF_MISSING);
}

#[tokio::test]
async fn a6_4_an_entry_that_is_there_is_verified_in_full_whatever_the_key_needs() {
    let sigstore = Sigstore::new(start()).unwrap();
    let lax = of(KeyKind::P256);
    let collector = trusting(&sigstore, vec![optional("lax", lax)]);
    for what in [Content::Message { bytes: manifest() }, Content::SignStatement] {
        for log in LOGS {
            let by = |request: Sign| sigstore.sign_with_key(lax, request.logged_in(log).signing(what.clone())).unwrap();
            assert_eq!(verified(&collector, by(cosign())).await.waived, []);
            for (knob, expected) in [
                (Knob::NoInclusionProof, Code::LOG_PROOF_MISSING),
                (Knob::CheckpointOfAnotherTree, Code::LOG_PROOF_INVALID),
                (Knob::ForeignLog, Code::LOG_UNKNOWN),
                (Knob::EntryOfAnotherSignature, Code::LOG_ENTRY_MISMATCH),
            ] {
                let (code, detail) = rejected(&collector, by(cosign().with(knob))).await;
                assert_eq!(code, expected, "{knob:?} in {log:?}: {detail}");
            }
        }
        let forged = cosign().with(Knob::ForgedIntegratedTime).signing(what);
        let (code, _) = rejected(&collector, sigstore.sign_with_key(lax, forged).unwrap()).await;
        assert_eq!(code, Code::LOG_PROOF_INVALID);
    }
    let no_roots = collector_of(vec![optional("lax", lax)]);
    let bundle = sigstore.sign_with_key(lax, cosign()).unwrap();
    assert_eq!(rejected(&no_roots, bundle).await.0, Code::LOG_UNKNOWN);
    for knob in [Knob::ForgedIntegratedTime, Knob::ForeignLog] {
        for layer in layers(&sigstore, lax, &[knob]) {
            assert!(code(&layer_finding(&collector, layer).await).is_some(), "{knob:?}");
        }
    }
}

fn collector_of(keys: Vec<KeySettings>) -> Collector {
    collector(&Settings { keys, ..Settings::default() })
}

#[tokio::test]
async fn a10_2_time_stamps_beside_a_key_have_to_verify() {
    let sigstore = Sigstore::new(start()).unwrap();
    for managed in [of(KeyKind::Rsa2048), of(KeyKind::Ed25519Ph)] {
        let keys = vec![optional("release", managed)];
        let collector = trusting(&sigstore, keys.clone());
        for what in contents() {
            let stamped = || unlogged().with(Knob::TimestampBeside).signing(what.clone());
            let good = sigstore.sign_with_key(managed, stamped()).unwrap();
            let found = verified(&collector, good.clone()).await;
            assert_eq!(found.times, ["2025-06-01T12:00:05Z".parse::<Timestamp>().unwrap()]);
            assert_eq!(found.waived, [Waiver::TransparencyLog]);
            for knob in [Knob::ForeignTimestamp, Knob::TimestampOfAnotherSignature] {
                let bundle = sigstore.sign_with_key(managed, stamped().with(knob)).unwrap();
                assert_eq!(rejected(&collector, bundle).await.0, Code::TIMESTAMP_INVALID, "{knob:?}");
            }
            // Without a root there is nobody who could have made one.
            assert_eq!(rejected(&collector_of(keys.clone()), good.clone()).await.0, Code::TIMESTAMP_INVALID);
            // Two, one of them bad, in either order.
            let bad = sigstore.sign_with_key(managed, stamped().with(Knob::ForeignTimestamp)).unwrap();
            let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
            let bad: Value = serde_json::from_slice(&bad).unwrap();
            for position in [0, 1] {
                let two = changed(&good, |bundle| {
                    let list = bundle.pointer_mut(stamps).unwrap().as_array_mut().unwrap();
                    list.insert(position, bad.pointer(stamps).unwrap()[0].clone());
                });
                assert_eq!(rejected(&collector, two).await.0, Code::TIMESTAMP_INVALID);
            }
        }
        for layer in layers(&sigstore, managed, &[Knob::NoLogEntry, Knob::TimestampBeside]) {
            let Finding::Verified(found) = layer_finding(&collector, layer).await else { panic!("{managed:?}") };
            assert_eq!(found.times.len(), 1);
        }
    }
}

#[tokio::test]
async fn pure_and_prehashed_are_never_taken_for_one_another() {
    let sigstore = Sigstore::new(start()).unwrap();
    for kind in [KeyKind::Ed25519, KeyKind::Ed25519Ph] {
        let managed = of(kind);
        let (right, wrong) = match kind {
            KeyKind::Ed25519 => (Algorithm::Ed25519, Algorithm::Ed25519Ph),
            _ => (Algorithm::Ed25519Ph, Algorithm::Ed25519),
        };
        let settings = |algorithm| KeySettings { algorithm: Some(algorithm), ..optional("release", managed) };
        let (stated, misstated) =
            (trusting(&sigstore, vec![settings(right)]), trusting(&sigstore, vec![settings(wrong)]));
        let message = || unlogged().signing(Content::Message { bytes: manifest() });
        let bundle = sigstore.sign_with_key(managed, message()).unwrap();
        verified(&stated, bundle.clone()).await;
        let told = format!(
            "expected a message signed with `{wrong}`, as `algorithm` of `release` says, found one signed with `{right}`"
        );
        assert_eq!(rejected(&misstated, bundle.clone()).await, (Code::KEY_NOT_TRUSTED, told.clone()));
        // What the bundle says of the hash changes nothing: it is not signed.
        for digest in [json!({"algorithm": "SHA2_256", "digest": base64_of(&sha2_256())}), Value::Null] {
            let other = changed(&bundle, |bundle| {
                let message = bundle["messageSignature"].as_object_mut().unwrap();
                match &digest {
                    Value::Null => drop(message.remove("messageDigest")),
                    digest => message["messageDigest"] = digest.clone(),
                }
            });
            verified(&stated, other.clone()).await;
            assert_eq!(rejected(&misstated, other).await.0, Code::KEY_NOT_TRUSTED);
        }
        // In a log the one is verified, the other refused with the way out.
        for log in LOGS {
            let message = cosign().logged_in(log).signing(Content::Message { bytes: manifest() });
            let bundle = sigstore.sign_with_key(managed, message).unwrap();
            assert_eq!(rejected(&misstated, bundle.clone()).await, (Code::KEY_NOT_TRUSTED, told.clone()));
            if kind == KeyKind::Ed25519 {
                match log {
                    Log::RekorV1 => drop(verified(&stated, bundle).await),
                    Log::RekorV2 => assert_eq!(rejected(&stated, bundle).await.0, Code::BUNDLE_UNSUPPORTED),
                }
                continue;
            }
            let (code, detail) = rejected(&stated, bundle).await;
            assert_eq!(code, Code::BUNDLE_UNSUPPORTED);
            insta::allow_duplicates! {
                insta::assert_snapshot!(detail, @"expected no log entry beside what `release` signed with `ed25519-ph`, found one: sign a statement purely, or sign without a log entry");
            }
        }
        // A pure statement is one for either, with an entry or without.
        for collector in [&stated, &misstated] {
            verified(collector, sigstore.sign_with_key(managed, cosign()).unwrap()).await;
            verified(collector, sigstore.sign_with_key(managed, unlogged()).unwrap()).await;
        }
        // Another message than this, and a statement's signature over a message.
        let other = unlogged().signing(Content::Message { bytes: Bytes::from_static(b"other") });
        let bundle = sigstore.sign_with_key(managed, other).unwrap();
        assert_eq!(rejected(&stated, bundle.clone()).await.0, Code::SUBJECT_MISMATCH);
        let unsaid = changed(&bundle, |bundle| {
            bundle["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
        });
        assert_eq!(rejected(&stated, unsaid).await.0, Code::KEY_NOT_TRUSTED);
    }
}

#[tokio::test]
async fn a_statement_is_prehashed_for_a_key_that_says_so_and_without_an_entry() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = of(KeyKind::Ed25519Ph);
    let settings = |algorithm| KeySettings { algorithm: Some(algorithm), ..optional("release", managed) };
    let prehashing = trusting(&sigstore, vec![settings(Algorithm::Ed25519Ph)]);
    let pure = trusting(&sigstore, vec![settings(Algorithm::Ed25519)]);
    let [_, sign, attest] = contents();
    for what in [sign, attest] {
        let request = |request: Sign| request.signing(what.clone()).with(Knob::PrehashedStatement);
        let unlogged = sigstore.sign_with_key(managed, request(unlogged())).unwrap();
        assert_eq!(verified(&prehashing, unlogged.clone()).await.waived, [Waiver::TransparencyLog]);
        let (code, detail) = rejected(&pure, unlogged).await;
        assert_eq!(code, Code::KEY_NOT_TRUSTED);
        insta::allow_duplicates! {
            insta::assert_snapshot!(detail, @"expected a statement signed with `ed25519`, as `algorithm` of `release` says, found one signed with `ed25519-ph`");
        }
        for log in LOGS {
            let logged = sigstore.sign_with_key(managed, request(cosign().logged_in(log))).unwrap();
            assert_eq!(rejected(&prehashing, logged.clone()).await.0, Code::BUNDLE_UNSUPPORTED);
            assert_eq!(rejected(&pure, logged).await.0, Code::KEY_NOT_TRUSTED);
        }
    }
}

/// What cosign 3.1.3 wrote, with keys of its own and of openssl, without a log.
#[derive(serde::Deserialize)]
struct Cosign {
    message: String,
    password: String,
    keys: Vec<CosignKey>,
}

#[derive(serde::Deserialize)]
struct CosignKey {
    /// What messages are signed with, and statements.
    algorithms: [Algorithm; 2],
    private: String,
    public: String,
    message: Value,
    statement: Value,
}

#[tokio::test]
async fn what_cosign_signs_without_a_log_counts() {
    let cosign: Cosign = serde_json::from_str(include_str!("cosign-3.1.3.json")).unwrap();
    for CosignKey { algorithms, private, public, message, statement } in cosign.keys {
        let KeyFile::Private(private) = KeyFile::read(private.as_bytes()).unwrap() else { panic!("a public key") };
        assert!(private.is_encrypted());
        let half = private.public(Some(cosign.password.as_bytes())).unwrap();
        assert_eq!(half.to_pem(), public);
        for (algorithm, bundle) in algorithms.into_iter().zip([message, statement]) {
            let pem = PemSource::Inline(InlinePem { text: public.clone() });
            let (algorithm, transparency_log) = (Some(algorithm), LogDemand::Optional);
            let keys = vec![KeySettings { algorithm, transparency_log, ..KeySettings::new("release", pem) }];
            let candidates = Candidates { looked_in: Vec::new(), list: vec![candidate("one", bundle.to_string())] };
            let exhibit = Exhibit::of(cosign.message.clone().into());
            let evidence = collector_of(keys).examine(exhibit, candidates, later()).await.unwrap();
            assert!(matches!(evidence.findings[0], Finding::Verified(_)), "{algorithm:?}: {:?}", evidence.findings);
        }
    }
}

fn sha2_256() -> Vec<u8> {
    Digest::of(&manifest()).as_bytes().to_vec()
}

fn base64_of(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}

#[tokio::test]
async fn a_hash_counts_as_the_settings_state_it() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = of(KeyKind::Rsa2048);
    let unstated = KeySettings { algorithm: None, ..optional("release", managed) };
    let (stated, unstated) =
        (trusting(&sigstore, vec![optional("release", managed)]), trusting(&sigstore, vec![unstated]));
    for request in [cosign(), unlogged()] {
        let request = request.signing(Content::Message { bytes: manifest() });
        let usual = sigstore.sign_with_key(managed, request.clone()).unwrap();
        let longer = sigstore.sign_with_key(managed, request.with(Knob::Sha384Message)).unwrap();
        for collector in [&stated, &unstated] {
            verified(collector, usual.clone()).await;
        }
        verified(&unstated, longer.clone()).await;
        let (code, detail) = rejected(&stated, longer).await;
        assert_eq!(code, Code::KEY_NOT_TRUSTED);
        insta::allow_duplicates! {
            insta::assert_snapshot!(detail, @"expected a message signed with `rsa-sign-pkcs1-2048-sha256`, as `algorithm` of `release` says, found one hashed with SHA2_384");
        }
    }
}

#[tokio::test]
async fn a5_1_what_is_signed_without_a_log_is_about_this_artifact() {
    let sigstore = Sigstore::new(start()).unwrap();
    for managed in KEYS.iter() {
        let collector = collector_of(vec![optional("release", managed)]);
        for what in contents() {
            let mut elsewhere = unlogged().signing(match &what {
                Content::Message { .. } => Content::Message { bytes: Bytes::from_static(b"other") },
                other => other.clone(),
            });
            elsewhere.manifest = Digest::of(b"other");
            let (code, detail) = rejected(&collector, sigstore.sign_with_key(managed, elsewhere).unwrap()).await;
            assert_eq!(code, Code::SUBJECT_MISMATCH, "{detail}");
            let bundle = sigstore
                .sign_with_key(managed, unlogged().signing(what).with(Knob::SignatureOfAnotherContent))
                .unwrap();
            assert_eq!(rejected(&collector, bundle).await.0, Code::KEY_NOT_TRUSTED);
        }
        if managed.kind() == KeyKind::P384 {
            continue;
        }
        let mut elsewhere = unlogged();
        elsewhere.manifest = Digest::of(b"other");
        let layer = sigstore.sign_legacy_with_key(managed, elsewhere).unwrap();
        let found = layer_finding(&collector, CandidateContent::CosignSignature(layer)).await;
        assert_eq!(code(&found), Some(&Code::SUBJECT_MISMATCH));
        let CosignLayer { payload, annotations } = sigstore.sign_legacy_with_key(managed, unlogged()).unwrap();
        let payload = [&payload[..], b" "].concat().into();
        let found =
            layer_finding(&collector, CandidateContent::CosignSignature(CosignLayer { payload, annotations })).await;
        assert_eq!(code(&found), Some(&Code::KEY_NOT_TRUSTED));
    }
}

#[tokio::test]
async fn a22_1_without_a_proven_time_a_revocation_covers_everything() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = of(KeyKind::P256);
    let settings = Settings {
        roots: vec![root("acme", &sigstore)],
        keys: vec![optional("release", managed)],
        ..Settings::default()
    };
    let Signer::Key { keyid, .. } = signed_by("release", managed) else { panic!("a key") };
    let revoking = |entries: Value| {
        let list = json!({"version": 1, "issued_at": start(), "entries": entries});
        let list = RevocationList::parse(list.to_string().as_bytes(), later()).unwrap();
        let revocations = Revocations { list: std::sync::Arc::new(list), max_age_s: u64::MAX };
        Collector::under(Standing::new(Trust::load(&settings).unwrap().into(), Some(revocations)))
    };
    // Stolen a year after all of this: what a log or an authority dated stays, what nobody dated does not.
    let since = revoking(json!([{"kind": "key", "keyid": keyid, "reason": "stolen", "since": "2026-06-01T00:00:00Z"}]));
    let by_authority = revoking(json!([{"kind": "trust-root", "name": "acme", "reason": "broken into"}]));
    let made = |request| sigstore.sign_with_key(managed, request).unwrap();
    for (request, stays, vouched) in
        [(cosign(), true, true), (unlogged().with(Knob::TimestampBeside), true, true), (unlogged(), false, false)]
    {
        let found = finding(&since, made(request.clone())).await;
        assert_eq!(code(&found).is_none(), stays, "{request:?}");
        assert!(stays || code(&found) == Some(&Code::REVOKED));
        // Whoever dated it is a voucher too.
        let found = finding(&by_authority, made(request)).await;
        assert_eq!(code(&found) == Some(&Code::REVOKED), vouched);
    }
}

#[test]
fn what_is_asked_of_a_key_is_part_of_what_is_believed() {
    let managed = of(KeyKind::Ed25519);
    let digest =
        |settings: KeySettings| Trust::load(&Settings { keys: vec![settings], ..Settings::default() }).unwrap();
    let ph = KeySettings { algorithm: Some(Algorithm::Ed25519Ph), ..key("a", managed) };
    let trusts = [key("a", managed), optional("a", managed), ph, key("b", managed)].map(digest);
    let digests = trusts.iter().map(Trust::digest).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(digests.len(), trusts.len());
    assert_eq!(trusts[0].facts(later())[0].waived, []);
    assert_eq!(trusts[1].facts(later())[0].waived, [Waiver::TransparencyLog]);
}
