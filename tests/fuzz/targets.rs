//! One function for each parser of foreign bytes, with the inputs it starts from.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use witgate::admission::Asked;
use witgate::audit::entry::Entry;
use witgate::audit::tlog::{
    Checkpoint, ProofFile, SignedNote, Signer, TilePath, TrustPolicy, VerifierKey, leaf_hash, node_hash,
};
use witgate::case::{Case, Digest, Finding, Reference, Surface, Timestamp, VerdictWord};
use witgate::dev::components::{self, hostile};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::wascap::{SECTION, embed};
use witgate::doors::http::oci::path::{Target as DoorTarget, What};
use witgate::evidence::RevocationList;
use witgate::evidence::fuzzing as evidence_fuzzing;
use witgate::identity::SpiffeIdPattern;
use witgate::policy::Policy;
use witgate::registry::fuzzing;
use witgate::strict_json;
use witgate_host_hook::grants::{Grants, Limits};
use witgate_host_hook::key::{PrivateKey, PublicKey};
use witgate_host_hook::surface as reader;
use witgate_host_hook::ticket::{
    self, CheckpointKey, Component, Expectations, Freshness, Log, LogTrust, PinnedKeys, Predicate, Sha256Hex,
    Statement, UsedTickets, Verdict,
};

use crate::evidence::{
    EVIDENCE, PREDICATES, bundle, cosign_layer, cosign_manifest, cosign_tag, found, layer_content, predicate,
    predicates, revocation_list, revocations,
};
use crate::keys::{authority_chain, authority_chains, encrypted_key, encrypted_keys, key_file, key_files};
use crate::tokens::{
    KEYS, authorization, authorizations, caller_pattern, discovery, discovery_document, honest_tokens, jwks, token,
};
use crate::wascap::{
    account, honest_token, nkey, provider_archive, provider_archives, signed_components, verified_token,
    wascap_component, wascap_token,
};

/// A parser under test.
pub struct Target {
    /// What `WITGATE_FUZZ_TARGET` calls it.
    pub name: &'static str,
    /// How many rounds of a cheap target one of its own is worth.
    pub cost: u64,
    /// Inputs to start from; the first is an honest one.
    pub seeds: Vec<Vec<u8>>,
    /// Panics if the parser does, or if it believes what it should not.
    pub check: fn(&[u8]),
}

