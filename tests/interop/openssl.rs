//! Debian's openssl: its keys and signatures before our verifier, and the embedded signer's before its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384};
use witgate::case::{CosignLayer, Digest, Timestamp};
use witgate::dev::registry::Auth;
use witgate::dev::registry::cosign_tags::{self, SIMPLE_SIGNING, signatures_tag};
use witgate::dev::registry::push::Pushed;
use witgate::dev::sigstore::{BUNDLE_V03, Content, KeyKind, ManagedKey, Sign, Sigstore};

use crate::keyed::{self, Key, admitted};
use crate::pushed::{attach, push, refused};
use crate::{run, succeed};

const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A kind of key that openssl makes and cosign imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    Rsa2048,
    Ed25519,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::P256, Self::P384, Self::Rsa2048, Self::Ed25519];

    /// A file's and a key's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa2048 => "rsa2048",
            Self::Ed25519 => "ed25519",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::P256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::P384 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            Self::Rsa2048 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            Self::Ed25519 => &["-algorithm", "ED25519"],
        }
    }

    /// The hash of what it signs; Ed25519 has its own.
    fn hash(self) -> Option<&'static str> {
        match self {
            Self::P256 | Self::Rsa2048 => Some("-sha256"),
            Self::P384 => Some("-sha384"),
            Self::Ed25519 => None,
        }
    }
}

/// openssl, working in `folder`.
pub(crate) fn openssl(folder: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(folder);
    command
}

/// Makes `NAME.pem` (PKCS#8) and `NAME.pub` (SPKI); gives the public one.
pub(crate) fn generate(folder: &Path, kind: Kind) -> PathBuf {
    let (private, public) = (format!("{}.pem", kind.name()), format!("{}.pub", kind.name()));
    succeed(openssl(folder).arg("genpkey").args(kind.options()).args(["-out", &private]));
    succeed(openssl(folder).args(["pkey", "-in", &private, "-pubout", "-out", &public]));
    folder.join(public)
}

/// Signs `bytes`.
pub(crate) fn sign(folder: &Path, kind: Kind, bytes: &[u8]) -> Vec<u8> {
    sign_hashed(folder, kind, kind.hash(), bytes)
}

/// Signs `bytes` with another hash than is usual.
fn sign_hashed(folder: &Path, kind: Kind, hash: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    std::fs::write(folder.join("message"), bytes).unwrap();
    let private = format!("{}.pem", kind.name());
    let mut command = openssl(folder);
    match hash {
        Some(hash) => command.args(["dgst", hash, "-sign", &private, "-out", "signature", "message"]),
        None => command.args(["pkeyutl", "-sign", "-rawin", "-inkey", &private, "-in", "message", "-out", "signature"]),
    };
    succeed(&mut command);
    std::fs::read(folder.join("signature")).unwrap()
}

/// The modulus of an RSA key, big-endian.
pub(crate) fn rsa_modulus(folder: &Path, kind: Kind) -> Vec<u8> {
    let private = format!("{}.pem", kind.name());
    let printed = succeed(openssl(folder).args(["rsa", "-in", &private, "-modulus", "-noout"]));
    hex::decode(printed.trim_end().strip_prefix("Modulus=").unwrap()).unwrap()
}

/// Whether `signature` is one over `bytes` by the key in `public`.
fn verifies(folder: &Path, public: &str, hash: Option<&str>, bytes: &[u8], signature: &[u8]) -> bool {
    std::fs::write(folder.join("message"), bytes).unwrap();
    std::fs::write(folder.join("signature"), signature).unwrap();
    let mut command = openssl(folder);
    match hash {
        Some(hash) => command.args(["dgst", hash, "-verify", public, "-signature", "signature", "message"]),
        None => command.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public]).args([
            "-in",
            "message",
            "-sigfile",
            "signature",
        ]),
    };
    run(&mut command).status.success()
}

/// What DSSE signs (secure-systems-lab/dsse `protocol.md`).
fn pae(payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len()).as_bytes(), payload].concat()
}

/// A bundle v0.3 without a log entry, as cosign writes one.
fn bundle(field: &str, content: &Value) -> Vec<u8> {
    json!({
        "mediaType": BUNDLE_V03,
        "verificationMaterial": {"publicKey": {"hint": ""}},
        field: content,
    })
    .to_string()
    .into_bytes()
}

/// A message's signature in a bundle, with the digest that names the hash.
fn message(folder: &Path, kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let (algorithm, digest) = match kind {
        Kind::P384 => ("SHA2_384", Sha384::digest(bytes).to_vec()),
        _ => ("SHA2_256", Sha256::digest(bytes).to_vec()),
    };
    bundle(
        "messageSignature",
        &json!({
            "messageDigest": {"algorithm": algorithm, "digest": STANDARD.encode(digest)},
            "signature": STANDARD.encode(sign(folder, kind, bytes)),
        }),
    )
}

