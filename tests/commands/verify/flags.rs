//! Each flag both ways: it takes what it should, refuses what it should, and taken out it changes the verdict.

use std::collections::BTreeSet;

use sigstore::crypto::signing_key::SigStoreKeyPair;
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate::dev::sigstore::{KeyKind, Knob, Log};
use witgate::dev::tuf::{Release, TufRepository};

use super::*;
use crate::served::Served;

const ISSUER_FLAG: &str = "--certificate-oidc-issuer";
const IDENTITY_FLAG: &str = "--certificate-identity";

/// One flag with what it is tried on.
struct Row {
    flag: &'static str,
    /// What stands beside it.
    beside: Vec<String>,
    on: String,
    /// Values with their exit codes; none for a switch.
    values: Vec<(Option<String>, i32)>,
    /// The exit code without it.
    without: i32,
}

fn row(flag: &'static str, beside: &[&str], on: &str, values: &[(&str, i32)], without: i32) -> Row {
    let values = values.iter().map(|(value, code)| (Some((*value).to_owned()), *code)).collect();
    Row { flag, beside: beside.iter().map(|text| (*text).to_owned()).collect(), on: on.to_owned(), values, without }
}

fn switch(flag: &'static str, beside: &[&str], on: &str, with: i32, without: i32) -> Row {
    Row { values: vec![(None, with)], ..row(flag, beside, on, &[], without) }
}

