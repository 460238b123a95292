//! What is wrong with a bundle in OPA's format.

use super::settings::Algorithm;

/// Why a bundle is not one that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// The archive is no gzipped tar file, or more than one.
    #[error("expected {expected}, found {found}")]
    Archive {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A name that leads out of the bundle, or that two readers would read in two ways.
    #[error("`{name}`: expected a name inside the bundle, such as `lib/rules.rego`, found {found}")]
    Name {
        /// The name, as far as it can be shown.
        name: String,
        /// What about it.
        found: &'static str,
    },
    /// A link, a device, a name that continues elsewhere.
    #[error("`{name}`: expected a plain file or a folder, found something else")]
    Kind {
        /// The entry.
        name: String,
    },
    /// One name stands twice.
    #[error("`{name}`: expected one entry of this name, found two")]
    Twice {
        /// The name without `./` and `/` in front.
        name: String,
    },
    /// A policy file that is no text.
    #[error("`{name}`: expected UTF-8, found other bytes")]
    NotUtf8 {
        /// The file.
        name: String,
    },
    /// A file that people mean to decide, and that no reader of bundles reads.
    #[error("`{name}`: expected {expected}, found a file that would not be read")]
    NotRead {
        /// The file.
        name: String,
        /// What would be read.
        expected: &'static str,
    },
    /// The manifest says what is not understood.
    #[error("`.manifest`: `{at}`: expected {expected}, found {found}")]
    Manifest {
        /// The field.
        at: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A package or a document that the manifest does not announce.
    #[error("`{name}`: expected to lie below the roots {roots}, found `{place}`")]
    OutsideRoots {
        /// The file.
        name: String,
        /// The place in `data`, joined by `/`.
        place: String,
        /// The roots of the manifest.
        roots: String,
    },
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// A key of the configuration, or the one to sign with.
    #[error("key `{name}`: {fault}")]
    Key {
        /// Its name or its file.
        name: String,
        /// What is wrong with it.
        fault: KeyFault,
    },
}

/// Why the signature of a bundle says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is none.
    #[error("expected a bundle with a signature, found none")]
    Unsigned,
    /// Signatures are demanded, and nobody's would be believed.
    #[error("expected a key that may sign bundles in `[policy.keys.NAME]`, found none")]
    NoKeys,
    /// `.signatures.json` or its token is not of the form.
    #[error("`.signatures.json`: expected {expected}, found {found}")]
    Shape {
        /// The form.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// It names a key that nobody configured.
    #[error("`.signatures.json`: expected a signature by {known}, found one by `{found}`")]
    KeyUnknown {
        /// The id.
        found: String,
        /// The names of the keys.
        known: String,
    },
    /// Its header asks for another algorithm than the key's.
    #[error("`.signatures.json`: expected the algorithm {expected} of the key, found `{found}`")]
    AlgorithmDiffers {
        /// The key's.
        expected: String,
        /// The header's.
        found: String,
    },
    /// None of the keys made it.
    #[error("`.signatures.json`: expected a signature by {known}, found one that is not")]
    Wrong {
        /// The names of the keys.
        known: String,
    },
    /// It was made for another purpose.
    #[error("`.signatures.json`: expected the scope `{expected}`, found `{found}`")]
    Scope {
        /// The key's.
        expected: String,
        /// The token's.
        found: String,
    },
    /// A file is not the one that was signed.
    #[error("`{name}`: expected the content that was signed, found another")]
    Changed {
        /// The file.
        name: String,
    },
    /// A file that was not signed.
    #[error("`{name}`: expected no file that the signature does not list, found one")]
    NotListed {
        /// The file.
        name: String,
    },
    /// A signed file that is not there.
    #[error("`{name}`: expected every file that the signature lists, found none of this name")]
    Missing {
        /// The file.
        name: String,
    },
    /// A hash that is not trusted.
    #[error("`{name}`: expected a hash by `SHA-256`, `SHA-384` or `SHA-512`, found `{found}`")]
    Hash {
        /// The file.
        name: String,
        /// What stands there.
        found: String,
    },
}

/// Why a key is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No key of the kind can be read.
    #[error("expected {expected}, found {found}")]
    Form {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The key cannot sign so.
    #[error("expected a key for {algorithm}, found {found}")]
    Other {
        /// What it is to sign with.
        algorithm: Algorithm,
        /// What it is.
        found: String,
    },
}

impl BundleFault {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Archive { .. } | Self::Name { .. } | Self::Kind { .. } | Self::Twice { .. } => {
                "make the archive with `witgate policy bundle DIR -o bundle.tar.gz` or `opa build`"
            }
            Self::NotUtf8 { .. } | Self::NotRead { .. } | Self::Manifest { .. } | Self::OutsideRoots { .. } => {
                "what a bundle holds is in `docs/policy-bundles.md`"
            }
            Self::Signature(SignatureFault::NoKeys) => "name the public key in `[policy.keys.NAME]`",
            Self::Signature(_) => "sign the bundle anew with `witgate policy sign BUNDLE --key KEY.pem`",
            Self::Key { .. } => {
                "write the public key as SPKI PEM, for instance with `openssl pkey -in KEY.pem -pubout`"
            }
        }
    }
}
