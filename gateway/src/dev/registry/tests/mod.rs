//! Stories against a running registry, told by real clients over real sockets.

mod access;
mod faults;
mod limits;
mod pull;
mod push;

use bytes::Bytes;
use oci_client::client::{ClientConfig, ClientProtocol};
use reqwest::{Method, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::push::{ConfigClaims, Pushed, component};
use super::{Auth, DevRegistry, Options};

async fn open() -> DevRegistry {
    DevRegistry::start(Options::default()).await.unwrap()
}

async fn with_auth(auth: Auth) -> DevRegistry {
    DevRegistry::start(Options { auth, ..Options::default() }).await.unwrap()
}

fn wasm() -> Bytes {
    Bytes::from_static(b"\0asm\x0d\0\x01\0")
}

/// A component at `acme/cart:1.4`.
async fn cart(registry: &DevRegistry, auth: &Auth) -> Pushed {
    component(&registry.host(), "acme/cart", "1.4", wasm(), ConfigClaims::default(), auth).await.unwrap()
}

/// The client whose pushes and pulls the ecosystem uses.
fn oci() -> oci_client::Client {
    install_provider();
    oci_client::Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..Default::default() }).unwrap()
}

fn http() -> reqwest::Client {
    install_provider();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

async fn send(registry: &DevRegistry, method: Method, path: &str) -> Response {
    http().request(method, format!("http://{}{path}", registry.host())).send().await.unwrap()
}

async fn get(registry: &DevRegistry, path: &str) -> Response {
    send(registry, Method::GET, path).await
}

async fn status(registry: &DevRegistry, method: Method, path: &str) -> StatusCode {
    send(registry, method, path).await.status()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The code in an error body of distribution-spec.
async fn code(response: Response) -> String {
    let body: serde_json::Value = response.json().await.unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

/// A connection that has just asked for `path`.
async fn ask(registry: &DevRegistry, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(registry.address()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", registry.host()).as_bytes()).await.unwrap();
    stream
}

/// Every byte that comes back until the registry closes.
async fn raw(registry: &DevRegistry, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    ask(registry, path).await.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn dropping_it_closes_connections_and_the_door() {
    let registry = open().await;
    let address = registry.address();
    let mut idle = ask(&registry, "/v2/").await;
    let mut first = [0; 1];
    idle.read_exact(&mut first).await.unwrap();
    drop(registry);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();

    let registry = open().await;
    let other = registry.address();
    registry.stop().await;
    assert!(TcpStream::connect(other).await.is_err(), "{other} still listens after stop; {address} was dropped");
}

#[tokio::test]
async fn requests_are_remembered_without_secrets_in_debug() {
    let registry = open().await;
    let url = format!("http://{}/v2/acme/cart/tags/list?n=3", registry.host());
    http().get(url).basic_auth("alice", Some("hunter2")).send().await.unwrap();
    let seen = registry.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/v2/acme/cart/tags/list"));
    assert_eq!(seen[0].query.as_deref(), Some("n=3"));
    assert_eq!(seen[0].authorization.as_deref(), Some("Basic YWxpY2U6aHVudGVyMg=="));
    assert_eq!(format!("{:?}", seen[0]), "GET /v2/acme/cart/tags/list?n=3 (Basic)");
}
