//! What was activated last: no older bundle follows it, and it is there when its source is not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::LoadError;
use super::bundle::{Bundle, Candidate, Demand, Form, Settings, SignatureFault, Source};
use crate::case::Digest;
use crate::strict_json;

/// The memory of one source of policy: the folder `DATA_DIR/policy/NAME`.
///
/// To start over, for instance to go back to an older release on purpose, remove the folder.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
}

/// `activated.json`: the highest release that was ever in force.
///
/// ```json
/// {"sequence":7,"digest":"sha256:…"}
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Activated {
    sequence: Option<u64>,
    /// Of the bundle alone, without the data that a gateway lays over it.
    digest: Digest,
}

/// `last-good.json`: the bundle that was in force, with everything to verify it again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastGood {
    name: String,
    revision: Option<String>,
    /// With the data over it: which policy it was.
    digest: Digest,
    /// The archive in base64; none for a folder without a manifest.
    archive: Option<String>,
    modules: Vec<Source>,
    data: Vec<Source>,
    data_over: Vec<Source>,
}

impl Kept {
    /// The memory of the source called `name`: lower-case letters, digits, `-` and `_`.
    ///
    /// # Errors
    /// Another name.
    pub fn of(data_dir: &Path, name: &str) -> Result<Self, LoadError> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_plain) {
            return Err(LoadError::Name { name: name.escape_debug().to_string() });
        }
        Ok(Self { folder: data_dir.join("policy").join(name) })
    }

    /// Whether a release was ever in force, or the memory cannot say.
    pub fn knows_a_release(&self) -> bool {
        !matches!(self.activated_before(), Ok(None | Some(Activated { sequence: None, .. })))
    }

    /// Whether `candidate` may follow what was activated: a later release, or the very same one.
    ///
    /// # Errors
    /// [`LoadError::Rollback`]; a memory that cannot be read, which is not taken for an empty one.
    pub fn admissible(&self, candidate: &Candidate) -> Result<(), LoadError> {
        let Some(activated) = self.activated_before()? else { return Ok(()) };
        let Some(highest) = activated.sequence else { return Ok(()) };
        let found = match candidate.sequence() {
            Some(sequence) if sequence > highest => return Ok(()),
            Some(sequence) if sequence == highest && candidate.bundle.own_digest() == activated.digest => return Ok(()),
            Some(sequence) if sequence == highest => format!("{sequence} with another digest"),
            Some(sequence) => sequence.to_string(),
            None => "none".into(),
        };
        Err(LoadError::Rollback { found, highest })
    }

    /// Keeps `candidate`, which is in force now.
    ///
    /// After a crash in here the memory is the old or the new one, or the new bundle with the old number, which it exceeds.
    ///
    /// # Errors
    /// As [`Kept::admissible`]; the disk.
    pub fn activated(&self, candidate: &Candidate) -> Result<(), LoadError> {
        self.admissible(candidate)?;
        let bundle = &candidate.bundle;
        let (archive, modules, data) = match bundle.archive()? {
            Some(bytes) => (Some(STANDARD.encode(bytes)), Vec::new(), Vec::new()),
            None => (None, bundle.modules.clone(), bundle.data.clone()),
        };
        let last_good = LastGood {
            name: bundle.name.clone(),
            revision: bundle.revision.clone(),
            digest: bundle.facts().digest,
            archive,
            modules,
            data,
            data_over: bundle.data_over.clone(),
        };
        self.put(LAST_GOOD, &last_good)?;
        self.put(ACTIVATED, &Activated { sequence: bundle.sequence(), digest: bundle.own_digest() })
    }

    /// The bundle that was in force last, verified again by the keys of `settings`.
    ///
    /// # Errors
    /// One that is not what was kept, or that today's keys did not sign.
    pub fn last_good(&self, settings: &Settings) -> Result<Option<Candidate>, LoadError> {
        let Some(kept) = self.read::<LastGood>(LAST_GOOD)? else { return Ok(None) };
        let broken = |detail| LoadError::Kept { path: self.folder.join(LAST_GOOD), detail };
        let mut bundle = match kept.archive {
            Some(archive) => {
                let bytes = STANDARD.decode(archive).map_err(|_| broken("expected base64, found something else"))?;
                Bundle::from_archive(&bytes, kept.name, settings)?
            }
            None if settings.demand() == Demand::Signed => {
                return Err(LoadError::Bundle(SignatureFault::Unsigned.into()));
            }
            None => Bundle {
                name: kept.name,
                revision: kept.revision,
                modules: kept.modules,
                tests: Vec::new(),
                data: kept.data,
                data_over: Vec::new(),
                form: Form::Plain,
            },
        };
        bundle.data_over = kept.data_over;
        if bundle.facts().digest != kept.digest {
            return Err(broken("expected the bundle that was activated, found another"));
        }
        let activated = self.activated_before()?;
        if activated.is_some_and(|activated| bundle.sequence() < activated.sequence) {
            return Err(broken("expected the release that was activated last, found an older one"));
        }
        Ok(Some(Candidate::new(bundle, settings)))
    }

    fn activated_before(&self) -> Result<Option<Activated>, LoadError> {
        self.read(ACTIVATED)
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, LoadError> {
        let path = self.folder.join(name);
        let failed = |source| LoadError::Read { path: path.clone(), source };
        let broken = |detail| LoadError::Kept { path: path.clone(), detail };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut json = Vec::new();
        file.take(MAX_KEPT_BYTES + 1).read_to_end(&mut json).map_err(failed)?;
        if json.len() as u64 > MAX_KEPT_BYTES {
            return Err(broken("expected at most 32 MiB, found more"));
        }
        let not_ours = "expected what witgate wrote, found something else";
        let value = strict_json::parse(&json, strict_json::MAX_DEPTH).map_err(|_| broken(not_ours))?;
        serde_json::from_value(value).map(Some).map_err(|_| broken(not_ours))
    }

    /// Write, fsync, rename, fsync of the folder: after a crash the file is the old or the new one.
    fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<(), LoadError> {
        let path = self.folder.join(name);
        let failed = |source| LoadError::Write { path: path.clone(), source };
        let json = serde_json::to_vec(value).expect("our records are JSON");
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let temporary = self.folder.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
        file.write_all(&json).and_then(|()| file.sync_all()).map_err(failed)?;
        drop(file);
        fs::rename(&temporary, &path).and_then(|()| File::open(&self.folder)?.sync_all()).map_err(failed)
    }
}

