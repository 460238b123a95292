//! `witgate policy init`: a sound start, filled in by answering.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

/// Flags of `witgate policy init`: answers that would else be filled in by hand.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A new or empty folder; what is there is never overwritten
    #[arg(default_value = "witgate-policy")]
    dir: PathBuf,
    /// What may run, without tag: `ghcr.io/acme/*`
    #[arg(long)]
    reference: Option<String>,
    /// Who vouches for the signer: `https://token.actions.githubusercontent.com`
    #[arg(long, requires = "subject")]
    issuer: Option<String>,
    /// Who signs: a URI, or a folder of them that ends in `/*`, or an e-mail address
    #[arg(long, requires = "issuer")]
    subject: Option<String>,
    /// Who may ask: a SPIFFE ID, or a folder of them that ends in `/*`
    #[arg(long)]
    caller: Option<String>,
    /// What may be linked: `wasi:cli/*@0.2`; may be said more than once
    #[arg(long = "import", value_name = "PATTERN")]
    imports: Vec<String>,
}

/// Writes the files, or none of them.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let files = [
        ("data/signatures.yaml", signatures(args)),
        ("data/grants.yaml", grants(args)),
        ("data/others.yaml", OTHERS.to_owned()),
        ("README.md", README.to_owned()),
    ];
    let there = files.iter().map(|(name, _)| args.dir.join(name)).find(|path| path.exists());
    if let Some(path) = there {
        eprintln!("witgate: error: `{}` is there already, and nothing was written", path.display());
        eprintln!("witgate: hint: name another folder, or move it away");
        return Ok(ExitCode::from(super::EXIT_USAGE));
    }
    for (name, text) in &files {
        write(&args.dir.join(name), text)?;
        println!("wrote {}", args.dir.join(name).display());
    }
    let data = args.dir.join("data");
    eprintln!("witgate: next: answer what is asked in `{}`, then run", data.display());
    eprintln!("  witgate policy check --data {}", data.display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let doing = || format!("writing `{}`", path.display());
    let parent = path.parent().expect("a file lies in a folder");
    std::fs::create_dir_all(parent).with_context(doing)?;
    let mut file = std::fs::File::create_new(path).with_context(doing)?;
    file.write_all(text.as_bytes()).with_context(doing)
}

/// A text as YAML, quoted so that no reader takes it for anything else.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON, and JSON is YAML")
}

fn signatures(args: &Args) -> String {
    let mut text = SIGNATURES.to_owned();
    let (Some(reference), Some(issuer), Some(subject)) = (&args.reference, &args.issuer, &args.subject) else {
        text.push_str("  signatures: []\n");
        return text;
    };
    let kind = if subject.contains("://") { "uri" } else { "email" };
    let _ = write!(
        text,
        "  signatures:\n    - references: [{}]\n      identities:\n        - issuer: {}\n          san: {{ kind: {kind}, value: {} }}\n",
        quoted(reference),
        quoted(issuer),
        quoted(subject),
    );
    text
}

fn grants(args: &Args) -> String {
    let mut text = GRANTS.to_owned();
    let (Some(reference), Some(caller)) = (&args.reference, &args.caller) else {
        text.push_str("  grants: []\n");
        return text;
    };
    let imports: Vec<_> = args.imports.iter().map(|import| quoted(import)).collect();
    let _ = write!(
        text,
        "  grants:\n    - callers: [{}]\n      references: [{}]\n      imports: [{}]\n      lifetime_s: 3600\n",
        quoted(caller),
        quoted(reference),
        imports.join(", "),
    );
    text
}

const SIGNATURES: &str = r#"# Who must have signed what. Nobody is admitted until this says somebody.
#
# - references: what it is about, without tag: ghcr.io/acme/cart, a folder ghcr.io/acme/*, or "*"
#   identities: any one of these must have signed; entries that cover a reference are ANDed
#     - issuer: https://token.actions.githubusercontent.com     who vouches for the signer
#       san: { kind: uri, value: "https://github.com/acme/*" }  who signs; kinds are uri and email
#     - key: acme-release                                       or a key that the configuration names
#   threshold: 2                                                how many different signers, 1 if left out
witgate:
"#;

