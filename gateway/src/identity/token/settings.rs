//! What the tables `[identity.jwt_svid]` and `[identity.oidc.NAME]` say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use spiffe::TrustDomain;

use super::super::callers::is_issuer_name;
use super::super::settings::{StartError, trust_domain};
use super::caller_id::CallerId;
use super::unverified::algorithm;
use super::verify::{Issued, Terms, Thumbprints};

/// The table `[identity.jwt_svid]`: callers of `identity.trust_domains` may show JWT-SVIDs.
///
/// ```toml
/// [identity.jwt_svid]
/// audience = "https://witgate.acme.example"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSvidSettings {
    /// Our name in the tokens' `aud`.
    pub audience: String,
    /// Files with the keys of each trust domain, JWK Sets; without them the Workload API gives the keys.
    #[serde(default)]
    pub jwks: BTreeMap<String, PathBuf>,
    /// The longest life of a token that is taken, in seconds.
    #[serde(default = "default_svid_life_s")]
    pub max_life_s: u64,
}

/// The table `[identity.oidc.NAME]`: an issuer whose tokens name callers `oidc:NAME/…`.
///
/// ```toml
/// [identity.oidc.github]
/// issuer   = "https://token.actions.githubusercontent.com"
/// audience = "https://witgate.acme.example"
/// caller   = "{repository_owner_id}/{repository_id}"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The tokens' `iss`, sign by sign.
    pub issuer: String,
    /// Our name in the tokens' `aud`.
    pub audience: String,
    /// How claims become the caller's id, behind `oidc:NAME/`.
    pub caller: String,
    /// A file with the issuer's keys, a JWK Set; without it the issuer is asked over https.
    #[serde(default)]
    pub jwks: Option<PathBuf>,
    /// A PEM file of the only CAs that the issuer may be certified by.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether the issuer may be at a loopback, link-local or private address.
    #[serde(default)]
    pub private: bool,
    /// Hosts that may hold the issuer's keys, beside the issuer's own.
    #[serde(default)]
    pub jwks_hosts: Vec<String>,
    /// What `typ` may be; a token without `typ` counts as `JWT`.
    #[serde(default = "default_types")]
    pub types: Vec<String>,
    /// What tokens may be signed with.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// The longest life of a token that is taken, in seconds.
    #[serde(default = "default_oidc_life_s")]
    pub max_life_s: u64,
}

/// The default of [`JwtSvidSettings::max_life_s`]; SPIRE makes them for five minutes.
pub const SVID_LIFE_S: u64 = 3_600;
/// The default of [`OidcSettings::max_life_s`]; Kubernetes makes them for 3607 s.
pub const OIDC_LIFE_S: u64 = 7_200;
/// The most that `max_life_s` may be.
pub const MAX_LIFE_S: u64 = 86_400;
/// How far an OIDC issuer's clock may be ahead of ours, in seconds.
pub const AHEAD_S: i64 = 30;
/// The longest `audience` and `issuer`, in bytes.
const NAME_SIZE_BYTES: usize = 512;

fn default_svid_life_s() -> u64 {
    SVID_LIFE_S
}

fn default_oidc_life_s() -> u64 {
    OIDC_LIFE_S
}

fn default_types() -> Vec<String> {
    vec!["JWT".into()]
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(str::to_owned).into()
}

/// The algorithms of JWT-SVIDs (JWT-SVID, section 2.1) that the library knows.
const SVID_ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

const SVID_TABLE: &str = "identity.jwt_svid";

impl JwtSvidSettings {
    pub(super) fn terms(&self) -> Result<Terms, StartError> {
        Ok(Terms {
            audience: name(SVID_TABLE, "audience", &self.audience)?,
            issuer: None,
            algorithms: SVID_ALGORITHMS.into(),
            // JWT-SVID, section 2.3.
            types: vec!["JWT".into(), "JOSE".into()],
            thumbprints: Thumbprints::Refused,
            ahead_s: 0,
            issued: Issued::NumberOnly,
            max_life_s: life(SVID_TABLE, self.max_life_s)?,
        })
    }
}

