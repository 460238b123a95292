//! Why bytes are no component that can be read.

use std::fmt;

/// Why bytes are no component that can be read; printed, it says what they are, and what to do where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// No bytes at all.
    Empty,
    /// Something else than WebAssembly.
    NotWasm {
        /// The first bytes, at most eight, in hex.
        first_bytes: String,
    },
    /// A core module.
    CoreModule,
    /// A component of before the standard: layer 1, version below 13.
    PreStandardComponent {
        /// The version its header names.
        version: u16,
    },
    /// A WebAssembly header of a version or layer that nobody has defined yet.
    UnknownHeader {
        /// The version its header names: 13 is a component.
        version: u16,
        /// The layer its header names: 0 is core, 1 is the component model.
        layer: u16,
    },
    /// WIT definitions encoded as a component: nothing in it can run.
    WitPackage,
    /// More of something than is read.
    Limit {
        /// What there was too much of, with its unit.
        what: &'static str,
        /// How much is read.
        limit: u64,
    },
    /// It does not validate.
    Invalid {
        /// Where, in bytes from the start.
        offset: u64,
        /// What the validator said, without control characters, at most [`Unreadable::MAX_MESSAGE_CHARS`] characters.
        message: String,
    },
    /// It needs a WebAssembly feature that the host does not run.
    Feature {
        /// Where, in bytes from the start.
        offset: u64,
        /// What the validator said, without control characters, at most [`Unreadable::MAX_MESSAGE_CHARS`] characters.
        message: String,
    },
    /// Reading it took too long.
    TimedOut {
        /// The time it was given, in milliseconds.
        budget_ms: u64,
    },
    /// The reader itself gave way, so nothing is known about the bytes.
    NoReader {
        /// What happened to it.
        what: &'static str,
    },
}

impl Unreadable {
    /// The longest message kept from the validator, in characters: it may quote names of 100,000 bytes.
    pub const MAX_MESSAGE_CHARS: usize = 300;
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty, expected a WebAssembly component"),
            Self::NotWasm { first_bytes } => {
                write!(f, "not WebAssembly: starts with `{first_bytes}`, expected a component, `0061736d0d000100`")
            }
            Self::CoreModule => {
                f.write_str("a core module, not a component: build it for `wasm32-wasip2`, or wrap it with `wasm-tools component new`")
            }
            Self::PreStandardComponent { version } => write!(
                f,
                "a component of version {version}, from before the standard's version 13: build it again with current tools"
            ),
            Self::UnknownHeader { version, layer } => {
                write!(f, "WebAssembly of unknown version {version}, layer {layer}, expected a component, version 13, layer 1")
            }
            Self::WitPackage => {
                f.write_str("a WIT package, not a component: it defines interfaces, nothing in it runs; push the component itself")
            }
            Self::Limit { what, limit } => write!(f, "more than {limit} {what}"),
            Self::Invalid { offset, message } => write!(f, "no valid component at byte {offset}: {message}"),
            Self::Feature { offset, message } => {
                write!(f, "needs a WebAssembly feature that hosts do not run, at byte {offset}: {message}")
            }
            Self::TimedOut { budget_ms } => write!(f, "not read within {budget_ms} ms"),
            Self::NoReader { what } => write!(f, "not read: {what}"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<wasmparser::Error> for Unreadable {
    fn from(error: wasmparser::Error) -> Self {
        let message = error.message().chars().map(|c| if c.is_control() { ' ' } else { c });
        let (offset, message) = (error.offset(), message.take(Self::MAX_MESSAGE_CHARS).collect());
        match error.missing_wasm_feature() {
            Some(_) => Self::Feature { offset, message },
            None => Self::Invalid { offset, message },
        }
    }
}
