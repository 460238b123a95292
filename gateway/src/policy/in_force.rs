//! The policy in force, and the one that may follow it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::bundle::{BundleSettings, Candidate, Fetched, HttpSource, Settings};
use super::decide::together_of;
use super::kept::Kept;
use super::{LoadError, Policy};
use crate::case::{Digest, Mode};

/// What decides now. It is replaced as a whole: one decision sees one policy.
pub struct InForce {
    settings: Settings,
    data_dir: PathBuf,
    server: Option<HttpSource>,
    current: ArcSwap<Policy>,
    /// The bundles that decide now, the unnamed one first.
    bundles: Mutex<Vec<Candidate>>,
    looked: Mutex<Looked>,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Looked {
    /// Files that differ from those of the policy in force, and may still be on their way.
    digest: Option<Digest>,
    /// Why what lies there now is not taken.
    fault: Option<String>,
}

/// A policy that should follow the one in force: compiled, and no older release of any of its bundles.
#[derive(Debug)]
pub struct Next {
    policy: Policy,
    bundles: Vec<Candidate>,
    fetched: Option<Fetched>,
}

impl Next {
    /// What would decide.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl InForce {
    /// Loads what `settings` name, or what was in force last where a server gives nothing good; `data_dir` keeps what was.
    ///
    /// # Errors
    /// As [`Policy::load`]: without a policy nothing starts.
    pub async fn open(settings: &Settings, data_dir: &Path) -> Result<Self, LoadError> {
        let server = HttpSource::new(settings)?;
        let mut fetched = None;
        let first = match &server {
            None => Candidate::read(settings)?,
            Some(server) => {
                let kept = Kept::of(data_dir, UNNAMED)?;
                let found = server
                    .look()
                    .await
                    .and_then(|found| found.map(|found| kept.admissible(&found.candidate).map(|()| found)).transpose());
                match found {
                    Ok(Some(found)) => {
                        let candidate = found.candidate.clone();
                        fetched = Some(found);
                        candidate
                    }
                    // A server that says "nothing changed" to the first question is told by `look`.
                    Ok(None) => kept.last_good(settings)?.ok_or(LoadError::NoPolicies { dir: data_dir.to_owned() })?,
                    Err(fault) => match kept.last_good(settings)? {
                        Some(candidate) => {
                            let error = crate::outage::chain(&fault);
                            tracing::warn!(
                                error,
                                "the server of the policy gives nothing good: the last one is in force"
                            );
                            candidate
                        }
                        None => return Err(fault),
                    },
                }
            }
        };
        let bundles = with_named(first, settings)?;
        let Next { policy, bundles, fetched } = Self::compile(bundles, fetched, settings, data_dir)?;
        remember(&bundles, settings, data_dir)?;
        if let (Some(server), Some(fetched)) = (&server, &fetched) {
            server.taken(fetched).await;
        }
        let (current, bundles) = (ArcSwap::from_pointee(policy), Mutex::new(bundles));
        let (settings, data_dir) = (settings.clone(), data_dir.to_owned());
        Ok(Self { settings, data_dir, server, current, bundles, looked: Mutex::default() })
    }

    /// What decides now.
    pub fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// What a refusal does in this scope.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Seconds between two looks.
    pub fn refresh_s(&self) -> u64 {
        if self.server.is_some() { self.settings.interval_s.max(1) } else { self.settings.refresh_s.max(1) }
    }

    /// Looks once at files and server. Gives the policy that should follow the one in force, compiled and not yet in force;
    /// `None` where nothing changed. What differs has to be found unchanged at two looks: files are replaced one after the other,
    /// and half of a policy is none.
    ///
    /// # Errors
    /// What is found is not taken, and the policy in force stays.
    pub async fn look(self: &Arc<Self>) -> Result<Option<Next>, LoadError> {
        let found = self.find().await;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            // Of files that may still be on their way nothing is known yet.
            Ok(None) if looked.digest.is_some() => {}
            Ok(_) => looked.fault = None,
            Err(error) => looked.fault = Some(crate::outage::chain(error)),
        }
        found
    }

    async fn find(self: &Arc<Self>) -> Result<Option<Next>, LoadError> {
        // A server that gives nothing good keeps nobody from following what lies here.
        let (fetched, fault) = match &self.server {
            Some(server) => match server.look().await {
                Ok(fetched) => (fetched, None),
                Err(fault) => (None, Some(fault)),
            },
            None => (None, None),
        };
        let this = Arc::clone(self);
        // Reads and compiles: not for a thread that answers requests.
        let found = tokio::task::spawn_blocking(move || this.next(fetched)).await;
        // The one in force goes on, and the next look is another try.
        let found =
            found.unwrap_or_else(|fault| Err(LoadError::Compile { report: format!("\nreading it broke: {fault}") }));
        match (found, fault) {
            (Ok(None), Some(fault)) => Err(fault),
            (found, _) => found,
        }
    }

