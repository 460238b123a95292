//! The command line of `witgate-host`: arguments in, words and an exit code out.

mod words;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;
use uuid::Uuid;

use self::words::{Exit, Failure, clean, data, say};
use super::{Ended, Host, Output, Prepared};
use crate::client::{Answer, ClientFault, Gateway, Settings, Timeouts};
use crate::ticket::VerifiedTicket;

/// How long wasmtime may compile: an 18 MB component takes some 20 s on one core.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);

/// Ask a witgate gateway for a component, check its ticket, run it with exactly the granted imports.
#[derive(Debug, Parser)]
#[command(name = "witgate-host", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a `wasi:cli` command once.
    Run(Question),
    /// Serve a `wasi:http` handler until the grant's lifetime ends.
    Serve {
        #[command(flatten)]
        question: Question,
        /// The address to listen on; port 0 takes a free one.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct Question {
    /// What to run: `REGISTRY/REPOSITORY:TAG` or `…@sha256:…`.
    reference: String,
    /// The gateway, `https://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    gateway: String,
    /// The SPIFFE ID that the gateway must have.
    #[arg(long, value_name = "SPIFFE_ID")]
    gateway_id: String,
    /// A key that may sign tickets (SPKI PEM, the gateway's `ticket.pub`); may be given twice while a key is rotated.
    #[arg(long, value_name = "FILE", required = true)]
    ticket_key: Vec<PathBuf>,
    /// The audit log's verifier key, `NAME+HASH+KEY`, to judge the ticket's checkpoint by.
    #[arg(long, value_name = "KEY")]
    log_key: Option<String>,
    /// The SPIFFE Workload API that gives this host its identity.
    #[arg(long, value_name = "ADDRESS", env = "SPIFFE_ENDPOINT_SOCKET")]
    workload_api: String,
    /// A link to another component to ask for; may be given more than once.
    #[arg(long = "link", value_name = "LINK")]
    links: Vec<String>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The component's own output; words on standard error.
    Text,
    /// One JSON object on standard output.
    Json,
}

/// Runs the command line in this process, which must have no runtime of its own on this thread.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    start_log();
    crate::client::install_tls();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::outage("cannot start", &error).tell(Format::Text, "", None),
    };
    let exit = runtime.block_on(run(&cli.command));
    // A compilation that was given up runs on in its thread; nobody waits for it.
    runtime.shutdown_background();
    exit
}

async fn run(command: &Command) -> ExitCode {
    let (Command::Run(question) | Command::Serve { question, .. }) = command;
    let asked = match ask(question).await {
        Ok(asked) => asked,
        Err(failure) => return failure.tell(question.output, &question.reference, None),
    };
    let decision = Some(asked.decision);
    let done = match command {
        Command::Run(_) => run_once(question, &asked).await,
        Command::Serve { listen, .. } => serve(question, &asked, *listen).await,
    };
    done.unwrap_or_else(|failure| failure.tell(question.output, &question.reference, decision))
}

/// An admission whose every check passed, ready to run.
struct Asked {
    decision: Uuid,
    ticket: VerifiedTicket,
    prepared: Prepared,
}

async fn ask(question: &Question) -> Result<Asked, Failure> {
    let gateway = Gateway::connect(Settings {
        url: question.gateway.clone(),
        gateway_id: question.gateway_id.clone(),
        ticket_keys: question.ticket_key.clone(),
        log_key: question.log_key.clone(),
        workload_api: question.workload_api.clone(),
        timeouts: Timeouts::default(),
    });
    let gateway = gateway.await?;
    let admitted = match gateway.admit(&question.reference, &question.links).await? {
        Answer::Admitted(admitted) => admitted,
        Answer::Refused(refused) => return Err(Failure::refused_by_gateway(refused)),
    };
    for warning in &admitted.warnings {
        say(&format!("warning: {}  {}", clean(&warning.code), clean(&warning.detail)));
    }
    let decision = admitted.decision;
    let with_decision = |fault: ClientFault| Failure::from(fault).of(decision);
    let bytes = gateway.component(&admitted.ticket).await.map_err(with_decision)?;
    let ticket = gateway.take(&admitted.ticket, &bytes, Timestamp::now()).map_err(with_decision)?;
    let prepared = prepare(&ticket).await.map_err(|failure| failure.of(decision))?;
    Ok(Asked { decision, ticket, prepared })
}

