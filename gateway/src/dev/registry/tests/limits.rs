//! Limits: at each one and past it.

use super::super::push::{blob_raw, manifest_raw};
use super::super::{Limits, MAX_SEEN_REQUESTS};
use super::*;

async fn small(limits: Limits) -> DevRegistry {
    DevRegistry::start(Options { limits, ..Options::default() }).await.unwrap()
}

fn bytes(size: usize) -> Bytes {
    vec![b'x'; size].into()
}

#[tokio::test]
async fn a_manifest_and_a_blob_are_taken_at_their_limit_and_refused_past_it() {
    let registry = small(Limits { manifest_bytes: 100, blob_bytes: 200, total_bytes: 10_000 }).await;
    let host = registry.host();
    manifest_raw(&host, "a", "t", "application/x", bytes(100), &Auth::Open).await.unwrap();
    let past = manifest_raw(&host, "a", "t", "application/x", bytes(101), &Auth::Open).await.unwrap_err();
    assert!(past.to_string().contains("413"), "{past}");
    blob_raw(&host, "a", bytes(200), &Auth::Open).await.unwrap();
    let past = blob_raw(&host, "a", bytes(201), &Auth::Open).await.unwrap_err();
    assert!(past.to_string().contains("413"), "{past}");
}

#[tokio::test]
async fn chunks_add_up_to_the_blob_limit() {
    let registry = small(Limits { blob_bytes: 200, ..Limits::default() }).await;
    let started = send(&registry, Method::POST, "/v2/a/blobs/uploads/").await;
    let url = format!("http://{}{}", registry.host(), header(&started, "location").unwrap());
    let patch = |size| http().patch(&url).body(bytes(size)).send();
    assert_eq!(patch(150).await.unwrap().status(), 202);
    assert_eq!(patch(51).await.unwrap().status(), 413);
    assert_eq!(patch(50).await.unwrap().status(), 202);
    assert_eq!(patch(1).await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_at_the_limit() {
    let registry = small(Limits { manifest_bytes: 100, ..Limits::default() }).await;
    let url = format!("http://{}/v2/a/manifests/t", registry.host());
    for (chunks, expected) in [(10, 201), (11, 413)] {
        let stream = futures::stream::iter((0..chunks).map(|_| Ok::<_, std::io::Error>(bytes(10))));
        let put = http().put(&url).header("content-type", "application/x").body(reqwest::Body::wrap_stream(stream));
        assert_eq!(put.send().await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn everything_together_is_bounded_and_deletion_makes_room() {
    let registry = small(Limits { total_bytes: 100, ..Limits::default() }).await;
    let host = registry.host();
    let first = blob_raw(&host, "a", bytes(100), &Auth::Open).await.unwrap();
    let past = blob_raw(&host, "a", Bytes::from_static(b"y"), &Auth::Open).await.unwrap_err();
    assert!(past.to_string().contains("507"), "{past}");
    assert_eq!(status(&registry, Method::DELETE, &format!("/v2/a/blobs/{first}")).await, 202);
    blob_raw(&host, "a", bytes(50), &Auth::Open).await.unwrap();
    manifest_raw(&host, "a", "t", "application/x", bytes(50), &Auth::Open).await.unwrap();
    let past = manifest_raw(&host, "a", "u", "application/x", bytes(1), &Auth::Open).await.unwrap_err();
    assert!(past.to_string().contains("507"), "{past}");
}

#[tokio::test]
async fn unfinished_uploads_are_bounded() {
    let registry = open().await;
    let client = http();
    let url = format!("http://{}/v2/a/blobs/uploads/", registry.host());
    for _ in 0..256 {
        assert_eq!(client.post(&url).send().await.unwrap().status(), 202);
    }
    let past = client.post(&url).send().await.unwrap();
    assert_eq!(past.status(), 429);
    assert_eq!(code(past).await, "TOOMANYREQUESTS");
}

#[tokio::test]
async fn the_oldest_request_is_forgotten_first() {
    let registry = open().await;
    let mut stream = TcpStream::connect(registry.address()).await.unwrap();
    // Pipelined, so that ten thousand requests take no ten thousand round trips.
    let (mut reader, mut writer) = stream.split();
    let ask = async {
        for n in 0..=MAX_SEEN_REQUESTS {
            writer.write_all(format!("GET /v2/?{n} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    };
    let mut answers = Vec::new();
    let (read, ()) = tokio::join!(reader.read_to_end(&mut answers), ask);
    read.unwrap();
    let seen = registry.requests();
    assert_eq!(seen.len(), MAX_SEEN_REQUESTS);
    assert_eq!(seen[0].query.as_deref(), Some("1"), "request 0 is forgotten");
}
