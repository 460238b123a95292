//! What was admitted last in a repository, read from the log that committed to it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use super::entry::Entry;
use super::reader::{Reader, within};
use super::recording::is_compared_with;
use super::store::{self, AdmittedRow, StoreError};
use super::tlog::leaf_hash;
use crate::case::{DecisionFacts, Digest, Previous, Purpose, Scope};
use crate::outage::Outage;

impl Reader {
    /// The newest admission in a repository of a scope that is about another artifact than `artifact`: one that handed
    /// something over, and that policy itself admitted. Every incarnation of the log counts.
    ///
    /// The index says where it stands; what it says is taken from its body, which has to hash to its entry, and the entry to its
    /// leaf. An index that points at something else is an outage: nobody is admitted on it.
    ///
    /// # Errors
    /// The database gave no answer, or the admission is not what was recorded.
    pub async fn last_admitted(
        &self,
        scope: &Scope,
        upstream: &str,
        repository: &str,
        artifact: &Digest,
    ) -> Result<Option<Previous>, Outage> {
        within("reading the last admission", DEADLINE, async {
            let mut connection = self.connection().await?;
            let found = store::newest_other(&mut connection, scope, upstream, repository, artifact).await?;
            found.map(|row| previous(&row, (scope, upstream, repository, artifact))).transpose()
        })
        .await
    }
}

/// What is read of a body: the evidence in it may be large, and is passed over.
#[derive(Deserialize)]
struct Body {
    case: Said,
    committed: Vec<String>,
    decision: DecisionFacts,
}

#[derive(Deserialize)]
struct Said {
    id: Uuid,
    scope: Scope,
    purpose: Purpose,
    reference: Reference,
    artifact: Artifact,
    surface: Surface,
}

#[derive(Deserialize)]
struct Reference {
    upstream: String,
    repository: String,
}

#[derive(Deserialize)]
struct Artifact {
    digest: Digest,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Surface {
    #[serde(default)]
    imports: Vec<Import>,
}

#[derive(Deserialize)]
struct Import {
    name: String,
}

fn previous(
    row: &AdmittedRow,
    (scope, upstream, repository, artifact): (&Scope, &str, &str, &Digest),
) -> Result<Previous, StoreError> {
    let damaged = |what: &str| StoreError::damaged("read the last admission", format!("entry {} {what}", row.idx));
    if leaf_hash(&row.entry) != row.leaf {
        return Err(damaged("does not hash to its leaf"));
    }
    let entry = Entry::read(&row.entry).ok_or_else(|| damaged("is not one that this version writes"))?;
    if Digest::of(&row.body) != entry.body_commit {
        return Err(damaged("has a body that does not hash to its `body_commit`"));
    }
    let Body { case, committed, decision } = serde_json::from_slice(&row.body)
        .map_err(|error| damaged(&format!("has a body that cannot be read: {error}")))?;
    let about = case.scope == *scope && case.reference.upstream == upstream && case.reference.repository == repository;
    if !about
        || !is_compared_with(case.purpose, &decision)
        || case.artifact.digest == *artifact
        || [case.id, decision.id, entry.id] != [row.id; 3]
    {
        return Err(damaged("is no admission of what the index of admissions says"));
    }
    let version =
        case.artifact.annotations.get(VERSION).filter(|_| !committed.iter().any(|pointer| pointer == VERSION_POINTER));
    Ok(Previous {
        decision: row.id,
        time: entry.time,
        artifact: case.artifact.digest,
        version: version.cloned(),
        imports: case.surface.imports.into_iter().map(|import| import.name).collect(),
    })
}

/// OCI image-spec, annotations.md: the version of the packaged software.
const VERSION: &str = "org.opencontainers.image.version";
/// A version that names somebody is no version: it stands in the body as a commitment.
const VERSION_POINTER: &str = "/case/artifact/annotations/org.opencontainers.image.version";
/// How long the question may take: it stands in the way of an answer.
const DEADLINE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{case, policy};
    use super::super::{Audit, Settings, VerifyFault, VerifyOptions, verify};
    use super::*;
    use crate::case::{Case, Grants, Limits, Timestamp};
    use crate::outage::chain;
    use crate::policy::Decision;
    use crate::reason::{Code, Reason};

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    async fn open(folder: &Path, origin: &str) -> Audit {
        let settings = Settings { append_deadline_ms: 20_000, origin: origin.into(), ..Settings::default() };
        Audit::open(&settings, folder, now()).await.unwrap()
    }

