//! `witgate log`: read, prove and verify the audit log.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Output;
use crate::audit::tlog::proof_file::MAX_PROOF_FILE_BYTES;
use crate::audit::tlog::tile::MAX_ENTRY_BYTES;
use crate::audit::tlog::trust_policy::MAX_POLICY_BYTES;
use crate::audit::tlog::{Checkpoint, ProofFile, TrustPolicy, VerifierKey};
use crate::audit::{
    FindError, KeySource, Kind, Order, Query, Reader, Record, Selector, Verified, VerifyFault, VerifyOptions, verify,
};
use crate::case::{Digest, VerdictWord};

/// What opens a file that is a proof and no database.
const PROOF_HEADER: &[u8] = b"c2sp.org/tlog-proof@";

/// Read, prove and verify the audit log
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List entries, the newest last
    Show(Show),
    /// Write the offline proof of one entry (C2SP tlog-proof)
    Prove(Prove),
    /// Check a whole log, or one proof, offline
    Verify(Box<Verify>),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// How many entries, at most 500
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Only decisions with this verdict
    #[arg(long, value_enum)]
    verdict: Option<VerdictArg>,
    /// Only decisions on this artifact (`sha256:…`)
    #[arg(long, value_name = "DIGEST")]
    artifact: Option<Digest>,
    /// Only entries in front of this index: pages backwards
    #[arg(long, value_name = "INDEX")]
    before: Option<u64>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum VerdictArg {
    Admit,
    Refuse,
}

#[derive(Debug, clap::Args)]
struct Prove {
    /// The decision's id, its first 4 or more digits, or '#INDEX' (quoted, for the shell's sake)
    selector: Selector,
    /// Where the proof goes [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the entry goes that the proof is about: a verifier needs both
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// A database, or a proof made by `witgate log prove` [default: this gateway's log]
    path: Option<PathBuf>,
    /// The log's key as you know it from elsewhere; without it a log is checked against the key it names itself
    #[arg(long, value_name = "VKEY")]
    vkey: Option<VerifierKey>,
    /// Whom you trust (C2SP tlog-policy): logs, witnesses and a quorum
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A signed checkpoint that you kept: the log must begin with it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The entry that a proof is about
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

/// Runs `witgate log …` on the log at `database`, which `serve` may be writing meanwhile.
pub async fn run(args: Args, database: &Path, output: Output) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Show(args) => show(&args, database, output).await,
        Command::Prove(args) => prove(&args, database).await,
        Command::Verify(args) => check(&args, database, output).await,
    }
}

async fn show(args: &Show, database: &Path, output: Output) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(database).await?;
    let query = Query {
        after_index: args.before,
        order: Order::NewestFirst,
        limit: args.limit,
        verdict: args.verdict.map(|verdict| match verdict {
            VerdictArg::Admit => VerdictWord::Admit,
            VerdictArg::Refuse => VerdictWord::Refuse,
        }),
        artifact: args.artifact,
    };
    let mut records = reader.list(&query).await?;
    records.reverse();
    let text = match output {
        Output::Text => records.iter().map(line).collect(),
        Output::Json => format!("{:#}\n", json!({"entries": records.iter().map(document).collect::<Vec<_>>()})),
    };
    if records.is_empty() && output == Output::Text {
        eprintln!("witgate: no such entry in `{}`", database.display());
    }
    to_stdout(&text)
}

/// One entry for a person: index, time, what, about what, why.
fn line(record: &Record) -> String {
    let mut line = format!("#{:<6} {:.0}  ", record.index, record.committed_at);
    if let Some(decision) = &record.decision {
        let reference = record.case.as_ref().map_or("", |case| case.reference.text.as_str());
        let caller = record.case.as_ref().map_or("", |case| case.caller.id.as_str());
        let _ = write!(line, "{:<7} {}  {reference}  for {caller}", decision.verdict.as_str(), record.id);
        let mut codes: Vec<&str> = decision.reasons.iter().map(|reason| reason.code.as_str()).collect();
        codes.dedup();
        if !codes.is_empty() {
            let _ = write!(line, "  {}", codes.join(", "));
        }
    } else {
        let _ = write!(line, "{:<7} {}  {}", "event", record.id, record.kind);
    }
    if !record.redacted.is_empty() {
        let _ = write!(line, "  ({} fields redacted)", record.redacted.len());
    }
    line.push('\n');
    line
}

fn document(record: &Record) -> Value {
    let entry: Value = serde_json::from_slice(&record.entry).unwrap_or_default();
    json!({
        "index": record.index,
        "id": record.id,
        "kind": record.kind,
        "committed_at": record.committed_at,
        "leaf_hash": record.leaf_hash,
        "entry": entry,
        "case": record.case,
        "decision": record.decision,
        "detail": record.detail,
        "redacted": record.redacted,
    })
}

