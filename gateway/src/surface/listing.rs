//! A world as `witgate inspect` prints it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::case::{Extern, ExternKind, World};

/// The readable listing of a world: imports grouped by package, then exports, then the world's digest; ends with a newline.
///
/// Bytes of names that are not printable ASCII are escaped, for names come from whoever made the component.
pub fn text(world: &World) -> String {
    let mut out = String::new();
    group(&mut out, "imports", &world.imports);
    group(&mut out, "exports", &world.exports);
    line(&mut out, 0, &format!("world {}", world.digest));
    out
}

fn group(out: &mut String, title: &str, externs: &[Extern]) {
    if externs.is_empty() {
        return line(out, 0, &format!("{title}: none"));
    }
    line(out, 0, &format!("{title}: {}", externs.len()));
    let mut packages: BTreeMap<String, Vec<(&str, &Extern)>> = BTreeMap::new();
    for external in externs {
        if let (Some(package), Some(interface)) = (&external.package, &external.interface) {
            let version = external.version.iter().map(|version| format!("@{version}"));
            let package = std::iter::once(package.clone()).chain(version).collect();
            packages.entry(package).or_default().push((interface, external));
        } else {
            line(out, 1, &titled(&external.name, external));
            external.items.iter().for_each(|item| line(out, 2, item));
        }
    }
    for (package, interfaces) in packages {
        line(out, 1, &package);
        for (interface, external) in interfaces {
            line(out, 2, &titled(interface, external));
            external.items.iter().for_each(|item| line(out, 3, item));
        }
    }
}

/// The kind stands behind every name that is not an interface's.
fn titled(name: &str, external: &Extern) -> String {
    match external.kind {
        ExternKind::Instance => name.to_owned(),
        ExternKind::Func => format!("{name} (function)"),
        ExternKind::Type => format!("{name} (type)"),
        ExternKind::CoreModule => format!("{name} (core module)"),
        ExternKind::Component => format!("{name} (component)"),
        ExternKind::Value => format!("{name} (value)"),
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    let printable = text.chars().fold(String::with_capacity(text.len()), |mut printable, c| {
        if c == ' ' || c.is_ascii_graphic() {
            printable.push(c);
        } else {
            write!(printable, "{}", c.escape_unicode()).expect("broken invariant: a string can be written to");
        }
        printable
    });
    writeln!(out, "{:width$}{printable}", "", width = depth * 2).expect("broken invariant: a string can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Digest;

    fn external(name: &str, kind: ExternKind, items: &[&str]) -> Extern {
        let (package, interface, version) = match super::super::InterfaceName::parse(name) {
            Some(parts) => (Some(parts.package), Some(parts.interface), parts.version),
            None => (None, None, None),
        };
        Extern {
            name: name.into(),
            package: package.map(str::to_owned),
            interface: interface.map(str::to_owned),
            version: version.map(str::to_owned),
            track: name.into(),
            kind,
            items: items.iter().map(|item| (*item).to_owned()).collect(),
        }
    }

    #[test]
    fn a_listing_reads_well() {
        let world = World {
            digest: Digest::of(b""),
            imports: vec![
                external("acme:calc/plain", ExternKind::Instance, &["func add"]),
                external("log", ExternKind::Func, &[]),
                external("url=<x\n\u{1b}[31mé>", ExternKind::Component, &[]),
                external("wasi:io/error@0.2.12", ExternKind::Instance, &["resource error"]),
                external("wasi:io/streams@0.2.0", ExternKind::Instance, &[]),
                external("wasi:io/streams@0.2.12", ExternKind::Instance, &["func [method]x.y", "resource x"]),
            ],
            exports: vec![],
        };
        insta::assert_snapshot!(text(&world), @r"
        imports: 6
          log (function)
          url=<x\u{a}\u{1b}[31m\u{e9}> (component)
          acme:calc
            plain
              func add
          wasi:io@0.2.0
            streams
          wasi:io@0.2.12
            error
              resource error
            streams
              func [method]x.y
              resource x
        exports: none
        world sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        ");
    }
}
