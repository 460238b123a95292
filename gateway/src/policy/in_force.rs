//! The policy in force, and the one that may follow it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::bundle::{Bundle, Settings};
use super::decide::together_of;
use super::{LoadError, Policy};
use crate::case::{Digest, Mode};

/// What decides now. It is replaced as a whole: one decision sees one policy.
#[derive(Debug)]
pub struct InForce {
    settings: Settings,
    current: ArcSwap<Policy>,
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

impl InForce {
    /// Loads what `settings` name.
    ///
    /// # Errors
    /// As [`Policy::load`]: without a policy nothing starts.
    pub fn open(settings: &Settings) -> Result<Self, LoadError> {
        let current = ArcSwap::from_pointee(Policy::load(settings)?);
        Ok(Self { settings: settings.clone(), current, looked: Mutex::default() })
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
        self.settings.refresh_s
    }

    /// Reads the files once. Gives the policy that should follow the one in force, compiled and not yet in force; `None` where
    /// nothing changed. What differs has to lie there unchanged for two looks: files are replaced one after the other, and half
    /// of a policy is none.
    ///
    /// Reads and compiles: not for a thread that answers requests.
    ///
    /// # Errors
    /// What lies there is not taken, and the policy in force stays.
    pub fn look(&self) -> Result<Option<Policy>, LoadError> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let found = Bundle::read_all(&self.settings).and_then(|bundles| {
            let digest = together_of(&bundles).digest;
            if digest == self.current.load().facts().digest {
                looked.digest = None;
                return Ok(None);
            }
            let settled = looked.digest.replace(digest) == Some(digest);
            if settled { Policy::of_bundles(&bundles, self.settings.timeout_ms).map(Some) } else { Ok(None) }
        });
        match &found {
            // Of files that may still be on their way nothing is known yet.
            Ok(None) if looked.digest.is_some() => {}
            Ok(_) => looked.fault = None,
            Err(error) => looked.fault = Some(crate::outage::chain(error)),
        }
        found
    }

    /// Decides with `next` from now on.
    pub fn replace(&self, next: Policy) {
        self.current.store(Arc::new(next));
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        *looked = Looked::default();
    }

    /// Why the files that lie there now are not what decides.
    pub fn fault(&self) -> Option<String> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::case::Case;
    use crate::policy::Verdict;
    use crate::policy::decide::tests::{case, data};

    fn write(dir: &Path, text: &str) {
        std::fs::write(dir.join("data.json"), text).unwrap();
    }

    fn admits(policy: &Policy, case: &Case) -> bool {
        matches!(policy.decide(case).unwrap().verdict(), Verdict::Admit(_))
    }

    fn in_force() -> (tempfile::TempDir, InForce) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &data().to_string());
        let settings =
            Settings { data: Some(dir.path().into()), timeout_ms: Settings::PATIENT_TIMEOUT_MS, ..Settings::default() };
        let in_force = InForce::open(&settings).unwrap();
        (dir, in_force)
    }

    #[test]
    fn follows_its_files_once_they_lie_still() {
        let (dir, in_force) = in_force();
        assert!(admits(&in_force.current(), &case()));
        assert!(in_force.look().unwrap().is_none(), "nothing changed");
        let mut other = data();
        other["witgate"]["grants"] = serde_json::json!([]);
        write(dir.path(), &other.to_string());
        assert!(in_force.look().unwrap().is_none(), "it may still be on its way");
        let next = in_force.look().unwrap().expect("it lies still");
        assert!(admits(&in_force.current(), &case()), "not in force before it is recorded");
        in_force.replace(next);
        assert!(!admits(&in_force.current(), &case()));
        assert!(in_force.look().unwrap().is_none());
    }

    #[test]
    fn half_written_files_are_no_policy() {
        let (dir, in_force) = in_force();
        for number in 0..3 {
            let mut other = data();
            other["own"] = number.into();
            write(dir.path(), &other.to_string());
            assert!(in_force.look().unwrap().is_none(), "each look finds other files");
        }
    }

    #[test]
    fn a18_3_what_does_not_load_replaces_nothing() {
        let (dir, in_force) = in_force();
        let before = in_force.current().facts().clone();
        for broken in ["{\"witgate\": {\"grants\": [{}]}}", "{", "{\"witgate\": {\"grant\": []}}"] {
            write(dir.path(), broken);
            let error = match in_force.look() {
                Ok(_) => in_force.look().unwrap_err(),
                Err(error) => error,
            };
            assert!(in_force.fault().is_some_and(|fault| fault.contains("data.json")), "{error}");
            assert_eq!(*in_force.current().facts(), before);
        }
        std::fs::remove_dir_all(dir.path()).unwrap();
        in_force.look().unwrap_err();
        assert!(admits(&in_force.current(), &case()));
        std::fs::create_dir(dir.path()).unwrap();
        write(dir.path(), &data().to_string());
        assert!(in_force.look().unwrap().is_none());
        assert_eq!(in_force.fault(), None);
    }
}
