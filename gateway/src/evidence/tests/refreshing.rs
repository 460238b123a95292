//! Trust that changes while the gateway runs: what is new and good is believed, what is old or broken is not.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::super::limits::*;
use super::super::{RevocationSettings, StartError, TufSource, Upkeep};
use super::*;
use crate::dev::tuf::{Answers, Release, TufRepository};
use crate::outage::Peer;

fn after(seconds: i64) -> Timestamp {
    later() + jiff::SignedDuration::from_secs(seconds)
}

/// A data folder, and a root in a file beside it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        crate::tls::install_provider();
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file as of `at`.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>, at: Timestamp) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        touch(&path, at);
        path
    }

    fn root(&self, sigstore: &Sigstore, at: Timestamp) -> Settings {
        let path = self.write("root.json", sigstore.trusted_root_json(), at);
        let root = RootSettings { max_age_s: 60, ..RootSettings::new("acme", RootSource::File(path)) };
        Settings { roots: vec![root], ..Settings::default() }
    }

    async fn open(&self, settings: &Settings) -> (Collector, Upkeep) {
        Upkeep::open(settings, &self.data(), later()).await.unwrap()
    }

    async fn refused(&self, settings: &Settings) -> StartError {
        match Upkeep::open(settings, &self.data(), later()).await {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    }
}

fn touch(path: &Path, at: Timestamp) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::from(at)).unwrap();
}

fn age_s(collector: &Collector, now: Timestamp) -> u64 {
    collector.standing().facts(now)[0].age_s
}

fn list(issued_at: Timestamp, entries: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(&json!({"version": 1, "issued_at": issued_at, "entries": entries})).unwrap()
}

#[tokio::test]
async fn a_file_that_changes_is_believed_and_a_broken_one_is_not() {
    let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let folder = Folder::new();
    let settings = folder.root(&one, later());
    let (collector, upkeep) = folder.open(&settings).await;
    let (ours, theirs) = (one.sign(cosign()).unwrap(), two.sign(cosign()).unwrap());
    verified(&collector, ours.clone()).await;
    rejected(&collector, theirs.clone()).await;

    let basis = collector.standing().basis();
    for broken in ["", "{}", "{\"tlogs\": 1}"] {
        folder.write("root.json", broken, later());
        upkeep.look(later()).await;
        assert_eq!(upkeep.degraded(later()).len(), 1, "{broken}");
        assert_eq!(collector.standing().basis(), basis, "{broken}");
        verified(&collector, ours.clone()).await;
    }
    std::fs::remove_file(folder.path("root.json")).unwrap();
    upkeep.look(later()).await;
    assert_eq!(upkeep.degraded(later())[0].0, "acme");
    verified(&collector, ours.clone()).await;

    folder.write("root.json", two.trusted_root_json(), later());
    upkeep.look(later()).await;
    assert_eq!(upkeep.degraded(later()), []);
    assert_ne!(collector.standing().basis(), basis);
    verified(&collector, theirs).await;
    rejected(&collector, ours).await;
}

#[tokio::test]
async fn a22_1_an_examination_that_began_under_one_trust_ends_under_it() {
    let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let folder = Folder::new();
    let (collector, upkeep) = folder.open(&folder.root(&one, later())).await;
    let before = collector.standing();
    folder.write("root.json", two.trusted_root_json(), later());
    upkeep.look(later()).await;
    let candidates = |bundle| Candidates { looked_in: Vec::new(), list: vec![candidate("one", bundle)] };
    let old = candidates(one.sign(cosign()).unwrap());
    let evidence =
        collector.investigate(before.clone(), Exhibit::of(manifest()), old, later()).await.unwrap().into_evidence();
    assert!(matches!(evidence.findings[0], Finding::Verified(_)));
    assert_eq!(evidence.trust, before.facts(later()));
    assert!(collector.still_believes(before.basis()).is_err());
    assert!(collector.still_believes(collector.standing().basis()).is_ok());
}

