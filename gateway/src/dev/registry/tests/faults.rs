//! Each lie as a client sees it.

use std::time::{Duration, Instant};

use super::super::push::{OCI_MANIFEST, blob_raw, bundle, manifest_raw};
use super::super::{Fault, Match, Rule, Target};
use super::*;
use crate::case::Digest;

const MANIFEST: &str = "/v2/acme/cart/manifests/1.4";

/// A registry with one component, lying to manifest requests.
async fn lying(fault: Fault) -> (DevRegistry, Pushed) {
    let registry = open().await;
    let pushed = cart(&registry, &Auth::Open).await;
    registry.inject(Rule::new(Match::on(Target::Manifest), fault));
    (registry, pushed)
}

/// Head and body of a response as they were on the wire.
async fn on_the_wire(registry: &DevRegistry, path: &str) -> (String, Vec<u8>) {
    let bytes = raw(registry, path).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end + 4..].to_vec())
}

#[tokio::test]
async fn a_status_comes_with_its_body_and_headers_until_it_is_healed() {
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    let (registry, pushed) = lying(Fault::Status { code: 429, body: Bytes::from_static(b"slow down"), headers }).await;
    let response = get(&registry, MANIFEST).await;
    assert_eq!((response.status(), header(&response, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("7")));
    assert_eq!(response.text().await.unwrap(), "slow down");
    registry.heal();
    assert_eq!(get(&registry, MANIFEST).await.bytes().await.unwrap(), pushed.manifest_bytes);
}

#[tokio::test]
async fn a_hanging_registry_says_nothing_and_stops_all_the_same() {
    let (registry, _) = lying(Fault::Hang).await;
    let mut stream = ask(&registry, MANIFEST).await;
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await.is_err());
    registry.stop().await;
    assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_closed_at_once_gives_no_byte() {
    let (registry, _) = lying(Fault::CloseAtOnce).await;
    assert_eq!(raw(&registry, MANIFEST).await, b"");
    assert!(http().get(format!("http://{}{MANIFEST}", registry.host())).send().await.is_err());
}

#[tokio::test]
async fn a_truncated_body_is_shorter_than_promised() {
    let (registry, pushed) = lying(Fault::Truncate { after_bytes: 10 }).await;
    let (head, body) = on_the_wire(&registry, MANIFEST).await;
    assert!(head.contains(&format!("content-length: {}", pushed.manifest_bytes.len())), "{head}");
    assert_eq!(body, pushed.manifest_bytes[..10]);
    assert!(get(&registry, MANIFEST).await.bytes().await.is_err());
}

#[tokio::test]
async fn a_stalled_body_begins_then_falls_silent() {
    let (registry, pushed) = lying(Fault::Stall { after_bytes: 10 }).await;
    let mut response = get(&registry, MANIFEST).await;
    assert_eq!(response.chunk().await.unwrap().unwrap(), pushed.manifest_bytes.slice(..10));
    assert!(tokio::time::timeout(Duration::from_millis(200), response.chunk()).await.is_err());
}

#[tokio::test]
async fn other_bytes_come_under_the_same_digest() {
    for (fault, change) in [(Fault::WrongBytes(Bytes::from_static(b"other")), "other"), (Fault::ExtraByte, "extra")] {
        let (registry, pushed) = lying(fault).await;
        let response = get(&registry, &format!("/v2/acme/cart/manifests/{}", pushed.manifest)).await;
        assert_eq!(header(&response, "docker-content-digest"), Some(&*pushed.manifest.to_string()));
        let body = response.bytes().await.unwrap();
        match change {
            "other" => assert_eq!(body, "other"),
            _ => assert_eq!(body[..body.len() - 1], pushed.manifest_bytes),
        }
    }
}

#[tokio::test]
async fn headers_lie_for_get_and_head_alike() {
    let digest = |response: &Response| header(response, "docker-content-digest").map(str::to_owned);
    for method in [Method::GET, Method::HEAD] {
        let (registry, pushed) = lying(Fault::WrongDigestHeader).await;
        let told = digest(&send(&registry, method.clone(), MANIFEST).await).unwrap();
        assert!(told.parse::<Digest>().is_ok_and(|told| told != pushed.manifest));

        let (name, value) = ("Docker-Content-Digest".to_owned(), "sha512:00".to_owned());
        let (registry, _) = lying(Fault::Header { name, value }).await;
        assert_eq!(digest(&send(&registry, method.clone(), MANIFEST).await).as_deref(), Some("sha512:00"));

        let (registry, _) = lying(Fault::WithoutHeader("Docker-Content-Digest".into())).await;
        assert_eq!(digest(&send(&registry, method.clone(), MANIFEST).await), None);

        let (registry, _) = lying(Fault::WrongMediaType("text/html".into())).await;
        assert_eq!(header(&send(&registry, method.clone(), MANIFEST).await, "content-type"), Some("text/html"));

        let (registry, pushed) = lying(Fault::ContentEncoding("gzip".into())).await;
        let response = send(&registry, method, MANIFEST).await;
        assert_eq!(header(&response, "content-encoding"), Some("gzip"));
        assert_eq!(header(&response, "content-length"), Some(&*pushed.manifest_bytes.len().to_string()));
    }
}

#[tokio::test]
async fn a_claimed_length_is_sent_as_claimed_with_the_whole_body() {
    for claimed in [1, 1_000_000] {
        let (registry, pushed) = lying(Fault::ContentLength { claimed }).await;
        let (head, body) = on_the_wire(&registry, MANIFEST).await;
        assert!(head.contains(&format!("content-length: {claimed}\r\n")), "{head}");
        assert_eq!(body, pushed.manifest_bytes);
    }
    let (registry, pushed) = lying(Fault::WithoutHeader("content-length".into())).await;
    let (head, body) = on_the_wire(&registry, MANIFEST).await;
    assert!(!head.contains("content-length") && body == pushed.manifest_bytes, "{head}");
}

#[tokio::test]
async fn a_redirect_points_where_it_was_told() {
    let location = "http://169.254.169.254/latest/".to_owned();
    let (registry, _) = lying(Fault::Redirect { location: location.clone(), status: 307 }).await;
    let response = get(&registry, MANIFEST).await;
    assert_eq!((response.status(), header(&response, "location")), (StatusCode::TEMPORARY_REDIRECT, Some(&*location)));
}

#[tokio::test]
async fn a_flood_is_as_long_as_asked_or_endless() {
    let (registry, _) = lying(Fault::Flood { bytes: 200_000 }).await;
    let response = get(&registry, MANIFEST).await;
    assert_eq!(header(&response, "content-length"), None);
    assert_eq!(response.bytes().await.unwrap().len(), 200_000);
    let (registry, _) = lying(Fault::Flood { bytes: u64::MAX }).await;
    let mut response = get(&registry, MANIFEST).await;
    let mut read = 0;
    while read < 10_000_000 {
        read += response.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_header_flood_never_ends_the_head() {
    let (registry, _) = lying(Fault::HeaderFlood { bytes: 100_000 }).await;
    let mut stream = ask(&registry, MANIFEST).await;
    let mut head = vec![0; 17 + 98 * 1024];
    stream.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\nx-flood: aaa"));
    assert!(!head.windows(4).any(|window| window == b"\r\n\r\n"));
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await.is_err());
    let (registry, _) = lying(Fault::HeaderFlood { bytes: u64::MAX }).await;
    assert!(http().get(format!("http://{}{MANIFEST}", registry.host())).send().await.is_err());
}

#[tokio::test]
async fn a_dripping_body_is_whole_in_the_end() {
    let (registry, pushed) = lying(Fault::Drip { bytes_per_second: 1000 }).await;
    let start = Instant::now();
    assert_eq!(get(&registry, MANIFEST).await.bytes().await.unwrap(), pushed.manifest_bytes);
    // 416 bytes or more in pieces of 50, each behind a pause of 50 ms.
    assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
}

#[tokio::test]
async fn garbage_is_no_http() {
    let (registry, _) = lying(Fault::Garbage).await;
    assert!(!raw(&registry, MANIFEST).await.starts_with(b"HTTP/"));
    assert!(http().get(format!("http://{}{MANIFEST}", registry.host())).send().await.is_err());
}

#[tokio::test]
async fn a_flipped_tag_is_honest_about_the_other_manifest() {
    let registry = open().await;
    let pushed = cart(&registry, &Auth::Open).await;
    let other = Bytes::from_static(b"{\"schemaVersion\":2}");
    let to =
        manifest_raw(&registry.host(), "acme/cart", "evil", OCI_MANIFEST, other.clone(), &Auth::Open).await.unwrap();
    registry.inject(Rule::new(Match::on(Target::Manifest).tag("1.4").from_nth(2), Fault::FlipTag { to }));
    assert_eq!(get(&registry, MANIFEST).await.bytes().await.unwrap(), pushed.manifest_bytes);
    let second = get(&registry, MANIFEST).await;
    assert_eq!(header(&second, "docker-content-digest"), Some(&*to.to_string()));
    assert_eq!(second.bytes().await.unwrap(), other);
}

#[tokio::test]
async fn a_lying_challenge_comes_before_the_honest_one() {
    let auth = Auth::Bearer { username: "alice".into(), password: "hunter2".into() };
    let registry = with_auth(auth.clone()).await;
    cart(&registry, &auth).await;
    let www_authenticate = "Bearer realm=\"http://169.254.169.254/steal\",service=\"x\"".to_owned();
    let fault = Fault::Challenge { www_authenticate: www_authenticate.clone() };
    registry.inject(Rule::new(Match::on(Target::Manifest), fault));
    let response = get(&registry, MANIFEST).await;
    assert_eq!(
        (response.status(), header(&response, "www-authenticate")),
        (StatusCode::UNAUTHORIZED, Some(&*www_authenticate))
    );
}

#[tokio::test]
async fn an_altering_fault_leaves_the_way_in_alone() {
    let auth = Auth::Bearer { username: "alice".into(), password: "hunter2".into() };
    let registry = with_auth(auth.clone()).await;
    let pushed = cart(&registry, &auth).await;
    registry.inject(Rule::new(Match::on(Target::Manifest).times(1), Fault::ExtraByte));
    assert_eq!(get(&registry, MANIFEST).await.status(), 401, "this request is not counted");
    let alice = oci_client::secrets::RegistryAuth::Basic("alice".into(), "hunter2".into());
    let pulled = oci().pull_manifest_raw(&pushed.reference.parse().unwrap(), &alice, &[OCI_MANIFEST]).await;
    assert!(pulled.is_err(), "one byte too many under the header's digest");
}

#[tokio::test]
async fn the_token_endpoint_lies_too() {
    let auth = Auth::Bearer { username: "alice".into(), password: "hunter2".into() };
    let registry = with_auth(auth).await;
    let body = Bytes::from_static(b"{\"token\":\"a\\nb\"}");
    registry.inject(Rule::new(Match::on(Target::Token).times(1), Fault::TokenBody(body.clone())));
    let response = get(&registry, "/token").await;
    assert_eq!((response.status(), header(&response, "content-type")), (StatusCode::OK, Some("application/json")));
    assert_eq!(response.bytes().await.unwrap(), body);
    registry.inject(Rule::new(Match::on(Target::Token), Fault::Flood { bytes: 1_000_000 }));
    assert_eq!(get(&registry, "/token").await.bytes().await.unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn targets_tell_endpoints_apart() {
    let registry = open().await;
    let pushed = cart(&registry, &Auth::Open).await;
    bundle(&registry.host(), "acme/cart", &pushed, b"{}", None, &Auth::Open).await.unwrap();
    let stray = blob_raw(&registry.host(), "acme/cart", Bytes::from_static(b"stray"), &Auth::Open).await.unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&pushed.manifest_bytes).unwrap();
    let config = format!("/v2/acme/cart/blobs/{}", manifest["config"]["digest"].as_str().unwrap());
    let layer = format!("/v2/acme/cart/blobs/{}", pushed.component);
    let stray = format!("/v2/acme/cart/blobs/{stray}");
    let by_digest = format!("/v2/acme/cart/manifests/{}", pushed.manifest);
    let referrers = format!("/v2/acme/cart/referrers/{}", pushed.manifest);
    let paths =
        ["/v2/", MANIFEST, &by_digest, &config, &layer, &stray, "/v2/acme/cart/tags/list", &referrers, "/nowhere"];
    for (on, struck) in [
        (Match::on(Target::Ping), vec![0]),
        (Match::on(Target::Manifest), vec![1, 2]),
        (Match::on(Target::Manifest).digest(pushed.manifest), vec![1, 2]),
        (Match::on(Target::Manifest).tag("1.4"), vec![1]),
        (Match::on(Target::Config), vec![3]),
        (Match::on(Target::Layer), vec![4, 5]),
        (Match::on(Target::Blob), vec![3, 4, 5]),
        (Match::on(Target::Blob).digest(pushed.component), vec![4]),
        (Match::on(Target::Tags), vec![6]),
        (Match::on(Target::Referrers), vec![7]),
        (Match::default().repository("acme/cart"), vec![1, 2, 3, 4, 5, 6, 7]),
        (Match::default().method(Method::HEAD), vec![]),
        (Match::default(), vec![0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ] {
        registry.heal();
        let teapot = Fault::Status { code: 418, body: Bytes::new(), headers: Vec::new() };
        registry.inject(Rule::new(on.clone(), teapot));
        let mut found = Vec::new();
        for (n, path) in paths.iter().enumerate() {
            if get(&registry, path).await.status() == 418 {
                found.push(n);
            }
        }
        assert_eq!(found, struck, "{on:?}");
    }
}
