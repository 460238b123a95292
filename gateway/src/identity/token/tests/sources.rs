//! Where keys come from: files that are written meanwhile, agents that go away, issuers that lie.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::dev::oidc::{IssuerFault, OidcIssuer};
use crate::dev::spiffe::{Answer, Issued, Leaf, SpiffeCa, WorkloadApi};
use crate::identity::Identity;
use crate::identity::token::KeyFileFault;
use crate::tls::tests::{Logs, PATIENCE};

/// Waits until keys change.
async fn changed(tokens: &Tokens, index: usize, change: impl FnOnce()) {
    let mut changes = tokens.changed().swap_remove(index);
    changes.mark_unchanged();
    change();
    timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
}

/// Waits until something is so that nobody tells of.
async fn until(is_so: impl Fn() -> bool) {
    let mut often = tokio::time::interval(Duration::from_millis(5));
    while !is_so() {
        often.tick().await;
    }
}

#[tokio::test]
async fn a_file_of_keys_is_followed() {
    let world = World::start().await;
    let old = world.gate.token(&world.svid_claims());
    assert!(world.judge(&old).is_ok());
    let next = TokenSigner::new("gate-2", KeyKind::P256).unwrap();
    let path = file(world.folder.path(), "gate");
    // Rings stand in the order of trust domains: fed, gate, then the issuers.
    changed(&world.tokens, 1, || std::fs::write(&path, TokenSigner::jwks(&[&world.gate, &next])).unwrap()).await;
    assert!(world.judge(&old).is_ok() && world.judge(&next.token(&world.svid_claims())).is_ok());
    changed(&world.tokens, 1, || std::fs::write(&path, TokenSigner::jwks(&[&next])).unwrap()).await;
    assert_eq!(world.judge(&old), Err("token-key-unknown"), "what was proven under a key that is gone is not");
    assert!(world.judge(&next.token(&world.svid_claims())).is_ok());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_leaves_the_last_keys() {
    let logs = Logs::start();
    let world = World::start().await;
    let path = file(world.folder.path(), "gate");
    let good = std::fs::read_to_string(&path).unwrap();
    let jwt = || world.gate.token(&world.svid_claims());
    std::fs::write(&path, good.get(..20).unwrap()).unwrap();
    logs.say("it is no JSON").await;
    assert!(world.judge(&jwt()).is_ok());
    std::fs::remove_file(&path).unwrap();
    logs.say("cannot be read").await;
    assert!(world.judge(&jwt()).is_ok());
    std::fs::write(&path, "{\"keys\":[]}").unwrap();
    logs.say("holds no key that may verify tokens").await;
    assert!(world.judge(&jwt()).is_ok());
}

#[tokio::test]
async fn keys_that_nobody_confirms_end_after_a_day() {
    let world = World::start().await;
    let later = |hours: i64| Timestamp::from_second(world.in_s(hours * 3600)).unwrap();
    let then = |at: Timestamp| {
        let (begin, end) = (at.as_second(), at.as_second() + 300);
        but(but(world.svid_claims(), "iat", json!(begin)), "exp", json!(end))
    };
    assert!(world.judge_at(&world.gate.token(&then(later(23))), later(23)).is_ok());
    assert_eq!(world.judge_at(&world.gate.token(&then(later(25))), later(25)), Err("token-no-keys"));
    assert!(world.tokens.degraded(world.now).is_empty());
    let degraded = world.tokens.degraded(later(25));
    assert_eq!(
        degraded.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["fed.example", "gate.example", "ci"]
    );
}

#[tokio::test]
async fn files_hold_keys_at_the_start() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = TempDir::new().unwrap();
    let signer = TokenSigner::new("k", KeyKind::P256).unwrap();
    for name in ["gate", "fed", "ci"] {
        std::fs::write(file(folder.path(), name), TokenSigner::jwks(&[&signer])).unwrap();
    }
    assert!(start(&settings(folder.path())).await.is_ok());
    std::fs::write(file(folder.path(), "ci"), "{}").unwrap();
    let refused = start(&settings(folder.path())).await;
    assert!(matches!(refused, Err(StartError::Keys(KeyFileFault::Jwks { .. }))), "{refused:?}");
    std::fs::remove_file(file(folder.path(), "ci")).unwrap();
    let refused = start(&settings(folder.path())).await;
    assert!(matches!(refused, Err(StartError::Keys(KeyFileFault::File(_)))), "{refused:?}");
}

