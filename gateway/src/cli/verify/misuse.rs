//! Flags that cannot be understood together: what is wrong, and what to add.

use std::error::Error;
use std::fmt;

/// A usage error: exit code 2.
#[derive(Debug)]
pub(crate) struct Misuse {
    what: String,
    hint: String,
}

impl Misuse {
    /// What is wrong, and what to do about it.
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// What to do.
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Misuse {}
