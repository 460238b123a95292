//! What one running instance holds: its streams, its configuration, and no way out.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasData, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::cli::StdoutStream;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::limits::{self, Meter};
use crate::grants::Grants;

/// The most resources (streams, requests, bodies) that are open at once in one instance.
const MAX_RESOURCES: usize = 10_000;
/// How much one host call may copy out of the guest, in bytes: 8 MiB, a request body.
const MAX_HOSTCALL_BYTES: usize = 8 << 20;
/// How much fuel passes until a guest gives way to others.
const FUEL_BETWEEN_YIELDS: u64 = 10_000_000;

/// The data of a store.
pub(super) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoEgress,
    pub(super) config: WasiConfigVariables,
    meter: Meter,
}

/// Where an instance writes.
pub(super) struct Streams<O, E> {
    pub stdout: O,
    pub stderr: E,
}

/// A store that holds to `grants` until `deadline`: no preopened folder, no socket, no environment, no standard input.
pub(super) fn store<O, E>(
    engine: &Engine,
    grants: &Grants,
    streams: Streams<O, E>,
    deadline: Instant,
) -> wasmtime::Result<Store<State>>
where
    O: StdoutStream + 'static,
    E: StdoutStream + 'static,
{
    let mut wasi = WasiCtx::builder();
    wasi.stdout(streams.stdout).stderr(streams.stderr).arg("component");
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_RESOURCES);
    let state = State {
        table,
        wasi: wasi.build(),
        http: WasiHttpCtx::new(),
        hooks: NoEgress,
        config: grants.config.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
        meter: Meter::new(&grants.limits),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.meter);
    store.set_fuel(grants.limits.fuel)?;
    store.fuel_async_yield_interval(Some(FUEL_BETWEEN_YIELDS))?;
    store.set_hostcall_fuel(MAX_HOSTCALL_BYTES);
    store.set_max_component_handles(MAX_RESOURCES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| Ok(limits::at_tick(deadline)));
    Ok(store)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// `wasi:io` works on the resource table alone.
pub(super) struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) fn table(state: &mut State) -> &mut ResourceTable {
    &mut state.table
}

/// Outgoing requests can be linked where they are granted, and every one of them is denied: this host gives no egress.
struct NoEgress;

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>);

impl WasiHttpHooks for NoEgress {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, HttpError>> + Send> {
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}

/// Stops when the last of its holders is gone, and moves the engine's clock until then.
#[derive(Clone)]
pub(super) struct Ticker {
    _alive: Arc<()>,
}

impl Ticker {
    /// A thread, not a task: a guest that keeps a worker busy must not stop the clock that ends it.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let (engine, alive) = (engine.weak(), Arc::new(()));
        let watched = Arc::downgrade(&alive);
        std::thread::Builder::new().name("epoch".into()).spawn(move || {
            while watched.strong_count() > 0 {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(std::time::Duration::from_millis(limits::TICK_MS));
            }
        })?;
        Ok(Self { _alive: alive })
    }
}
