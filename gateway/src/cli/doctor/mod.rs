//! `witgate doctor`: whether a deployment holds, and what leads past it.

mod certs_d;
mod clock;
mod containerd_config;
mod document;
mod endpoint;
mod finding;
mod guard;
mod hosts_toml;
mod input;
mod listen;
mod registries;
mod registries_conf;
mod roots;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::one_command::OneCommand;
use super::verify::Misuse;
use super::{Global, Output};
use crate::case::Timestamp;
use crate::outage::chain;
use endpoint::Endpoint;
use finding::{Finding, Level, Report};
use guard::Guard;
use registries::View;

/// Check a deployment: mirrors that lead past witgate, the configuration, listeners, trust roots, the clock
///
/// Exit codes: 0 nothing is wrong, 1 something is, 2 usage. What could not be looked at is said, and never called fine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where witgate is reached from the nodes; may be given again [default: `url` of `[listen.registry]`]
    #[arg(long, value_name = "URL|HOST")]
    witgate: Vec<Endpoint>,
    /// A registry that has to be reached through witgate; may be given again [default: those of `[registry.upstreams]`]
    #[arg(long, value_name = "HOST")]
    upstream: Vec<String>,
    /// A folder of `hosts.toml` files, one `hosts.toml`, or containerd's `config.toml`; may be given again
    /// [default: /etc/containerd/config.toml and /etc/containerd/certs.d]
    #[arg(long, value_name = "DIR|FILE")]
    containerd: Vec<PathBuf>,
    /// A `registries.conf` or a folder of drop-ins; may be given again [default: those of /etc/containers and of the user]
    #[arg(long, value_name = "DIR|FILE")]
    registries: Vec<PathBuf>,
    /// Where the node's file system lies, for the files that are looked at by default
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let mut upstreams: BTreeSet<String> = args.upstream.iter().cloned().collect();
    let mut witgates = args.witgate.clone();
    match global.configuration() {
        Ok(config) => {
            let here = global.config.is_some() || config.data_dir.exists();
            report.add(if here {
                gateway(&config, global.config.as_deref(), Timestamp::now()).await
            } else {
                vec![no_gateway(&config)]
            });
            if upstreams.is_empty() {
                upstreams = config.registry.upstreams.keys().cloned().collect();
            }
            let own = config.listen.registry.as_ref().and_then(|registry| registry.url.as_deref()?.parse().ok());
            if witgates.is_empty() {
                witgates.extend(own);
            }
        }
        Err(fault) => {
            let about = global.config.as_ref().map_or("environment".into(), |path| path.display().to_string());
            report.add([Finding::wrong(CONFIG, about, chain(&fault))]);
        }
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    report.add(nodes(&args, home.as_deref(), witgates, upstreams)?);
    let wrong = report.count(Level::Wrong);
    match global.output {
        Output::Text => print!("{}", report.text()),
        Output::Json => println!("{:#}", report.json()),
    }
    if wrong == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("witgate: error: {wrong} of what was looked at {} wrong", if wrong == 1 { "is" } else { "are" });
    eprintln!("witgate: hint: each name is explained in docs/doctor.md");
    Ok(ExitCode::from(1))
}

/// A machine that pulls, without a gateway of its own.
fn no_gateway(config: &crate::config::Config) -> Finding {
    let about = config.data_dir.display().to_string();
    Finding::not_looked_at(CONFIG, about, "no such folder and no `--config`: no gateway runs on this machine")
}

/// What concerns the gateway on this machine.
async fn gateway(config: &crate::config::Config, file: Option<&Path>, now: Timestamp) -> Vec<Finding> {
    let about = file.map_or("no file: defaults and the environment".into(), |path| path.display().to_string());
    let mut findings = vec![match OneCommand::open(&config.registry) {
        Ok(_) => Finding::ok(CONFIG, about, "it loads, and the registries are well described"),
        Err(fault) => Finding::wrong(CONFIG, about, format!("{fault:#}")),
    }];
    findings.extend(listen::check(config).await);
    findings.extend(roots::check(&config.evidence, now));
    let (marks, unread) = clock::marks(config, file).await;
    findings.extend(unread);
    findings.push(clock::check(now, &marks));
    findings
}

