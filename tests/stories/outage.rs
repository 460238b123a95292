//! The registry fails in every way at every question, and nobody is admitted.
//!
//! Classes A2, A3, A12, A14.2, A16.1, A16.2, A17.2 and A25.2 of the known bypasses: each cell of the matrix is one request in a
//! repository of its own, so that no cache helps. Where nothing was admitted, the same request is admitted once the fault
//! is gone: nothing bad was kept.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::json;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, policy_data};
use witgate::dev::registry::cosign_tags;
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate::dev::registry::{Auth, DevRegistry, Fault, Match, Options, Rule, Target};
use witgate::dev::sigstore::Sign;
use witgate_tests::{Reply, World, components, free_address};

/// The registry's patience in these stories: short, and long enough for a busy machine.
const IMPATIENT: &str =
    "[registry]\nconnect_timeout_ms = 3000\nidle_timeout_ms = 3000\nmetadata_timeout_ms = 4000\nslow_start_ms = 2500\n";
/// Cells that are asked at once.
const AT_ONCE: usize = 12;
/// What must not leave the gateway but towards its own registry.
const PASSWORD: &str = "hunter2-of-the-matrix";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the registry is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    TagManifest,
    DigestManifest,
    Config,
    Component,
    Referrers,
    FallbackTag,
    Referrer,
    Bundle,
    /// What cosign v2 left, where there is nothing else.
    SignatureTag,
    SignatureLayer,
}

const QUESTIONS: [Question; 10] = [
    Question::TagManifest,
    Question::DigestManifest,
    Question::Config,
    Question::Component,
    Question::Referrers,
    Question::FallbackTag,
    Question::Referrer,
    Question::Bundle,
    Question::SignatureTag,
    Question::SignatureLayer,
];

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Not at all: the cell that shows that the others would be admitted.
    Honest,
    ClosesAtOnce,
    Hangs,
    Garbage,
    HeaderFlood,
    Status(u16),
    CutShort,
    StalledMidBody,
    Drips,
    Endless,
    WrongBytes,
    ExtraByte,
    WrongDigestHeader,
    LengthTooSmall,
    LengthTooLarge,
    WrongMediaType,
    Gzip,
    RedirectToStranger,
    RedirectToMetadataService,
    ForeignRealm,
}

const FAILURES: [Failure; 22] = [
    Failure::Honest,
    Failure::ClosesAtOnce,
    Failure::Hangs,
    Failure::Garbage,
    Failure::HeaderFlood,
    Failure::Status(403),
    Failure::Status(429),
    Failure::Status(500),
    Failure::CutShort,
    Failure::StalledMidBody,
    Failure::Drips,
    Failure::Endless,
    Failure::WrongBytes,
    Failure::ExtraByte,
    Failure::WrongDigestHeader,
    Failure::LengthTooSmall,
    Failure::LengthTooLarge,
    Failure::WrongMediaType,
    Failure::Gzip,
    Failure::RedirectToStranger,
    Failure::RedirectToMetadataService,
    Failure::ForeignRealm,
];

impl Failure {
    fn fault(self, stranger: &str) -> Option<Fault> {
        Some(match self {
            Self::Honest => return None,
            Self::ClosesAtOnce => Fault::CloseAtOnce,
            Self::Hangs => Fault::Hang,
            Self::Garbage => Fault::Garbage,
            Self::HeaderFlood => Fault::HeaderFlood { bytes: u64::MAX },
            // A word to wait no time at all: otherwise one cell would answer for the others.
            Self::Status(code) => {
                let headers = vec![("retry-after".into(), "0".into())];
                Fault::Status { code, body: Bytes::from_static(b"no"), headers }
            }
            Self::CutShort => Fault::Truncate { after_bytes: 10 },
            Self::StalledMidBody => Fault::Stall { after_bytes: 10 },
            // The shortest body has about 100 bytes.
            Self::Drips => Fault::Drip { bytes_per_second: 10 },
            Self::Endless => Fault::Flood { bytes: u64::MAX },
            Self::WrongBytes => Fault::WrongBytes(Bytes::from_static(b"not what was asked for")),
            Self::ExtraByte => Fault::ExtraByte,
            Self::WrongDigestHeader => Fault::WrongDigestHeader,
            Self::LengthTooSmall => Fault::ContentLength { claimed: 10 },
            Self::LengthTooLarge => Fault::ContentLength { claimed: 500_000 },
            Self::WrongMediaType => Fault::WrongMediaType("text/html".into()),
            Self::Gzip => Fault::ContentEncoding("gzip".into()),
            Self::RedirectToStranger => redirect(format!("http://{stranger}/blob")),
            Self::RedirectToMetadataService => redirect("http://169.254.169.254/latest/meta-data".into()),
            Self::ForeignRealm => {
                Fault::Challenge { www_authenticate: format!("Bearer realm=\"http://{stranger}/token\",service=\"x\"") }
            }
        })
    }
}

