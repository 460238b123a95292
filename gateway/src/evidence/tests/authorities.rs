//! Own X.509 authorities: who signs under one, what is asked of it, and what is none.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::document::RootDocument;
use super::super::limits::{AUTHORITIES_MAX, CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};
use super::super::revocation::RevocationList;
use super::super::standing::Revocations;
use super::super::{AuthoritySettings, LogDemand, SctDemand, Standing, StartError};
use super::*;
use crate::case::{San, SanKind, Signer, TrustKind, Waiver};
use crate::dev::sigstore::{Content, Depth, Flaw, Knob, Log, OwnAuthority};
use crate::outage::chain;

const NAME: &str = "spiffe://acme.example/ci/cart";

/// A folder with the files of one authority.
struct Files(tempfile::TempDir);

impl Files {
    fn of(own: &OwnAuthority, stamps: Option<&Sigstore>) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("chain.pem", &own.chain_pem());
        if let Some(stamps) = stamps {
            files.write("tsa.pem", &stamps.timestamp_authority_pem());
        }
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Asks a log of `root`, or none.
    fn settings(&self, root: Option<&str>) -> AuthoritySettings {
        let stamps = self.0.path().join("tsa.pem");
        AuthoritySettings {
            name: "own".into(),
            chain: self.0.path().join("chain.pem"),
            timestamp_authority: stamps.exists().then_some(stamps),
            root: root.map(str::to_owned),
            transparency_log: if root.is_some() { LogDemand::Required } else { LogDemand::Optional },
        }
    }
}

fn trusting(sigstore: &Sigstore, own: AuthoritySettings) -> Collector {
    collector(&Settings { roots: vec![root("acme", sigstore)], authorities: vec![own], ..Settings::default() })
}

fn alone(own: AuthoritySettings) -> Collector {
    collector(&Settings { authorities: vec![own], ..Settings::default() })
}

fn request() -> Sign {
    Sign::cosign(Digest::of(&manifest()), NAME, ISSUER, start())
}

/// Dated by the time-stamp authority, and nothing else.
fn unlogged() -> Sign {
    request().with(Knob::NoLogEntry).with(Knob::TimestampBeside)
}

fn contents() -> [Content; 3] {
    [
        Content::Message { bytes: manifest() },
        Content::SignStatement,
        Content::Statement { predicate_type: "https://acme.example/level/v1".into(), predicate: json!({"level": 3}) },
    ]
}

fn layers(sigstore: &Sigstore, own: &OwnAuthority, request: &Sign) -> [CandidateContent; 2] {
    let [_, _, statement] = contents();
    [
        CandidateContent::CosignSignature(sigstore.sign_legacy_with_authority(own, request.clone()).unwrap()),
        CandidateContent::CosignAttestation(
            sigstore.attest_legacy_with_authority(own, request.clone().signing(statement)).unwrap(),
        ),
    ]
}

async fn layer(collector: &Collector, content: CandidateContent) -> Result<VerifiedFinding, Code> {
    let one = Candidate { content: Ok(content), ..candidate("one", "") };
    match examine(collector, vec![one]).await.findings.remove(0) {
        Finding::Verified(found) => Ok(found),
        Finding::Rejected(found) => Err(found.code),
    }
}

fn assert_own(found: &VerifiedFinding, waived: &[Waiver]) {
    let san = San { kind: SanKind::Uri, value: NAME.into() };
    assert_eq!(found.signer, Signer::Certificate { authority: "own".into(), san });
    assert_eq!((found.trust.as_str(), &found.waived[..]), ("own", waived));
    assert_eq!(found.times, ["2025-06-01T12:00:05Z".parse::<Timestamp>().unwrap()]);
}

