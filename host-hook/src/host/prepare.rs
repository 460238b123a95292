//! From bytes to something that can run: read, decide, compile, link what was granted and nothing else.

use std::collections::BTreeSet;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, Strategy};

use super::offered::row;
use super::store::{State, Ticker};
use crate::grants::Grants;
use crate::import_name::covers;
use crate::surface::{self, Found, Unreadable};

/// The engine and its clock; one a process.
#[derive(Clone)]
pub struct Host {
    engine: Engine,
    ticker: Ticker,
}

/// A component whose every import was granted, offered and linked; nothing of it has run.
#[derive(Clone)]
pub struct Prepared {
    pub(super) pre: InstancePre<State>,
    pub(super) engine: Engine,
    pub(super) grants: Grants,
    pub(super) _ticker: Ticker,
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime does not take the configuration on this machine.
    #[error("cannot start wasmtime")]
    Engine {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No thread for the clock.
    #[error("cannot start the clock that ends runaway components")]
    Clock {
        /// Why.
        source: std::io::Error,
    },
}

/// Why a component is not run; nothing was instantiated.
#[derive(Debug, thiserror::Error)]
pub enum NotPrepared {
    /// The bytes are no component.
    #[error("component is unreadable: {0}")]
    Unreadable(Unreadable),
    /// Imports that were not granted, or that nobody here can link: all of them.
    #[error("{}", words(.not_granted, .not_offered))]
    Imports {
        /// Not in the grant.
        not_granted: Vec<String>,
        /// Granted, and not offered by this host.
        not_offered: Vec<String>,
    },
    /// wasmtime finds other imports than the reader did: one of the two is wrong, so nobody is believed.
    #[error("wasmtime reads other imports than the surface reader: {}", backticked(.names))]
    Disagreement {
        /// Those that only one of them found.
        names: Vec<String>,
    },
    /// wasmtime does not compile it.
    #[error("wasmtime does not compile the component")]
    Compile {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The granted interfaces do not fit what it imports.
    #[error("the granted interfaces do not fit the component")]
    Link {
        /// Which, and why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl NotPrepared {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::Disagreement { .. } => "component-unreadable",
            Self::Imports { not_granted, .. } if !not_granted.is_empty() => "import-not-granted",
            Self::Imports { .. } => "import-not-offered",
            Self::Compile { .. } => "component-not-compiled",
            Self::Link { .. } => "import-not-linked",
        }
    }
}

impl Host {
    /// Starts wasmtime: Cranelift only, on-demand allocation, fuel and epochs on.
    ///
    /// # Errors
    /// [`HostError`] when the machine cannot.
    pub fn start() -> Result<Self, HostError> {
        let mut config = Config::new();
        config.strategy(Strategy::Cranelift).wasm_component_model(true).concurrency_support(false);
        config.consume_fuel(true).epoch_interruption(true);
        let engine = Engine::new(&config).map_err(|error| HostError::Engine { source: error.into() })?;
        let ticker = Ticker::start(&engine).map_err(|source| HostError::Clock { source })?;
        Ok(Self { engine, ticker })
    }

    /// Makes `bytes` ready to run with exactly what `grants` gives. It compiles: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`NotPrepared`] with every import that stands in the way.
    pub fn prepare(&self, bytes: &[u8], grants: &Grants) -> Result<Prepared, NotPrepared> {
        // Before wasmtime sees a byte: its own reader overflows the stack on 2.4 KB of nested types.
        let found = surface::read(bytes).map_err(NotPrepared::Unreadable)?;
        let names: BTreeSet<&str> = found.imports.iter().map(|import| import.name.as_str()).collect();
        let (not_granted, not_offered) = refused(&names, &grants.imports);
        if !not_granted.is_empty() || !not_offered.is_empty() {
            return Err(NotPrepared::Imports { not_granted, not_offered });
        }
        let component = self.compile(bytes)?;
        agree(&found, &component, &self.engine)?;
        let pre = self.link(&component, &names).map_err(|error| NotPrepared::Link { source: error.into() })?;
        Ok(Prepared { pre, engine: self.engine.clone(), grants: grants.clone(), _ticker: self.ticker.clone() })
    }

    fn compile(&self, bytes: &[u8]) -> Result<Component, NotPrepared> {
        let compiled = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("compile".into()).stack_size(surface::STACK_BYTES);
            let compiling = thread.spawn_scoped(scope, || Component::from_binary(&self.engine, bytes));
            compiling.map(|thread| thread.join())
        });
        match compiled {
            Ok(Ok(Ok(component))) => Ok(component),
            Ok(Ok(Err(error))) => Err(NotPrepared::Compile { source: error.into() }),
            Ok(Err(_)) => Err(NotPrepared::Compile { source: "the compiler panicked".into() }),
            Err(error) => Err(NotPrepared::Compile { source: error.into() }),
        }
    }

    /// A linker of what is imported, and therefore granted: `instantiate_pre` fails on anything else.
    fn link(&self, component: &Component, names: &BTreeSet<&str>) -> wasmtime::Result<InstancePre<State>> {
        let mut linker = Linker::new(&self.engine);
        let mut done = BTreeSet::new();
        for (track, add) in names.iter().filter_map(|name| row(name)) {
            if done.insert(track) {
                add(&mut linker)?;
            }
        }
        linker.instantiate_pre(component)
    }
}

/// What stands in the way: imports without a grant, and granted ones without a row.
fn refused(imports: &BTreeSet<&str>, grants: &[String]) -> (Vec<String>, Vec<String>) {
    let granted = |import: &str| grants.iter().any(|grant| covers(grant, import));
    let (granted, not_granted): (Vec<&str>, Vec<&str>) = imports.iter().copied().partition(|import| granted(import));
    let not_offered = granted.into_iter().filter(|import| row(import).is_none());
    (not_granted.into_iter().map(str::to_owned).collect(), not_offered.map(str::to_owned).collect())
}

fn agree(found: &Found, component: &Component, engine: &Engine) -> Result<(), NotPrepared> {
    let ty = component.component_type();
    let theirs: BTreeSet<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let ours: BTreeSet<String> = found.imports.iter().map(|import| import.name.clone()).collect();
    let names: Vec<_> = ours.symmetric_difference(&theirs).cloned().collect();
    if names.is_empty() { Ok(()) } else { Err(NotPrepared::Disagreement { names }) }
}

fn words(not_granted: &[String], not_offered: &[String]) -> String {
    let mut parts = Vec::new();
    if !not_granted.is_empty() {
        parts.push(format!(
            "component refused before instantiation: {} import(s) not granted: {}",
            not_granted.len(),
            backticked(not_granted)
        ));
    }
    if !not_offered.is_empty() {
        parts.push(format!("granted but not offered by this host: {}", backticked(not_offered)));
    }
    parts.join("; ")
}

fn backticked(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) mod tests;
