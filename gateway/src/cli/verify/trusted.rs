//! What is trusted for this one command: the configuration's roots, or what the flags put in their place.

use super::flags::{SignerFlags, TrustFlags};
use super::misuse::Misuse;
use super::wanted::KEY;
use crate::cli::key::public_half;
use crate::evidence::{
    InlinePem, KeyFault, KeySettings, LogDemand, PemSource, RootSettings, RootSource, SctDemand, Settings, StartError,
};
use crate::outage::chain;

/// The name of what `--trusted-root` gives, in findings.
const ROOT: &str = "--trusted-root";

/// The key of the flags; there is no other then.
///
/// # Errors
/// A file that holds none, or none that opens with this password.
pub(super) fn key(flags: &SignerFlags) -> anyhow::Result<Option<KeySettings>> {
    let Some(file) = &flags.key else { return Ok(None) };
    let text = public_half(file, &flags.password)?.to_pem();
    let key = KeySettings::new(KEY, PemSource::Inline(InlinePem { text }));
    Ok(Some(KeySettings { algorithm: flags.signing_algorithm, ..key }))
}

/// `[evidence]`, with what the flags say in its place.
///
/// # Errors
/// What waives something that is not there; nobody who is trusted.
pub(super) fn settings(
    configured: &Settings,
    flags: &TrustFlags,
    key: Option<KeySettings>,
) -> Result<Settings, Misuse> {
    let mut settings = configured.clone();
    settings.offline |= flags.offline;
    if let Some(path) = &flags.trusted_root {
        // A root named by hand is taken as it is: whoever names it answers for its age.
        let root = RootSettings { max_age_s: u64::MAX, ..RootSettings::new(ROOT, RootSource::File(path.clone())) };
        settings.roots = vec![root];
        // They may borrow the logs of a root that is not there any more, and no flag names whom they certify.
        settings.authorities.clear();
    }
    let needs_root = key.is_none() || !flags.insecure_ignore_tlog;
    if let Some(key) = key {
        if flags.insecure_ignore_sct {
            let what = "`--insecure-ignore-sct` is of certificates, and `--key` has none";
            return Err(Misuse::new(what, "leave out one of them"));
        }
        settings.keys = vec![key];
    }
    if flags.insecure_ignore_tlog {
        let demands = settings.roots.iter_mut().map(|root| &mut root.transparency_log);
        let demands = demands.chain(settings.keys.iter_mut().map(|key| &mut key.transparency_log));
        let demands = demands.chain(settings.authorities.iter_mut().map(|authority| &mut authority.transparency_log));
        demands.for_each(|demand| *demand = LogDemand::Optional);
    }
    if flags.insecure_ignore_sct {
        settings.roots.iter_mut().for_each(|root| root.sct = SctDemand::NotRequired);
    }
    if settings.roots.is_empty() && needs_root {
        let what = "no Sigstore is trusted, so no signature verifies";
        return Err(Misuse::new(what, "add `--trusted-root FILE`, or roots to `[evidence]` of the configuration"));
    }
    Ok(settings)
}

/// Says aloud what is not asked.
pub(super) fn warn(flags: &TrustFlags) {
    if flags.insecure_ignore_tlog {
        let what = "a signature counts here without an entry in a transparency log: whoever stole the key signs unseen";
        eprintln!("witgate: warning: `--insecure-ignore-tlog`: {what}");
    }
    if flags.insecure_ignore_sct {
        let what = "nobody looks here whether certificates were logged: an authority may issue unseen ones";
        eprintln!("witgate: warning: `--insecure-ignore-sct`: {what}");
    }
}

/// A fault of what the flags gave, in their words.
pub(super) fn told(fault: StartError) -> anyhow::Error {
    match fault {
        StartError::Key { name, source, .. } if name == KEY => {
            let hint = match source {
                KeyFault::Ambiguous => {
                    "add `--signing-algorithm ed25519-ph` where messages are signed as cosign does by default, else `ed25519`"
                }
                KeyFault::OtherAlgorithm { .. } => "leave `--signing-algorithm` out, or name the key that was meant",
                _ => source.hint(),
            };
            Misuse::new(format!("`--key` cannot be used: {}", chain(&source)), hint).into()
        }
        other => other.into(),
    }
}
