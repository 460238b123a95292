//! The vendored WASI 0.2 packages a world may name.

use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use wit_parser::{PackageId, Resolve, UnresolvedPackageGroup};

/// The WASI version of the files in `wit/deps/`, the one `wasmtime-wasi` 48 offers.
pub const VERSION: &str = "0.2.12";

/// Parses `wit`, one package that may use any WASI package of [`VERSION`].
///
/// Errors say where the text stopped being WIT, or which name nobody defines.
pub(super) fn resolve(wit: &str) -> Result<(Resolve, PackageId)> {
    let mut resolve = WASI.clone();
    let package = resolve.push_source("world.wit", wit).context("reading the world")?;
    Ok((resolve, package))
}

/// All WASI packages, parsed once a process: it takes longer than building a component.
static WASI: LazyLock<Resolve> = LazyLock::new(|| {
    let parse = |(name, text): (&str, &str)| match UnresolvedPackageGroup::parse(name, text) {
        Ok(group) => group,
        Err((_, error)) => panic!("vendored WIT file `{name}` does not parse: {error}"),
    };
    let mut groups = FILES.into_iter().map(parse);
    let main = groups.next().expect("broken invariant: the list of vendored WIT files is not empty");
    let mut resolve = Resolve::default();
    resolve.push_groups(main, groups.collect()).expect("broken invariant: the vendored WIT files resolve");
    resolve
});

const FILES: [(&str, &str); 7] = [
    ("http.wit", include_str!("../../../../wit/deps/http.wit")),
    ("cli.wit", include_str!("../../../../wit/deps/cli.wit")),
    ("clocks.wit", include_str!("../../../../wit/deps/clocks.wit")),
    ("filesystem.wit", include_str!("../../../../wit/deps/filesystem.wit")),
    ("io.wit", include_str!("../../../../wit/deps/io.wit")),
    ("random.wit", include_str!("../../../../wit/deps/random.wit")),
    ("sockets.wit", include_str!("../../../../wit/deps/sockets.wit")),
];