const GRANTS: &str = r#"# Who may run what, and what the host may link for it. Nobody is admitted until this says somebody.
#
# - callers: ["spiffe://prod.example/ns/shop/*"]   who may ask: a SPIFFE ID, a folder of them, or local
#   references: ["ghcr.io/acme/*"]                 what, without tag
#   imports: ["wasi:cli/*@0.2", "wasi:io/*@0.2"]   what may be linked; see it with `witgate inspect FILE`
#   links: [orders-db]                             links to other components, by name
#   limits: { memory_bytes: 67108864, fuel: 10000000000, timeout_ms: 30000 }
#   lifetime_s: 3600                               how long it may go on
witgate:
"#;

const OTHERS: &str = r#"# What else can be asked for; an empty list asks for nothing.
#
# versions:  - references: ["ghcr.io/acme/*"]
#              minimum: "1.4.0"                    nothing older, even with a good signature
# wascap:    - references: ["ghcr.io/acme/*"]      wasmCloud 1.x tokens stand in for a signature
#              issuers: [A…]                       by these accounts
#              sunset: "2027-01-01T00:00:00Z"      until then
# provenance, sboms, vulnerabilities, summaries: what must be attested
witgate:
  versions: []
  wascap: []
"#;

const README: &str = "# The admission policy of this place

The rules are those of witgate itself; the files in `data/` answer what they ask. A text is quoted where it could be taken
for a number.

| | |
|---|---|
| `witgate policy check --data data` | would the gateway take it? |
| `witgate policy eval CASE.json --data data` | what would it say of this case? |
| `witgate replay --data data` | which decisions of the log would be others? |

The gateway reads it where its configuration says `[policy]` with `data = \"…/data\"`, and follows a change within seconds.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, Settings};

    fn args(dir: &Path) -> Args {
        Args { dir: dir.into(), reference: None, issuer: None, subject: None, caller: None, imports: Vec::new() }
    }

    fn load(dir: &Path) -> Policy {
        Policy::load(&Settings { data: Some(dir.join("data")), ..Settings::default() }).unwrap()
    }

    #[test]
    fn what_is_not_filled_in_loads_and_admits_nobody() {
        let dir = tempfile::tempdir().unwrap();
        run(&args(dir.path())).unwrap();
        load(dir.path());
        let text = std::fs::read_to_string(dir.path().join("data/grants.yaml")).unwrap();
        assert!(text.ends_with("witgate:\n  grants: []\n"), "{text}");
    }

    #[test]
    fn answers_are_filled_in_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args {
            reference: Some("ghcr.io/acme/*".into()),
            issuer: Some("https://issuer.example".into()),
            subject: Some("https://github.com/acme/*".into()),
            caller: Some("spiffe://prod.example/ns/*".into()),
            imports: vec!["wasi:cli/*@0.2".into(), "wasi:io/*@0.2".into()],
            ..args(dir.path())
        };
        run(&args).unwrap();
        load(dir.path());
        let text = std::fs::read_to_string(dir.path().join("data/signatures.yaml")).unwrap();
        assert!(text.contains("san: { kind: uri, value: \"https://github.com/acme/*\" }"), "{text}");
        std::fs::remove_file(dir.path().join("README.md")).unwrap();
        assert_eq!(format!("{:?}", run(&args).unwrap()), format!("{:?}", ExitCode::from(2)));
        assert!(!dir.path().join("README.md").exists(), "all of it or nothing");
    }

    #[test]
    fn every_answer_in_the_comments_is_one() {
        for text in [SIGNATURES, GRANTS, OTHERS] {
            assert!(
                text.lines()
                    .all(|line| line.starts_with('#') || line.starts_with("witgate:") || line.starts_with("  "))
            );
        }
    }
}
