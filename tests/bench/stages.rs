//! Each stage by itself: surface, evidence, policy, canonical JSON, ticket.

mod subject;

use std::cell::LazyCell;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use witgate::audit::Audit;
use witgate::case::{
    ArtifactFacts, Candidate, CandidateContent, CandidateSource, Candidates, Case, Digest, Extern, ExternKind, Finding,
    Surface, Timestamp, World,
};
use witgate::dev::components;
use witgate::dev::deployment::{ISSUER, SIGNER, gateway_id, host_id, policy_data};
use witgate::dev::sigstore::{Log, ManagedKey, Sign, Sigstore};
use witgate::evidence::{
    self, Collector, Exhibit, InlineRoot, KeySettings, PemSource, RootSettings, RootSource, Trust,
};
use witgate::handover::{self, Handover};
use witgate::policy::{Policy, Verdict};
use witgate::surface;
use witgate_host_hook::import_name::track;
use witgate_host_hook::key::PublicKey;
use witgate_host_hook::ticket::{Expectations, Freshness, LogTrust, PinnedKeys, UsedTickets, verify};

use subject::{REGISTRY, case};

const MB: usize = 1_000_000;
/// The imports and rules of design section 13.
const IMPORTS: usize = 200;
const RULES: usize = 50;
/// Imports of one package in the large case.
const INTERFACES: usize = 10;

fn main() {
    witgate::tls::install_provider();
    let runtime = Runtime::new().expect("a runtime");
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    surfaces(&mut criterion, &runtime);
    policies(&mut criterion);
    bundles(&mut criterion, &runtime);
    canonical(&mut criterion);
    tickets(&mut criterion, &runtime);
    criterion.final_summary();
}

/// The whole stage with its thread: what a cold decision pays once the bytes are here.
fn surfaces(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("surface");
    for size in [5, 50] {
        // Made when it is measured only: 50 MB take longer to make than other parts to run.
        let bytes = LazyCell::new(|| Bytes::from(components::padded(components::http("hello"), size * MB)));
        group.bench_function(format!("{size} MB"), |bencher| {
            bencher.iter(|| {
                let surface = runtime.block_on(surface::inspect(Some(bytes.clone()))).expect("a free reader");
                assert!(matches!(surface, Surface::Component(_)));
                surface
            });
        });
    }
}

/// One decision: case to JSON, evaluation, answer, floor.
fn policies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    let case = large_case();
    for applying in [1, RULES] {
        let policy = Policy::embedded(rules(applying)).expect("the data is what the rules read");
        let decision = policy.decide(&case).expect("an answer");
        assert!(matches!(decision.verdict(), Verdict::Admit(_)), "{:?}", decision.facts().reasons);
        group.bench_function(format!("{IMPORTS} imports, {RULES} rules, {applying} of them apply"), |bencher| {
            bencher.iter(|| policy.decide(black_box(&case)));
        });
    }
    let policy = Policy::embedded(policy_data(REGISTRY)).expect("the data is what the rules read");
    let case = small_case();
    group.bench_function("the demo's component and data", |bencher| bencher.iter(|| policy.decide(black_box(&case))));
}

/// One candidate to a finding, by a collector that has seen nothing; then by one that remembers.
fn bundles(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("evidence");
    let now = Timestamp::now();
    let start = now - jiff::SignedDuration::from_hours(1);
    let sigstore = Sigstore::new(start).expect("a private Sigstore");
    let key = ManagedKey::generate().expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let pem = folder.path().join("release.pub");
    std::fs::write(&pem, key.public_pem()).expect("a writable folder");
    let root = InlineRoot { json: sigstore.trusted_root_json(), refreshed_at: start };
    let settings = evidence::Settings {
        roots: vec![RootSettings::new("demo", RootSource::Inline(root))],
        keys: vec![KeySettings::new("release", PemSource::File(pem))],
        ..evidence::Settings::default()
    };
    let collector = || Collector::new(Trust::load(&settings).expect("the root is one"));

    let manifest =
        Bytes::from_static(br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#);
    let artifact = ArtifactFacts { digest: Digest::of(&manifest), component: None, ..small_case().artifact };
    let request = || Sign::cosign(artifact.digest, SIGNER, ISSUER, start);
    let signed = [
        ("keyless, Rekor v1", sigstore.sign(request())),
        ("keyless, Rekor v2 and time-stamp", sigstore.sign(request().logged_in(Log::RekorV2))),
        ("managed key, Rekor v1", sigstore.sign_with_key(&key, request())),
        ("managed key, Rekor v2 and time-stamp", sigstore.sign_with_key(&key, request().logged_in(Log::RekorV2))),
    ];
    let examine = |collector: &Collector, bundle: &Bytes| {
        let source = CandidateSource {
            via: "referrers-api".into(),
            name: "one".into(),
            index: None,
            media_type: None,
            digest: None,
        };
        let list = vec![Candidate { source, content: Ok(CandidateContent::Bundle(bundle.clone())) }];
        let candidates = Candidates { looked_in: vec!["referrers-api".into()], list };
        let evidence =
            runtime.block_on(collector.examine(Exhibit::of(manifest.clone()), candidates, now)).expect("no outage");
        assert!(matches!(evidence.findings.as_slice(), [Finding::Verified(_)]), "{:?}", evidence.findings);
        evidence
    };
    for (name, bundle) in signed {
        let bundle = Bytes::from(bundle.expect("a bundle"));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                collector,
                |collector| (examine(&collector, &bundle), collector),
                BatchSize::SmallInput,
            );
        });
        if name == "keyless, Rekor v1" {
            let collector = collector();
            group.bench_function("keyless, remembered", |bencher| bencher.iter(|| examine(&collector, &bundle)));
        }
    }
}

