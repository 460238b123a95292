//! `witgate demo`: the whole chain on embedded parts.

mod attached;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use self::attached::Outcome;
use super::{Global, Output, inspect, serve};
use crate::audit;
use crate::case::Timestamp;
use crate::dev::components;
use crate::dev::deployment::{Deployment, SIGNER, Setup, SignedBy};
use crate::telemetry::{Settings, Telemetry};

/// Flags of `witgate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A component of your own, signed by the demo's Sigstore; may be given more than once
    #[arg(long, value_name = "FILE")]
    component: Vec<PathBuf>,
    /// Keep everything running afterwards and tell what to try next
    #[arg(long)]
    stay: bool,
}

/// What `--output json` prints.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    admitted: Vec<attached::Admitted>,
    refused: Vec<attached::Refused>,
    log: LogReport,
}

#[derive(Debug, Default, Serialize)]
struct LogReport {
    size: u64,
    root: String,
    verified: bool,
}

/// Who signed the stranger's component.
const STRANGER: &str = "https://github.com/mallory/shop/.github/workflows/release.yml@refs/heads/main";

/// One component of the demo: what it is called, what it is and who signed it.
struct Exhibit {
    name: String,
    about: &'static str,
    wasm: Vec<u8>,
    signed_by: SignedBy<'static>,
}

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::start(&Settings { log: "error".into(), ..Settings::default() })?;
    let render = telemetry.metrics_handle();
    let folder = tempfile::Builder::new().prefix("witgate-demo-").tempdir().context("making the demo's folder")?;
    let exhibits = exhibits(&args)?;
    let words = show::Words::new(global.output);

    words.title("starting the peers on loopback: registry, Sigstore, SPIFFE, gateway");
    let deployment = Deployment::start(Setup {
        data_dir: global.data_dir.clone(),
        metrics: Arc::new(move || render.render()),
        ..Setup::new(folder.path())
    })
    .await?;
    words.deployment(&deployment);

    words.title("pushing and signing");
    let mut references = Vec::new();
    for exhibit in &exhibits {
        let pushed =
            deployment.publish(&exhibit.name, exhibit.wasm.clone(), exhibit.signed_by, Timestamp::now()).await?;
        words.pushed(exhibit, &pushed.reference);
        references.push(pushed.reference);
    }

    words.title("the attached host asks for each, over mTLS");
    let mut report = Report::default();
    for (exhibit, reference) in exhibits.iter().zip(references) {
        let outcome = attached::run(&deployment, &exhibit.name, &reference).await?;
        words.outcome(&outcome);
        match outcome {
            Outcome::Admitted(admitted) => report.admitted.push(admitted),
            Outcome::Refused(refused) => report.refused.push(refused),
        }
    }

    words.title("verifying the log offline");
    let database = deployment.config.audit.database_path(&deployment.config.data_dir);
    let vkey = deployment.service.gate().audit.vkey().parse().context("the log's own key does not parse")?;
    let options = audit::VerifyOptions { vkey: Some(vkey), ..audit::VerifyOptions::default() };
    let verified = audit::verify(&database, &options).await?;
    report.log = LogReport { size: verified.size, root: verified.root.hex(), verified: true };
    words.log(&report.log);

    if global.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    // The exit code tells whether the demo showed what it set out to: the good one ran, the others were refused.
    let held = held(&report);
    if args.stay {
        words.stay(&deployment, &report);
        serve::told_to_stop().await?;
    }
    deployment.service.stop().await;
    if !held {
        words.not_held();
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the demo's own four components ended as they should.
fn held(report: &Report) -> bool {
    let ran = report.admitted.iter().any(|one| one.name() == "good" && one.exit_code() == 0);
    let refused = |name: &str, code: &str| report.refused.iter().any(|one| one.name() == name && one.gives(code));
    ran && refused("unsigned", "no-verified-signature")
        && refused("stranger", "identity-mismatch")
        && refused("greedy", "import-not-granted")
}

fn exhibits(args: &Args) -> anyhow::Result<Vec<Exhibit>> {
    let exhibit = |name: &str, about, wasm, signed_by| Exhibit { name: name.to_owned(), about, wasm, signed_by };
    let signer = SignedBy::Identity(SIGNER);
    let mut exhibits = vec![
        exhibit(
            "good",
            "signed by the expected identity, imports standard output",
            components::command("hello from a verified component\n"),
            signer,
        ),
        exhibit(
            "unsigned",
            "the same kind of component, signed by nobody",
            components::command("nobody vouches for me\n"),
            SignedBy::Nobody,
        ),
        exhibit(
            "stranger",
            "a valid signature by somebody else",
            components::command("a stranger vouches for me\n"),
            SignedBy::Identity(STRANGER),
        ),
        exhibit(
            "greedy",
            "well signed, but imports wasi:sockets",
            components::greedy("I would open a socket\n"),
            signer,
        ),
    ];
    for (number, file) in args.component.iter().enumerate() {
        let wasm = inspect::read(file)?.to_vec();
        let stem: String = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().to_lowercase())
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            .take(40)
            .collect();
        let name = if stem.is_empty() { format!("yours-{number}") } else { format!("yours-{stem}") };
        exhibits.push(Exhibit { name, about: "your own, signed by the expected identity", wasm, signed_by: signer });
    }
    Ok(exhibits)
}
