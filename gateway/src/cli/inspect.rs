//! `witgate inspect`: what a component would touch, with the wasmCloud 1.x token that it may hold.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde::Serialize;

use super::one_command::OneCommand;
use super::{Global, Output};
use crate::case::{Reference, Surface, Timestamp};
use crate::evidence::{self, WascapCarrier, WascapReport, WascapStatus};
use crate::surface;

/// Flags of `witgate inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file, or REGISTRY/REPOSITORY:TAG
    component: String,
}

/// The largest component, in bytes (design section 12).
const FILE_MAX_BYTES: u64 = 256 << 20;

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let bytes = match as_file(&args.component) {
        Some(file) => read(file)?,
        None => fetch(&args.component, global).await?,
    };
    let (searched, now) = (bytes.clone(), Timestamp::now());
    let token = tokio::task::spawn_blocking(move || evidence::wascap_report(&searched, now)).await?;
    let found = surface::inspect(Some(bytes)).await?;
    match global.output {
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&Shown { surface: &found, wascap: token.as_ref() })?)
        }
        Output::Text => {
            if let Surface::Component(world) = &found {
                print!("{}", surface::text(world));
            }
            if let Some(token) = &token {
                print!("{}", evidence::wascap_text(token));
            }
        }
    }
    match (found, token) {
        (Surface::Component(_), _) => Ok(ExitCode::SUCCESS),
        // Not meant to be a component: what can be asked of it is whether its token is good.
        (_, Some(archive)) if archive.kind == WascapCarrier::Provider => match archive.status {
            WascapStatus::Verified => Ok(ExitCode::SUCCESS),
            WascapStatus::Rejected => {
                eprintln!("witgate: error: `{}` is a provider archive without a good token", args.component);
                Ok(ExitCode::from(1))
            }
        },
        (Surface::Unseen, _) => unreachable!("`inspect` looks at bytes"),
        (Surface::Unreadable { detail }, _) => {
            eprintln!("witgate: error: `{}` is no component that can be read: {detail}", args.component);
            Ok(ExitCode::from(1))
        }
    }
}

/// What `--output json` prints: the surface, with the token beside its members.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    surface: &'a Surface,
    #[serde(skip_serializing_if = "Option::is_none")]
    wascap: Option<&'a WascapReport>,
}

/// A path, if that is what it is: something on disk, or plainly no reference.
pub(crate) fn as_file(text: &str) -> Option<&Path> {
    let path = Path::new(text);
    (path.exists() || text.parse::<Reference>().is_err()).then_some(path)
}

/// A component file, bounded.
pub(crate) fn read(file: &Path) -> anyhow::Result<Bytes> {
    let cannot = || format!("cannot read `{}`: expected a component file, or REGISTRY/REPOSITORY:TAG", file.display());
    let size_bytes = std::fs::metadata(file).with_context(cannot)?.len();
    if size_bytes > FILE_MAX_BYTES {
        bail!("`{}` has {size_bytes} bytes: at most {FILE_MAX_BYTES} are read", file.display());
    }
    Ok(std::fs::read(file).with_context(cannot)?.into())
}

async fn fetch(text: &str, global: &Global) -> anyhow::Result<Bytes> {
    let config = global.configuration()?;
    let reference: Reference = text.parse()?;
    let once = OneCommand::open(&config.registry)?;
    let artifact = once.registry().resolve(&reference, Timestamp::now()).await?;
    match artifact.component() {
        Some(bytes) => Ok(bytes.clone()),
        None => {
            let facts = artifact.facts();
            let defects = facts.defects.iter().map(|defect| format!("{}: {}", defect.code, defect.detail));
            let native = facts.native.iter().map(|native| format!("it is native code (`{}`)", native.media_type));
            let several = Some(facts.components.len()).filter(|count| *count > 0);
            let several = several.map(|count| format!("it is an application of {count}: pull it and inspect each"));
            let why: Vec<String> = defects.chain(native).chain(several).collect();
            bail!("`{reference}` holds no single component: {}", why.join("; "))
        }
    }
}
