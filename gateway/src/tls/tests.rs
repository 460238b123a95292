//! What the accept loop answers to good, bad and slow peers over real sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, routing::get};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::dev::spiffe::{Answer, Flaw, Issued, Leaf, SpiffeCa, Svid, WorkloadApi};
use crate::identity::Settings;

fn now() -> Timestamp {
    Timestamp::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_caller_is_served() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = TempDir::new().unwrap();
    let ca = SpiffeCa::new("gate.example", now()).unwrap();
    let gate = ca.issue("/witgate/gateway", &Leaf::new(now())).unwrap();
    let api =
        WorkloadApi::start(&folder.path().join("gate.sock"), Answer::Issued(Issued::new(&ca, &gate))).await.unwrap();
    let settings = Settings {
        trust_domains: vec!["gate.example".into()],
        callers: vec!["spiffe://gate.example/host/*".into()],
        workload_api: Some(api.endpoint()),
        files: None,
        sync_timeout_ms: 3_000,
    };
    let identity = Arc::new(Identity::start(&settings).await.unwrap());
    assert_eq!(identity.spiffe_id().unwrap(), "spiffe://gate.example/witgate/gateway");
}
