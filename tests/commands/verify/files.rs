//! A file with its bundle goes the way of a reference: the same checks, the same tree, the same list of revocations.

use witgate::dev::sigstore::{Knob, Log};
use witgate::dev::wascap::Account;

use super::*;

/// A file with a bundle over it.
struct Files {
    wasm: String,
    bundle: String,
}

fn files(stage: &Stage, wasm: &[u8], change: impl FnOnce(Sign) -> Sign) -> Files {
    let bundle = stage.sigstore.sign(change(request(Digest::of(wasm)))).unwrap();
    Files { wasm: stage.write("cart.wasm", wasm), bundle: stage.write("cart.sigstore.json", bundle) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_told_as_a_reference_is() {
    let stage = Stage::start().await;
    let Files { wasm, bundle } = files(&stage, &components::command("x\n"), |sign| sign.logged_in(Log::RekorV2));
    let said = stage.verify(&wasm, &[&BY_SIGNER[..], &["--bundle", &bundle]].concat());
    insta::assert_snapshot!(said.steady(), @r"
    exit 0
    HOME/cart.wasm sha256:HEX
      checked in N ms
      evidence: 1 verified (1 wanted), 0 rejected; looked in file, component
        trust      root --trusted-root, sha256:HEX…, N s old
        verified   signature `HOME/cart.sigstore.json` from file
          says       https://sigstore.dev/cosign/sign/v1
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
          passed     no time ahead of the clock, N ms
          passed     wanted on the command line, N ms
    verified HOME/cart.wasm: a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    ");
    let Files { wasm, bundle } = files(&stage, &components::command("x\n"), |sign| sign.with(Knob::NoPromise));
    let said = stage.verify(&wasm, &[&BY_SIGNER[..], &["--bundle", &bundle]].concat());
    insta::assert_snapshot!(said.steady(), @r"
    exit 1
    HOME/cart.wasm sha256:HEX
      checked in N ms
      evidence: 0 verified (0 wanted), 1 rejected; looked in file, component
        trust      root --trusted-root, sha256:HEX…, N s old
        rejected   timestamp-missing `HOME/cart.sigstore.json` from file
          passed     received, N ms
          passed     within the limits of one artifact, N ms
          passed     digest as announced, N ms
          passed     size and shape, N ms
          in one call of sigstore-verify, N ms
            passed     form, as the verifier reads it
            failed     times: time-stamps, the log's promise
              because    no verified timestamp: No verified timestamp found. V1 bundles require either an RFC3161 timestamp or a tlog entry with both an integrated time and an inclusion_promise (SET).
          not reached certificate-chain, sct, log, signature, binding, entry, name, subject, clock, wanted
    witgate: error: `HOME/cart.wasm` (sha256:HEX…) is not verified
      wanted             a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
      timestamp-missing  `HOME/cart.sigstore.json` from file: no verified timestamp: No verified timestamp found. V1 bundles require either an RFC3161 timestamp or a tlog entry with both an integrated time and an inclusion_promise (SET).
      looked in          file for Sigstore bundles: 1
      looked in          component for a wasmCloud 1.x token: none
    witgate: hint: see what each code means in `docs/reasons.md`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reference_refuses_a_file_refuses_too() {
    let stage = Stage::start().await;
    let wasm = components::command("x\n");
    let manifest = || Content::Message { bytes: wasm.clone().into() };
    for (what, change, code) in [
        ("v0.1", (|sign: Sign| sign.with(Knob::LabelledV01)) as fn(Sign) -> Sign, "bundle-unsupported"),
        ("no proof", |sign| sign.with(Knob::NoInclusionProof), "log-proof-missing"),
        ("no SCT", |sign| sign.with(Knob::NoSct), "sct-invalid"),
        ("another file", |sign| Sign { manifest: Digest::of(b"another"), ..sign }, "subject-mismatch"),
    ] {
        let Files { wasm, bundle } = files(&stage, &wasm, change);
        let said = stage.verify(&wasm, &[&BY_SIGNER[..], &["--bundle", &bundle]].concat());
        assert_eq!(said.code, Some(1), "{what}: {}", said.err);
        assert!(said.err.contains(code), "{what}: {}", said.err);
    }
    // As `cosign sign-blob` signs, and as `cosign attest-blob` does.
    for (change, flags, code) in [
        (manifest(), &[][..], 0),
        (manifest(), &["--type", "slsaprovenance1"], 1),
        (provenance(), &["--type", "slsaprovenance1"], 0),
        (provenance(), &[], 1),
    ] {
        let Files { wasm, bundle } = files(&stage, &wasm, |sign| sign.signing(change));
        let said = stage.verify(&wasm, &[&BY_SIGNER[..], &["--bundle", &bundle], flags].concat());
        assert_eq!(said.code, Some(code), "{flags:?}: {}{}", said.out, said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_the_revocation_list_counts_for_a_file_too() {
    let stage = Stage::start().await;
    let bytes = components::command("x\n");
    let Files { wasm, bundle } = files(&stage, &bytes, |sign| sign);
    let list = |entries: Value| {
        let list = json!({"version": 1, "issued_at": before(60), "entries": entries}).to_string();
        stage.write("revoked.json", list)
    };
    let config = format!(
        "[[evidence.roots]]\nname = \"own\"\ntrusted_root = \"{}\"\n\n[evidence.revocations]\nfile = \"{}\"\n",
        stage.root(),
        list(json!([]))
    );
    let config = stage.write("witgate.toml", config);
    let verify = || {
        let arguments = [&["--config", config.as_str(), "--bundle", &bundle], &BY_SIGNER[..]].concat();
        stage.verify_bare(&wasm, &arguments, &[])
    };
    let said = verify();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("passed     not revoked"), "{}", said.out);
    let digest = Digest::of(&bytes);
    for entry in [
        json!({"kind": "identity", "san": SIGNER, "reason": "left"}),
        json!({"kind": "evidence", "digest": Digest::of(&std::fs::read(&bundle).unwrap()), "reason": "bad"}),
        json!({"kind": "trust-root", "name": "own", "reason": "leaked"}),
        json!({"kind": "component", "digest": digest, "reason": "bad"}),
        json!({"kind": "artifact", "digest": digest, "reason": "bad"}),
    ] {
        list(json!([entry]));
        let said = verify();
        assert_eq!(said.code, Some(1), "{entry}: {}", said.out);
        assert!(said.err.contains("revoked"), "{entry}: {}", said.err);
    }
    // A list that is too old answers nothing.
    let old = json!({"version": 1, "issued_at": before(8 * 24 * 3600), "entries": []}).to_string();
    stage.write("revoked.json", old);
    assert_eq!(verify().code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_file_is_shown_and_is_no_signature() {
    let stage = Stage::start().await;
    let account = Account::from_seeds(&[1; 32], &[2; 32]);
    let wasm = account.sign(&components::command("x\n"));
    let Files { wasm, bundle } = files(&stage, &wasm, |sign| sign);
    let said = stage.verify(&wasm, &[&BY_SIGNER[..], &["--bundle", &bundle]].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    insta::assert_snapshot!(said.steady().replace(&account.issuer(), "ACCOUNT").replace(&account.module(), "MODULE"), @r"
    exit 0
    HOME/cart.wasm sha256:HEX
      checked in N ms
      evidence: 2 verified (1 wanted), 0 rejected; looked in file, component
        trust      root --trusted-root, sha256:HEX…, N s old
        unwanted   wascap claims `wasmcloud_jwt` from component
          signed by  nkey ACCOUNT
          calls it   MODULE
          in one look, N ms
            passed     size and shape
            passed     signature
            passed     subject is exactly its SHA-256
            passed     token is valid now
          failed     wanted on the command line, N ms
            expected   a signature
            found      a wasmCloud 1.x token
        verified   signature `HOME/cart.sigstore.json` from file
          says       https://sigstore.dev/cosign/sign/v1
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
          passed     no time ahead of the clock, N ms
          passed     wanted on the command line, N ms
    verified HOME/cart.wasm: a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    ");
    let stranger =
        stage.verify(&wasm, &["--bundle", &bundle, "--certificate-identity", "x", "--certificate-oidc-issuer", ISSUER]);
    assert_eq!(stranger.code, Some(1), "the token stands in for nothing: {}", stranger.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_needs_no_registry_and_its_name_is_what_it_is() {
    let stage = Stage::start().await;
    let Files { wasm, bundle } = files(&stage, &components::command("x\n"), |sign| sign);
    // As it is typed in the folder.
    let arguments = [&["--bundle", file_name(&bundle)], &BY_SIGNER[..]].concat();
    let said = stage.verify(file_name(&wasm), &arguments);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.ends_with(&format!("verified cart.wasm: a signature by the URI `{SIGNER}` (issuer `{ISSUER}`)\n")),
        "{}",
        said.out
    );
    let json = stage.verify(file_name(&wasm), &[&arguments[..], &["--output", "json"]].concat()).json();
    assert_eq!((&json["file"], &json["verified"]), (&json!("cart.wasm"), &json!(true)));
    assert_eq!(json["artifact"], Digest::of(&std::fs::read(&wasm).unwrap()).to_string());
    assert_eq!(json["evidence"]["looked_in"], json!(["file", "component"]));
    assert_eq!(json["evidence"]["findings"][0]["source"]["name"], "cart.sigstore.json");
    assert!(stage.registry.requests().is_empty());
}
