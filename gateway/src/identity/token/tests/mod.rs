//! Tokens, honest and otherwise, before a judge with real keys.

mod attacks;
mod claims;
mod forms;
mod golden;
mod keys;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::discovery::Rhythm;
use super::{JwtSvidSettings, OidcSettings, Tokens};
use crate::case::Timestamp;
use crate::dev::tokens::{KeyKind, TokenSigner};
use crate::identity::settled::Pace;
use crate::identity::{Presented, Settings, StartError, Unproven};

pub(super) const AUDIENCE: &str = "https://witgate.example";
pub(super) const ISSUER: &str = "https://ci.example";
pub(super) const PACE: Pace = Pace { poll: Duration::from_millis(20), settle: Duration::from_millis(5) };

/// A judge whose keys lie in files: `gate.example` and `fed.example` for JWT-SVIDs, one OIDC issuer that is called `ci`.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) gate: TokenSigner,
    pub(super) fed: TokenSigner,
    pub(super) ci: TokenSigner,
    pub(super) tokens: Tokens,
    pub(super) now: Timestamp,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let gate = TokenSigner::new("gate-1", KeyKind::P256).unwrap();
        let fed = TokenSigner::new("fed-1", KeyKind::P384).unwrap();
        let ci = TokenSigner::new("ci-1", KeyKind::Ed25519).unwrap();
        for (name, signer) in [("gate", &gate), ("fed", &fed), ("ci", &ci)] {
            std::fs::write(file(folder.path(), name), TokenSigner::jwks(&[signer])).unwrap();
        }
        let mut settings = settings(folder.path());
        change(&mut settings);
        let tokens = start(&settings).await.unwrap();
        Self { folder, gate, fed, ci, tokens, now: Timestamp::now() }
    }

    /// The caller's id, or the cause in telemetry.
    pub(super) fn judge(&self, jwt: &str) -> Result<String, &'static str> {
        self.judge_at(jwt, self.now)
    }

    pub(super) fn judge_at(&self, jwt: &str, now: Timestamp) -> Result<String, &'static str> {
        let presented = Presented::from_password(jwt.to_owned()).map_err(|cause| cause.cause())?;
        let judged = self.tokens.caller(&presented, now);
        judged.map(|caller| caller.facts().id.clone()).map_err(|cause: Unproven| cause.cause())
    }

    /// Seconds from now on.
    pub(super) fn in_s(&self, seconds: i64) -> i64 {
        self.now.as_second() + seconds
    }

    /// What an honest agent says of `spiffe://gate.example/host/a`.
    pub(super) fn svid_claims(&self) -> Value {
        json!({
            "sub": "spiffe://gate.example/host/a", "aud": [AUDIENCE], "exp": self.in_s(300), "iat": self.in_s(0),
        })
    }

    /// What an honest issuer says of a build of `acme`.
    pub(super) fn ci_claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": "build", "owner": "acme", "aud": AUDIENCE,
            "exp": self.in_s(300), "iat": self.in_s(0), "nbf": self.in_s(0),
        })
    }
}

pub(super) fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.jwks.json"))
}

pub(super) fn settings(folder: &Path) -> Settings {
    Settings {
        trust_domains: vec!["gate.example".into(), "fed.example".into()],
        callers: vec!["spiffe://gate.example/host/*".into(), "spiffe://fed.example".into(), "oidc:ci/acme/*".into()],
        workload_api: None,
        files: None,
        jwt_svid: Some(JwtSvidSettings {
            audience: AUDIENCE.into(),
            jwks: BTreeMap::from([
                ("gate.example".to_owned(), file(folder, "gate")),
                ("fed.example".to_owned(), file(folder, "fed")),
            ]),
            max_life_s: 3600,
        }),
        oidc: BTreeMap::from([("ci".to_owned(), OidcSettings { jwks: Some(file(folder, "ci")), ..oidc(ISSUER) })]),
        sync_timeout_ms: 3_000,
    }
}

/// The table of an issuer that is asked for its keys.
pub(super) fn oidc(issuer: &str) -> OidcSettings {
    let table = json!({"issuer": issuer, "audience": AUDIENCE, "caller": "{owner}/{sub}"});
    serde_json::from_value(table).unwrap()
}

pub(super) async fn start(settings: &Settings) -> Result<Tokens, StartError> {
    Ok(Tokens::start_at(settings, None, PACE, Rhythm::default()).await?.unwrap())
}

/// `claims` with one of them changed; `null` takes it out.
pub(super) fn but(mut claims: Value, name: &str, value: Value) -> Value {
    let fields = claims.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), value);
    }
    claims
}

pub(super) const HOST: &str = "spiffe://gate.example/host/a";
pub(super) const BUILD: &str = "oidc:ci/acme/build";

/// Judges an SVID's claims with one of them changed.
pub(super) fn svid(world: &World, claim: &str, value: Value) -> Result<String, &'static str> {
    world.judge(&world.gate.token(&but(world.svid_claims(), claim, value)))
}

/// Judges an issuer's claims with one of them changed.
pub(super) fn build(world: &World, claim: &str, value: Value) -> Result<String, &'static str> {
    world.judge(&world.ci.token(&but(world.ci_claims(), claim, value)))
}

/// Judges an SVID with another header.
pub(super) fn svid_headed(world: &World, field: &str, value: Value) -> Result<String, &'static str> {
    let header = but(world.gate.header(), field, value);
    world.judge(&world.gate.sign(&header.to_string(), &world.svid_claims().to_string()))
}

/// Judges an issuer's token with another header.
pub(super) fn build_headed(world: &World, field: &str, value: Value) -> Result<String, &'static str> {
    let header = but(world.ci.header(), field, value);
    world.judge(&world.ci.sign(&header.to_string(), &world.ci_claims().to_string()))
}