const ACTIVATED: &str = "activated.json";
const LAST_GOOD: &str = "last-good.json";
/// A file of the memory, in bytes: an archive of 8 MiB in base64, or three kinds of files of 4 MiB, escaped.
const MAX_KEPT_BYTES: u64 = 32 << 20;
/// The name of a source is the name of a folder.
const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A bundle's folder, and the settings that read it.
    struct Team {
        dir: tempfile::TempDir,
        settings: Settings,
    }

    impl Team {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let settings = Settings { dir: Some(dir.path().join("team")), ..Settings::default() };
            fs::create_dir(dir.path().join("team")).unwrap();
            Self { dir, settings }
        }

        fn kept(&self) -> Kept {
            Kept::of(self.dir.path(), "team").unwrap()
        }

        fn release(&self, sequence: Option<u64>, rule: &str) -> Candidate {
            let folder = self.dir.path().join("team");
            let manifest = json!({"metadata": {"witgate": {"sequence": sequence}}}).to_string();
            fs::write(folder.join(".manifest"), manifest).unwrap();
            fs::write(folder.join("a.rego"), format!("package witgate.admission\n\n{rule}\n")).unwrap();
            Candidate::read(&self.settings).unwrap()
        }
    }

    fn refused(kept: &Kept, candidate: &Candidate) -> String {
        let error = kept.admissible(candidate).unwrap_err();
        assert!(matches!(error, LoadError::Rollback { .. }), "{error}");
        assert!(kept.activated(candidate).is_err());
        error.to_string()
    }

    #[test]
    fn a18_3_an_older_sequence_is_refused() {
        let team = Team::new();
        let kept = team.kept();
        let (third, fourth) = (team.release(Some(3), "admit := false"), team.release(Some(4), "admit := true"));
        kept.admissible(&third).unwrap();
        kept.activated(&third).unwrap();
        kept.admissible(&third).unwrap();
        kept.activated(&fourth).unwrap();
        assert_eq!(
            refused(&team.kept(), &third),
            "expected a bundle with the sequence 4 or a later one, as was activated before, found 3"
        );
        assert!(refused(&kept, &team.release(None, "admit := true")).ends_with("found none"));
        assert!(refused(&kept, &team.release(Some(4), "admit := false")).ends_with("found 4 with another digest"));
        kept.admissible(&team.release(Some(4), "admit := true")).unwrap();
        kept.activated(&team.release(Some(u64::MAX), "admit := true")).unwrap();
        assert_eq!(kept.last_good(&team.settings).unwrap().unwrap().sequence(), Some(u64::MAX));
    }

    #[test]
    fn without_a_sequence_any_bundle_follows_any_other() {
        let team = Team::new();
        let (one, other) = (team.release(None, "admit := false"), team.release(None, "admit := true"));
        for candidate in [&one, &other, &one] {
            team.kept().admissible(candidate).unwrap();
            team.kept().activated(candidate).unwrap();
        }
    }

    #[test]
    fn a_gateways_own_data_is_no_other_release() {
        let mut team = Team::new();
        team.kept().activated(&team.release(Some(3), "admit := false")).unwrap();
        let over = team.dir.path().join("over");
        fs::create_dir(&over).unwrap();
        fs::write(over.join("d.json"), r#"{"own":1}"#).unwrap();
        team.settings.data = Some(over.clone());
        let candidate = team.release(Some(3), "admit := false");
        team.kept().activated(&candidate).unwrap();
        // What was laid over it is kept too: the policy is the one that was in force.
        fs::remove_dir_all(over).unwrap();
        let last_good = team.kept().last_good(&team.settings).unwrap().unwrap();
        assert_eq!(last_good.facts(), candidate.facts());
        assert_eq!(last_good.compile().unwrap().facts(), &candidate.facts());
    }

    #[test]
    fn the_last_good_is_there_without_its_source_whatever_it_was() {
        let team = Team::new();
        assert!(team.kept().last_good(&team.settings).unwrap().is_none());
        let folder = team.dir.path().join("team");
        let candidate = team.release(Some(1), "admit := false");
        team.kept().activated(&candidate).unwrap();
        fs::remove_file(folder.join(".manifest")).unwrap();
        let plain = Candidate::read(&team.settings).unwrap();
        assert!(refused(&team.kept(), &plain).ends_with("found none"));
        let other = Kept::of(team.dir.path(), "other").unwrap();
        other.activated(&plain).unwrap();
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(team.kept().last_good(&team.settings).unwrap().unwrap().facts(), candidate.facts());
        assert_eq!(other.last_good(&team.settings).unwrap().unwrap().facts(), plain.facts());
        let demanded = Settings { require_signature: Some(true), ..team.settings.clone() };
        for kept in [team.kept(), other] {
            assert!(matches!(kept.last_good(&demanded), Err(LoadError::Bundle(_))), "an unsigned one was believed");
        }
    }

    #[test]
    fn a_memory_that_cannot_be_read_is_no_empty_one() {
        let team = Team::new();
        let candidate = team.release(Some(3), "admit := false");
        let kept = team.kept();
        kept.activated(&candidate).unwrap();
        let folder = team.dir.path().join("policy/team");
        let good = fs::read_to_string(folder.join(LAST_GOOD)).unwrap();
        let digest = candidate.facts().digest.to_string();
        let other = good.replace(&digest, &format!("sha256:{}", "0".repeat(64)));
        assert_ne!(other, good);
        for text in [other.as_str(), "", "{}", "[]"] {
            fs::write(folder.join(LAST_GOOD), text).unwrap();
            assert!(matches!(kept.last_good(&team.settings), Err(LoadError::Kept { .. })), "{text}");
        }
        fs::write(folder.join(LAST_GOOD), &good).unwrap();
        let activated = fs::read_to_string(folder.join(ACTIVATED)).unwrap();
        fs::write(folder.join(ACTIVATED), activated.replace(":3", ":4")).unwrap();
        assert!(matches!(kept.last_good(&team.settings), Err(LoadError::Kept { .. })), "an older one was taken");
        for text in ["", "{}", r#"{"sequence":-1}"#] {
            fs::write(folder.join(ACTIVATED), text).unwrap();
            assert!(matches!(kept.admissible(&candidate), Err(LoadError::Kept { .. })), "{text}");
        }
        // A crash between the two: the bundle is later than its number.
        fs::write(folder.join(ACTIVATED), activated.replace(":3", ":2")).unwrap();
        assert!(kept.last_good(&team.settings).unwrap().is_some());
    }

    #[test]
    fn names_are_folders_of_their_own() {
        for name in ["", ".", "..", "a/b", "A", "a b", "é", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(Kept::of(Path::new("d"), name).is_err(), "`{name}` was taken");
        }
        assert!(Kept::of(Path::new("d"), &"x".repeat(MAX_NAME_BYTES)).is_ok());
    }
}