/// The statement of `cosign sign` in a bundle.
fn statement(folder: &Path, kind: Kind, manifest: Digest) -> Vec<u8> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": manifest.hex()}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    let payload = statement.to_string().into_bytes();
    let signature = sign(folder, kind, &pae(&payload));
    bundle(
        "dsseEnvelope",
        &json!({
            "payload": STANDARD.encode(payload),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        }),
    )
}

/// A layer of cosign 2.
fn layer(folder: &Path, kind: Kind, hash: Option<&str>, manifest: Digest) -> CosignLayer {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": manifest},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string();
    let signature = STANDARD.encode(sign_hashed(folder, kind, hash, payload.as_bytes()));
    CosignLayer {
        payload: payload.into(),
        annotations: [("dev.cosignproject.cosign/signature".to_owned(), signature)].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_openssl_signs_is_admitted_in_each_form() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let files = Kind::ALL.map(|kind| (kind.name(), generate(folder, kind)));
    let keys: Vec<Key<'_>> = files.iter().map(|(name, file)| Key { name, file, log: "optional" }).collect();
    let world = keyed::world(&keys, |_| {}).await;
    let host = world.deployment.registry.host();
    for kind in Kind::ALL {
        let name = kind.name();
        for (form, make) in [
            ("message", (|folder, kind, pushed| message(folder, kind, &pushed.manifest_bytes)) as Make),
            ("statement", |folder, kind, pushed| statement(folder, kind, pushed.manifest)),
        ] {
            let repository = format!("{name}-{form}");
            let pushed = push(&host, &repository).await;
            let other = push(&host, &format!("other-{repository}")).await;
            let signed = make(folder, kind, &pushed);
            attach(&pushed, &signed).await;
            admitted(&world, &pushed, name).await;
            attach(&other, &signed).await;
            assert_eq!(refused(&world, &other).await, ["subject-mismatch"], "{repository}");
        }
        // Until 2.6, cosign hashed with SHA-256 whatever the key.
        let hashes = match kind.hash() {
            Some(hash) => BTreeSet::from([Some("-sha256"), Some(hash)]),
            None => BTreeSet::from([None]),
        };
        for hash in hashes {
            let repository = format!("{name}-legacy{}", hash.unwrap_or_default());
            let pushed = push(&host, &repository).await;
            let (path, tag) = (format!("acme/{repository}"), signatures_tag(&pushed.manifest));
            let layers = [layer(folder, kind, hash, pushed.manifest)];
            cosign_tags::push(&host, &path, &tag, SIMPLE_SIGNING, &layers, &Auth::Open).await.unwrap();
            admitted(&world, &pushed, name).await;
        }
    }
}

type Make = fn(&Path, Kind, &Pushed) -> Vec<u8>;

#[test]
fn openssl_takes_what_the_embedded_signer_signs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let sigstore = Sigstore::new(at).unwrap();
    // Of Ed25519ph, openssl 3.0 knows nothing.
    for (kind, hash) in [
        (KeyKind::P256, Some("-sha256")),
        (KeyKind::P384, Some("-sha384")),
        (KeyKind::Rsa2048, Some("-sha256")),
        (KeyKind::Ed25519, None),
    ] {
        let key = ManagedKey::of(kind).unwrap();
        std::fs::write(folder.join("key.pub"), key.public_pem()).unwrap();
        let holds = |bytes: &[u8], signature: &[u8]| {
            assert!(verifies(folder, "key.pub", hash, bytes, signature), "{hash:?}");
            assert!(!verifies(folder, "key.pub", hash, b"other bytes", signature), "{hash:?}");
        };
        holds(b"a message", &key.sign(b"a message").unwrap());
        // What stands in a bundle: the message's signature, and the envelope's over its encoding.
        let request = Sign::cosign(Digest::of(b"a message"), "", "", at);
        let bundle = |what| {
            let bundle = sigstore.sign_with_key(&key, request.clone().signing(what)).unwrap();
            serde_json::from_slice::<Value>(&bundle).unwrap()
        };
        let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let message = bundle(Content::Message { bytes: b"a message".as_slice().into() });
        holds(b"a message", &decode(&message["messageSignature"]["signature"]));
        let envelope = &bundle(Content::SignStatement)["dsseEnvelope"];
        holds(&pae(&decode(&envelope["payload"])), &decode(&envelope["signatures"][0]["sig"]));
    }
}
