//! `witgate conformance verify-bundle`, as the suite of sigstore-conformance calls it.

use witgate::case::Digest;

use super::{run, stderr};

#[allow(dead_code, reason = "the suite's own test reads the files; here the binary does")]
#[path = "../conformance/vectors.rs"]
mod vectors;

use vectors::Outcome;

#[test]
fn every_vector_has_its_exit_code_by_path_and_by_digest() {
    let Some((folder, vectors)) = vectors::all() else { return };
    let home = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for vector in &vectors {
        let path = |path: &std::path::Path| folder.join(path).to_str().unwrap().to_owned();
        let artifact = path(&vector.artifact);
        let digest = Digest::of(&std::fs::read(&artifact).unwrap()).to_string();
        let who = match (&vector.key, &vector.identity, &vector.issuer) {
            (Some(key), ..) => vec!["--key".to_owned(), path(key)],
            (None, Some(identity), Some(issuer)) => {
                ["--certificate-identity", identity, "--certificate-oidc-issuer", issuer].map(str::to_owned).to_vec()
            }
            _ => panic!("`{}` names nobody", vector.name),
        };
        for subject in [artifact, digest] {
            // The order of the arguments is the protocol's.
            let mut arguments = ["conformance", "verify-bundle", "--bundle"].map(str::to_owned).to_vec();
            arguments.push(path(&vector.bundle));
            arguments.extend(who.clone());
            arguments.extend(["--trusted-root".to_owned(), path(&vector.trusted_root), subject]);
            let output = run(home.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
            let verified = output.status.code() == Some(0);
            if verified != (vector.expect == Outcome::Pass) {
                wrong.push(format!("{} {:?}: {}", vector.name, output.status.code(), stderr(&output)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_protocol_does_not_know_is_usage() {
    let home = tempfile::tempdir().unwrap();
    let staging =
        run(home.path(), &["conformance", "verify-bundle", "--staging", "--bundle", "b", "--key", "k", "artifact"]);
    assert_eq!(staging.status.code(), Some(2), "{}", stderr(&staging));
    assert!(stderr(&staging).contains("--trusted-root"), "{}", stderr(&staging));
    let nobody = run(home.path(), &["conformance", "verify-bundle", "--bundle", "b", "artifact"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));
}
