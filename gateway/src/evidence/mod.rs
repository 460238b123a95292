//! Who vouches: candidates become findings, each verified or rejected.
//!
//! The order for one candidate is: size ([`limits`]), shape (`claim.rs`), cryptography (`verify.rs`, by `sigstore-verify`),
//! the leaf certificate's profile (`certificate.rs`), the statement (`statement.rs`); what cosign v2 left takes the same way
//! (`legacy/`). Whether the signer is one that the
//! policy wants is for the policy; here everybody whose bundle verifies is named.

mod algorithm;
mod authority;
mod bare;
mod by_certificate;
mod by_key;
mod certificate;
mod checks;
mod claim;
mod collector;
mod demands;
mod document;
mod examination;
mod exhibit;
mod explain;
mod foreign_json;
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod key_file;
mod legacy;
pub mod limits;
mod memory;
mod one_bundle;
mod pem;
mod predicates;
mod public_key;
mod rejection;
mod revocation;
mod root;
mod settings;
mod standing;
mod start_error;
mod statement;
mod stops;
mod told;
mod tree;
mod trust;
mod tuf;
mod upkeep;
mod verify;
mod wascap;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::authority::AuthorityFault;
pub use self::checks::{Check, Checks, Failure, Step};
pub use self::collector::Collector;
pub use self::demands::{Demands, LogDemand, SctDemand};
pub use self::examination::{Examination, Examined};
pub use self::exhibit::Exhibit;
pub use self::key_file::{KeyFile, KeyFileFault, PrivateKey};
pub use self::memory::MemoryFault;
pub use self::one_bundle::{Expected, OneBundleError, Subject, verify_bundle};
pub use self::pem::PemFault;
pub use self::public_key::{KeyFault, PublicKey};
pub use self::rejection::Rejection;
pub use self::revocation::{ListFault, RevocationList, RevocationSettings};
pub use self::settings::{
    AuthoritySettings, InlinePem, InlineRoot, KeySettings, PemSource, RootSettings, RootSource, Settings,
};
pub use self::standing::{Standing, basis};
pub use self::start_error::StartError;
pub use self::tree::{examined_tree, tree};
pub use self::trust::Trust;
pub use self::tuf::TufSource;
pub use self::upkeep::Upkeep;
pub use self::verify::Aside;
pub use self::wascap::{
    Carrier as WascapCarrier, Report as WascapReport, Status as WascapStatus, report as wascap_report,
    text as wascap_text,
};
#[cfg(test)]
mod tests;
