//! What the shipped rules alone answer, before the floor, with the data that they read: for comparing evaluators.

use std::borrow::Borrow;
use std::time::Duration;

use serde_json::Value;

use super::bundle::{Bundle, Settings};
use super::engine::Engine;
use super::{LoadError, data};
use crate::case::Case;

/// The embedded policies over data. An answer of theirs is no verdict and admits nobody: [`super::Policy`] decides.
pub struct Rules {
    engine: Engine,
    data: Value,
}

impl Rules {
    /// The embedded policies over `data`.
    ///
    /// # Errors
    /// Data that no rule reads.
    pub fn embedded(data: impl Borrow<Value>) -> Result<Self, LoadError> {
        let sources = Bundle::embedded().modules;
        let bundle = Bundle::from_sources(sources, data.borrow(), "embedded", env!("CARGO_PKG_VERSION"))?;
        let data = data::load(&bundle)?;
        let timeout = Duration::from_millis(Settings::PATIENT_TIMEOUT_MS);
        Ok(Self { engine: Engine::compile(&bundle.modules, &data, timeout)?, data })
    }

    /// The data as rules read it: short forms are written out.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// `{"admit":…,"refuse":[…],"warn":[…],"grants":{…}}` as the rules say it.
    ///
    /// # Errors
    /// What went wrong with the evaluation.
    pub fn answer(&self, case: &Case) -> Result<Value, String> {
        self.engine.evaluate(case).map_err(|fault| fault.text().to_owned())
    }
}
