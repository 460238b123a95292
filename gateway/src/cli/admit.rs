//! `witgate admit`: one decision through the whole path.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use url::Url;

use super::{Global, Output, answer};
use crate::admission::{self, Admission, Asked, Request};
use crate::case::{BreakGlass, Digest, Purpose, Reference, Timestamp};
use crate::gate::Gate;
use crate::identity::Caller;
use crate::outage::{Outage, Peer};
use crate::reason::Reason;

/// Flags of `witgate admit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…
    reference: Reference,
    /// Ask a running `witgate serve` on loopback instead of opening the log here
    #[arg(long, value_name = "URL", env = "WITGATE_SERVER")]
    server: Option<Url>,
    /// Decide and record, hand nothing over
    #[arg(long)]
    dry_run: bool,
    /// Ask to be let past what the policy's `break_glass` may lift, and say why; recorded and loud
    #[arg(long, value_name = "JUSTIFICATION")]
    break_glass: Option<String>,
}

/// A cold admission's deadline, and a little for the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let purpose = if args.dry_run { Purpose::DryRun } else { Purpose::Admission };
    let break_glass = args.break_glass.map(|justification| BreakGlass { justification });
    let asked = Asked { purpose, break_glass, ..Asked::of(args.reference) };
    let answer = match args.server {
        Some(server) => ask(&server, &asked).await?,
        None => decide(global, asked).await?,
    };
    show(&answer, global.output)
}

/// An answer, from here or from a server.
enum Answer {
    Admitted(Value),
    Refused(Value),
}

async fn decide(global: &Global, asked: Asked) -> anyhow::Result<Answer> {
    let config = global.configuration()?;
    let now = Timestamp::now();
    let gate = Gate::open(&config, "local".into(), now).await?;
    let answered = admission::admit(&gate, Request { caller: Caller::local(), asked }, now).await;
    gate.close().await;
    let admission = answered?;
    let recorded = admission.recorded();
    let decision = recorded.decision.facts();
    let mut answer = json!({
        "decision": decision.id,
        "verdict": decision.verdict,
        "reference": recorded.about.reference.text,
        "artifact": recorded.about.artifact.seen(),
        "reasons": decision.reasons,
        "warnings": decision.warnings,
        "grants": decision.grants,
        "receipt": {"origin": recorded.receipt.origin(), "index": recorded.receipt.index()},
    });
    if let (Some(ticket), Some(members)) = (admission.ticket(), answer.as_object_mut()) {
        members.insert("ticket".into(), ticket.envelope().clone());
    }
    Ok(match admission {
        Admission::Granted { .. } => Answer::Admitted(answer),
        Admission::Refused { .. } => Answer::Refused(answer),
    })
}

async fn ask(server: &Url, asked: &Asked) -> anyhow::Result<Answer> {
    let url = server.join("/v1/admissions").context("`--server` is no base URL")?;
    let failed = |doing: &str| Outage::new(Peer::Internal, format!("{doing} `{server}`"));
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let response = client
        .post(url)
        .json(&question(asked))
        .send()
        .await
        .map_err(|fault| failed("asking").because(fault).with_hint("start it with `witgate serve`"))?;
    let status = response.status();
    let answer: Value = response.json().await.map_err(|fault| failed("reading the answer of").because(fault))?;
    match status.as_u16() {
        200 => Ok(Answer::Admitted(answer)),
        403 => Ok(Answer::Refused(answer)),
        _ => {
            let detail = answer["detail"].as_str().unwrap_or("no detail").to_owned();
            let mut outage = failed("waiting for").because(format!("{status}: {detail}"));
            outage.hint = answer["hint"].as_str().map(str::to_owned);
            Err(outage.into())
        }
    }
}

fn question(asked: &Asked) -> Value {
    let mut question = json!({"reference": asked.reference, "dry_run": asked.purpose == Purpose::DryRun});
    if let Some(break_glass) = &asked.break_glass {
        question["break_glass"] = json!(break_glass);
    }
    question
}

fn show(answer: &Answer, output: Output) -> anyhow::Result<ExitCode> {
    let (value, code) = match answer {
        Answer::Admitted(value) => (value, ExitCode::SUCCESS),
        Answer::Refused(value) => (value, ExitCode::from(1)),
    };
    if output == Output::Json {
        println!("{value:#}");
        return Ok(code);
    }
    let reference = value["reference"].as_str().unwrap_or_default();
    let artifact = value["artifact"].as_str().map(str::parse::<Digest>);
    let artifact = artifact.transpose().context("the artifact of the answer is no digest")?;
    let decision = value["decision"].as_str().unwrap_or_default().parse().context("the answer names no decision")?;
    match answer {
        Answer::Refused(_) => {
            let reasons: Vec<Reason> =
                serde_json::from_value(value["reasons"].clone()).context("the answer has no reasons")?;
            eprint!("{}", answer::refusal(reference, artifact.as_ref(), decision, &reasons));
        }
        Answer::Admitted(_) => {
            println!("admitted {reference} {}", artifact.context("the answer names no artifact")?);
            println!("decision {decision} index {}", value["receipt"]["index"]);
            for import in value["grants"]["imports"].as_array().into_iter().flatten() {
                println!("grants {}", import.as_str().unwrap_or_default());
            }
        }
    }
    Ok(code)
}
