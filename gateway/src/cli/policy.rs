//! `witgate policy`: author policies.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

use super::{Output, policy_bundle};
use crate::case::VerdictWord;
use crate::outage::chain;
use crate::policy::{self, EvalError, LoadError, Settings};

/// Compile, test and try policies; what they do runs in a process of its own, within limits of memory and time.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Do the work here: set by the process that waits for it.
    #[arg(long, global = true, hide = true)]
    in_child: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile the policies of a folder and check their data
    Check {
        /// Folder with `*.rego` files and perhaps a folder `data`
        #[arg(default_value = "policies")]
        dir: PathBuf,
        /// Folder of `*.json` files that are merged over the data of the policies
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Run the `test_*` rules of the `*_test.rego` files of a folder
    Test {
        /// Folder with `*.rego` files and perhaps a folder `data`
        #[arg(default_value = "policies")]
        dir: PathBuf,
        /// Folder of `*.json` files that are merged over the data of the policies
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Decide one case as the gateway would, and record nothing
    Eval {
        /// The case as JSON (`policies/case.schema.json`); `-` reads standard input
        case: PathBuf,
        /// Folder of policies; without it the embedded ones decide
        #[arg(long)]
        policy: Option<PathBuf>,
        /// Folder of `*.json` files that are merged over the data of the policies
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Make an archive of a folder of policies, as OPA's bundles are
    Bundle(policy_bundle::BundleArgs),
    /// Sign an archive: every file of it with its hash
    Sign(policy_bundle::SignArgs),
}

/// Exit 0: good or admitted; 1: a test failed or the case is refused; 2: it does not compile, or usage; 3: no answer.
///
/// # Errors
/// The child cannot be started, or a file cannot be read.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    if args.in_child {
        limit_this_process().context("setting the limits of the policy's process")?;
        return tokio::task::spawn_blocking(move || work(args.command, output))
            .await
            .context("evaluating the policy")?;
    }
    let program = std::env::current_exe().context("finding this program")?;
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--in-child")
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("starting the policy's process")?;
    let Ok(status) = tokio::time::timeout(WALL_TIME, child.wait()).await else {
        bail!("policy ran past {} s and was stopped", WALL_TIME.as_secs());
    };
    let status = status.context("waiting for the policy's process")?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => Ok(ExitCode::from(code)),
        None => {
            eprintln!("witgate: error: policy brought its process down: {status}");
            eprintln!("witgate: hint: look for rules that call themselves, and for values that grow without end");
            Ok(ExitCode::from(EXIT_USAGE))
        }
    }
}

fn work(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { dir, data } => match policy::check(&dir, data.as_deref()) {
            Ok(report) => print(output, &report, &report.to_string(), 0),
            Err(faults) => {
                if output == Output::Json {
                    let faults: Vec<_> =
                        faults.iter().map(|fault| json!({"error": chain(fault), "hint": fault.hint()})).collect();
                    return print(output, &json!({"faults": faults}), "", EXIT_USAGE);
                }
                faults.iter().for_each(complain);
                Ok(ExitCode::from(EXIT_USAGE))
            }
        },
        Command::Test { dir, data } => match policy::test(&dir, data.as_deref()) {
            Ok(report) => print(output, &report, &report.to_string(), u8::from(!report.passed())),
            Err(fault) => {
                complain(&fault);
                Ok(ExitCode::from(EXIT_USAGE))
            }
        },
        Command::Bundle(args) => finish(policy_bundle::bundle(args), output),
        Command::Sign(args) => finish(policy_bundle::sign(args), output),
        Command::Eval { case, policy: dir, data } => {
            let case_json = read_case(&case)?;
            match policy::eval(&Settings { dir, data, ..Settings::default() }, &case_json) {
                Ok((case, decision)) => {
                    let code = u8::from(decision.verdict == VerdictWord::Refuse);
                    print(output, &decision, &policy::render(&case, &decision), code)
                }
                Err(EvalError::Load(fault)) => {
                    complain(&fault);
                    Ok(ExitCode::from(EXIT_USAGE))
                }
                Err(fault) => {
                    eprintln!("witgate: error: {}", chain(&fault));
                    let no_answer = matches!(fault, EvalError::Outage(_));
                    Ok(ExitCode::from(if no_answer { EXIT_NO_ANSWER } else { EXIT_USAGE }))
                }
            }
        }
    }
}

fn finish(done: Result<policy_bundle::Done, policy_bundle::Fault>, output: Output) -> anyhow::Result<ExitCode> {
    match done {
        Ok(done) => print(output, &done.json, &done.text, 0),
        Err(policy_bundle::Fault::Load(fault)) => {
            eprintln!("witgate: error: {}", chain(&fault));
            eprintln!("witgate: hint: {}", policy_bundle::hint(&fault));
            Ok(ExitCode::from(EXIT_USAGE))
        }
        Err(policy_bundle::Fault::Other(error)) => Err(error),
    }
}

fn read_case(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    // One byte past the limit tells a large case from one that fits.
    let limit = policy::MAX_CASE_BYTES as u64 + 1;
    let mut case_json = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_end(&mut case_json).context("reading the case from standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("reading the case `{}`", path.display()))?;
        file.take(limit)
            .read_to_end(&mut case_json)
            .with_context(|| format!("reading the case `{}`", path.display()))?;
    }
    Ok(case_json)
}

fn print<T: serde::Serialize>(output: Output, data: &T, text: &str, code: u8) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    match output {
        Output::Text => stdout.write_all(text.as_bytes())?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut stdout, data)?;
            stdout.write_all(b"\n")?;
        }
    }
    stdout.flush()?;
    Ok(ExitCode::from(code))
}

fn complain(fault: &LoadError) {
    eprintln!("witgate: error: {}", chain(fault));
    eprintln!("witgate: hint: {}", fault.hint());
}

/// After this a policy can end this process only.
fn limit_this_process() -> rustix::io::Result<()> {
    for (resource, limit) in [(Resource::As, MEMORY_BYTES), (Resource::Cpu, CPU_TIME_S), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

const EXIT_USAGE: u8 = 2;
const EXIT_NO_ANSWER: u8 = 3;
/// Address space of the process that evaluates, in bytes: its program, a compiler stack of 256 MiB, and room for data.
const MEMORY_BYTES: u64 = 4 << 30;
/// Processor time of the process that evaluates, in seconds.
const CPU_TIME_S: u64 = 60;
/// How long this process waits for the one that evaluates.
const WALL_TIME: Duration = Duration::from_secs(120);
