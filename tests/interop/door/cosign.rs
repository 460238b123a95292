//! cosign through the door: the evidence of what was admitted comes with it, though the registry behind has no referrers API.

use std::process::Command;

use serde_json::Value;
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::push::Pushed;

use super::{Door, Over, fail, tells_why};
use crate::{program, succeed};

pub(super) fn verify(door: &Door, reference: &str, signer: &str) -> Command {
    let mut command = door.client(program("WITGATE_INTEROP_COSIGN"));
    command.args(["verify", "--registry-cacert", "ca.crt", "--trusted-root"]);
    command.arg(door.world.folder().join("trusted_root.json"));
    command.args(["--certificate-identity", signer, "--certificate-oidc-issuer", ISSUER, reference]);
    command
}

fn referrers(pushed: &Pushed) -> String {
    format!("acme/web/referrers/{}", pushed.manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_verifies_through_the_gateway_what_it_admits() {
    let door = Door::open(Over::Tls).await;
    assert_eq!(door.registry.status(&referrers(&door.good)).await, 404, "this registry has no referrers API");
    for reference in [door.tagged(&door.good), door.by_digest(&door.good)] {
        let found: Value = serde_json::from_str(&succeed(&mut verify(&door, &reference, SIGNER))).unwrap();
        let digest = &found[0]["critical"]["image"]["docker-manifest-digest"];
        assert_eq!(*digest, door.good.manifest.to_string(), "{found}");
    }
    let said = fail(&mut verify(&door, &door.tagged(&door.good), "https://example.com/somebody/else"));
    assert!(said.contains("no matching "), "{said}");
    let said = fail(&mut verify(&door, &door.tagged(&door.unsigned), SIGNER));
    tells_why(&said, &super::remote(&door.unsigned));
}