#[tokio::test]
async fn tables_that_cannot_be_used_are_named() {
    let refused = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(std::path::Path::new("/nowhere"));
        change(&mut settings);
        match settings.check() {
            Err(StartError::Setting { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    };
    let of = |change: &dyn Fn(&mut OidcSettings)| refused(&|settings| change(settings.oidc.get_mut("ci").unwrap()));
    assert_eq!(of(&|ci| ci.issuer = String::new()), "identity.oidc.ci.issuer");
    assert_eq!(of(&|ci| ci.audience = "two words".into()), "identity.oidc.ci.audience");
    assert_eq!(of(&|ci| ci.audience = "a".repeat(513)), "identity.oidc.ci.audience");
    assert_eq!(of(&|ci| ci.caller = "everyone".into()), "identity.oidc.ci.caller");
    assert_eq!(of(&|ci| ci.algorithms = vec!["HS256".into()]), "identity.oidc.ci.algorithms");
    assert_eq!(of(&|ci| ci.algorithms = vec![]), "identity.oidc.ci.algorithms");
    assert_eq!(of(&|ci| ci.types = vec!["wit+jwt".into()]), "identity.oidc.ci.types");
    assert_eq!(of(&|ci| ci.types = vec![]), "identity.oidc.ci.types");
    for life in [0, 86_401, u64::MAX] {
        assert_eq!(of(&|ci| ci.max_life_s = life), "identity.oidc.ci.max_life_s");
        let svid = refused(&|settings| settings.jwt_svid.as_mut().unwrap().max_life_s = life);
        assert_eq!(svid, "identity.jwt_svid.max_life_s");
    }
    assert_eq!(refused(&|settings| settings.jwt_svid.as_mut().unwrap().audience.clear()), "identity.jwt_svid.audience");
    let outside = |settings: &mut Settings| {
        settings.jwt_svid.as_mut().unwrap().jwks.insert("third.example".into(), "x".into());
    };
    assert_eq!(refused(&outside), "identity.jwt_svid.jwks");
    let twice = |settings: &mut Settings| {
        settings.oidc.insert("other".into(), oidc(ISSUER));
    };
    assert_eq!(refused(&twice), "identity.oidc.other.issuer", "one issuer under two names");
    let named = |settings: &mut Settings| {
        settings.oidc.insert("CI".into(), oidc("https://other.example"));
    };
    assert_eq!(refused(&named), "identity.oidc.CI");
    let mut without = settings(std::path::Path::new("/nowhere"));
    without.jwt_svid.as_mut().unwrap().jwks.clear();
    assert!(matches!(without.check(), Err(StartError::NoBundles)));
    let mut alone = settings(std::path::Path::new("/nowhere"));
    alone.jwt_svid = None;
    alone.trust_domains.clear();
    alone.callers = vec!["oidc:ci/*".into()];
    alone.check().unwrap();
}

/// A gateway that has its keys from an agent.
struct Agent {
    ca: SpiffeCa,
    fed: SpiffeCa,
    api: WorkloadApi,
    _identity: Identity,
    world: World,
}

impl Agent {
    async fn start(own_life: Duration) -> Self {
        let mut world = World::start().await;
        let ca = SpiffeCa::new("gate.example", world.now).unwrap();
        let fed = SpiffeCa::new("fed.example", world.now).unwrap();
        let own = ca.issue("/witgate/gateway", &Leaf::lasting(world.now, own_life)).unwrap();
        let issued = Issued::new(&ca, &own).federated_with(&fed);
        let api = WorkloadApi::start(&world.folder.path().join("agent.sock"), Answer::Issued(issued)).await.unwrap();
        let mut settings = settings(world.folder.path());
        settings.workload_api = Some(api.endpoint());
        settings.jwt_svid.as_mut().unwrap().jwks.clear();
        let identity = Identity::start(&settings).await.unwrap();
        world.tokens = Tokens::start_at(&settings, Some(&identity), PACE, Rhythm::default()).await.unwrap().unwrap();
        Self { ca, fed, api, _identity: identity, world }
    }

    fn judge(&self, jwt: &str) -> Result<String, &'static str> {
        self.world.judge(jwt)
    }

    fn token(&self, ca: &SpiffeCa) -> String {
        ca.token("/host/a", AUDIENCE, self.world.now, Duration::from_secs(300))
    }

    fn issued(&self, ca: &SpiffeCa) -> Issued {
        let own = ca.issue("/witgate/gateway", &Leaf::new(self.world.now)).unwrap();
        Issued::new(ca, &own)
    }
}

#[tokio::test]
async fn an_agents_keys_are_followed() {
    let agent = Agent::start(Duration::from_secs(3600)).await;
    let (ours, theirs) = (agent.token(&agent.ca), agent.token(&agent.fed));
    assert_eq!(agent.judge(&ours), Ok("spiffe://gate.example/host/a".into()));
    assert_eq!(agent.judge(&theirs), Ok("spiffe://fed.example/host/a".into()));
    let namesake = SpiffeCa::new("gate.example", agent.world.now).unwrap();
    assert_eq!(agent.judge(&agent.token(&namesake)), Err("token-signature"), "our name, another CA");
    let next = TokenSigner::new("next", KeyKind::Rsa).unwrap();
    let both = TokenSigner::jwks(&[agent.ca.tokens(), &next]);
    let issued = agent.issued(&agent.ca).federated_with(&agent.fed).with_keys("gate.example", &both);
    changed(&agent.world.tokens, 0, || agent.api.set(Answer::Issued(issued))).await;
    assert!(agent.judge(&ours).is_ok() && agent.judge(&theirs).is_ok());
    assert!(agent.judge(&next.token(&agent.world.svid_claims())).is_ok());
    let issued = agent.issued(&agent.ca).with_keys("gate.example", &TokenSigner::jwks(&[&next]));
    changed(&agent.world.tokens, 0, || agent.api.set(Answer::Issued(issued))).await;
    assert_eq!(agent.judge(&ours), Err("token-key-unknown"));
    assert_eq!(agent.judge(&theirs), Err("token-no-keys"), "no longer federated");
    assert!(agent.judge(&next.token(&agent.world.svid_claims())).is_ok());
}

#[tokio::test]
async fn a_withdrawn_gateway_takes_no_tokens() {
    let agent = Agent::start(Duration::from_secs(3600)).await;
    let jwt = agent.token(&agent.ca);
    assert!(agent.judge(&jwt).is_ok());
    agent.api.set(Answer::Withdrawn);
    timeout(PATIENCE, until(|| agent.judge(&jwt) == Err("token-no-keys"))).await.unwrap();
    agent.api.set(Answer::Issued(agent.issued(&agent.ca)));
    timeout(PATIENCE, until(|| agent.judge(&jwt).is_ok())).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_gone_takes_the_tokens_with_our_svid() {
    let agent = Agent::start(Duration::from_secs(6)).await;
    let jwt = agent.token(&agent.ca);
    assert!(agent.judge(&jwt).is_ok());
    let Agent { api, world, _identity, .. } = agent;
    drop(api);
    assert!(world.judge(&jwt).is_ok(), "the last keys stay");
    timeout(PATIENCE, until(|| world.judge(&jwt) == Err("token-no-keys"))).await.unwrap();
}

/// A rhythm that does nothing by itself within a test.
const STILL: Rhythm = Rhythm {
    life: Duration::from_secs(3600),
    retry: Duration::from_secs(3600),
    cool_down: Duration::from_secs(3600),
    answer: Duration::from_secs(5),
};
/// The same for issuers that never come to an end.
const IMPATIENT: Rhythm = Rhythm { answer: Duration::from_millis(300), ..STILL };

/// A judge that asks an issuer on loopback.
async fn asking(issuer: &OidcIssuer, rhythm: Rhythm, change: impl FnOnce(&mut OidcSettings)) -> World {
    let mut world = World::start().await;
    let ca = world.folder.path().join("ca.pem");
    std::fs::write(&ca, issuer.ca_pem()).unwrap();
    let mut settings = settings(world.folder.path());
    let mut table = OidcSettings { ca: Some(ca), private: true, ..oidc(&issuer.issuer()) };
    change(&mut table);
    settings.oidc.insert("ci".into(), table);
    world.tokens = Tokens::start_at(&settings, None, PACE, rhythm).await.unwrap().unwrap();
    world
}

async fn issuer() -> (TokenSigner, OidcIssuer) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let signer = TokenSigner::new("ci-1", KeyKind::Ed25519).unwrap();
    let issuer = OidcIssuer::start(&[&signer]).await.unwrap();
    (signer, issuer)
}

fn of(issuer: &OidcIssuer, world: &World) -> serde_json::Value {
    but(world.ci_claims(), "iss", json!(issuer.issuer()))
}

#[tokio::test]
async fn an_issuer_is_asked_for_its_keys() {
    let (signer, issuer) = issuer().await;
    let world = asking(&issuer, STILL, |_| {}).await;
    assert_eq!(world.judge(&signer.token(&of(&issuer, &world))), Ok("oidc:ci/acme/build".into()));
    assert_eq!((issuer.documents(), issuer.key_sets()), (1, 1));
    assert!(world.tokens.degraded(world.now).is_empty());
}

#[tokio::test]
async fn b4_invented_keys_are_one_fetch() {
    let (signer, issuer) = issuer().await;
    let world = asking(&issuer, STILL, |_| {}).await;
    let invent = || {
        for number in 0..1000 {
            let header = but(signer.header(), "kid", json!(format!("invented-{number}")));
            let jwt = signer.sign(&header.to_string(), &of(&issuer, &world).to_string());
            assert_eq!(world.judge(&jwt), Err("token-key-unknown"));
        }
    };
    invent();
    timeout(PATIENCE, until(|| issuer.key_sets() == 2)).await.unwrap();
    invent();
    assert!(timeout(Duration::from_millis(300), until(|| issuer.documents() > 2)).await.is_err(), "asked too often");
    assert!(world.judge(&signer.token(&of(&issuer, &world))).is_ok());
}

#[tokio::test]
async fn b12_a_rotation_is_seen_when_its_key_is_shown() {
    let (signer, issuer) = issuer().await;
    let world = asking(&issuer, STILL, |_| {}).await;
    let next = TokenSigner::new("ci-2", KeyKind::P256).unwrap();
    issuer.say(|says| says.jwks = TokenSigner::jwks(&[&next]));
    assert!(world.judge(&signer.token(&of(&issuer, &world))).is_ok(), "nobody told us yet");
    let jwt = next.token(&of(&issuer, &world));
    // Rings stand in the order of rules: two files of JWT-SVIDs come first.
    changed(&world.tokens, 2, || assert_eq!(world.judge(&jwt), Err("token-key-unknown"))).await;
    assert!(world.judge(&jwt).is_ok());
    assert_eq!(world.judge(&signer.token(&of(&issuer, &world))), Err("token-key-unknown"));
}

#[tokio::test]
async fn b12_an_issuer_that_lies_gives_no_keys() {
    use crate::identity::token::discovery::DISCOVERY_SIZE_BYTES;
    use crate::identity::token::jwks::JWKS_SIZE_BYTES;

    let (signer, issuer) = issuer().await;
    let (_, other) = self::issuer().await;
    assert_eq!(DISCOVERY_SIZE_BYTES, 64 * 1024);
    for fault in [
        IssuerFault::OtherIssuer,
        IssuerFault::JwksUri(format!("{}/keys", other.issuer())),
        IssuerFault::JwksUri(format!("http://localhost:{}/keys", 80)),
        IssuerFault::JwksUri("https://169.254.169.254/keys".into()),
        IssuerFault::JwksUri("file:///etc/passwd".into()),
        IssuerFault::JwksUri(issuer.issuer().replace("://", "://user@") + "/keys"),
        IssuerFault::JwksUri(issuer.issuer() + "/keys?x=1"),
        IssuerFault::JwksUri("/keys".into()),
        IssuerFault::Redirect(format!("{}/keys", other.issuer())),
        IssuerFault::Redirect("http://127.0.0.1:1/".into()),
        IssuerFault::Html,
        IssuerFault::Status(500),
        IssuerFault::Status(404),
        IssuerFault::Status(204),
        IssuerFault::Padded(JWKS_SIZE_BYTES),
        IssuerFault::Endless,
        IssuerFault::Silent,
    ] {
        issuer.say(|says| says.fault = Some(fault.clone()));
        let never_ends = matches!(fault, IssuerFault::Endless | IssuerFault::Silent);
        let world = asking(&issuer, if never_ends { IMPATIENT } else { STILL }, |_| {}).await;
        assert_eq!(world.judge(&signer.token(&of(&issuer, &world))), Err("token-no-keys"), "{fault:?}");
        assert_eq!(world.tokens.degraded(world.now).len(), 1, "{fault:?}");
        // Who else may ask is not kept waiting.
        assert!(world.judge(&world.gate.token(&world.svid_claims())).is_ok());
    }
    assert_eq!((other.documents(), other.key_sets()), (0, 0), "nobody else was asked");
    issuer.say(|says| says.fault = Some(IssuerFault::Padded(1000)));
    let world = asking(&issuer, STILL, |_| {}).await;
    assert!(world.judge(&signer.token(&of(&issuer, &world))).is_ok());
}

#[tokio::test]
async fn b12_keys_may_lie_at_a_host_that_is_named() {
    let (signer, issuer) = issuer().await;
    let (_, other) = self::issuer().await;
    other.say(|says| says.jwks = TokenSigner::jwks(&[&signer]));
    issuer.say(|says| says.fault = Some(IssuerFault::JwksUri(format!("{}/keys", other.issuer()))));
    let ca = [issuer.ca_pem(), other.ca_pem()].concat();
    let host = other.issuer().replace("https://", "");
    let world = asking(&issuer, STILL, |table| {
        std::fs::write(table.ca.as_ref().unwrap(), ca).unwrap();
        table.jwks_hosts = vec![host];
    })
    .await;
    assert!(world.judge(&signer.token(&of(&issuer, &world))).is_ok());
}

#[tokio::test]
async fn b12_an_issuer_is_asked_within_reach_only() {
    let (signer, issuer) = issuer().await;
    let world = asking(&issuer, STILL, |table| table.private = false).await;
    assert_eq!(world.judge(&signer.token(&of(&issuer, &world))), Err("token-no-keys"));
    assert_eq!(issuer.documents(), 0, "loopback was asked");
    let world = asking(&issuer, STILL, |table| table.ca = None).await;
    assert_eq!(world.judge(&signer.token(&of(&issuer, &world))), Err("token-no-keys"), "nobody certified it");
    for (name, private) in [
        ("http://ci.example", false),
        ("https://127.0.0.1:8443", false),
        ("https://10.0.0.1", false),
        ("https://[::ffff:10.0.0.1]", false),
        ("https://user@ci.example", false),
        ("https://ci.example?x", false),
        ("https://ci.example#x", false),
        ("ci.example", false),
        ("https://0.0.0.0", true),
    ] {
        let mut settings = settings(world.folder.path());
        settings.oidc.insert("ci".into(), OidcSettings { private, ..oidc(name) });
        let refused = start(&settings).await;
        assert!(
            matches!(refused, Err(StartError::Setting { ref key, .. }) if key == "identity.oidc.ci.issuer"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_issuer_that_fails_later_leaves_its_keys() {
    let (signer, issuer) = issuer().await;
    let rhythm = Rhythm { life: Duration::from_millis(20), retry: Duration::from_millis(20), ..STILL };
    let world = asking(&issuer, rhythm, |_| {}).await;
    issuer.say(|says| says.fault = Some(IssuerFault::Html));
    let asked = issuer.documents();
    timeout(PATIENCE, until(|| issuer.documents() > asked + 2)).await.unwrap();
    assert!(world.judge(&signer.token(&of(&issuer, &world))).is_ok());
    issuer.say(|says| (says.fault, says.jwks) = (None, TokenSigner::jwks(&[&world.gate])));
    changed(&world.tokens, 2, || {}).await;
    assert_eq!(world.judge(&signer.token(&of(&issuer, &world))), Err("token-key-unknown"));
}
