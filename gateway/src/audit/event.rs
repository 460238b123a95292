//! The kinds of entries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// A decision on a case.
    Decision,
    /// Anything else that an auditor must see.
    Event(EventKind),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened besides decisions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in the log.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// A log that goes on after another: the last checkpoint of the one before it.
    LogStart = "log.start",
    /// Policies were published.
    PolicyPublish = "policy.publish",
    /// A trust root or key was added, changed or removed.
    TrustrootChange = "trustroot.change",
    /// The log's key changed.
    KeyRotate = "key.rotate",
    /// An exemption was granted.
    ExemptionGrant = "exemption.grant",
    /// An exemption ended.
    ExemptionExpire = "exemption.expire",
    /// What was fetched on a pull grant, counted over an interval.
    GrantUse = "grant.use",
    /// Grants were looked at again under another policy: what still holds, and what was revoked.
    GrantReview = "grant.review",
    /// Break-glass was used.
    Breakglass = "breakglass",
    /// A hold was placed on records.
    HoldPlace = "hold.place",
    /// A hold was released.
    HoldRelease = "hold.release",
    /// Bodies were pruned.
    Prune = "prune",
    /// Personal fields were redacted.
    Redact = "redact",
    /// Records were exported.
    Export = "export",
    /// An auditor read the log.
    AuditorView = "auditor.view",
    /// The gateway started.
    GatewayStart = "gateway.start",
    /// The gateway stopped.
    GatewayStop = "gateway.stop",
    /// The gateway's configuration changed.
    GatewayConfig = "gateway.config",
    /// A witness did not cosign.
    WitnessFail = "witness.fail",
}

impl Kind {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Event(kind) => kind.as_str(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of entry that this version knows")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::Decision.as_str() {
            return Ok(Self::Decision);
        }
        let event = EventKind::ALL.iter().find(|kind| kind.as_str() == text);
        event.map(|kind| Self::Event(*kind)).ok_or_else(|| UnknownKind(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Kind {
    type Error = UnknownKind;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_round_trip() {
        let all = EventKind::ALL.iter().map(|kind| Kind::Event(*kind)).chain([Kind::Decision]);
        for kind in all {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("".parse::<Kind>().is_err());
        assert!("Decision".parse::<Kind>().is_err());
    }
}
