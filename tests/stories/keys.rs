//! Keys without a log, own authorities and what roots waive, from the configuration to the grant.

use std::path::Path;

use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::config::Config;
use witgate::dev::deployment::{ISSUER, SIGNER, SignedBy, policy_data};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, Pushed};
use witgate::dev::sigstore::{Content, Depth, KeyKind, Knob, ManagedKey, OwnAuthority, SIGNED_AFTER_S, Sign, Sigstore};
use witgate::evidence::Trust;
use witgate_tests::{World, components, free_address, rejected};

const SIGN: Option<&str> = Some("https://sigstore.dev/cosign/sign/v1");
const CI: &str = "spiffe://acme.example/ci/cart";

fn recently() -> Timestamp {
    Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S)
}

fn request(digest: Digest, identity: &str) -> Sign {
    Sign::cosign(digest, identity, ISSUER, recently())
}

async fn unsigned(world: &World, name: &str) -> Pushed {
    world.publish_signed(name, components::command(&format!("{name}\n")), SignedBy::Nobody).await
}

async fn attach(world: &World, name: &str, pushed: &Pushed, bundle: &[u8]) {
    let host = world.deployment.registry.host();
    push::bundle(&host, &format!("demo/{name}"), pushed, bundle, SIGN, &Auth::Open).await.unwrap();
}