/// All of them.
pub fn all() -> Vec<Target> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let target = |name, cost, check, seeds: Vec<Vec<u8>>| Target { name, cost, seeds, check };
    let digest = Digest::of(b"x");
    let tiles = ["tile/0/000", "tile/3/x001/234.p/255", "tile/entries/x999/x999/999", "tile/63/000.p/1"];
    let references =
        [format!("ghcr.io/acme/cart:1.4@{digest}"), "localhost:5000/a/b/c".into(), format!("[::1]:5000/a@{digest}")];
    let patterns = ["spiffe://gate.example/host/*", "spiffe://gate.example", "spiffe://gate.example/host/a"];
    let asked = json!({"reference": "ghcr.io/acme/cart:1.4", "host": "spiffe://gate.example/host/a", "links": ["db"], "dry_run": true});
    let challenges = [
        r#"Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull", Basic realm="x""#,
        "Basic",
    ];
    vec![
        target(
            "strict-json",
            4,
            strict_json_document,
            vec![manifest(), honest_case(), b"[1,{\"a\":[null,\"\\u00e9\",1e3]}]".to_vec()],
        ),
        target("reference", 1, reference, references.iter().map(|text| text.as_bytes().to_vec()).collect()),
        target("manifest", 6, judged_manifest, vec![manifest(), index(), referrer()]),
        target("config", 2, config, vec![claims()]),
        target("index", 2, referrer_index, vec![index(), manifest()]),
        target("referrer", 3, referrer_manifest, vec![referrer(), manifest()]),
        target("challenge", 1, challenge, texts(&challenges)),
        target("token-answer", 1, token_answer, texts(&[r#"{"token":"t","access_token":"t","expires_in":300}"#])),
        target("bundle", 100, bundle, EVIDENCE.bundles.clone()),
        target("cosign-tag", 3, cosign_tag, vec![cosign_manifest(), manifest()]),
        target("cosign-layer", 100, cosign_layer, EVIDENCE.layers.clone()),
        target("predicate", 4, predicate, predicates()),
        target("component", 25, component, component_seeds()),
        target("nkey", 1, nkey, texts(&[&account().issuer(), &account().module(), &account().service()])),
        target("wascap-token", 4, wascap_token, vec![honest_token().into_bytes()]),
        target("wascap-component", 25, wascap_component, signed_components()),
        target("provider-archive", 25, provider_archive, provider_archives()),
        target("ticket", 2, signed_ticket, vec![TICKET.envelope.clone(), TICKET.foreign.clone()]),
        target("note", 2, note, vec![LOG.note.clone().into_bytes()]),
        target("checkpoint", 1, checkpoint, texts(&[LOG.text.as_str()])),
        target("tile-path", 1, tile_path, texts(&tiles)),
        target("tlog-proof", 2, tlog_proof, vec![LOG.proof.clone().into_bytes()]),
        target("trust-policy", 2, trust_policy, vec![LOG.policy.clone().into_bytes()]),
        target("vkey", 1, vkey, texts(&[&LOG.vkey])),
        target("log-entry", 2, log_entry, vec![LOG.entry.clone()]),
        target("token", 4, token, honest_tokens()),
        target("jwks", 4, jwks, vec![KEYS.jwks.clone().into_bytes()]),
        target("discovery", 200, discovery, vec![discovery_document()]),
        target("authorization", 1, authorization, authorizations()),
        target("caller-pattern", 1, caller_pattern, texts(&["oidc:ci/acme/*", "oidc:ci/*", "oidc:ci/acme/build"])),
        target("spiffe-pattern", 1, spiffe_pattern, texts(&patterns)),
        target(
            "pem-key",
            2,
            pem_key,
            vec![key().public().to_spki_pem().into_bytes(), key().to_pkcs8_pem().as_bytes().to_vec()],
        ),
        target("key-file", 8, key_file, key_files()),
        target("encrypted-key", 2, encrypted_key, encrypted_keys()),
        target("authority-chain", 4, authority_chain, authority_chains()),
        target("revocation-list", 3, revocation_list, vec![revocations()]),
        target("admission-request", 1, admission_request, vec![asked.to_string().into_bytes()]),
        target("case", 40, decided_case, vec![honest_case()]),
        target("door-path", 1, door_path, texts(&DOOR_PATHS)),
    ]
}

/// Paths of the registry door, with their queries.
const DOOR_PATHS: [&str; 5] = [
    "/v2/ghcr.io/acme/cart/manifests/1.4",
    "/v2/acme/cart/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?ns=ghcr.io",
    "/v2/ghcr.io/acme/cart/tags/list?n=10&last=1.4",
    "/v2/ghcr.io/a/referrers/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?artifactType=a%2Fb",
    "/v2/ghcr.io/x/manifests/y/manifests/1",
];

/// What is taken is of the one upstream there is, and its name is the one that references have.
fn door_path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let Ok(target) = DoorTarget::parse(path, query, |name| name == "ghcr.io") else { return };
    assert_eq!(target.repository.registry(), "ghcr.io");
    let name = target.repository.name().to_owned();
    assert!(!name.contains("..") && !name.contains("//") && !name.contains('%') && !name.starts_with('/'), "{name}");
    let reference: Reference = format!("ghcr.io/{name}:1").parse().expect("a repository makes references");
    assert_eq!(reference.repository(), name);
    match target.what {
        What::Tag(reference) => assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference),
        What::Manifest(_) | What::Blob(_) | What::Tags(_) | What::Referrers { .. } => {}
    }
}