/// What concerns the nodes that pull.
///
/// # Errors
/// There is something to look at, and nobody said who witgate is.
fn nodes(
    args: &Args,
    home: Option<&Path>,
    witgates: Vec<Endpoint>,
    upstreams: BTreeSet<String>,
) -> Result<Vec<Finding>, Misuse> {
    let etc = args.root.join("etc");
    let is_host = args.root == Path::new("/");
    let named = !args.containerd.is_empty() || !args.registries.is_empty();
    // One flag is about one program: the other one's files are of another machine then.
    let views: Vec<View> = match (args.registries.is_empty(), named) {
        (true, true) => Vec::new(),
        (true, false) => View::defaults(&etc, home.filter(|_| is_host)).into_iter().filter(View::exists).collect(),
        (false, _) => args.registries.iter().map(|path| View::named(path)).collect(),
    };
    let config = containerd_config::below(&args.root, Path::new(CONTAINERD_CONFIG));
    let certs = containerd_config::below(&args.root, Path::new(containerd_config::CERTS_D));
    let containerd = !named && (input::exists(&config) != Ok(false) || input::exists(&certs) != Ok(false));
    let mut findings = Vec::new();
    if !named && !containerd {
        let about = format!("{}, {}", config.display(), certs.display());
        findings.push(Finding::not_looked_at(CONTAINERD, about, "no file"));
    }
    if !named && views.is_empty() {
        let about = etc.join("containers").display().to_string();
        findings.push(Finding::not_looked_at(REGISTRIES, about, "no file"));
    }
    if !containerd && views.is_empty() && args.containerd.is_empty() {
        return Ok(findings);
    }
    if upstreams.is_empty() {
        let why = "nobody said which: add `--upstream HOST`, or `[registry.upstreams]` to the configuration";
        findings.push(Finding::not_looked_at(UPSTREAMS, "registries without any entry", why));
    }
    let Some(guard) = Guard::new(witgates, upstreams) else {
        let what =
            "files of containerd or the container tools are to be checked, and nobody said which server is witgate";
        return Err(Misuse::new(what, "add `--witgate https://HOST[:PORT]`, as the nodes reach it"));
    };
    if containerd {
        findings.extend(containerd_config::check(&config, &args.root, &guard));
    }
    for path in &args.containerd {
        findings.extend(of_containerd(path, &args.root, &guard));
    }
    for view in &views {
        findings.extend(view.check(&guard));
    }
    Ok(findings)
}

/// One thing of containerd that a flag names.
fn of_containerd(path: &Path, root: &Path, guard: &Guard) -> Vec<Finding> {
    let about = || path.display().to_string();
    match input::exists(path) {
        Ok(true) if path.is_dir() => certs_d::check(&[path.to_owned()], guard),
        Ok(true) if path.file_name().is_some_and(|name| name == "hosts.toml") => certs_d::check_file(path, guard),
        Ok(true) => containerd_config::check(path, root, guard),
        Ok(false) | Err(input::NoText::Absent) => {
            vec![Finding::wrong(CONTAINERD, about(), "there is no such file or folder")]
        }
        Err(input::NoText::Unreadable(why)) => {
            vec![Finding::wrong(CONTAINERD, about(), format!("cannot be read: {why}"))]
        }
    }
}

/// containerd's configuration by its documentation.
const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
/// The gateway's own configuration.
const CONFIG: &str = "config";
/// Everything of containerd.
const CONTAINERD: &str = "containerd";
/// Everything of the container tools.
const REGISTRIES: &str = "registries-conf";
/// Which registries have to be guarded.
const UPSTREAMS: &str = "upstreams";