    fn of(artifact: &str) -> Case {
        let mut case = case();
        case.artifact.digest = Digest::of(artifact.as_bytes());
        case
    }

    fn admitted(case: &Case) -> Decision {
        let (imports, limits) = (vec!["wasi:cli/stdout@0.2.3".into()], Limits::default());
        let grants = Grants { imports, links: Vec::new(), config: Vec::new(), limits, lifetime_s: 3600 };
        Decision::admit_for_tests(case, grants, policy())
    }

    async fn admit(audit: &Audit, case: &Case) -> Uuid {
        audit.append(case, &admitted(case)).await.unwrap();
        case.id
    }

    /// The decision and artifact that are found for an artifact that nobody has seen yet.
    async fn last(audit: &Audit, not: &str) -> Option<Uuid> {
        let case = case();
        let (scope, reference) = (&case.scope, &case.reference);
        let not = Digest::of(not.as_bytes());
        let found =
            audit.reader().last_admitted(scope, &reference.upstream, &reference.repository, &not).await.unwrap();
        found.map(|previous| previous.decision)
    }

    async fn verified(audit: &Audit) -> Result<u64, VerifyFault> {
        verify(audit.database(), &VerifyOptions::default()).await.map(|verified| verified.size)
    }

    #[tokio::test]
    async fn the_newest_admission_of_another_artifact_is_found_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        assert_eq!(last(&audit, "one").await, None);
        let mut first = of("one");
        first.artifact.annotations.insert(VERSION.into(), "1.4.0".into());
        admit(&audit, &first).await;
        assert_eq!(last(&audit, "one").await, None, "the same artifact is no other");
        let scope = first.scope.clone();
        let found = audit.reader().last_admitted(&scope, "registry.example", "acme/cart", &Digest::of(b"two")).await;
        let expected = Previous {
            decision: first.id,
            time: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
            artifact: Digest::of(b"one"),
            version: Some("1.4.0".into()),
            imports: vec!["wasi:cli/stdout@0.2.3".into()],
        };
        assert_eq!(found.unwrap(), Some(expected));

        // Asked for again, by whomever, the newest of each counts.
        let second = admit(&audit, &of("two")).await;
        let again = admit(&audit, &of("one")).await;
        assert_eq!(last(&audit, "two").await, Some(again));
        assert_eq!(last(&audit, "one").await, Some(second));
        assert_eq!(last(&audit, "three").await, Some(again));
        assert_eq!(verified(&audit).await.unwrap(), 3);
        audit.close().await;

