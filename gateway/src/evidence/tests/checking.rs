//! What is noted of each candidate: every check in its order, the one that failed, what was not reached.

use serde_json::json;

use super::super::checks::{Check, Checks};
use super::super::{Failure, LogDemand, SctDemand, examined_tree, tree};
use super::*;
use crate::case::{CosignLayer, Defect};
use crate::dev::sigstore::{Content, Knob, Log as Rekor};

/// What is checked before it is known who signed.
const FIRST: [Check; 4] = [Check::Received, Check::Room, Check::Digest, Check::Shape];

fn message() -> Content {
    Content::Message { bytes: manifest() }
}

fn level() -> Content {
    Content::Statement { predicate_type: "https://acme.example/level/v1".into(), predicate: json!({"level": 3}) }
}

fn provenance(predicate: Value) -> Content {
    Content::Statement { predicate_type: "https://slsa.dev/provenance/v1".into(), predicate }
}

fn layer(name: &str, content: CandidateContent) -> Candidate {
    let source = CandidateSource { via: "cosign-tags".into(), ..candidate(name, "").source };
    Candidate { source, content: Ok(content) }
}

/// The checks of one candidate.
async fn checked(collector: &Collector, one: Candidate) -> Checks {
    let examination = investigate(collector, vec![one]).await;
    let checks = examination.candidates().map(|(_, examined)| examined.checks.clone()).collect::<Vec<_>>();
    let [checks] = &checks[..] else { panic!("one candidate, one list of checks") };
    checks.clone()
}

fn passed(checks: &Checks) -> Vec<Check> {
    checks.steps().iter().flat_map(|step| step.passed.clone()).collect()
}

fn failed(checks: &Checks) -> Vec<Check> {
    checks.steps().iter().flat_map(|step| step.failed.clone()).collect()
}