fn redirect(location: String) -> Fault {
    Fault::Redirect { location, status: 307 }
}

/// What must come of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 503 that names the registry; nothing is recorded.
    Outage,
    /// 429 that names the registry, which says to wait; nothing is recorded.
    Wait,
    /// 403, recorded: there are bytes, and what they are is the answer.
    Refused,
    /// 200: the bytes are exactly those that were asked for, and what is wrong beside them decides nothing.
    Harmless,
}

/// The fact sheet's table: evidence that is not what its list announced is a rejected finding, all else is an outage.
fn expected(question: Question, failure: Failure) -> Outcome {
    use Outcome::{Harmless, Outage, Refused, Wait};
    let evidence = matches!(question, Question::Referrer | Question::Bundle | Question::SignatureLayer);
    match failure {
        Failure::Honest => Harmless,
        Failure::Status(429) => Wait,
        // Blobs are what their digest says, whatever they are called; a list that is called otherwise is no list.
        Failure::WrongMediaType => match question {
            Question::Config | Question::Component | Question::Bundle | Question::SignatureLayer => Harmless,
            Question::Referrers | Question::SignatureTag => Outage,
            _ => Refused,
        },
        Failure::WrongBytes | Failure::LengthTooSmall if evidence || question == Question::Referrers => Refused,
        // A list of referrers has no digest of its own; white space behind it is JSON still.
        Failure::ExtraByte if question == Question::Referrers => Harmless,
        Failure::ExtraByte | Failure::WrongDigestHeader | Failure::LengthTooLarge if evidence => Refused,
        // More than a limit is never taken for "no signature".
        Failure::Endless if evidence => Refused,
        Failure::Endless
            if matches!(question, Question::Referrers | Question::FallbackTag | Question::SignatureTag) =>
        {
            Refused
        }
        _ => Outage,
    }
}

/// A signed component in a repository of its own.
struct Published {
    repository: String,
    pushed: Pushed,
    referrer: Digest,
    bundle: Digest,
}

fn auth() -> Auth {
    Auth::Bearer { username: "witgate".into(), password: PASSWORD.into() }
}

/// A world whose registry wants a token, which our password buys.
async fn guarded_world() -> World {
    let world = World::with(|setup| {
        setup.registry.auth = auth();
        setup.more = IMPATIENT.into();
    })
    .await;
    let file = world.folder().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let host = world.deployment.registry.host();
    let change = |config: &mut witgate::config::Config| {
        let upstream = config.registry.upstreams.get_mut(&host).unwrap();
        upstream.username = Some("witgate".into());
        upstream.password_file = Some(file);
    };
    world.restart(change).await
}

async fn publish(world: &World, host: &str, repository: &str, auth: &Auth) -> Published {
    let wasm = Bytes::from(components::command(&format!("{repository}\n")));
    let pushed = push::component(host, repository, "1.0", wasm, ConfigClaims::default(), auth).await.unwrap();
    let begin = Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(10)).unwrap();
    let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
    let referrer = push::bundle(host, repository, &pushed, &bundle, None, auth).await.unwrap();
    Published { repository: repository.to_owned(), pushed, referrer, bundle: Digest::of(&bundle) }
}

/// The same with a signature as cosign v2 left it.
async fn publish_legacy(world: &World, host: &str, repository: &str, auth: &Auth) -> Published {
    let wasm = Bytes::from(components::command(&format!("{repository}\n")));
    let pushed = push::component(host, repository, "1.0", wasm, ConfigClaims::default(), auth).await.unwrap();
    let begin = Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(10)).unwrap();
    let layer = world.deployment.sigstore.sign_legacy(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
    let bundle = Digest::of(&layer.payload);
    let tag = cosign_tags::signatures_tag(&pushed.manifest);
    let layers = [layer];
    let pushing = cosign_tags::push(host, repository, &tag, cosign_tags::SIMPLE_SIGNING, &layers, auth);
    let referrer = pushing.await.unwrap();
    Published { repository: repository.to_owned(), pushed, referrer, bundle }
}