#[tokio::test]
async fn a23_1_a_touched_file_is_young_again_and_a_date_ahead_grows_old_all_the_same() {
    let sigstore = Sigstore::new(start()).unwrap();
    let folder = Folder::new();
    let settings = folder.root(&sigstore, after(-100));
    let (collector, upkeep) = folder.open(&settings).await;
    assert_eq!(age_s(&collector, later()), 100);
    assert_eq!(upkeep.degraded(later()).len(), 1, "past its age it is degraded");
    touch(&folder.path("root.json"), after(-1));
    upkeep.look(later()).await;
    assert_eq!(age_s(&collector, later()), 1);
    assert_eq!(upkeep.degraded(later()), []);
    // A year ahead: counts as now when it is seen first, and not again.
    touch(&folder.path("root.json"), after(365 * 24 * 3600));
    upkeep.look(later()).await;
    upkeep.look(after(50)).await;
    assert_eq!(age_s(&collector, after(50)), 50);
}

#[tokio::test]
async fn a23_1_an_older_trusted_root_is_not_loaded() {
    let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let folder = Folder::new();
    let settings = folder.root(&one, later());
    let (collector, upkeep) = folder.open(&settings).await;
    folder.write("root.json", two.trusted_root_json(), later());
    upkeep.look(later()).await;
    let basis = collector.standing().basis();
    folder.write("root.json", one.trusted_root_json(), later());
    upkeep.look(later()).await;
    assert_eq!(collector.standing().basis(), basis, "the older root was believed");
    assert!(upkeep.degraded(later())[0].1.contains("older root"), "{:?}", upkeep.degraded(later()));
    // A restart does not forget.
    let error = folder.refused(&settings).await;
    assert!(matches!(error, StartError::Older { .. }), "{error}");
    assert!(error.hint().unwrap().contains("trust-roots.json"));
    // Somebody who means it says so.
    let memory = folder.data().join("trust-roots.json");
    let text = std::fs::read_to_string(&memory).unwrap();
    let old = format!("\"{}\"", Digest::of(one.trusted_root_json().as_bytes()));
    std::fs::write(&memory, text.replace(&old, "")).unwrap();
    folder.open(&settings).await;
}

