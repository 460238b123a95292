//! Tokens become callers: JWT-SVIDs and tokens of OIDC issuers, held against keys that were fetched ahead of the request.
//!
//! A token whose subject is a SPIFFE ID is a JWT-SVID and nothing else; any other belongs to the issuer that it names, if the
//! configuration does. Each is read in one way only, held against what its kind has to say, then against its signature, and
//! last against `identity.callers`. No peer is asked while a request waits.

mod bundles;
mod caller_id;
mod discovery;
mod fault;
mod jwks;
mod key_file;
mod memory;
mod ring;
mod settings;
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests;
mod unverified;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spiffe::{SpiffeId, TrustDomain};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::caller::Caller;
use super::callers::Callers;
use super::presented::Presented;
use super::settings::{Origin, Settings, StartError, trust_domain};
use super::settled::Pace;
use super::source::Identity;
use super::trust::Unproven;
use crate::case::Timestamp;
use crate::egress::Reach;
use bundles::Bundles;
use caller_id::CallerId;
use discovery::{Discovery, Outcome, Rhythm};
pub use fault::TokenFault;
use jwks::{Key, Purpose};
pub use key_file::KeyFileFault;
use memory::{Memory, Proven};
use ring::Ring;
pub(super) use settings::check;
pub use settings::{JwtSvidSettings, OidcSettings};
use unverified::Unverified;
use verify::Terms;

/// What every SPIFFE ID begins with, in any case (SPIFFE-ID, section 2).
const SPIFFE: &str = "spiffe:";

/// The judge of tokens; dropping it ends the refresh of keys.
#[derive(Debug)]
pub struct Tokens {
    rules: Vec<Rule>,
    /// The rule of JWT-SVIDs.
    svid: Option<usize>,
    /// The rules of issuers by the tokens' `iss`.
    issuers: BTreeMap<String, usize>,
    callers: Callers,
    memory: Memory,
    _stop: DropGuard,
}

/// What tokens of one kind have to say, and whose keys count.
#[derive(Debug)]
struct Rule {
    terms: Terms,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    /// JWT-SVIDs, the keys pushed by the agent.
    Agent(Arc<Bundles>),
    /// JWT-SVIDs, the keys of each trust domain in a file.
    Files(BTreeMap<TrustDomain, Arc<Ring>>),
    /// One issuer, its keys in a file or asked for.
    Issuer { name: String, caller: CallerId, ring: Arc<Ring> },
}

/// A subject with the key that has to have signed for it.
struct Subject {
    caller: Caller,
    key: Key,
    generation: u64,
}

impl Tokens {
    /// Starts the refresh of keys. Files must hold keys now; an issuer that does not answer now is asked again.
    ///
    /// # Errors
    /// Settings that cannot be used, a file without keys, or an agent without bundles.
    pub async fn start(settings: &Settings, identity: Option<&Identity>) -> Result<Option<Self>, StartError> {
        Self::start_at(settings, identity, Pace::default(), Rhythm::default()).await
    }