#[tokio::test]
async fn a_certificate_of_an_own_authority_signs() {
    let sigstore = Sigstore::new(start()).unwrap();
    for depth in [Depth::Root, Depth::Intermediate] {
        let own = OwnAuthority::new(start(), depth).unwrap();
        let (with_stamps, without) = (Files::of(&own, Some(&sigstore)), Files::of(&own, None));
        let dated_by_log = trusting(&sigstore, without.settings(Some("acme")));
        let dated_by_both = trusting(&sigstore, with_stamps.settings(Some("acme")));
        let dated_by_authority = alone(with_stamps.settings(None));
        for what in contents() {
            let sign = |request: Sign| sigstore.sign_with_authority(&own, request.signing(what.clone())).unwrap();
            for collector in [&dated_by_log, &dated_by_both] {
                assert_own(&verified(collector, sign(request())).await, &[]);
            }
            // A Rekor v2 dates nothing.
            let in_v2 = sign(request().logged_in(Log::RekorV2));
            assert_own(&verified(&dated_by_both, in_v2.clone()).await, &[]);
            assert_eq!(rejected(&dated_by_log, in_v2).await.0, Code::TIMESTAMP_INVALID);
            let undated = sign(request().logged_in(Log::RekorV2).with(Knob::NoTimestamp));
            assert_eq!(rejected(&dated_by_log, undated).await.0, Code::TIMESTAMP_MISSING);
            let bundle = sign(unlogged());
            assert_own(&verified(&dated_by_authority, bundle.clone()).await, &[Waiver::TransparencyLog]);
            for strict in [&dated_by_log, &dated_by_both] {
                assert_eq!(rejected(strict, bundle.clone()).await.0, Code::LOG_PROOF_MISSING);
            }
            for knob in [Knob::P384Signer, Knob::RsaSigner, Knob::Ed25519Signer] {
                assert_own(&verified(&dated_by_log, sign(request().with(knob))).await, &[]);
                assert_own(
                    &verified(&dated_by_authority, sign(unlogged().with(knob))).await,
                    &[Waiver::TransparencyLog],
                );
            }
        }
        for content in layers(&sigstore, &own, &request()) {
            assert_own(&layer(&dated_by_log, content).await.unwrap(), &[]);
        }
        for content in layers(&sigstore, &own, &unlogged()) {
            assert_own(&layer(&dated_by_authority, content).await.unwrap(), &[Waiver::TransparencyLog]);
        }
        let mail = Sign { identity: "ci@acme.example".into(), ..request() };
        let found = verified(&dated_by_log, sigstore.sign_with_authority(&own, mail).unwrap()).await;
        assert!(matches!(found.signer, Signer::Certificate { san: San { kind: SanKind::Email, .. }, .. }));
    }
}

