//! Why a host has no decision, or none it can believe.

use std::error::Error;

use crate::key::KeyFileError;
use crate::ticket::TicketRefusal;

type Source = Box<dyn Error + Send + Sync>;

/// What went wrong between host and gateway; nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// The address is no `https://HOST:PORT`.
    #[error("`{found}` is no gateway address, expected `https://HOST:PORT`")]
    Address {
        /// What was given.
        found: String,
    },
    /// The gateway's name is no SPIFFE ID.
    #[error("`{found}` is no SPIFFE ID, expected `spiffe://TRUST-DOMAIN/PATH`")]
    GatewayId {
        /// What was given.
        found: String,
    },
    /// Without a pinned key no ticket can be believed.
    #[error("no ticket key is pinned")]
    NoTicketKey,
    /// A pinned key cannot be read.
    #[error("cannot pin a ticket key")]
    TicketKey(#[from] KeyFileError),
    /// The log key is none.
    #[error("`{found}` is no log key, expected `NAME+HASH+KEY`")]
    LogKey {
        /// What was given.
        found: String,
    },
    /// No identity from the Workload API.
    #[error("the Workload API at `{endpoint}` gave no identity")]
    Identity {
        /// Where it was asked for.
        endpoint: String,
        /// Why.
        source: Source,
    },
    /// The identity was withdrawn.
    #[error("this host has no identity any more")]
    NoSvid {
        /// Why.
        source: Source,
    },
    /// The connection or the request failed.
    #[error("the gateway gave no answer while {doing}")]
    NoAnswer {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: Source,
    },
    /// The gateway answered, and it is no decision.
    #[error("the gateway answered {status} while {doing}: {title}")]
    Status {
        /// What was being done.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// The problem's title and detail, as the gateway wrote them.
        title: String,
        /// What the gateway advises.
        hint: Option<String>,
    },
    /// More bytes than an answer may have.
    #[error("the gateway's answer is larger than {limit_bytes} bytes while {doing}")]
    TooLarge {
        /// What was being done.
        doing: &'static str,
        /// The limit.
        limit_bytes: u64,
    },
    /// The answer does not have its shape.
    #[error("the gateway's answer is malformed: {detail}")]
    Malformed {
        /// What was expected and where.
        detail: String,
    },
    /// It admits, and hands nothing over.
    #[error("the gateway admitted `{reference}` without a ticket")]
    WithoutTicket {
        /// What was asked for.
        reference: String,
    },
    /// The ticket is not for us, not now, or not for these bytes.
    #[error("ticket refused: {0}")]
    Ticket(Box<TicketRefusal>),
}

impl ClientFault {
    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Address { .. } => Some("give the caller's listener, `https://127.0.0.1:7443`".into()),
            Self::NoTicketKey => Some("give `ticket.pub` of the gateway as `--ticket-key`".into()),
            Self::TicketKey(error) => Some(error.hint()),
            Self::LogKey { .. } => Some("take the log's verifier key as C2SP signed-note writes it".into()),
            Self::Identity { endpoint, .. } => {
                Some(format!("check that an agent listens at `{endpoint}` and knows this host"))
            }
            Self::NoAnswer { .. } => {
                Some("check the address, and that `--gateway-id` is the gateway's SPIFFE ID".into())
            }
            Self::Status { hint, .. } => hint.clone(),
            Self::Ticket(refusal) => refusal.hint().map(str::to_owned),
            _ => None,
        }
    }
}
