//! What rules answer before the floor has its say, for whoever compares it with another evaluator's.

use std::time::Duration;

use serde_json::Value;

use super::bundle::{Bundle, Settings};
use super::engine::Engine;
use super::{LoadError, data};
use crate::case::Case;

/// A policy's rules alone.
pub struct Rules {
    engine: Engine,
    data: Value,
}

impl Rules {
    /// The unnamed bundle of `settings`.
    ///
    /// # Errors
    /// As [`super::Policy::load`].
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        let bundle = Bundle::read(settings)?;
        let data = data::load(&bundle)?;
        let engine = Engine::compile(&bundle.modules, &data, Duration::from_millis(settings.timeout_ms))?;
        Ok(Self { engine, data })
    }

    /// The data as rules read it: merged, short forms written out.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// `{"admit", "refuse", "warn", "grants"}` of one case, as `data.witgate.admission` defines them; `grants` is null where it
    /// is undefined.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn answer(&self, case: &Case) -> Result<Value, String> {
        self.engine.evaluate(case).map_err(|fault| fault.text().to_owned())
    }
}