impl OidcSettings {
    pub(super) fn terms(&self, table: &str) -> Result<Terms, StartError> {
        let setting =
            |key: &str, expected, found: String| StartError::Setting { key: format!("{table}.{key}"), expected, found };
        let known = |name: &String| algorithm(name);
        let algorithms: Option<Vec<Algorithm>> = self.algorithms.iter().map(known).collect();
        let algorithms = algorithms.filter(|list| !list.is_empty()).ok_or_else(|| {
            let expected = "algorithms of public keys: RS256 to RS512, PS256 to PS512, ES256, ES384, EdDSA";
            setting("algorithms", expected, self.algorithms.join(", "))
        })?;
        // A WIMSE identity token proves nothing without the proof that goes with it.
        let plain = |typ: &String| !typ.is_empty() && !typ.eq_ignore_ascii_case("wit+jwt");
        if self.types.is_empty() || !self.types.iter().all(plain) {
            let expected = "values of `typ` such as `JWT` and `at+jwt`, without `wit+jwt`";
            return Err(setting("types", expected, self.types.join(", ")));
        }
        Ok(Terms {
            audience: name(table, "audience", &self.audience)?,
            issuer: Some(name(table, "issuer", &self.issuer)?),
            algorithms,
            types: self.types.clone(),
            thumbprints: Thumbprints::Allowed,
            ahead_s: AHEAD_S,
            issued: Issued::Checked,
            max_life_s: life(table, self.max_life_s)?,
        })
    }

    pub(super) fn caller_id(&self, table: &str) -> Result<CallerId, StartError> {
        self.caller.parse().map_err(|_| StartError::Setting {
            key: format!("{table}.caller"),
            expected: "segments parted by `/`, each a word or one claim in braces, such as `{repository_id}/{environment}`",
            found: self.caller.clone(),
        })
    }
}

/// Reads the tables without touching the disk or a peer.
///
/// # Errors
/// The first value that is not what it has to be.
pub(in crate::identity) fn check(
    svid: Option<&JwtSvidSettings>,
    oidc: &BTreeMap<String, OidcSettings>,
    trust_domains: &BTreeSet<TrustDomain>,
) -> Result<(), StartError> {
    if let Some(svid) = svid {
        svid.terms()?;
        for given in svid.jwks.keys() {
            if !trust_domains.contains(&trust_domain(given)?) {
                return Err(StartError::Setting {
                    key: format!("{SVID_TABLE}.jwks"),
                    expected: "trust domains of `identity.trust_domains`",
                    found: given.clone(),
                });
            }
        }
    }
    let mut issuers = BTreeSet::new();
    for (given, issuer) in oidc {
        let table = table(given)?;
        issuer.terms(&table)?;
        issuer.caller_id(&table)?;
        // One issuer under two names would make two callers of one token.
        if !issuers.insert(&issuer.issuer) {
            return Err(StartError::Setting {
                key: format!("{table}.issuer"),
                expected: "another issuer than the other tables have",
                found: issuer.issuer.clone(),
            });
        }
    }
    Ok(())
}

/// The issuer's table, if its name can stand in ids.
pub(super) fn table(issuer: &str) -> Result<String, StartError> {
    let table = format!("identity.oidc.{issuer}");
    if is_issuer_name(issuer) {
        return Ok(table);
    }
    let expected = "a name of lower-case letters, digits and `-`, at most 64 bytes";
    Err(StartError::Setting { key: table, expected, found: issuer.to_owned() })
}

fn name(table: &str, key: &str, text: &str) -> Result<String, StartError> {
    if !text.is_empty() && text.len() <= NAME_SIZE_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let expected = "1 to 512 bytes of printable ASCII without blanks";
    Err(StartError::Setting { key: format!("{table}.{key}"), expected, found: text.to_owned() })
}

fn life(table: &str, seconds: u64) -> Result<i64, StartError> {
    match i64::try_from(seconds) {
        Ok(life) if (1..=MAX_LIFE_S).contains(&seconds) => Ok(life),
        _ => Err(StartError::Setting {
            key: format!("{table}.max_life_s"),
            expected: "1 to 86400 seconds",
            found: seconds.to_string(),
        }),
    }
}
