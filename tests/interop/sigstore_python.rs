//! Bundles of the embedded Sigstore, judged by sigstore-python.

use std::process::{Command, Output};

use witgate::dev::deployment::ISSUER;

use crate::scene::{Question, Scene};
use crate::{beside, program, run};

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
