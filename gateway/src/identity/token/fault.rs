//! Why a token proves nothing: facts without anything that stands in the token.

use super::unverified::TOKEN_SIZE_BYTES;

/// Why a token proves nothing; for telemetry only, so it repeats nothing that a stranger wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Longer than is read.
    #[error("the token has more than {TOKEN_SIZE_BYTES} bytes")]
    TooLarge,
    /// Not three parts of canonical base64url (RFC 7515, section 7.1).
    #[error("the token is no JWT in the compact form: three parts of base64url")]
    Form,
    /// The header is not an object that can be read in one way only.
    #[error("the token's header is no JSON object, or one that can be read in two ways")]
    Header,
    /// The header says more than which key and which algorithm.
    #[error("the token's header has a field beside `alg`, `kid`, `typ` and thumbprints")]
    HeaderField,
    /// None, a shared secret, or an algorithm that this kind of token is not signed with.
    #[error("the token's `alg` is not allowed")]
    Algorithm,
    /// `typ` says that the token is for something else.
    #[error("the token's `typ` is not that of a token for us")]
    Type,
    /// The header names no key.
    #[error("the token's `kid` is missing or no text of 1 to 256 bytes")]
    KeyId,
    /// The claims are not an object that can be read in one way only.
    #[error("the token's claims are no JSON object, or one that can be read in two ways")]
    Claims,
    /// A claim is missing or is not what it has to be.
    #[error("the token's claim `{claim}` is missing or has not its type")]
    Claim {
        /// A name of ours, never one out of the token.
        claim: &'static str,
    },
    /// The subject is a SPIFFE ID, and JWT-SVIDs are not taken.
    #[error("the token is a JWT-SVID, and `identity.jwt_svid` is not configured")]
    SvidsNotTaken,
    /// No configured issuer is called so.
    #[error("the token's `iss` is none of `identity.oidc`")]
    Issuer,
    /// The token is for somebody else.
    #[error("the token's `aud` is not ours")]
    Audience,
    /// Its time is over.
    #[error("the token's time is over")]
    Expired,
    /// Its time has not begun.
    #[error("the token's time has not begun")]
    NotYetValid,
    /// It lives longer than is taken.
    #[error("the token lives longer than `max_life_s`")]
    LivesTooLong,
    /// The subject is no SPIFFE ID of a trust domain of ours.
    #[error("the token's `sub` is no SPIFFE ID of `identity.trust_domains`")]
    Subject,
    /// The caller's id cannot be made of the claims.
    #[error("the caller's id cannot be made of the token's claims")]
    CallerId,
    /// There is no key of that name.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The key is for another algorithm.
    #[error("the token's key is not one for its `alg`")]
    KeyAlgorithm,
    /// The keys were confirmed too long ago, or were withdrawn.
    #[error("there are no fresh keys to hold the token against")]
    NoKeys,
    /// Somebody else signed it, or it was changed.
    #[error("the token's signature is not that of its key")]
    Signature,
}

impl TokenFault {
    /// One stable word for metrics.
    pub fn cause(self) -> &'static str {
        match self {
            Self::TooLarge => "token-too-large",
            Self::Form => "token-malformed",
            Self::Header | Self::HeaderField | Self::KeyId => "token-header",
            Self::Algorithm => "token-algorithm",
            Self::Type => "token-type",
            Self::Claims | Self::Claim { .. } => "token-claims",
            Self::SvidsNotTaken => "token-svids-not-taken",
            Self::Issuer => "token-issuer",
            Self::Audience => "token-audience",
            Self::Expired => "token-expired",
            Self::NotYetValid => "token-not-yet-valid",
            Self::LivesTooLong => "token-lives-too-long",
            Self::Subject => "token-subject",
            Self::CallerId => "token-caller-id",
            Self::UnknownKey => "token-key-unknown",
            Self::KeyAlgorithm => "token-key-algorithm",
            Self::NoKeys => "token-no-keys",
            Self::Signature => "token-signature",
        }
    }
}
