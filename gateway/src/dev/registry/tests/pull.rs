//! Reading: the requests of the conformance suite, ranges, pages.

use serde_json::Value;

use super::super::push::{blob_raw, bundle, manifest_raw};
use super::super::{ContentDigest, Limits, Referrers};
use super::*;
use crate::case::Digest;

#[tokio::test]
async fn the_sixteen_read_only_requests_of_the_conformance_suite() {
    let registry = open().await;
    let pushed = cart(&registry, &Auth::Open).await;
    let referrer = bundle(&registry.host(), "acme/cart", &pushed, b"{}", Some("https://example.com/p"), &Auth::Open)
        .await
        .unwrap();
    let manifest: Value = serde_json::from_slice(&pushed.manifest_bytes).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    let (digest, layer) = (pushed.manifest.to_string(), pushed.component.to_string());

    assert_eq!(status(&registry, Method::GET, "/v2/").await, 200);
    for path in ["/v2/acme/cart/tags/list", "/v2/acme/cart/tags/list?n=10"] {
        let tags: Value = get(&registry, path).await.json().await.unwrap();
        assert_eq!(tags, serde_json::json!({"name": "acme/cart", "tags": ["1.4"]}));
    }
    let none = get(&registry, &format!("/v2/acme/cart/referrers/{}", Digest::of(b"nobody"))).await;
    assert_eq!((none.status(), header(&none, "content-type")), (StatusCode::OK, Some(super::super::pull::OCI_INDEX)));
    assert_eq!(none.json::<Value>().await.unwrap()["manifests"], serde_json::json!([]));

    for reference in ["1.4", &digest] {
        let path = format!("/v2/acme/cart/manifests/{reference}");
        let head = send(&registry, Method::HEAD, &path).await;
        assert_eq!(head.status(), 200);
        assert_eq!(header(&head, "content-length"), Some(pushed.manifest_bytes.len().to_string().as_str()));
        let got = get(&registry, &path).await;
        assert_eq!(header(&got, "docker-content-digest"), Some(digest.as_str()));
        assert_eq!(header(&got, "content-type"), Some("application/vnd.oci.image.manifest.v1+json"));
        assert_eq!(head.headers().get("docker-content-digest"), got.headers().get("docker-content-digest"));
        assert_eq!(got.bytes().await.unwrap(), pushed.manifest_bytes);
    }
    for blob in [config, &layer] {
        let path = format!("/v2/acme/cart/blobs/{blob}");
        let head = send(&registry, Method::HEAD, &path).await;
        assert_eq!((head.status(), header(&head, "docker-content-digest")), (StatusCode::OK, Some(blob)));
        let size = header(&head, "content-length").unwrap().to_owned();
        let body = get(&registry, &path).await.bytes().await.unwrap();
        assert_eq!((Digest::of(&body).to_string().as_str(), body.len().to_string()), (blob, size));
    }
    let index: Value = get(&registry, &format!("/v2/acme/cart/referrers/{digest}")).await.json().await.unwrap();
    assert_eq!(index["manifests"][0]["digest"], referrer.to_string());

    let missing = Digest::of(b"missing");
    for (path, expected_status, expected_code) in [
        (format!("/v2/acme/cart/manifests/{missing}"), 404, "MANIFEST_UNKNOWN"),
        ("/v2/acme/cart/manifests/.INVALID_MANIFEST_NAME".into(), 404, "MANIFEST_UNKNOWN"),
        ("/v2/acme/cart/manifests/sha256:baddigeststring".into(), 400, "DIGEST_INVALID"),
        (format!("/v2/acme/cart/blobs/{missing}"), 404, "BLOB_UNKNOWN"),
        ("/v2/acme/cart/referrers/sha256:bad".into(), 400, "DIGEST_INVALID"),
        ("/v2/acme/other/tags/list".into(), 404, "NAME_UNKNOWN"),
        ("/v2/Acme/cart/tags/list".into(), 400, "NAME_INVALID"),
    ] {
        let response = get(&registry, &path).await;
        assert_eq!(response.status(), expected_status, "{path}");
        assert_eq!(code(response).await, expected_code, "{path}");
    }
}

#[tokio::test]
async fn ranges_of_a_blob_are_those_of_the_conformance_suite() {
    let registry = open().await;
    let blob: Bytes = (0..2048u32).map(|n| n.to_le_bytes()[0]).collect();
    let digest = blob_raw(&registry.host(), "a", blob.clone(), &Auth::Open).await.unwrap();
    let url = format!("http://{}/v2/a/blobs/{digest}", registry.host());
    for (range, expected) in [
        ("bytes=500-1499", Some((500, 1499))),
        ("bytes=500-", Some((500, 2047))),
        ("bytes=-500", Some((1548, 2047))),
        ("bytes=2000-5000", Some((2000, 2047))),
        ("bytes=500-0", None),
        ("bytes=5000-10000", None),
    ] {
        let response = http().get(&url).header("range", range).send().await.unwrap();
        match expected {
            Some((first, last)) => {
                assert_eq!(response.status(), 206, "{range}");
                let stated = format!("bytes {first}-{last}/2048");
                assert_eq!(header(&response, "content-range"), Some(stated.as_str()));
                assert_eq!(response.bytes().await.unwrap(), blob.slice(first..=last), "{range}");
            }
            None => {
                assert_eq!(response.status(), 416, "{range}");
                assert_eq!(header(&response, "content-range"), Some("bytes */2048"));
            }
        }
    }
    let head = http().head(&url).header("range", "bytes=0-1").send().await.unwrap();
    assert_eq!((head.status(), header(&head, "accept-ranges")), (StatusCode::OK, Some("bytes")));
    assert_eq!(header(&head, "content-length"), Some("2048"));
}

