//! Bytes and ticket to the host: a grant and a receipt become a ticket.

mod live;
mod settings;
mod ticket;

pub use live::RedeemRefusal;
pub use settings::{Settings, StartError};
pub use ticket::{Handover, Ticket, TicketFault};
