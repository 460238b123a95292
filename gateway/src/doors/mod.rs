//! Doors translate, they decide nothing.

pub mod http;
