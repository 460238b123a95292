//! What a private Sigstore is asked to sign, with the defects it is asked to put in.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use crate::case::{Digest, Timestamp};

/// One signature to make.
#[derive(Clone, Debug)]
pub struct Sign {
    /// The manifest's digest: the subject of a statement.
    pub manifest: Digest,
    /// What is signed.
    pub what: Content,
    /// Who signs: a URI if it holds `:`, else an e-mail address.
    pub identity: String,
    /// The OIDC issuer that vouched for the identity.
    pub issuer: String,
    /// Fulcio's claims by their names in a case, such as `source_repository_uri`.
    pub claims: BTreeMap<String, String>,
    /// What `cosign sign -a` is given.
    pub annotations: BTreeMap<String, String>,
    /// Where the signature is logged.
    pub log: Log,
    /// When the certificate begins; the signature is made [`super::SIGNED_AFTER_S`] seconds later.
    pub at: Timestamp,
    /// What is deliberately wrong with it.
    pub knobs: Knobs,
}

impl Sign {
    /// What `cosign sign` makes: a sign statement about `manifest`, logged by Rekor v1.
    pub fn cosign(manifest: Digest, identity: &str, issuer: &str, at: Timestamp) -> Self {
        Self {
            manifest,
            what: Content::SignStatement,
            identity: identity.to_owned(),
            issuer: issuer.to_owned(),
            claims: BTreeMap::new(),
            annotations: BTreeMap::new(),
            log: Log::RekorV1,
            at,
            knobs: Knobs::none(),
        }
    }

    /// The same with one more defect.
    #[must_use]
    pub fn with(mut self, knob: Knob) -> Self {
        self.knobs.0.insert(knob);
        self
    }

    /// The same with one more annotation of the artifact.
    #[must_use]
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with one more claim in the certificate.
    #[must_use]
    pub fn claiming(mut self, name: &str, value: &str) -> Self {
        self.claims.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same, logged in `log`.
    #[must_use]
    pub fn logged_in(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// The same, signing `what`.
    #[must_use]
    pub fn signing(mut self, what: Content) -> Self {
        self.what = what;
        self
    }
}

/// What is signed.
#[derive(Clone, Debug)]
pub enum Content {
    /// The bytes themselves, as `cosign sign-blob` does.
    Message {
        /// The bytes: the manifest's, for an artifact in a registry.
        bytes: Bytes,
    },
    /// cosign v3's `https://sigstore.dev/cosign/sign/v1` statement about the manifest.
    SignStatement,
    /// An in-toto statement about the manifest, as `cosign attest` does.
    Statement {
        /// What kind of statement.
        predicate_type: String,
        /// What it says.
        predicate: Value,
    },
}

/// Where a signature is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// A Rekor v1: the log says when.
    RekorV1,
    /// A Rekor v2: a time-stamp authority says when.
    RekorV2,
}

/// The defects of one signature; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knobs(BTreeSet<Knob>);

impl Knobs {
    /// A signature as it should be.
    pub fn none() -> Self {
        Self::default()
    }

    pub(super) fn has(&self, knob: Knob) -> bool {
        self.0.contains(&knob)
    }
}

impl From<Knob> for Knobs {
    fn from(knob: Knob) -> Self {
        Self([knob].into())
    }
}

impl FromIterator<Knob> for Knobs {
    fn from_iter<T: IntoIterator<Item = Knob>>(knobs: T) -> Self {
        Self(knobs.into_iter().collect())
    }
}

/// One deliberate defect, or a rarer shape, of a bundle. Everything is signed over, so that only this one thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knob {
    /// The certificate is not for code signing.
    LeafWithoutCodeSigning,
    /// The certificate is for code signing and for TLS servers.
    LeafForServers,
    /// The certificate has no subject alternative name.
    NoSan,
    /// The certificate names a second URI.
    TwoUriSans,
    /// The certificate names an e-mail address beside the identity.
    EmailSanBeside,
    /// The certificate names a DNS host beside the identity.
    DnsSanBeside,
    /// The certificate's only name is an `otherName`, as Fulcio's user names are.
    OtherNameSan,
    /// The certificate names no OIDC issuer.
    NoIssuer,
    /// The certificate's OIDC issuer cannot be read; with it an own authority names one, whose certificates name none.
    UnreadableIssuer,
    /// The certificate of an own authority names an OIDC issuer.
    IssuerBeside,
    /// The certificate names two OIDC issuers, each in an extension of the same kind.
    TwoIssuers,
    /// The certificate holds no SCT.
    NoSct,
    /// The certificate holds two good SCTs.
    TwoScts,
    /// The SCT is by a log that the trusted root does not name.
    ForeignSct,
    /// The signer's key is ECDSA P-384.
    P384Signer,
    /// The signer's key is RSA with 2048 bits.
    RsaSigner,
    /// The signer's key is Ed25519.
    Ed25519Signer,
    /// An RSA key signs the message hashed with SHA-384.
    Sha384Message,
    /// A key that prehashes does so with the statement as well, as cosign 3 does.
    PrehashedStatement,
    /// No log entry.
    NoLogEntry,
    /// The entry has no inclusion proof.
    NoInclusionProof,
    /// The entry has no signed promise (Rekor v1).
    NoPromise,
    /// The entry's time was changed after the log signed it (Rekor v1).
    ForgedIntegratedTime,
    /// The log took the entry an hour after the certificate began.
    LateIntegratedTime,
    /// The entry is in a log that the trusted root does not name.
    ForeignLog,
    /// The checkpoint is signed over another root hash.
    CheckpointOfAnotherTree,
    /// The log entry is about another signature by the same certificate.
    EntryOfAnotherSignature,
    /// No time-stamp (Rekor v2).
    NoTimestamp,
    /// A time-stamp beside what the log says (Rekor v1).
    TimestampBeside,
    /// The log entry of an envelope is an intoto/0.0.2, as older ones are (Rekor v1).
    IntotoEntry,
    /// The time-stamp is an hour after the certificate began.
    LateTimestamp,
    /// The time-stamp is by an authority that the trusted root does not name.
    ForeignTimestamp,
    /// The time-stamp is over another signature.
    TimestampOfAnotherSignature,
    /// Beside a layer of cosign v2, a time-stamp over the whole layer in place of the signature.
    TimestampOfTheLayer,
    /// The signature is over other bytes.
    SignatureOfAnotherContent,
    /// The envelope's payload type is not in-toto's; the type in a payload of cosign v2 is another.
    WrongPayloadType,
    /// The envelope holds its signature twice.
    TwoDsseSignatures,
    /// The payload is no JSON.
    PayloadNotJson,
    /// The payload names its predicate type twice.
    PayloadDuplicateKey,
    /// The statement is of in-toto v0.1.
    StatementV01,
    /// The statement is of a type that nobody knows.
    StatementOfUnknownType,
    /// The statement has no subjects.
    NoSubjects,
    /// The statement names two more artifacts, ours last.
    SeveralSubjects,
    /// The statement names ours twice.
    SubjectTwice,
    /// The subject's digest is upper-case.
    UpperCaseSubject,
    /// The subject has a SHA-512 only.
    Sha512Subject,
    /// The statement has no predicate.
    NoPredicate,
    /// The payload of cosign v2 names no type.
    NoPayloadType,
    /// The bundle says it is v0.1, and has the promise only.
    LabelledV01,
}
