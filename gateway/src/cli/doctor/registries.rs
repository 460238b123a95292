//! The registries of the container tools (podman, skopeo, CRI-O, buildah) after all their files are laid over one another.

use std::path::{Path, PathBuf};

use super::document::Undecodable;
use super::endpoint::Endpoint;
use super::finding::Finding;
use super::guard::Guard;
use super::input::{self, NoText};
use super::registries_conf::{Fault, File, Registry};

/// The files that one user's tools read, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// `registries.conf`.
    pub(super) main: Option<PathBuf>,
    /// The folders of drop-ins.
    pub(super) drop_ins: Vec<PathBuf>,
}

/// What was read of a view.
#[derive(Default)]
struct Merged {
    read: Vec<PathBuf>,
    registries: Vec<Registry>,
    search: Vec<(String, String)>,
    findings: Vec<Finding>,
    /// Whether a file could not be read: what is merged is then not what counts.
    broken: bool,
}

impl View {
    /// What root's tools read, and what this user's read where they read others: a file of the user takes the place of the
    /// system's with its drop-ins (`newConfigWrapperWithHomeDir`).
    pub(super) fn defaults(etc: &Path, home: Option<&Path>) -> Vec<Self> {
        let main = etc.join("containers/registries.conf");
        let system_drop_ins = etc.join("containers/registries.conf.d");
        let system = Self { main: Some(main.clone()), drop_ins: vec![system_drop_ins.clone()] };
        let Some(home) = home else { return vec![system] };
        let own = home.join(".config/containers/registries.conf");
        let own_drop_ins = home.join(".config/containers/registries.conf.d");
        let user = if own.exists() {
            Self { main: Some(own), drop_ins: vec![own_drop_ins] }
        } else if own_drop_ins.exists() {
            Self { main: Some(main), drop_ins: vec![system_drop_ins, own_drop_ins] }
        } else {
            return vec![system];
        };
        vec![system, user]
    }

    /// What a flag names: a `registries.conf`, with its drop-ins beside it; or a folder that holds one, or drop-ins.
    pub(super) fn named(path: &Path) -> Self {
        let with_drop_ins = |main: PathBuf| {
            let mut drop_ins = main.clone().into_os_string();
            drop_ins.push(".d");
            Self { main: Some(main), drop_ins: vec![drop_ins.into()] }
        };
        if !path.is_dir() {
            return with_drop_ins(path.to_owned());
        }
        let main = path.join("registries.conf");
        let inside = with_drop_ins(main.clone());
        if main.exists() || inside.drop_ins.iter().any(|folder| folder.exists()) {
            inside
        } else {
            Self { main: None, drop_ins: vec![path.to_owned()] }
        }
    }

    /// Whether there is any file of it.
    pub(super) fn exists(&self) -> bool {
        self.main.iter().chain(&self.drop_ins).any(|path| !matches!(input::exists(path), Ok(false)))
    }

    /// Everything in it that leads past witgate.
    pub(super) fn check(&self, guard: &Guard) -> Vec<Finding> {
        let mut merged = self.merged();
        let mut findings = std::mem::take(&mut merged.findings);
        for registry in &merged.registries {
            findings.extend(of_registry(registry, guard));
        }
        for (name, at) in &merged.search {
            findings.extend(of_search(name, at, &merged.registries, guard));
        }
        if !merged.broken {
            for upstream in guard.upstreams() {
                if !merged.registries.iter().any(|registry| speaks_for(registry, upstream)) {
                    findings.push(unguarded(upstream, guard));
                }
            }
        }
        if findings.iter().all(|finding| finding.level == super::finding::Level::Ok) {
            let files: Vec<String> = merged.read.iter().map(|path| format!("`{}`", path.display())).collect();
            let about = self.main.as_ref().or_else(|| self.drop_ins.first()).map(|path| path.display().to_string());
            let found =
                format!("{} of {}: nothing leads past witgate", count(merged.registries.len()), files.join(", "));
            findings.push(Finding::ok(REGISTRIES, about.unwrap_or_default(), found));
        }
        findings
    }