/// A world that wants `identity`, with `evidence` beside what it trusts anyway.
async fn wanting(identity: Value, evidence: impl FnOnce(&Path) -> String) -> World {
    let address = free_address();
    let mut data = policy_data(&address.to_string());
    data["witgate"]["signatures"][0]["identities"] = json!([identity]);
    World::with(|setup| {
        setup.registry.listen = address;
        setup.policy_data = Some(data);
        setup.more = evidence(&setup.folder);
    })
    .await
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The evidence of an admission.
async fn admitted(world: &World, pushed: &Pushed) -> Value {
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    world.decision(reply.decision()).await["case"]["evidence"].clone()
}

async fn refused(world: &World, pushed: &Pushed) -> Vec<String> {
    let record = world.refused(json!({"reference": pushed.reference}), "no-verified-signature").await;
    rejected(&record).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_log_is_admitted_where_its_settings_say_so_and_the_record_tells() {
    for (demand, admits) in [("required", false), ("optional", true)] {
        let key = ManagedKey::of(KeyKind::Ed25519Ph).unwrap();
        let world = wanting(json!({"key": "release"}), |folder| {
            let pem = write(folder, "release.pub", &key.public_pem());
            format!(
                "[[evidence.keys]]\nname = \"release\"\npem = \"{pem}\"\nalgorithm = \"ed25519-ph\"\n\
                 transparency_log = \"{demand}\"\n"
            )
        })
        .await;
        let sigstore = &world.deployment.sigstore;
        // As cosign signs with an Ed25519 key and without a log.
        let pushed = unsigned(&world, "unlogged").await;
        let unlogged = request(pushed.manifest, SIGNER).with(Knob::NoLogEntry).with(Knob::PrehashedStatement);
        attach(&world, "unlogged", &pushed, &sigstore.sign_with_key(&key, unlogged.clone()).unwrap()).await;
        if admits {
            let evidence = admitted(&world, &pushed).await;
            let trust = evidence["trust"].as_array().unwrap().iter().find(|row| row["name"] == "release").unwrap();
            assert_eq!(trust["waived"], json!(["transparency-log"]));
            let finding = &evidence["findings"][0];
            assert_eq!((&finding["waived"], &finding["times"]), (&json!(["transparency-log"]), &json!([])));
        } else {
            assert_eq!(refused(&world, &pushed).await, ["log-proof-missing"]);
        }
        let forged = unsigned(&world, "forged").await;
        let stranger = ManagedKey::of(KeyKind::Ed25519Ph).unwrap();
        attach(
            &world,
            "forged",
            &forged,
            &sigstore.sign_with_key(&stranger, request(forged.manifest, SIGNER)).unwrap(),
        )
        .await;
        assert_eq!(refused(&world, &forged).await, ["key-not-trusted"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_own_authority_is_admitted_by_its_name_and_no_other() {
    let own = OwnAuthority::new(recently() - jiff::SignedDuration::from_secs(60), Depth::Intermediate).unwrap();
    let identity = json!({"certificate": {"authority": "acme-ca", "san": {"kind": "spiffe", "value": CI}}});
    let world = wanting(identity, |folder| {
        let chain = write(folder, "acme-ca.pem", &own.chain_pem());
        format!("[[evidence.authorities]]\nname = \"acme-ca\"\nchain = \"{chain}\"\nroot = \"demo\"\n")
    })
    .await;
    let sigstore = &world.deployment.sigstore;
    let pushed = unsigned(&world, "own").await;
    attach(&world, "own", &pushed, &sigstore.sign_with_authority(&own, request(pushed.manifest, CI)).unwrap()).await;
    let evidence = admitted(&world, &pushed).await;
    assert_eq!(evidence["findings"][0]["signer"]["kind"], "certificate");
    assert!(evidence["trust"].as_array().unwrap().iter().any(|row| row["kind"] == "authority"));

    // The same name, vouched for by an OIDC issuer or by somebody else's CA, and another name of the same CA.
    let other = OwnAuthority::new(recently() - jiff::SignedDuration::from_secs(60), Depth::Root).unwrap();
    for (name, by, code) in [
        ("keyless", None, "identity-mismatch"),
        ("other-ca", Some((&other, CI, None)), "no-verified-signature"),
        ("other-name", Some((&own, "spiffe://acme.example/ci/other", None)), "identity-mismatch"),
        ("issuer", Some((&own, CI, Some(Knob::IssuerBeside))), "no-verified-signature"),
        ("unlogged", Some((&own, CI, Some(Knob::NoLogEntry))), "no-verified-signature"),
    ] {
        let pushed = unsigned(&world, name).await;
        let bundle = match by {
            None => sigstore.sign(request(pushed.manifest, CI)),
            Some((own, san, knob)) => {
                sigstore.sign_with_authority(own, knob.into_iter().fold(request(pushed.manifest, san), Sign::with))
            }
        };
        attach(&world, name, &pushed, &bundle.unwrap()).await;
        let reply = world.host.admit(&pushed.reference).await;
        assert_eq!((reply.status, reply.codes()), (403, vec![code]), "{name}: {}", reply.body);
    }
}

#[test]
fn every_example_of_the_docs_is_taken() {
    witgate_tests::provider();
    let docs = include_str!("../../docs/keys.md");
    let examples: Vec<_> = docs.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 3);
    let folder = tempfile::tempdir().unwrap();
    let sigstore = Sigstore::new(recently()).unwrap();
    let own = OwnAuthority::new(recently(), Depth::Intermediate).unwrap();
    for (name, text) in [
        ("release.pub", ManagedKey::generate().unwrap().public_pem()),
        ("archive.pub", ManagedKey::of(KeyKind::Ed25519).unwrap().public_pem()),
        ("acme-ca.pem", own.chain_pem()),
        ("acme-tsa.pem", sigstore.timestamp_authority_pem()),
        ("trusted_root.json", sigstore.trusted_root_json()),
    ] {
        write(folder.path(), name, &text);
    }
    for example in examples {
        let text = example.replace("/etc/witgate/", &format!("{}/", folder.path().display()));
        let file = folder.path().join("witgate.toml");
        std::fs::write(&file, text).unwrap();
        let config =
            Config::load(Some(&file), [], Some(folder.path())).unwrap_or_else(|error| panic!("{example}: {error}"));
        let trust = Trust::load(&config.evidence).unwrap_or_else(|error| panic!("{example}: {error}"));
        assert!(!trust.facts(Timestamp::now()).is_empty(), "{example}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_signature_of_a_key_without_a_log_is_over_the_manifests_bytes() {
    let key = ManagedKey::of(KeyKind::P256).unwrap();
    let world = wanting(json!({"key": "release"}), |_| {
        let text = key.public_pem();
        format!("[[evidence.keys]]\nname = \"release\"\npem = {{ text = \"\"\"{text}\"\"\" }}\ntransparency_log = \"optional\"\n")
    })
    .await;
    let sigstore = &world.deployment.sigstore;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (name, change, codes) in [("good", "", &[] as &[&str]), ("changed", " ", &["subject-mismatch"])] {
        let pushed = unsigned(&world, name).await;
        let url = format!("http://{}/v2/demo/{name}/manifests/1.0", world.deployment.registry.host());
        let manifest = client.get(url).header("accept", push::OCI_MANIFEST).send().await.unwrap().text().await.unwrap();
        assert_eq!(Digest::of(manifest.as_bytes()), pushed.manifest);
        let message = Content::Message { bytes: (manifest + change).into() };
        let request = request(pushed.manifest, SIGNER).with(Knob::NoLogEntry).signing(message);
        attach(&world, name, &pushed, &sigstore.sign_with_key(&key, request).unwrap()).await;
        if codes.is_empty() {
            admitted(&world, &pushed).await;
        } else {
            assert_eq!(refused(&world, &pushed).await, codes);
        }
    }
}
