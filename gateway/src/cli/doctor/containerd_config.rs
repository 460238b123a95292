//! containerd's own `config.toml`, and what it imports: where it looks for `hosts.toml`, and mirrors of the old kind.

use std::path::{Path, PathBuf};

use super::certs_d;
use super::document::{Document, Undecodable};
use super::finding::Finding;
use super::guard::Guard;
use super::input::{self, NoText};

/// The configuration at `path`, and every folder that it names, all of them below `root`.
pub(super) fn check(path: &Path, root: &Path, guard: &Guard) -> Vec<Finding> {
    let mut read = Read { root, findings: Vec::new(), chains: Vec::new(), seen: Vec::new() };
    read.file(path, guard);
    let Read { mut findings, chains, seen, .. } = read;
    if chains.is_empty() && !seen.is_empty() {
        let found = "there is no `config_path`: before containerd 2.2 no `hosts.toml` is read at all, and every registry is asked itself";
        let paste = format!(
            "[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"{CERTS_D}\"\n\n# containerd 1.x, version = 2\n\
             [plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"{CERTS_D}\"\n"
        );
        let finding = Finding::wrong(CONFIG, path.display().to_string(), found);
        findings.push(finding.with_fix("add the table of your containerd to it", paste));
    }
    if chains.is_empty() {
        findings.extend(certs_d::check(&[below(root, Path::new(CERTS_D))], guard));
    }
    for chain in &chains {
        findings.extend(certs_d::check(chain, guard));
    }
    findings
}

/// The files on the way.
struct Read<'r> {
    root: &'r Path,
    findings: Vec<Finding>,
    /// The folders of each `config_path`.
    chains: Vec<Vec<PathBuf>>,
    seen: Vec<PathBuf>,
}

impl Read<'_> {
    fn file(&mut self, path: &Path, guard: &Guard) {
        if self.seen.iter().any(|seen| seen == path) {
            return;
        }
        let about = path.display().to_string();
        if self.seen.len() == FILES_MAX {
            self.findings.push(Finding::wrong(
                CONFIG,
                about,
                format!("it would be the {}th file that is imported", FILES_MAX + 1),
            ));
            return;
        }
        let text = match input::text(path) {
            Ok(text) => text,
            Err(NoText::Absent) => {
                self.findings.push(Finding::not_looked_at(CONFIG, about, "no file"));
                return;
            }
            Err(NoText::Unreadable(why)) => {
                self.seen.push(path.to_owned());
                self.findings.push(Finding::wrong(CONFIG, about, format!("cannot be read: {why}")));
                return;
            }
        };
        self.seen.push(path.to_owned());
        let before = self.findings.len();
        let imports = Document::parse(path, &text).and_then(|document| self.document(path, &document, guard));
        let imports = imports.unwrap_or_else(|Undecodable { at, why }| {
            self.findings.push(Finding::wrong(CONFIG, at, format!("containerd does not start with it: {why}")));
            Vec::new()
        });
        if self.findings.len() == before {
            self.findings.push(Finding::ok(CONFIG, about, "nothing in it leads past witgate"));
        }
        for import in imports {
            self.file(&import, guard);
        }
    }

    /// What one file says by itself, and whom it imports.
    fn document(&mut self, path: &Path, document: &Document<'_>, guard: &Guard) -> Result<Vec<PathBuf>, Undecodable> {
        for keys in REGISTRY_TABLES {
            if let Some(mirrors) = document.at(&[*keys, &["mirrors"]].concat()) {
                for mirror in mirrors.table()? {
                    let name = mirror.key();
                    let found = format!(
                        "a mirror of the old kind: behind its endpoints containerd asks `{name}` itself for what they refuse"
                    );
                    let paste = guard.hosts_toml();
                    let file = format!("{CERTS_D}/{name}/hosts.toml");
                    let finding = Finding::wrong(MIRRORS, mirror.key_at(), found);
                    let say =
                        format!("take the table away, set `config_path = \"{CERTS_D}\"` and write this to `{file}`");
                    self.findings.push(finding.with_fix(say, paste));
                }
            }
            self.chain(document, &[*keys, &["config_path"]].concat())?;
        }
        self.chain(document, TRANSFER_PATH)?;
        let Some(imports) = document.at(&["imports"]) else { return Ok(Vec::new()) };
        let (at, names) = (imports.at(), imports.strings()?);
        Ok(names.into_iter().flat_map(|name| self.imported(path, name, &at)).collect())
    }

    fn chain(&mut self, document: &Document<'_>, keys: &[&str]) -> Result<(), Undecodable> {
        let Some(entry) = document.at(keys) else { return Ok(()) };
        let folders = entry.string()?.split(':').filter(|folder| !folder.is_empty());
        let chain: Vec<PathBuf> = folders.map(|folder| below(self.root, Path::new(folder))).collect();
        if !chain.is_empty() && !self.chains.contains(&chain) {
            self.chains.push(chain);
        }
        Ok(())
    }

    /// The files of one entry of `imports`: a path, with `*` in the file's name at most.
    fn imported(&mut self, path: &Path, name: &str, at: &str) -> Vec<PathBuf> {
        let named = if Path::new(name).is_absolute() {
            below(self.root, Path::new(name))
        } else {
            path.parent().unwrap_or(Path::new("")).join(name)
        };
        let (folder, pattern) = (named.parent().unwrap_or(Path::new("")), named.file_name().unwrap_or_default());
        let pattern = pattern.to_string_lossy().into_owned();
        let other = |text: &str| text.contains(['*', '?', '[', '\\']);
        if other(&folder.to_string_lossy()) || pattern.contains(['?', '[', '\\']) || pattern.matches('*').count() > 1 {
            let found = format!(
                "`{name}` is imported, and doctor reads no pattern but one `*` in a file's name: give each file with `--containerd`"
            );
            self.findings.push(Finding::wrong(CONFIG, at, found));
            return Vec::new();
        }
        let Some((start, end)) = pattern.split_once('*') else { return vec![named] };
        match input::folder(folder) {
            Ok(found) => {
                let fits = |path: &PathBuf| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
                };
                found.into_iter().filter(fits).collect()
            }
            Err(NoText::Absent) => Vec::new(),
            Err(NoText::Unreadable(why)) => {
                let about = folder.display().to_string();
                self.findings.push(Finding::wrong(CONFIG, about, format!("cannot be read: {why}")));
                Vec::new()
            }
        }
    }
}

/// `path` in the file system that lies at `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Where containerd looks for `hosts.toml` by its documentation.
pub(super) const CERTS_D: &str = "/etc/containerd/certs.d";
/// The tables `registry` of containerd 2.x, 1.x, and 1.x in its first form.
const REGISTRY_TABLES: &[&[&str]] = &[
    &["plugins", "io.containerd.cri.v1.images", "registry"],
    &["plugins", "io.containerd.grpc.v1.cri", "registry"],
    &["plugins", "cri", "registry"],
];
/// Where the transfer service looks.
const TRANSFER_PATH: &[&str] = &["plugins", "io.containerd.transfer.v1.local", "config_path"];
/// The most files that import one another.
const FILES_MAX: usize = 64;
/// The configuration itself.
const CONFIG: &str = "containerd-config";
/// Its old mirrors.
const MIRRORS: &str = "containerd-mirrors";
