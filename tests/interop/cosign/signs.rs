//! What cosign signs with keys, and tells no log, judged by the gateway.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use witgate::dev::registry::cosign_tags::signatures_tag;
use witgate::dev::registry::push::Pushed;
use witgate_tests::World;

use super::{cosign, generate, import};
use crate::docker_registry::DockerRegistry;
use crate::keyed::{self, Key, admitted};
use crate::openssl::Kind;
use crate::pushed::{attach, bundle, by_digest, manifest, push, push_saying, put, refused};
use crate::{refuse, succeed, witgate};

/// In which of its two forms cosign leaves what it signs beside a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A bundle v0.3 as a referrer.
    Bundle,
    /// A layer under `sha256-HEX.sig` or `.att`.
    Legacy,
}

impl Form {
    const ALL: [Self; 2] = [Self::Bundle, Self::Legacy];

    fn flag(self) -> &'static str {
        match self {
            Self::Bundle => "--new-bundle-format=true",
            Self::Legacy => "--new-bundle-format=false",
        }
    }
}

/// The keys that cosign makes and imports, in a folder.
struct Keys {
    folder: tempfile::TempDir,
    files: Vec<(&'static str, PathBuf)>,
}

impl Keys {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = vec![("cosign", generate(folder.path(), "cosign"))];
        // cosign signs with Ed25519ph whatever it signs, as Rekor's hashedrekord takes nothing else.
        let name = |kind: Kind| if kind == Kind::Ed25519 { "ed25519-ph" } else { kind.name() };
        files.extend(Kind::ALL.map(|kind| (name(kind), import(folder.path(), kind, name(kind)))));
        Self { folder, files }
    }

