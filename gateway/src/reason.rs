//! Why somebody was refused: a stable code, what it is about, and what to do.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One reason of a refusal, as it is recorded, answered and printed.
///
/// ```json
/// {"code":"import-not-granted","about":"wasi:sockets/tcp@0.2.3","detail":"not granted to `spiffe://acme/ns/shop`","hint":"…"}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The stable code; each one of ours has a paragraph in `docs/reasons.md`.
    pub code: Code,
    /// The thing it is about: an import name, a signer, a digest.
    pub about: String,
    /// What was expected and what was found, for a person.
    pub detail: String,
    /// What to do next, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The bundle that says so, where several decide at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Reason {
    /// A reason without a hint.
    pub fn new(code: Code, about: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, about: about.into(), detail: detail.into(), hint: None, policy: None }
    }

    /// The same reason with the next thing to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A reason's code: lower-case words joined by `-`, at most [`Code::MAX_BYTES`] bytes. Users' policies may name their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Code(Cow<'static, str>);

impl Code {
    /// The longest code, in bytes: 32 of them must fit an audit entry.
    pub const MAX_BYTES: usize = 48;

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no reason code: expected lower-case words joined by `-`, at most 48 bytes")]
pub struct InvalidCode(String);

impl TryFrom<String> for Code {
    type Error = InvalidCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if text.len() <= Self::MAX_BYTES && text.split('-').all(word) {
            Ok(ALL.iter().find(|known| known.as_str() == text).cloned().unwrap_or(Self(Cow::Owned(text))))
        } else {
            Err(InvalidCode(text.chars().take(64).collect()))
        }
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0.into_owned()
    }
}