/// The referrers of `published` under the fallback tag as well, as clients of an old registry keep them.
async fn tag_referrers(world: &World, published: &Published) {
    let host = world.deployment.registry.host();
    let size = referrer_size(world, published).await;
    let entry = json!({"mediaType": MANIFEST, "digest": published.referrer, "size": size});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
    let tag = push::fallback_tag(&published.pushed.manifest);
    push::manifest_raw(&host, &published.repository, &tag, INDEX, index.into(), &auth()).await.unwrap();
}

async fn referrer_size(world: &World, published: &Published) -> usize {
    let (host, repository) = (world.deployment.registry.host(), &published.repository);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = client
        .get(format!("http://{host}/token?scope=repository:{repository}:pull"))
        .basic_auth("witgate", Some(PASSWORD))
        .send()
        .await
        .unwrap();
    let token: serde_json::Value = serde_json::from_slice(&token.bytes().await.unwrap()).unwrap();
    let manifest = client
        .get(format!("http://{host}/v2/{repository}/manifests/{}", published.referrer))
        .bearer_auth(token["token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(manifest.status().as_u16(), 200);
    manifest.bytes().await.unwrap().len()
}

/// One cell of the matrix.
struct Cell {
    question: Question,
    failure: Failure,
    published: Published,
}

impl Cell {
    async fn new(world: &World, question: Question, failure: Failure) -> Self {
        let name = format!("{question:?}-{failure:?}").to_lowercase().replace('(', "-").replace(')', "");
        let host = world.deployment.registry.host();
        let repository = format!("matrix/{name}");
        let published = match question {
            Question::SignatureTag | Question::SignatureLayer => {
                publish_legacy(world, &host, &repository, &auth()).await
            }
            _ => publish(world, &host, &repository, &auth()).await,
        };
        if question == Question::FallbackTag {
            tag_referrers(world, &published).await;
        }
        Self { question, failure, published }
    }

    fn name(&self) -> String {
        format!("{:?} x {:?}", self.question, self.failure)
    }

    fn struck(&self) -> Match {
        let Published { repository, pushed, referrer, bundle } = &self.published;
        let on = match self.question {
            Question::TagManifest => Match::on(Target::Manifest).tag("1.0"),
            Question::DigestManifest => Match::on(Target::Manifest).digest(pushed.manifest),
            Question::Config => Match::on(Target::Config),
            Question::Component => Match::on(Target::Layer).digest(pushed.component),
            Question::Referrers => Match::on(Target::Referrers),
            Question::FallbackTag => Match::on(Target::Manifest).tag(push::fallback_tag(&pushed.manifest)),
            Question::Referrer => Match::on(Target::Manifest).digest(*referrer),
            Question::SignatureTag => Match::on(Target::Manifest).tag(cosign_tags::signatures_tag(&pushed.manifest)),
            Question::Bundle | Question::SignatureLayer => Match::on(Target::Layer).digest(*bundle),
        };
        on.repository(repository.clone())
    }

    fn reference(&self, host: &str) -> String {
        match self.question {
            Question::DigestManifest => {
                format!("{host}/{}@{}", self.published.repository, self.published.pushed.manifest)
            }
            _ => self.published.pushed.reference.clone(),
        }
    }

    /// Where there is no referrers API, so that the fallback tag is asked.
    fn without_api(&self) -> Option<Rule> {
        let none = Fault::Status { code: 404, body: Bytes::new(), headers: Vec::new() };
        let on = Match::on(Target::Referrers).repository(self.published.repository.clone());
        (self.question == Question::FallbackTag).then(|| Rule::new(on, none))
    }
}

/// What is wrong with an answer, if anything.
fn deviation(reply: &Reply, expected: Outcome, host: &str) -> Option<String> {
    let told = || format!("expected {expected:?}, found {} {}", reply.status, reply.body);
    let body = &reply.body;
    let right = match expected {
        Outcome::Outage | Outcome::Wait => {
            let detail = body["detail"].as_str().unwrap_or_default();
            reply.status == if expected == Outcome::Wait { 429 } else { 503 }
                && body["peer"] == "registry"
                && detail.contains(&format!("registry `{host}`"))
                && reply.headers.contains_key("retry-after")
                && body.get("decision").is_none()
        }
        Outcome::Refused => reply.status == 403 && !reply.codes().is_empty() && !reply.decision().is_empty(),
        Outcome::Harmless => reply.status == 200 && !body["ticket"].is_null(),
    };
    let leaks = String::from_utf8_lossy(&reply.bytes).contains(PASSWORD);
    let admits = expected != Outcome::Harmless && (body.get("ticket").is_some() || body.get("grants").is_some());
    (!right || admits || leaks).then(told)
}

async fn ask_all<'a>(world: &'a World, cells: &'a [Cell], host: &'a str) -> Vec<(&'a Cell, Reply)> {
    let asking = cells.iter().map(|cell| async move { (cell, world.host.admit(&cell.reference(host)).await) });
    futures::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_2_every_question_times_every_failure_admits_nobody() {
    let world = guarded_world().await;
    let stranger = DevRegistry::start(Options::default()).await.unwrap();
    let registry = &world.deployment.registry;
    let host = registry.host();
    let all = QUESTIONS.iter().flat_map(|question| FAILURES.iter().map(|failure| (*question, *failure)));
    let making = all.map(|(question, failure)| Cell::new(&world, question, failure));
    let cells: Vec<Cell> = futures::stream::iter(making).buffer_unordered(AT_ONCE).collect().await;
    for cell in &cells {
        cell.without_api().into_iter().for_each(|rule| registry.inject(rule));
        if let Some(fault) = cell.failure.fault(&stranger.host()) {
            registry.inject(Rule::new(cell.struck(), fault));
        }
    }

    let before = world.log_size().await;
    let mut faults = Vec::new();
    let mut recorded = 0;
    for (cell, reply) in ask_all(&world, &cells, &host).await {
        let expected = expected(cell.question, cell.failure);
        recorded += u64::from(!matches!(expected, Outcome::Outage | Outcome::Wait));
        faults.extend(deviation(&reply, expected, &host).map(|fault| format!("{}: {fault}", cell.name())));
        if expected == Outcome::Refused && !matches!(cell.question, Question::TagManifest | Question::DigestManifest) {
            let codes = reply.codes();
            if codes != ["no-verified-signature"] {
                faults.push(format!("{}: {codes:?}", cell.name()));
            }
        }
        if expected != Outcome::Harmless {
            let bytes = world.host.component(&cell.published.pushed.component.to_string(), None).await;
            if bytes.status == 200 {
                faults.push(format!("{}: its bytes were handed over", cell.name()));
            }
        }
    }
    assert!(faults.is_empty(), "{} of {} cells deviate:\n{}", faults.len(), cells.len(), faults.join("\n"));
    assert_eq!(world.log_size().await - before, recorded, "the log grows by what was decided, and by no outage");
    assert_eq!(stranger.requests().len(), 0, "a stranger was asked: {:?}", stranger.requests());
    assert!(registry.requests().iter().all(|request| request.path != "/v2/"), "nobody needs to ask for `/v2/`");

    registry.heal();
    cells.iter().filter_map(Cell::without_api).for_each(|rule| registry.inject(rule));
    for (cell, reply) in ask_all(&world, &cells, &host).await {
        let fault = deviation(&reply, Outcome::Harmless, &host);
        faults.extend(fault.map(|fault| format!("{} after it healed: {fault}", cell.name())));
    }
    assert!(faults.is_empty(), "{} of {} cells deviate:\n{}", faults.len(), cells.len(), faults.join("\n"));
}

/// What must come of a failing token endpoint: its answer has no digest, and only the token in it counts.
fn expected_of_token(failure: Failure) -> Outcome {
    match failure {
        Failure::Honest | Failure::WrongMediaType | Failure::ExtraByte | Failure::WrongDigestHeader => {
            Outcome::Harmless
        }
        Failure::Status(429) => Outcome::Wait,
        _ => Outcome::Outage,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_4_a_failing_token_endpoint_admits_nobody() {
    let world = guarded_world().await;
    let stranger = DevRegistry::start(Options::default()).await.unwrap();
    let registry = &world.deployment.registry;
    let host = registry.host();
    let mut faults = Vec::new();
    for (number, failure) in FAILURES.into_iter().enumerate() {
        let published = publish(&world, &host, &format!("token/{number}"), &auth()).await;
        let before = world.log_size().await;
        if let Some(fault) = failure.fault(&stranger.host()) {
            registry.inject(Rule::new(Match::on(Target::Token), fault));
        }
        let expected = expected_of_token(failure);
        let reply = world.host.admit(&published.pushed.reference).await;
        faults.extend(deviation(&reply, expected, &host).map(|fault| format!("token x {failure:?}: {fault}")));
        let recorded = u64::from(!matches!(expected, Outcome::Outage | Outcome::Wait));
        assert_eq!(world.log_size().await - before, recorded, "token x {failure:?}");
        registry.heal();
        let reply = world.host.admit(&published.pushed.reference).await;
        let fault = deviation(&reply, Outcome::Harmless, &host);
        faults.extend(fault.map(|fault| format!("token x {failure:?} after it healed: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(stranger.requests().len(), 0, "a stranger was asked: {:?}", stranger.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_2_a_registry_that_is_not_there_is_an_outage_until_it_is() {
    let address = free_address();
    let host = address.to_string();
    let upstream =
        format!("[registry.upstreams.\"{host}\"]\nurl = \"http://{host}\"\nprivate = true\ninsecure_http = true\n");
    let world = World::with(|setup| {
        setup.policy_data = Some(policy_data(&host));
        setup.more = upstream;
    })
    .await;
    let before = world.log_size().await;
    let reference = format!("{host}/demo/late:1.0");
    let reply = world.host.admit(&reference).await;
    assert_eq!(deviation(&reply, Outcome::Outage, &host), None);
    assert_eq!(world.log_size().await, before);
    let registry = DevRegistry::start(Options { listen: address, ..Options::default() }).await.unwrap();
    let published = publish(&world, &host, "demo/late", &Auth::Open).await;
    assert_eq!(published.pushed.reference, reference);
    let reply = world.host.admit(&reference).await;
    assert_eq!(deviation(&reply, Outcome::Harmless, &host), None);
    drop(registry);
}

/// A splitmix64 generator: what it does is told by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("it is below a usize")
    }
}

/// Rounds of the story below.
const ROUNDS: usize = 200;
/// A cold admission asks eight times; the ninth never comes.
const QUESTIONS_OF_AN_ADMISSION: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a14_2_a_random_failure_at_a_random_request_never_admits() {
    let seed = std::env::var("WITGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| Timestamp::now().as_nanosecond() as u64);
    println!("WITGATE_SEED={seed}");
    let world = Arc::new(World::with(|setup| setup.more = IMPATIENT.into()).await);
    let stranger = DevRegistry::start(Options::default()).await.unwrap();
    let mut chance = Chance(seed);
    // Those that are harmless somewhere are told apart in the matrix.
    let harmful: Vec<Failure> = FAILURES
        .into_iter()
        .filter(|failure| !matches!(failure, Failure::Honest | Failure::ExtraByte | Failure::WrongMediaType))
        .collect();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|round| (round, harmful[chance.below(harmful.len())], 1 + chance.below(QUESTIONS_OF_AN_ADMISSION + 1)))
        .collect();
    let (world, stranger_host) = (&world, &stranger.host());
    let playing = rounds.into_iter().map(|(round, failure, nth)| async move {
        let registry = &world.deployment.registry;
        let repository = format!("chance/{round}");
        let published = publish(world, &registry.host(), &repository, &Auth::Open).await;
        let on = Match::default().repository(repository.clone()).from_nth(nth as u64).times(1);
        registry.inject(Rule::new(on, failure.fault(stranger_host).expect("an honest one was left out")));
        let reply = world.host.admit(&published.pushed.reference).await;
        let prefix = format!("/v2/{repository}/");
        let struck = registry.struck().into_iter().find(|path| path.starts_with(&prefix));
        let told = format!("round {round}, {failure:?} at request {nth}: {} {}", reply.status, reply.body);
        // A 404 of other bytes is a 404 still: nothing is under cosign's tags, and the bundle decides.
        let none = struck.as_ref().is_some_and(|path| path.ends_with(".sig") || path.ends_with(".att"));
        let struck = struck.is_some();
        assert!(none || (reply.status == 200) != struck, "{told}");
        assert_eq!(struck, nth <= QUESTIONS_OF_AN_ADMISSION, "{told}");
        assert!(matches!(reply.status, 200 | 403 | 429 | 503), "{told}");
        let again = world.host.admit(&published.pushed.reference).await;
        assert_eq!(again.status, 200, "afterwards: {} after {told}", again.body);
    });
    futures::stream::iter(playing).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    assert_eq!(stranger.requests().len(), 0, "a stranger was asked");
}
