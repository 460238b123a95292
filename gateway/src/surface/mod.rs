//! What it would touch: bytes become imports and exports.

mod listing;
mod name;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Serialize;
use witgate_host_hook::import_name::track;
use witgate_host_hook::surface::{Found, Item, Kind, Unreadable, read_in_turn};

use self::name::InterfaceName;
use crate::case::{Digest, Extern, ExternKind, Surface, World, canonical_json};
use crate::outage::{Outage, Peer};

pub use self::listing::text;

/// Reads a component's bytes; `None` is an artifact without a component layer.
///
/// Bytes that are no component, are too much or take too long to read are [`Surface::Unreadable`], which the floor refuses.
///
/// # Errors
/// An outage of the gateway itself when no reader was free or it ended badly: that says nothing about the bytes.
pub async fn inspect(bytes: Option<Bytes>) -> Result<Surface, Outage> {
    let Some(bytes) = bytes else {
        return Ok(Surface::Unreadable { detail: "no component layer to read in the artifact".into() });
    };
    match read_in_turn(bytes).await {
        Ok(found) => Ok(Surface::Component(world(found))),
        Err(fault @ Unreadable::NoReader { .. }) => {
            Err(Outage::new(Peer::Internal, "reading the component's imports").because(fault))
        }
        Err(unreadable) => Ok(Surface::Unreadable { detail: unreadable.to_string() }),
    }
}

/// Reads everything that would run together: the world of one component, or of several what any of them imports or exports.
///
/// One of them that cannot be read makes all of them [`Surface::Unreadable`].
///
/// # Errors
/// As [`inspect`].
pub async fn inspect_all(components: &[Bytes]) -> Result<Surface, Outage> {
    if components.len() < 2 {
        return inspect(components.first().cloned()).await;
    }
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    for (number, component) in components.iter().enumerate() {
        match inspect(Some(component.clone())).await? {
            Surface::Component(world) => {
                imports.extend(world.imports);
                exports.extend(world.exports);
            }
            Surface::Unreadable { detail } => {
                let detail = format!("component {} of {}: {detail}", number + 1, components.len());
                return Ok(Surface::Unreadable { detail });
            }
            Surface::Unseen => return Ok(Surface::Unseen),
        }
    }
    let (imports, exports): (Vec<_>, Vec<_>) = (imports.into_iter().collect(), exports.into_iter().collect());
    Ok(Surface::Component(World { digest: world_digest(&imports, &exports), imports, exports }))
}

/// The `surface_digest` of a log entry: the world's digest, or SHA-256 of the canonical JSON of what could not be read.
pub fn digest(surface: &Surface) -> Digest {
    match surface {
        Surface::Component(world) => world.digest,
        Surface::Unreadable { .. } | Surface::Unseen => canonical_digest(surface),
    }
}

fn world(found: Found) -> World {
    let imports: Vec<Extern> = found.imports.into_iter().map(external).collect();
    let exports: Vec<Extern> = found.exports.into_iter().map(external).collect();
    World { digest: world_digest(&imports, &exports), imports, exports }
}

/// SHA-256 over `{"exports":[…],"imports":[…]}` as RFC 8785 JSON.
fn world_digest(imports: &[Extern], exports: &[Extern]) -> Digest {
    #[derive(Serialize)]
    struct Externs<'a> {
        exports: &'a [Extern],
        imports: &'a [Extern],
    }
    canonical_digest(&Externs { exports, imports })
}

fn canonical_digest(value: &impl Serialize) -> Digest {
    Digest::of(&canonical_json(value))
}

fn external(item: Item) -> Extern {
    let parts = InterfaceName::parse(&item.name);
    Extern {
        package: parts.map(|parts| parts.package.to_owned()),
        interface: parts.map(|parts| parts.interface.to_owned()),
        version: parts.and_then(|parts| parts.version).map(str::to_owned),
        track: track(&item.name),
        kind: kind(item.kind),
        items: item.items,
        name: item.name,
    }
}

fn kind(kind: Kind) -> ExternKind {
    match kind {
        Kind::Instance => ExternKind::Instance,
        Kind::Func => ExternKind::Func,
        Kind::Type => ExternKind::Type,
        Kind::CoreModule => ExternKind::CoreModule,
        Kind::Component => ExternKind::Component,
        Kind::Value => ExternKind::Value,
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests;
