//! `witgate policy`: author policies.

mod init;
mod junit;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;

use super::Output;
use super::policy_bundle;
use super::sandbox::{self, Bounds};
use crate::case::VerdictWord;
use crate::outage::chain;
use crate::policy::{self, Coverage, EvalError, LoadError, Settings};

/// Compile, test and try policies; what they do runs in a process of its own, within limits of memory and time.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Do the work here: set by the process that waits for it.
    #[arg(long, global = true, hide = true)]
    in_child: bool,
}

/// What `witgate policy test` prints.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TestFormat {
    /// For people.
    Text,
    /// The whole report.
    Json,
    /// XML as JUnit writes it.
    Junit,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a folder with the questions that a policy answers, and the answers that are given
    Init(init::Args),
    /// Compile the policies of a folder and check their data
    Check {
        /// Folder with `*.rego` files and perhaps a folder `data`; `policies` where neither it nor `--data` is said, and the
        /// embedded policies with `--data` alone
        dir: Option<PathBuf>,
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
        /// Only tests whose names match, such as `signing_test.*unsigned`
        #[arg(short, long, value_name = "REGEX")]
        run: Option<regex::Regex>,
        /// A line for every test, with its time
        #[arg(short, long)]
        verbose: bool,
        /// Fail where fewer of the policies' lines are reached, in percent
        #[arg(long, value_name = "PERCENT")]
        threshold: Option<f64>,
        /// What is printed: `junit` is what CI servers read
        #[arg(long, value_enum)]
        format: Option<TestFormat>,
    },
    /// Make an archive of a folder of policies, as OPA's bundles are
    Bundle(policy_bundle::BundleArgs),
    /// Sign an archive: every file of it with its hash
    Sign(policy_bundle::SignArgs),
    /// Which lines of the policies of a folder their tests reach
    Coverage {
        /// Folder with `*.rego` files and perhaps a folder `data`
        #[arg(default_value = "policies")]
        dir: PathBuf,
        /// Folder of `*.json` files that are merged over the data of the policies
        #[arg(long)]
        data: Option<PathBuf>,
        /// Fail where fewer lines are reached, in percent
        #[arg(long, value_name = "PERCENT")]
        threshold: Option<f64>,
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
}
/// Exit 0: good or admitted; 1: a test failed or the case is refused; 2: it does not compile, or usage; 3: no answer.
///
/// # Errors
/// The child cannot be started, or a file cannot be read.
pub async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    if !args.in_child {
        return sandbox::in_child(&BOUNDS).await;
    }
    sandbox::confine(&BOUNDS).context("setting the limits of the policy's process")?;
    tokio::task::spawn_blocking(move || work(args.command, output)).await.context("evaluating the policy")?
}

fn work(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(&args),
        Command::Bundle(args) => finish(policy_bundle::bundle(args), output),
        Command::Sign(args) => finish(policy_bundle::sign(args), output),
        Command::Check { dir, data } => {
            let dir = dir.or_else(|| data.is_none().then(|| "policies".into()));
            match policy::check(dir.as_deref(), data.as_deref()) {
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
            }
        }
        Command::Test { dir, data, run, verbose, threshold, format } => {
            let report = match policy::test(&dir, data.as_deref(), run.as_ref()) {
                Ok(report) => report,
                Err(fault) => return Ok(refuse_to_load(&fault)),
            };
            let code = u8::from(!report.passed() | is_below(threshold, &report.coverage));
            match format.unwrap_or(if output == Output::Json { TestFormat::Json } else { TestFormat::Text }) {
                TestFormat::Text if verbose => print(Output::Text, &report, &report.verbose(), code),
                TestFormat::Text => print(Output::Text, &report, &report.to_string(), code),
                TestFormat::Json => print(Output::Json, &report, "", code),
                TestFormat::Junit => print(Output::Text, &report, &junit::render(&report)?, code),
            }
        }
        Command::Coverage { dir, data, threshold } => match policy::test(&dir, data.as_deref(), None) {
            Ok(report) => {
                if !report.passed() {
                    eprintln!("witgate: error: not every test passed: see which with `witgate policy test`");
                }
                let code = u8::from(!report.passed() | is_below(threshold, &report.coverage));
                print(output, &report.coverage, &report.coverage.to_string(), code)
            }
            Err(fault) => Ok(refuse_to_load(&fault)),
        },
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

/// Whether too few lines are reached, which is told.
fn is_below(threshold: Option<f64>, coverage: &Coverage) -> bool {
    let below = threshold.is_some_and(|threshold| !coverage.reaches(threshold));
    if below {
        let wanted = threshold.unwrap_or_default();
        eprintln!("witgate: error: tests reach {} % of the lines, expected at least {wanted} %", coverage.percent);
        eprintln!("witgate: hint: see which lines are left with `witgate policy coverage`");
    }
    below
}

fn refuse_to_load(fault: &LoadError) -> ExitCode {
    complain(fault);
    ExitCode::from(EXIT_USAGE)
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

const EXIT_USAGE: u8 = 2;
const EXIT_NO_ANSWER: u8 = 3;
/// Room for the program, a compiler stack of 256 MiB, and data; a minute of work.
const BOUNDS: Bounds = Bounds { memory_bytes: 4 << 30, cpu_time_s: 60, wall_time: Some(Duration::from_secs(120)) };
