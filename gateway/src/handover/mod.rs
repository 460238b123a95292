//! Bytes and ticket to the host: a grant and a receipt become a ticket.
