//! The attached host of the demo: this binary once more, as a process of its own.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::case::Digest;
use crate::cli::ATTACHED_HOST;
use crate::dev::deployment::{self, Deployment};
use crate::reason::Reason;

/// What became of one component.
pub(super) enum Outcome {
    Admitted(Admitted),
    Refused(Refused),
}

/// It was admitted and ran.
#[derive(Debug, Serialize)]
pub(super) struct Admitted {
    name: String,
    reference: String,
    digest: Digest,
    decision: Uuid,
    ran: Ran,
}

#[derive(Debug, Serialize)]
struct Ran {
    exit_code: i32,
    stdout: String,
}

/// It was refused.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    name: String,
    reference: String,
    digest: Digest,
    decision: Uuid,
    reasons: Vec<Reason>,
}

impl Admitted {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn exit_code(&self) -> i32 {
        self.ran.exit_code
    }

    pub(super) fn stdout(&self) -> &str {
        &self.ran.stdout
    }

    pub(super) fn decision(&self) -> Uuid {
        self.decision
    }
}

impl Refused {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn gives(&self, code: &str) -> bool {
        self.reasons.iter().any(|reason| reason.code.as_str() == code)
    }

    pub(super) fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    pub(super) fn decision(&self) -> Uuid {
        self.decision
    }
}

/// What `witgate-host run --output json` prints.
#[derive(Debug, Deserialize)]
struct Printed {
    reference: String,
    decision: Uuid,
    digest: Option<Digest>,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    refused: Option<PrintedReasons>,
}

#[derive(Debug, Deserialize)]
struct PrintedReasons {
    reasons: Vec<Reason>,
}

/// A host's process: cold admission 25 s, then the run itself.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Lets the attached host ask for `reference` and run it.
pub(super) async fn run(deployment: &Deployment, name: &str, reference: &str) -> anyhow::Result<Outcome> {
    let mut host = tokio::process::Command::new(std::env::current_exe().context("finding this binary")?);
    host.arg(ATTACHED_HOST)
        .args(["run", reference, "--output", "json"])
        .args(["--gateway", &deployment.service.callers_url()])
        .args(["--gateway-id", &deployment::gateway_id()])
        .arg("--ticket-key")
        .arg(deployment.ticket_key())
        .args(["--workload-api", &deployment.host_identity.endpoint()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = host.spawn().context("starting the attached host")?;
    let output = tokio::time::timeout(TIMEOUT, child.wait_with_output())
        .await
        .with_context(|| format!("the attached host did not end within {} s", TIMEOUT.as_secs()))??;
    let Ok(printed) = serde_json::from_slice::<Printed>(&output.stdout) else {
        bail!(
            "the attached host gave no answer ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    };
    let Printed { reference, decision, digest, exit_code, stdout, refused } = printed;
    let digest = digest.context("the attached host names no digest")?;
    let name = name.to_owned();
    Ok(match refused {
        Some(PrintedReasons { reasons }) => Outcome::Refused(Refused { name, reference, digest, decision, reasons }),
        None => {
            let exit_code = exit_code.context("the attached host names no exit code")?;
            Outcome::Admitted(Admitted { name, reference, digest, decision, ran: Ran { exit_code, stdout } })
        }
    })
}
