//! Evidence against a private Sigstore: what is wrong with a bundle has its code, and only that.

#![cfg(feature = "dev")]

mod a10;
mod a11;
mod a7;
mod attested;
mod authorities;
mod catalogue;
mod checking;
mod checkpoints;
mod collecting;
mod demands;
mod flips;
mod key_files;
mod keys;
mod knobs;
mod legacy;
mod refreshing;
mod revoking;
mod settings_matter;
mod shapes;

use bytes::Bytes;
use serde_json::Value;

use super::{
    Collector, Examination, Exhibit, InlinePem, InlineRoot, KeySettings, PemSource, RootSettings, RootSource, Settings,
    Trust,
};
use crate::case::{
    Candidate, CandidateContent, CandidateSource, Candidates, Digest, Evidence, Finding, Timestamp, VerifiedFinding,
};
use crate::dev::sigstore::{ManagedKey, Sign, Sigstore};
use crate::reason::Code;

const IDENTITY: &str = "https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn start() -> Timestamp {
    "2025-06-01T12:00:00Z".parse().unwrap()
}

fn later() -> Timestamp {
    "2025-06-02T12:00:00Z".parse().unwrap()
}

fn manifest() -> Bytes {
    Bytes::from_static(b"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"}")
}

fn cosign() -> Sign {
    Sign::cosign(Digest::of(&manifest()), IDENTITY, ISSUER, start())
}

fn root(name: &str, sigstore: &Sigstore) -> RootSettings {
    let json = sigstore.trusted_root_json();
    let trusted_root = RootSource::Inline(InlineRoot { json, refreshed_at: start() });
    RootSettings { max_age_s: 60, ..RootSettings::new(name, trusted_root) }
}

fn key(name: &str, key: &ManagedKey) -> KeySettings {
    let algorithm = Some(key.kind().name().parse().unwrap());
    KeySettings { algorithm, ..KeySettings::new(name, PemSource::Inline(InlinePem { text: key.public_pem() })) }
}

fn collector(settings: &Settings) -> Collector {
    Collector::new(Trust::load(settings).unwrap())
}

fn trusting(sigstore: &Sigstore) -> Collector {
    collector(&Settings { roots: vec![root("acme", sigstore)], ..Settings::default() })
}

fn candidate(name: &str, bundle: impl Into<Bytes>) -> Candidate {
    let source =
        CandidateSource { via: "referrers-api".into(), name: name.into(), index: None, media_type: None, digest: None };
    Candidate { source, content: Ok(CandidateContent::Bundle(bundle.into())) }
}

async fn examine(collector: &Collector, list: Vec<Candidate>) -> Evidence {
    investigate(collector, list).await.into_evidence()
}

async fn investigate(collector: &Collector, mut list: Vec<Candidate>) -> Examination {
    let manifest = manifest();
    for Candidate { source, content } in &mut list {
        if let Ok(CandidateContent::CosignSignature(_) | CandidateContent::CosignAttestation(_)) = content {
            "cosign-tags".clone_into(&mut source.via);
        }
    }
    let candidates = Candidates { looked_in: vec!["referrers-api".into()], list };
    let standing = collector.standing();
    let examination = collector.investigate(standing, Exhibit::of(manifest), candidates, later()).await.unwrap();
    checking::hold(&examination);
    examination
}

/// The finding of one bundle.
async fn finding(collector: &Collector, bundle: impl Into<Bytes>) -> Finding {
    let mut evidence = examine(collector, vec![candidate("one", bundle)]).await;
    assert_eq!(evidence.findings.len(), 1);
    evidence.findings.remove(0)
}

async fn verified(collector: &Collector, bundle: impl Into<Bytes>) -> VerifiedFinding {
    match finding(collector, bundle).await {
        Finding::Verified(finding) => finding,
        Finding::Rejected(finding) => panic!("{}: {}", finding.code, finding.detail),
    }
}

/// Why one bundle was rejected.
async fn rejected(collector: &Collector, bundle: impl Into<Bytes>) -> (Code, String) {
    match finding(collector, bundle).await {
        Finding::Verified(finding) => panic!("verified: {finding:?}"),
        Finding::Rejected(finding) => (finding.code, finding.detail),
    }
}

/// A bundle with one thing changed.
fn changed(bundle: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = serde_json::from_slice(bundle).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}