impl FromStr for Code {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Code { $($(#[$doc])* pub const $name: Code = Code(Cow::Borrowed($text));)* }
        /// Every code that witgate itself gives, in the order of `docs/reasons.md`.
        pub const ALL: &[Code] = &[$(Code::$name),*];
    };
}

codes! {
    /// Floor: bytes at hand-over or replay do not hash to the digest of the case.
    DIGEST_MISMATCH = "digest-mismatch";
    /// The manifest hashes right but is not a well-formed OCI manifest.
    MANIFEST_INVALID = "manifest-invalid";
    /// A well-formed artifact of a kind witgate does not admit.
    ARTIFACT_UNSUPPORTED = "artifact-unsupported";
    /// Something announced more than its named limit.
    LIMIT_EXCEEDED = "limit-exceeded";
    /// The OCI config names other layers than the manifest.
    CONFIG_MISMATCH = "config-mismatch";
    /// Floor: the bytes are no readable WebAssembly component.
    COMPONENT_UNREADABLE = "component-unreadable";
    /// Floor: the component imports something of a kind witgate does not know.
    IMPORT_KIND_UNKNOWN = "import-kind-unknown";
    /// Floor: the trust root is older than its limit.
    TRUST_ROOT_STALE = "trust-root-stale";

    /// No candidate verified: none was found, or each was rejected.
    NO_VERIFIED_SIGNATURE = "no-verified-signature";
    /// The signature does not verify.
    SIGNATURE_INVALID = "signature-invalid";
    /// The statement or signature is about another artifact.
    SUBJECT_MISMATCH = "subject-mismatch";
    /// The bundle cannot be parsed, or says two things at once.
    BUNDLE_MALFORMED = "bundle-malformed";
    /// A bundle of a version or kind witgate does not take.
    BUNDLE_UNSUPPORTED = "bundle-unsupported";
    /// Signed by a key that no configured trust names.
    KEY_NOT_TRUSTED = "key-not-trusted";
    /// The signing certificate does not chain to a configured root.
    CERTIFICATE_UNTRUSTED = "certificate-untrusted";
    /// The signature was made outside the certificate's validity.
    CERTIFICATE_OUTSIDE_VALIDITY = "certificate-outside-validity";
    /// The certificate's SCT is missing or does not verify.
    SCT_INVALID = "sct-invalid";
    /// The artifact, its signer, its key or the bundle itself was revoked.
    REVOKED = "revoked";
    /// The log entry is of a log that the trust root does not name.
    LOG_UNKNOWN = "log-unknown";
    /// A log entry without an inclusion proof.
    LOG_PROOF_MISSING = "log-proof-missing";
    /// The inclusion proof or checkpoint does not verify.
    LOG_PROOF_INVALID = "log-proof-invalid";
    /// The log entry is about another artifact, signer or signature.
    LOG_ENTRY_MISMATCH = "log-entry-mismatch";
    /// The log entry cannot be parsed.
    LOG_ENTRY_MALFORMED = "log-entry-malformed";
    /// The log's time is not within the certificate's or key's validity.
    LOG_TIME_INVALID = "log-time-invalid";
    /// No trusted time says when the signature was made.
    TIMESTAMP_MISSING = "timestamp-missing";
    /// The signed time-stamp does not verify.
    TIMESTAMP_INVALID = "timestamp-invalid";
    /// The in-toto statement cannot be parsed.
    STATEMENT_MALFORMED = "statement-malformed";
    /// A verified statement of another predicate type than asked for.
    PREDICATE_TYPE_MISMATCH = "predicate-type-mismatch";
    /// A `wasmcloud_jwt` section, or the token in it, cannot be read in one way only.
    TOKEN_MALFORMED = "token-malformed";
    /// A wasmCloud 1.x token is not valid yet, or no longer.
    TOKEN_OUTSIDE_VALIDITY = "token-outside-validity";
    /// A wasmCloud 1.x token of a revision that says nothing about the component's bytes.
    TOKEN_UNBOUND = "token-unbound";

    /// A verified signature, but by nobody the policy names.
    IDENTITY_MISMATCH = "identity-mismatch";
    /// The right subject, vouched for by another issuer.
    ISSUER_MISMATCH = "issuer-mismatch";
    /// Fewer distinct signers than policy wants.
    THRESHOLD_NOT_MET = "threshold-not-met";
    /// No verified attestation of the type that policy wants.
    ATTESTATION_MISSING = "attestation-missing";
    /// The provenance names another builder or source than policy wants.
    PROVENANCE_MISMATCH = "provenance-mismatch";
    /// The bill of materials holds a package that policy bans.
    PACKAGE_BANNED = "package-banned";
    /// A scan found a vulnerability that policy does not tolerate and no statement explains.
    VULNERABILITY_FOUND = "vulnerability-found";
    /// The only signature is by a wasmCloud 1.x key past its sunset.
    LEGACY_SUNSET = "legacy-sunset";
    /// An older version than policy's minimum.
    VERSION_ROLLBACK = "version-rollback";
    /// The component is larger than policy's limit.
    COMPONENT_TOO_LARGE = "component-too-large";
    /// Too few who must have signed are known to have done so lately.
    SIGNATURE_TOO_OLD = "signature-too-old";
    /// The component imports what policy denies to everybody.
    IMPORT_DENIED = "import-denied";
    /// This release imports what the one admitted before did not.
    IMPORT_NEW = "import-new";
    /// The reference or the caller belongs to another environment.
    ENVIRONMENT_MISMATCH = "environment-mismatch";
    /// A warning: an exemption lifts a reason.
    EXEMPTED = "exempted";
    /// An exemption would have lifted a reason, before or after its time.
    EXEMPTION_EXPIRED = "exemption-expired";
    /// An exemption would have lifted a reason, and is foreign, self-granted, incomplete, or one of two.
    EXEMPTION_INVALID = "exemption-invalid";
    /// A warning: somebody was let past in an emergency.
    BREAK_GLASS = "break-glass";
    /// Somebody asked to be let past, and no rule lets it.
    BREAK_GLASS_DENIED = "break-glass-denied";
    /// The component imports what the caller was not granted.
    IMPORT_NOT_GRANTED = "import-not-granted";
    /// The caller asked for a link that policy does not grant.
    LINK_NOT_GRANTED = "link-not-granted";
    /// No policy rule speaks for this caller.
    CALLER_NOT_GRANTED = "caller-not-granted";
    /// The caller asks on behalf of a host it may not speak for.
    HOST_NOT_CALLER = "host-not-caller";
    /// Policy gave no admission and no reason of its own.
    NOT_ADMITTED = "not-admitted";
    /// Policy could not be evaluated, or answered something of the wrong shape.
    POLICY_FAILED = "policy-failed";
    /// Policy ran past its time or instruction limit.
    POLICY_TIMEOUT = "policy-timeout";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_are_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ALL {
            assert_eq!(code.to_string().parse::<Code>().as_ref(), Ok(code));
            assert!(seen.insert(code.clone()), "`{code}` stands twice");
        }
    }

    #[test]
    fn refuses_texts_that_are_no_code() {
        for text in ["", "-", "a--b", "A-b", "a_b", "a b", "a-", "é", &"a".repeat(49)] {
            assert!(text.parse::<Code>().is_err(), "`{text}` was taken");
        }
        assert!("a".repeat(48).parse::<Code>().is_ok());
    }
}
