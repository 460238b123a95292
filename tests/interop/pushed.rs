//! A component in a registry over plain HTTP, and what lies beside it.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, ConfigClaims, OCI_MANIFEST, Pushed, manifest_raw};
use witgate_tests::{World, components, rejected};

use crate::witgate;

/// Pushes a component of its own as `acme/NAME:1.0`.
pub(crate) async fn push(host: &str, name: &str) -> Pushed {
    push_saying(host, name, name).await
}

/// Pushes a component that says something else under the same name.
pub(crate) async fn push_saying(host: &str, name: &str, text: &str) -> Pushed {
    let (repository, wasm) = (format!("acme/{name}"), components::command(&format!("{text}\n")));
    push::component(host, &repository, "1.0", wasm.into(), ConfigClaims::default(), &Auth::Open).await.unwrap()
}

/// `HOST/REPOSITORY@DIGEST`: what cosign is asked about, as a tag may move meanwhile.
pub(crate) fn by_digest(pushed: &Pushed) -> String {
    let (named, _) = pushed.reference.rsplit_once(':').unwrap();
    format!("{named}@{}", pushed.manifest)
}

/// The rows of a configuration for its registry.
pub(crate) fn upstream(host: &str) -> String {
    format!("[registry.upstreams.\"{host}\"]\nurl = \"http://{host}\"\nprivate = true\ninsecure_http = true\n")
}

/// `witgate verify` of it, in `folder`; who must have signed comes behind.
pub(crate) fn verify(folder: &Path, pushed: &Pushed) -> Command {
    let (host, _) = place(pushed);
    std::fs::write(folder.join("witgate.toml"), upstream(host)).unwrap();
    let mut command = witgate(folder);
    command.args(["verify", &pushed.reference, "--config", "witgate.toml", "--data-dir", "data"]);
    command
}

/// Holds that it is refused for want of a signature; gives the codes of what was found.
pub(crate) async fn refused(world: &World, pushed: &Pushed) -> Vec<String> {
    let record = world.refused(json!({"reference": pushed.reference}), "no-verified-signature").await;
    rejected(&record).into_iter().map(str::to_owned).collect()
}

/// Puts a bundle beside it.
pub(crate) async fn attach(pushed: &Pushed, bundle: &[u8]) {
    let (host, repository) = place(pushed);
    push::bundle(host, repository, pushed, bundle, None, &Auth::Open).await.unwrap();
}

/// The manifest under a tag of its repository, or that of a digest.
pub(crate) async fn manifest(pushed: &Pushed, tag_or_digest: &str) -> Value {
    serde_json::from_slice(&get(pushed, &format!("manifests/{tag_or_digest}")).await).unwrap()
}

/// Puts a manifest under a tag of its repository, in place of what was there.
pub(crate) async fn put(pushed: &Pushed, tag: &str, manifest: &Value) {
    let (host, repository) = place(pushed);
    manifest_raw(host, repository, tag, OCI_MANIFEST, manifest.to_string().into(), &Auth::Open).await.unwrap();
}

/// The first bundle beside it.
pub(crate) async fn bundle(pushed: &Pushed) -> Bytes {
    let referrers: Value =
        serde_json::from_slice(&get(pushed, &format!("referrers/{}", pushed.manifest)).await).unwrap();
    let referrer = manifest(pushed, referrers["manifests"][0]["digest"].as_str().unwrap()).await;
    get(pushed, &format!("blobs/{}", referrer["layers"][0]["digest"].as_str().unwrap())).await
}

async fn get(pushed: &Pushed, path: &str) -> Bytes {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (host, repository) = place(pushed);
    let answer = client.get(format!("http://{host}/v2/{repository}/{path}")).send().await.unwrap();
    answer.error_for_status().unwrap().bytes().await.unwrap()
}

/// Registry and repository.
fn place(pushed: &Pushed) -> (&str, &str) {
    let (named, _) = pushed.reference.rsplit_once(':').unwrap();
    named.split_once('/').unwrap()
}