#[tokio::test]
async fn an_artifact_with_sha512_digests_comes_back_under_them() {
    let registry = open().await;
    let (blob, manifest) = ("a blob", r#"{"schemaVersion":2}"#);
    let digest = ContentDigest::sha512(blob.as_bytes());
    let url = format!("http://{}/v2/a/blobs/uploads/?digest={digest}", registry.host());
    let pushed = http().post(url).body(blob).send().await.unwrap();
    assert_eq!(
        (pushed.status(), header(&pushed, "docker-content-digest").unwrap()),
        (StatusCode::CREATED, &*digest.to_string())
    );
    assert_eq!(get(&registry, &format!("/v2/a/blobs/{digest}")).await.text().await.unwrap(), blob);
    let digest = ContentDigest::sha512(manifest.as_bytes()).to_string();
    manifest_raw(&registry.host(), "a", &digest, "application/x", manifest.into(), &Auth::Open).await.unwrap();
    let got = get(&registry, &format!("/v2/a/manifests/{digest}")).await;
    assert_eq!(header(&got, "docker-content-digest"), Some(&*digest));
    assert_eq!(header(&got, "content-type"), Some("application/x"));
}

/// Follows `Link` from `path` to its end; gives the bodies.
async fn pages(registry: &DevRegistry, path: &str) -> Vec<Value> {
    let mut bodies = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let response = get(registry, &path).await;
        assert_eq!(response.status(), 200);
        next = header(&response, "link").map(|link| {
            let (target, relation) = link.split_once('>').unwrap();
            assert_eq!(relation, "; rel=\"next\"");
            target.strip_prefix('<').unwrap().to_owned()
        });
        bodies.push(response.json().await.unwrap());
    }
    bodies
}

#[tokio::test]
async fn tags_come_sorted_in_pages() {
    let registry = open().await;
    for tag in ["b", "a", "c", "e", "d"] {
        manifest_raw(&registry.host(), "x/y", tag, "application/x", Bytes::from_static(b"{}"), &Auth::Open)
            .await
            .unwrap();
    }
    let found = pages(&registry, "/v2/x/y/tags/list?n=2").await;
    let lists: Vec<_> = found.iter().map(|page| page["tags"].as_array().unwrap().len()).collect();
    assert_eq!(lists, [2, 2, 1]);
    assert_eq!(found[2]["tags"], serde_json::json!(["e"]));
    assert_eq!(pages(&registry, "/v2/x/y/tags/list?n=0").await.len(), 1, "`n=0` has no next page");
    let behind = pages(&registry, "/v2/x/y/tags/list?last=c").await;
    assert_eq!(behind[0]["tags"], serde_json::json!(["d", "e"]));
    assert_eq!(pages(&registry, "/v2/x/y/tags/list?n=99999999999").await.len(), 1);
}

#[tokio::test]
async fn referrers_come_in_pages_that_keep_the_filter() {
    let referrers = Referrers::Api { page_size: 2 };
    let registry = DevRegistry::start(Options { referrers, ..Options::default() }).await.unwrap();
    let pushed = cart(&registry, &Auth::Open).await;
    let mut bundles = Vec::new();
    for n in 0..5 {
        let json = format!("{{\"dsseEnvelope\":{n}}}");
        bundles.push(
            bundle(&registry.host(), "acme/cart", &pushed, json.as_bytes(), None, &Auth::Open)
                .await
                .unwrap()
                .to_string(),
        );
    }
    let other = format!(r#"{{"config":{{"mediaType":"x/other+y"}},"subject":{{"digest":"{}"}}}}"#, pushed.manifest);
    let (host, digest) = (registry.host(), Digest::of(other.as_bytes()).to_string());
    let other = manifest_raw(&host, "acme/cart", &digest, "application/x", other.into(), &Auth::Open);
    let other = other.await.unwrap().to_string();

    let digests = |pages: &[Value]| {
        let mut list: Vec<_> = pages
            .iter()
            .flat_map(|page| page["manifests"].as_array().unwrap())
            .map(|entry| entry["digest"].as_str().unwrap().to_owned())
            .collect();
        list.sort();
        list
    };
    let path = format!("/v2/acme/cart/referrers/{}", pushed.manifest);
    let all = pages(&registry, &path).await;
    assert_eq!(all.len(), 3);
    let mut expected = bundles.clone();
    expected.push(other.clone());
    expected.sort();
    assert_eq!(digests(&all), expected);

    let filter = "artifactType=application%2Fvnd.dev.sigstore.bundle.v0.3%2Bjson";
    let filtered = pages(&registry, &format!("{path}?{filter}")).await;
    bundles.sort();
    assert_eq!((filtered.len(), digests(&filtered)), (3, bundles));
    let by_config = get(&registry, &format!("{path}?artifactType=x/other%2By")).await;
    assert_eq!(header(&by_config, "oci-filters-applied"), Some("artifactType"));
    assert_eq!(by_config.json::<Value>().await.unwrap()["manifests"][0]["digest"], other);
    assert_eq!(status(&registry, Method::GET, &format!("{path}?last=x")).await, 400);
}

#[tokio::test]
async fn a_page_holds_at_least_one_referrer() {
    let referrers = Referrers::Api { page_size: 0 };
    let limits = Limits::default();
    let registry = DevRegistry::start(Options { referrers, limits, ..Options::default() }).await.unwrap();
    let pushed = cart(&registry, &Auth::Open).await;
    for json in ["1", "2"] {
        bundle(&registry.host(), "acme/cart", &pushed, json.as_bytes(), None, &Auth::Open).await.unwrap();
    }
    assert_eq!(pages(&registry, &format!("/v2/acme/cart/referrers/{}", pushed.manifest)).await.len(), 2);
}