    fn next(&self, fetched: Option<Fetched>) -> Result<Option<Next>, LoadError> {
        let first = match (&self.server, &fetched) {
            (None, _) => Candidate::read(&self.settings)?,
            (Some(_), Some(fetched)) => fetched.candidate.clone(),
            (Some(_), None) => {
                let first = self.bundles.lock().unwrap_or_else(PoisonError::into_inner)[0].clone();
                first.with_data_again(&self.settings)?
            }
        };
        let bundles = with_named(first, &self.settings)?;
        let digest = together_of(&bundles).digest;
        let settled = {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if digest == self.current.load().facts().digest {
                looked.digest = None;
                return Ok(None);
            }
            looked.digest.replace(digest) == Some(digest)
        };
        if !settled {
            return Ok(None);
        }
        Self::compile(bundles, fetched, &self.settings, &self.data_dir).map(Some)
    }

    fn compile(
        bundles: Vec<Candidate>,
        fetched: Option<Fetched>,
        settings: &Settings,
        data_dir: &Path,
    ) -> Result<Next, LoadError> {
        for (kept, candidate) in memories(&bundles, settings, data_dir)? {
            kept.admissible(candidate)?;
        }
        Ok(Next { policy: Policy::of_candidates(&bundles, settings.timeout_ms)?, bundles, fetched })
    }

    /// Remembers `next` as what was in force last, before it is: no older release follows it.
    ///
    /// # Errors
    /// The disk; an older release.
    pub fn keep(&self, next: &Next) -> Result<(), LoadError> {
        remember(&next.bundles, &self.settings, &self.data_dir)
    }

    /// Decides with `next` from now on.
    pub async fn replace(&self, next: Next) {
        let Next { policy, bundles, fetched } = next;
        self.current.store(Arc::new(policy));
        *self.bundles.lock().unwrap_or_else(PoisonError::into_inner) = bundles;
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Looked::default();
        if let (Some(server), Some(fetched)) = (&self.server, &fetched) {
            server.taken(fetched).await;
        }
    }

    /// Why what is found now is not what decides.
    pub fn fault(&self) -> Option<String> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }
}

/// `first` with the bundles that have names, in the order of these.
fn with_named(first: Candidate, settings: &Settings) -> Result<Vec<Candidate>, LoadError> {
    let mut bundles = vec![first];
    for (name, BundleSettings { dir, data }) in settings.named_bundles()? {
        let own = Settings { dir: dir.clone(), data: data.clone(), url: None, ..settings.clone() };
        bundles.push(Candidate::read(&own)?.named(name));
    }
    Ok(bundles)
}

fn remember(bundles: &[Candidate], settings: &Settings, data_dir: &Path) -> Result<(), LoadError> {
    memories(bundles, settings, data_dir)?.into_iter().try_for_each(|(kept, candidate)| kept.activated(candidate))
}

/// The memory of each bundle that has releases, or comes from a server.
fn memories<'a>(
    bundles: &'a [Candidate],
    settings: &'a Settings,
    data_dir: &Path,
) -> Result<Vec<(Kept, &'a Candidate)>, LoadError> {
    let names = std::iter::once(UNNAMED).chain(settings.bundles.keys().map(String::as_str));
    let has_memory = |(name, candidate): &(&str, &Candidate)| {
        candidate.sequence().is_some() || *name == UNNAMED && settings.url.is_some()
    };
    let known = names.zip(bundles).filter(|(name, candidate)| {
        has_memory(&(*name, *candidate)) || Kept::of(data_dir, name).is_ok_and(|kept| kept.knows_a_release())
    });
    known.map(|(name, candidate)| Ok((Kept::of(data_dir, name)?, candidate))).collect()
}

