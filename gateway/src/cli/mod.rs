//! The command line: one file a subcommand.

mod admit;
mod answer;
mod conformance;
#[cfg(all(feature = "dev", feature = "host"))]
mod demo;
#[cfg(feature = "dev")]
pub mod dev_registry;
mod doctor;
mod explain;
mod files;
mod inspect;
mod key;
pub mod log;
mod one_command;
pub mod policy;
mod policy_bundle;
mod replay;
mod sandbox;
mod serve;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::config::{Config, ConfigError};
use crate::outage::{NoAnswer, Outage};
use crate::{audit, evidence, gate, identity, service};

/// The hidden subcommand under which this binary is the attached host.
#[cfg(feature = "host")]
pub(crate) const ATTACHED_HOST: &str = "attached-host";

/// A policy and supply-chain gateway for WebAssembly components.
///
/// witgate stands between OCI registries and Wasm hosts. It answers one question on evidence it has checked itself: may this
/// caller run this component with these capabilities? Every answer is recorded in a tamper-evident log.
///
/// Start with `witgate demo`: the whole chain on embedded parts, no configuration.
///
/// Exit codes: 0 admitted or fine, 1 refused, 2 usage or configuration, 3 no answer (a peer failed).
#[derive(Debug, Parser)]
#[command(name = "witgate", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Configuration file (TOML); see `witgate.example.toml`
    #[arg(long, global = true, value_name = "FILE", env = "WITGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the log, the cache and the keys [default: the XDG state folder]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Form of what goes to stdout
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, env = "WITGATE_OUTPUT")]
    output: Output,
}