    async fn start_at(
        settings: &Settings,
        identity: Option<&Identity>,
        pace: Pace,
        rhythm: Rhythm,
    ) -> Result<Option<Self>, StartError> {
        if !settings.has_tokens() {
            return Ok(None);
        }
        let checked = settings.checked()?;
        let callers = identity.map_or(checked.callers, Identity::callers);
        let stop = CancellationToken::new();
        let spawn = Spawn { stop: stop.clone(), pace, rhythm };
        // Whatever fails on the way ends what was started before.
        let guard = stop.drop_guard();
        let (mut rules, mut issuers) = (Vec::new(), BTreeMap::new());
        let svid = match &settings.jwt_svid {
            None => None,
            Some(svid) => {
                let keys = if svid.jwks.is_empty() {
                    Keys::Agent(spawn.bundles(checked.origin.as_ref(), identity, settings.sync_timeout_ms).await?)
                } else {
                    let mut rings = BTreeMap::new();
                    for (name, path) in &svid.jwks {
                        rings.insert(trust_domain(name)?, spawn.key_file(path, Purpose::JwtSvid).await?);
                    }
                    Keys::Files(rings)
                };
                rules.push(Rule { terms: svid.terms()?, keys });
                Some(0)
            }
        };
        // At the same time: one issuer that does not answer makes nobody wait for it twice.
        let starting = settings.oidc.iter().map(|(name, issuer)| spawn.issuer(name, issuer));
        for (name, issuer, ring) in futures::future::try_join_all(starting).await? {
            let table = settings::table(name)?;
            let keys = Keys::Issuer { name: name.to_owned(), caller: issuer.caller_id(&table)?, ring };
            issuers.insert(issuer.issuer.clone(), rules.len());
            rules.push(Rule { terms: issuer.terms(&table)?, keys });
        }
        Ok(Some(Self { rules, svid, issuers, callers, memory: Memory::new(), _stop: guard }))
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// Why it proves nobody who may ask.
    pub fn caller(&self, presented: &Presented, now: Timestamp) -> Result<Caller, Unproven> {
        let jwt = presented.unverified();
        if let Some(caller) = self.remembered(jwt, now) {
            return self.admitted(caller);
        }
        let unverified = Unverified::read(jwt)?;
        let index = self.rule(&unverified)?;
        let rule = &self.rules[index];
        let end = verify::claimed(&unverified, &rule.terms, now)?;
        let Subject { caller, key, generation } = rule.subject(&unverified, end, now, self.callers.trust_domains())?;
        verify::signed(&unverified, &key, &rule.terms)?;
        self.memory.keep(jwt, Proven { caller: caller.clone(), rule: index, generation });
        self.admitted(caller)
    }

    /// Issuers whose keys are missing or not fresh, with what is wrong.
    pub fn degraded(&self, now: Timestamp) -> Vec<(String, String)> {
        let rings = self.rules.iter().flat_map(|rule| rule.keys.rings());
        rings
            .filter(|(_, ring)| ring.generation(now).is_none())
            .map(|(name, ring)| {
                let since = ring.confirmed_at().map_or_else(|| "never".to_owned(), |time| time.to_string());
                (name, format!("its keys were last confirmed: {since}; its tokens are refused"))
            })
            .collect()
    }

    /// Counts changes of keys, for whoever waits for one.
    pub fn changed(&self) -> Vec<watch::Receiver<u64>> {
        self.rules
            .iter()
            .flat_map(|rule| match &rule.keys {
                Keys::Agent(bundles) => vec![bundles.changed()],
                keys => keys.rings().map(|(_, ring)| ring.changed()).collect(),
            })
            .collect()
    }

    fn admitted(&self, caller: Caller) -> Result<Caller, Unproven> {
        let id = &caller.facts().id;
        let allowed = match &caller.facts().trust_domain {
            Some(_) => SpiffeId::new(id).is_ok_and(|id| self.callers.allows_svid(&id)),
            None => self.callers.allows_oidc(id),
        };
        if allowed { Ok(caller) } else { Err(Unproven::NotACaller { id: id.clone() }) }
    }

    /// A proof of a moment ago that still holds.
    fn remembered(&self, jwt: &str, now: Timestamp) -> Option<Caller> {
        let Proven { caller, rule, generation } = self.memory.look(jwt)?;
        let in_time = caller.not_after().is_some_and(|end| std::time::SystemTime::from(now) < end);
        if in_time && self.rules[rule].keys.generation(&caller, now) == Some(generation) {
            return Some(caller);
        }
        self.memory.forget(jwt);
        None
    }

    /// Whose token it says to be; no token is judged by two rules.
    fn rule(&self, unverified: &Unverified<'_>) -> Result<usize, TokenFault> {
        let subject = unverified.text("sub")?;
        if subject.get(..SPIFFE.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SPIFFE)) {
            return self.svid.ok_or(TokenFault::SvidsNotTaken);
        }
        if self.issuers.is_empty() {
            return Err(TokenFault::Subject);
        }
        self.issuers.get(unverified.text("iss")?).copied().ok_or(TokenFault::Issuer)
    }
}

