//! Exit codes of design section 5: 0 admitted or fine, 1 refused, 2 usage or configuration, 3 no answer.

use std::path::Path;

use witgate::dev::components;
use witgate::dev::registry::push::{self, ConfigClaims};
use witgate::dev::registry::{Auth, DevRegistry, Options};
use witgate::dev::wascap::{Account, SECTION, embed};

use super::served::Served;
use super::{let_local_ask, run, stderr, stdout};

fn code(home: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(home, arguments);
    (output.status.code(), stdout(&output), stderr(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_1_and_reads_as_designed() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    let_local_ask(home.path());
    let registry = DevRegistry::start(Options::default()).await.unwrap();
    let wasm = components::command("x\n").into();
    let pushed = push::component(&registry.host(), "acme/cart", "1.4", wasm, ConfigClaims::default(), &Auth::Open)
        .await
        .unwrap();
    let (status, out, err) = code(home.path(), &["admit", &pushed.reference]);
    assert_eq!(status, Some(1), "{err}");
    assert!(out.is_empty(), "{out}");
    assert!(err.starts_with(&format!("witgate: error: refused `{}` (sha256:", pushed.reference)), "{err}");
    assert!(err.contains("\n  no-verified-signature"), "{err}");
    let hint = err.lines().last().unwrap();
    let id = hint.strip_prefix("witgate: hint: see the evidence with `witgate explain ").unwrap().trim_end_matches('`');
    // The hint can be typed as it stands.
    let (status, out, err) = code(home.path(), &["explain", id]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with(&format!("refused {}", pushed.reference)), "{out}");
    assert!(out.contains("no-verified-signature"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_3_and_names_the_peer() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    let_local_ask(home.path());
    let registry = DevRegistry::start(Options::default()).await.unwrap();
    let (status, _, err) = code(home.path(), &["admit", &format!("{}/acme/nothing:1", registry.host())]);
    assert_eq!(status, Some(3), "{err}");
    assert!(err.contains("unknown reference") && err.contains("witgate: hint: "), "{err}");
    let gone = registry.host();
    registry.stop().await;
    let (status, _, err) = code(home.path(), &["admit", &format!("{gone}/acme/nothing:1")]);
    assert_eq!(status, Some(3), "{err}");
    assert!(err.contains(&format!("registry `{gone}`")), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_serve_holds_is_3_and_serve_can_be_asked() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    let_local_ask(home.path());
    let registry = DevRegistry::start(Options::default()).await.unwrap();
    let wasm = components::command("x\n").into();
    let claims = ConfigClaims::default();
    let pushed = push::component(&registry.host(), "acme/cart", "1", wasm, claims, &Auth::Open).await.unwrap();
    let served = Served::start(home.path());
    let (status, _, err) = code(home.path(), &["admit", &pushed.reference]);
    assert_eq!(status, Some(3), "{err}");
    assert!(err.contains("witgate: hint: `witgate serve` holds this log: ask it with `--server`"), "{err}");
    let (status, _, err) = code(home.path(), &["admit", &pushed.reference, "--server", &served.callers]);
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("no-verified-signature"), "{err}");
    // Reading goes on beside it.
    let (status, out, err) = code(home.path(), &["log", "show"]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("refuse"), "{out}");
}

#[test]
fn what_does_not_start_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for (text, words) in [
        ("[[evidence.roots]]\nname = \"x\"\ntrusted_root = \"nowhere.json\"\n", "nowhere.json"),
        ("[policy]\ndir = \"nowhere\"\n", "nowhere"),
        ("[identity]\ntrust_domains = []\ncallers = []\n", "trust_domains"),
        // An identity that proves nobody is not none: nobody becomes `local` by it.
        ("[identity]\ncallers = [\"oidc:ci/*\"]\n", "trust_domains"),
        ("[identity]\ntrust_domains = [\"a.example\"]\ncallers = [\"spiffe://a.example\"]\n", "found 0"),
        ("[listen.registry]\naddress = \"0.0.0.0:0\"\n", "tokens are secrets"),
    ] {
        let file = home.path().join("witgate.toml");
        std::fs::write(&file, text).unwrap();
        let (status, _, err) =
            code(home.path(), &["serve", "--config", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        assert_eq!(status, Some(2), "{err}");
        assert!(err.contains(words) && err.contains("witgate: hint: "), "{err}");
    }
}

#[test]
fn a_tuf_repository_that_never_answered_is_3_and_a_bad_source_is_2() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("witgate.toml");
    let root = home.path().join("root.json");
    std::fs::write(&root, "{}").unwrap();
    for (url, expected) in [("http://127.0.0.1:9", 3), ("http://tuf.example", 2)] {
        let source = format!("{{ tuf = \"{url}\", root = \"{}\" }}", root.display());
        std::fs::write(&file, format!("[[evidence.roots]]\nname = \"x\"\ntrusted_root = {source}\n")).unwrap();
        let (status, _, err) = code(home.path(), &["serve", "--config", file.to_str().unwrap()]);
        assert_eq!(status, Some(expected), "{err}");
        assert!(err.contains(url) && err.contains("witgate: hint: "), "{err}");
    }
}

#[test]
fn usage_and_configuration_are_2() {
    let home = tempfile::tempdir().unwrap();
    let_local_ask(home.path());
    let wrong = home.path().join("wrong.toml");
    std::fs::write(&wrong, "[lisen]\n").unwrap();
    for arguments in [
        &["admit"] as &[&str],
        &["admit", "cart"],
        &["frobnicate"],
        &["serve", "--config", "nowhere.toml"],
        &["serve", "--config", wrong.to_str().unwrap()],
        &["serve", "--listen", "0.0.0.0:0"],
        &["admit", "ghcr.io.invalid/acme/cart:1"],
        &["inspect", "nowhere.wasm"],
    ] {
        let (status, _, err) = code(home.path(), arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {err}");
        assert!(err.contains("error: "), "{arguments:?}: {err}");
    }
}

#[test]
fn a8_2_a_rule_or_a_setting_that_is_misspelt_is_exit_2() {
    let home = tempfile::tempdir().unwrap();
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let identity = serde_json::json!({"issuer": "https://i.example", "san": {"kind": "uri", "value": "https://h/x"}});
    let entry = |identities: serde_json::Value| serde_json::json!({"references": ["*"], "identities": identities});
    let lists = |list: &str, entry: serde_json::Value| serde_json::json!({"witgate": {list: [entry]}}).to_string();
    let without_issuer = serde_json::json!([{"san": {"kind": "uri", "value": "https://h/x"}}]);
    let any = serde_json::json!([{"issuer": "*", "san": {"kind": "uri", "value": "https://h/x"}}]);
    let misspelt =
        serde_json::json!([{"issuer": "https://i.example", "subjectRegexp": "https://h/x", "subjectType": "uri"}]);
    let mut typo = entry(serde_json::json!([identity]));
    typo["thresholds"] = 2.into();
    let config = home.path().join("witgate.toml");
    std::fs::write(&config, format!("[policy]\ndata = \"{}\"\n", data.display())).unwrap();
    let check = |document: String| {
        std::fs::write(data.join("data.json"), document).unwrap();
        let (checked, _, err) = code(home.path(), &["policy", "check", policies, "--data", data.to_str().unwrap()]);
        // Who asks for one decision loads the same: nothing is decided on half of the rules.
        let asked = ["admit", "127.0.0.1:1/acme/cart:1", "--config", config.to_str().unwrap()];
        (checked, code(home.path(), &asked).0, err)
    };
    for (document, words) in [
        (lists("signature", entry(serde_json::json!([identity]))), "signatures"),
        (lists("signatures", typo), "unknown field"),
        (lists("signatures", entry(misspelt)), "unknown field `subjectRegexp`"),
        (lists("signatures", entry(without_issuer)), "issuer"),
        (lists("signatures", entry(any)), "compared exactly"),
    ] {
        let (checked, asked, err) = check(document.clone());
        assert_eq!((checked, asked), (Some(2), Some(2)), "{document}: {err}");
        assert!(err.contains(words), "{document}: {err}");
    }
    // An empty list is no mistake: it names nobody.
    for document in
        [lists("signatures", entry(serde_json::json!([]))), lists("signatures", entry(serde_json::json!([identity])))]
    {
        let (checked, _, err) = check(document);
        assert_eq!(checked, Some(0), "{err}");
    }
    for text in [
        "[evidense]\n",
        "[[evidence.root]]\nname = \"x\"\ntrusted_root = \"x\"\n",
        "[evidence]\nrevocation = { file = \"x\" }\n",
        "[identity]\ntrust_domain = [\"a\"]\ncallers = []\n",
    ] {
        std::fs::write(&config, text).unwrap();
        let (status, _, err) = code(home.path(), &["serve", "--config", config.to_str().unwrap()]);
        assert_eq!(status, Some(2), "{text}: {err}");
    }
}

#[test]
fn a22_2_a_revocation_list_that_cannot_be_used_starts_nothing_and_is_exit_2() {
    let home = tempfile::tempdir().unwrap();
    let (file, config) = (home.path().join("revoked.json"), home.path().join("witgate.toml"));
    std::fs::write(&config, format!("[evidence.revocations]\nfile = \"{}\"\n", file.display())).unwrap();
    for text in
        [None, Some("{}"), Some(""), Some("{\"version\":1,\"issued_at\":\"2999-01-01T00:00:00Z\",\"entries\":[]}")]
    {
        let _ = std::fs::remove_file(&file);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        for command in [&["serve"] as &[&str], &["admit", "127.0.0.1:1/acme/cart:1"]] {
            let (status, _, err) = code(home.path(), &[command, &["--config", config.to_str().unwrap()]].concat());
            assert_eq!(status, Some(2), "{text:?}: {err}");
            assert!(err.contains("revoked.json") && err.contains("witgate: hint: "), "{err}");
        }
    }
}

#[test]
fn inspect_tells_what_a_file_is() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("good.wasm");
    std::fs::write(&file, components::command("x\n")).unwrap();
    let (status, out, err) = code(home.path(), &["inspect", file.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("wasi:cli") && out.contains("stdout"), "{out}");
    std::fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    let (status, _, err) = code(home.path(), &["inspect", file.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(err.contains("core module"), "{err}");
}

#[test]
fn inspect_tells_of_a_wasmcloud_token() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    let account = Account::from_seeds(&[1; 32], &[2; 32]);
    let inspect = |bytes: &[u8], output: &str| {
        std::fs::write(&file, bytes).unwrap();
        code(home.path(), &["inspect", file.to_str().unwrap(), "--output", output])
    };
    let json = |bytes: &[u8]| {
        let (status, out, err) = inspect(bytes, "json");
        let shown: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        (status, shown)
    };
    let unsigned = components::command("x\n");
    assert!(json(&unsigned).1.get("wascap").is_none(), "no token, no member");

    let signed = account.sign(&unsigned);
    let (status, shown) = json(&signed);
    assert_eq!((status, &shown["status"]), (Some(0), &"component".into()), "{shown}");
    let token = &shown["wascap"];
    for (member, value) in [
        ("status", "verified"),
        ("kind", "component"),
        ("section", "wasmcloud_jwt"),
        ("issuer", &account.issuer()),
        ("subject", &account.module()),
        ("name", "t"),
        ("signature", "ok"),
        ("hash", "ok"),
        ("validity", "ok"),
        ("issued_at", "2023-11-14T22:13:20Z"),
    ] {
        assert_eq!(token[member], value, "{member} of {token}");
    }
    assert_eq!((&token["revision"], token["code"].is_null()), (&3.into(), true), "{token}");
    let (status, out, _) = inspect(&signed, "text");
    assert_eq!(status, Some(0));
    assert!(out.contains("wasmCloud 1.x token verified (section wasmcloud_jwt)"), "{out}");
    assert!(out.contains(&format!("  issuer     {}\n", account.issuer())), "{out}");

    // A replayed token is told, and does not change what the component would touch.
    let replayed = embed(&components::command("y\n"), SECTION, &account.token(&account.claims(&unsigned)));
    let (status, shown) = json(&replayed);
    assert_eq!((status, &shown["wascap"]["code"]), (Some(0), &"subject-mismatch".into()), "{shown}");
    assert_eq!((&shown["wascap"]["signature"], &shown["wascap"]["hash"]), (&"ok".into(), &"mismatch".into()));

    // A core module is none that can be run; its token is shown all the same.
    let (status, shown) = json(&account.sign(b"\0asm\x01\0\0\0"));
    assert_eq!((status, &shown["status"]), (Some(1), &"unreadable".into()), "{shown}");
    assert_eq!(shown["wascap"]["status"], "verified", "{shown}");

    let archive = account.provider_archive(&[("x86_64-linux", &b"binary"[..])].into());
    let (status, shown) = json(&archive);
    assert_eq!((status, &shown["wascap"]["kind"]), (Some(0), &"provider".into()), "{shown}");
    assert_eq!(shown["wascap"]["subject"], account.service(), "{shown}");
    let mut changed = archive;
    let at = changed.windows(6).position(|window| window == b"binary").unwrap();
    changed[at] = b'B';
    let (status, _, err) = inspect(&changed, "text");
    assert_eq!(status, Some(1));
    assert!(err.contains("provider archive without a good token"), "{err}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (status, out, err) = code(home.path(), &["completions", shell]);
        assert_eq!(status, Some(0), "{err}");
        assert!(out.contains("witgate"), "{shell}");
    }
}

#[test]
fn help_names_every_command() {
    let home = tempfile::tempdir().unwrap();
    let (status, out, _) = code(home.path(), &["--help"]);
    assert_eq!(status, Some(0));
    for command in [
        "demo",
        "serve",
        "admit",
        "inspect",
        "verify",
        "key",
        "explain",
        "log",
        "policy",
        "dev-registry",
        "completions",
    ] {
        assert!(out.contains(&format!("\n  {command}")), "`{command}` is missing in:\n{out}");
        let (status, help, err) = code(home.path(), &[command, "--help"]);
        assert_eq!(status, Some(0), "{err}");
        assert!(help.contains("Usage: witgate "), "{command}: {help}");
    }
}
