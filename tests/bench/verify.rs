//! One candidate to a finding, by kind of signature, beside other people's verifiers on the same bundles in the same run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use witgate::case::{Candidate, CandidateContent, CandidateSource, Candidates, Digest, Finding, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::sigstore::{Content, Log, ManagedKey, Sign, Sigstore};
use witgate::evidence::{
    Collector, Exhibit, InlineRoot, KeySettings, PemSource, RootSettings, RootSource, Settings, Trust,
};

/// How often each kind is verified.
const ROUNDS: usize = 500;
/// How often each program is started.
const STARTS: usize = 15;
/// What is signed.
const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

/// A bundle or a layer, with its name.
struct Kind {
    name: &'static str,
    content: CandidateContent,
    /// The bundle's file, for who reads files and knows the kind.
    file: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    witgate::tls::install_provider();
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let start = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let sigstore = Sigstore::new(start)?;
    let key = ManagedKey::generate()?;
    let pem = folder.path().join("release.pub");
    std::fs::write(&pem, key.public_pem())?;
    let trusted_root = folder.path().join("trusted_root.json");
    std::fs::write(&trusted_root, sigstore.trusted_root_json())?;
    let artifact = folder.path().join("artifact");
    std::fs::write(&artifact, MANIFEST)?;
    let root = InlineRoot { json: sigstore.trusted_root_json(), refreshed_at: start };
    let settings = Settings {
        roots: vec![RootSettings::new("bench", RootSource::Inline(root))],
        keys: vec![KeySettings::new("release", PemSource::File(pem))],
        ..Settings::default()
    };

    let kinds = kinds(&sigstore, &key, start, folder.path())?;
    let python = std::env::var_os("WITGATE_INTEROP_PYTHON");
    let theirs = match &python {
        Some(python) => Some(sigstore_python(Path::new(python), &trusted_root, &artifact, &kinds)?),
        None => None,
    };
    let mut table = String::from(
        "| kind | witgate, µs (median of 500; p10, p90) | sigstore-python, µs (median) | times |\n|---|---|---|---|\n",
    );
    for kind in &kinds {
        let mut times = ours(&runtime, &settings, kind)?;
        let (p10, median, p90) = spread(&mut times);
        let other = kind.file.as_ref().and_then(|file| {
            let theirs = theirs.as_ref()?;
            theirs.iter().find(|(name, _)| Path::new(name) == file.as_path()).map(|(_, median_us)| *median_us)
        });
        let (other, ratio) = match other {
            Some(other) => (format!("{other:.0}"), format!("{:.0}", other / micros(median))),
            None => ("-".to_owned(), "-".to_owned()),
        };
        writeln!(
            table,
            "| {} | {:.0} ({:.0}, {:.0}) | {other} | {ratio} |",
            kind.name,
            micros(median),
            micros(p10),
            micros(p90)
        )?;
    }
    println!("{table}");
    if python.is_none() {
        println!("sigstore-python was not asked: name its interpreter in WITGATE_INTEROP_PYTHON");
    }
    programs(&kinds, &trusted_root, &artifact)?;
    Ok(())
}

fn kinds(sigstore: &Sigstore, key: &ManagedKey, at: Timestamp, folder: &Path) -> anyhow::Result<Vec<Kind>> {
    let request = || Sign::cosign(Digest::of(MANIFEST), SIGNER, ISSUER, at);
    let message = || Content::Message { bytes: Bytes::from_static(MANIFEST) };
    let mut kinds = Vec::new();
    let mut bundle = |name, bundle: Vec<u8>, shared: bool| -> anyhow::Result<()> {
        let file = folder.join(format!("{}.json", kinds.len()));
        std::fs::write(&file, &bundle)?;
        kinds.push(Kind { name, content: CandidateContent::Bundle(bundle.into()), file: shared.then_some(file) });
        Ok(())
    };
    bundle("keyless message, Rekor v1", sigstore.sign(request().signing(message()))?, true)?;
    bundle("keyless statement, Rekor v1", sigstore.sign(request())?, true)?;
    bundle(
        "keyless message, Rekor v2 and time-stamp",
        sigstore.sign(request().logged_in(Log::RekorV2).signing(message()))?,
        true,
    )?;
    bundle("keyless statement, Rekor v2 and time-stamp", sigstore.sign(request().logged_in(Log::RekorV2))?, true)?;
    bundle("managed key, Rekor v1", sigstore.sign_with_key(key, request())?, false)?;
    bundle(
        "managed key, Rekor v2 and time-stamp",
        sigstore.sign_with_key(key, request().logged_in(Log::RekorV2))?,
        false,
    )?;
    kinds.push(Kind {
        name: "cosign v2 layer, keyless",
        content: CandidateContent::CosignSignature(sigstore.sign_legacy(request())?),
        file: None,
    });
    kinds.push(Kind {
        name: "cosign v2 layer, managed key",
        content: CandidateContent::CosignSignature(sigstore.sign_legacy_with_key(key, request())?),
        file: None,
    });
    Ok(kinds)
}

