//! `witgate inspect`: what a component would touch.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;

use super::{Global, Output};
use crate::case::{Reference, Surface, Timestamp};
use crate::registry::Registry;
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
    let found = surface::inspect(Some(bytes)).await?;
    match (&found, global.output) {
        (found, Output::Json) => println!("{}", serde_json::to_string_pretty(found)?),
        (Surface::Component(world), Output::Text) => print!("{}", surface::text(world)),
        (Surface::Unreadable { .. }, Output::Text) => {}
    }
    match found {
        Surface::Component(_) => Ok(ExitCode::SUCCESS),
        Surface::Unreadable { detail } => {
            eprintln!("witgate: error: `{}` is no component that can be read: {detail}", args.component);
            Ok(ExitCode::from(1))
        }
    }
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
    let registry = Registry::open(&config.registry, &config.data_dir.join("cache"))?;
    let artifact = registry.resolve(&reference, Timestamp::now()).await?;
    match artifact.component() {
        Some(bytes) => Ok(bytes.clone()),
        None => {
            let defects: Vec<String> =
                artifact.facts().defects.iter().map(|defect| format!("{}: {}", defect.code, defect.detail)).collect();
            bail!("`{reference}` holds no component: {}", defects.join("; "))
        }
    }
}