        // After a restart, and in the next incarnation of the log.
        let audit = open(folder.path(), "a.example/audit/2").await;
        assert_eq!(last(&audit, "three").await, Some(again));
        let newest = admit(&audit, &of("two")).await;
        assert_eq!((last(&audit, "three").await, last(&audit, "two").await), (Some(newest), Some(again)));
        verified(&audit).await.unwrap();
        audit.close().await;
    }

    #[tokio::test]
    async fn only_what_was_handed_over_in_the_same_place_counts() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        let mut dry = of("dry run");
        dry.purpose = Purpose::DryRun;
        admit(&audit, &dry).await;
        let refused = of("refused");
        let reason = Reason::new(Code::NOT_ADMITTED, "x", "no");
        audit.append(&refused, &Decision::refuse_for_tests(&refused, vec![reason], policy())).await.unwrap();
        let places: [fn(&mut Case); 4] = [
            |case| case.scope.tenant = "other".into(),
            |case| case.scope.environment = "other".into(),
            |case| case.reference.upstream = "other.example".into(),
            |case| case.reference.repository = "acme/other".into(),
        ];
        for (number, elsewhere) in places.into_iter().enumerate() {
            let mut case = of(&number.to_string());
            elsewhere(&mut case);
            admit(&audit, &case).await;
        }
        assert_eq!(last(&audit, "new").await, None);
        let mut pull = of("pulled");
        pull.purpose = Purpose::Pull;
        let pulled = admit(&audit, &pull).await;
        assert_eq!(last(&audit, "new").await, Some(pulled));
        assert_eq!(verified(&audit).await.unwrap(), 7);
        audit.close().await;
    }

    #[test]
    fn what_only_the_mode_let_past_is_no_measure() {
        let case = of("let past");
        let mut facts = admitted(&case).facts().clone();
        assert!(is_compared_with(case.purpose, &facts));
        facts.would_refuse.push(Reason::new(Code::NOT_ADMITTED, "x", "no"));
        assert!(!is_compared_with(case.purpose, &facts));
    }

    #[tokio::test]
    async fn a_version_that_names_somebody_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        let mut case = of("one");
        case.artifact.annotations.insert(VERSION.into(), "built by ann@acme.example".into());
        admit(&audit, &case).await;
        let found = audit.reader().last_admitted(&case.scope, "registry.example", "acme/cart", &Digest::of(b"")).await;
        assert_eq!(found.unwrap().unwrap().version, None);
        audit.close().await;
    }

    #[tokio::test]
    async fn an_index_that_lies_is_an_outage_and_the_log_does_not_hold() {
        let one = Digest::of(b"one").hex();
        for (sql, told) in [
            // Points at a refusal, at another repository's admission, at nothing.
            ("UPDATE admitted SET idx = 0 WHERE repository = 'acme/cart'".to_owned(), Some("is no admission of what")),
            ("UPDATE admitted SET idx = 1 WHERE repository = 'acme/cart'".to_owned(), Some("is no admission of what")),
            ("UPDATE admitted SET idx = 9 WHERE repository = 'acme/cart'".to_owned(), Some("entry 9 is missing")),
            // Says that another artifact was admitted than was.
            (format!("UPDATE admitted SET artifact = zeroblob(32) WHERE artifact = unhex('{one}')"), None),
            // Hides an admission, or that there was a newer one of the same artifact.
            ("DELETE FROM admitted WHERE repository = 'acme/cart'".to_owned(), None),
            (format!("UPDATE admitted SET idx = 2 WHERE artifact = unhex('{one}')"), None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let audit = open(folder.path(), "a.example/audit/1").await;
            let refused = of("refused");
            let reason = Reason::new(Code::NOT_ADMITTED, "x", "no");
            audit.append(&refused, &Decision::refuse_for_tests(&refused, vec![reason], policy())).await.unwrap();
            let mut elsewhere = of("elsewhere");
            elsewhere.reference.repository = "acme/other".into();
            admit(&audit, &elsewhere).await;
            admit(&audit, &of("one")).await;
            admit(&audit, &of("one")).await;
            store::tamper(audit.database(), &sql).await;
            let scope = Scope::default();
            let found =
                audit.reader().last_admitted(&scope, "registry.example", "acme/cart", &Digest::of(b"new")).await;
            match told {
                Some(told) => {
                    let outage = chain(&found.unwrap_err());
                    assert!(outage.contains(told), "{sql}: {outage}");
                }
                None => drop(found.unwrap()),
            }
            let fault = verified(&audit).await.unwrap_err();
            let known =
                matches!(fault, VerifyFault::Admission { .. } | VerifyFault::Stray { what: "notes of admissions", .. });
            assert!(known, "{sql}: {fault}");
            audit.close().await;
        }
    }

    #[tokio::test]
    async fn a_body_or_entry_that_was_changed_is_an_outage() {
        for (sql, told) in [
            ("UPDATE decision SET body = CAST(replace(CAST(body AS TEXT), 'stdout', 'stderr') AS BLOB)", "body_commit"),
            (
                "UPDATE decision SET entry = CAST(replace(CAST(entry AS TEXT), 'admit', 'refuse') AS BLOB)",
                "hash to its leaf",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let audit = open(folder.path(), "a.example/audit/1").await;
            admit(&audit, &of("one")).await;
            store::tamper(audit.database(), sql).await;
            let scope = Scope::default();
            let found =
                audit.reader().last_admitted(&scope, "registry.example", "acme/cart", &Digest::of(b"new")).await;
            let outage = chain(&found.unwrap_err());
            assert!(outage.contains(told), "{sql}: {outage}");
            audit.close().await;
        }
    }

    #[tokio::test]
    async fn a_log_from_before_is_read_as_it_is_and_brought_up_to_date_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        admit(&audit, &of("one")).await;
        let mut dry = of("dry run");
        dry.purpose = Purpose::DryRun;
        admit(&audit, &dry).await;
        let two = admit(&audit, &of("two")).await;
        let one = admit(&audit, &of("one")).await;
        audit.close().await;
        let database = folder.path().join("audit.db");
        store::undo_admissions(&database).await;
        assert_eq!(verify(&database, &VerifyOptions::default()).await.unwrap().size, 4);
        let audit = open(folder.path(), "a.example/audit/1").await;
        assert_eq!((last(&audit, "new").await, last(&audit, "one").await), (Some(one), Some(two)));
        assert_eq!(verified(&audit).await.unwrap(), 4);
        audit.close().await;
    }
}
