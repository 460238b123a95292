//! Stories against a running registry, told by real clients.

use super::push::{self, ConfigClaims};
use super::*;
use bytes::Bytes;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;

fn oci() -> oci_client::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    oci_client::Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..Default::default() }).unwrap()
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_another_client() {
    let registry = DevRegistry::start(Options::default()).await.unwrap();
    let wasm = Bytes::from_static(b"\0asm\x0d\0\x01\0");
    let claims = ConfigClaims::default();
    let pushed =
        push::component(&registry.host(), "acme/cart", "1.4", wasm.clone(), claims, &Auth::Open).await.unwrap();
    let reference = pushed.reference.parse().unwrap();
    let image = oci().pull(&reference, &RegistryAuth::Anonymous, vec!["application/wasm"]).await.unwrap();
    assert_eq!(image.layers[0].data, wasm);
    assert_eq!(image.digest, Some(pushed.manifest.to_string()));
    registry.stop().await;
}