/// Fails where an honest input is refused.
pub fn honest_inputs_are_believed() {
    crate::tokens::honest_inputs_are_believed();
    for text in DOOR_PATHS {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        assert!(DoorTarget::parse(path, query, |name| name == "ghcr.io").is_ok(), "{text}");
    }
    assert!(fuzzing::manifest(&manifest(), OCI_MANIFEST).is_ok());
    assert_eq!(fuzzing::claimed_imports(&claims(), &Digest::of(b"x")).unwrap().unwrap().len(), 1);
    assert_eq!(fuzzing::index(&index()), (1, 0));
    assert!(fuzzing::referrer(&referrer(), OCI_MANIFEST, &Digest::of(b"x")));
    for (index, bytes) in predicates().iter().enumerate() {
        let read = PREDICATES.iter().filter(|kind| matches!(evidence_fuzzing::predicate(kind, bytes), Some(Ok(_))));
        assert_eq!(read.count(), 1, "predicate {index} is read as its own type");
    }
    for bundle in &EVIDENCE.bundles {
        assert!(matches!(found(bundle), Finding::Verified(_)), "{:?}", found(bundle));
    }
    assert_eq!(fuzzing::cosign_tag(&cosign_manifest(), OCI_MANIFEST, &Digest::of(b"x")), 1);
    for layer in &EVIDENCE.layers {
        let found = EVIDENCE.find(layer_content(layer).unwrap());
        assert!(matches!(found, Finding::Verified(_)), "{found:?}");
    }
    assert!(reader::read(&component_seeds()[0]).is_ok());
    assert_eq!(verified_token(&account().sign(COMPONENT)), Some(Digest::of(honest_token().as_bytes())));
    for seed in &signed_components()[..3] {
        assert!(verified_token(seed).is_some());
    }
    for archive in provider_archives() {
        assert!(verified_token(&archive).is_some());
    }
    for unsigned in &component_seeds()[..3] {
        let hash = evidence_fuzzing::unsigned_hash(&embed(unsigned, SECTION, "x"));
        assert_eq!(hash, Some(*Digest::of(unsigned).as_bytes()));
    }
    assert_eq!(RevocationList::parse(&revocations(), EVIDENCE.now).unwrap().len(), 7);
    taken(&TICKET.envelope).expect("the honest ticket is taken");
    assert!(taken(&TICKET.foreign).is_err());
    let key: VerifierKey = LOG.vkey.parse().unwrap();
    assert_eq!(SignedNote::parse(LOG.note.as_bytes()).unwrap().verify(&[key]).unwrap().len(), 1);
    let policy: TrustPolicy = LOG.policy.parse().unwrap();
    LOG.proof.parse::<ProofFile>().unwrap().verify(&LOG.entry, &policy).unwrap();
    let case: Case = serde_json::from_slice(&honest_case()).unwrap();
    let decision = POLICY.decide(&case).unwrap();
    assert_eq!(decision.facts().verdict, VerdictWord::Admit, "{:?}", decision.facts().reasons);
}

pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

// --- documents of a registry ---

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

pub fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
}

pub fn manifest() -> Vec<u8> {
    let config = descriptor("application/vnd.wasm.config.v0+json");
    let layers = [descriptor("application/wasm")];
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, "annotations": {"a": "b"}}).to_string().into()
}

fn referrer() -> Vec<u8> {
    let (config, layers) = (descriptor("application/vnd.oci.empty.v1+json"), [descriptor(BUNDLE)]);
    let subject = descriptor(OCI_MANIFEST);
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE, "config": config, "layers": layers, "subject": subject})
        .to_string()
        .into()
}

fn index() -> Vec<u8> {
    let media_type = "application/vnd.oci.image.index.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [descriptor(OCI_MANIFEST)]}).to_string().into()
}

fn claims() -> Vec<u8> {
    let component = json!({"imports": ["wasi:cli/stdout@0.2.3"], "exports": []});
    json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(b"x")], "component": component})
        .to_string()
        .into()
}