/// What holds of every examination, and is asked of each one in this folder: no check is left out of a finding that counts, one
/// that does not count stopped at one check, and a stored case tells nothing else.
pub(super) fn hold(examination: &Examination) {
    let evidence = examination.evidence();
    for (finding, examined) in examination.candidates() {
        let (checks, told) = (&examined.checks, super::super::told::checks(evidence, finding));
        let what = format!("{finding:?}\n{checks:?}\n{told:?}");
        let mut once = std::collections::BTreeSet::new();
        assert!(passed(checks).iter().chain(&failed(checks)).all(|check| once.insert(*check)), "made twice: {what}");
        match finding {
            Finding::Verified(_) => {
                assert!(checks.failure().is_none() && failed(checks).is_empty(), "{what}");
                assert_eq!(serde_json::to_value(checks).unwrap()["not_reached"], json!([]), "{what}");
                assert_eq!((passed(&told), told.not_asked()), (passed(checks), checks.not_asked()), "{what}");
            }
            Finding::Rejected(rejected) => {
                let failure = checks.failure().unwrap();
                assert_eq!((failure.code.as_ref(), &failure.detail), (Some(&rejected.code), &rejected.detail));
                let last = checks.steps().last().unwrap();
                assert_eq!(failed(checks), last.failed, "{what}");
                assert!(!last.failed.is_empty(), "stopped nowhere: {what}");
                assert!(failed(&told).iter().all(|check| last.failed.contains(check)), "{what}");
                assert!(passed(&told).iter().all(|check| passed(checks).contains(check)), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn every_check_of_a_good_candidate_is_noted_in_its_order_and_none_is_left() {
    use Check::*;
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    let bundle = |request: Sign| candidate("one", sigstore.sign(request).unwrap());
    let keyed = |request: Sign| candidate("one", sigstore.sign_with_key(&managed, request).unwrap());
    let sig = |layer: CosignLayer| self::layer("x.sig#0", CandidateContent::CosignSignature(layer));
    let att = |layer: CosignLayer| self::layer("x.att#0", CandidateContent::CosignAttestation(layer));
    let keyless = [Form, Times, CertificateChain, Sct, Log];
    let key = [Form, Log, Times];
    for (what, one, by, rest) in [
        ("a sign statement", bundle(cosign()), &keyless[..], &[Signature, Binding, Entry, Name, Subject, Clock][..]),
        (
            "the manifest itself",
            bundle(cosign().signing(message())),
            &keyless,
            &[Binding, Signature, Entry, Name, Clock],
        ),
        (
            "an attestation",
            bundle(cosign().signing(level()).logged_in(Rekor::RekorV2)),
            &keyless,
            &[Signature, Binding, Entry, Name, Subject, Predicate, Clock, PredicateRoom],
        ),
        ("a key", keyed(cosign()), &key, &[Signature, Binding, Entry, Subject, Clock]),
        ("a key over the manifest", keyed(cosign().signing(message())), &key, &[Binding, Signature, Entry, Clock]),
        (
            "a signature of cosign 2",
            sig(sigstore.sign_legacy(cosign()).unwrap()),
            &keyless,
            &[Signature, Entry, Name, Subject, Clock],
        ),
        (
            "an attestation of cosign 2",
            att(sigstore.attest_legacy(cosign().signing(level())).unwrap()),
            &keyless,
            &[Signature, Binding, Entry, Name, Subject, Predicate, Clock, PredicateRoom],
        ),
        (
            "a key of cosign 2",
            sig(sigstore.sign_legacy_with_key(&managed, cosign()).unwrap()),
            &key,
            &[Signature, Entry, Subject, Clock],
        ),
    ] {
        let mut checks = checked(&collector, one.clone()).await;
        assert_eq!(passed(&checks), [&FIRST[..], by, rest].concat(), "{what}");
        assert!(checks.failure().is_none() && failed(&checks).is_empty(), "{what}");
        assert!(!checks.are_passed(), "{what}: nobody asked for it yet");
        // What was expected and never made would stand here.
        assert_eq!(serde_json::to_value(&checks).unwrap()["not_reached"], json!([]), "{what}");
        let call = checks.steps().iter().find(|step| step.calls > 0).unwrap();
        assert_eq!(call.calls, 1, "{what}");
        assert!(checks.steps().iter().all(|step| step.took.is_some()), "{what}");
        // A stored case tells the same, but for times.
        let evidence = examine(&collector, vec![one.clone()]).await;
        let told = super::super::told::checks(&evidence, &evidence.findings[0]);
        assert_eq!(passed(&told), passed(&checks), "{what}");
        // The second time it is remembered.
        let again = checked(&collector, one).await;
        assert_eq!(passed(&again), passed(&checks), "{what}");
        assert!(again.steps().iter().any(|step| step.took.is_none() && step.calls == 1), "{what}");
        // The one more check of a command line.
        checks.want(|| Ok(()));
        assert!(checks.are_passed() && passed(&checks).ends_with(&[Check::Wanted]), "{what}");
    }
}

#[tokio::test]
async fn what_is_not_asked_is_noted_as_such() {
    use Check::*;
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let (transparency_log, sct) = (LogDemand::Optional, SctDemand::NotRequired);
    let roots = vec![RootSettings { transparency_log, sct, ..root("acme", &sigstore) }];
    let keys = vec![KeySettings { transparency_log, ..key("release", &managed) }];
    let lax = collector(&Settings { roots, keys, ..Settings::default() });
    let unlogged = |log| cosign().logged_in(log).with(Knob::NoLogEntry);
    let keyed = |request| candidate("one", sigstore.sign_with_key(&managed, request).unwrap());
    let legacy = |request| sigstore.sign_legacy_with_key(&managed, request).unwrap();
    for (what, one, made, waived) in [
        (
            "no SCT",
            candidate("one", sigstore.sign(cosign().with(Knob::NoSct)).unwrap()),
            &[Form, Times, CertificateChain, Log, Signature, Binding, Entry, Name, Subject, Clock][..],
            &[Sct][..],
        ),
        (
            "no entry",
            candidate("one", sigstore.sign(unlogged(Rekor::RekorV2)).unwrap()),
            &[Form, Times, CertificateChain, Signature, Binding, Name, Subject, Clock],
            &[Sct, Log, Entry],
        ),
        ("a key alone", keyed(unlogged(Rekor::RekorV1)), &[Signature, Subject, Clock], &[Log, Entry]),
        (
            "a key over the manifest",
            keyed(unlogged(Rekor::RekorV1).signing(message())),
            &[Signature, Clock],
            &[Log, Entry],
        ),
        ("a key and a time", keyed(unlogged(Rekor::RekorV2)), &[Signature, Times, Subject, Clock], &[Log, Entry]),
        (
            "a key of cosign 2",
            layer("x.sig#0", CandidateContent::CosignSignature(legacy(unlogged(Rekor::RekorV1)))),
            &[Signature, Subject, Clock],
            &[Log, Entry],
        ),
        ("a key with an entry", keyed(cosign()), &[Form, Log, Times, Signature, Binding, Entry, Subject, Clock], &[]),
    ] {
        let checks = checked(&lax, one.clone()).await;
        assert_eq!(passed(&checks), [&FIRST[..], made].concat(), "{what}: {:?}", checks.failure());
        assert_eq!(checks.not_asked(), waived, "{what}");
        assert_eq!(serde_json::to_value(&checks).unwrap()["not_reached"], json!([]), "{what}");
        let evidence = examine(&lax, vec![one]).await;
        let told = super::super::told::checks(&evidence, &evidence.findings[0]);
        assert_eq!((passed(&told), told.not_asked()), (passed(&checks), waived), "{what}");
    }
    // Where it is asked, the same ones stop at it.
    let strict = collector(&Settings {
        keys: vec![key("release", &managed)],
        roots: vec![root("acme", &sigstore)],
        ..Settings::default()
    });
    for one in [candidate("one", sigstore.sign(unlogged(Rekor::RekorV2)).unwrap()), keyed(unlogged(Rekor::RekorV1))] {
        let checks = checked(&strict, one).await;
        assert_eq!((passed(&checks), failed(&checks)), (FIRST.to_vec(), vec![Log]));
        assert!(checks.not_asked().is_empty() && checks.not_reached().contains(&Signature));
    }
    // A key that needs an entry is found, so it is the entry that is missing.
    let other = KeySettings { transparency_log, ..key("other", &ManagedKey::generate().unwrap()) };
    let mixed = collector(&Settings { keys: vec![key("release", &managed), other], ..Settings::default() });
    let checks = checked(&mixed, keyed(unlogged(Rekor::RekorV1))).await;
    assert_eq!((passed(&checks), failed(&checks)), ([&FIRST[..], &[Signature]].concat(), vec![Log]));
}

#[tokio::test]
async fn each_defect_stops_at_its_check_and_what_follows_is_not_reached() {
    use Check::*;
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let (v1, v2) = (Rekor::RekorV1, Rekor::RekorV2);
    let order = [Form, Times, CertificateChain, Sct, Log, Signature, Binding, Entry, Name, Subject, Clock];
    for (knob, log, stop) in [
        (Knob::NoInclusionProof, v1, Shape),
        (Knob::PayloadNotJson, v1, Shape),
        (Knob::NoPromise, v1, Times),
        (Knob::ForgedIntegratedTime, v1, Times),
        (Knob::ForeignLog, v1, Times),
        (Knob::NoTimestamp, v2, Times),
        (Knob::ForeignTimestamp, v2, Times),
        (Knob::LateIntegratedTime, v1, CertificateChain),
        (Knob::LateTimestamp, v2, CertificateChain),
        (Knob::LeafWithoutCodeSigning, v1, CertificateChain),
        (Knob::NoSct, v1, Sct),
        (Knob::TwoScts, v2, Sct),
        (Knob::ForeignLog, v2, Log),
        (Knob::SignatureOfAnotherContent, v1, Signature),
        (Knob::UpperCaseSubject, v1, Subject),
        (Knob::EntryOfAnotherSignature, v1, Entry),
        (Knob::EntryOfAnotherSignature, v2, Entry),
        (Knob::LeafForServers, v1, Name),
        (Knob::TwoUriSans, v1, Name),
        (Knob::NoIssuer, v2, Name),
    ] {
        let bundle = sigstore.sign(cosign().logged_in(log).with(knob)).unwrap();
        let mut checks = checked(&collector, candidate("one", bundle)).await;
        let what = format!("{knob:?} in {log:?}");
        assert_eq!(failed(&checks), [stop], "{what}");
        let all = [&FIRST[..], &order].concat();
        let before = all.iter().copied().take_while(|check| *check != stop).collect::<Vec<_>>();
        assert_eq!(passed(&checks), before, "{what}");
        let behind = match stop {
            // Nobody knows yet by what it is signed.
            Shape => vec![Times, Log, Signature, Entry, Clock],
            stop => order.iter().copied().skip_while(|check| *check != stop).skip(1).collect(),
        };
        assert_eq!(checks.not_reached(), behind, "{what}");
        assert!(checks.failure().unwrap().code.is_some(), "{what}");
        checks.want(|| panic!("what is rejected is asked no more"));
        assert_eq!(checks.not_reached().last(), Some(&Wanted), "{what}");
    }
}

#[tokio::test]
async fn what_fails_outside_of_the_verifier_stops_there_too() {
    use Check::*;
    let sigstore = Sigstore::new(start()).unwrap();
    let theirs = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = || sigstore.sign(cosign()).unwrap();
    let another = crate::case::Digest::of(b"another");
    let mut announced = candidate("one", good());
    announced.source.digest = Some(another);
    let defect = Defect { code: Code::MANIFEST_INVALID, about: "layers".into(), detail: "expected one".into() };
    let elsewhere = sigstore.sign_legacy(Sign { manifest: another, ..cosign() }).unwrap();
    for (what, one, stop, code) in [
        ("a defect", Candidate { content: Err(defect), ..candidate("one", "") }, Received, "manifest-invalid"),
        ("another digest", announced, Check::Digest, "digest-mismatch"),
        ("random bytes", candidate("one", "random"), Shape, "bundle-malformed"),
        (
            "a statement about another",
            candidate("one", sigstore.sign(Sign { manifest: another, ..cosign() }).unwrap()),
            Binding,
            "subject-mismatch",
        ),
        ("a foreign root", candidate("one", theirs.sign(cosign()).unwrap()), CertificateChain, "certificate-untrusted"),
        (
            "a payload about another",
            layer("x.sig#0", CandidateContent::CosignSignature(elsewhere)),
            Subject,
            "subject-mismatch",
        ),
        (
            "a key that nobody trusts",
            candidate("one", sigstore.sign_with_key(&ManagedKey::generate().unwrap(), cosign()).unwrap()),
            Signature,
            "key-not-trusted",
        ),
        (
            "a predicate of another shape",
            candidate("one", sigstore.sign(cosign().signing(provenance(json!({})))).unwrap()),
            Predicate,
            "statement-malformed",
        ),
    ] {
        let checks = checked(&collector, one).await;
        assert_eq!(failed(&checks), [stop], "{what}");
        assert_eq!(checks.failure().unwrap().code.as_ref().map(Code::as_str), Some(code), "{what}");
        assert!(!checks.not_reached().contains(&stop) && checks.not_reached().contains(&Clock), "{what}");
    }
    let early = start() - jiff::SignedDuration::from_secs(3600);
    let candidates = Candidates { looked_in: Vec::new(), list: vec![candidate("one", good())] };
    let examination =
        collector.investigate(collector.standing(), Exhibit::of(manifest()), candidates, early).await.unwrap();
    let (_, examined) = examination.candidates().next().unwrap();
    assert_eq!((failed(&examined.checks), examined.checks.not_reached()), (vec![Clock], &[][..]));
}

#[tokio::test]
async fn what_the_signer_says_beside_comes_from_verified_bytes() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let request = || cosign().annotated("git", "annotated so").annotated("n", "1=2,3");
    let sig = |one| layer("x.sig#0", CandidateContent::CosignSignature(one));
    for (one, annotated, stamps) in [
        (candidate("one", sigstore.sign(request()).unwrap()), true, 0),
        (candidate("one", sigstore.sign(request().logged_in(Rekor::RekorV2)).unwrap()), true, 1),
        (candidate("one", sigstore.sign(request().with(Knob::TimestampBeside)).unwrap()), true, 1),
        (candidate("one", sigstore.sign(request().signing(message())).unwrap()), false, 0),
        (candidate("one", sigstore.sign(request().signing(level())).unwrap()), false, 0),
        (candidate("one", sigstore.sign(request().with(Knob::NoSct)).unwrap()), false, 0),
        (sig(sigstore.sign_legacy(request()).unwrap()), true, 0),
        (sig(sigstore.sign_legacy(request().with(Knob::TimestampBeside)).unwrap()), true, 1),
        (sig(sigstore.sign_legacy(request().with(Knob::NoPromise)).unwrap()), false, 0),
    ] {
        let examination = investigate(&collector, vec![one.clone()]).await;
        let (finding, examined) = examination.candidates().next().unwrap();
        let wanted = [("git".to_owned(), "annotated so".to_owned()), ("n".to_owned(), "1=2,3".to_owned())];
        let wanted = if annotated { wanted.into() } else { Default::default() };
        assert_eq!(examined.aside.annotations, wanted, "{finding:?}");
        assert_eq!(examined.aside.signed_times, stamps, "{finding:?}");
        // None of it is in the case.
        assert!(!serde_json::to_string(finding).unwrap().contains("annotated so"), "{finding:?}");
    }
}

/// A tree without what differs from run to run.
fn steady(tree: &str) -> String {
    let hex = regex::Regex::new("[0-9a-f]{12,64}").unwrap();
    let took = regex::Regex::new(r"[0-9]+\.[0-9]{2} ms").unwrap();
    let hint = regex::Regex::new("with the hint `[^`]*`").unwrap();
    let tree = hint.replace_all(tree, "with the hint `HINT`");
    took.replace_all(&hex.replace_all(&tree, "HEX"), "N ms").into_owned()
}

async fn told(collector: &Collector, list: Vec<Candidate>, want: impl Fn(&Finding) -> Result<(), Failure>) -> String {
    let mut examination = investigate(collector, list).await;
    for (finding, examined) in examination.candidates_mut() {
        examined.checks.want(|| want(finding));
    }
    steady(&examined_tree(&examination))
}

#[tokio::test]
async fn a_person_can_read_every_check() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let signed = |request: Sign| candidate("good", sigstore.sign(request).unwrap());
    insta::assert_snapshot!(told(&collector, vec![signed(cosign())], |_| Ok(())).await, @r"
    evidence: 1 verified (1 wanted), 0 rejected; looked in referrers-api
      trust      root acme, sha256:HEX…, 86400 s old, at most 60 s, STALE
      verified   signature `good` from referrers-api
        says       https://sigstore.dev/cosign/sign/v1
        signed by  https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main (URI)
        issuer     https://token.actions.githubusercontent.com
        trust      acme: certificate, SCT, log entry
        time       2025-06-01T12:00:05Z
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in one call of sigstore-verify, N ms
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          passed     certificate: SCT
          passed     log: inclusion, checkpoint, promise
          passed     signature
          passed     signed content is about the artifact
          passed     log entry is of this signature
        passed     certificate: usage, one name, issuer, N ms
        passed     subject is exactly its SHA-256, N ms
        passed     no time ahead of the clock, N ms
        passed     wanted on the command line, N ms
    ");
    let rejected = candidate("bad", sigstore.sign(cosign().with(Knob::NoSct)).unwrap());
    insta::assert_snapshot!(told(&collector, vec![rejected.clone()], |_| Ok(())).await, @r"
    evidence: 0 verified (0 wanted), 1 rejected; looked in referrers-api
      trust      root acme, sha256:HEX…, 86400 s old, at most 60 s, STALE
      rejected   sct-invalid `bad` from referrers-api
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in one call of sigstore-verify, N ms
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          failed     certificate: SCT
            because    invalid signed certificate timestamp: certificate is missing SCT extension (Signed Certificate Timestamp)
        not reached log, signature, binding, entry, name, subject, clock, wanted
    ");
    let elsewhere = Failure::mismatch(Some(Code::IDENTITY_MISMATCH), "the URI `https://acme.example/x`", "another");
    let mixed = vec![
        signed(cosign().signing(level()).logged_in(Rekor::RekorV2)),
        rejected.clone(),
        candidate("noise", "random bytes"),
        Candidate { source: candidate("twin", "").source, ..rejected.clone() },
    ];
    insta::assert_snapshot!(told(&collector, mixed, |_| Err(elsewhere.clone())).await, @r"
    evidence: 1 verified (0 wanted), 3 rejected; looked in referrers-api
      trust      root acme, sha256:HEX…, 86400 s old, at most 60 s, STALE
      rejected   sct-invalid `bad` from referrers-api
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape
        in one call of sigstore-verify, remembered
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          failed     certificate: SCT
            because    invalid signed certificate timestamp: certificate is missing SCT extension (Signed Certificate Timestamp)
        not reached log, signature, binding, entry, name, subject, clock, wanted
      unwanted   attestation `good` from referrers-api
        says       https://acme.example/level/v1
        signed by  https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main (URI)
        issuer     https://token.actions.githubusercontent.com
        trust      acme: certificate, SCT, log entry
        time       2025-06-01T12:00:05Z
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in one call of sigstore-verify, N ms
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          passed     certificate: SCT
          passed     log: inclusion, checkpoint, promise
          passed     signature
          passed     signed content is about the artifact
          passed     log entry is of this signature
        passed     certificate: usage, one name, issuer, N ms
        passed     subject is exactly its SHA-256, N ms
        passed     predicate has the shape of its type, N ms
        passed     no time ahead of the clock, N ms
        passed     predicates within the limits of one case, N ms
        failed     wanted on the command line, N ms
          expected   the URI `https://acme.example/x`
          found      another
      rejected   bundle-malformed `noise` from referrers-api
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        failed     size and shape, N ms
          because    the bundle cannot be read: no JSON at line 1, column 1
        not reached times, log, signature, entry, clock, wanted
      rejected   sct-invalid `twin` from referrers-api
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape
        in one call of sigstore-verify, remembered
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          failed     certificate: SCT
            because    invalid signed certificate timestamp: certificate is missing SCT extension (Signed Certificate Timestamp)
        not reached log, signature, binding, entry, name, subject, clock, wanted
    ");
    let managed = ManagedKey::generate().unwrap();
    let other = key("other", &ManagedKey::generate().unwrap());
    let release = key("release", &managed);
    let keys = self::collector(&Settings {
        roots: vec![root("acme", &sigstore)],
        keys: vec![other, release],
        ..Settings::default()
    });
    let keyed = candidate("keyed", sigstore.sign_with_key(&managed, cosign()).unwrap());
    let stranger = sigstore.sign_with_key(&ManagedKey::generate().unwrap(), cosign()).unwrap();
    insta::assert_snapshot!(told(&keys, vec![keyed, candidate("stranger", stranger)], |_| Ok(())).await, @r"
    evidence: 1 verified (1 wanted), 1 rejected; looked in referrers-api
      trust      root acme, sha256:HEX…, 86400 s old, at most 60 s, STALE
      trust      key other, sha256:HEX…
      trust      key release, sha256:HEX…
      verified   signature `keyed` from referrers-api
        says       https://sigstore.dev/cosign/sign/v1
        signed by  key release (sha256:HEX)
        trust      release: key, log entry
        time       2025-06-01T12:00:05Z
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in one call of sigstore-verify, N ms
          passed     form, as the verifier reads it
          passed     log: inclusion, checkpoint, promise
          passed     times: time-stamps, the log's promise
          passed     signature
          passed     signed content is about the artifact
          passed     log entry is of this signature
        passed     subject is exactly its SHA-256, N ms
        passed     no time ahead of the clock, N ms
        passed     wanted on the command line, N ms
      rejected   key-not-trusted `stranger` from referrers-api
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in 2 calls of sigstore-verify, one for each root or key, N ms
          passed     form, as the verifier reads it
          passed     log: inclusion, checkpoint, promise
          passed     times: time-stamps, the log's promise
          failed     signature
            expected   one of the keys `other`, `release`
            found      a signature by another key, with the hint `HINT`
        not reached binding, entry, subject, clock, wanted
    ");
    let sig = layer("sha256-X.sig#0", CandidateContent::CosignSignature(sigstore.sign_legacy(cosign()).unwrap()));
    let att = sigstore.attest_legacy(cosign().signing(level())).unwrap();
    let att = layer("sha256-X.att#0", CandidateContent::CosignAttestation(att));
    insta::assert_snapshot!(told(&collector, vec![sig, att], |finding| match finding {
        Finding::Verified(found) if found.predicate_type.is_none() => Ok(()),
        _ => Err(elsewhere.clone()),
    }).await, @r"
    evidence: 2 verified (1 wanted), 0 rejected; looked in referrers-api
      trust      root acme, sha256:HEX…, 86400 s old, at most 60 s, STALE
      unwanted   attestation `sha256-X.att#0` from cosign-tags
        says       https://acme.example/level/v1
        signed by  https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main (URI)
        issuer     https://token.actions.githubusercontent.com
        trust      acme: certificate, SCT, log entry
        time       2025-06-01T12:00:05Z
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in one call of sigstore-verify, N ms
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          passed     certificate: SCT
          passed     log: inclusion, checkpoint, promise
          passed     signature
          passed     signed content is about the artifact
          passed     log entry is of this signature
        passed     certificate: usage, one name, issuer, N ms
        passed     subject is exactly its SHA-256, N ms
        passed     predicate has the shape of its type, N ms
        passed     no time ahead of the clock, N ms
        passed     predicates within the limits of one case, N ms
        failed     wanted on the command line, N ms
          expected   the URI `https://acme.example/x`
          found      another
      verified   signature `sha256-X.sig#0` from cosign-tags
        signed by  https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main (URI)
        issuer     https://token.actions.githubusercontent.com
        trust      acme: certificate, SCT, log entry
        time       2025-06-01T12:00:05Z
        passed     received, N ms
        passed     within the limits of one artifact, N ms
        passed     digest as announced, N ms
        passed     size and shape, N ms
        in one call of sigstore-verify, N ms
          passed     form, as the verifier reads it
          passed     times: time-stamps, the log's promise
          passed     certificate: chain, validity at each time
          passed     certificate: SCT
          passed     log: inclusion, checkpoint, promise
          passed     signature
          passed     log entry is of this signature
        passed     certificate: usage, one name, issuer, N ms
        passed     subject is exactly its SHA-256, N ms
        passed     no time ahead of the clock, N ms
        passed     wanted on the command line, N ms
    ");
}

#[tokio::test]
async fn a_stored_case_is_told_in_the_same_order() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let of = |name: &str, knob: Option<Knob>| {
        candidate(name, sigstore.sign(knob.into_iter().fold(cosign(), Sign::with)).unwrap())
    };
    let list = vec![
        of("a", None),
        of("b", Some(Knob::NoSct)),
        of("c", Some(Knob::TwoUriSans)),
        of("d", Some(Knob::UpperCaseSubject)),
    ];
    let evidence = examine(&collector, list).await;
    insta::assert_snapshot!(steady(&tree(&evidence)), @r"
    evidence: 1 verified, 3 rejected; looked in referrers-api
      trust      root acme, sha256:HEX…, 86400 s old, at most 60 s, STALE
      verified   signature `a` from referrers-api
        says       https://sigstore.dev/cosign/sign/v1
        signed by  https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main (URI)
        issuer     https://token.actions.githubusercontent.com
        trust      acme: certificate, SCT, log entry
        time       2025-06-01T12:00:05Z
        passed     received, room, digest, shape, form, times, certificate-chain, sct, log, signature, binding, entry, name, subject, clock
      rejected   sct-invalid `b` from referrers-api
        passed     received, room, digest, shape, form, times, certificate-chain
        failed     certificate: SCT
          because    invalid signed certificate timestamp: certificate is missing SCT extension (Signed Certificate Timestamp)
      rejected   identity-mismatch `c` from referrers-api
        passed     received, room, digest, shape, form, times, certificate-chain, sct, log, signature, entry
        failed     certificate: usage, one name, issuer
          expected   one subject alternative name, a URI or an e-mail address
          found      URI + URI
      rejected   subject-mismatch `d` from referrers-api
        expected   the subject `sha256:HEX`
        found      `sha256:B22C7289DD3B4785A3795C90E15D16BD66BD29B444B8974FE29ED0443CE50405`
    ");
}
