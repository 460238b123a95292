//! Offline is proven: the built binary verifies in a network namespace without any network.

use std::path::Path;
use std::process::{Command, Output};

use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::push::{self, ConfigClaims};
use witgate::dev::registry::{Auth, DevRegistry, Options};
use witgate::dev::sigstore::{Sign, Sigstore};

use super::{granted, let_local_ask, run, stderr, stdout};

/// Runs `witgate` where there is not even a loopback device that is up; none where the system gives no namespace.
fn run_alone(home: &Path, arguments: &[&str]) -> Option<Output> {
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--", env!("CARGO_BIN_EXE_witgate")])
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("NO_COLOR", "1")
        .env("WITGATE_EVIDENCE__OFFLINE", "true")
        .env("WITGATE_POLICY__DATA", granted(home))
        .output();
    let told = |why: &str| {
        assert!(std::env::var_os("CI").is_none(), "CI must tell this, but {why}");
        eprintln!("not told here: {why}");
    };
    match child {
        Ok(output) if stderr(&output).contains("unshare failed") => told(&stderr(&output)),
        Ok(output) => return Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => told("`unshare` is not installed"),
        Err(error) => panic!("{error}"),
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_verified_without_any_network() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    let_local_ask(home.path());
    let now = Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let sigstore = Sigstore::new(now).unwrap();
    let wasm = witgate::dev::components::command("offline\n");
    let bundle = sigstore.sign(Sign::cosign(Digest::of(&wasm), SIGNER, ISSUER, now)).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (file, bundle) = (write("cart.wasm", &wasm), write("cart.sigstore.json", &bundle));
    let root = write("trusted_root.json", sigstore.trusted_root_json().as_bytes());
    let verify = |file: &str| {
        let by = ["--certificate-identity", SIGNER, "--certificate-oidc-issuer", ISSUER];
        let mut arguments = vec!["verify", file, "--bundle", &bundle, "--trusted-root", &root];
        arguments.extend(by);
        run_alone(home.path(), &arguments)
    };
    let Some(output) = verify(&file) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("verified"), "{}", stdout(&output));
    // It does look: another file is refused there.
    let other = write("other.wasm", b"other");
    assert_eq!(verify(&other).unwrap().status.code(), Some(1));
    // The namespace is what it should be: who needs the network gets nowhere in it, and does outside.
    let registry = DevRegistry::start(Options::default()).await.unwrap();
    let claims = ConfigClaims::default();
    let pushed = push::component(&registry.host(), "acme/cart", "1", wasm.into(), claims, &Auth::Open).await.unwrap();
    assert_eq!(run_alone(home.path(), &["admit", &pushed.reference]).unwrap().status.code(), Some(3));
    assert_eq!(run(home.path(), &["admit", &pushed.reference]).status.code(), Some(1));
}