#[tokio::test]
async fn each_defect_has_its_code() {
    let (sigstore, theirs) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let (own, other) = [(); 2].map(|()| OwnAuthority::new(start(), Depth::Intermediate).unwrap()).into();
    let files = Files::of(&own, Some(&sigstore));
    let (strict, lax) = (trusting(&sigstore, files.settings(Some("acme"))), alone(files.settings(None)));
    let lax_with_logs = {
        let own = AuthoritySettings { transparency_log: LogDemand::Optional, ..files.settings(Some("acme")) };
        trusting(&sigstore, own)
    };
    let rows: [(&Collector, Sign, Code); 20] = [
        (&strict, request().with(Knob::NoLogEntry), Code::LOG_PROOF_MISSING),
        (&strict, request().with(Knob::NoInclusionProof), Code::LOG_PROOF_MISSING),
        (&strict, request().with(Knob::ForeignLog), Code::LOG_UNKNOWN),
        (&strict, request().with(Knob::CheckpointOfAnotherTree), Code::LOG_PROOF_INVALID),
        (&strict, request().with(Knob::EntryOfAnotherSignature), Code::LOG_ENTRY_MISMATCH),
        (&strict, request().with(Knob::LateIntegratedTime), Code::CERTIFICATE_OUTSIDE_VALIDITY),
        (&strict, request().with(Knob::LeafWithoutCodeSigning), Code::CERTIFICATE_UNTRUSTED),
        (&strict, request().with(Knob::LeafForServers), Code::CERTIFICATE_UNTRUSTED),
        (&strict, request().with(Knob::NoSan), Code::IDENTITY_MISMATCH),
        (&strict, request().with(Knob::TwoUriSans), Code::IDENTITY_MISMATCH),
        (&strict, request().with(Knob::SignatureOfAnotherContent), Code::SIGNATURE_INVALID),
        // There is no falling back to now, when the certificate may well be valid.
        (&lax, request().with(Knob::NoLogEntry), Code::TIMESTAMP_MISSING),
        (&lax, unlogged().with(Knob::LateTimestamp), Code::CERTIFICATE_OUTSIDE_VALIDITY),
        (&lax, unlogged().with(Knob::ForeignTimestamp), Code::TIMESTAMP_INVALID),
        (&lax, unlogged().with(Knob::TimestampOfAnotherSignature), Code::TIMESTAMP_INVALID),
        (&lax, unlogged().with(Knob::SignatureOfAnotherContent), Code::SIGNATURE_INVALID),
        // An entry that is there has to verify, in a log that somebody names.
        (&lax, request().with(Knob::TimestampBeside), Code::LOG_UNKNOWN),
        (&lax_with_logs, request().with(Knob::TimestampBeside).with(Knob::NoInclusionProof), Code::LOG_PROOF_MISSING),
        (
            &lax_with_logs,
            request().with(Knob::TimestampBeside).with(Knob::EntryOfAnotherSignature),
            Code::LOG_ENTRY_MISMATCH,
        ),
        (&lax_with_logs, request().with(Knob::TimestampBeside).with(Knob::ForeignLog), Code::LOG_UNKNOWN),
    ];
    for (collector, request, expected) in rows {
        for what in [Content::Message { bytes: manifest() }, Content::SignStatement] {
            let bundle = sigstore.sign_with_authority(&own, request.clone().signing(what)).unwrap();
            let (code, detail) = rejected(collector, bundle).await;
            assert_eq!(code, expected, "{request:?}: {detail}");
        }
    }
    assert!(verified(&lax_with_logs, sigstore.sign_with_authority(&own, request()).unwrap()).await.waived.is_empty());
    for (collector, request) in [(&strict, request()), (&lax, unlogged())] {
        // Of another authority, and dated by another deployment.
        let bundle = sigstore.sign_with_authority(&other, request.clone()).unwrap();
        assert_eq!(rejected(collector, bundle).await.0, Code::CERTIFICATE_UNTRUSTED);
        let bundle = theirs.sign_with_authority(&own, request).unwrap();
        assert!(matches!(finding(collector, bundle).await, Finding::Rejected(_)));
    }
    let mut elsewhere = unlogged();
    elsewhere.manifest = Digest::of(b"other");
    let bundle = sigstore.sign_with_authority(&own, elsewhere.clone()).unwrap();
    assert_eq!(rejected(&lax, bundle).await.0, Code::SUBJECT_MISMATCH);
    for content in layers(&sigstore, &own, &elsewhere) {
        assert_eq!(layer(&lax, content).await.unwrap_err(), Code::SUBJECT_MISMATCH);
    }
    for content in layers(&sigstore, &own, &request().with(Knob::NoLogEntry)) {
        assert_eq!(layer(&strict, content.clone()).await.unwrap_err(), Code::LOG_PROOF_MISSING);
        assert_eq!(layer(&lax, content).await.unwrap_err(), Code::TIMESTAMP_MISSING);
    }
}

