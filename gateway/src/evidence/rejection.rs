//! Why a candidate was rejected, with the code for each fault of the verifier.

use std::fmt;

use sigstore_verify::bundle::Error as Shape;
use sigstore_verify::{CertificateError, Error, TimestampError, TransparencyLogError};

use super::limits::DETAIL_CHARS_MAX;
use crate::outage::{Outage, Peer};
use crate::reason::Code;

/// Why a candidate was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub code: Code,
    /// What was expected and found, for a person: one line, at most [`DETAIL_CHARS_MAX`] characters.
    pub detail: String,
}

impl Rejection {
    /// A rejection; `detail` may hold foreign text, which is cut and made printable here.
    pub(super) fn new(code: Code, detail: impl AsRef<str>) -> Self {
        Self { code, detail: printable(detail.as_ref()) }
    }

    /// A rejection in the usual words.
    pub(super) fn mismatch(code: Code, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(code, format!("expected {expected}, found {found}"))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Rejection {}

/// Why there is no verified finding: the candidate's fault or ours.
#[derive(Debug)]
pub(super) enum Fault {
    /// The candidate is no evidence.
    Candidate(Rejection),
    /// We could not look at it.
    Ours(Outage),
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Candidate(rejection)
    }
}

/// The fault that `error` stands for.
///
/// The texts inside upstream's errors are for people, so they are repeated and never matched on. What upstream adds one day
/// is a rejection too.
pub(super) fn fault(error: &Error) -> Fault {
    let code = match error {
        Error::IdentityMismatch { .. } => Code::IDENTITY_MISMATCH,
        Error::IssuerMismatch { .. } => Code::ISSUER_MISMATCH,
        Error::SignatureInvalid(_) | Error::Crypto(_) => Code::SIGNATURE_INVALID,
        Error::ArtifactMismatch(_) => Code::SUBJECT_MISMATCH,
        Error::UnsupportedArtifact(_) | Error::UnsupportedBundle(_) => Code::BUNDLE_UNSUPPORTED,
        Error::InvalidBundle(_) | Error::Types(_) => Code::BUNDLE_MALFORMED,
        Error::Bundle(error) => match error {
            Shape::UnsupportedMediaType(_) => Code::BUNDLE_UNSUPPORTED,
            Shape::MissingInclusionProof(_) | Shape::MissingSigningTimeEvidence => Code::LOG_PROOF_MISSING,
            Shape::MissingCheckpoint | Shape::LogIndexOutOfRange { .. } | Shape::CheckpointRootMismatch => {
                Code::LOG_PROOF_INVALID
            }
            _ => Code::BUNDLE_MALFORMED,
        },
        Error::Certificate(error) => match error {
            CertificateError::NotYetValid { .. } | CertificateError::Expired { .. } => {
                Code::CERTIFICATE_OUTSIDE_VALIDITY
            }
            CertificateError::Sct(_) => Code::SCT_INVALID,
            _ => Code::CERTIFICATE_UNTRUSTED,
        },
        Error::TransparencyLog(error) => match error {
            TransparencyLogError::UnknownLog { .. } => Code::LOG_UNKNOWN,
            TransparencyLogError::EntryMismatch(_) => Code::LOG_ENTRY_MISMATCH,
            TransparencyLogError::IntegratedTime(_) => Code::LOG_TIME_INVALID,
            TransparencyLogError::MalformedEntry(_) => Code::LOG_ENTRY_MALFORMED,
            _ => Code::LOG_PROOF_INVALID,
        },
        Error::Timestamp(error) => match error {
            TimestampError::NoVerifiedTimestamp(_) => Code::TIMESTAMP_MISSING,
            _ => Code::TIMESTAMP_INVALID,
        },
        Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => {
            let outage = Outage::new(Peer::TrustRoot, "reading the trusted root for a verification");
            return Fault::Ours(outage.because(error.to_string()));
        }
        Error::ArtifactRead(_) => {
            let outage = Outage::new(Peer::Internal, "reading the artifact's bytes from memory");
            return Fault::Ours(outage.because(error.to_string()));
        }
        _ => Code::SIGNATURE_INVALID,
    };
    Rejection::new(code, error.to_string()).into()
}

/// `text` on one line, without control characters or text that changes direction, at most [`DETAIL_CHARS_MAX`] characters.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == DETAIL_CHARS_MAX {
            shown.push('…');
            break;
        }
        let direction =
            matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        if character.is_control() || direction || character == '\u{feff}' {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line() {
        assert_eq!(printable("a\nb\u{202e}c\0"), "a\\u{a}b\\u{202e}c\\u{0}");
        assert_eq!(printable(&"x".repeat(DETAIL_CHARS_MAX)).chars().count(), DETAIL_CHARS_MAX);
        let cut = printable(&"é".repeat(DETAIL_CHARS_MAX + 1));
        assert!(cut.ends_with("é…") && cut.chars().count() == DETAIL_CHARS_MAX + 1);
    }

    #[test]
    fn a_broken_trust_root_is_never_a_finding() {
        assert!(matches!(fault(&Error::InvalidTrustRoot("x".into())), Fault::Ours(_)));
        assert!(matches!(fault(&Error::SignatureInvalid("x".into())), Fault::Candidate(_)));
    }
}