async fn prepare(ticket: &VerifiedTicket) -> Result<Prepared, Failure> {
    let host = Host::start().map_err(|error| Failure::outage("cannot start the host", &error))?;
    let (bytes, grants) = (ticket.component().clone(), ticket.grants().clone());
    let preparing = tokio::task::spawn_blocking(move || host.prepare(&bytes, &grants));
    match timeout(COMPILE_TIMEOUT, preparing).await {
        Ok(Ok(prepared)) => Ok(prepared?),
        Ok(Err(error)) => Err(Failure::outage("cannot prepare the component", &error)),
        Err(error) => Err(Failure::outage("the component took too long to compile", &error)),
    }
}

async fn run_once(question: &Question, asked: &Asked) -> Result<ExitCode, Failure> {
    let output = match question.output {
        Format::Text => Output::Inherited,
        Format::Json => Output::Captured,
    };
    let outcome = asked.prepared.run(output).await;
    if question.output == Format::Json {
        let mut result = result(question, asked);
        result["exit_code"] = json!(outcome.ended.exit_code());
        result["stdout"] = String::from_utf8_lossy(&outcome.stdout).into();
        result["stderr"] = String::from_utf8_lossy(&outcome.stderr).into();
        data(&result);
    }
    match outcome.ended {
        Ended::Exit(0) => Ok(Exit::Ok.into()),
        ended => {
            say(&format!("error: component {}", clean(&ended.to_string())));
            Ok(Exit::Refused.into())
        }
    }
}

async fn serve(question: &Question, asked: &Asked, listen: SocketAddr) -> Result<ExitCode, Failure> {
    let serving = asked.prepared.clone().handler().map_err(|ended| Failure::component(&ended))?;
    let listener = TcpListener::bind(listen).await;
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) =
        bound.map_err(|error| Failure::outage(&format!("cannot listen on `{listen}`"), &error))?;
    let url = format!("http://{address}");
    match question.output {
        Format::Text => say(&format!("serving `{}` at {url}", question.reference)),
        Format::Json => {
            let mut result = result(question, asked);
            result["url"] = url.into();
            data(&result);
        }
    }
    let served = serving.serve(listener, stop_signal()).await;
    if served == super::Served::LifetimeOver {
        say("the grant's lifetime is over");
    }
    Ok(Exit::Ok.into())
}

fn result(question: &Question, asked: &Asked) -> Value {
    json!({
        "reference": question.reference, "decision": asked.decision,
        "digest": asked.ticket.artifact(), "component": asked.ticket.digest(),
    })
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        tracing::warn!("signals cannot be heard: the default ones end the process at once");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WITGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // Set already where the gateway's own command line is the caller.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: [&str; 11] = [
        "witgate-host",
        "run",
        "registry.example/a:1",
        "--gateway",
        "https://127.0.0.1:7443",
        "--gateway-id",
        "spiffe://gate.example/gateway",
        "--ticket-key",
        "ticket.pub",
        "--workload-api",
        "unix:/run/agent.sock",
    ];

    fn code(args: &[&str]) -> ExitCode {
        main_with(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_those_of_the_contract() {
        let cli = Cli::try_parse_from(ARGS).unwrap();
        assert!(matches!(cli.command, Command::Run(question) if question.output == Format::Text));
        let mut serve = ARGS.to_vec();
        serve[1] = "serve";
        serve.extend(["--listen", "127.0.0.1:0", "--output", "json", "--ticket-key", "next.pub"]);
        let Command::Serve { question, listen } = Cli::try_parse_from(serve).unwrap().command else {
            panic!("not serve")
        };
        assert_eq!((question.ticket_key.len(), listen.port()), (2, 0));
    }

    #[test]
    fn usage_is_exit_2() {
        assert_eq!(code(&["witgate-host"]), ExitCode::from(2));
        assert_eq!(code(&["witgate-host", "run", "a"]), ExitCode::from(2));
        assert_eq!(code(&["witgate-host", "--version"]), ExitCode::SUCCESS);
    }

    #[test]
    fn a_pinned_key_that_is_not_there_is_exit_2() {
        let mut args = ARGS;
        args[8] = "/nonexistent/ticket.pub";
        assert_eq!(code(&args), ExitCode::from(2));
    }
}
