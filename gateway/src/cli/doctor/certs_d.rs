//! The folders in which containerd looks for `hosts.toml`, one a registry.

use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::guard::Guard;
use super::hosts_toml::{self, DEFAULT, fixed, itself};
use super::input::{self, NoText};

/// Every file below `roots`, and the registries that none of them speaks for. The first root that has a folder for a registry,
/// or one for all, counts for it (`hostDirFromRoots`, `HostDirFromRoot`).
pub(super) fn check(roots: &[PathBuf], guard: &Guard) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut readable = Vec::new();
    for root in roots {
        match input::folder(root) {
            Ok(found) => {
                readable.push(root);
                for folder in found.iter().filter(|path| path.is_dir()) {
                    findings.extend(check_folder(folder, guard));
                }
            }
            Err(NoText::Absent) => {
                let about = root.display().to_string();
                findings.push(Finding::not_looked_at(FOLDER, about, "no such folder"));
            }
            Err(NoText::Unreadable(why)) => {
                findings.push(Finding::wrong(FOLDER, root.display().to_string(), format!("cannot be read: {why}")));
            }
        }
    }
    for upstream in guard.upstreams() {
        match folder_of(roots, upstream) {
            Ok(Some(_)) => findings.extend(other_spelling(roots, upstream, guard)),
            Ok(None) => findings.push(unguarded(roots, upstream, guard)),
            Err((path, why)) => {
                findings.push(Finding::wrong(FOLDER, path.display().to_string(), format!("cannot be read: {why}")));
            }
        }
    }
    findings
}

/// The file of one registry's folder.
fn check_folder(folder: &Path, guard: &Guard) -> Vec<Finding> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let namespace = registry_of(&name);
    let file = folder.join(FILE);
    let about = file.display().to_string();
    match input::text(&file) {
        Ok(text) => hosts_toml::check(&file, &namespace, &text, guard),
        Err(NoText::Unreadable(why)) => vec![Finding::wrong(FOLDER, about, format!("cannot be read: {why}"))],
        Err(NoText::Absent) if guard.is_own_name(&namespace) => Vec::new(),
        Err(NoText::Absent) if namespace == DEFAULT || guard.guards(&namespace) => {
            let found = format!(
                "there is no such file: containerd asks {} itself, and a folder for all is not looked into",
                itself(&namespace)
            );
            vec![fixed(Finding::wrong(UNGUARDED, about, found), &file, guard)]
        }
        Err(NoText::Absent) => {
            let found = format!("no upstream of witgate: what comes from `{namespace}` goes past it");
            vec![Finding::warn(OTHER, about, found)]
        }
    }
}

/// One file that was named by itself: its folder says whom it is for.
pub(super) fn check_file(file: &Path, guard: &Guard) -> Vec<Finding> {
    let folder = file.canonicalize().ok().and_then(|file| file.parent().map(Path::to_owned));
    let name = folder.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    match input::text(file) {
        Ok(text) => hosts_toml::check(file, &registry_of(&name), &text, guard),
        Err(NoText::Absent) => vec![Finding::wrong(FOLDER, file.display().to_string(), "there is no such file")],
        Err(NoText::Unreadable(why)) => {
            vec![Finding::wrong(FOLDER, file.display().to_string(), format!("cannot be read: {why}"))]
        }
    }
}

/// The folder that counts for a registry.
fn folder_of(roots: &[PathBuf], registry: &str) -> Result<Option<PathBuf>, (PathBuf, String)> {
    let with_port = registry.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
    let names: Vec<&str> = with_port.as_deref().into_iter().chain([registry, DEFAULT]).collect();
    for root in roots {
        for name in &names {
            let folder = root.join(name);
            match input::exists(&folder) {
                Ok(true) => return Ok(Some(folder)),
                Ok(false) | Err(NoText::Absent) => {}
                Err(NoText::Unreadable(why)) => return Err((folder, why)),
            }
        }
    }
    Ok(None)
}

fn unguarded(roots: &[PathBuf], registry: &str, guard: &Guard) -> Finding {
    let file = roots.first().map(|root| root.join(registry).join(FILE)).unwrap_or_default();
    let found = format!("no `hosts.toml` speaks for `{registry}`: containerd asks it itself");
    fixed(Finding::wrong(UNGUARDED, registry, found), &file, guard)
}

/// A reference may name the port of https, and containerd looks for a folder with that name then.
fn other_spelling(roots: &[PathBuf], registry: &str, guard: &Guard) -> Option<Finding> {
    if registry.contains(':') || !matches!(folder_of(roots, &format!("{registry}:443")), Ok(None)) {
        return None;
    }
    let file = roots.first()?.join(format!("{registry}_443_")).join(FILE);
    let found = format!(
        "`{registry}:443/…` is the same registry, and no `hosts.toml` speaks for it: such a reference goes past witgate"
    );
    Some(fixed(Finding::warn(PORT, format!("{registry}:443"), found), &file, guard))
}

/// `registry.example_5000_` is `registry.example:5000`.
fn registry_of(folder: &str) -> String {
    let port = folder.strip_suffix('_').and_then(|name| name.rsplit_once('_'));
    match port {
        Some((host, port))
            if !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{host}:{port}")
        }
        _ => folder.to_owned(),
    }
}

/// The file in each folder.
const FILE: &str = "hosts.toml";
/// The folders themselves.
const FOLDER: &str = "containerd-folder";
/// A registry that nothing speaks for.
const UNGUARDED: &str = "containerd-unguarded";
/// A registry that nothing speaks for when its port is named.
const PORT: &str = "containerd-port";
/// A registry that is not behind witgate.
const OTHER: &str = "containerd-other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_registry_with_its_port() {
        for (folder, registry) in [
            ("ghcr.io", "ghcr.io"),
            ("registry.example_5000_", "registry.example:5000"),
            ("registry.example:5000", "registry.example:5000"),
            ("_default", "_default"),
            ("_5000_", "_5000_"),
            ("a__", "a__"),
        ] {
            assert_eq!(registry_of(folder), registry);
        }
    }
}
