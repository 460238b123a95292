//! Writing: real clients, uploads in pieces, mounts, evidence, deletion.

use oci_client::client::{Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use serde_json::Value;

use super::super::Referrers;
use super::super::push::{SIGSTORE_BUNDLE, blob_raw, bundle, fallback_tag, manifest_raw};
use super::*;
use crate::case::Digest;

#[tokio::test]
async fn what_was_pushed_is_pulled_by_another_client() {
    let registry = open().await;
    let pushed = cart(&registry, &Auth::Open).await;
    let image = oci()
        .pull(&pushed.reference.parse().unwrap(), &RegistryAuth::Anonymous, vec!["application/wasm"])
        .await
        .unwrap();
    assert_eq!(image.layers[0].data, wasm());
    assert_eq!(image.digest, Some(pushed.manifest.to_string()));
    let config: Value = serde_json::from_slice(&image.config.data).unwrap();
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"][0], pushed.component.to_string());
    assert_eq!(cart(&registry, &Auth::Open).await, pushed, "equal bytes give equal manifests");
}

#[tokio::test]
async fn a_core_module_is_described_as_one() {
    let registry = open().await;
    let module = Bytes::from_static(b"\0asm\x01\0\0\0");
    let claims = ConfigClaims { imports: Some(vec!["wasi:cli/run@0.2.0".into()]), ..ConfigClaims::default() };
    let pushed = component(&registry.host(), "m", "1", module, claims, &Auth::Open).await.unwrap();
    let manifest: Value = serde_json::from_slice(&pushed.manifest_bytes).unwrap();
    let path = format!("/v2/m/blobs/{}", manifest["config"]["digest"].as_str().unwrap());
    let config: Value = get(&registry, &path).await.json().await.unwrap();
    assert_eq!((config["os"].as_str(), config.get("component")), (Some("wasip1"), None));
}

#[tokio::test]
async fn another_client_pushes_in_chunks_and_a_third_pulls() {
    let registry = open().await;
    let layer = ImageLayer::new(vec![7; 3 << 20], "application/wasm".into(), None);
    let config = Config::new(Bytes::from_static(b"{}"), "application/vnd.wasm.config.v0+json".into(), None);
    let reference = format!("{}/deep/er/name:latest", registry.host()).parse().unwrap();
    oci().push(&reference, std::slice::from_ref(&layer), config, &RegistryAuth::Anonymous, None).await.unwrap();
    let pulled = get(&registry, &format!("/v2/deep/er/name/blobs/{}", layer.sha256_digest())).await;
    assert_eq!(pulled.bytes().await.unwrap(), layer.data);
    assert!(registry.requests().iter().any(|seen| seen.method == "PATCH"), "{:?}", registry.requests());
}

#[tokio::test]
async fn an_upload_goes_forward_only_and_keeps_the_digest_it_promised() {
    let registry = open().await;
    let started = send(&registry, Method::POST, "/v2/a/b/blobs/uploads/").await;
    assert_eq!(started.status(), 202);
    let url = format!("http://{}{}", registry.host(), header(&started, "location").unwrap());
    let chunk =
        |range: &'static str, body: &'static str| http().patch(&url).header("content-range", range).body(body).send();
    assert_eq!(chunk("5-9", "world").await.unwrap().status(), 416, "a gap");
    let first = chunk("0-4", "hello").await.unwrap();
    assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, Some("0-4")));
    assert_eq!(chunk("0-4", "hello").await.unwrap().status(), 416, "again");
    assert_eq!(chunk("5-6", "world").await.unwrap().status(), 416, "a range that is not the body's");
    assert_eq!(chunk("x", "world").await.unwrap().status(), 416, "no range at all");
    let status = http().get(&url).send().await.unwrap();
    assert_eq!((status.status(), header(&status, "range")), (StatusCode::NO_CONTENT, Some("0-4")));
    assert_eq!(http().patch(&url).body(" ").send().await.unwrap().status(), 202, "a stream states no range");
    let digest = Digest::of(b"hello world");
    let elsewhere = url.replace("/a/b/", "/a/c/");
    assert_eq!(http().put(format!("{elsewhere}?digest={digest}")).send().await.unwrap().status(), 404);
    let done = http().put(format!("{url}?digest={digest}")).header("content-range", "6-10").body("world");
    let done = done.send().await.unwrap();
    assert_eq!(
        (done.status(), header(&done, "location").unwrap()),
        (StatusCode::CREATED, &*format!("/v2/a/b/blobs/{digest}"))
    );
    assert_eq!(http().put(format!("{url}?digest={digest}")).send().await.unwrap().status(), 404, "it is over");

    let started = send(&registry, Method::POST, "/v2/a/b/blobs/uploads/").await;
    let url = format!("http://{}{}", registry.host(), header(&started, "location").unwrap());
    let lie = http().put(format!("{url}?digest={digest}")).body("something else").send().await.unwrap();
    assert_eq!(lie.status(), 400);
    assert_eq!(code(lie).await, "DIGEST_INVALID");

    let started = send(&registry, Method::POST, "/v2/a/b/blobs/uploads/").await;
    let path = header(&started, "location").unwrap().to_owned();
    assert_eq!(status_of(&registry, Method::DELETE, &path).await, [204, 404]);
}

