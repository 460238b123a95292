//! skopeo, with `registries.conf` as podman and buildah read it: the remap enforces, a mirror does not.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use witgate::case::Digest;
use witgate::dev::registry::push::Pushed;
use witgate_tests::components;

use super::{Door, HELLO, Over, UPSTREAM, fail, remote, tells_why};
use crate::succeed;

/// `registries.conf`, and the CA where skopeo looks for it.
pub(super) fn set_up(door: &Door, registries: &str) {
    door.write(".config/containers/registries.conf", registries);
    let certs = format!(".config/containers/certs.d/{}/ca.crt", door.host());
    door.write(&certs, &std::fs::read_to_string(door.path("ca.crt")).unwrap());
}

/// The form of the page.
pub(super) fn remap(door: &Door) -> String {
    door.example("# registries.conf")
}

fn skopeo(door: &Door, words: &[&str]) -> Command {
    let mut command = door.client("skopeo");
    command.arg("--insecure-policy").args(words);
    command
}

/// Copies `reference` into a folder, which is gone before.
pub(super) fn copy(door: &Door, reference: &str) -> Command {
    let folder = door.path("copied");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    skopeo(door, &["copy", "--preserve-digests", &format!("docker://{reference}"), "dir:copied"])
}

/// Holds that manifest, config and component came byte for byte, and nothing else.
pub(super) fn holds(folder: &Path, pushed: &Pushed, wasm: &[u8]) {
    assert_eq!(std::fs::read(folder.join("manifest.json")).unwrap(), pushed.manifest_bytes);
    let file = |digest: &Digest| std::fs::read(folder.join(digest.to_string().trim_start_matches("sha256:"))).unwrap();
    assert_eq!(file(&pushed.component), wasm);
    let manifest: Value = serde_json::from_slice(&pushed.manifest_bytes).unwrap();
    let config: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    assert_eq!(Digest::of(&file(&config)), config);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 4, "and `version`");
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_gets_what_is_admitted_under_the_registrys_own_name() {
    let door = Door::open(Over::Tls).await;
    set_up(&door, &remap(&door));
    // By the registry's name, by the gateway's, and by digest.
    let by_digest = door.by_digest(&door.good);
    for reference in [remote(&door.good), door.tagged(&door.good), by_digest] {
        succeed(&mut copy(&door, &reference));
        holds(&door.path("copied"), &door.good, &components::http(HELLO));
    }
    // `list-tags` of this version does not look into `registries.conf`.
    let tags = succeed(&mut skopeo(&door, &["list-tags", &format!("docker://{}/{UPSTREAM}/acme/web", door.host())]));
    let tags = serde_json::from_str::<Value>(&tags).unwrap()["Tags"].take();
    assert!(tags.as_array().unwrap().contains(&json!("1.0")), "{tags}");
    for reference in [remote(&door.unsigned), door.tagged(&door.unsigned)] {
        let said = fail(&mut copy(&door, &reference));
        tells_why(&said, &remote(&door.unsigned));
        assert!(said.contains("denied: witgate: refused"), "{said}");
        assert!(!door.path("copied").join("manifest.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_shows_a_token_as_the_password() {
    let door = Door::open(Over::Tls).await;
    set_up(&door, &remap(&door));
    std::fs::remove_file(door.path(".docker/config.json")).unwrap();
    let (creds, hint) = (format!("anybody:{}", door.token()), "show a token: any user name, the token as the password");
    let said = fail(&mut copy(&door, &door.tagged(&door.good)));
    assert!(said.contains(hint), "{said}");
    succeed(copy(&door, &door.tagged(&door.good)).args(["--src-creds", &creds]));
    holds(&door.path("copied"), &door.good, &components::http(HELLO));
    // Credentials of the command line are for the registry that the reference names, and go to no other.
    let said = fail(copy(&door, &remote(&door.good)).args(["--src-creds", &creds]));
    assert!(said.contains(hint), "{said}");
    // Those that were stored for the gateway do.
    let mut login = skopeo(&door, &["login", "--username", "anybody", "--password", &door.token(), &door.host()]);
    succeed(login.args(["--authfile", "auth.json"]));
    succeed(copy(&door, &remote(&door.good)).args(["--authfile", "auth.json"]));
    holds(&door.path("copied"), &door.good, &components::http(HELLO));
}

/// What the page warns of: a mirror that says no is passed by.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_does_not_keep_skopeo_from_the_registry() {
    let door = Door::open(Over::Tls).await;
    let mirror = format!(
        "[[registry]]\nprefix = \"{UPSTREAM}\"\nlocation = \"{}\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"{}/{UPSTREAM}\"\n",
        door.registry.host(),
        door.host(),
    );
    set_up(&door, &mirror);
    succeed(&mut copy(&door, &remote(&door.unsigned)));
    holds(&door.path("copied"), &door.unsigned, &components::command("unsigned\n"));
}
