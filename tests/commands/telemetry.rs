//! What operators see of a running `serve`: spans at a collector, metrics, an orderly stop.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::let_local_ask;
use super::served::Served;

/// An OTLP/HTTP collector that keeps what it is sent.
async fn collector(kept: Arc<Mutex<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = peer.read(&mut buffer).await {
                    kept.lock().unwrap().extend_from_slice(buffer.get(..read).unwrap_or_default());
                    let _ = peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_named_as_the_stages_reach_the_collector() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    let_local_ask(home.path());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let url = collector(kept.clone()).await;
    let served = Served::start_with(home.path(), &[("WITGATE_TELEMETRY__OTLP_ENDPOINT", &url)]);
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let asked = client.post(format!("{}/v1/admissions", served.callers));
    let answer = asked.json(&serde_json::json!({"reference": "127.0.0.1:1/acme/cart:1"})).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    // What was not sent yet is sent at the stop, and the stop ends well.
    let ended = tokio::task::spawn_blocking(move || served.stop()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    let kept = kept.lock().unwrap();
    let text = String::from_utf8_lossy(&kept);
    assert!(text.starts_with("POST /v1/traces HTTP/1.1"), "{text}");
    assert!(text.contains("registry") && text.contains("witgate"), "{text}");
}
