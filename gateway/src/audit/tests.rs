//! The log as a whole: what must hold in good days, after crashes, faults, rollbacks and meddling.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex as StdMutex;

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::tlog::{Checkpoint, SignedNote, TrustPolicy, leaf_hash, verify_consistency, verify_inclusion};
use super::*;
use crate::case::{
    ArtifactFacts, Caller, CallerKind, CandidateSource, ComponentFacts, Digest, Evidence, Extern, ExternKind, Finding,
    FindingKind, Grants, Limits, Mode, PolicyFacts, Purpose, ReferenceFacts, RejectedFinding, San, SanKind, Scope,
    Signer, Surface, VerifiedFinding, Version, World,
};
use crate::reason::{Code, Reason};
use store::Step;

const CALLER: &str = "spiffe://acme.example/ns/shop";
const SIGNER: &str = "ci@acme.example";
/// The format to the byte; it stands in `docs/log-format.md` too.
const EXPECTED_ENTRY: &str = concat!(
    r#"{"artifact":"sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f","body_commit":"#,
    r#""sha256:230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5","case_digest":"sha256:bbfc"#,
    r#"d4160a1e8674dac62292ae48be4785262ad7078f9ec11b74a254ce70fa06","environment":"default","evidence":{"r"#,
    r#"ejected":1,"verified":1},"id":"019b7dcb-5d5f-7000-8000-000000000001","kind":"decision","mode":"enfor"#,
    r#"ce","policy":{"digest":"sha256:823412d1eacb67956220e532959f0104603057c88704863ca38e7cd188fda812","na"#,
    r#"me":"embedded","rev":"1"},"purpose":"admission","reason_count":1,"reasons":["import-not-granted"],"s"#,
    r#"urface_digest":"sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7","tenant":"d"#,
    r#"efault","time":"2026-01-02T03:04:05.678901Z","v":1,"verdict":"refuse"}"#,
);

fn now() -> Timestamp {
    "2026-01-02T03:04:05.678901234Z".parse().unwrap()
}

pub(super) fn case() -> Case {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let source = |name: &str| CandidateSource {
        via: "referrers-api".into(),
        name: digest(name).to_string(),
        index: None,
        media_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json".into()),
        digest: Some(digest(name)),
    };
    let import = Extern {
        name: "wasi:cli/stdout@0.2.3".into(),
        package: Some("wasi:cli".into()),
        interface: Some("stdout".into()),
        version: Some("0.2.3".into()),
        track: "wasi:cli/stdout@0.2".into(),
        kind: ExternKind::Instance,
        items: vec!["func get-stdout".into()],
    };
    Case {
        version: Version::V1,
        id: Uuid::now_v7(),
        time: now(),
        scope: Scope::default(),
        mode: Mode::Enforce,
        purpose: Purpose::Admission,
        caller: Caller { kind: CallerKind::X509Svid, id: CALLER.into(), trust_domain: Some("acme.example".into()) },
        host: CALLER.into(),
        links: Vec::new(),
        reference: ReferenceFacts {
            text: "registry.example/acme/cart:1.4".into(),
            upstream: "registry.example".into(),
            repository: "acme/cart".into(),
            tag: Some("1.4".into()),
            digest: None,
        },
        artifact: ArtifactFacts {
            digest: digest("manifest"),
            indexes: Vec::new(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size_bytes: 712,
            annotations: BTreeMap::new(),
            config: None,
            component: Some(ComponentFacts {
                digest: digest("component"),
                size_bytes: 4096,
                media_type: "application/wasm".into(),
            }),
            components: Vec::new(),
            carried: Vec::new(),
            native: None,
            defects: Vec::new(),
        },
        evidence: Evidence {
            trust: Vec::new(),
            revoked: Vec::new(),
            looked_in: vec!["referrers-api".into()],
            findings: vec![
                Finding::Verified(VerifiedFinding {
                    source: source("good"),
                    kind: FindingKind::Attestation,
                    trust: "acme".into(),
                    signer: Signer::Keyless {
                        issuer: "https://issuer.example".into(),
                        san: San { kind: SanKind::Email, value: SIGNER.into() },
                        claims: BTreeMap::new(),
                    },
                    times: vec![now()],
                    waived: Vec::new(),
                    predicate_type: Some("https://slsa.dev/provenance/v1".into()),
                    predicate: Some(json!({"run": 0.5, "by": SIGNER})),
                    attests: None,
                }),
                Finding::Rejected(RejectedFinding {
                    source: source("other"),
                    code: Code::IDENTITY_MISMATCH,
                    detail: "signed by `mallory@other.example`".into(),
                }),
            ],
        },
        surface: Surface::Component(World { digest: digest("world"), imports: vec![import], exports: Vec::new() }),
        previous: None,
        break_glass: None,
    }
}

pub(super) fn policy() -> PolicyFacts {
    PolicyFacts { name: "embedded".into(), revision: "1".into(), digest: Digest::of(b"policy") }
}

fn admit(case: &Case) -> Decision {
    let grants = Grants {
        imports: vec!["wasi:cli/stdout@0.2.3".into()],
        links: Vec::new(),
        config: Vec::new(),
        limits: Limits::default(),
        lifetime_s: 3600,
    };
    Decision::admit_for_tests(case, grants, policy())
}

fn refuse(case: &Case) -> Decision {
    let reason = Reason::new(Code::IMPORT_NOT_GRANTED, "wasi:sockets/tcp@0.2.3", format!("not granted to `{CALLER}`"));
    Decision::refuse_for_tests(case, vec![reason], policy())
}

struct TestLog {
    folder: TempDir,
    settings: Settings,
}

impl TestLog {
    fn new() -> Self {
        let settings = Settings { append_deadline_ms: 20_000, ..Settings::default() };
        Self { folder: tempfile::tempdir().unwrap(), settings }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("audit.db")
    }

    async fn open(&self) -> Audit {
        self.try_open().await.unwrap_or_else(|error| panic!("{}", printed(&error)))
    }

    async fn try_open(&self) -> Result<Audit, StartError> {
        Audit::open(&self.settings, self.path(), now()).await
    }

    async fn verify(&self) -> Result<Verified, VerifyFault> {
        verify(&self.database(), &VerifyOptions::default()).await
    }
}

fn printed(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text = format!("{text}: {below}");
        source = below.source();
    }
    text
}