/// A judge of JWT-SVIDs of the callers' first trust domain and of `ci`'s tokens, whose keys never change; for the fuzz targets.
pub(super) fn over_keys(jwks: &[u8], callers: Callers, now: Timestamp) -> Tokens {
    use super::fuzzing::{AUDIENCE, ISSUER};

    let ring = |purpose| {
        let ring = Ring::new();
        ring.confirm(jwks::KeySet::read(jwks, purpose).expect("a set with keys"), now);
        ring
    };
    let trust_domain = callers.trust_domains().first().cloned().expect("a trust domain");
    let svid = JwtSvidSettings { audience: AUDIENCE.into(), jwks: BTreeMap::new(), max_life_s: settings::SVID_LIFE_S };
    let table = serde_json::json!({"issuer": ISSUER, "audience": AUDIENCE, "caller": "{sub}"});
    let ci: OidcSettings = serde_json::from_value(table).expect("a whole table");
    let caller = ci.caller_id("ci").expect("a rule for ids");
    let rules = vec![
        Rule {
            terms: svid.terms().expect("terms"),
            keys: Keys::Files(BTreeMap::from([(trust_domain, ring(Purpose::JwtSvid))])),
        },
        Rule {
            terms: ci.terms("ci").expect("terms"),
            keys: Keys::Issuer { name: "ci".into(), caller, ring: ring(Purpose::Oidc) },
        },
    ];
    let issuers = BTreeMap::from([(ISSUER.to_owned(), 1)]);
    let _stop = CancellationToken::new().drop_guard();
    Tokens { rules, svid: Some(0), issuers, callers, memory: Memory::new(), _stop }
}

/// How many keys of a set count, for whichever purpose; for the fuzz targets.
pub(super) fn count_keys(jwks: &[u8]) -> usize {
    let count = |purpose| jwks::KeySet::read(jwks, purpose).map_or(0, |keys| keys.len());
    count(Purpose::JwtSvid).max(count(Purpose::Oidc))
}

/// What a discovery document names, if it would be asked; for the fuzz targets.
pub(super) fn jwks_uri(issuer: &str, document: &[u8]) -> Option<String> {
    let answer = std::time::Duration::from_millis(discovery::FETCH_TIMEOUT_MS);
    let discovery = Discovery::new("ci", issuer, &[], Reach::Public, None, answer).ok()?;
    discovery.jwks_uri(document).ok().map(|uri| uri.to_string())
}

impl Rule {
    /// Whom the token claims to be about, and the one key that may say so.
    fn subject(
        &self,
        unverified: &Unverified<'_>,
        end: Timestamp,
        now: Timestamp,
        trust_domains: &BTreeSet<TrustDomain>,
    ) -> Result<Subject, TokenFault> {
        let of_domain = || {
            let id = SpiffeId::new(unverified.text("sub")?).map_err(|_| TokenFault::Subject)?;
            // The root of a trust domain is no workload, and its keys speak for no other domain.
            if id.path().is_empty() || !trust_domains.contains(id.trust_domain()) {
                return Err(TokenFault::Subject);
            }
            Ok(id)
        };
        let svid = |id: &SpiffeId| Caller::verified_jwt_svid(id.to_string(), id.trust_domain().to_string(), end.into());
        match &self.keys {
            Keys::Agent(bundles) => {
                let id = of_domain()?;
                let (key, generation) = bundles.key(id.trust_domain(), &unverified.key_id)?;
                Ok(Subject { caller: svid(&id), key, generation })
            }
            Keys::Files(rings) => {
                let id = of_domain()?;
                let ring = rings.get(id.trust_domain()).ok_or(TokenFault::NoKeys)?;
                let (key, generation) = ring.key(&unverified.key_id, now)?;
                Ok(Subject { caller: svid(&id), key, generation })
            }
            Keys::Issuer { name, caller, ring } => {
                let id = caller.of(name, &unverified.claims)?;
                let (key, generation) = ring.key(&unverified.key_id, now)?;
                Ok(Subject { caller: Caller::verified_oidc(id, end.into()), key, generation })
            }
        }
    }
}

