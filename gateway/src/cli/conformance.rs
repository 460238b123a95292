//! `witgate conformance`: the client protocol of sigstore-conformance.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{answer, files, inspect};
use crate::case::Digest;
use crate::evidence::{self, Expected, OneBundleError, PublicKey, Subject};

/// Flags of `witgate conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Verify one bundle as the suite asks (sigstore/sigstore-conformance `docs/cli_protocol.md`): 0 verified, else not
    ///
    /// Bundles v0.1 to v0.3 are taken here, as the suite holds good ones of each; `witgate verify` and the gateway take v0.3
    /// alone.
    VerifyBundle(VerifyBundle),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["certificate_identity", "key"]))]
struct VerifyBundle {
    /// Use Sigstore's staging instance: refused, name its root with `--trusted-root`
    #[arg(long)]
    staging: bool,
    /// The Sigstore bundle
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The subject alternative name that must have signed, exactly
    #[arg(long, value_name = "IDENTITY", requires = "certificate_oidc_issuer")]
    certificate_identity: Option<String>,
    /// The OIDC issuer that must have vouched for it, exactly
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The public key that must have signed (SPKI PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_identity")]
    key: Option<PathBuf>,
    /// The trusted_root.json to check against [default: Sigstore's public-good instance]
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// What the bundle has to be about
    #[arg(value_name = "FILE_OR_sha256:DIGEST")]
    artifact: String,
}

/// The public-good instance's root, as `keys/PROVENANCE.md` tells where it is from.
const PUBLIC_GOOD: &str = include_str!("../../../keys/public-good.trusted_root.json");

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::VerifyBundle(args) = args.command;
    verify_bundle(&args)
}

fn verify_bundle(args: &VerifyBundle) -> anyhow::Result<ExitCode> {
    if args.staging && args.trusted_root.is_none() {
        bail!("the staging instance's root is not built in: name it with `--trusted-root FILE`");
    }
    let root = match &args.trusted_root {
        Some(path) => files::small(path)?,
        None => PUBLIC_GOOD.into(),
    };
    let bundle = files::small(&args.bundle)?;
    let key = args.key.as_deref().map(pem).transpose()?;
    let expected = match (&key, &args.certificate_identity, &args.certificate_oidc_issuer) {
        // The protocol names no algorithm: the first one that the key may sign with, pure Ed25519 of the two.
        (Some(pem), None, None) => {
            Expected::Key { pem, algorithm: PublicKey::from_pem(pem.as_bytes())?.algorithms().first().copied() }
        }
        (None, Some(san), Some(issuer)) => Expected::Identity { san, issuer },
        _ => bail!("say who must have signed: `--certificate-identity` with `--certificate-oidc-issuer`, or `--key`"),
    };
    let bytes;
    let subject = match args.artifact.parse::<Digest>() {
        Ok(digest) => Subject::Digest(digest),
        Err(_) => {
            bytes = inspect::read(Path::new(&args.artifact))?;
            Subject::Bytes(&bytes)
        }
    };
    match evidence::verify_bundle(&root, &bundle, subject, expected) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(OneBundleError::Rejected(rejection)) => {
            eprintln!("witgate: error: the bundle does not verify: {}", answer::printable(&rejection.to_string()));
            Ok(ExitCode::from(1))
        }
        Err(fault) => Err(fault.into()),
    }
}

fn pem(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(files::small(path)?).context("`--key` is no PEM text")
}
