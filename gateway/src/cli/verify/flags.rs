//! The flags of `witgate verify`, by the names that cosign gave them.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::misuse::Misuse;
use crate::cli::key::Password;
use crate::evidence::Algorithm;
use crate::registry::GivenSecret;

/// Check who signed a component, check by check; no policy, no record
///
/// The flags are cosign's, with these differences. A regular expression must match ALL of a subject or an issuer, and stays
/// within one host or domain; cosign's match anywhere. Exactly one flag says the identity and one the issuer. `--key` names a
/// file. Nobody is trusted by default. `docs/verify.md` compares the flags one by one.
///
/// Without `--type` a signature is wanted, with it an attestation. Every check of every candidate is told, with its time.
///
/// Exit codes: 0 verified, 1 not, 2 usage or configuration, 3 no answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:…, or a file (then with --bundle)
    pub(super) component: String,
    /// How long all of it may take, such as 30s or 3m0s: no answer then, exit code 3
    #[arg(short, long, value_name = "DURATION", default_value = "3m0s", value_parser = timeout)]
    pub(super) timeout: SignedDuration,
    #[command(flatten)]
    pub(super) signer: SignerFlags,
    #[command(flatten)]
    pub(super) what: WhatFlags,
    #[command(flatten)]
    pub(super) trust: TrustFlags,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
}

/// Who must have signed: a key, or an identity by an issuer.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Who must have signed")]
pub(super) struct SignerFlags {
    /// The key that must have signed: a file with SPKI PEM, as `cosign.pub`, or with a private key, whose public half is meant;
    /// no URL and no KMS
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// What the key signs with, such as ecdsa-sha2-256-nistp256 or ed25519-ph; an Ed25519 key does not say it itself
    #[arg(long, value_name = "ALGORITHM")]
    pub(super) signing_algorithm: Option<Algorithm>,
    #[command(flatten)]
    pub(super) password: Password,
    /// The certificate's one subject alternative name: a URI or an e-mail address, exactly
    #[arg(long, value_name = "IDENTITY")]
    pub(super) certificate_identity: Option<String>,
    /// The same as a pattern that matches in full, within one host or domain: `https://github.com/acme/.*`
    #[arg(long, value_name = "REGEXP")]
    pub(super) certificate_identity_regexp: Option<String>,
    /// The OIDC issuer that vouched for the identity, exactly
    #[arg(long, value_name = "URL")]
    pub(super) certificate_oidc_issuer: Option<String>,
    /// The same as a pattern that matches in full, within one host
    #[arg(long, value_name = "REGEXP")]
    pub(super) certificate_oidc_issuer_regexp: Option<String>,
    /// The certificate's claim `workflow_name`, exactly: the name of the workflow on GitHub
    #[arg(long, value_name = "NAME")]
    pub(super) certificate_github_workflow_name: Option<String>,
    /// The certificate's claim `workflow_ref`, exactly: `refs/heads/main`
    #[arg(long, value_name = "REF")]
    pub(super) certificate_github_workflow_ref: Option<String>,
    /// The certificate's claim `workflow_repository`, exactly: `acme/cart`
    #[arg(long, value_name = "OWNER/REPOSITORY")]
    pub(super) certificate_github_workflow_repository: Option<String>,
    /// The certificate's claim `workflow_sha`, exactly: the commit
    #[arg(long, value_name = "SHA")]
    pub(super) certificate_github_workflow_sha: Option<String>,
    /// The certificate's claim `workflow_trigger`, exactly: `push`
    #[arg(long, value_name = "EVENT")]
    pub(super) certificate_github_workflow_trigger: Option<String>,
}

/// What it must be and say.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What it must be")]
pub(super) struct WhatFlags {
    /// An attestation of this predicate type, exactly: slsaprovenance, slsaprovenance02, slsaprovenance1, link, spdx, spdxjson,
    /// cyclonedx, openvex, vuln, custom, or a URI
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) predicate_type: Option<String>,
    /// A signature with this annotation; several times for several, each must be there (no list with commas)
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(super) annotations: Vec<String>,
    /// A verified time-stamp of an authority (RFC 3161) must be among the times
    #[arg(long)]
    pub(super) use_signed_timestamps: bool,
}

/// Against what it is checked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to check against")]
pub(super) struct TrustFlags {
    /// The trusted_root.json to check against [default: the roots of `[evidence]`]
    #[arg(long, value_name = "FILE")]
    pub(super) trusted_root: Option<PathBuf>,
    /// The Sigstore bundle of a file, v0.3
    #[arg(long, value_name = "FILE")]
    pub(super) bundle: Option<PathBuf>,
    /// INSECURE: a signature counts without any entry in a transparency log; an entry that is there is verified all the same
    #[arg(long)]
    pub(super) insecure_ignore_tlog: bool,
    /// INSECURE: nobody looks at the SCTs of certificates
    #[arg(long)]
    pub(super) insecure_ignore_sct: bool,
    /// Ask no TUF repository: roots come from files and the cache. The registry of a reference is asked all the same
    #[arg(long)]
    pub(super) offline: bool,
}

/// How the registry of the reference is reached, for this one command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How to reach the registry, for this one command")]
pub(super) struct RegistryFlags {
    /// The only certificate authorities that the registry may be certified by (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) registry_cacert: Option<PathBuf>,
    /// The user's name; the password is in WITGATE_REGISTRY_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(super) registry_username: Option<String>,
    /// The password. Other processes can read it here: better set WITGATE_REGISTRY_PASSWORD
    #[arg(long, value_name = "PASSWORD", value_parser = secret)]
    pub(super) registry_password: Option<GivenSecret>,
    /// A bearer token for the registry. Other processes can read it here: better set WITGATE_REGISTRY_TOKEN
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    pub(super) registry_token: Option<GivenSecret>,
    /// Speak plain HTTP; only to addresses of private networks
    #[arg(long)]
    pub(super) allow_http_registry: bool,
}

/// The longest time that one verification may take, in seconds: an hour.
const TIMEOUT_MAX_S: i64 = 60 * 60;

/// `30s`, `3m0s`, `1h`: as Go writes them.
fn timeout(text: &str) -> Result<SignedDuration, Misuse> {
    let expected =
        || Misuse::new("expected a time of more than nothing and at most an hour", "such as `30s` or `3m0s`");
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration > SignedDuration::ZERO && duration.as_secs() < TIMEOUT_MAX_S => Ok(duration),
        Ok(duration) if duration == SignedDuration::from_secs(TIMEOUT_MAX_S) => Ok(duration),
        _ => Err(expected()),
    }
}

/// A text that no `Debug` prints.
pub(super) fn secret(text: &str) -> Result<GivenSecret, Misuse> {
    let expected = || Misuse::new("expected a secret of 1 byte to 16 KiB", "say it in full, or leave it out");
    GivenSecret::new(text.to_owned()).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_limits() {
        for (text, seconds) in [("3m0s", 180), ("30s", 30), ("1h", 3600), ("1h0m0s", 3600), ("1m30s", 90)] {
            assert_eq!(timeout(text).unwrap(), SignedDuration::from_secs(seconds), "{text}");
        }
        assert_eq!(timeout("1ms").unwrap(), SignedDuration::from_millis(1));
        for text in ["", "0s", "-1s", "1h1s", "1h0m0s1ms", "3", "soon", "9999999999999h"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