impl Keys {
    /// Which keys count for `caller` now, if any do.
    fn generation(&self, caller: &Caller, now: Timestamp) -> Option<u64> {
        match self {
            Self::Agent(bundles) => bundles.revision(),
            Self::Files(rings) => {
                let trust_domain = TrustDomain::new(caller.facts().trust_domain.as_deref()?).ok()?;
                rings.get(&trust_domain)?.generation(now)
            }
            Self::Issuer { ring, .. } => ring.generation(now),
        }
    }

    /// The rings with the names of whose keys they hold.
    fn rings(&self) -> Box<dyn Iterator<Item = (String, &Ring)> + '_> {
        match self {
            Self::Agent(_) => Box::new(std::iter::empty()),
            Self::Files(rings) => Box::new(rings.iter().map(|(name, ring)| (name.to_string(), &**ring))),
            Self::Issuer { name, ring, .. } => Box::new(std::iter::once((name.clone(), &**ring))),
        }
    }
}

/// Starts what refreshes keys; each task ends with the judge.
struct Spawn {
    stop: CancellationToken,
    pace: Pace,
    rhythm: Rhythm,
}

impl Spawn {
    fn task(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(work));
    }

    async fn key_file(&self, path: &std::path::Path, purpose: Purpose) -> Result<Arc<Ring>, StartError> {
        let ring = Ring::new();
        key_file::load(path, purpose, &ring, self.pace).await?;
        self.task(key_file::follow(path.to_owned(), purpose, Arc::clone(&ring), self.pace));
        Ok(ring)
    }

    async fn issuer<'a>(
        &self,
        name: &'a str,
        issuer: &'a OidcSettings,
    ) -> Result<(&'a str, &'a OidcSettings, Arc<Ring>), StartError> {
        let ring = match &issuer.jwks {
            Some(path) => self.key_file(path, Purpose::Oidc).await?,
            None => self.discovery(&settings::table(name)?, issuer).await?,
        };
        Ok((name, issuer, ring))
    }

    /// Waits for the first answer, which may be none: an issuer that is away keeps nobody else out.
    async fn discovery(&self, table: &str, issuer: &OidcSettings) -> Result<Arc<Ring>, StartError> {
        let reach = if issuer.private { Reach::Anywhere } else { Reach::Public };
        let (hosts, ca) = (&issuer.jwks_hosts, issuer.ca.as_deref());
        let discovery = Discovery::new(table, &issuer.issuer, hosts, reach, ca, self.rhythm.answer)?;
        let ring = Ring::new();
        let first: Outcome = discovery.refresh(&ring).await;
        self.task(discovery.follow(Arc::clone(&ring), self.rhythm, first));
        Ok(ring)
    }

    async fn bundles(
        &self,
        origin: Option<&Origin>,
        identity: Option<&Identity>,
        timeout_ms: u64,
    ) -> Result<Arc<Bundles>, StartError> {
        let (Some(Origin::Socket(path)), Some(identity)) = (origin, identity) else {
            return Err(StartError::NoBundles);
        };
        let endpoint = format!("unix:{}", path.display());
        let bundles = Arc::new(Bundles::start(&endpoint, identity.source(), timeout_ms).await?);
        let followed = Arc::clone(&bundles);
        self.task(async move { followed.follow().await });
        Ok(bundles)
    }
}