    fn settings<'a>(&'a self, log: &'a str) -> Vec<Key<'a>> {
        self.files.iter().map(|(name, file)| Key { name, file, log }).collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| *name)
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// `cosign sign` with the key called `key`.
fn sign(folder: &Path, key: &str, form: Form, pushed: &Pushed) {
    let mut command = cosign(folder);
    command.args(["sign", "--key", &format!("{key}.key"), "--yes", form.flag()]);
    command.args(["--use-signing-config=false", "--tlog-upload=false"]);
    succeed(command.arg(by_digest(pushed)));
}

/// `cosign attest` of one of the types that it has words for.
fn attest(folder: &Path, key: &str, form: Form, (kind, predicate): (&str, &Value), pushed: &Pushed) {
    std::fs::write(folder.join("predicate.json"), predicate.to_string()).unwrap();
    let mut command = cosign(folder);
    command.args(["attest", "--key", &format!("{key}.key"), "--yes", form.flag()]);
    command.args([
        "--use-signing-config=false",
        "--tlog-upload=false",
        "--predicate",
        "predicate.json",
        "--type",
        kind,
    ]);
    succeed(command.arg(by_digest(pushed)));
}

/// Signs and attests with each of `keys` in both forms; each is admitted, with the finding of that key alone.
async fn admits(world: &World, host: &str, keys: &Keys, names: impl Iterator<Item = &str>) {
    for key in names {
        for form in Form::ALL {
            let pushed = push(host, &format!("{key}-{form:?}").to_lowercase()).await;
            assert_eq!(refused(world, &pushed).await, [""; 0]);
            attest(keys.folder(), key, form, ("https://acme.example/level/v1", &json!({"level": 3})), &pushed);
            assert_eq!(refused(world, &pushed).await, [""; 0], "an attestation is no signature");
            sign(keys.folder(), key, form, &pushed);
            let findings = admitted(world, &pushed, key).await;
            assert_eq!(findings.len(), 2, "{findings:?}");
            let attestation = findings.iter().find(|finding| finding["kind"] == "attestation").unwrap();
            assert_eq!(attestation["predicate_type"], "https://acme.example/level/v1");
            assert_eq!(attestation["predicate"], json!({"level": 3}));
            for finding in &findings {
                assert_eq!(finding["times"], json!([]), "nobody says when: {finding}");
                assert_eq!(finding["source"]["via"] == "cosign-tags", form == Form::Legacy, "{finding}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_admits_from_the_embedded_registry() {
    let keys = Keys::make();
    let world = keyed::world(&keys.settings("optional"), |_| {}).await;
    admits(&world, &world.deployment.registry.host(), &keys, keys.names()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_admit_from_docker_registry() {
    let (keys, registry) = (Keys::make(), DockerRegistry::start().await);
    let world = World::with(|setup| {
        registry.add_to(setup);
        keyed::trust(setup, registry.host(), &keys.settings("optional"));
    })
    .await;
    admits(&world, registry.host(), &keys, keys.names().take(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sign_blob_says_of_the_manifest_admits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Without a log, sign-blob signs purely with an Ed25519 key, and names no digest.
    let files = Kind::ALL.map(|kind| (kind.name(), import(folder, kind, kind.name())));
    let keys: Vec<Key<'_>> = files.iter().map(|(name, file)| Key { name, file, log: "optional" }).collect();
    let world = keyed::world(&keys, |_| {}).await;
    let host = world.deployment.registry.host();
    for (key, _) in &files {
        let (pushed, other) = (push(&host, key).await, push(&host, &format!("other-{key}")).await);
        std::fs::write(folder.join("manifest"), &pushed.manifest_bytes).unwrap();
        let mut command = cosign(folder);
        command.args(["sign-blob", "--key", &format!("{key}.key"), "--yes", "--bundle", "bundle.json", "manifest"]);
        succeed(command.args(["--use-signing-config=false", "--tlog-upload=false"]));
        let bundle = std::fs::read(folder.join("bundle.json")).unwrap();
        attach(&pushed, &bundle).await;
        admitted(&world, &pushed, key).await;
        attach(&other, &bundle).await;
        // Where the bundle names no digest, it is only not signed by the key.
        let code = if *key == "ed25519" { "key-not-trusted" } else { "subject-mismatch" };
        assert_eq!(refused(&world, &other).await, [code], "{key}");
        // A file's signature that no log knows of is not enough for the command line.
        let mut command = witgate(folder);
        command.args(["verify", "manifest", "--bundle", "bundle.json", "--key", &format!("{key}.pub")]);
        command.args(["--signing-algorithm", "ed25519"].iter().filter(|_| *key == "ed25519"));
        std::fs::write(folder.join("root.json"), world.deployment.sigstore.trusted_root_json()).unwrap();
        refuse(command.args(["--trusted-root", "root.json"]), "log-proof-missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_predicates_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(folder.path(), "release");
    let world = keyed::world(&[Key { name: "release", file: &file, log: "optional" }], |_| {}).await;
    let provenance = json!({
        "buildDefinition": {
            "buildType": "https://acme.example/build/v1",
            "externalParameters": {},
            "resolvedDependencies": [
                {"uri": "git+https://github.com/acme/shop@refs/heads/main", "digest": {"gitCommit": "a".repeat(40)}},
            ],
        },
        "runDetails": {"builder": {"id": "https://acme.example/builder"}},
    });
    let bill = json!({
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "dataLicense": "CC0-1.0",
        "name": "cart",
        "documentNamespace": "https://acme.example/cart",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: hand"]},
        "packages": [{
            "name": "log", "SPDXID": "SPDXRef-log", "versionInfo": "0.4.0", "downloadLocation": "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:cargo/log@0.4.0"}],
        }],
    });
    for form in Form::ALL {
        let pushed = push(&world.deployment.registry.host(), &format!("{form:?}").to_lowercase()).await;
        sign(folder.path(), "release", form, &pushed);
        attest(folder.path(), "release", form, ("slsaprovenance1", &provenance), &pushed);
        attest(folder.path(), "release", form, ("spdxjson", &bill), &pushed);
        attest(folder.path(), "release", form, ("custom", &json!({"level": 3})), &pushed);
        let findings = admitted(&world, &pushed, "release").await;
        let of_type = |predicate_type: &str| {
            findings
                .iter()
                .find(|finding| finding["predicate_type"] == predicate_type)
                .unwrap_or_else(|| panic!("no `{predicate_type}` in {findings:?}"))
        };
        let provenance = &of_type("https://slsa.dev/provenance/v1")["attests"];
        assert!(provenance.to_string().contains("https://acme.example/builder"), "{provenance}");
        let bill = &of_type("https://spdx.dev/Document")["attests"];
        assert!(bill.to_string().contains("pkg:cargo/log"), "{bill}");
        // cosign wraps what it has no type for.
        assert!(of_type("https://cosign.sigstore.dev/attestation/v1")["predicate"]["Data"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_by_another_key_or_logged_nowhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (release, strict) = (generate(folder.path(), "release"), generate(folder.path(), "strict"));
    generate(folder.path(), "stranger");
    let keys = [
        Key { name: "release", file: &release, log: "optional" },
        Key { name: "strict", file: &strict, log: "required" },
    ];
    let world = keyed::world(&keys, |_| {}).await;
    for form in Form::ALL {
        for (key, code) in [("stranger", "key-not-trusted"), ("strict", "log-proof-missing")] {
            let name = format!("{key}-{form:?}").to_lowercase();
            let pushed = push(&world.deployment.registry.host(), &name).await;
            sign(folder.path(), key, form, &pushed);
            assert_eq!(refused(&world, &pushed).await, [code], "{name}");
            sign(folder.path(), "release", form, &pushed);
            assert_eq!(world.host.admit(&pushed.reference).await.status, 200, "one good signature is enough: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_leaves_its_signatures_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(folder.path(), "release");
    let world = keyed::world(&[Key { name: "release", file: &file, log: "optional" }], |_| {}).await;
    let host = world.deployment.registry.host();
    for form in Form::ALL {
        let name = format!("{form:?}").to_lowercase();
        let pushed = push(&host, &name).await;
        sign(folder.path(), "release", form, &pushed);
        // By its digest, as the gateway remembers for a moment where a tag led.
        admitted(&world, &Pushed { reference: by_digest(&pushed), ..pushed.clone() }, "release").await;
        let moved = push_saying(&host, &name, "something else").await;
        assert_ne!(moved.manifest, pushed.manifest);
        assert_eq!(refused(&world, &moved).await, [""; 0], "{name}");
        // Its signature put beside the other.
        replay(form, &pushed, &moved).await;
        assert_eq!(refused(&world, &moved).await, ["subject-mismatch"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_taken_off_or_changed_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(folder.path(), "release");
    let world = keyed::world(&[Key { name: "release", file: &file, log: "optional" }], |_| {}).await;
    let host = world.deployment.registry.host();

    let pushed = push(&host, "legacy").await;
    sign(folder.path(), "release", Form::Legacy, &pushed);
    let tag = signatures_tag(&pushed.manifest);
    let signed = manifest(&pushed, &tag).await;
    const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
    let mut stripped = signed.clone();
    stripped["layers"][0]["annotations"].as_object_mut().unwrap().remove(SIGNATURE);
    let mut changed = signed.clone();
    changed["layers"][0]["annotations"][SIGNATURE] = flipped(&changed["layers"][0]["annotations"][SIGNATURE]);
    let mut emptied = signed.clone();
    emptied["layers"] = json!([]);
    for (manifest, codes) in
        [(stripped, &["bundle-malformed"][..]), (changed, &["key-not-trusted"]), (emptied, &["manifest-invalid"])]
    {
        put(&pushed, &tag, &manifest).await;
        assert_eq!(refused(&world, &pushed).await, codes);
    }
    put(&pushed, &tag, &signed).await;
    admitted(&world, &pushed, "release").await;

    for (name, codes, change) in [
        ("stripped", "bundle-malformed", (|bundle| bundle["dsseEnvelope"]["signatures"] = json!([])) as fn(&mut Value)),
        ("changed", "key-not-trusted", |bundle| {
            let signature = &mut bundle["dsseEnvelope"]["signatures"][0]["sig"];
            *signature = flipped(signature);
        }),
    ] {
        let pushed = push(&host, name).await;
        // A bundle of this component, which the registry never saw.
        let mut command = cosign(folder.path());
        command.args(["sign", "--key", "release.key", "--yes", "--use-signing-config=false", "--tlog-upload=false"]);
        succeed(command.args(["--upload=false", "--bundle", "bundle.json"]).arg(by_digest(&pushed)));
        let bundle = std::fs::read(folder.path().join("bundle.json")).unwrap();
        let mut spoiled: Value = serde_json::from_slice(&bundle).unwrap();
        change(&mut spoiled);
        attach(&pushed, spoiled.to_string().as_bytes()).await;
        assert_eq!(refused(&world, &pushed).await, [codes], "{name}");
        attach(&pushed, &bundle).await;
        assert_eq!(world.host.admit(&pushed.reference).await.status, 200, "{name}");
    }
}

/// The same signature with one bit of it flipped.
fn flipped(signature: &Value) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let mut bytes = STANDARD.decode(signature.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    STANDARD.encode(bytes).into()
}

/// Puts the signature of one component beside another of the same repository.
async fn replay(form: Form, from: &Pushed, to: &Pushed) {
    match form {
        Form::Legacy => {
            let signed = manifest(from, &signatures_tag(&from.manifest)).await;
            put(to, &signatures_tag(&to.manifest), &signed).await;
        }
        Form::Bundle => attach(to, &bundle(from).await).await,
    }
}
