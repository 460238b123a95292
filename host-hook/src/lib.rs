//! witgate on the host's side: the ticket format, the questions a host asks the gateway, the rules it holds before it links.

pub mod client;
pub mod digest;
pub mod grants;
#[cfg(feature = "host")]
pub mod host;
pub mod import_name;
pub mod key;
pub mod strict_json;
pub mod surface;
pub mod ticket;