fn canonical(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonical JSON");
    for (name, case) in [("the demo's case", small_case()), ("a case of 200 imports", large_case())] {
        group.bench_function(format!("{name}, {} bytes", case.canonical().len()), |bencher| {
            bencher.iter(|| black_box(&case).canonical());
        });
    }
}

/// Made from a real grant and a real receipt; checked with everything a host checks.
fn tickets(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("ticket");
    let folder = tempfile::tempdir().expect("a folder");
    let now = Timestamp::now();
    for (name, component) in [
        ("the demo's component", components::command("hello\n")),
        ("a component of 5 MB", components::padded(components::command("hello\n"), 5 * MB)),
    ] {
        let data_dir = folder.path().join(name);
        std::fs::create_dir(&data_dir).expect("a writable folder");
        let component = Bytes::from(component);
        let (handover, grant_case) = (open_handover(&data_dir), read_case(runtime, &component));
        let policy = Policy::embedded(policy_data(REGISTRY)).expect("the data is what the rules read");
        let decision = policy.decide(&grant_case).expect("an answer");
        let Verdict::Admit(grant) = decision.verdict() else { panic!("refused: {:?}", decision.facts().reasons) };
        let receipt = runtime.block_on(async {
            let audit = Audit::open(&Default::default(), &data_dir, now).await.expect("a log");
            let receipt = audit.append(&grant_case, &decision).await.expect("a receipt");
            audit.close().await;
            receipt
        });
        // Tickets live for a second, a thousand are made in it: the table of live tickets is in use and never full.
        let mut clock = now;
        let mut make = || {
            clock += jiff::SignedDuration::from_millis(1);
            handover.ticket(grant, &receipt, clock).expect("room for a ticket").expect("an admission has a ticket")
        };
        if component.len() < MB {
            group.bench_function("make", |bencher| bencher.iter(&mut make));
        }
        let ticket = make();
        let made_at = clock;
        let envelope = serde_json::to_vec(ticket.envelope()).expect("JSON");
        let key = PublicKey::from_spki_pem(&handover.public_key_pem()).expect("a key");
        let pinned = PinnedKeys::new().with(&gateway_id(), key);
        group.bench_function(format!("check, {name}"), |bencher| {
            bencher.iter(|| {
                let used = UsedTickets::new();
                let expected = Expectations {
                    pinned: &pinned,
                    own_id: &host_id("a"),
                    tls_peer: &gateway_id(),
                    freshness: Freshness::TicketId,
                    used: &used,
                    log: LogTrust::Ticket,
                    now: made_at,
                    component: &component,
                };
                verify(black_box(&envelope), &expected).expect("a good ticket")
            });
        });
    }
}

fn open_handover(data_dir: &Path) -> Handover {
    let settings = handover::Settings { ticket_life_s: 1, ..Default::default() };
    Handover::open(&settings, data_dir, gateway_id()).expect("a ticket key")
}

fn read_case(runtime: &Runtime, component: &Bytes) -> Case {
    let surface = runtime.block_on(surface::inspect(Some(component.clone()))).expect("a free reader");
    case(component, surface, Timestamp::now())
}

fn small_case() -> Case {
    let runtime = Runtime::new().expect("a runtime");
    read_case(&runtime, &components::command("hello\n").into())
}

/// A case of [`IMPORTS`] imports: [`INTERFACES`] of each package, three items in each.
fn large_case() -> Case {
    let import = |at: usize| {
        let (package, interface) = (package(at / INTERFACES), format!("face{at}"));
        let name = format!("{package}/{interface}@0.2.{}", at % 5);
        Extern {
            track: track(&name),
            package: Some(package),
            interface: Some(interface),
            version: Some(format!("0.2.{}", at % 5)),
            kind: ExternKind::Instance,
            items: vec!["func [method]thing.get".into(), "func [method]thing.set".into(), "resource thing".into()],
            name,
        }
    };
    let mut imports: Vec<Extern> = (0..IMPORTS).map(import).collect();
    imports.sort();
    let world = World { digest: Digest::of(b"world"), imports, exports: Vec::new() };
    case(b"component", Surface::Component(world), Timestamp::now())
}

fn package(number: usize) -> String {
    format!("acme:part{number}")
}

/// [`RULES`] grant rules; `applying` of them name the caller, the others another one. Each grants every package.
fn rules(applying: usize) -> Value {
    let mut data = policy_data(REGISTRY);
    let imports: Vec<_> = (0..IMPORTS / INTERFACES).map(|number| format!("{}/*@0.2", package(number))).collect();
    let rule = |at: usize| {
        let caller = if at < RULES - applying { format!("spiffe://other.example/host/{at}") } else { host_id("a") };
        json!({"callers": [caller], "references": [format!("{REGISTRY}/*")], "imports": imports, "lifetime_s": 3600})
    };
    data["witgate"]["grants"] = (0..RULES).map(rule).collect();
    data
}