#[tokio::test]
async fn a7_1_an_own_certificate_is_never_taken_for_a_keyless_one_nor_the_reverse() {
    let sigstore = Sigstore::new(start()).unwrap();
    let own = OwnAuthority::new(start(), Depth::Intermediate).unwrap();
    let files = Files::of(&own, None);
    let collector = trusting(&sigstore, files.settings(Some("acme")));
    let bundle = sigstore.sign_with_authority(&own, request().with(Knob::IssuerBeside)).unwrap();
    let (code, detail) = rejected(&collector, bundle).await;
    assert_eq!(code, Code::ISSUER_MISMATCH);
    insta::assert_snapshot!(detail, @"expected no OIDC issuer in a certificate of the own authority `own`, found `https://token.actions.githubusercontent.com`");
    // One that cannot be read is one as well.
    for request in [request().with(Knob::UnreadableIssuer), request().with(Knob::IssuerBeside).with(Knob::TwoIssuers)] {
        let bundle = sigstore.sign_with_authority(&own, request.clone()).unwrap();
        assert!(matches!(finding(&collector, bundle).await, Finding::Rejected(_)), "{request:?}");
    }
    for content in layers(&sigstore, &own, &request().with(Knob::IssuerBeside)) {
        assert_eq!(layer(&collector, content).await.unwrap_err(), Code::ISSUER_MISMATCH);
    }
    // Under a Sigstore root a certificate without issuer is nobody's.
    let mut json: Value = serde_json::from_str(&sigstore.trusted_root_json()).unwrap();
    let blocks = super::super::authority::certificates("chain", own.chain_pem().as_bytes()).unwrap();
    let encode = |der: &Vec<u8>| json!({"rawBytes": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der)});
    json["certificateAuthorities"][0]["certChain"]["certificates"] = blocks.iter().map(encode).collect();
    let trusted_root = RootSource::Inline(InlineRoot { json: json.to_string(), refreshed_at: start() });
    for (sct, code) in [(SctDemand::NotRequired, Code::ISSUER_MISMATCH), (SctDemand::Required, Code::SCT_INVALID)] {
        let root = RootSettings { sct, ..RootSettings::new("acme", trusted_root.clone()) };
        let bundle = sigstore.sign_with_authority(&own, request()).unwrap();
        assert_eq!(rejected(&collector_of(&root, Vec::new()), bundle.clone()).await.0, code);
        // Where the CA is an own authority as well, that is what vouches.
        let both = collector_of(&root, vec![files.settings(Some("acme"))]);
        assert_own(&verified(&both, bundle).await, &[]);
        let with_issuer = sigstore.sign_with_authority(&own, request().with(Knob::IssuerBeside)).unwrap();
        match finding(&both, with_issuer).await {
            Finding::Verified(found) => assert!(matches!(found.signer, Signer::Keyless { .. })),
            Finding::Rejected(found) => assert_eq!((found.code, sct), (Code::ISSUER_MISMATCH, SctDemand::Required)),
        }
    }
    let keyless = sigstore.sign(cosign()).unwrap();
    assert!(matches!(verified(&collector, keyless).await.signer, Signer::Keyless { .. }));
}

fn collector_of(root: &RootSettings, authorities: Vec<AuthoritySettings>) -> Collector {
    collector(&Settings { roots: vec![root.clone()], authorities, ..Settings::default() })
}

#[tokio::test]
async fn a10_1_an_own_authority_is_valid_as_long_as_its_whole_chain_is() {
    let sigstore = Sigstore::new(start()).unwrap();
    let own = OwnAuthority::ending(start(), start() + jiff::SignedDuration::from_mins(1)).unwrap();
    let files = Files::of(&own, Some(&sigstore));
    let (logged, stamped) = (trusting(&sigstore, files.settings(Some("acme"))), alone(files.settings(None)));
    for (collector, request) in [(&logged, request()), (&stamped, unlogged())] {
        verified(collector, sigstore.sign_with_authority(&own, request.clone()).unwrap()).await;
        let late = Sign { at: start() + jiff::SignedDuration::from_hours(1), ..request };
        let bundle = sigstore.sign_with_authority(&own, late).unwrap();
        assert_eq!(rejected(collector, bundle).await.0, Code::CERTIFICATE_UNTRUSTED);
    }
    // A chain beside the signature adds nothing: that of another authority is not trusted, a wrong one does no harm.
    let other = OwnAuthority::new(start(), Depth::Intermediate).unwrap();
    for content in layers(&sigstore, &other, &request()) {
        assert_eq!(layer(&logged, content).await.unwrap_err(), Code::CERTIFICATE_UNTRUSTED);
    }
}