async fn prove(args: &Prove, database: &Path) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(database).await?;
    let record = match reader.find(&args.selector).await {
        Ok(Some(record)) => record,
        Ok(None) => anyhow::bail!("no entry `{}` in `{}`", args.selector, database.display()),
        Err(FindError::Ambiguous { prefix, ids }) => {
            let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
            anyhow::bail!("`{prefix}` names more than one entry, such as {}", ids.join(", "));
        }
        Err(FindError::Outage(outage)) => return Err(outage.into()),
    };
    let proof = reader.proof(record.index).await?.context("the newest checkpoint does not cover the entry")?;
    if let Some(path) = &args.entry {
        std::fs::write(path, &record.entry).with_context(|| format!("could not write `{}`", path.display()))?;
    }
    let Some(path) = &args.out else { return to_stdout(&proof.to_string()) };
    std::fs::write(path, proof.to_string()).with_context(|| format!("could not write `{}`", path.display()))?;
    eprintln!("witgate: wrote the proof of entry #{} (`{}`) to `{}`", record.index, record.id, path.display());
    let entry = args.entry.as_ref().map_or("ENTRY".into(), |entry| entry.display().to_string());
    eprintln!(
        "witgate: hint: anyone can check it: `witgate log verify {} --entry {entry} --vkey VKEY`",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn check(args: &Verify, database: &Path, output: Output) -> anyhow::Result<ExitCode> {
    let path = args.path.as_deref().unwrap_or(database);
    let policy = match &args.policy {
        Some(file) => Some(text(file, MAX_POLICY_BYTES)?.parse::<TrustPolicy>().with_context(|| in_file(file))?),
        None => None,
    };
    if !path.is_file() {
        anyhow::bail!("there is no audit log at `{}`", path.display());
    }
    if starts_with(path, PROOF_HEADER)? {
        let trust = policy.or_else(|| args.vkey.clone().map(TrustPolicy::of_log));
        let trust = trust.context("a proof is checked against a key: give `--vkey VKEY` or `--policy FILE`")?;
        let entry = args.entry.as_ref().context("a proof is checked against its entry: give `--entry FILE`")?;
        return check_proof(path, entry, &trust, output);
    }
    let anchor = args.checkpoint.as_deref().map(|file| text(file, MAX_PROOF_FILE_BYTES)).transpose()?;
    let options = VerifyOptions { vkey: args.vkey.clone(), policy, anchor };
    match verify(path, &options).await {
        Ok(verified) => to_stdout(&match output {
            Output::Text => words(&verified),
            Output::Json => format!("{:#}\n", verified_document(&verified)),
        }),
        Err(VerifyFault::Unreadable(error)) => {
            Err(anyhow::Error::from(error).context(format!("could not read `{}`", path.display())))
        }
        Err(fault) => refused(&format!("the log `{}` does not hold", path.display()), &fault, output),
    }
}

fn check_proof(path: &Path, entry: &Path, trust: &TrustPolicy, output: Output) -> anyhow::Result<ExitCode> {
    let proof = text(path, MAX_PROOF_FILE_BYTES)?;
    let entry_bytes = bytes(entry, MAX_ENTRY_BYTES)?;
    let checked = proof.parse::<ProofFile>().and_then(|proof| Ok((proof.index, proof.verify(&entry_bytes, trust)?)));
    match checked {
        Ok((index, Checkpoint { origin, size, .. })) => to_stdout(&match output {
            Output::Text => format!("ok: the entry stands at #{index} of `{origin}`, {size} entries\n"),
            Output::Json => {
                format!("{:#}\n", json!({"verified": true, "origin": origin, "index": index, "size": size}))
            }
        }),
        Err(fault) => refused(&format!("the proof `{}` does not hold", path.display()), &fault, output),
    }
}

fn words(verified: &Verified) -> String {
    let mut text = format!("ok: {} entries of `{}` hold\n", verified.size, verified.origin);
    let _ = writeln!(text, "  root         {}", verified.root);
    let _ = writeln!(text, "  checkpoints  {}, each signed and consistent", verified.checkpoints);
    for (kind, count) in &verified.kinds {
        let _ = writeln!(
            text,
            "  {kind:<12} {count}{}",
            if kind == Kind::Decision.as_str() { verdicts(verified) } else { String::new() }
        );
    }
    if verified.redacted > 0 {
        let _ = writeln!(text, "  redacted     {} fields; their commitments stand", verified.redacted);
    }
    for (origin, size) in &verified.earlier {
        let _ = writeln!(text, "  before it    {size} entries of `{origin}` hold as well");
    }
    for vkey in &verified.vkeys {
        let _ = writeln!(text, "  key          {vkey}");
    }
    if verified.key_source == KeySource::Database {
        text.push_str(
            "  The key is the one that the log names itself: compare it with one you know, or give `--vkey`.\n",
        );
    }
    text
}

fn verdicts(verified: &Verified) -> String {
    let parts: Vec<String> = verified.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    format!(" ({})", parts.join(", "))
}

fn verified_document(verified: &Verified) -> Value {
    json!({
        "verified": true,
        "origin": verified.origin,
        "size": verified.size,
        "root": verified.root,
        "checkpoint": verified.checkpoint,
        "checkpoints": verified.checkpoints,
        "decisions": verified.decisions(),
        "kinds": verified.kinds,
        "verdicts": verified.verdicts,
        "redacted": verified.redacted,
        "vkeys": verified.vkeys,
        "key_source": match verified.key_source {
            KeySource::Given => "given",
            KeySource::Database => "database",
        },
        "earlier": verified.earlier.iter().map(|(origin, size)| json!({"origin": origin, "size": size})).collect::<Vec<_>>(),
    })
}

/// What does not hold is a result, not a fault of ours: exit 1.
fn refused(what: &str, fault: &dyn std::error::Error, output: Output) -> anyhow::Result<ExitCode> {
    let mut why = fault.to_string();
    let mut source = fault.source();
    while let Some(below) = source {
        let _ = write!(why, ": {below}");
        source = below.source();
    }
    eprintln!("witgate: error: {what}: {why}");
    if output == Output::Json {
        to_stdout(&format!("{:#}\n", json!({"verified": false, "fault": why})))?;
    }
    Ok(ExitCode::from(1))
}

/// A reader that hangs up early (`| head`) is no fault.
fn to_stdout(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("could not write to stdout"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn text(path: &Path, limit_bytes: usize) -> anyhow::Result<String> {
    String::from_utf8(bytes(path, limit_bytes)?).with_context(|| format!("`{}` is no UTF-8 text", path.display()))
}

fn bytes(path: &Path, limit_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| in_file(path))?;
    file.take(limit_bytes as u64 + 1).read_to_end(&mut bytes).with_context(|| in_file(path))?;
    anyhow::ensure!(bytes.len() <= limit_bytes, "`{}` is larger than {limit_bytes} bytes", path.display());
    Ok(bytes)
}

fn starts_with(path: &Path, header: &[u8]) -> anyhow::Result<bool> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path).with_context(|| in_file(path))?;
    file.take(header.len() as u64).read_to_end(&mut start).with_context(|| in_file(path))?;
    Ok(start == header)
}

