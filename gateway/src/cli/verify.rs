//! `witgate verify`: the signatures of a component, without policy and without a record.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::files::small;
use super::{Global, Output, answer, inspect, key};
use crate::case::{Evidence, Finding, FindingKind, Reference, Signer, Timestamp, VerifiedFinding};
use crate::config::Config;
use crate::evidence::{
    self, Algorithm, Collector, Expected, InlinePem, KeySettings, PemSource, RootSettings, RootSource, Settings,
    Subject,
};
use crate::gate;
use crate::registry::Registry;

/// Flags of `witgate verify`; names as cosign has them.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["certificate_identity", "key"]))]
pub(crate) struct Args {
    /// REGISTRY/REPOSITORY:TAG, or a file (then with --bundle)
    component: String,
    /// The subject alternative name that must have signed, exactly
    #[arg(long, value_name = "IDENTITY", requires = "certificate_oidc_issuer")]
    certificate_identity: Option<String>,
    /// The OIDC issuer that must have vouched for it, exactly
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The key that must have signed: SPKI PEM, or a private key, whose public half is meant
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_identity")]
    key: Option<PathBuf>,
    /// What the key signs with, in cosign's words; an Ed25519 key does not say it itself
    #[arg(long, value_name = "ALGORITHM", requires = "key")]
    signing_algorithm: Option<Algorithm>,
    #[command(flatten)]
    password: key::Password,
    /// The trusted_root.json to check against [default: the roots of `[evidence]`]
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// The Sigstore bundle of a file
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

/// The name of what the flags give, in findings.
const GIVEN: &str = "command-line";

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.configuration()?;
    match inspect::as_file(&args.component) {
        Some(file) => of_file(&args, file, &config, global.output),
        None => of_reference(&args, &config, global.output).await,
    }
}

async fn of_reference(args: &Args, config: &Config, output: Output) -> anyhow::Result<ExitCode> {
    let reference: Reference = args.component.parse()?;
    let now = Timestamp::now();
    let collector = Collector::open(&settings(args, config)?, &config.data_dir, now).await?;
    let registry = Registry::open(&config.registry, &config.data_dir.join("cache"))?;
    let artifact = registry.resolve(&reference, now).await?;
    let candidates = registry.candidates(&artifact).await?;
    let evidence = collector.examine(gate::exhibit(&artifact), candidates, now).await?;
    let signed = signed(args, &evidence);
    match output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&json!({
                "reference": reference, "artifact": artifact.digest(), "verified": signed, "evidence": evidence,
            }))?
        ),
        Output::Text => {
            println!("{reference} {}", artifact.digest());
            for line in evidence::tree(&evidence).lines() {
                println!("  {}", answer::printable(line));
            }
        }
    }
    if signed {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("witgate: error: `{reference}` has no verified signature by {}", wanted(args));
    Ok(ExitCode::from(1))
}

fn of_file(args: &Args, file: &Path, config: &Config, output: Output) -> anyhow::Result<ExitCode> {
    let bytes = inspect::read(file)?;
    let bundle = args.bundle.as_deref().context("a file is verified with its bundle: add `--bundle FILE`")?;
    let bundle = small(bundle)?;
    let key = args.key.as_deref().map(|file| key::public_half(file, &args.password)).transpose()?;
    let key = key.map(|key| key.to_pem());
    let expected = match (&key, &args.certificate_identity, &args.certificate_oidc_issuer) {
        (Some(pem), ..) => Expected::Key { pem, algorithm: args.signing_algorithm },
        (None, Some(san), Some(issuer)) => Expected::Identity { san, issuer },
        _ => anyhow::bail!(
            "say who must have signed: `--certificate-identity` with `--certificate-oidc-issuer`, or `--key`"
        ),
    };
    let mut roots = Vec::new();
    for root in settings(args, config)?.roots {
        roots.push(match root.trusted_root {
            RootSource::File(path) => small(&path)?,
            RootSource::Inline(inline) => inline.json.into_bytes(),
            RootSource::Tuf(_) => {
                anyhow::bail!("a file is checked against a root in a file: add `--trusted-root FILE`")
            }
        });
    }
    anyhow::ensure!(!roots.is_empty(), "nobody is trusted: add `--trusted-root FILE`, or roots to `[evidence]`");
    let mut rejected = None;
    for root in &roots {
        match evidence::verify_bundle(root, &bundle, Subject::Bytes(&bytes), expected) {
            Ok(times) => {
                match output {
                    Output::Json => println!("{}", json!({"file": file, "verified": true, "times": times})),
                    Output::Text => println!("verified {} by {}", file.display(), wanted(args)),
                }
                return Ok(ExitCode::SUCCESS);
            }
            Err(evidence::OneBundleError::Rejected(rejection)) => rejected = Some(rejection),
            Err(fault) => return Err(fault.into()),
        }
    }
    if output == Output::Json {
        println!("{}", json!({"file": file, "verified": false}));
    }
    let why = rejected.map(|rejection| answer::printable(&rejection.to_string())).unwrap_or_default();
    eprintln!("witgate: error: `{}` has no verified signature by {}: {why}", file.display(), wanted(args));
    Ok(ExitCode::from(1))
}

/// `[evidence]`, with what the flags say in its place.
fn settings(args: &Args, config: &Config) -> anyhow::Result<Settings> {
    let mut settings = config.evidence.clone();
    if let Some(path) = &args.trusted_root {
        // A root named by hand is taken as it is: whoever names it answers for its age.
        let root = RootSettings { max_age_s: u64::MAX, ..RootSettings::new(GIVEN, RootSource::File(path.clone())) };
        settings.roots = vec![root];
        // They may use the logs of a root that is not asked now.
        settings.authorities.clear();
    }
    if let Some(path) = &args.key {
        let (text, algorithm) = (key::public_half(path, &args.password)?.to_pem(), args.signing_algorithm);
        let pem = PemSource::Inline(InlinePem { text });
        settings.keys = vec![KeySettings { algorithm, ..KeySettings::new(GIVEN, pem) }];
    }
    Ok(settings)
}

/// Whether somebody the flags name has signed.
fn signed(args: &Args, evidence: &Evidence) -> bool {
    evidence.findings.iter().any(|finding| match finding {
        Finding::Verified(verified) => verified.kind == FindingKind::Signature && is_wanted(args, verified),
        Finding::Rejected(_) => false,
    })
}

fn is_wanted(args: &Args, verified: &VerifiedFinding) -> bool {
    match &verified.signer {
        Signer::Keyless { issuer, san, .. } => {
            args.certificate_identity.as_ref() == Some(&san.value)
                && args.certificate_oidc_issuer.as_ref() == Some(issuer)
        }
        Signer::Key { name, .. } => args.key.is_some() && name == GIVEN,
        Signer::Certificate { .. } | Signer::LegacyNkey { .. } => false,
    }
}

fn wanted(args: &Args) -> String {
    match (&args.certificate_identity, &args.certificate_oidc_issuer, &args.key) {
        (Some(identity), Some(issuer), _) => format!("`{identity}` (issuer `{issuer}`)"),
        (.., Some(key)) => format!("the key `{}`", key.display()),
        _ => "anybody".into(),
    }
}