#[tokio::test]
async fn logs_come_from_the_root_that_is_named_and_change_with_it() {
    let (first, second) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let own = OwnAuthority::new(start(), Depth::Intermediate).unwrap();
    let files = Files::of(&own, None);
    let settings = Settings {
        roots: vec![root("acme", &first), root("other", &second)],
        authorities: vec![files.settings(Some("acme"))],
        ..Settings::default()
    };
    let document = |sigstore: &Sigstore| RootDocument::new(sigstore.trusted_root_json().into_bytes(), start());
    let before = Trust::of(&settings, &[document(&first), document(&second)]).unwrap();
    let after = before.with_roots(&settings, &[document(&second), document(&first)]).unwrap();
    assert_ne!(before.digest(), after.digest());
    let facts =
        [&before, &after].map(|trust| trust.facts(later()).into_iter().find(|fact| fact.name == "own").unwrap());
    assert_eq!(facts[0], facts[1], "who the authority is does not change with the log");
    assert_eq!((facts[0].kind, facts[0].max_age_s, &facts[0].waived[..]), (TrustKind::Authority, None, &[][..]));
    let (before, after) = (Collector::new(before), Collector::new(after));
    for (collector, good, bad) in [(before, &first, &second), (after, &second, &first)] {
        verified(&collector, good.sign_with_authority(&own, request()).unwrap()).await;
        let (code, _) = rejected(&collector, bad.sign_with_authority(&own, request()).unwrap()).await;
        assert_eq!(code, Code::LOG_UNKNOWN);
    }
}

#[tokio::test]
async fn a22_1_an_authority_is_revoked_by_name_by_digest_and_with_its_log() {
    let sigstore = Sigstore::new(start()).unwrap();
    let own = OwnAuthority::new(start(), Depth::Intermediate).unwrap();
    let files = Files::of(&own, Some(&sigstore));
    let authority = AuthoritySettings { transparency_log: LogDemand::Optional, ..files.settings(Some("acme")) };
    let settings =
        Settings { roots: vec![root("acme", &sigstore)], authorities: vec![authority], ..Settings::default() };
    let digest = Trust::load(&settings).unwrap().facts(later())[1].digest;
    let revoking = |entry: Value| {
        let list = json!({"version": 1, "issued_at": start(), "entries": [entry]});
        let list = RevocationList::parse(list.to_string().as_bytes(), later()).unwrap();
        let revocations = Revocations { list: std::sync::Arc::new(list), max_age_s: u64::MAX };
        Collector::under(Standing::new(Trust::load(&settings).unwrap().into(), Some(revocations)))
    };
    let (logged, stamped) = (
        sigstore.sign_with_authority(&own, request()).unwrap(),
        sigstore.sign_with_authority(&own, unlogged()).unwrap(),
    );
    for (entry, covers_logged, covers_stamped) in [
        (json!({"kind": "trust-root", "name": "own", "reason": "r"}), true, true),
        (json!({"kind": "trust-root", "digest": digest, "reason": "r"}), true, true),
        (json!({"kind": "trust-root", "name": "own", "digest": digest, "reason": "r"}), true, true),
        (json!({"kind": "trust-root", "name": "own", "digest": Digest::of(b"x"), "reason": "r"}), false, false),
        (json!({"kind": "trust-root", "name": "acme", "reason": "r"}), true, false),
        (json!({"kind": "identity", "san": NAME, "reason": "r"}), true, true),
        (json!({"kind": "identity", "san": NAME, "issuer": ISSUER, "reason": "r"}), false, false),
        (json!({"kind": "identity", "san": NAME, "reason": "r", "since": "2025-06-01T12:00:06Z"}), false, false),
    ] {
        let collector = revoking(entry.clone());
        for (bundle, covered) in [(&logged, covers_logged), (&stamped, covers_stamped)] {
            match finding(&collector, bundle.clone()).await {
                Finding::Verified(_) => assert!(!covered, "{entry}"),
                Finding::Rejected(found) => assert_eq!((covered, found.code), (true, Code::REVOKED), "{entry}"),
            }
        }
    }
}

/// Why this does not load, as a person reads it.
fn told(own: AuthoritySettings, sigstore: &Sigstore) -> String {
    let settings = Settings { roots: vec![root("acme", sigstore)], authorities: vec![own], ..Settings::default() };
    match Trust::load(&settings) {
        Ok(_) => "loads".into(),
        Err(fault) => {
            assert!(fault.hint().is_some_and(|hint| !hint.is_empty()));
            let text = chain(&fault);
            text.replace("the authority `own` of `[[evidence.authorities]]` cannot be used: ", "")
        }
    }
}