#[tokio::test]
async fn a_memory_that_cannot_be_relied_on_starts_nothing() {
    let sigstore = Sigstore::new(start()).unwrap();
    let folder = Folder::new();
    let settings = folder.root(&sigstore, later());
    std::fs::create_dir_all(folder.data()).unwrap();
    std::fs::write(folder.data().join("trust-roots.json"), "{").unwrap();
    let error = folder.refused(&settings).await;
    assert!(matches!(error, StartError::Memory { .. }) && error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn a22_2_what_cannot_be_remembered_is_not_believed() {
    let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let folder = Folder::new();
    let (collector, upkeep) = folder.open(&folder.root(&one, later())).await;
    let basis = collector.standing().basis();
    // A folder in the temporary file's place: not even root writes there.
    let blocker = folder.data().join("trust-roots.new");
    std::fs::create_dir(&blocker).unwrap();
    folder.write("root.json", two.trusted_root_json(), later());
    upkeep.look(later()).await;
    assert_eq!(collector.standing().basis(), basis);
    assert!(upkeep.degraded(later())[0].1.contains("cannot be kept"));
    std::fs::remove_dir(&blocker).unwrap();
    upkeep.look(later()).await;
    assert_ne!(collector.standing().basis(), basis, "it is tried again");
}

/// A collector whose list revokes `entries`.
async fn revoking(folder: &Folder, settings: Settings, entries: serde_json::Value) -> Collector {
    let file = folder.write("revoked.json", list(start(), &entries), start());
    let revocations = Some(RevocationSettings::new(file));
    folder.open(&Settings { revocations, ..settings }).await.0
}

#[tokio::test]
async fn a22_1_a_revoked_identity_evidence_or_root_is_rejected() {
    let sigstore = Sigstore::new(start()).unwrap();
    let bundle = sigstore.sign(cosign()).unwrap();
    let digest = Digest::of(&bundle);
    let root = Digest::of(sigstore.trusted_root_json().as_bytes());
    let (before, with_it) = (start(), start() + jiff::SignedDuration::from_secs(3600));
    for (entry, is_revoked) in [
        (json!({"kind": "identity", "issuer": ISSUER, "san": IDENTITY, "reason": "left"}), true),
        (json!({"kind": "identity", "san": IDENTITY, "reason": "left"}), true),
        (json!({"kind": "identity", "issuer": ISSUER, "san": IDENTITY, "since": before, "reason": "left"}), true),
        (json!({"kind": "identity", "issuer": ISSUER, "san": IDENTITY, "since": with_it, "reason": "left"}), false),
        (json!({"kind": "identity", "issuer": "https://other.example", "san": IDENTITY, "reason": "left"}), false),
        (json!({"kind": "identity", "issuer": ISSUER, "san": "https://other.example/x", "reason": "left"}), false),
        (json!({"kind": "evidence", "digest": digest, "reason": "wrong"}), true),
        (json!({"kind": "evidence", "digest": Digest::of(b"other"), "reason": "wrong"}), false),
        (json!({"kind": "trust-root", "name": "acme", "reason": "broken into"}), true),
        (json!({"kind": "trust-root", "digest": root, "reason": "broken into"}), true),
        (json!({"kind": "trust-root", "name": "acme", "digest": root, "reason": "broken into"}), true),
        (json!({"kind": "trust-root", "name": "acme", "digest": digest, "reason": "broken into"}), false),
        (json!({"kind": "trust-root", "name": "other", "reason": "broken into"}), false),
        // What the artifact is, and who asks, is for the floor.
        (json!({"kind": "artifact", "digest": Digest::of(&manifest()), "reason": "hole"}), false),
    ] {
        let folder = Folder::new();
        let collector = revoking(&folder, folder.root(&sigstore, later()), json!([entry])).await;
        // The second time the verdict is remembered: the list is asked all the same.
        for _ in 0..2 {
            if is_revoked {
                let (code, detail) = rejected(&collector, bundle.clone()).await;
                assert_eq!(code, Code::REVOKED, "{entry}");
                assert!(detail.contains("`entries[0]`"), "{detail}");
            } else {
                verified(&collector, bundle.clone()).await;
            }
        }
    }
}

#[tokio::test]
async fn a22_1_a_revoked_key_or_the_root_of_its_log_is_rejected() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let key = key("release", &managed);
    let bundle = sigstore.sign_with_key(&managed, cosign()).unwrap();
    let folder = Folder::new();
    let settings = Settings { keys: vec![key], ..folder.root(&sigstore, later()) };
    let keyid = settings_keyid(&settings);
    for (entry, is_revoked) in [
        (json!({"kind": "key", "keyid": keyid, "reason": "stolen"}), true),
        (json!({"kind": "key", "keyid": "0".repeat(64), "reason": "stolen"}), false),
        (json!({"kind": "trust-root", "name": "acme", "reason": "broken into"}), true),
    ] {
        let folder = Folder::new();
        let settings = Settings { roots: folder.root(&sigstore, later()).roots, ..settings.clone() };
        let collector = revoking(&folder, settings, json!([entry])).await;
        match is_revoked {
            true => assert_eq!(rejected(&collector, bundle.clone()).await.0, Code::REVOKED, "{entry}"),
            false => drop(verified(&collector, bundle.clone()).await),
        }
    }
}

fn settings_keyid(settings: &Settings) -> String {
    let trust = Trust::load(&Settings { roots: Vec::new(), ..settings.clone() }).unwrap();
    trust.facts(later())[0].digest.hex()
}

#[tokio::test]
async fn a22_1_a_list_that_names_the_signer_is_believed_without_a_restart() {
    let sigstore = Sigstore::new(start()).unwrap();
    let bundle = sigstore.sign(cosign()).unwrap();
    let folder = Folder::new();
    let file = folder.write("revoked.json", list(start(), &json!([])), start());
    let revocations = Some(RevocationSettings::new(file));
    let settings = Settings { revocations, ..folder.root(&sigstore, later()) };
    let (collector, upkeep) = folder.open(&settings).await;
    verified(&collector, bundle.clone()).await;
    let before = collector.standing().basis();
    let entries = json!([{"kind": "identity", "san": IDENTITY, "reason": "left"}]);
    folder.write("revoked.json", list(after(0), &entries), later());
    upkeep.look(later()).await;
    assert_eq!(rejected(&collector, bundle.clone()).await.0, Code::REVOKED);
    assert!(collector.still_believes(before).is_err(), "what was decided before is decided anew");
    // The older list, put back, or another one of the same time, withdraws nothing.
    for older in [list(start(), &json!([])), list(after(0), &json!([]))] {
        folder.write("revoked.json", older, later());
        upkeep.look(later()).await;
        assert_eq!(rejected(&collector, bundle.clone()).await.0, Code::REVOKED);
        assert!(upkeep.degraded(later())[0].1.contains("older list came back"), "{:?}", upkeep.degraded(later()));
    }
    folder.write("revoked.json", list(start(), &json!([])), later());
    let error = folder.refused(&settings).await;
    assert!(matches!(error, StartError::Revocations { .. }) && error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn a22_2_a_list_that_is_gone_or_broken_stays_until_it_is_too_old() {
    let sigstore = Sigstore::new(start()).unwrap();
    let folder = Folder::new();
    let entries = json!([{"kind": "identity", "san": IDENTITY, "reason": "left"}]);
    let file = folder.write("revoked.json", list(later(), &entries), start());
    let revocations = Some(RevocationSettings { max_age_s: 60, ..RevocationSettings::new(&file) });
    let settings = Settings { revocations, ..folder.root(&sigstore, later()) };
    let (collector, upkeep) = folder.open(&settings).await;
    for broken in [None, Some("{}"), Some("")] {
        match broken {
            None => std::fs::remove_file(&file).unwrap(),
            Some(text) => std::fs::write(&file, text).unwrap(),
        }
        upkeep.look(after(30)).await;
        assert_eq!(rejected(&collector, sigstore.sign(cosign()).unwrap()).await.0, Code::REVOKED);
    }
    assert!(collector.standing().usable(after(60)).is_ok());
    let candidates = Candidates { looked_in: Vec::new(), list: Vec::new() };
    let outage = collector.examine(Exhibit::of(manifest()), candidates, after(61)).await.unwrap_err();
    assert_eq!(outage.peer, Peer::Revocations);
    assert!(outage.hint.is_some());
    // A list that is there when it starts, and cannot be read, starts nothing.
    assert!(matches!(folder.refused(&settings).await, StartError::Revocations { .. }));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(folder.refused(&settings).await, StartError::Unreadable { .. }));
}

// TUF.

#[cfg(feature = "tuf")]
mod tuf {
    use super::*;

    const DAY: i64 = 24 * 3600;

    struct Tuf {
        folder: Folder,
        repository: TufRepository,
        settings: Settings,
    }

    impl Tuf {
        async fn new() -> Self {
            let folder = Folder::new();
            let repository = TufRepository::start().await.unwrap();
            let root = folder.write("tuf-root.json", repository.root_json().unwrap(), start());
            let source = RootSource::Tuf(TufSource { tuf: repository.url().to_owned(), root });
            let root = RootSettings { max_age_s: 3600, ..RootSettings::new("acme", source) };
            let settings = Settings { roots: vec![root], ..Settings::default() };
            Self { folder, repository, settings }
        }

        fn publish(&self, version: u64, sigstore: &Sigstore, expires: Timestamp) {
            let target = sigstore.trusted_root_json();
            let release = Release { version, expires, target: target.as_bytes(), other_target: None };
            self.repository.publish(&release).unwrap();
        }

        async fn open_at(&self, now: Timestamp) -> Result<(Collector, Upkeep), StartError> {
            Upkeep::open(&self.settings, &self.folder.data(), now).await
        }
    }

    #[tokio::test]
    async fn a_root_comes_from_its_repository_and_is_refreshed_at_half_life() {
        let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
        let tuf = Tuf::new().await;
        tuf.publish(1, &one, after(10 * DAY));
        let (collector, upkeep) = tuf.open_at(later()).await.unwrap();
        verified(&collector, one.sign(cosign()).unwrap()).await;
        assert_eq!(age_s(&collector, after(7)), 7, "its age counts from the refresh");
        tuf.publish(2, &two, after(10 * DAY));
        let asked = tuf.repository.requests();
        upkeep.ask(after(1)).await;
        assert_eq!(tuf.repository.requests(), asked, "it is asked again at half life");
        upkeep.ask(after(1800)).await;
        assert!(tuf.repository.requests() > asked);
        verified(&collector, two.sign(cosign()).unwrap()).await;
        assert_eq!((age_s(&collector, after(1800)), upkeep.degraded(after(1800))), (0, vec![]));
    }

    #[tokio::test]
    async fn a_repository_that_fails_leaves_the_last_good_root_until_it_is_too_old() {
        let sigstore = Sigstore::new(start()).unwrap();
        let tuf = Tuf::new().await;
        tuf.publish(1, &sigstore, after(10 * DAY));
        let (collector, upkeep) = tuf.open_at(later()).await.unwrap();
        for (number, answers) in [Answers::Unavailable, Answers::Endlessly].into_iter().enumerate() {
            tuf.repository.answer(answers);
            upkeep.ask(after(2000 + 600 * i64::try_from(number).unwrap())).await;
            assert_eq!(upkeep.degraded(after(3000))[0].0, "acme", "{answers:?}");
            verified(&collector, sigstore.sign(cosign()).unwrap()).await;
        }
        assert_eq!(age_s(&collector, after(3601)), 3601, "the floor refuses");
        assert_eq!(upkeep.degraded(after(3601)).len(), 2);
        tuf.repository.answer(Answers::Truly);
        upkeep.ask(after(2 * 3600)).await;
        assert_eq!((age_s(&collector, after(2 * 3600)), upkeep.degraded(after(2 * 3600))), (0, vec![]));
    }

    #[tokio::test]
    async fn a_restart_begins_with_the_cache_and_the_first_start_needs_the_repository() {
        let sigstore = Sigstore::new(start()).unwrap();
        let tuf = Tuf::new().await;
        tuf.repository.answer(Answers::Unavailable);
        let Err(error) = tuf.open_at(later()).await else { panic!("it started without any root") };
        assert!(matches!(&error, StartError::Tuf { source, .. } if source.hint.is_some()), "{error}");
        tuf.repository.answer(Answers::Truly);
        tuf.publish(1, &sigstore, after(10 * DAY));
        tuf.open_at(later()).await.unwrap();
        tuf.repository.answer(Answers::Unavailable);
        // Days later, and after the timestamp's end: the age says how old the root is, the floor refuses.
        let (collector, _) = tuf.open_at(after(20 * DAY)).await.unwrap();
        assert_eq!(i64::try_from(age_s(&collector, after(20 * DAY))).unwrap(), 20 * DAY);
    }

    #[tokio::test]
    async fn a23_1_an_older_timestamp_or_root_of_a_repository_is_not_believed() {
        let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
        let tuf = Tuf::new().await;
        tuf.publish(1, &one, after(10 * DAY));
        let old = tuf.repository.files();
        let (collector, upkeep) = tuf.open_at(later()).await.unwrap();
        tuf.publish(2, &two, after(10 * DAY));
        upkeep.ask(after(1800)).await;
        let basis = collector.standing().basis();
        tuf.repository.put(old.clone());
        upkeep.ask(after(3600)).await;
        assert_eq!(collector.standing().basis(), basis);
        assert_eq!(upkeep.degraded(after(3600))[0].0, "acme");
        // Without its cache the library begins anew: our own memory knows the older root.
        std::fs::remove_dir_all(tuf.folder.data().join("tuf")).unwrap();
        let Err(error) = tuf.open_at(after(3600)).await else { panic!("an older root was believed") };
        assert!(matches!(error, StartError::Older { .. }), "{error}");
        // An old snapshot under the new timestamp.
        tuf.publish(3, &two, after(10 * DAY));
        let mut mixed = tuf.repository.files();
        mixed.insert("snapshot.json".into(), old["snapshot.json"].clone());
        tuf.repository.put(mixed);
        upkeep.ask(after(3 * 3600)).await;
        assert_eq!(collector.standing().basis(), basis);
        assert_eq!(upkeep.degraded(after(3 * 3600))[0].0, "acme");
    }

    #[tokio::test]
    async fn a23_1_a_frozen_repository_ends_as_a_stale_root() {
        let sigstore = Sigstore::new(start()).unwrap();
        let tuf = Tuf::new().await;
        tuf.publish(1, &sigstore, after(3600));
        let (collector, upkeep) = tuf.open_at(later()).await.unwrap();
        upkeep.ask(after(3000)).await;
        assert_eq!(age_s(&collector, after(3000)), 0, "until the timestamp ends it is confirmed");
        for hour in 2..5 {
            upkeep.ask(after(hour * 3600)).await;
        }
        assert_eq!(age_s(&collector, after(4 * 3600)), 4 * 3600 - 3000);
        assert_eq!(upkeep.degraded(after(4 * 3600)).len(), 2);
    }

    #[tokio::test]
    async fn a23_1_a_target_that_leaves_its_folder_is_never_written() {
        let sigstore = Sigstore::new(start()).unwrap();
        let tuf = Tuf::new().await;
        let target = sigstore.trusted_root_json();
        for name in ["../x", "../../x", "/tmp/../x", "a/../../../x"] {
            let release =
                Release { version: 1, expires: after(DAY), target: target.as_bytes(), other_target: Some(name) };
            tuf.repository.publish(&release).unwrap();
            // Whether the library takes such a list or not: nothing may lie outside the cache.
            let _ = tuf.open_at(later()).await;
            let mut found = Vec::new();
            let mut open = vec![tuf.folder.0.path().to_owned()];
            while let Some(folder) = open.pop() {
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        open.push(path);
                    } else if path.file_name().is_some_and(|file| file == "x") {
                        found.push(path);
                    }
                }
            }
            assert_eq!(found, Vec::<PathBuf>::new(), "{name}");
        }
    }

    #[tokio::test]
    async fn a23_1_another_key_than_that_of_the_named_root_is_not_believed() {
        let sigstore = Sigstore::new(start()).unwrap();
        let (ours, stranger) = (Tuf::new().await, Tuf::new().await);
        stranger.publish(1, &sigstore, after(DAY));
        ours.repository.put(stranger.repository.files());
        assert!(matches!(ours.open_at(later()).await, Err(StartError::Tuf { .. })));
        // A target that is not the one that was signed for.
        ours.publish(1, &sigstore, after(DAY));
        let mut files = ours.repository.files();
        let other = Sigstore::new(start()).unwrap().trusted_root_json().into_bytes();
        files.insert("targets/trusted_root.json".into(), other.clone());
        ours.repository.put(files);
        assert!(matches!(ours.open_at(later()).await, Err(StartError::Tuf { .. })));
        // One that was put into the cache behind our back.
        ours.publish(1, &sigstore, after(DAY));
        ours.open_at(later()).await.unwrap();
        std::fs::write(ours.folder.data().join("tuf/acme/targets/trusted_root.json"), other).unwrap();
        ours.repository.answer(Answers::Unavailable);
        assert!(matches!(ours.open_at(later()).await, Err(StartError::Tuf { .. })));
    }

    #[tokio::test]
    async fn offline_asks_nobody() {
        let sigstore = Sigstore::new(start()).unwrap();
        let mut tuf = Tuf::new().await;
        tuf.publish(1, &sigstore, after(10 * DAY));
        tuf.settings.offline = true;
        assert!(matches!(tuf.open_at(later()).await, Err(StartError::Tuf { .. })), "there is no cache yet");
        assert_eq!(tuf.repository.requests(), 0);
        tuf.settings.offline = false;
        tuf.open_at(later()).await.unwrap();
        let asked = tuf.repository.requests();
        tuf.settings.offline = true;
        let (collector, upkeep) = tuf.open_at(after(30 * DAY)).await.unwrap();
        upkeep.ask(after(31 * DAY)).await;
        assert_eq!(tuf.repository.requests(), asked);
        verified(&collector, sigstore.sign(cosign()).unwrap()).await;
    }
}

#[tokio::test]
async fn how_often_files_are_looked_at_has_limits() {
    let folder = Folder::new();
    let (least, most) = (*REFRESH_S_RANGE.start(), *REFRESH_S_RANGE.end());
    for refresh_s in [least, most] {
        let (_, upkeep) = folder.open(&Settings { refresh_s, ..Settings::default() }).await;
        assert_eq!(upkeep.pace().as_secs(), refresh_s);
    }
    for refresh_s in [least - 1, most + 1] {
        let error = folder.refused(&Settings { refresh_s, ..Settings::default() }).await;
        assert!(matches!(error, StartError::Range { .. }), "{error}");
    }
}
