//! Every command of docs/verify.md, in order: what it says is what stands there.

use witgate::dev::sigstore::{Knob, Log};

use super::*;
use crate::readme::shell_words;

/// A command of a block with what stands below it.
pub(crate) struct Typed {
    pub(crate) line: String,
    pub(crate) said: Vec<String>,
}

pub(crate) fn typed(text: &str) -> Vec<Typed> {
    let mut typed: Vec<Typed> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line.strip_prefix("$ ")) {
            _ if line.starts_with("```") => inside = line == "```console",
            (true, Some(command)) => typed.push(Typed { line: command.to_owned(), said: Vec::new() }),
            (true, None) => typed.last_mut().expect("a block begins with a command").said.push(line.to_owned()),
            (false, _) => {}
        }
    }
    typed
}

/// Whether `found` is `expected`, where a line `…` stands for any lines.
pub(crate) fn fits(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "…" => (0..=found.len()).any(|at| fits(rest, &found[at..])),
        Some((first, rest)) => found.first() == Some(first) && fits(rest, &found[1..]),
    }
}

/// Lines without what differs from run to run.
fn lines(text: &str) -> Vec<String> {
    steady(text).lines().map(str::to_owned).collect()
}

async fn prepared() -> Stage {
    let stage = Stage::start().await;
    let key = ManagedKey::generate().unwrap();
    key_file(&stage, "cosign.pub", &key);
    let cart = stage
        .signed("cart", |sign| {
            sign.logged_in(Log::RekorV2).annotated("git", "abc").claiming("workflow_repository", "acme/shop")
        })
        .await;
    let old = stage.sigstore.sign_legacy(request(cart.manifest).with(Knob::NoSct)).unwrap();
    stage.tag(&cart, &[old], &[]).await;
    let built = stage.push("built").await;
    let request_of = |pushed: &Pushed| request(pushed.manifest).signing(provenance());
    stage.attach(&built, &stage.sigstore.sign_with_key(&key, request_of(&built)).unwrap()).await;
    let wasm = components::command("cart\n");
    stage.write("cart.wasm", &wasm);
    stage.write("other.wasm", components::command("other\n"));
    stage.write("cart.sigstore.json", stage.sigstore.sign_with_key(&key, request(Digest::of(&wasm))).unwrap());
    let config = format!(
        "[registry.upstreams.\"registry.example\"]\nurl = \"http://{}\"\n\n\
         [[evidence.roots]]\nname = \"acme\"\ntrusted_root = \"trusted_root.json\"\n",
        stage.registry.host()
    );
    stage.write("witgate.toml", config);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_the_page_says() {
    let stage = prepared().await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/verify.md");
    let typed = typed(&std::fs::read_to_string(page).unwrap());
    assert!(typed.len() > 6, "the page has {} commands", typed.len());
    let mut last = None;
    for Typed { line, said } in typed {
        let words = shell_words(&line);
        let found = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["echo", "$?"] => vec![last.map_or_else(String::new, |code: i32| code.to_string())],
            ["witgate", ref arguments @ ..] => {
                let mut command = witgate(stage.home.path());
                command.args(arguments).env("WITGATE_CONFIG", "witgate.toml").current_dir(stage.home.path());
                let output = command.output().unwrap();
                last = output.status.code();
                lines(&format!("{}{}", stdout(&output), stderr(&output)))
            }
            _ => panic!("`{line}`: the page uses witgate alone"),
        };
        let expected = lines(&said.join("\n"));
        assert!(fits(&expected, &found), "`{line}` says\n{}\nand the page\n{}", found.join("\n"), expected.join("\n"));
    }
}

#[test]
fn every_flag_stands_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/verify.md");
    let page = std::fs::read_to_string(page).unwrap();
    let home = tempfile::tempdir().unwrap();
    let help = stdout(&witgate(home.path()).args(["verify", "--help"]).output().unwrap());
    for flag in super::flags::flags_of(&help) {
        let short = flag.replace("--certificate-github-workflow", "");
        assert!(page.contains(&format!("`{flag}")) || page.contains(&format!("`{short}`")), "`{flag}` is missing");
    }
    for check in [
        "received",
        "room",
        "digest",
        "shape",
        "form",
        "times",
        "certificate-chain",
        "sct",
        "log",
        "signature",
        "binding",
        "entry",
        "name",
        "subject",
        "predicate",
        "revocation",
        "clock",
        "predicate-room",
        "wanted",
    ] {
        assert!(page.contains(&format!("\n| `{check}` |")), "`{check}` is missing");
    }
}
