//! wasmCloud's own crates: their tokens before our verifier, and the embedded signer's before theirs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use witgate::dev::deployment::{SignedBy, policy_data};
use witgate::dev::wascap::Account;
use witgate_tests::{World, components, free_address, rejected};

use crate::{program, refuse, run, succeed, witgate};

/// Tokens of three years, from the package of wascap 0.16.2: the file, its section, its revision, its name.
const FIXTURES: [(&str, &str, Option<i64>, &str); 3] = [
    ("examples/signed_loop.wasm", "jwt", None, "Secure Actor"),
    ("fixtures/logger.wasm", "jwt", None, "Logger"),
    ("fixtures/echo_messaging_v0.9.0.wasm", "wasmcloud_jwt", Some(2), "Echo Messaging"),
];

/// The old signer and verifier.
fn peer() -> Command {
    Command::new(program("WITGATE_INTEROP_WASCAP"))
}

/// What `witgate inspect` says of the token in `file`.
fn inspect(file: &Path) -> Value {
    let output = run(witgate(file.parent().unwrap()).args(["inspect", "--output", "json"]).arg(file));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["wascap"].clone()
}

/// Issuer and subject, as the peer prints them.
fn names(printed: &str) -> (String, String) {
    let (issuer, subject) = printed.trim_end().split_once(' ').unwrap();
    (issuer.to_owned(), subject.to_owned())
}

#[test]
fn a_token_that_wascap_makes_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (wasm, signed) = (folder.path().join("cart.wasm"), folder.path().join("signed.wasm"));
    std::fs::write(&wasm, components::command("cart\n")).unwrap();
    let printed = succeed(peer().arg("sign").arg(&wasm).arg(&signed).arg("30"));
    let token = inspect(&signed);
    assert_eq!((&token["status"], &token["code"]), (&json!("verified"), &Value::Null), "{token}");
    let shown = |name: &str| token[name].as_str().unwrap().to_owned();
    assert_eq!((shown("issuer"), shown("subject")), names(&printed));
    assert_eq!((shown("name"), shown("section")), ("cart".into(), "wasmcloud_jwt".into()));
    assert_eq!([&token["signature"], &token["hash"], &token["validity"]], ["ok", "ok", "ok"]);
    assert_eq!(token["revision"], 3);

    // The token on other bytes, and the bytes with the token changed: neither of us takes them.
    let mut bytes = std::fs::read(&signed).unwrap();
    let at = bytes.windows(5).position(|window| window == b"cart\n").unwrap();
    bytes[at] = b'C';
    std::fs::write(&wasm, &bytes).unwrap();
    assert_eq!(inspect(&wasm)["code"], "subject-mismatch");
    assert!(!run(peer().args(["verify", "component"]).arg(&wasm)).status.success());
    let mut bytes = std::fs::read(&signed).unwrap();
    let last = bytes.len() - 3;
    bytes[last] = if bytes[last] == b'A' { b'B' } else { b'A' };
    std::fs::write(&wasm, &bytes).unwrap();
    assert_eq!(inspect(&wasm)["code"], "signature-invalid");
    assert!(!run(peer().args(["verify", "component"]).arg(&wasm)).status.success());
}

#[test]
fn archives_that_wascap_makes_verify() {
    let folder = tempfile::tempdir().unwrap();
    for (packing, name) in [("plain", "kv.par"), ("gzip", "kv.par.gz")] {
        let file = folder.path().join(name);
        let printed = succeed(peer().args(["archive", packing]).arg(&file));
        succeed(witgate(folder.path()).arg("inspect").arg(&file));
        let token = inspect(&file);
        assert_eq!((&token["status"], &token["kind"]), (&json!("verified"), &json!("provider")), "{token}");
        let shown = |name: &str| token[name].as_str().unwrap().to_owned();
        assert_eq!((shown("issuer"), shown("subject")), names(&printed));
    }
    let file = folder.path().join("kv.par");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(4).position(|window| window == b"\x7fELF").unwrap();
    bytes[at + 100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(inspect(&file)["code"], "subject-mismatch");
    refuse(witgate(folder.path()).arg("inspect").arg(&file), "without a good token");
    assert!(!run(peer().args(["verify", "provider"]).arg(&file)).status.success());
}

#[test]
fn tokens_of_the_field_are_signed_but_bound_to_nothing() {
    let package = program("WITGATE_INTEROP_WASCAP_PACKAGE");
    for (file, section, revision, name) in FIXTURES {
        let token = inspect(&package.join(file));
        let said = (&token["status"], &token["code"], &token["signature"]);
        assert_eq!(said, (&json!("rejected"), &json!("token-unbound"), &json!("ok")), "{file}: {token}");
        assert_eq!((&token["section"], &token["revision"]), (&json!(section), &json!(revision)), "{file}");
        let printed = succeed(peer().args(["verify", "component"]).arg(package.join(file)));
        let shown = |name: &str| token[name].as_str().unwrap().to_owned();
        assert_eq!((shown("issuer"), shown("subject")), names(&printed), "{file}");
        assert_eq!(token["name"], name);
    }
}

#[test]
fn wascap_takes_what_the_embedded_signer_signs() {
    let folder = tempfile::tempdir().unwrap();
    let account = Account::generate().unwrap();
    let component = folder.path().join("component.wasm");
    std::fs::write(&component, account.sign(&components::command("cart\n"))).unwrap();
    let printed = succeed(peer().args(["verify", "component"]).arg(&component));
    assert_eq!(names(&printed), (account.issuer(), account.module()));

    let archive = folder.path().join("provider.par");
    let entries = BTreeMap::from([("x86_64-linux", &b"\x7fELF"[..]), ("world.wasm", b"\0asm\x0d\0\x01\0")]);
    std::fs::write(&archive, account.provider_archive(&entries)).unwrap();
    let printed = succeed(peer().args(["verify", "provider"]).arg(&archive));
    assert_eq!(names(&printed), (account.issuer(), account.service()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_admits_on_a_real_token_until_the_sunset() {
    let folder = tempfile::tempdir().unwrap();
    let (wasm, signed) = (folder.path().join("cart.wasm"), folder.path().join("signed.wasm"));
    std::fs::write(&wasm, components::command("cart\n")).unwrap();
    let (issuer, _) = names(&succeed(peer().arg("sign").arg(&wasm).arg(&signed).arg("30")));
    let address = free_address();
    let mut data = policy_data(&address.to_string());
    let sunset = witgate::case::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    data["witgate"]["wascap"] = json!([{"references": ["*"], "issuers": [issuer], "sunset": sunset}]);
    let world = World::with(|setup| {
        setup.registry.listen = address;
        setup.policy_data = Some(data);
    })
    .await;
    let pushed = world.publish_signed("cart", std::fs::read(&signed).unwrap(), SignedBy::Nobody).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["warnings"][0]["code"], "legacy-signature");

    let package = program("WITGATE_INTEROP_WASCAP_PACKAGE");
    for (file, ..) in FIXTURES {
        let old = std::fs::read(package.join(file)).unwrap();
        let pushed = world.publish_signed("old", old, SignedBy::Nobody).await;
        // They are core modules: no token helps them.
        let record = world.refused(json!({"reference": pushed.reference}), "component-unreadable").await;
        assert_eq!(rejected(&record), ["token-unbound"], "{file}");
    }
}