async fn append(audit: &Audit) -> Result<Receipt, Outage> {
    let case = case();
    audit.append(&case, &admit(&case)).await
}

/// Appends `count` decisions at once and gives the receipts in the order of their indices.
async fn append_many(audit: &Arc<Audit>, count: usize) -> Vec<Receipt> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let audit = Arc::clone(audit);
        tasks.spawn(async move { append(&audit).await.unwrap() });
    }
    let mut receipts = tasks.join_all().await;
    receipts.sort_by_key(Receipt::index);
    receipts
}

fn checkpoint_of(note: &str, vkey: &str) -> Checkpoint {
    TrustPolicy::of_log(vkey.parse().unwrap()).verify(note.as_bytes()).unwrap()
}

#[track_caller]
fn assert_receipt(receipt: &Receipt, vkey: &str) -> Checkpoint {
    let checkpoint = checkpoint_of(receipt.checkpoint(), vkey);
    assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (receipt.tree_size(), receipt.origin()));
    let (leaf, size) = (receipt.leaf_hash().as_bytes(), receipt.tree_size());
    verify_inclusion(leaf, receipt.index(), size, receipt.proof(), &checkpoint.root).unwrap();
    checkpoint
}

#[tokio::test]
async fn a_decision_is_found_again_with_its_proof() {
    let log = TestLog::new();
    let audit = log.open().await;
    let admitted = case();
    let refused = case();
    let first = audit.append(&admitted, &admit(&admitted)).await.unwrap();
    let second = audit.append(&refused, &refuse(&refused)).await.unwrap();
    assert_eq!((first.index(), second.index()), (0, 1));
    assert_eq!((first.decision(), second.decision()), (admitted.id, refused.id));
    assert_eq!(second.committed_at(), entry::microseconds(now()));
    assert_receipt(&first, &audit.vkey());
    assert_receipt(&second, &audit.vkey());

    let reader = audit.reader();
    let record = reader.find(&Selector::Id(admitted.id)).await.unwrap().unwrap();
    assert_eq!(record.case.as_ref(), Some(&admitted));
    assert_eq!(record.decision.as_ref(), Some(admit(&admitted).facts()));
    assert_eq!((record.index, record.redacted.as_slice()), (0, &[][..]));
    assert_eq!(record.leaf_hash, *first.leaf_hash());
    let by_index = reader.find(&"#1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(by_index.decision.as_ref(), Some(refuse(&refused).facts()));
    assert_eq!(reader.find(&"#2".parse().unwrap()).await.unwrap(), None);
    assert_eq!(reader.find(&Selector::Id(Uuid::now_v7())).await.unwrap(), None);

    let proof = reader.proof(0).await.unwrap().unwrap();
    let trust = TrustPolicy::of_log(audit.vkey().parse().unwrap());
    let again: tlog::ProofFile = proof.to_string().parse().unwrap();
    assert_eq!(again.verify(&record.entry, &trust).unwrap().size, 2);
    assert_eq!(reader.proof(2).await.unwrap(), None);
    audit.close().await;

    let verified = log.verify().await.unwrap();
    assert_eq!((verified.size, verified.decisions(), verified.redacted), (2, 2, 0));
    assert_eq!(verified.verdicts, BTreeMap::from([("admit".to_owned(), 1), ("refuse".to_owned(), 1)]));
    assert_eq!(verified.key_source, KeySource::Database);
}

#[tokio::test]
async fn nothing_personal_stands_in_entry_or_body() {
    let refused = case();
    let decision = refuse(&refused);
    let recording = Recording::of_decision(&refused, decision.facts()).unwrap();
    for bytes in [&recording.entry_bytes, &recording.body] {
        let text = std::str::from_utf8(bytes).unwrap();
        for personal in [CALLER, SIGNER, "mallory", "spiffe://"] {
            assert!(!text.contains(personal), "`{personal}` stands in {text}");
        }
    }
    assert!(recording.entry_bytes.len() <= 800, "an entry has {} bytes", recording.entry_bytes.len());
    let pointers: Vec<&str> = recording.disclosures.iter().map(|disclosure| disclosure.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/case/caller/id",
            "/case/evidence/findings/0/predicate/by",
            "/case/evidence/findings/0/signer/san/value",
            "/case/evidence/findings/1/detail",
            "/case/host",
            "/decision/reasons/0/detail",
        ]
    );
    // The body is put together from pieces; the whole is canonical all the same.
    let body: Value = serde_json::from_slice(&recording.body).unwrap();
    assert_eq!(crate::case::canonical_json(&body), recording.body);
    let case_digest = recording.entry.decision.as_ref().unwrap().case_digest;
    assert_eq!(Digest::of(&crate::case::canonical_json(&body["case"])), case_digest);
    // Two recordings of one case share no commitment: a salt is never used twice.
    let again = Recording::of_decision(&refused, decision.facts()).unwrap();
    assert_ne!(again.entry.body_commit, recording.entry.body_commit);
}