#[test]
fn what_is_no_authority_does_not_load() {
    let sigstore = Sigstore::new(start()).unwrap();
    let own = OwnAuthority::new(start(), Depth::Intermediate).unwrap();
    let files = Files::of(&own, Some(&sigstore));
    let (chain, stamps, leaf) = (own.chain_pem(), sigstore.timestamp_authority_pem(), own.leaf_pem(request()).unwrap());
    let reversed = |pem: &str| {
        let (first, second) = pem.split_at(pem.rfind("-----BEGIN").unwrap());
        format!("{second}{first}")
    };
    let first = |pem: &str| pem.split_at(pem.rfind("-----BEGIN").unwrap()).0.to_owned();
    let second = |pem: &str| pem.split_at(pem.rfind("-----BEGIN").unwrap()).1.to_owned();
    let name = |text: &str| format!("{}.pem", Digest::of(text.as_bytes()).hex());
    let with = |chain: &str| AuthoritySettings { chain: files.write(&name(chain), chain), ..files.settings(None) };
    let stamped = |chain: &str| AuthoritySettings {
        timestamp_authority: Some(files.write(&name(chain), chain)),
        ..files.settings(None)
    };
    let flawed = |flaw| Sigstore::flawed(start(), flaw).unwrap().timestamp_authority_pem();
    let without_time = AuthoritySettings { timestamp_authority: None, ..files.settings(None) };
    let key = ManagedKey::generate().unwrap();
    let past = OwnAuthority::ending(start(), start() - jiff::SignedDuration::from_hours(1)).unwrap();
    let rows = [
        ("as it should be", files.settings(None)),
        ("the issuing CA alone", with(&first(&chain))),
        ("the root alone", with(&second(&chain))),
        ("nothing", with("")),
        ("a signer's own certificate", with(&leaf)),
        ("a signer's own certificate before its chain", with(&format!("{leaf}{chain}"))),
        ("the root first", with(&reversed(&chain))),
        ("a key", with(&key.public_pem())),
        ("a private key beside the chain", with(&format!("{chain}{}", key.private_pem()))),
        ("no certificate inside", with(&key.public_pem().replace("PUBLIC KEY", "CERTIFICATE"))),
        ("cut off", with(chain.get(..chain.len() - 20).unwrap())),
        ("never valid", with(&past.chain_pem())),
        ("a CA that stamps times", stamped(&chain)),
        ("the stamping root first", stamped(&reversed(&stamps))),
        ("stamps without the usage", stamped(&flawed(Flaw::TsaWithoutUsage))),
        ("stamps with the usage not critical", stamped(&flawed(Flaw::TsaUsageNotCritical))),
        ("nobody dates anything", without_time),
        ("a log, and none named", AuthoritySettings { transparency_log: LogDemand::Required, ..files.settings(None) }),
        ("a root that is not there", files.settings(Some("nobody"))),
    ];
    let lines = rows.map(|(what, settings)| format!("{what}: {}", told(settings, &sigstore)));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    as it should be: loads
    the issuing CA alone: loads
    the root alone: loads
    nothing: `chain` is no PEM text: expected a line `-----BEGIN …-----`, found none
    a signer's own certificate: `chain`: expected certificate 1 to be a CA that may sign certificates
    a signer's own certificate before its chain: `chain`: expected certificate 1 to be a CA that may sign certificates
    the root first: `chain`: expected certificate 2 to be the issuer of the one before it
    a key: `chain`: expected certificates and nothing else, found a `PUBLIC KEY` block
    a private key beside the chain: `chain`: expected certificates and nothing else, found a `PRIVATE KEY` block
    no certificate inside: `chain`: expected certificate 1 to be an X.509 certificate, each extension once
    cut off: `chain` is no PEM text: line 23: expected a block that begins and ends with one label of upper-case letters
    never valid: `chain`: expected certificates that are valid at one time, found none
    a CA that stamps times: `timestamp_authority`: expected certificate 1 to be for time-stamps only, by a critical extended key usage
    the stamping root first: `timestamp_authority`: expected certificate 1 to be for time-stamps only, by a critical extended key usage
    stamps without the usage: `timestamp_authority`: expected certificate 1 to be for time-stamps only, by a critical extended key usage
    stamps with the usage not critical: `timestamp_authority`: expected certificate 1 to be for time-stamps only, by a critical extended key usage
    nobody dates anything: expected `timestamp_authority` or `root`, as a signature counts at a proven time only, found neither
    a log, and none named: expected `root`, whose logs an entry may be in, or `transparency_log = "optional"`, found neither
    a root that is not there: `root`: expected the name of one of `[[evidence.roots]]`, found `nobody`
    "#);
}