/// What the memory of the bundle without a name is called.
const UNNAMED: &str = "_unnamed";

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InForce").field("current", &self.current()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::case::Case;
    use crate::policy::Verdict;
    use crate::policy::bundle::Bundle;
    use crate::policy::decide::tests::{case, data};

    fn write(dir: &Path, text: &str) {
        std::fs::write(dir.join("data.json"), text).unwrap();
    }

    fn admits(policy: &Policy, case: &Case) -> bool {
        matches!(policy.decide(case).unwrap().verdict(), Verdict::Admit(_))
    }

    async fn in_force() -> (tempfile::TempDir, Arc<InForce>) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &data().to_string());
        let settings =
            Settings { data: Some(dir.path().into()), timeout_ms: Settings::PATIENT_TIMEOUT_MS, ..Settings::default() };
        let kept = dir.path().join("kept");
        let in_force = InForce::open(&settings, &kept).await.unwrap();
        (dir, Arc::new(in_force))
    }

    #[tokio::test]
    async fn follows_its_files_once_they_lie_still() {
        let (dir, in_force) = in_force().await;
        assert!(admits(&in_force.current(), &case()));
        assert!(in_force.look().await.unwrap().is_none(), "nothing changed");
        let mut other = data();
        other["witgate"]["grants"] = serde_json::json!([]);
        write(dir.path(), &other.to_string());
        assert!(in_force.look().await.unwrap().is_none(), "it may still be on its way");
        let next = in_force.look().await.unwrap().expect("it lies still");
        assert!(admits(&in_force.current(), &case()), "not in force before it is recorded");
        in_force.keep(&next).unwrap();
        in_force.replace(next).await;
        assert!(!admits(&in_force.current(), &case()));
        assert!(in_force.look().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn half_written_files_are_no_policy() {
        let (dir, in_force) = in_force().await;
        for number in 0..3 {
            let mut other = data();
            other["own"] = number.into();
            write(dir.path(), &other.to_string());
            assert!(in_force.look().await.unwrap().is_none(), "each look finds other files");
        }
    }

    #[tokio::test]
    async fn a18_3_what_does_not_load_replaces_nothing() {
        let (dir, in_force) = in_force().await;
        let before = in_force.current().facts().clone();
        for broken in ["{\"witgate\": {\"grants\": [{}]}}", "{", "{\"witgate\": {\"grant\": []}}"] {
            write(dir.path(), broken);
            let error = match in_force.look().await {
                Ok(_) => in_force.look().await.unwrap_err(),
                Err(error) => error,
            };
            assert!(in_force.fault().is_some_and(|fault| fault.contains("data.json")), "{error}");
            assert_eq!(*in_force.current().facts(), before);
        }
        std::fs::remove_dir_all(dir.path()).unwrap();
        in_force.look().await.unwrap_err();
        assert!(admits(&in_force.current(), &case()));
        std::fs::create_dir(dir.path()).unwrap();
        write(dir.path(), &data().to_string());
        assert!(in_force.look().await.unwrap().is_none());
        assert_eq!(in_force.fault(), None);
    }

    /// A folder in OPA's format with the shipped policies, release `sequence`, of which `data` is one document.
    fn release(dir: &Path, sequence: u64, own: &str) {
        std::fs::create_dir_all(dir).unwrap();
        for module in Bundle::embedded().modules {
            std::fs::write(dir.join(&module.name), &module.text).unwrap();
        }
        let mut data = data();
        data["own"] = own.into();
        let manifest = serde_json::json!({
            "revision": own, "roots": ["witgate", "own"], "metadata": {"witgate": {"sequence": sequence}},
        });
        std::fs::write(dir.join("data.json"), data.to_string()).unwrap();
        std::fs::write(dir.join(".manifest"), manifest.to_string()).unwrap();
    }

    #[tokio::test]
    async fn a18_3_an_older_release_follows_nothing_and_a_restart_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, kept) = (folder.path().join("bundle"), folder.path().join("kept"));
        let settings =
            Settings { dir: Some(dir.clone()), timeout_ms: Settings::PATIENT_TIMEOUT_MS, ..Settings::default() };
        release(&dir, 2, "two");
        let in_force = Arc::new(InForce::open(&settings, &kept).await.unwrap());
        release(&dir, 3, "three");
        assert!(in_force.look().await.unwrap().is_none());
        let next = in_force.look().await.unwrap().expect("a later release");
        in_force.keep(&next).unwrap();
        in_force.replace(next).await;
        assert_eq!(in_force.current().facts().revision, "three");
        release(&dir, 2, "two");
        let _ = in_force.look().await;
        assert!(matches!(in_force.look().await, Err(LoadError::Rollback { .. })));
        assert_eq!(in_force.current().facts().revision, "three");
        assert!(in_force.fault().is_some());
        assert!(
            matches!(InForce::open(&settings, &kept).await, Err(LoadError::Rollback { .. })),
            "nor after a restart"
        );
    }
}