#[test]
fn the_entry_is_canonical_and_says_what_the_decision_said() {
    let mut refused = case();
    refused.id = "019b7dcb-5d5f-7000-8000-000000000001".parse().unwrap();
    let decision = refuse(&refused);
    let entry = entry::Entry::of_decision(&refused, decision.facts(), Digest::of(b"case"), Digest::of(b"body"));
    let bytes = entry.bytes().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(text, EXPECTED_ENTRY);
    assert_eq!(entry::Entry::parse(&bytes), Some(entry));
    for other in
        [text.replace(":", ": "), text.replace("\"v\":1", "\"v\":2"), text.replace("{\"art", "{\"aaa\":1,\"art")]
    {
        assert_eq!(entry::Entry::parse(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_thousand_reasons_fit_an_entry() {
    let refused = case();
    let code = |at: usize| format!("code-{}-{at:04}", "x".repeat(Code::MAX_BYTES - 10)).parse::<Code>().unwrap();
    let reasons = (0..1000).map(|at| Reason::new(code(at), "about", "detail")).collect();
    let decision = Decision::refuse_for_tests(&refused, reasons, policy());
    let recording = Recording::of_decision(&refused, decision.facts()).unwrap();
    let entry = recording.entry.decision.unwrap();
    assert_eq!((entry.reasons.len(), entry.reason_count), (entry::MAX_ENTRY_REASONS, 1000));
    assert!(recording.entry_bytes.len() < 4096);
}

#[test]
fn what_cannot_be_recorded_whole_is_refused() {
    let big = case();
    let mut decision = admit(&big).facts().clone();
    decision.policy.name = "x".repeat(tlog::tile::MAX_ENTRY_BYTES);
    assert!(matches!(Recording::of_decision(&big, &decision), Err(RecordError::Entry(_))));

    let mut rounded = admit(&big).facts().clone();
    rounded.grants.as_mut().unwrap().limits.fuel = (1 << 53) - 1;
    assert!(Recording::of_decision(&big, &rounded).is_ok());
    rounded.grants.as_mut().unwrap().limits.fuel = 1 << 53;
    let refused = Recording::of_decision(&big, &rounded).unwrap_err();
    assert_eq!(refused, RecordError::Number { pointer: "/decision/grants/limits/fuel".into() });

    let mut large = case();
    large.artifact.annotations.insert("x".into(), "y".repeat(MAX_BODY_BYTES));
    let refused = Recording::of_decision(&large, admit(&large).facts()).unwrap_err();
    assert!(matches!(refused, RecordError::BodyTooLarge { .. }));
}

#[test]
fn foreign_numbers_that_would_be_rounded_become_texts() {
    let mut large = case();
    let Finding::Verified(finding) = &mut large.evidence.findings[0] else { panic!("the first one verified") };
    finding.predicate = Some(json!({"n": u64::MAX, "m": -9_007_199_254_740_993_i64, "f": 1.5, "i": 7}));
    let recording = Recording::of_decision(&large, admit(&large).facts()).unwrap();
    let body: Value = serde_json::from_slice(&recording.body).unwrap();
    let predicate = &body["case"]["evidence"]["findings"][0]["predicate"];
    assert_eq!(*predicate, json!({"n": "18446744073709551615", "m": "-9007199254740993", "f": 1.5, "i": 7}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_at_once_share_batches_and_each_has_a_proof() {
    let log = TestLog::new();
    let audit = Arc::new(log.open().await);
    let mut checkpoints = Vec::new();
    for count in [1, 3, 254, 300, 130] {
        for receipt in append_many(&audit, count).await {
            checkpoints.push((receipt.index(), assert_receipt(&receipt, &audit.vkey())));
        }
    }
    assert!(checkpoints.iter().map(|(index, _)| *index).eq(0..688), "indices are dense from 0");
    let reader = audit.reader();
    let newest = checkpoint_of(&reader.checkpoint().await.unwrap(), &audit.vkey());
    assert_eq!(newest.size, 688);
    for (_, checkpoint) in &checkpoints {
        let proof = reader.consistency(checkpoint.size, newest.size).await.unwrap().unwrap();
        verify_consistency(checkpoint.size, newest.size, &proof, &checkpoint.root, &newest.root).unwrap();
    }
    let batches: std::collections::BTreeSet<u64> = checkpoints.iter().map(|(_, checkpoint)| checkpoint.size).collect();
    assert!(batches.len() < 400, "{} batches for 688 decisions", batches.len());
    audit.close().await;
    assert_eq!(log.verify().await.unwrap().size, 688);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_are_those_of_the_tree() {
    let log = TestLog::new();
    let audit = Arc::new(log.open().await);
    append_many(&audit, 300).await;
    let reader = audit.reader();
    let tile = async |path: &str| reader.tile(&path.parse().unwrap()).await.unwrap();
    let bundle = tile("tile/entries/000").await.unwrap();
    let mut leaves = Vec::new();
    let mut rest = bundle.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        leaves.extend_from_slice(&leaf_hash(entry));
        rest = after;
    }
    let full = tile("tile/0/000").await.unwrap();
    assert_eq!((full.len(), &full), (8192, &leaves));
    assert_eq!(tile("tile/0/000.p/7").await.unwrap(), leaves[..7 * 32]);
    assert_eq!(tile("tile/0/001.p/44").await.unwrap().len(), 44 * 32);
    assert_eq!(tile("tile/1/000.p/1").await.unwrap().len(), 32);
    for path in ["tile/0/001", "tile/0/001.p/45", "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1", "tile/63/000.p/1"] {
        assert_eq!(tile(path).await, None, "{path}");
    }
    assert!(tile("tile/entries/001.p/44").await.is_some());
    assert_eq!(tile("tile/entries/001.p/45").await, None);
    assert_eq!(tile("tile/entries/x999/999").await, None);
    audit.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_goes_on_where_it_stopped() {
    let log = TestLog::new();
    let mut size = 0;
    for round in [5, 251, 1, 300] {
        let audit = Arc::new(log.open().await);
        let receipts = append_many(&audit, round).await;
        assert_eq!(receipts[0].index(), size);
        size += round as u64;
        audit.close().await;
        audit.close().await;
        assert!(append(&audit).await.is_err(), "a closed log took a decision");
    }
    let verified = log.verify().await.unwrap();
    assert_eq!(verified.size, size);
}

#[tokio::test]
async fn pages_go_both_ways_and_filter() {
    let log = TestLog::new();
    let audit = log.open().await;
    audit.event(EventKind::GatewayStart, json!({"version": "1"}), now()).await.unwrap();
    for at in 0..6 {
        let mut case = case();
        case.artifact.digest = Digest::of(&[at % 2]);
        let decision = if at % 3 == 0 { refuse(&case) } else { admit(&case) };
        audit.append(&case, &decision).await.unwrap();
    }
    let list = async |query: Query| -> Vec<u64> {
        audit.reader().list(&query).await.unwrap().iter().map(|record| record.index).collect()
    };
    let newest = Query { order: Order::NewestFirst, ..Query::default() };
    assert_eq!(list(Query { limit: 3, ..Query::default() }).await, [0, 1, 2]);
    assert_eq!(list(Query { after_index: Some(4), ..Query::default() }).await, [5, 6]);
    assert_eq!(list(Query { after_index: Some(2), ..newest.clone() }).await, [1, 0]);
    assert_eq!(list(Query { verdict: Some(crate::case::VerdictWord::Refuse), ..newest.clone() }).await, [4, 1]);
    assert_eq!(list(Query { artifact: Some(Digest::of(&[0])), ..Query::default() }).await, [1, 3, 5]);
    assert_eq!(list(Query { limit: 0, ..Query::default() }).await, [0u64; 0]);
    let event = audit.reader().find(&"#0".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((event.kind, event.detail), (Kind::Event(EventKind::GatewayStart), Some(json!({"version": "1"}))));
    audit.close().await;
    assert_eq!(log.verify().await.unwrap().kinds["gateway.start"], 1);
}

#[tokio::test]
async fn an_ambiguous_prefix_lists_the_ids() {
    let log = TestLog::new();
    let audit = log.open().await;
    let mut ids = Vec::new();
    for last in [1, 2] {
        let mut case = case();
        case.id = format!("01a8f3c2-0000-7000-8000-00000000000{last}").parse().unwrap();
        audit.append(&case, &admit(&case)).await.unwrap();
        ids.push(case.id);
    }
    match audit.reader().find(&"01a8f3c2".parse().unwrap()).await {
        Err(FindError::Ambiguous { prefix, ids: listed }) => assert_eq!((prefix.as_str(), listed), ("01a8f3c2", ids)),
        other => panic!("an ambiguous prefix gave {other:?}"),
    }
    audit.close().await;
}

#[tokio::test]
async fn a_redacted_field_keeps_every_proof() {
    let log = TestLog::new();
    let audit = log.open().await;
    let receipt = append(&audit).await.unwrap();
    audit.close().await;
    store::tamper(&log.database(), "DELETE FROM disclosure WHERE ptr = '/case/caller/id'").await;
    let reader = Reader::open(&log.database()).await.unwrap();
    let record = reader.find(&Selector::Id(receipt.decision())).await.unwrap().unwrap();
    assert_eq!(record.redacted, ["/case/caller/id"]);
    let case = record.case.unwrap();
    assert!(case.caller.id.starts_with("salted-sha256:"), "{}", case.caller.id);
    assert_eq!(case.host, CALLER);
    let verified = log.verify().await.unwrap();
    assert_eq!((verified.size, verified.redacted), (1, 1));
}

#[tokio::test]
async fn a_second_process_is_told_whom_to_ask() {
    let log = TestLog::new();
    let audit = log.open().await;
    let refused = log.try_open().await.unwrap_err();
    assert!(matches!(refused, StartError::Locked { .. }), "{}", printed(&refused));
    // Readers of other processes are welcome.
    append(&audit).await.unwrap();
    let reader = Reader::open(&log.database()).await.unwrap();
    assert_eq!(reader.list(&Query::default()).await.unwrap().len(), 1);
    assert_eq!(log.verify().await.unwrap().size, 1);
    audit.close().await;
    log.open().await.close().await;
}

/// A database is all of its files: SQLite may leave its write-ahead log behind when connections close in another order.
fn remove_database(folder: &Path) {
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let _ = fs::remove_file(folder.join(name));
    }
}

fn replace_database(from: &Path, to: &Path) {
    remove_database(to);
    for name in ["audit.db", "audit.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// Copies the files of a database as a process killed now would leave them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("anchor")).unwrap();
    for name in ["audit.db", "audit.db-wal", "audit.key"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
    for entry in fs::read_dir(from.join("anchor")).into_iter().flatten() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("anchor").join(entry.file_name())).unwrap();
    }
}

/// At each step of each transaction the files are copied away; every copy must open, hold what was acknowledged before it,
/// and be consistent with every checkpoint that was published before or after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    let log = TestLog::new();
    let images: Arc<StdMutex<Vec<(TempDir, Step)>>> = Arc::default();
    let (from, taken) = (log.path().to_owned(), Arc::clone(&images));
    let mut steps = 0;
    let on_step = Box::new(move |step| {
        // Every step of the first batches, then every eleventh: a batch has seven steps, so all of them have their turn.
        steps += 1;
        if steps <= 28 || steps % 11 == 0 {
            let image = tempfile::tempdir().unwrap();
            copy(&from, image.path());
            taken.lock().unwrap().push((image, step));
        }
    });
    let audit = Arc::new(Audit::open_watched(&log.settings, log.path(), now(), on_step).await.unwrap());
    let mut acknowledged: Vec<(usize, Receipt)> = Vec::new();
    for count in [1, 2, 254, 1, 3] {
        for receipt in append_many(&audit, count).await {
            acknowledged.push((images.lock().unwrap().len(), receipt));
        }
    }
    audit.close().await;
    let newest = assert_receipt(&acknowledged.last().unwrap().1, &audit.vkey());
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() >= 28, "{} images", images.len());
    for (at, (image, step)) in images.iter().enumerate() {
        let database = image.path().join("audit.db");
        let audit = Audit::open(&log.settings, image.path(), now())
            .await
            .unwrap_or_else(|error| panic!("killed at {step:?}, image {at}: {}", printed(&error)));
        let size = audit.health().size;
        let before: Vec<&Receipt> =
            acknowledged.iter().filter(|(taken, _)| *taken <= at).map(|(_, receipt)| receipt).collect();
        assert!(size >= before.len() as u64, "killed at {step:?}: {size} of {} acknowledged", before.len());
        for receipt in before {
            let record = audit.reader().find(&Selector::Id(receipt.decision())).await.unwrap().unwrap();
            assert_eq!((record.index, record.leaf_hash), (receipt.index(), *receipt.leaf_hash()));
        }
        // No fork: the image is the past of what was published later.
        let ours = checkpoint_of(&audit.reader().checkpoint().await.unwrap(), &audit.vkey());
        assert_eq!(ours.size, size);
        let original = Reader::open(&log.database()).await.unwrap();
        let proof = original.consistency(size, newest.size).await.unwrap().unwrap();
        verify_consistency(size, newest.size, &proof, &ours.root, &newest.root).unwrap();
        // It goes on.
        assert_eq!(append(&audit).await.unwrap().index(), size);
        audit.close().await;
        assert_eq!(verify(&database, &VerifyOptions::default()).await.unwrap().size, size + 1);
    }
}

#[tokio::test]
async fn a23_2_a_rolled_back_database_is_refused_and_a_new_incarnation_goes_on() {
    let mut log = TestLog::new();
    let backup = tempfile::tempdir().unwrap();
    let audit = log.open().await;
    append(&audit).await.unwrap();
    audit.close().await;
    copy(log.path(), backup.path());
    let audit = log.open().await;
    append(&audit).await.unwrap();
    audit.close().await;
    replace_database(backup.path(), log.path());

    let refused = log.try_open().await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Log(LogFault::RolledBack { size: 1, published: 2, .. })),
        "{}",
        printed(&refused)
    );
    assert!(printed(&refused).contains("log rolled back"), "{}", printed(&refused));
    assert!(refused.hint().unwrap().contains("witgate.local/audit/2"));

    log.settings.origin = "witgate.local/audit/3".into();
    assert!(matches!(log.try_open().await, Err(StartError::OriginChanged { .. })));
    log.settings.origin = "witgate.local/audit/2".into();
    let audit = log.open().await;
    assert_eq!(append(&audit).await.unwrap().index(), 1);
    let start = audit.reader().find(&"#0".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(start.kind, Kind::Event(EventKind::LogStart));
    let detail = start.detail.unwrap();
    assert_eq!(detail["previous"]["size"], 1);
    // The anchor of the lost history is kept as evidence.
    let anchor = SignedNote::parse(detail["anchor"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(anchor.unverified_text().parse::<Checkpoint>().unwrap().size, 2);
    audit.close().await;
    let verified = log.verify().await.unwrap();
    assert_eq!((verified.origin.as_str(), verified.size), ("witgate.local/audit/2", 2));
    assert_eq!(verified.earlier, [("witgate.local/audit/1".to_owned(), 1)]);
    log.settings.origin = "witgate.local/audit/1".into();
    assert!(matches!(log.try_open().await, Err(StartError::OriginChanged { .. })));
}

#[tokio::test]
async fn a23_2_a_database_that_is_gone_or_has_another_history_is_refused() {
    let log = TestLog::new();
    let audit = log.open().await;
    append(&audit).await.unwrap();
    audit.close().await;
    let other = TestLog::new();
    fs::copy(log.path().join("audit.key"), other.path().join("audit.key")).unwrap();
    fs::set_permissions(other.path().join("audit.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let audit = other.open().await;
    append(&audit).await.unwrap();
    append(&audit).await.unwrap();
    audit.close().await;

    replace_database(other.path(), log.path());
    let refused = log.try_open().await.unwrap_err();
    assert!(printed(&refused).contains("1 were published with another root"), "{}", printed(&refused));
    remove_database(log.path());
    let refused = log.try_open().await.unwrap_err();
    assert!(matches!(refused, StartError::Log(LogFault::RolledBack { size: 0, published: 1, .. })));
    assert!(!log.database().exists(), "a new log was begun in place of a lost one");
}

#[tokio::test]
async fn files_removed_or_replaced_while_running_end_in_an_outage() {
    for name in ["audit.db", "audit.db-wal", "audit.db-shm"] {
        let log = TestLog::new();
        let audit = log.open().await;
        append(&audit).await.unwrap();
        fs::rename(log.path().join(name), log.path().join("moved")).unwrap();
        let outage = append(&audit).await.unwrap_err();
        assert_eq!(outage.peer, Peer::Audit);
        assert!(outage.chain().contains("was removed or replaced"), "{name}: {}", outage.chain());
        assert!(audit.health().last_error.is_some());
        fs::copy(log.path().join("moved"), log.path().join(name)).unwrap();
        if name == "audit.db" {
            assert!(append(&audit).await.is_err(), "a replaced database was written");
        }
    }
}

#[tokio::test]
async fn a_locked_database_is_an_outage_and_heals() {
    let mut log = TestLog::new();
    log.settings.append_deadline_ms = 10_000;
    let audit = log.open().await;
    append(&audit).await.unwrap();
    let held = store::hold_lock(&log.database()).await;
    let outage = append(&audit).await.unwrap_err();
    assert!(outage.hint.as_deref().is_some_and(|hint| hint.contains("lock")), "{}", outage.chain());
    store::close(held).await.unwrap();
    assert_eq!(append(&audit).await.unwrap().index(), 1);
    assert_eq!(audit.health(), Health { last_error: None, queue_depth: 0, size: 2 });
    audit.close().await;
    assert_eq!(log.verify().await.unwrap().size, 2);
}

#[tokio::test]
async fn past_the_deadline_there_is_an_outage_and_no_late_admission() {
    let mut log = TestLog::new();
    log.settings.append_deadline_ms = 50;
    let audit = log.open().await;
    let held = store::hold_lock(&log.database()).await;
    let outage = append(&audit).await.unwrap_err();
    assert!(outage.chain().contains("within 50 ms"), "{}", outage.chain());
    store::close(held).await.unwrap();
    audit.close().await;
    assert!(log.verify().await.unwrap().size <= 1);
}

#[tokio::test]
async fn a_full_disk_is_an_outage_and_loses_nothing() {
    let log = TestLog::new();
    let state = Arc::new(State::default());
    let (mut sequencer, vkey) =
        boot::boot(&log.settings, log.path(), now(), Arc::clone(&state), Box::new(|_| {})).await.unwrap();
    sequencer.session().limit(40).await;
    let (queue, waiting) = mpsc::channel(MAX_QUEUED);
    let closing = CancellationToken::new();
    let task = tokio::spawn(sequencer.run(waiting, closing.clone()));
    let audit = Audit {
        queue,
        room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES / ROOM_BYTES)),
        append_deadline: log.settings.append_deadline(),
        vkey,
        database: log.database(),
        reader: Reader::open(&log.database()).await.unwrap(),
        state,
        closing,
        task: Mutex::new(Some(task)),
    };
    let mut kept = Vec::new();
    let outage = loop {
        match append(&audit).await {
            Ok(receipt) => kept.push(receipt),
            Err(outage) => break outage,
        }
        assert!(kept.len() < 1_000, "the disk never filled");
    };
    assert!(outage.hint.as_deref().is_some_and(|hint| hint.contains("free space")), "{}", outage.chain());
    assert!(!kept.is_empty());
    audit.close().await;
    let verified = log.verify().await.unwrap();
    assert_eq!(verified.size, kept.len() as u64);
    let audit = log.open().await;
    assert_eq!(append(&audit).await.unwrap().index(), verified.size);
    audit.close().await;
}

#[tokio::test]
async fn an_anchor_out_of_reach_is_an_outage() {
    let log = TestLog::new();
    let audit = log.open().await;
    append(&audit).await.unwrap();
    audit.close().await;
    let audit = log.open().await;
    fs::remove_dir_all(log.path().join("anchor")).unwrap();
    fs::write(log.path().join("anchor"), "a file where a folder should be").unwrap();
    // The first one may pass before the anchor is next written; then nothing does.
    let mut outage = None;
    for _ in 0..3 {
        if let Err(refused) = append(&audit).await {
            outage = Some(refused);
            break;
        }
    }
    let outage = outage.expect("the log went on without its anchor");
    assert!(outage.chain().contains("the anchor"), "{}", outage.chain());
    audit.close().await;
}

#[tokio::test]
async fn a23_2_a_foreign_or_newer_anchor_stops_a_running_log() {
    let log = TestLog::new();
    let audit = log.open().await;
    append(&audit).await.unwrap();
    audit.close().await;
    let anchor = fs::read_dir(log.path().join("anchor")).unwrap().next().unwrap().unwrap().path();
    let old = tempfile::tempdir().unwrap();
    copy(log.path(), old.path());
    let audit = log.open().await;
    append(&audit).await.unwrap();
    audit.close().await;
    let newer = fs::read(&anchor).unwrap();
    // The copy runs while its twin's anchor is put beside it.
    let twin = Audit::open(&log.settings, old.path(), now()).await.unwrap();
    fs::write(old.path().join("anchor").join(anchor.file_name().unwrap()), newer).unwrap();
    let outage = append(&twin).await.unwrap_err();
    assert!(outage.chain().contains("log rolled back"), "{}", outage.chain());
    twin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_record_does_not_take_its_batch_along() {
    let log = TestLog::new();
    let audit = Arc::new(log.open().await);
    let twice = case();
    audit.append(&twice, &admit(&twice)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..40 {
        let (audit, twice) = (Arc::clone(&audit), twice.clone());
        tasks.spawn(async move {
            let case = if at == 20 { twice } else { case() };
            audit.append(&case, &admit(&case)).await.is_ok()
        });
    }
    let recorded = tasks.join_all().await;
    assert_eq!(recorded.iter().filter(|recorded| **recorded).count(), 39);
    audit.close().await;
    assert_eq!(log.verify().await.unwrap().size, 40);
}

#[tokio::test]
async fn the_key_belongs_to_the_log() {
    let mut log = TestLog::new();
    let audit = log.open().await;
    let vkey = audit.vkey();
    append(&audit).await.unwrap();
    audit.close().await;
    let key = log.path().join("audit.key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(matches!(log.try_open().await, Err(StartError::KeyMissing { .. })));
    assert!(!key.exists(), "a key was made for a log that another key signs");
    let other = TestLog::new();
    other.open().await.close().await;
    fs::copy(other.path().join("audit.key"), &key).unwrap();
    let refused = log.try_open().await.unwrap_err();
    assert!(matches!(&refused, StartError::KeyChanged { expected, .. } if *expected == vkey));
    assert!(refused.hint().unwrap().contains("witgate.local/audit/2"));
    fs::write(&key, &kept).unwrap();
    log.open().await.close().await;
    // A lost key ends a log; the next incarnation makes its own.
    fs::remove_file(&key).unwrap();
    log.settings.origin = "witgate.local/audit/2".into();
    let audit = log.open().await;
    assert_ne!(audit.vkey().rsplit('+').next(), vkey.rsplit('+').next());
    audit.close().await;
}

#[tokio::test]
async fn a_log_verifies_with_its_own_key_policy_and_anchor_only() {
    let log = TestLog::new();
    let audit = log.open().await;
    append(&audit).await.unwrap();
    let anchor = audit.reader().checkpoint().await.unwrap();
    append(&audit).await.unwrap();
    let vkey = audit.vkey();
    audit.close().await;
    let other = TestLog::new();
    let stranger = other.open().await;
    append(&stranger).await.unwrap();
    let foreign = stranger.reader().checkpoint().await.unwrap();
    let foreign_vkey = stranger.vkey();
    stranger.close().await;

    let database = log.database();
    let with = async |vkey: &str, policy: &str, anchor: Option<&String>| {
        let options = VerifyOptions {
            vkey: (!vkey.is_empty()).then(|| vkey.parse().unwrap()),
            policy: (!policy.is_empty()).then(|| policy.parse().unwrap()),
            anchor: anchor.cloned(),
        };
        verify(&database, &options).await
    };
    let policy = format!("log {vkey}\nquorum none\n");
    let verified = with(&vkey, &policy, Some(&anchor)).await.unwrap();
    assert_eq!(verified.key_source, KeySource::Given);
    assert!(matches!(with(&foreign_vkey, "", None).await, Err(VerifyFault::Checkpoint { size: 0, .. })));
    let foreign_policy = format!("log {foreign_vkey}\nquorum none\n");
    assert!(matches!(with("", &foreign_policy, None).await, Err(VerifyFault::Policy(_))));
    let witness = "witness w witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X\nquorum w\n";
    let witnessed = format!("log {vkey}\n{witness}");
    assert!(matches!(with("", &witnessed, None).await, Err(VerifyFault::Policy(_))));
    assert!(matches!(with("", "", Some(&foreign)).await, Err(VerifyFault::AnchorForm(_))));
}

/// Every way to change a stored log, and what `verify` says of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meddling_is_named() {
    let log = TestLog::new();
    let audit = Arc::new(log.open().await);
    append_many(&audit, 300).await;
    let refused = case();
    audit.append(&refused, &refuse(&refused)).await.unwrap();
    audit.event(EventKind::GatewayStop, json!({}), now()).await.unwrap();
    audit.close().await;
    log.verify().await.unwrap();

    let forged_body =
        "UPDATE decision SET body = CAST(replace(CAST(body AS TEXT), 'refuse', 'admit!') AS BLOB) WHERE idx = 300";
    let forged_entry =
        "UPDATE decision SET entry = CAST(replace(CAST(entry AS TEXT), 'refuse', 'admit') AS BLOB) WHERE idx = 300";
    let cases: &[(&str, &str)] = &[
        (forged_body, "the body of entry 300 does not hash to its entry's `body_commit`"),
        (forged_entry, "entry 300 does not hash to its leaf"),
        ("UPDATE leaf SET leaf = zeroblob(32) WHERE idx = 7", "entry 7 does not hash to its leaf"),
        ("DELETE FROM leaf WHERE idx = 9", "entry 9 is missing"),
        ("DELETE FROM decision WHERE idx = 9", "entry 9 is missing"),
        (
            "DELETE FROM leaf WHERE idx = 301; DELETE FROM decision WHERE idx = 301",
            "the entries make another tree of 302 than the stored one",
        ),
        ("UPDATE tile SET data = zeroblob(8192)", "tile 0 of level 0 is not the tree's"),
        ("UPDATE tile SET hash = zeroblob(32)", "tile 0 of level 0 is not the tree's"),
        ("DELETE FROM tile", "tile 0 of level 0 is not the tree's"),
        (
            "INSERT INTO tile VALUES (1, 0, 1, zeroblob(32), zeroblob(8192))",
            "the database holds 1 tiles that the tree knows nothing of",
        ),
        ("UPDATE tree SET root = zeroblob(32)", "the entries make another tree of 302 than the stored one"),
        ("UPDATE tree SET size = 301", "the entries make another tree of 301 than the stored one"),
        (
            "UPDATE checkpoint SET note = replace(note, '302', '301') WHERE size = 302",
            "the checkpoint of size 302 is not signed by the log's key",
        ),
        (
            "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 302) WHERE size = 301",
            "the checkpoint of size 301 signs another tree than the entries make",
        ),
        ("DELETE FROM checkpoint WHERE size = 302", "no checkpoint covers the 302 entries"),
        (
            "INSERT INTO checkpoint SELECT log_id, 400, note, cosigs, signed_at FROM checkpoint WHERE size = 302",
            "the checkpoint of size 400 signs another tree than the entries make",
        ),
        (
            "UPDATE disclosure SET value = CAST('\"spiffe://x/y\"' AS BLOB) WHERE ptr = '/case/caller/id' AND id = (SELECT id FROM leaf WHERE idx = 3)",
            "the disclosure of `/case/caller/id` of entry 3 is not what was committed to",
        ),
        (
            "INSERT INTO disclosure SELECT id, '/case/mode', zeroblob(16), CAST('\"x\"' AS BLOB) FROM leaf WHERE idx = 5",
            "the disclosure of `/case/mode` of entry 5 is not what was committed to",
        ),
        (
            "INSERT INTO disclosure VALUES (zeroblob(16), '/x', zeroblob(16), CAST('1' AS BLOB))",
            "the database holds 1 disclosures that the tree knows nothing of",
        ),
        (
            "INSERT INTO decision SELECT NULL, zeroblob(16), log_id, 302, ts, kind, tenant, verdict, artifact, policy_digest, entry, body FROM decision WHERE idx = 1",
            "the database holds 1 rows that the tree knows nothing of",
        ),
        ("UPDATE log_key SET vkey = 'nonsense'", "the log names a key that is none"),
        ("DELETE FROM log_key", "the checkpoint of size 0 is not signed by the log's key"),
    ];
    for (sql, expected) in cases {
        let image = tempfile::tempdir().unwrap();
        copy(log.path(), image.path());
        let database = image.path().join("audit.db");
        store::tamper(&database, sql).await;
        let fault = verify(&database, &VerifyOptions::default()).await.expect_err(sql);
        assert!(printed(&fault).starts_with(expected), "`{sql}`: {}", printed(&fault));
    }
}

#[tokio::test]
async fn a_stored_tree_that_contradicts_itself_does_not_open() {
    let log = TestLog::new();
    let audit = log.open().await;
    append(&audit).await.unwrap();
    append(&audit).await.unwrap();
    audit.close().await;
    for sql in [
        "UPDATE tree SET root = zeroblob(32)",
        "UPDATE tree SET size = 1",
        "UPDATE tree SET size = 3",
        "DELETE FROM leaf WHERE idx = 0",
        "UPDATE leaf SET leaf = zeroblob(32)",
        "DELETE FROM checkpoint WHERE size = 2",
        "UPDATE checkpoint SET note = replace(note, '2', '1') WHERE size = 2",
    ] {
        let image = tempfile::tempdir().unwrap();
        copy(log.path(), image.path());
        store::tamper(&image.path().join("audit.db"), sql).await;
        let refused = Audit::open(&log.settings, image.path(), now()).await;
        assert!(matches!(refused, Err(StartError::Log(_))), "`{sql}` was opened");
    }
}
