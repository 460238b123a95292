//! Bytes to the host: a grant and a receipt become a ticket or a pull grant.

#[cfg(test)]
mod grants_tests;
mod live;
mod pulls;
mod settings;
mod ticket;

pub use live::RedeemRefusal;
pub use pulls::{
    ATTACHED_MAX, Attached, Found, LAPSED_MAX, Live, NotHanded, PULLS_FILE, PULLS_MAX, PULLS_MAX_A_CALLER, Part,
    PartKind, Pull, Pulls, RowsError, Terms, UNLOGGED_MAX, Under, Unlogged, Used,
};
pub use settings::{Settings, StartError};
pub use ticket::{Handover, Ticket, TicketFault};