fn strict_json_document(bytes: &[u8]) {
    if let Ok(value) = strict_json::parse(bytes, strict_json::MAX_DEPTH) {
        // Whatever the strict reader takes means the same to an ordinary one.
        let ordinary: Value = serde_json::from_slice(bytes).expect("strict JSON is JSON");
        assert_eq!(value, ordinary);
    }
    let _ = witgate_host_hook::strict_json::value(bytes);
}

fn reference(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        let shown = reference.to_string();
        assert_eq!(shown.parse::<Reference>().as_ref(), Ok(&reference), "`{shown}` means something else than `{text}`");
        let path = reference.repository();
        assert!(!path.split('/').any(|part| matches!(part, "" | "." | "..")), "`{path}` leaves its place");
    }
}

fn judged_manifest(bytes: &[u8]) {
    for content_type in [OCI_MANIFEST, "", "application/vnd.oci.image.index.v1+json", "\u{0}"] {
        match fuzzing::manifest(bytes, content_type) {
            Ok(_) => {
                let value: Value = serde_json::from_slice(bytes).expect("a manifest without defects is JSON");
                let layers = value["layers"].as_array().map(Vec::len);
                assert!(layers == Some(1) || value["manifests"].is_array(), "exactly one layer is a component");
            }
            Err(defects) => assert!(!defects.is_empty(), "a manifest without component and without defect"),
        }
    }
}

fn config(bytes: &[u8]) {
    if let Ok(Some(_)) = fuzzing::claimed_imports(bytes, &Digest::of(b"x")) {
        let value: Value = serde_json::from_slice(bytes).expect("a config that is read is JSON");
        assert_eq!(value["layerDigests"], json!([Digest::of(b"x")]), "the config is about another component");
    }
}

fn referrer_index(bytes: &[u8]) {
    let (entries, defects) = fuzzing::index(bytes);
    if serde_json::from_slice::<Value>(bytes).is_err() {
        assert!(entries == 0 && defects > 0, "an index that is no JSON must not look like an empty one");
    }
}

fn referrer_manifest(bytes: &[u8]) {
    if fuzzing::referrer(bytes, OCI_MANIFEST, &Digest::of(b"x")) {
        let value: Value = serde_json::from_slice(bytes).expect("a referrer that is read is JSON");
        assert_eq!(value["subject"]["digest"], json!(Digest::of(b"x")), "evidence about something else");
    }
}

fn challenge(bytes: &[u8]) {
    let _ = fuzzing::challenge(bytes);
}

fn token_answer(bytes: &[u8]) {
    let _ = fuzzing::token_answer(bytes);
}

// --- components ---

pub fn component_seeds() -> Vec<Vec<u8>> {
    vec![
        components::command("hello\n"),
        components::http("hello\n"),
        components::greedy("hello\n"),
        hostile::unsatisfied_nested_import(),
        hostile::nested_components(3),
        hostile::nested_instance_types(3),
        hostile::many_imports(3),
        hostile::wit_package(),
        hostile::core_module(),
        hostile::pre_standard_layer(),
    ]
}

/// The preamble of a component: magic, version 13, layer 1.
pub const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn component(bytes: &[u8]) {
    if let Ok(found) = reader::read(bytes) {
        assert!(bytes.starts_with(COMPONENT), "no component, yet read as one: nothing it imports would be seen");
        let names: Vec<&str> = found.imports.iter().map(|import| import.name.as_str()).collect();
        for name in &names {
            assert!(
                bytes.windows(name.len().max(1)).any(|window| window == name.as_bytes()) || name.is_empty(),
                "`{name}` is made up"
            );
        }
        assert!(names.is_sorted(), "imports are sorted: {names:?}");
    }
}

// --- tickets ---

const GATEWAY: &str = "spiffe://gate.example/witgate/gateway";
const HOST: &str = "spiffe://gate.example/host/a";
const NOW: i64 = 1_795_376_144;