fn in_file(path: &Path) -> String {
    format!("could not read `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::audit::{Audit, EventKind, Settings};
    use crate::case::Timestamp;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    async fn witgate_log(words: &[&str], database: &Path) -> anyhow::Result<ExitCode> {
        let cli = Cli::try_parse_from([&["log"], words].concat())?;
        run(cli.args, database, Output::Json).await
    }

    fn code(result: anyhow::Result<ExitCode>) -> String {
        format!("{:?}", result.unwrap())
    }

    #[tokio::test]
    async fn an_entry_is_proved_to_somebody_who_has_the_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let audit = Audit::open(&Settings::default(), folder.path(), now).await.unwrap();
        for version in ["1", "2", "3"] {
            audit.event(EventKind::GatewayStart, json!({"version": version}), now).await.unwrap();
        }
        let (vkey, database) = (audit.vkey(), audit.database().to_owned());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (proof, entry) = (path("1.tlog-proof"), path("1.json"));
        let (ok, refused) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::from(1)));

        // The log is open for writing all the while.
        assert_eq!(code(witgate_log(&["show", "--limit", "2"], &database).await), ok);
        assert_eq!(code(witgate_log(&["verify"], &database).await), ok);
        assert_eq!(code(witgate_log(&["prove", "#1", "--out", &proof, "--entry", &entry], &database).await), ok);
        audit.close().await;
        let check =
            async |extra: &[&str]| witgate_log(&[&["verify", &proof], extra].concat(), Path::new("/nonexistent")).await;
        assert_eq!(code(check(&["--entry", &entry, "--vkey", &vkey]).await), ok);
        assert!(check(&["--entry", &entry]).await.is_err(), "a proof was checked without a key");
        assert!(check(&["--vkey", &vkey]).await.is_err(), "a proof was checked without its entry");
        let policy = path("policy");
        std::fs::write(&policy, format!("log {vkey}\nquorum none\n")).unwrap();
        assert_eq!(code(check(&["--entry", &entry, "--policy", &policy]).await), ok);
        std::fs::write(&entry, std::fs::read_to_string(&entry).unwrap().replace("start", "stop")).unwrap();
        assert_eq!(code(check(&["--entry", &entry, "--vkey", &vkey]).await), refused);

        assert!(witgate_log(&["prove", "#3"], &database).await.is_err());
        assert!(witgate_log(&["prove", "8412x"], &database).await.is_err());
        assert!(witgate_log(&["show", "--limit", "501"], &database).await.is_err());
        assert!(witgate_log(&["show"], &folder.path().join("missing.db")).await.is_err());
        assert!(witgate_log(&["verify", &path("missing.db")], &database).await.is_err());
    }

    #[tokio::test]
    async fn a_line_reads_alone() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let audit = Audit::open(&Settings::default(), folder.path(), now).await.unwrap();
        audit.event(EventKind::GatewayStart, json!({}), now).await.unwrap();
        let record = audit.reader().find(&"#0".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(line(&record), format!("#0      2026-01-02T03:04:05Z  event   {}  gateway.start\n", record.id));
        audit.close().await;
    }
}
