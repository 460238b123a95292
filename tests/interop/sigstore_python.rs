//! sigstore-python: the embedded Sigstore's bundles before its verifier, and its own before ours.

use std::process::{Command, Output};

use witgate::dev::deployment::{ISSUER, SIGNER};

use crate::pushed::{attach, push, refused};
use crate::scene::{Question, Scene};
use crate::services::{Services, WORKFLOW};
use crate::{beside, program, refuse, run, succeed, witgate};

fn verify(scene: &Scene, question: Question<'_>) -> Output {
    let mut command = Command::new(program("WITGATE_INTEROP_PYTHON"));
    command
        .current_dir(scene.folder())
        .arg(beside("python/verify.py"))
        .args(["trusted_root.json", question.artifact, question.identity, ISSUER])
        .args(question.bundles);
    run(&mut command)
}

#[test]
fn sigstore_python_accepts_what_the_embedded_sigstore_signs() {
    Scene::accepts(verify);
}

#[test]
fn sigstore_python_refuses_what_is_wrong() {
    Scene::refuses(verify, |output| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.starts_with("good.json: "), "{}: {stderr}", output.status);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sigstore_python_signs_with_sigstores_services_verifies() {
    let services = Services::start().await;
    let world = services.world().await;
    let host = world.deployment.registry.host();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (pushed, other) = (push(&host, "cart").await, push(&host, "other").await);
    std::fs::write(folder.join("artifact"), &pushed.manifest_bytes).unwrap();
    std::fs::write(folder.join("other"), &other.manifest_bytes).unwrap();
    std::fs::write(folder.join("token"), services.issuer().token(WORKFLOW)).unwrap();
    let mut command = Command::new(program("WITGATE_INTEROP_PYTHON"));
    command.current_dir(folder).arg(beside("python/sign.py")).stdin(std::fs::File::open(folder.join("token")).unwrap());
    succeed(command.arg(services.trusted_root()).arg(services.signing_config()).arg("artifact"));

    for bundle in ["message.json", "statement.json"] {
        let verify = |identity: &str, artifact: &str| {
            let mut command = witgate(folder);
            command.args(["verify", artifact, "--bundle", bundle, "--certificate-identity", identity]);
            command.args(["--certificate-oidc-issuer", services.issuer().url()]);
            command.arg("--trusted-root").arg(services.trusted_root());
            command
        };
        succeed(&mut verify(SIGNER, "artifact"));
        refuse(&mut verify("https://github.com/mallory/x", "artifact"), "identity-mismatch");
        refuse(&mut verify(SIGNER, "other"), "subject-mismatch");
        let bundle = std::fs::read(folder.join(bundle)).unwrap();
        attach(&other, &bundle).await;
        attach(&pushed, &bundle).await;
    }
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    assert_eq!(refused(&world, &other).await, ["subject-mismatch", "subject-mismatch"]);
}