struct Sealed {
    statement: Statement,
    envelope: Vec<u8>,
    foreign: Vec<u8>,
    component: Bytes,
    pinned: PinnedKeys,
    log: CheckpointKey,
}

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

static TICKET: LazyLock<Sealed> = LazyLock::new(|| {
    let component = Bytes::from(components::command("hello\n"));
    let imports: Vec<String> =
        reader::read(&component).unwrap().imports.into_iter().map(|import| import.name).collect();
    let signer = Signer::new("log.example/audit", &[2; 32]).unwrap();
    let leaf = Digest::of(b"leaf");
    let predicate = Predicate {
        ticket_id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
        decision_id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002),
        issuer: GATEWAY.into(),
        audience: HOST.into(),
        nonce: None,
        issued_at: NOW,
        not_before: NOW - 5,
        expires_at: NOW + 120,
        component: Component {
            manifest_digest: Digest::of(b"manifest"),
            media_type: "application/wasm".into(),
            size: component.len() as u64,
            wit_digest: Digest::of(b"world"),
        },
        grants: Grants {
            imports: imports.clone(),
            links: Vec::new(),
            config: Vec::new(),
            limits: Limits::default(),
            lifetime_s: 3600,
        },
        imports,
        policy: ticket::Policy {
            bundle_digest: Digest::of(b"bundle"),
            data_digest: None,
            entrypoint: "data.witgate.admission".into(),
            verdict: Verdict::Admit,
        },
        signers: vec![ticket::Signer::Key { keyid: "ab".into() }],
        log: Log {
            origin: "log.example/audit".into(),
            tree_size: 1,
            leaf_index: 0,
            leaf_hash: Sha256Hex(leaf),
            proof: Vec::new(),
            checkpoint: signer
                .sign(&format!("log.example/audit\n1\n{}\n", STANDARD.encode(leaf.as_bytes())))
                .to_string(),
        },
    };
    let statement = Statement::new("registry.example/app/comp", Digest::of(&component), predicate);
    let seal = |key: &PrivateKey, statement| ticket::sign(key, statement).unwrap().to_string().into_bytes();
    let mut other = statement.clone();
    other.predicate.audience = "spiffe://gate.example/host/b".into();
    Sealed {
        envelope: seal(&key(), &statement),
        foreign: seal(&key(), &other),
        statement,
        component,
        pinned: PinnedKeys::new().with(GATEWAY, key().public()),
        log: signer.verifier().to_string().parse().unwrap(),
    }
});

fn taken(envelope: &[u8]) -> Result<Statement, ticket::TicketRefusal> {
    let used = UsedTickets::new();
    let expected = Expectations {
        pinned: &TICKET.pinned,
        own_id: HOST,
        tls_peer: GATEWAY,
        freshness: Freshness::TicketId,
        used: &used,
        log: LogTrust::Key(&TICKET.log),
        now: Timestamp::from_second(NOW).unwrap(),
        component: &TICKET.component,
    };
    ticket::verify(envelope, &expected).map(|ticket| ticket.statement().clone())
}

fn signed_ticket(bytes: &[u8]) {
    if let Ok(statement) = taken(bytes) {
        assert_eq!(statement, TICKET.statement, "a ticket that nobody signed");
    }
}

// --- the log ---

struct Signed {
    vkey: String,
    text: String,
    note: String,
    entry: Vec<u8>,
    proof: String,
    policy: String,
}