/// The verdicts on one flag, and that it decides something.
fn tried(stage: &Stage, row: &Row) {
    let base: Vec<&str> = row.beside.iter().map(String::as_str).collect();
    let mut codes = BTreeSet::new();
    for (value, expected) in &row.values {
        let arguments = [&base[..], &[row.flag], &value.as_deref().into_iter().collect::<Vec<_>>()].concat();
        let said = stage.verify_bare(&row.on, &arguments, &[]);
        assert_eq!(said.code, Some(*expected), "{} {value:?}: {}{}", row.flag, said.out, said.err);
        codes.insert(*expected);
    }
    let said = stage.verify_bare(&row.on, &base, &[]);
    assert_eq!(said.code, Some(row.without), "without {}: {}{}", row.flag, said.out, said.err);
    codes.insert(row.without);
    assert!(codes.len() > 1, "{} decides nothing: {codes:?}", row.flag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_1_a9_3_every_flag_decides_something() {
    let stage = Stage::start().await;
    let (release, stranger) = (ManagedKey::generate().unwrap(), ManagedKey::generate().unwrap());
    let (release_pub, stranger_pub) =
        (key_file(&stage, "release.pub", &release), key_file(&stage, "stranger.pub", &stranger));
    let theirs = Sigstore::new(before(120)).unwrap();
    let theirs = stage.write("theirs.json", theirs.trusted_root_json());
    let root = stage.root();
    let at = |pushed: &Pushed| pushed.reference.clone();

    // Everything that a signature can say, and one that says nothing beside.
    let full = stage
        .signed("full", |sign| {
            let sign = sign.logged_in(Log::RekorV2).annotated("git", "abc");
            ["name", "ref", "repository", "sha", "trigger"]
                .iter()
                .fold(sign, |sign, claim| sign.claiming(&format!("workflow_{claim}"), &format!("the {claim}")))
        })
        .await;
    let plain = stage.signed("plain", |sign| sign).await;
    let tenant =
        stage.signed("tenant", |sign| Sign { issuer: "https://issuer.example/tenants/acme".into(), ..sign }).await;
    let attested = stage.signed("attested", |sign| sign.signing(provenance())).await;
    let keyed = stage.push("keyed").await;
    stage.attach(&keyed, &stage.sigstore.sign_with_key(&release, request(keyed.manifest)).unwrap()).await;
    let wasm = components::command("file\n");
    let file = stage.write("cart.wasm", &wasm);
    let bundle = stage.sigstore.sign(request(Digest::of(&wasm))).unwrap();
    let other = stage.sigstore.sign(request(Digest::of(b"another"))).unwrap();
    let (bundle, other) = (stage.write("cart.json", bundle), stage.write("other.json", other));
    // A registry whose name says nothing of how to reach it.
    let quiet = Stage::with(Options { listen: "127.0.0.2:0".parse().unwrap(), ..Options::default() }).await;
    let unlisted = quiet.push("cart").await;
    quiet.attach(&unlisted, &stage.sigstore.sign(request(unlisted.manifest)).unwrap()).await;
    let unlogged = stage.signed("unlogged", |sign| sign.logged_in(Log::RekorV2).with(Knob::NoLogEntry)).await;
    let unlisted_certificate = stage.signed("unlisted", |sign| sign.with(Knob::NoSct)).await;
    let ed25519 = ManagedKey::of(KeyKind::Ed25519).unwrap();
    let ed25519_pub = key_file(&stage, "ed25519.pub", &ed25519);
    let pure = stage.push("pure").await;
    let over_manifest = Content::Message { bytes: pure.manifest_bytes.clone() };
    let bundle_of_ed25519 = stage.sigstore.sign_with_key(&ed25519, request(pure.manifest).signing(over_manifest));
    stage.attach(&pure, &bundle_of_ed25519.unwrap()).await;
    // cosign encrypts private keys; whose public half is meant is known with the password only.
    let encrypted = SigStoreKeyPair::from_pem(release.private_pem().as_bytes()).unwrap();
    let encrypted = encrypted.private_key_to_encrypted_pem(b"hunter2").unwrap();
    let encrypted = stage.write("cosign.key", encrypted.as_bytes());
    let (right, wrong) = (stage.write("right.txt", "hunter2\n"), stage.write("wrong.txt", "hunter3\n"));
    let slow = stage.signed("slow", |sign| sign).await;
    let hanging = Match::on(Target::Manifest).repository("acme/slow");
    stage.registry.inject(Rule::new(hanging, Fault::Hang));

    let trusted = ["--trusted-root", root.as_str()];
    let by = [&trusted[..], &BY_SIGNER].concat();
    let issued = [&trusted[..], &[ISSUER_FLAG, ISSUER]].concat();
    let named = [&trusted[..], &[IDENTITY_FLAG, SIGNER]].concat();
    let mut rows = vec![
        row("--key", &trusted, &at(&keyed), &[(&release_pub, 0), (&stranger_pub, 1)], 2),
        row(IDENTITY_FLAG, &issued, &at(&plain), &[(SIGNER, 0), ("https://github.com/acme/other", 1)], 2),
        row(
            "--certificate-identity-regexp",
            &issued,
            &at(&plain),
            &[("https://github.com/acme/.*", 0), ("https://github.com/acme/shop/", 1), ("https://github.com/ac/.*", 1)],
            2,
        ),
        row(ISSUER_FLAG, &named, &at(&plain), &[(ISSUER, 0), ("https://accounts.google.com", 1)], 2),
        row(
            "--certificate-oidc-issuer-regexp",
            &named,
            &at(&tenant),
            &[("https://issuer.example/tenants/[a-z]+", 0), ("https://issuer.example/tenants/acm", 1)],
            2,
        ),
        row("--trusted-root", &BY_SIGNER, &at(&plain), &[(&root, 0), (&theirs, 1)], 2),
        row("--bundle", &by, &file, &[(&bundle, 0), (&other, 1)], 2),
        row(
            "--type",
            &by,
            &at(&attested),
            &[("slsaprovenance1", 0), ("slsaprovenance", 1), ("https://slsa.dev/provenance/v1", 0), ("spdx", 1)],
            1,
        ),
        row("--annotations", &by, &at(&full), &[("git=abc", 0), ("git=abd", 1), ("other=abc", 1)], 0),
        switch("--use-signed-timestamps", &by, &at(&plain), 1, 0),
        switch("--allow-http-registry", &by, &unlisted.reference, 0, 2),
        switch("--insecure-ignore-tlog", &by, &at(&unlogged), 0, 1),
        switch("--insecure-ignore-sct", &by, &at(&unlisted_certificate), 0, 1),
        row(
            "--signing-algorithm",
            &[&trusted[..], &["--key", &ed25519_pub]].concat(),
            &at(&pure),
            &[("ed25519", 0), ("ed25519-ph", 1), ("rsa-sign-pkcs1-2048-sha256", 2), ("sha256", 2)],
            2,
        ),
        row(
            "--password-file",
            &[&trusted[..], &["--key", &encrypted]].concat(),
            &at(&keyed),
            &[(&right, 0), (&wrong, 2)],
            2,
        ),
        row("--timeout", &by, &at(&plain), &[("3m", 0), ("1h", 0), ("2h", 2)], 0),
    ];
    let said = stage.verify(&at(&full), &[&BY_SIGNER[..], &["--use-signed-timestamps"]].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    for (flag, claim) in [
        ("--certificate-github-workflow-name", "name"),
        ("--certificate-github-workflow-ref", "ref"),
        ("--certificate-github-workflow-repository", "repository"),
        ("--certificate-github-workflow-sha", "sha"),
        ("--certificate-github-workflow-trigger", "trigger"),
    ] {
        rows.push(row(flag, &by, &at(&full), &[(&format!("the {claim}"), 0), ("another", 1)], 0));
        // A claim that is asked for and absent is a mismatch.
        rows.push(row(flag, &by, &at(&plain), &[(&format!("the {claim}"), 1)], 0));
    }
    for row in &rows {
        tried(&stage, row);
    }
    let said = stage.verify(&slow.reference, &[&BY_SIGNER[..], &["--timeout", "300ms"]].concat());
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("within 300ms") && said.err.contains("--timeout"), "{}", said.err);

    let mut known: BTreeSet<String> = rows.iter().map(|row| row.flag.to_owned()).collect();
    // These have stories of their own.
    known.extend(
        ["--offline", "--registry-cacert", "--registry-username", "--registry-password", "--registry-token"]
            .map(str::to_owned),
    );
    let home = tempfile::tempdir().unwrap();
    let help = stdout(&witgate(home.path()).args(["verify", "--help"]).output().unwrap());
    let there = flags_of(&help);
    assert_eq!(there, known, "each flag of the help is tried, and no other");
}

/// The flags that a help text lists, without those that every command has.
pub(super) fn flags_of(help: &str) -> BTreeSet<String> {
    let global = ["--config", "--data-dir", "--output", "--help"];
    let flag = regex::Regex::new(r"(?m)^ +(?:-[a-z], )?(--[a-z-]+)").unwrap();
    let there = flag.captures_iter(help).map(|found| found[1].to_owned());
    there.filter(|flag| !global.contains(&flag.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_1_no_neighbour_of_a_name_is_the_name() {
    let stage = Stage::start().await;
    let pushed = stage.push("neighbours").await;
    let neighbours = [
        "https://github.com/acme-evil/shop",
        "https://github.com/acme.evil/shop",
        "https://github.com.evil.example/acme/shop",
        "https://github.com@evil.example/acme/shop",
        "https://acme@github.com/acme/shop",
        "https://github.com./acme/shop",
        "https://GitHub.com/acme/shop",
        "https://github.com:443/acme/shop",
        "https://github.com/acme%2fshop",
        "https://github.com/acme/../evil",
        "https://github.com//acme/shop",
        "http://github.com/acme/shop",
        "https://evil.example/?https://github.com/acme/shop",
    ];
    for identity in neighbours {
        let sign = Sign { identity: identity.into(), ..request(pushed.manifest) };
        stage.attach(&pushed, &stage.sigstore.sign(sign).unwrap()).await;
    }
    let tried = |flag: &str, name: &str| stage.verify(&pushed.reference, &[flag, name, ISSUER_FLAG, ISSUER]);
    for (flag, name) in [
        ("--certificate-identity-regexp", "https://github.com/acme/.*"),
        ("--certificate-identity-regexp", "^https://github\\.com/acme/.+$"),
        (IDENTITY_FLAG, "https://github.com/acme/shop"),
    ] {
        let said = tried(flag, name);
        assert_eq!(said.code, Some(1), "{name}: {}", said.out);
        let all = format!("evidence: {} verified (0 wanted), 0 rejected", neighbours.len());
        assert!(said.out.contains(&all), "{name}: {}", said.out);
    }
    let sign = Sign { identity: "https://github.com/acme/shop".into(), ..request(pushed.manifest) };
    stage.attach(&pushed, &stage.sigstore.sign(sign).unwrap()).await;
    assert_eq!(tried("--certificate-identity-regexp", "https://github.com/acme/.*").code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_2_a_kind_of_subject_never_matches_another() {
    let stage = Stage::start().await;
    let address = stage.signed("address", |sign| Sign { identity: "ci@acme.example".into(), ..sign }).await.reference;
    let exact = |identity: &str| stage.verify(&address, &[IDENTITY_FLAG, identity, ISSUER_FLAG, ISSUER]).code;
    let pattern =
        |pattern: &str| stage.verify(&address, &["--certificate-identity-regexp", pattern, ISSUER_FLAG, ISSUER]).code;
    assert_eq!((exact("ci@acme.example"), pattern(".*@acme.example")), (Some(0), Some(0)));
    for identity in ["mailto:ci@acme.example", "CI@acme.example", "ci@acme.example.", "i@acme.example"] {
        assert_eq!(exact(identity), Some(1), "{identity}");
    }
    for text in ["https://acme.example/.*", ".*@cme.example", "c@acme.example", ".*@acme.example.org"] {
        assert_eq!(pattern(text), Some(1), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_3_the_right_pair_from_two_signatures_is_nobody() {
    let stage = Stage::start().await;
    let pushed = stage.push("pair").await;
    let sign = |identity: &str, issuer: &str| {
        let request = Sign { identity: identity.into(), issuer: issuer.into(), ..request(pushed.manifest) };
        stage.sigstore.sign(request).unwrap()
    };
    stage.attach(&pushed, &sign(SIGNER, "https://accounts.google.com")).await;
    stage.attach(&pushed, &sign("https://github.com/mallory/x", ISSUER)).await;
    let said = stage.verify(&pushed.reference, &BY_SIGNER);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("identity-mismatch") && said.err.contains("issuer-mismatch"), "{}", said.err);
    assert!(said.out.contains("evidence: 2 verified (0 wanted)"), "{}", said.out);
    stage.attach(&pushed, &sign(SIGNER, ISSUER)).await;
    assert_eq!(stage.verify(&pushed.reference, &BY_SIGNER).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_are_each_asked_for_on_both_formats() {
    let stage = Stage::start().await;
    let with = |sign: Sign| sign.annotated("git", "abc").annotated("build", "a=1,b=2");
    let bundle = stage.signed("bundle", with).await;
    let legacy = stage.push("legacy").await;
    stage.tag(&legacy, &[stage.sigstore.sign_legacy(with(request(legacy.manifest))).unwrap()], &[]).await;
    for pushed in [&bundle, &legacy] {
        for (annotations, code) in [
            (&["git=abc"][..], 0),
            (&["git=abc", "build=a=1,b=2"], 0),
            (&["git=abc", "git=abc"], 0),
            (&["git=abc", "build=a=1"], 1),
            (&["git=ABC"], 1),
            (&["git="], 1),
            (&["other=abc"], 1),
        ] {
            let flags = annotations.iter().flat_map(|one| ["-a", one]).collect::<Vec<_>>();
            let said = stage.verify(&pushed.reference, &[&BY_SIGNER[..], &flags].concat());
            assert_eq!(said.code, Some(code), "{annotations:?}: {}{}", said.out, said.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_is_said_aloud_and_nothing_else_is_ignored() {
    let stage = Stage::start().await;
    let key = ManagedKey::generate().unwrap();
    let file = key_file(&stage, "cosign.pub", &key);
    let unlogged = |sign: Sign| sign.logged_in(Log::RekorV2).with(Knob::NoLogEntry);
    let keyless = stage.signed("keyless", unlogged).await;
    let keyed = stage.push("keyed").await;
    stage
        .attach(&keyed, &stage.sigstore.sign_with_key(&key, request(keyed.manifest).with(Knob::NoLogEntry)).unwrap())
        .await;
    let said = stage.verify(&keyless.reference, &[&BY_SIGNER[..], &["--insecure-ignore-tlog"]].concat());
    insta::assert_snapshot!(said.steady(), @r"
    exit 0
    REGISTRY/acme/keyless:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 1 verified (1 wanted), 0 rejected; looked in referrers-api, cosign-tags, component
        trust      root --trusted-root, sha256:HEX…, N s old, asks no log entry
        verified   signature `sha256:HEX` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
          says       https://sigstore.dev/cosign/sign/v1
          signed by  https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main (URI)
          issuer     https://token.actions.githubusercontent.com
          trust      --trusted-root: certificate, SCT
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
            passed     signature
            passed     signed content is about the artifact
          passed     certificate: usage, one name, issuer, N ms
          passed     subject is exactly its SHA-256, N ms
          passed     no time ahead of the clock, N ms
          passed     wanted on the command line, N ms
          not asked  log, entry
    verified REGISTRY/acme/keyless:1: a signature by the URI `https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main` (issuer `https://token.actions.githubusercontent.com`)
    witgate: warning: `--insecure-ignore-tlog`: a signature counts here without an entry in a transparency log: whoever stole the key signs unseen
    ");
    // A key needs no root then.
    let said = stage.verify_bare(&keyed.reference, &["--key", &file, "--insecure-ignore-tlog"], &[]);
    insta::assert_snapshot!(said.steady(), @r"
    exit 0
    REGISTRY/acme/keyed:1 sha256:HEX
      resolved in N ms, collected and checked in N ms
      evidence: 1 verified (1 wanted), 0 rejected; looked in referrers-api, cosign-tags, component
        trust      key --key, sha256:HEX…, asks no log entry
        verified   signature `sha256:HEX` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
          says       https://sigstore.dev/cosign/sign/v1
          signed by  key --key (sha256:HEX)
          trust      --key: key
          time       none proven
          passed     received, N ms
          passed     within the limits of one artifact, N ms
          passed     digest as announced, N ms
          passed     size and shape, N ms
          passed     signature, N ms
          passed     subject is exactly its SHA-256, N ms
          passed     no time ahead of the clock, N ms
          passed     wanted on the command line, N ms
          not asked  log, entry
    verified REGISTRY/acme/keyed:1: a signature by the key `HOME/cosign.pub`
    witgate: warning: `--insecure-ignore-tlog`: a signature counts here without an entry in a transparency log: whoever stole the key signs unseen
    ");
    let both = ["--insecure-ignore-tlog", "--insecure-ignore-sct"];
    let said = stage.verify(&keyless.reference, &[&BY_SIGNER[..], &both].concat());
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert_eq!(said.err.lines().filter(|line| line.starts_with("witgate: warning: `--insecure-ignore-")).count(), 2);
    assert!(said.out.contains("not asked  sct, log, entry"), "{}", said.out);
    // An entry that is there is verified all the same; so is everything else.
    for (name, knob, code) in [
        ("proof", Knob::CheckpointOfAnotherTree, "log-proof-invalid"),
        ("entry", Knob::EntryOfAnotherSignature, "log-entry-mismatch"),
        ("usage", Knob::LeafWithoutCodeSigning, "certificate-untrusted"),
        ("signature", Knob::SignatureOfAnotherContent, "signature-invalid"),
    ] {
        let pushed = stage.signed(name, |sign| sign.with(knob)).await;
        let said = stage.verify(&pushed.reference, &[&BY_SIGNER[..], &both].concat());
        assert_eq!(said.code, Some(1), "{name}: {}", said.out);
        assert!(said.err.contains(code), "{name}: {}", said.err);
    }
    let timeless = stage.signed("timeless", |sign| sign.with(Knob::NoLogEntry)).await;
    let said = stage.verify(&timeless.reference, &[&BY_SIGNER[..], &both].concat());
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("timestamp-missing"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_asks_no_repository_and_takes_what_a_gateway_has_cached() {
    let stage = Stage::start().await;
    let pushed = stage.signed("cart", |sign| sign).await;
    let wasm = components::command("file\n");
    let file = stage.write("cart.wasm", &wasm);
    let bundle = stage.write("cart.json", stage.sigstore.sign(request(Digest::of(&wasm))).unwrap());
    let root = stage.sigstore.trusted_root_json();
    let repository = TufRepository::start().await.unwrap();
    let expires = Timestamp::now() + jiff::SignedDuration::from_hours(24);
    repository.publish(&Release { version: 1, expires, target: root.as_bytes(), other_target: None }).unwrap();
    let root = stage.write("root.json", repository.root_json().unwrap());
    let source = format!("{{ tuf = \"{}\", root = \"{root}\" }}", repository.url());
    let config = format!("[[evidence.roots]]\nname = \"tuf\"\ntrusted_root = {source}\n");
    let config = stage.write("witgate.toml", config);
    let verify = |what: &str, flags: &[&str]| {
        stage.verify_bare(what, &[&["--config", config.as_str()], &BY_SIGNER[..], flags].concat(), &[])
    };
    let said = verify(&pushed.reference, &["--offline"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("trusted root `tuf`"), "{}", said.err);
    assert_eq!(repository.requests(), 0, "somebody was asked");
    let said = verify(&pushed.reference, &[]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(repository.requests() > 0);

    // A gateway has it in its cache.
    Served::start_with(stage.home.path(), &[("WITGATE_CONFIG", config.as_str())]).stop();
    let before = repository.requests();
    for said in [verify(&pushed.reference, &["--offline"]), verify(&file, &["--offline", "--bundle", &bundle])] {
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
        assert!(said.out.contains("trust      root tuf"), "{}", said.out);
    }
    assert_eq!(repository.requests(), before, "somebody was asked");
}
