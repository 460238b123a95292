//! `witgate explain`: why something was admitted or refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use super::{Global, Output, answer};
use crate::audit::{Reader, Record, Selector};
use crate::case::{Case, DecisionFacts, Surface, VerdictWord};
use crate::doors::http::record_json;
use crate::evidence;

/// Flags of `witgate explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A decision's id, a unique prefix of it, or `#INDEX`
    decision: Selector,
}

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.configuration()?;
    let reader = Reader::open(&config.audit.database_path(&config.data_dir)).await?;
    let Some(record) = reader.find(&args.decision).await? else {
        eprintln!("witgate: error: the log holds no decision `{}`", args.decision);
        eprintln!("witgate: hint: list the newest with `witgate log show`");
        return Ok(ExitCode::from(2));
    };
    match (&record.case, &record.decision, global.output) {
        (Some(case), Some(decision), Output::Text) => print!("{}", explanation(&record, case, decision)),
        _ => println!("{:#}", record_json(&record)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole story of one decision, from who asked to where it is recorded.
fn explanation(record: &Record, case: &Case, decision: &DecisionFacts) -> String {
    let mut text = String::new();
    let verdict = match decision.verdict {
        VerdictWord::Admit => "admitted",
        VerdictWord::Refuse => "refused",
    };
    let show = |text: &str| answer::printable(text);
    let _ = writeln!(text, "{verdict} {} at {}", show(&case.reference.text), case.time);
    let _ = writeln!(text, "  decision   {} (log index {})", decision.id, record.index);
    let _ = writeln!(text, "  caller     {}", show(&case.caller.id));
    if case.host != case.caller.id {
        let _ = writeln!(text, "  host       {}", show(&case.host));
    }
    match case.artifact.seen() {
        Some(digest) => writeln!(text, "  artifact   {digest}"),
        None => writeln!(text, "  artifact   not fetched"),
    }
    .expect("a String takes every text");
    if let Some(component) = &case.artifact.component {
        let _ = writeln!(text, "  component  {} ({} bytes)", component.digest, component.size_bytes);
    }
    for component in &case.artifact.components {
        let _ = writeln!(text, "  component  {} ({} bytes)", component.digest, component.size_bytes);
    }
    for layer in &case.artifact.carried {
        let _ = writeln!(text, "  carried    {} ({} bytes)", layer.digest, layer.size_bytes);
    }
    if let Some(native) = &case.artifact.native {
        let _ = writeln!(text, "  native     {} ({} bytes)", native.digest, native.size_bytes);
    }
    let policy = &decision.policy;
    let _ = writeln!(text, "  policy     {} revision {} ({})", policy.name, policy.revision, policy.digest.short());
    if !decision.reasons.is_empty() {
        let _ = writeln!(text, "reasons");
        text.push_str(&answer::reason_lines(&decision.reasons));
        let hints: BTreeSet<&String> = decision.reasons.iter().filter_map(|reason| reason.hint.as_ref()).collect();
        for hint in hints {
            let _ = writeln!(text, "  hint: {}", show(hint));
        }
    }
    if !decision.warnings.is_empty() {
        let _ = writeln!(text, "warnings");
        text.push_str(&answer::reason_lines(&decision.warnings));
    }
    let _ = writeln!(text, "evidence");
    text.push_str(&indent(&evidence::tree(&case.evidence)));
    let _ = writeln!(text, "imports");
    match &case.surface {
        Surface::Unreadable { detail } => {
            let _ = writeln!(text, "  unreadable: {}", show(detail));
        }
        Surface::Unseen => {
            let _ = writeln!(text, "  unseen: what was asked, and by whom, was enough to refuse");
        }
        Surface::Component(world) if world.imports.is_empty() => {
            let _ = writeln!(text, "  none");
        }
        Surface::Component(world) => {
            let refused = |name: &str| {
                decision
                    .reasons
                    .iter()
                    .any(|reason| reason.code == crate::reason::Code::IMPORT_NOT_GRANTED && reason.about == name)
            };
            for import in &world.imports {
                let mark = if refused(&import.name) { "✗ not granted" } else { "" };
                let _ = writeln!(text, "  {} {mark}", show(&import.name));
            }
        }
    }
    let _ = writeln!(text, "proof");
    let _ = writeln!(text, "  leaf       {}", record.leaf_hash.hex());
    let _ = writeln!(text, "  check with `witgate log prove {}`", decision.id);
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {}\n", answer::printable(line))).collect()
}