#[test]
fn authorities_have_limits_and_names_of_their_own() {
    let sigstore = Sigstore::new(start()).unwrap();
    let own = OwnAuthority::new(start(), Depth::Root).unwrap();
    let files = Files::of(&own, Some(&sigstore));
    let load = |authorities| Trust::load(&Settings { authorities, ..Settings::default() });
    let named = |name: &str| AuthoritySettings { name: name.into(), ..files.settings(None) };
    let many = |count: usize| load((0..count).map(|number| named(&number.to_string())).collect());
    assert!(many(AUTHORITIES_MAX).is_ok());
    assert!(matches!(many(AUTHORITIES_MAX + 1), Err(StartError::TooMany { .. })));
    assert!(matches!(load(vec![named("a"), named("a")]), Err(StartError::Name { .. })));
    let beside = Settings {
        roots: vec![root("own", &sigstore)],
        authorities: vec![files.settings(None)],
        ..Settings::default()
    };
    assert!(matches!(Trust::load(&beside), Err(StartError::Name { .. })));

    // The root issued itself, so a chain of it may have any length.
    let with =
        |text: String| load(vec![AuthoritySettings { chain: files.write("c.pem", &text), ..files.settings(None) }]);
    assert!(with(own.chain_pem().repeat(CHAIN_CERTIFICATES_MAX)).is_ok());
    assert!(matches!(with(own.chain_pem().repeat(CHAIN_CERTIFICATES_MAX + 1)), Err(StartError::Authority { .. })));
    let padded =
        |bytes: u64| " ".repeat(usize::try_from(bytes).unwrap() - own.chain_pem().len() - 1) + "\n" + &own.chain_pem();
    assert!(with(padded(CHAIN_BYTES_MAX)).is_ok());
    assert!(matches!(with(padded(CHAIN_BYTES_MAX + 1)), Err(StartError::TooLarge { .. })));
    let absent = AuthoritySettings { chain: Path::new("/nowhere/chain.pem").into(), ..files.settings(None) };
    assert!(matches!(load(vec![absent]), Err(StartError::Unreadable { .. })));
}

#[test]
fn what_is_asked_of_an_authority_is_part_of_what_is_believed() {
    let sigstore = Sigstore::new(start()).unwrap();
    let own = OwnAuthority::new(start(), Depth::Intermediate).unwrap();
    let (stamped, bare) = (Files::of(&own, Some(&sigstore)), Files::of(&own, None));
    let trust = |own: AuthoritySettings| {
        let roots = vec![root("acme", &sigstore), root("other", &sigstore)];
        Trust::load(&Settings { roots, authorities: vec![own], ..Settings::default() }).unwrap()
    };
    let variants = [
        bare.settings(Some("acme")),
        bare.settings(Some("other")),
        stamped.settings(Some("acme")),
        stamped.settings(None),
        AuthoritySettings { transparency_log: LogDemand::Optional, ..stamped.settings(Some("acme")) },
        AuthoritySettings { name: "renamed".into(), ..stamped.settings(None) },
    ];
    let digests = variants.map(|own| trust(own).digest());
    let distinct = digests.iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(distinct.len(), digests.len());
    let facts = |own| trust(own).facts(later()).remove(2);
    assert_ne!(facts(bare.settings(Some("acme"))).digest, facts(stamped.settings(Some("acme"))).digest);
    assert_eq!(facts(stamped.settings(None)).waived, [Waiver::TransparencyLog]);
}
