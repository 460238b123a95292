//! Who asks: TLS peers become [`Caller`]s.

mod caller;

pub use caller::Caller;
