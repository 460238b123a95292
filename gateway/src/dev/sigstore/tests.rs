//! The deployment's bundles verify in the crate that the gateway verifies with.

use sigstore_trust_root::TrustedRoot;
use sigstore_types::{Bundle, DerPublicKey, Sha256Hash};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, Verifier};

use super::*;
use crate::case::Digest;

const IDENTITY: &str = "https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn start() -> Timestamp {
    "2025-06-01T12:00:00Z".parse().unwrap()
}

fn contents(bytes: &'static [u8]) -> [Content; 3] {
    [
        Content::Message { bytes: bytes.into() },
        Content::SignStatement,
        Content::Statement {
            predicate_type: "https://slsa.dev/provenance/v1".into(),
            predicate: json!({"buildDefinition": {}}),
        },
    ]
}

#[test]
fn keyless_bundles_verify_in_full() {
    let sigstore = Sigstore::new(start()).unwrap();
    let verifier = Verifier::new(&TrustedRoot::from_json(&sigstore.trusted_root_json()).unwrap()).unwrap();
    let bytes = b"{\"schemaVersion\":2}";
    let digest = Digest::of(bytes);
    for log in [Log::RekorV1, Log::RekorV2] {
        for what in contents(bytes) {
            let request = Sign::cosign(digest, IDENTITY, ISSUER, start()).logged_in(log).signing(what);
            let bundle = sigstore.sign(request.clone()).unwrap();
            let bundle = Bundle::from_json(std::str::from_utf8(&bundle).unwrap()).unwrap();
            let policy = VerificationPolicy::new(IDENTITY, ISSUER);
            let hash = Sha256Hash::from_hex(&digest.hex()).unwrap();
            let found = verifier.verify(hash, &bundle, &policy).unwrap_or_else(|error| panic!("{request:?}: {error}"));
            assert!(found.certificate_verified() && found.sct_verified() && found.tlog_verified());
            assert_eq!(found.verified_timestamps(), [start() + SignedDuration::from_secs(SIGNED_AFTER_S)]);
        }
    }
}

#[test]
fn bundles_of_managed_keys_verify() {
    let sigstore = Sigstore::new(start()).unwrap();
    let verifier = Verifier::new(&TrustedRoot::from_json(&sigstore.trusted_root_json()).unwrap()).unwrap();
    let bytes = b"{\"schemaVersion\":2}";
    for key in
        [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Ed25519].map(|kind| ManagedKey::of(kind).unwrap())
    {
        let policy = PublicKeyVerificationPolicy::new(DerPublicKey::from_pem(&key.public_pem()).unwrap());
        for what in contents(bytes) {
            let request = Sign::cosign(Digest::of(bytes), "", "", start()).signing(what);
            let bundle = sigstore.sign_with_key(&key, request.clone()).unwrap();
            let bundle = Bundle::from_json(std::str::from_utf8(&bundle).unwrap()).unwrap();
            verifier.verify(&bytes[..], &bundle, &policy).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        }
    }
}

#[test]
fn every_claim_has_a_place() {
    let sigstore = Sigstore::new(start()).unwrap();
    let mut request = Sign::cosign(Digest::of(b"x"), IDENTITY, ISSUER, start());
    request.claims.insert("source_repository_uri".into(), "https://github.com/acme/cart".into());
    sigstore.sign(request.clone()).unwrap();
    request.claims.insert("favourite_colour".into(), "blue".into());
    let error = sigstore.sign(request).unwrap_err();
    assert_eq!(error.to_string(), "`favourite_colour` is no claim of Fulcio's");
}
