//! The same clients where the gateway's challenge is Bearer: they show the credential at `/token`, and what they get there afterwards.

use witgate::dev::deployment::SIGNER;
use witgate_tests::components;

use super::containerd::Containerd;
use super::{Door, HELLO, Over, cosign, oras, skopeo, wash};
use crate::succeed;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_its_token_where_the_challenge_is_bearer() {
    let door = Door::open_with(Over::Tls, |door, configuration| {
        let table = "[listen.registry]\n";
        let bearer = format!("{table}url = \"https://{}\"\nchallenges = [\"bearer\"]\n", door.host());
        configuration.replace(table, &bearer)
    })
    .await;
    let wasm = components::http(HELLO);
    let reference = door.tagged(&door.good);

    succeed(wash::pull(&door, &reference).args(["--ca-path", "ca.crt"]));
    assert_eq!(std::fs::read(door.path("pulled.wasm")).unwrap(), wasm);

    skopeo::set_up(&door, &skopeo::remap(&door));
    succeed(&mut skopeo::copy(&door, &reference));
    skopeo::holds(&door.path("copied"), &door.good, &wasm);

    let containerd = Containerd::start(&door).await;
    succeed(&mut containerd.fetch(&door.good));
    containerd.holds(&door.good, &wasm);

    let printed = succeed(&mut oras::pull(&door, &reference, "token"));
    assert_eq!(std::fs::read(door.path(printed.trim())).unwrap(), wasm);

    succeed(&mut cosign::verify(&door, &reference, SIGNER));
}
