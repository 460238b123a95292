//! References through the embedded registry: what is told of good, bad and mixed evidence, and what a gateway records of it.

use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate::dev::sigstore::{Knob, Log};

use super::*;
use crate::served::Served;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_signature_is_told_check_by_check() {
    let stage = Stage::start().await;
    let pushed =
        stage.signed("good", |sign| sign.claiming("source_repository_uri", "https://github.com/acme/shop")).await;
    insta::assert_snapshot!(stage.verify(&pushed.reference, &BY_SIGNER).steady(), @r"
    exit 0
    REGISTRY/acme/good:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 1 verified (1 wanted), 0 rejected; looked in referrers-api, cosign-tags, component
        trust      root --trusted-root, sha256:HEX…, N s old
        verified   signature `sha256:HEX` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
          says       https://sigstore.dev/cosign/sign/v1
          signed by  https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main (URI)
          issuer     https://token.actions.githubusercontent.com
          claim      source_repository_uri = https://github.com/acme/shop
          trust      --trusted-root: certificate, SCT, log entry
          time       TIME
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
    verified REGISTRY/acme/good:1: a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_signed_says_where_it_was_looked_for_and_how_to_sign() {
    let stage = Stage::start().await;
    let pushed = stage.push("unsigned").await;
    insta::assert_snapshot!(stage.verify(&pushed.reference, &BY_SIGNER).steady(), @r"
    exit 1
    REGISTRY/acme/unsigned:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 0 verified (0 wanted), 0 rejected; looked in referrers-api, fallback-tag, cosign-tags, component
        trust      root --trusted-root, sha256:HEX…, N s old
    witgate: error: `REGISTRY/acme/unsigned:1` (sha256:HEX…) is not verified
      wanted     a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
      looked in  referrers-api for Sigstore bundles: none
      looked in  fallback-tag for Sigstore bundles: none
      looked in  cosign-tags for signatures of cosign 2: none, for attestations: none
      looked in  component for a wasmCloud 1.x token: none
    witgate: hint: nobody signed it: `cosign sign REGISTRY/acme/unsigned@sha256:HEX`
    ");
    let attested = stage.verify(&pushed.reference, &[&BY_SIGNER[..], &["--type", "spdxjson"]].concat());
    let hint = attested.err.lines().last().unwrap();
    assert_eq!(
        steady(hint),
        "witgate: hint: nothing attests it: `cosign attest --type https://spdx.dev/Document --predicate FILE \
         REGISTRY/acme/unsigned@sha256:HEX`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_2_mixed_evidence_says_how_each_one_missed() {
    let stage = Stage::start().await;
    let pushed = stage.push("mixed").await;
    let theirs = Sigstore::new(before(120)).unwrap();
    let stranger = |sign: Sign| Sign {
        identity: "https://github.com/mallory/x/.github/workflows/x.yml@refs/heads/x".into(),
        ..sign
    };
    for bundle in [
        stage.sigstore.sign(stranger(request(pushed.manifest))).unwrap(),
        stage.sigstore.sign(request(pushed.manifest).with(Knob::NoSct)).unwrap(),
        stage.sigstore.sign_with_key(&ManagedKey::generate().unwrap(), request(pushed.manifest)).unwrap(),
        theirs.sign(request(pushed.manifest)).unwrap(),
        b"random bytes".to_vec(),
    ] {
        stage.attach(&pushed, &bundle).await;
    }
    let legacy = stage.sigstore.sign_legacy(request(pushed.manifest).with(Knob::NoPromise)).unwrap();
    let attestation = stage.sigstore.attest_legacy(request(pushed.manifest).signing(provenance())).unwrap();
    stage.tag(&pushed, &[legacy], &[attestation]).await;
    let said = stage.verify(&pushed.reference, &BY_SIGNER);
    assert_eq!(said.code, Some(1));
    // The order is that of digests, which differ from run to run.
    let mut lines: Vec<_> = steady(&said.err).lines().map(str::to_owned).collect();
    let (first, hint) = (lines.remove(0), lines.pop().unwrap());
    lines.sort();
    insta::assert_snapshot!(format!("{first}\n{}\n{hint}", lines.join("\n")), @r"
    witgate: error: `REGISTRY/acme/mixed:1` (sha256:HEX…) is not verified
      bundle-malformed         `sha256:HEX` from referrers-api: the bundle cannot be read: no JSON at line 1, column 1
      certificate-untrusted    `sha256:HEX` from referrers-api: expected a certificate by an authority of `--trusted-root`, found one by `O=witgate.test, CN=witgate-intermediate`
      identity-mismatch        `sha256:HEX` from referrers-api: expected the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main`, found URI `https://github.com/mallory/x/.github/workflows/x.yml@refs/heads/x`
      key-not-trusted          `sha256:HEX` from referrers-api: signed by a managed key, but no key is trusted: add one under `[[evidence.keys]]`
      log-proof-missing        `sha256-HEX.sig#0` from cosign-tags: expected the log's `SignedEntryTimestamp` in the annotation `dev.sigstore.cosign/bundle`, found none
      looked in                component for a wasmCloud 1.x token: none
      looked in                cosign-tags for signatures of cosign 2: 1, for attestations: 1
      looked in                referrers-api for Sigstore bundles: 5
      predicate-type-mismatch  `sha256-HEX.att#0` from cosign-tags: expected a signature, found an attestation of the type `https://slsa.dev/provenance/v1`
      sct-invalid              `sha256:HEX` from referrers-api: invalid signed certificate timestamp: certificate is missing SCT extension (Signed Certificate Timestamp)
      wanted                   a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    witgate: hint: something else verified: compare `expected` with `found` above; patterns match in full (`docs/verify.md`)
    ");
    // One good one beside all of them is enough.
    stage.attach(&pushed, &stage.sigstore.sign(request(pushed.manifest)).unwrap()).await;
    let said = stage.verify(&pushed.reference, &BY_SIGNER);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.err.is_empty(), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_2_and_keys_and_attestations_are_told_too() {
    let stage = Stage::start().await;
    let legacy = stage.push("legacy").await;
    let signature = stage.sigstore.sign_legacy(request(legacy.manifest)).unwrap();
    let attestation = stage.sigstore.attest_legacy(request(legacy.manifest).signing(provenance())).unwrap();
    stage.tag(&legacy, &[signature], &[attestation]).await;
    insta::assert_snapshot!(stage.verify(&legacy.reference, &BY_SIGNER).steady(), @r"
    exit 0
    REGISTRY/acme/legacy:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 2 verified (1 wanted), 0 rejected; looked in referrers-api, fallback-tag, cosign-tags, component
        trust      root --trusted-root, sha256:HEX…, N s old
        unwanted   attestation `sha256-HEX.att#0` from cosign-tags, application/vnd.dsse.envelope.v1+json
          says       https://slsa.dev/provenance/v1
          signed by  https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main (URI)
          issuer     https://token.actions.githubusercontent.com
          trust      --trusted-root: certificate, SCT, log entry
          time       TIME
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
            expected   a signature
            found      an attestation of the type `https://slsa.dev/provenance/v1`
        verified   signature `sha256-HEX.sig#0` from cosign-tags, application/vnd.dev.cosign.simplesigning.v1+json
          signed by  https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main (URI)
          issuer     https://token.actions.githubusercontent.com
          trust      --trusted-root: certificate, SCT, log entry
          time       TIME
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
    verified REGISTRY/acme/legacy:1: a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    ");

    let key = ManagedKey::generate().unwrap();
    let keyed = stage.push("keyed").await;
    stage
        .attach(&keyed, &stage.sigstore.sign_with_key(&key, request(keyed.manifest).logged_in(Log::RekorV2)).unwrap())
        .await;
    let file = key_file(&stage, "cosign.pub", &key);
    insta::assert_snapshot!(stage.verify(&keyed.reference, &["--key", file_name(&file)]).steady(), @r"
    exit 0
    REGISTRY/acme/keyed:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 1 verified (1 wanted), 0 rejected; looked in referrers-api, cosign-tags, component
        trust      root --trusted-root, sha256:HEX…, N s old
        trust      key --key, sha256:HEX…
        verified   signature `sha256:HEX` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
          says       https://sigstore.dev/cosign/sign/v1
          signed by  key --key (sha256:HEX)
          trust      --key: key, log entry
          time       TIME
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
    verified REGISTRY/acme/keyed:1: a signature by the key `cosign.pub`
    ");

    let attested = stage.signed("attested", |sign| sign.signing(provenance())).await;
    let typed = [&BY_SIGNER[..], &["--type", "slsaprovenance1"]].concat();
    insta::assert_snapshot!(stage.verify(&attested.reference, &typed).steady(), @r"
    exit 0
    REGISTRY/acme/attested:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 1 verified (1 wanted), 0 rejected; looked in referrers-api, cosign-tags, component
        trust      root --trusted-root, sha256:HEX…, N s old
        verified   attestation `sha256:HEX` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
          says       https://slsa.dev/provenance/v1
          signed by  https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main (URI)
          issuer     https://token.actions.githubusercontent.com
          trust      --trusted-root: certificate, SCT, log entry
          time       TIME
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
          passed     wanted on the command line, N ms
    verified REGISTRY/acme/attested:1: an attestation of the type `https://slsa.dev/provenance/v1` by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evidence_is_what_a_gateway_records() {
    let stage = Stage::start().await;
    crate::let_local_ask(stage.home.path());
    let pushed = stage.signed("cart", |sign| sign).await;
    stage.attach(&pushed, &stage.sigstore.sign(request(pushed.manifest).with(Knob::NoSct)).unwrap()).await;
    stage.tag(&pushed, &[stage.sigstore.sign_legacy(request(pushed.manifest)).unwrap()], &[]).await;
    let config = format!("[[evidence.roots]]\nname = \"own\"\ntrusted_root = \"{}\"\n", stage.root());
    let config = stage.write("witgate.toml", config);
    let served = Served::start_with(stage.home.path(), &[("WITGATE_CONFIG", config.as_str())]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = json!({"reference": pushed.reference, "dry_run": true});
    let answer: Value = client
        .post(format!("{}v1/admissions", slashed(&served.callers)))
        .json(&ask)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let decision = answer["decision"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let record: Value = client
        .get(format!("{}v1/decisions/{decision}", slashed(&served.callers)))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let said = stage.verify_bare(
        &pushed.reference,
        &[&["--config", config.as_str(), "--output", "json"], &BY_SIGNER[..]].concat(),
        &[],
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    let json = said.json();
    // Of one time: all that time changes is how old the trust is.
    let bytes = |evidence: &Value| {
        let mut evidence = evidence.clone();
        for trust in evidence["trust"].as_array_mut().unwrap() {
            assert!(trust["age_s"].as_u64().is_some());
            trust["age_s"] = json!(0);
        }
        evidence.to_string()
    };
    assert_eq!(bytes(&json["evidence"]), bytes(&record["case"]["evidence"]));
    assert_eq!(json["artifact"], record["case"]["artifact"]["digest"]);
    served.stop();

    // Beside it, one row a finding: what was checked.
    let findings = json["evidence"]["findings"].as_array().unwrap();
    let candidates = json["candidates"].as_array().unwrap();
    assert_eq!(findings.len(), candidates.len());
    for (finding, candidate) in findings.iter().zip(candidates) {
        assert_eq!((&finding["source"]["via"], &finding["source"]["name"]), (&candidate["via"], &candidate["name"]));
        let verified = finding["status"] == "verified";
        assert_eq!(candidate["wanted"], json!(verified), "{candidate}");
        let checks = &candidate["checks"];
        assert_eq!(checks["failure"]["code"], finding["code"], "{candidate}");
        assert_eq!(checks["not_reached"].as_array().unwrap().is_empty(), verified, "{candidate}");
        let calls: Vec<_> = checks["steps"].as_array().unwrap().iter().filter(|step| step["calls"] == 1).collect();
        assert_eq!(calls.len(), 1, "{candidate}");
        assert!(calls[0]["took_us"].as_u64().unwrap() > 0, "{candidate}");
    }
    let shown = &candidates.iter().find(|one| one["wanted"] == false).unwrap()["checks"];
    assert_eq!(
        shown["not_reached"],
        json!(["log", "signature", "binding", "entry", "name", "subject", "clock", "wanted"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_the_same_order_without_times() {
    let stage = Stage::start().await;
    crate::let_local_ask(stage.home.path());
    let pushed = stage.signed("cart", |sign| sign).await;
    stage.attach(&pushed, &stage.sigstore.sign(request(pushed.manifest).with(Knob::NoSct)).unwrap()).await;
    let config = format!("[[evidence.roots]]\nname = \"own\"\ntrusted_root = \"{}\"\n", stage.root());
    let config = stage.write("witgate.toml", config);
    let told = |arguments: &[&str]| {
        let output = witgate(stage.home.path()).env("WITGATE_CONFIG", &config).args(arguments).output().unwrap();
        stdout(&output) + &stderr(&output)
    };
    let refused = told(&["admit", &pushed.reference]);
    let id = refused.rsplit("witgate explain ").next().unwrap().trim_end().trim_end_matches('`').to_owned();
    let explained = told(&["explain", &id]);
    for lines in [
        "\n      passed     received, room, digest, shape, form, times, certificate-chain, sct, log, signature, binding, \
         entry, name, subject, clock\n",
        "\n      passed     received, room, digest, shape, form, times, certificate-chain\n      failed     certificate: \
         SCT\n        because    ",
    ] {
        assert!(explained.contains(lines), "`{lines}` is missing in:\n{explained}");
    }
    assert!(!explained.contains(" ms"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_a22_3_what_the_floor_would_refuse_is_not_verified() {
    let stage = Stage::start().await;
    let pushed = stage.signed("cart", |sign| sign).await;
    let (host, root) = (stage.registry.host(), stage.root());
    let config = |list: &str, max_age_s: u64| {
        stage.write(
            "witgate.toml",
            format!(
                "[[evidence.roots]]\nname = \"own\"\ntrusted_root = \"{root}\"\nmax_age_s = {max_age_s}\n\n\
                 [evidence.revocations]\nfile = \"{list}\"\n"
            ),
        )
    };
    let list = |entries: Value| {
        stage.write("revoked.json", json!({"version": 1, "issued_at": before(60), "entries": entries}).to_string())
    };
    let verify =
        |config: &str| stage.verify_bare(&pushed.reference, &[&["--config", config], &BY_SIGNER[..]].concat(), &[]);
    let month = 30 * 24 * 3600;
    assert_eq!(verify(&config(&list(json!([])), month)).code, Some(0));
    let entry = json!({"kind": "artifact", "digest": pushed.manifest, "reason": "taken back"});
    let said = verify(&config(&list(json!([entry])), month));
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("\n  revoked") && said.err.contains("taken back"), "{}", said.err);
    let file = std::fs::File::options().write(true).open(&root).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
    let said = verify(&config(&list(json!([])), 60));
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("trust-root-stale"), "{}", said.err);
    // A root that is named by hand is taken as it is.
    assert_eq!(stage.verify(&format!("{host}/acme/cart:1"), &BY_SIGNER).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_3_and_names_the_registry() {
    let stage = Stage::start().await;
    let pushed = stage.signed("cart", |sign| sign).await;
    let host = stage.registry.host();
    let unknown = stage.verify(&format!("{host}/acme/nothing:1"), &BY_SIGNER);
    assert_eq!(unknown.code, Some(3), "{}", unknown.err);
    assert!(unknown.err.contains("unknown reference"), "{}", unknown.err);
    let failing = Fault::Status { code: 500, body: Bytes::from_static(b"no"), headers: Vec::new() };
    for target in [Target::Referrers, Target::Manifest, Target::Blob] {
        stage.registry.inject(Rule::new(Match::on(target), failing.clone()));
        let said = stage.verify(&pushed.reference, &BY_SIGNER);
        assert_eq!(said.code, Some(3), "{target:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(&format!("registry `{host}`")), "{}", said.err);
        assert!(said.out.is_empty(), "{}", said.out);
        stage.registry.heal();
    }
    assert_eq!(stage.verify(&pushed.reference, &BY_SIGNER).code, Some(0));
    let elsewhere = stage.verify("ghcr.io.invalid/acme/cart:1", &BY_SIGNER);
    assert_eq!(elsewhere.code, Some(2), "{}", elsewhere.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_keeps_its_cache() {
    let stage = Stage::start().await;
    let pushed = stage.signed("cart", |sign| sign).await;
    let served = Served::start(stage.home.path());
    let tmp = stage.path(".local/state/witgate/cache/tmp");
    // What the gateway is writing.
    std::fs::write(tmp.join("half"), "a blob").unwrap();
    assert_eq!(stage.verify(&pushed.reference, &BY_SIGNER).code, Some(0));
    let inspected = witgate(stage.home.path()).args(["inspect", &pushed.reference]).output().unwrap();
    assert_eq!(inspected.status.code(), Some(0), "{}", stderr(&inspected));
    assert!(tmp.join("half").exists(), "another command cleared it away");
    served.stop();
}

fn slashed(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}
