//! `witgate policy bundle` and `witgate policy sign`: from a folder to an archive that gateways and OPA verify.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::files;
use crate::policy::{self, Algorithm, BundleFault, LoadError, Making, Signer};

/// Make an archive of a folder of policies, as OPA's bundles are
#[derive(Debug, clap::Args)]
pub(super) struct BundleArgs {
    /// Folder with `*.rego` files and perhaps a `.manifest` or a folder `data`
    #[arg(default_value = "policies")]
    dir: PathBuf,
    /// Where the archive goes
    #[arg(short = 'o', long = "out", default_value = "bundle.tar.gz")]
    out: PathBuf,
    /// Which revision decisions are to name
    #[arg(long)]
    revision: Option<String>,
    /// A part of `data` that is the bundle's own, such as `witgate`; may be given more than once
    #[arg(long = "root")]
    roots: Vec<String>,
    /// The number of the release: gateways never go back to a lower one
    #[arg(long)]
    sequence: Option<u64>,
}

/// Sign an archive: every file of it with its hash, in `.signatures.json`
#[derive(Debug, clap::Args)]
pub(super) struct SignArgs {
    /// The archive, which is written anew
    bundle: PathBuf,
    /// The private key, PEM, not encrypted
    #[arg(long)]
    key: PathBuf,
    /// The name that verifiers know the key by: `[policy.keys.NAME]`
    #[arg(long)]
    key_id: Option<String>,
    /// `ES256`, `ES384`, `RS256`, `PS256` or `EdDSA`; without it the key says it
    #[arg(long)]
    alg: Option<Algorithm>,
    /// What the signature is for
    #[arg(long)]
    scope: Option<String>,
}

/// What a command did, for programs and for people.
pub(super) struct Done {
    pub json: Value,
    pub text: String,
}

/// A fault of the bundle, to be told with its hint, or one of the machine.
pub(super) enum Fault {
    Load(LoadError),
    Other(anyhow::Error),
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Makes the archive once everything in it compiles.
pub(super) fn bundle(args: BundleArgs) -> Result<Done, Fault> {
    let BundleArgs { dir, out, revision, roots, sequence } = args;
    let made = policy::make(&dir, &Making { revision, roots, sequence })?;
    write(&out, &made.bytes)?;
    let sequence = made.sequence.map_or_else(|| "none".into(), |sequence| sequence.to_string());
    let text = format!(
        "policy `{}` revision {} is in `{}`\n  digest   {}\n  sequence {sequence}\n  files    {}\n",
        made.policy.name,
        made.policy.revision,
        out.display(),
        made.policy.digest,
        made.files.join(", ")
    );
    let json = json!({"policy": made.policy, "sequence": made.sequence, "files": made.files, "out": out});
    Ok(Done { json, text })
}

/// Signs the archive in its place.
pub(super) fn sign(args: SignArgs) -> Result<Done, Fault> {
    let SignArgs { bundle, key, key_id, alg, scope } = args;
    let pem = Zeroizing::new(files::small(&key)?);
    let signer = Signer::from_pem(&key.display().to_string(), &pem, alg)?.with_key_id(key_id.clone()).with_scope(scope);
    let signed = signer.sign(&files::small(&bundle)?)?;
    write(&bundle, &signed)?;
    let algorithm = signer.algorithm();
    let by = key_id.as_ref().map_or_else(String::new, |key_id| format!(" as `{key_id}`"));
    let text = format!("`{}` is signed with {algorithm}{by}\n", bundle.display());
    Ok(Done { json: json!({"bundle": bundle, "algorithm": algorithm.as_str(), "key_id": key_id}), text })
}

/// The old file or the new one, whatever happens.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(mode()).tempfile_in(folder).with_context(cannot)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

/// A bundle is no secret.
fn mode() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o644)
}

/// The hint for a bundle that is to be signed, where the general one would lead in a circle.
pub(super) fn hint(fault: &LoadError) -> &'static str {
    match fault {
        LoadError::Bundle(BundleFault::Key { .. }) => {
            "name a private key in PEM, for instance one of `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
        }
        fault => fault.hint(),
    }
}
