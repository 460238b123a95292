//! The anchor: the last published checkpoint, kept outside the database as a lower bound of the log's size.
//!
//! Without it a restored backup goes on silently and signs a second history. It may lag behind by a moment; it never
//! leads, because a checkpoint is published only after COMMIT.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

use super::start::LogFault;
use super::tlog::note::MAX_NOTE_BYTES;
use super::tlog::{Checkpoint, TrustPolicy, VerifierKey};

/// The anchor file of one origin.
#[derive(Debug)]
pub(super) struct Anchor {
    path: PathBuf,
    trust: TrustPolicy,
    origin: String,
    /// The size last written by us; also keeps two writers apart.
    written: Mutex<u64>,
}

impl Anchor {
    /// The anchor of the log that `verifier` signs, in `folder`.
    pub fn new(folder: &Path, verifier: &VerifierKey) -> Self {
        let origin = verifier.name().to_owned();
        let path = folder.join(file_name(&origin));
        Self { path, trust: TrustPolicy::of_log(verifier.clone()), origin, written: Mutex::new(0) }
    }

    /// Reads the anchor; `None` when there is none yet.
    pub fn read(&self) -> Result<Option<Checkpoint>, LogFault> {
        let Some(note) = read_file(&self.path)? else { return Ok(None) };
        let form =
            |source: Box<dyn std::error::Error + Send + Sync>| LogFault::AnchorForm { path: self.path.clone(), source };
        let checkpoint = self.trust.verify(&note).map_err(|error| form(error.into()))?;
        if checkpoint.origin == self.origin {
            Ok(Some(checkpoint))
        } else {
            Err(form("it is of another origin".into()))
        }
    }

    /// Puts a newer checkpoint in place: write, fsync, rename, fsync of the folder. After a crash the file is the old or
    /// the new one. An older checkpoint than the last written is passed over.
    pub fn write(&self, size: u64, note: &str) -> Result<(), LogFault> {
        let mut written = self.written.lock().expect("no panic while the anchor is written");
        if size < *written {
            return Ok(());
        }
        let failed = |source| LogFault::Anchor { doing: "write", path: self.path.clone(), source };
        let folder = self.path.parent().expect("the anchor stands in a folder");
        fs::create_dir_all(folder).map_err(failed)?;
        let temporary = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary).map_err(failed)?;
        file.write_all(note.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        drop(file);
        fs::rename(&temporary, &self.path).and_then(|()| sync_folder(folder)).map_err(failed)?;
        *written = size;
        Ok(())
    }
}

/// The anchor note of another origin in the same folder, as it stands there; nothing about it is checked.
pub(super) fn unverified_note_of(folder: &Path, origin: &str) -> Option<String> {
    read_file(&folder.join(file_name(origin))).ok().flatten().and_then(|note| String::from_utf8(note).ok())
}

/// Makes a rename or a new file in `folder` survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn file_name(origin: &str) -> String {
    format!("{}.checkpoint", hex::encode(&Sha256::digest(origin)[..8]))
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, LogFault> {
    let failed = |source| LogFault::Anchor { doing: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut note = Vec::new();
    file.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut note).map_err(failed)?;
    Ok(Some(note))
}

#[cfg(test)]
mod tests {
    use super::super::tlog::Signer;
    use super::*;

    fn signed(signer: &Signer, size: u64) -> String {
        let origin = signer.verifier().name().to_owned();
        signer.sign(&Checkpoint { origin, size, root: [7; 32] }.to_string()).to_string()
    }

    #[test]
    fn a23_2_what_was_written_is_read_and_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::new("a.example/1", &[1; 32]).unwrap();
        let anchor = Anchor::new(&folder.path().join("made/on/demand"), signer.verifier());
        assert_eq!(anchor.read().unwrap(), None);
        anchor.write(5, &signed(&signer, 5)).unwrap();
        assert_eq!(anchor.read().unwrap().unwrap().size, 5);
        anchor.write(4, &signed(&signer, 4)).unwrap();
        assert_eq!(anchor.read().unwrap().unwrap().size, 5);
        anchor.write(9, &signed(&signer, 9)).unwrap();
        assert_eq!(anchor.read().unwrap().unwrap().size, 9);
    }

    #[test]
    fn refuses_an_anchor_that_is_forged_torn_or_of_another_log() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::new("a.example/1", &[1; 32]).unwrap();
        let anchor = Anchor::new(folder.path(), signer.verifier());
        let forged = signed(&Signer::new("a.example/1", &[2; 32]).unwrap(), 5);
        let good = signed(&signer, 5);
        for note in [&forged, good.get(..good.len() - 10).unwrap(), "", &"x".repeat(MAX_NOTE_BYTES + 1)] {
            fs::write(&anchor.path, note).unwrap();
            assert!(matches!(anchor.read(), Err(LogFault::AnchorForm { .. })), "`{note:.60}` was taken");
        }
    }
}