    /// The files laid over one another: a later `[[registry]]` takes the place of an earlier one with its prefix.
    fn merged(&self) -> Merged {
        let mut merged = Merged::default();
        if let Some(main) = &self.main {
            merged.lay(main, self.drop_ins.iter().any(|folder| folder.exists()));
        }
        for folder in &self.drop_ins {
            match input::folder(folder) {
                Ok(found) => {
                    let is_drop_in = |path: &&PathBuf| {
                        let folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
                        path.extension().is_some_and(|extension| extension == "conf") && !folder
                    };
                    found.iter().filter(is_drop_in).for_each(|path| merged.lay(path, false));
                }
                Err(NoText::Absent) => {}
                Err(NoText::Unreadable(why)) => merged.unreadable(folder, &why),
            }
        }
        merged
    }
}

impl Merged {
    fn lay(&mut self, path: &Path, may_be_absent: bool) {
        let text = match input::text(path) {
            Ok(text) => text,
            // The tools go on with the drop-ins alone.
            Err(NoText::Absent) if may_be_absent => return,
            Err(NoText::Absent) => return self.unreadable(path, "there is no such file"),
            Err(NoText::Unreadable(why)) => return self.unreadable(path, &why),
        };
        let file = match File::read(path, &text) {
            Ok(file) => file,
            Err(Fault::Undecodable(Undecodable { at, why })) => {
                self.broken = true;
                self.findings.push(Finding::wrong(UNDECODABLE, at, format!("the tools stop at it: {why}")));
                return;
            }
            Err(Fault::VersionOne(at)) => {
                self.broken = true;
                let found = "the first form of the format (`[registries.search]`, `.insecure`, `.block`) cannot send anything to witgate, and doctor does not read it";
                let paste = "unqualified-search-registries = []\n";
                self.findings
                    .push(Finding::wrong(VERSION_ONE, at, found).with_fix("write the second form in its place", paste));
                return;
            }
        };
        for (key, at) in &file.folded {
            let found = format!("the tools take `{key}` for `{}`: write it so", key.to_lowercase());
            self.findings.push(Finding::wrong(KEY, at, found));
        }
        let mut laid: Vec<Registry> = Vec::new();
        for registry in file.registries {
            if let Some(first) = laid.iter().find(|first| first.prefix == registry.prefix) {
                let found = format!(
                    "`{}` stands twice, first at {}: which one counts depends on the drop-ins",
                    registry.prefix, first.at
                );
                self.findings.push(Finding::wrong(TWICE, registry.at.clone(), found));
            }
            laid.push(registry);
        }
        self.registries.retain(|before| laid.iter().all(|registry| registry.prefix != before.prefix));
        self.registries.extend(laid);
        if let Some(search) = file.search {
            self.search = search;
        }
        self.read.push(path.to_owned());
    }

    fn unreadable(&mut self, path: &Path, why: &str) {
        self.broken = true;
        self.findings.push(Finding::wrong(REGISTRIES, path.display().to_string(), format!("cannot be read: {why}")));
    }
}

/// What is wrong with one registry.
fn of_registry(registry: &Registry, guard: &Guard) -> Vec<Finding> {
    let Registry { at, prefix, location, .. } = registry;
    if registry.blocked {
        return Vec::new();
    }
    let fixed =
        |finding: Finding| finding.with_fix("write this in place of the table and its mirrors", guard.registry(prefix));
    let mut findings = Vec::new();
    for (mirror, at) in &registry.mirrors {
        let found = format!("a mirror (`{mirror}`): what it refuses is asked for elsewhere, whoever stands there");
        findings.push(fixed(Finding::wrong(MIRROR, at, found)));
    }
    let endpoint = authority(location).parse::<Endpoint>().ok();
    match endpoint.filter(|endpoint| guard.is_witgate(endpoint)) {
        Some(endpoint) => {
            if registry.remaps && path_of(location) != Some(prefix.as_str()) {
                let found = format!("`{prefix}` is sent to `{location}`: expected `{}`", guard.location(prefix));
                findings.push(fixed(Finding::wrong(LOCATION, at, found)));
            }
            if let Some(at) = registry.insecure.as_ref().filter(|_| !endpoint.is_loopback()) {
                let found = format!("`insecure`: whoever is between can answer in the place of `{endpoint}`");
                findings.push(fixed(Finding::wrong(INSECURE, at, found)));
            }
        }
        None if is_guarded(registry, guard) => {
            let found = format!("`{prefix}` is sent to `{location}`, which is not witgate");
            findings.push(fixed(Finding::wrong(LOCATION, at, found)));
        }
        None => {
            let found = format!("no upstream of witgate: what comes from `{prefix}` goes past it");
            findings.push(Finding::warn(OTHER, at, found));
        }
    }
    findings
}