/// Each round by a collector that has seen nothing; reading the bundle and handing the work to a thread count.
fn ours(runtime: &Runtime, settings: &Settings, kind: &Kind) -> anyhow::Result<Vec<Duration>> {
    let manifest = Bytes::from_static(MANIFEST);
    let now = Timestamp::now();
    (0..ROUNDS)
        .map(|_| {
            let collector = Collector::new(Trust::load(settings)?);
            let source =
                CandidateSource { via: "file".into(), name: "one".into(), index: None, media_type: None, digest: None };
            let list = vec![Candidate { source, content: Ok(kind.content.clone()) }];
            let candidates = Candidates { looked_in: vec!["file".into()], list };
            let begun = Instant::now();
            let evidence = runtime.block_on(collector.examine(Exhibit::of(manifest.clone()), candidates, now))?;
            let took = begun.elapsed();
            ensure!(matches!(evidence.findings.as_slice(), [Finding::Verified(_)]), "{}: {evidence:?}", kind.name);
            Ok(took)
        })
        .collect()
}

/// Medians in µs by file: one verifier, each bundle read and verified anew in each round.
fn sigstore_python(
    python: &Path,
    trusted_root: &Path,
    artifact: &Path,
    kinds: &[Kind],
) -> anyhow::Result<Vec<(String, f64)>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/verify_bundles.py");
    let output = Command::new(python)
        .arg(script)
        .arg((ROUNDS / 10).to_string())
        .args([trusted_root, artifact])
        .args([SIGNER, ISSUER])
        .args(kinds.iter().filter_map(|kind| kind.file.as_ref()))
        .stderr(Stdio::inherit())
        .output()
        .context("starting sigstore-python")?;
    ensure!(output.status.success(), "sigstore-python: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Whole programs: start, read, verify, end.
fn programs(kinds: &[Kind], trusted_root: &Path, artifact: &Path) -> anyhow::Result<()> {
    let Some(bundle) = kinds.first().and_then(|kind| kind.file.as_ref()) else { return Ok(()) };
    let mut rows = Vec::new();
    for (name, variable, verb) in [
        ("witgate conformance verify-bundle", "WITGATE_INTEROP_WITGATE", &["conformance", "verify-bundle"][..]),
        ("cosign verify-blob", "WITGATE_INTEROP_COSIGN", &["verify-blob"][..]),
    ] {
        let Some(program) = std::env::var_os(variable) else {
            println!("{name} was not started: name the program in {variable}");
            continue;
        };
        let mut times = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let mut command = Command::new(&program);
            command.args(verb).arg("--bundle").arg(bundle);
            command.args(["--certificate-identity", SIGNER, "--certificate-oidc-issuer", ISSUER]);
            command.arg("--trusted-root").arg(trusted_root).arg(artifact);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let begun = Instant::now();
            let status = command.status().with_context(|| format!("starting {name}"))?;
            times.push(begun.elapsed());
            ensure!(status.success(), "{name}: {status}");
        }
        let (p10, median, p90) = spread(&mut times);
        rows.push(format!("| `{name}` | {:.1} ({:.1}, {:.1}) |", millis(median), millis(p10), millis(p90)));
    }
    if !rows.is_empty() {
        println!("| one program, one bundle | ms (median of {STARTS}; p10, p90) |\n|---|---|\n{}", rows.join("\n"));
    }
    Ok(())
}

fn spread(times: &mut [Duration]) -> (Duration, Duration, Duration) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    (at(10), at(50), at(90))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
