//! wash, wasmCloud's shell: its `oci pull` gets what is admitted, and says why not.

use std::process::Command;

use serde_json::json;
use witgate::case::Timestamp;
use witgate::dev::tokens::{KeyKind, TokenSigner};
use witgate_tests::components;

use super::{Door, HELLO, Over, fail, remote, tells_why};
use crate::{program, succeed};

/// `wash oci pull` of it into `pulled.wasm`, in these words.
pub(super) fn pull(door: &Door, reference: &str) -> Command {
    let mut command = door.client(program("WITGATE_INTEROP_WASH"));
    command.args(["oci", "pull", reference, "pulled.wasm"]);
    command
}

fn pulled(door: &Door) -> Vec<u8> {
    let bytes = std::fs::read(door.path("pulled.wasm")).unwrap();
    std::fs::remove_file(door.path("pulled.wasm")).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn wash_pulls_what_is_admitted_and_says_why_it_may_not() {
    let door = Door::open(Over::Tls).await;
    // As the page has it.
    let words = door.command("export SPIFFE_ENDPOINT_SOCKET", "wash oci pull");
    succeed(door.client(program("WITGATE_INTEROP_WASH")).args(words));
    assert_eq!(std::fs::read(door.path("web.wasm")).unwrap(), components::http(HELLO));

    for reference in [door.tagged(&door.good), door.by_digest(&door.good)] {
        succeed(pull(&door, &reference).args(["--ca-path", "ca.crt"]));
        assert_eq!(pulled(&door), components::http(HELLO), "{reference}");
    }
    for (asked, named) in [
        (door.tagged(&door.unsigned), remote(&door.unsigned)),
        (door.by_digest(&door.unsigned), door.by_digest(&door.unsigned).replace(&format!("{}/", door.host()), "")),
    ] {
        tells_why(&fail(pull(&door, &asked).args(["--ca-path", "ca.crt"])), &named);
        assert!(!door.path("pulled.wasm").exists(), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wash_shows_a_token_as_the_password() {
    let door = Door::open(Over::Http).await;
    std::fs::remove_file(door.path(".docker/config.json")).unwrap();
    let (good, token) = (door.tagged(&door.good), door.token());
    let nobody = fail(pull(&door, &good).arg("--insecure"));
    assert!(nobody.contains("Not authorized"), "{nobody}");
    succeed(pull(&door, &good).args(["--insecure", "--user", "anybody", "--password", &token]));
    assert_eq!(pulled(&door), components::http(HELLO));
    // A token that is not one.
    let forged = format!("{token}x");
    let said = fail(pull(&door, &good).args(["--insecure", "--user", "anybody", "--password", &forged]));
    assert!(said.contains("Not authorized") && !said.contains("witgate: refused"), "{said}");
}

/// A host of Kubernetes has a file with a token of its service account, and no SPIRE.
#[tokio::test(flavor = "multi_thread")]
async fn wash_shows_the_token_of_a_file() {
    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
    let cluster = TokenSigner::new("k8s-1", KeyKind::Rsa).unwrap();
    let mut door = Door::open_with(Over::Tls, |door, configuration| {
        door.write("k8s.jwks.json", &TokenSigner::jwks(&[&cluster]));
        let table = format!(
            "[identity.oidc.k8s]\nissuer = \"{ISSUER}\"\naudience = \"https://{}\"\njwks = \"k8s.jwks.json\"\n\
             caller = \"{{/kubernetes.io/namespace}}/{{/kubernetes.io/serviceaccount/name}}\"\n",
            door.host()
        );
        configuration.replace("callers = [", "callers = [\"oidc:k8s/wasmcloud/*\", ") + &table
    })
    .await;
    let token = |account: &str| {
        cluster.token(&json!({
            "iss": ISSUER, "sub": format!("system:serviceaccount:wasmcloud:{account}"),
            "aud": [format!("https://{}", door.host())],
            "exp": Timestamp::now().as_second() + 3607, "iat": Timestamp::now().as_second(),
            "kubernetes.io": {"namespace": "wasmcloud", "serviceaccount": {"name": account, "uid": "0b1f"}},
        }))
    };
    let (host, other) = (token("host"), token("other"));
    let mut policy = door.policy();
    policy["witgate"]["grants"][0]["callers"] = json!(["oidc:k8s/wasmcloud/host"]);
    door.serve(&policy).await;
    let ask = |token: &str| {
        door.write("token", token);
        let mut command = pull(&door, &door.tagged(&door.good));
        command.args(["--ca-path", "ca.crt"]).env_remove("SPIFFE_ENDPOINT_SOCKET");
        for line in door.example("export WITGATE_CREDENTIAL_TOKEN_FILE").lines() {
            for (name, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
                command.env(name, value.replace("/var/run/secrets/witgate", &door.home().display().to_string()));
            }
        }
        command
    };
    succeed(&mut ask(&host));
    assert_eq!(pulled(&door), components::http(HELLO));
    // Somebody who is granted nothing behind a private registry hears that there is nothing.
    let said = fail(&mut ask(&other));
    assert!(said.contains("is unknown"), "{said}");
}