static LOG: LazyLock<Signed> = LazyLock::new(|| {
    let signer = Signer::new("log.example/audit", &[3; 32]).unwrap();
    let entry = br#"{"body_commit":"sha256:0000000000000000000000000000000000000000000000000000000000000000","id":"01920000-0000-7000-8000-000000000001","kind":"policy.publish","time":"2026-06-01T12:00:00.000000Z","v":1}"#.to_vec();
    let (other, leaf) = (leaf_hash(b"other"), leaf_hash(&entry));
    let checkpoint = Checkpoint { origin: "log.example/audit".into(), size: 2, root: node_hash(&other, &leaf) };
    let note = signer.sign(&checkpoint.to_string()).to_string();
    let proof =
        ProofFile { unverified_extra: Some(b"x".to_vec()), index: 1, hashes: vec![other], checkpoint: note.clone() };
    let vkey = signer.verifier().to_string();
    let policy = format!("# whom we trust\nlog {vkey}\nquorum none\n");
    Signed { vkey, text: checkpoint.to_string(), note, entry, proof: proof.to_string(), policy }
});

fn note(bytes: &[u8]) {
    let Ok(note) = SignedNote::parse(bytes) else { return };
    assert_eq!(note.to_string().as_bytes(), bytes, "a note has one spelling");
    let key: VerifierKey = LOG.vkey.parse().unwrap();
    if note.verify(&[key]).is_ok() {
        assert_eq!(note.unverified_text(), LOG.text, "a text that nobody signed");
    }
}

fn checkpoint(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text, "a checkpoint has one spelling");
    }
}

fn tile_path(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text, "a path has one spelling");
        let _ = path.start();
    }
}

fn tlog_proof(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(proof) = text.parse::<ProofFile>() else { return };
    let policy: TrustPolicy = LOG.policy.parse().unwrap();
    if let Ok(checkpoint) = proof.verify(&LOG.entry, &policy) {
        assert_eq!(checkpoint.to_string(), LOG.text, "a checkpoint that nobody signed");
        assert_eq!(proof.index, 1, "the entry stands elsewhere");
    }
    assert!(proof.verify(b"another entry", &policy).is_err(), "a proof for an entry that is not in the log");
}

fn trust_policy(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(policy) = text.parse::<TrustPolicy>() {
        assert!(!policy.logs().is_empty(), "a policy that trusts no log is refused");
        if policy.verify(LOG.note.as_bytes()).is_ok() {
            assert!(
                policy.logs().iter().any(|key| key.to_string() == LOG.vkey),
                "no log of this policy signed the note"
            );
        }
    }
}

fn vkey(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string().parse::<VerifierKey>().as_ref(), Ok(&key));
        if *key.public() == *LOG.vkey.parse::<VerifierKey>().unwrap().public() {
            assert_eq!(
                key.key_id(),
                VerifierKey::new(key.name(), key.kind(), key.public()).unwrap().key_id(),
                "a key id that is not its own"
            );
        }
    }
    let _ = text.parse::<CheckpointKey>();
}

fn log_entry(bytes: &[u8]) {
    if let Some(entry) = Entry::parse(bytes) {
        assert_eq!(witgate::case::canonical_json(&entry), bytes, "an entry has one spelling");
    }
}

// --- names and keys ---

fn spiffe_pattern(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(pattern) = text.parse::<SpiffeIdPattern>() else { return };
    assert_eq!(pattern.to_string().parse::<SpiffeIdPattern>().as_ref(), Ok(&pattern));
    for stranger in
        ["spiffe://gate.example.evil/host/a", "spiffe://evil/gate.example/host/a", "https://gate.example/host/a", ""]
    {
        let domain = stranger.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next()).unwrap_or("\u{0}");
        assert!(!pattern.matches(stranger) || text.to_lowercase().contains(domain), "`{text}` means `{stranger}`");
    }
}

fn pem_key(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(public) = PublicKey::from_spki_pem(text) {
        assert_eq!(PublicKey::from_spki_pem(&public.to_spki_pem()).expect("its own PEM").as_bytes(), public.as_bytes());
    }
    if let Ok(private) = PrivateKey::from_pkcs8_pem(text) {
        let signature = private.sign(b"message");
        assert!(
            private.public().verifies(b"message", &signature) && !private.public().verifies(b"massage", &signature)
        );
    }
}

// --- questions and decisions ---