/// The status of the same request, twice.
async fn status_of(registry: &DevRegistry, method: Method, path: &str) -> [u16; 2] {
    [status(registry, method.clone(), path).await.as_u16(), status(registry, method, path).await.as_u16()]
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_it_is_and_uploaded_from_where_it_is_not() {
    let registry = open().await;
    let digest = blob_raw(&registry.host(), "from", Bytes::from_static(b"x"), &Auth::Open).await.unwrap();
    let blob = format!("/v2/to/blobs/{digest}");
    assert_eq!(status(&registry, Method::GET, &blob).await, 404, "a blob belongs to its repository");
    let mount = |from: &str| format!("/v2/to/blobs/uploads/?mount={digest}&from={from}");
    assert_eq!(status(&registry, Method::POST, &mount("nowhere")).await, 202);
    assert_eq!(status(&registry, Method::POST, &mount("from")).await, 201);
    assert_eq!(get(&registry, &blob).await.text().await.unwrap(), "x");
}

#[tokio::test]
async fn a_bundle_is_found_through_the_referrers_api() {
    let registry = open().await;
    let pushed = cart(&registry, &Auth::Open).await;
    let json = br#"{"dsseEnvelope":{}}"#;
    let digest =
        bundle(&registry.host(), "acme/cart", &pushed, json, Some("https://slsa.dev/provenance/v1"), &Auth::Open)
            .await
            .unwrap();
    let reference = format!("{}/acme/cart@{}", registry.host(), pushed.manifest).parse().unwrap();
    let index = oci().pull_referrers(&reference, Some(SIGSTORE_BUNDLE)).await.unwrap();
    assert_eq!(index.manifests.len(), 1);
    assert_eq!(index.manifests[0].digest, digest.to_string());
    let manifest: Value = get(&registry, &format!("/v2/acme/cart/manifests/{digest}")).await.json().await.unwrap();
    assert_eq!(manifest["artifactType"], SIGSTORE_BUNDLE);
    assert_eq!(manifest["subject"]["digest"], pushed.manifest.to_string());
    assert_eq!(manifest["subject"]["size"], pushed.manifest_bytes.len());
    assert_eq!(manifest["annotations"]["dev.sigstore.bundle.content"], "dsse-envelope");
    assert_eq!(manifest["annotations"]["dev.sigstore.bundle.predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(manifest["layers"][0]["digest"], Digest::of(json).to_string());
    let fallback = format!("/v2/acme/cart/manifests/{}", fallback_tag(&pushed.manifest));
    assert_eq!(status(&registry, Method::GET, &fallback).await, 404, "no tag is needed where there is an API");
}

#[tokio::test]
async fn without_the_api_bundles_gather_under_the_fallback_tag() {
    let options = Options { referrers: Referrers::TagOnly, ..Options::default() };
    let registry = DevRegistry::start(options).await.unwrap();
    let pushed = cart(&registry, &Auth::Open).await;
    let api = format!("/v2/acme/cart/referrers/{}", pushed.manifest);
    assert_eq!(status(&registry, Method::GET, &api).await, 404);
    for json in ["1", "2", "2"] {
        bundle(&registry.host(), "acme/cart", &pushed, json.as_bytes(), None, &Auth::Open).await.unwrap();
    }
    let reference = format!("{}/acme/cart@{}", registry.host(), pushed.manifest).parse().unwrap();
    let index = oci().pull_referrers(&reference, None).await.unwrap();
    assert_eq!(index.manifests.len(), 2, "the same bundle twice is one entry");
}

#[tokio::test]
async fn any_bytes_are_a_manifest_and_deletion_takes_its_tags_along() {
    let registry = open().await;
    let hostile = Bytes::from_static(b"{\"layers\":[],\"layers\":[],");
    let digest = manifest_raw(&registry.host(), "a", "t", "application/x", hostile.clone(), &Auth::Open).await.unwrap();
    assert_eq!(get(&registry, "/v2/a/manifests/t").await.bytes().await.unwrap(), hostile);
    let lie = Digest::of(b"something else").to_string();
    let refused = manifest_raw(&registry.host(), "a", &lie, "application/x", hostile, &Auth::Open).await.unwrap_err();
    assert!(refused.to_string().contains("expected 201 Created, the registry said 400 Bad Request"), "{refused}");

    assert_eq!(status_of(&registry, Method::DELETE, "/v2/a/manifests/t").await, [202, 404]);
    let by_digest = format!("/v2/a/manifests/{digest}");
    assert_eq!(status(&registry, Method::GET, &by_digest).await, 200, "only the tag is gone");
    assert_eq!(status_of(&registry, Method::DELETE, &by_digest).await, [202, 404]);
    let blob = blob_raw(&registry.host(), "a", Bytes::from_static(b"x"), &Auth::Open).await.unwrap();
    assert_eq!(status_of(&registry, Method::DELETE, &format!("/v2/a/blobs/{blob}")).await, [202, 404]);
}

#[tokio::test]
async fn other_methods_are_unsupported() {
    let registry = open().await;
    for (method, path) in [
        (Method::PUT, "/v2/"),
        (Method::POST, "/v2/a/manifests/x"),
        (Method::DELETE, "/v2/a/tags/list"),
        (Method::PATCH, "/v2/a/blobs/uploads/"),
    ] {
        let response = send(&registry, method, path).await;
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(code(response).await, "UNSUPPORTED");
    }
    assert_eq!(status(&registry, Method::GET, "/v2/_catalog").await, 404);
}