/// The form of what goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole chain on embedded parts: push, admit, run, refuse, prove
    #[cfg(all(feature = "dev", feature = "host"))]
    Demo(demo::Args),
    /// Run the gateway until it is told to stop
    Serve(serve::Args),
    /// Decide on one component through the whole path, and record it
    Admit(admit::Args),
    /// List what a component imports and exports
    Inspect(inspect::Args),
    Verify(Box<verify::Args>),
    /// Show what a key is: its algorithm, its id, its public half
    Key(key::Args),
    /// Answer sigstore-conformance: one bundle, verified or not
    Conformance(conformance::Args),
    /// Tell why something was admitted or refused
    Explain(explain::Args),
    Doctor(Box<doctor::Args>),
    /// Read, prove and verify the audit log
    Log(log::Args),
    Replay(Box<replay::Args>),
    /// Check, test and evaluate admission policies
    Policy(policy::Args),
    /// Run an embedded OCI registry for development
    #[cfg(feature = "dev")]
    DevRegistry(dev_registry::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    #[cfg(feature = "host")]
    if arguments.get(1).is_some_and(|word| word == ATTACHED_HOST) {
        return witgate_host_hook::host::cli::main_with(arguments.into_iter().skip(1));
    }
    crate::tls::install_provider();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no faults and go to stdout; all else is usage: 2.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fault(&anyhow::Error::from(error)),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => fault(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match cli.command {
        #[cfg(all(feature = "dev", feature = "host"))]
        Command::Demo(args) => demo::run(args, global).await,
        Command::Serve(args) => serve::run(args, global).await,
        Command::Admit(args) => admit::run(args, global).await,
        Command::Inspect(args) => inspect::run(args, global).await,
        Command::Verify(args) => verify::run(*args, global).await,
        Command::Key(args) => key::run(&args, global.output),
        Command::Conformance(args) => conformance::run(args),
        Command::Explain(args) => explain::run(args, global).await,
        Command::Doctor(args) => doctor::run(*args, global).await,
        Command::Log(args) => {
            let config = global.configuration()?;
            log::run(args, &config.audit.database_path(&config.data_dir), global.output).await
        }
        Command::Replay(args) => replay::run(*args, global).await,
        Command::Policy(args) => policy::run(args, global.output).await,
        #[cfg(feature = "dev")]
        Command::DevRegistry(args) => dev_registry::run(args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "witgate", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Global {
    /// The configuration of file, environment and flags.
    fn configuration(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref(), std::env::vars(), self.data_dir.as_deref())
    }
}

/// Prints a fault once, with its chain and the next thing to do; its kind is the exit code.
fn fault(error: &anyhow::Error) -> ExitCode {
    let mut line = format!("witgate: error: {error}");
    for source in error.chain().skip(1) {
        let source = source.to_string();
        if !line.ends_with(&source) {
            line.push_str(": ");
            line.push_str(&source);
        }
    }
    eprintln!("{line}");
    if let Some(hint) = hint(error) {
        eprintln!("witgate: hint: {hint}");
    }
    ExitCode::from(exit_code(error))
}

/// The stage that did not start, alone or inside a service.
fn not_started(error: &anyhow::Error) -> Option<&gate::StartError> {
    match error.downcast_ref::<service::StartError>() {
        Some(service::StartError::Gate(fault)) => Some(fault),
        _ => error.downcast_ref(),
    }
}

/// 3 where a peer failed or does not know, 2 for everything a person has to mend.
fn exit_code(error: &anyhow::Error) -> u8 {
    let no_answer = |answer: &NoAnswer| !matches!(answer, NoAnswer::Unprocessable { .. });
    let outage = error.chain().any(|source| {
        outage_of(source).is_some()
            || source.is::<audit::StartError>()
            || source.downcast_ref::<NoAnswer>().is_some_and(no_answer)
    });
    let no_log = matches!(not_started(error), Some(gate::StartError::Audit(_)));
    let no_peer = matches!(
        error.downcast_ref(),
        Some(service::StartError::Identity(identity::StartError::Sync { .. }) | service::StartError::Record(_))
    );
    if outage || no_log || no_peer { 3 } else { 2 }
}

/// An outage, also one that its error keeps boxed.
fn outage_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Outage> {
    error.downcast_ref().or_else(|| error.downcast_ref::<Box<Outage>>().map(AsRef::as_ref))
}

/// The next thing to do.
fn hint(error: &anyhow::Error) -> Option<String> {
    match (not_started(error), error.downcast_ref()) {
        (Some(gate::StartError::Audit(fault)), _) => return fault.hint(),
        (Some(gate::StartError::Evidence(fault)), _) => return fault.hint().map(Into::into),
        (Some(gate::StartError::Policy(fault)), _) => return Some(fault.hint().into()),
        (Some(gate::StartError::Handover(fault)), _) => return Some(fault.hint()),
        (Some(gate::StartError::Pulls { .. }), _) => {
            return Some("take the file away: callers then ask for manifests again, and nothing else is lost".into());
        }
        (_, Some(service::StartError::Identity(fault))) => return fault.hint().map(Into::into),
        (_, Some(service::StartError::Record(fault))) => return fault.hint.clone(),
        _ => {}
    }
    if let Some(fault) = error.downcast_ref::<audit::StartError>() {
        return fault.hint();
    }
    if let Some(misuse) = error.downcast_ref::<verify::Misuse>() {
        return Some(misuse.hint().to_owned());
    }
    error.chain().find_map(|source| {
        if let Some(fault) = source.downcast_ref::<evidence::StartError>() {
            return fault.hint().map(Into::into);
        }
        if let Some(fault) = source.downcast_ref::<evidence::KeyFileFault>() {
            return Some(fault.hint().into());
        }
        if let Some(fault) = source.downcast_ref::<evidence::KeyFault>() {
            return Some(fault.hint().into());
        }
        if let Some(outage) = outage_of(source) {
            return outage.hint.clone();
        }
        if let Some(answer) = source.downcast_ref::<NoAnswer>() {
            return match answer {
                NoAnswer::Outage(outage) => outage.hint.clone(),
                NoAnswer::UnknownReference { .. } => Some(
                    "check the name and the tag; a private repository needs credentials in `[registry.upstreams]`"
                        .into(),
                ),
                _ => None,
            };
        }
        if let Some(service::StartError::Listen { .. }) = source.downcast_ref() {
            return Some("choose another address with `--listen` or `listen.callers`".into());
        }
        match source.downcast_ref() {
            Some(ConfigError::OpenListener { .. }) => {
                return Some("configure `[identity]` with an SVID, or listen on 127.0.0.1".into());
            }
            Some(ConfigError::Registry { .. }) => {
                return Some("see `[listen.registry]` in witgate.example.toml and docs/identity.md".into());
            }
            _ => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