/// What is wrong with a registry that short names are looked for in.
fn of_search(name: &str, at: &str, registries: &[Registry], guard: &Guard) -> Option<Finding> {
    let is_witgate = name.parse().is_ok_and(|endpoint| guard.is_witgate(&endpoint));
    if is_witgate || registries.iter().any(|registry| speaks_for(registry, name)) {
        return None;
    }
    let found = format!("short names are looked for in `{name}`, past witgate");
    let paste = "unqualified-search-registries = []\n";
    Some(Finding::wrong(SEARCH, at, found).with_fix("write this in its place; short names are then no names", paste))
}

fn unguarded(upstream: &str, guard: &Guard) -> Finding {
    let found = format!("no `[[registry]]` speaks for `{upstream}`: the tools ask it itself");
    let say = "write this to `/etc/containers/registries.conf.d/witgate.conf`";
    Finding::wrong(UNGUARDED, upstream, found).with_fix(say, guard.registry(upstream))
}

/// Whether everything of `host` comes by this registry; whether rightly is told elsewhere.
fn speaks_for(registry: &Registry, host: &str) -> bool {
    match registry.prefix.strip_prefix('*') {
        Some(domain) => host.split(':').next().is_some_and(|host| host.ends_with(domain)),
        // `ghcr.io` speaks for `ghcr.io:443` too: "unintended", says the source.
        None => {
            host == registry.prefix
                || host.strip_prefix(registry.prefix.as_str()).is_some_and(|rest| rest.starts_with(':'))
        }
    }
}

/// Whether something of a guarded registry goes this way, by its name or by where it really is.
fn is_guarded(registry: &Registry, guard: &Guard) -> bool {
    let named = authority(&registry.prefix);
    let guards = |host: &str| guard.guards(host);
    let wild =
        registry.prefix.starts_with("*.") && guard.upstreams().iter().any(|upstream| speaks_for(registry, upstream));
    let port =
        guard.upstreams().iter().any(|upstream| upstream.strip_prefix(named).is_some_and(|rest| rest.starts_with(':')));
    guards(named) || guards(authority(&registry.location)) || wild || port
}

/// The host of a location.
fn authority(location: &str) -> &str {
    location.split('/').next().unwrap_or(location)
}

/// What follows the host.
fn path_of(location: &str) -> Option<&str> {
    location.split_once('/').map(|(_, path)| path)
}

fn count(registries: usize) -> String {
    if registries == 1 { "1 registry".into() } else { format!("{registries} registries") }
}

/// The files as a whole.
const REGISTRIES: &str = "registries-conf";
/// Somebody who is asked beside witgate.
const MIRROR: &str = "registries-mirror";
/// Where a registry is sent.
const LOCATION: &str = "registries-location";
/// How witgate is asked.
const INSECURE: &str = "registries-insecure";
/// Where short names lead.
const SEARCH: &str = "registries-search";
/// A registry that nothing speaks for.
const UNGUARDED: &str = "registries-unguarded";
/// A registry that is not behind witgate.
const OTHER: &str = "registries-other";
/// One prefix, two tables.
const TWICE: &str = "registries-twice";
/// A key that means another.
const KEY: &str = "registries-key";
/// A file that the tools stop at.
const UNDECODABLE: &str = "registries-undecodable";
/// A file of the first form.
const VERSION_ONE: &str = "registries-version-1";
