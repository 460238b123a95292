//! A bundle that was read and verified, and is not in force yet.

use super::super::{LoadError, Policy};
use super::settings::Settings;
use super::{Bundle, Form};
use crate::case::PolicyFacts;

/// A bundle whose signature is as the settings demand; whether it compiles, and is no older one, is still to be seen.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(in crate::policy) bundle: Bundle,
    timeout_ms: u64,
}

impl Candidate {
    /// Reads and verifies what `settings` name: `dir`, or else the embedded policies.
    ///
    /// # Errors
    /// What cannot be read, or is not signed as `settings` demand.
    pub fn read(settings: &Settings) -> Result<Self, LoadError> {
        Ok(Self::new(Bundle::read(settings)?, settings))
    }

    /// Reads and verifies the bytes of an archive called `name`, with `settings.data` over it.
    ///
    /// # Errors
    /// As [`Candidate::read`].
    pub fn from_archive(bytes: &[u8], name: &str, settings: &Settings) -> Result<Self, LoadError> {
        let bundle = Bundle::from_archive(bytes, name.to_owned(), settings)?.with_data_over(settings)?;
        Ok(Self::new(bundle, settings))
    }

    pub(in crate::policy) fn new(bundle: Bundle, settings: &Settings) -> Self {
        Self { bundle, timeout_ms: settings.timeout_ms }
    }

    /// The same with the data that lies over it now.
    pub(in crate::policy) fn with_data_again(mut self, settings: &Settings) -> Result<Self, LoadError> {
        self.bundle = self.bundle.with_data_over(settings)?;
        Ok(self)
    }

    /// The same under another name.
    pub(in crate::policy) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.bundle.name);
        self
    }

    /// Compiles it.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn compile(&self) -> Result<Policy, LoadError> {
        Policy::of_bundles(std::slice::from_ref(&self.bundle), self.timeout_ms)
    }

    /// Which policy it would be.
    pub fn facts(&self) -> PolicyFacts {
        self.bundle.facts()
    }

    /// The number of its release, where it has one.
    pub fn sequence(&self) -> Option<u64> {
        self.bundle.sequence()
    }

    /// The name of the key in `[policy.keys]` whose signature was verified.
    pub fn signed_by(&self) -> Option<&str> {
        match &self.bundle.form {
            Form::Opa { signed_by, .. } => signed_by.as_deref(),
            Form::Plain => None,
        }
    }
}