fn admission_request(bytes: &[u8]) {
    if let Ok(value) = strict_json::parse(bytes, strict_json::MAX_DEPTH)
        && let Ok(asked) = serde_json::from_value::<Asked>(value)
    {
        let text: Value = serde_json::from_slice(bytes).expect("a request is JSON");
        assert_eq!(text["reference"].as_str().and_then(|text| text.parse().ok()), Some(asked.reference));
    }
}

fn honest_case() -> Vec<u8> {
    let import = json!({
        "name": "wasi:cli/stdout@0.2.3", "package": "wasi:cli", "interface": "stdout", "version": "0.2.3", "track": "wasi:cli/stdout@0.2",
        "kind": "instance", "items": ["func get-stdout"],
    });
    let signer = json!({"kind": "keyless", "issuer": ISSUER, "san": {"kind": "uri", "value": SIGNER}, "claims": {}});
    let source = json!({"via": "referrers-api", "name": Digest::of(b"a")});
    let finding = json!({
        "status": "verified", "source": source, "kind": "signature", "trust": "public", "signer": signer, "times": ["2026-01-01T00:00:00Z"],
    });
    let host = "spiffe://gate.example/host/a";
    json!({
        "version": "case/v1", "id": Uuid::nil(), "time": "2026-01-01T00:00:00Z", "scope": witgate::case::Scope::default(), "mode": "enforce",
        "purpose": "admission", "caller": {"kind": "x509-svid", "id": host, "trust_domain": "gate.example"}, "host": host, "links": [],
        "reference": {"text": "ghcr.io/acme/cart:1.4", "upstream": "ghcr.io", "repository": "acme/cart", "tag": "1.4"},
        "artifact": {
            "digest": Digest::of(b"manifest"), "media_type": OCI_MANIFEST, "size_bytes": 8, "annotations": {},
            "component": {"digest": Digest::of(b"component"), "size_bytes": 9, "media_type": "application/wasm"}, "defects": [],
        },
        "evidence": {"trust": [], "looked_in": ["referrers-api"], "findings": [finding]},
        "surface": {"status": "component", "digest": Digest::of(b"world"), "imports": [import], "exports": []},
    })
    .to_string()
    .into()
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    Policy::embedded(json!({"witgate": {
        "signatures": [{
            "references": ["ghcr.io/acme/*"],
            "identities": [{"issuer": ISSUER, "san": {"kind": "uri", "value": SIGNER}}],
        }],
        "grants": [{
            "callers": ["spiffe://gate.example/host/*"], "references": ["ghcr.io/acme/*"], "imports": ["wasi:cli/*"], "lifetime_s": 60,
        }],
    }}))
    .unwrap()
});

fn decided_case(bytes: &[u8]) {
    let Ok(value) = strict_json::parse(bytes, strict_json::MAX_DEPTH) else { return };
    let Ok(case) = serde_json::from_value::<Case>(value) else { return };
    let Ok(decision) = POLICY.decide(&case) else { return };
    if decision.facts().verdict == VerdictWord::Refuse {
        assert!(!decision.facts().reasons.is_empty(), "a refusal without reason");
        return;
    }
    let signed = case.evidence.findings.iter().any(|finding| match finding {
        Finding::Verified(finding) => {
            let signer = serde_json::to_value(&finding.signer).expect("facts are JSON");
            signer["issuer"] == ISSUER && signer["san"]["value"] == SIGNER
        }
        Finding::Rejected(_) => false,
    });
    assert!(signed, "admitted without the signature that policy wants");
    assert!(case.artifact.defects.is_empty() && case.artifact.component.is_some(), "admitted with a defect");
    let Surface::Component(world) = &case.surface else { panic!("admitted without a readable component") };
    assert!(world.imports.iter().all(|import| import.name.starts_with("wasi:cli/")), "admitted more than was granted");
    assert!(case.caller.id.starts_with("spiffe://gate.example/host/"), "admitted a stranger");
}
