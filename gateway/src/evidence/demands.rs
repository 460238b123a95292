//! What a signature needs beside itself, and what its signer may leave out where somebody said so.

use serde::Deserialize;

use crate::case::Waiver;

/// Whether a signature has to be in a transparency log.
///
/// `optional` waives the entry and nothing else: an entry that is there has to verify in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDemand {
    /// Without an entry it does not count.
    #[default]
    Required,
    /// It counts without one.
    Optional,
}

/// Whether a certificate has to be in a certificate transparency log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SctDemand {
    /// It holds exactly one signed certificate timestamp, by a log of the root.
    #[default]
    Required,
    /// Nobody looks at its timestamps.
    NotRequired,
}

/// What a root asks of what its authorities vouch for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// An entry in a log.
    pub transparency_log: LogDemand,
    /// The certificate's own.
    pub sct: SctDemand,
}

impl Demands {
    /// What is usually asked and here is not.
    pub(super) fn waived(self) -> Vec<Waiver> {
        let log = (self.transparency_log == LogDemand::Optional).then_some(Waiver::TransparencyLog);
        let sct = (self.sct == SctDemand::NotRequired).then_some(Waiver::Sct);
        log.into_iter().chain(sct).collect()
    }
}
