//! What other people's verifiers are asked about: an artifact, signed by an embedded Sigstore, in a folder.

use std::path::Path;
use std::process::Output;

use bytes::Bytes;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::sigstore::{Content, Knob, Log, SIGNED_AFTER_S, Sign, Sigstore};

/// What is signed: bytes as short as a manifest may be.
const ARTIFACT: &[u8] = br#"{"schemaVersion":2}"#;
/// Somebody who signed nothing here.
const STRANGER: &str = "https://github.com/mallory/shop/.github/workflows/release.yml@refs/heads/main";

/// The folder, with `artifact` and `trusted_root.json` in it.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    sigstore: Sigstore,
    begin: Timestamp,
}

/// What a verifier is asked: whether this identity signed this file, by each of these bundles.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) identity: &'a str,
    pub(crate) artifact: &'a str,
    pub(crate) bundles: &'a [&'a str],
}

impl Scene {
    pub(crate) fn new() -> Self {
        witgate_tests::provider();
        let folder = tempfile::tempdir().unwrap();
        let begin = Timestamp::now() - jiff::SignedDuration::from_secs(60);
        let sigstore = Sigstore::new(begin).unwrap();
        std::fs::write(folder.path().join("trusted_root.json"), sigstore.trusted_root_json()).unwrap();
        std::fs::write(folder.path().join("artifact"), ARTIFACT).unwrap();
        Self { folder, sigstore, begin: begin + jiff::SignedDuration::from_secs(SIGNED_AFTER_S) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Signs as [`SIGNER`]; writes the bundle into `name`.
    pub(crate) fn sign(&self, name: &str, log: Log, what: Content) {
        self.write(name, &self.sigstore.sign(self.request(log, what)).unwrap());
    }

    /// Asks about `bundles` as they are.
    pub(crate) fn about<'a>(bundles: &'a [&'a str]) -> Question<'a> {
        Question { identity: SIGNER, artifact: "artifact", bundles }
    }

    /// Holds that `verify` takes a message and a statement, each in either log.
    pub(crate) fn accepts(verify: impl Fn(&Self, Question<'_>) -> Output) {
        let scene = Self::new();
        scene.sign("message-v1.json", Log::RekorV1, message());
        scene.sign("message-v2.json", Log::RekorV2, message());
        scene.sign("statement-v1.json", Log::RekorV1, Content::SignStatement);
        scene.sign("statement-v2.json", Log::RekorV2, Content::SignStatement);
        let bundles = ["message-v1.json", "message-v2.json", "statement-v1.json", "statement-v2.json"];
        let output = verify(&scene, Self::about(&bundles));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Holds that `verify` takes a good bundle, and `refused` what it says of each that is not.
    pub(crate) fn refuses(verify: impl Fn(&Self, Question<'_>) -> Output, refused: impl Fn(&Output)) {
        let scene = Self::new();
        let sign = |request| scene.write("good.json", &scene.sigstore.sign(request).unwrap());
        sign(scene.request(Log::RekorV1, message()));
        std::fs::write(scene.folder.path().join("other"), b"another artifact").unwrap();
        let good = Self::about(&["good.json"]);
        let output = verify(&scene, good);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        refused(&verify(&scene, Question { identity: STRANGER, ..good }));
        refused(&verify(&scene, Question { artifact: "other", ..good }));
        // A log entry from outside the certificate's ten minutes.
        sign(scene.request(Log::RekorV1, message()).with(Knob::LateIntegratedTime));
        refused(&verify(&scene, good));
        // A log entry about another signature.
        sign(scene.request(Log::RekorV1, message()).with(Knob::EntryOfAnotherSignature));
        refused(&verify(&scene, good));
        // A deployment that nobody named in the trusted root.
        let stranger = Self::new();
        scene.write("good.json", &stranger.sigstore.sign(stranger.request(Log::RekorV1, message())).unwrap());
        refused(&verify(&scene, good));
    }

    fn request(&self, log: Log, what: Content) -> Sign {
        Sign::cosign(Digest::of(ARTIFACT), SIGNER, ISSUER, self.begin).logged_in(log).signing(what)
    }

    fn write(&self, name: &str, bundle: &[u8]) {
        std::fs::write(self.folder.path().join(name), bundle).unwrap();
    }
}

fn message() -> Content {
    Content::Message { bytes: Bytes::from_static(ARTIFACT) }
}
