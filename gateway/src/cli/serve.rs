//! `witgate serve`: the service until it is told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::{Global, Output};
use crate::case::Timestamp;
use crate::service::Service;
use crate::telemetry::Telemetry;

/// Flags of `witgate serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where callers ask [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where operators look: health and metrics [default: 127.0.0.1:7444]
    #[arg(long, value_name = "ADDRESS")]
    listen_admin: Option<SocketAddr>,
}

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = global.configuration()?;
    if let Some(address) = args.listen {
        config.listen.callers = address;
    }
    if let Some(address) = args.listen_admin {
        config.listen.admin = address;
    }
    config.check()?;
    let telemetry = Telemetry::start(&config.telemetry)?;
    let render = telemetry.metrics_handle();
    let service = Service::start(&config, Arc::new(Timestamp::now), Arc::new(move || render.render())).await?;
    match global.output {
        Output::Text => {
            println!("callers {}", service.callers_url());
            println!("administration {}", service.administration_url());
            if let Some(url) = service.registry_url() {
                println!("registry {url}");
            }
        }
        Output::Json => {
            let (callers, administration) = (service.callers_url(), service.administration_url());
            println!(
                "{}",
                json!({"callers": callers, "administration": administration, "registry": service.registry_url()})
            );
        }
    }
    if config.identity.is_none() {
        eprintln!("witgate: no `[identity]` is configured: loopback only, plain HTTP, every caller is `local`");
    }
    told_to_stop().await?;
    eprintln!("witgate: stopping: open requests are finished first");
    service.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C or SIGTERM.
pub(crate) async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}
