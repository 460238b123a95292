//! The interfaces this host can link, one row each.

use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sockets};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::p2::bindings::http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView as _};

use super::store::{Io, State, table};
use crate::import_name::track;

/// Adds one interface to a linker.
pub(super) type Add = fn(&mut Linker<State>) -> wasmtime::Result<()>;

/// The tracks this host can link, sorted: `wasi:cli/stdout@0.2`.
pub fn offered() -> Vec<&'static str> {
    let mut names: Vec<_> = rows().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

/// The row of an import, found by its track as wasmtime finds it.
pub(super) fn row(import: &str) -> Option<(&'static str, Add)> {
    let track = track(import);
    rows().into_iter().find(|(name, _)| *name == track)
}

/// `wasi:io` is bound by `wasmtime-wasi-io`; its bindings are re-exported under `wasmtime-wasi`'s.
fn rows() -> Vec<(&'static str, Add)> {
    use wasmtime_wasi::p2::bindings::io;
    vec![
        ("wasi:io/error@0.2", |l| io::error::add_to_linker::<State, Io>(l, table)),
        ("wasi:io/poll@0.2", |l| io::poll::add_to_linker::<State, Io>(l, table)),
        ("wasi:io/streams@0.2", |l| io::streams::add_to_linker::<State, Io>(l, table)),
        ("wasi:clocks/wall-clock@0.2", |l| clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)),
        ("wasi:clocks/monotonic-clock@0.2", |l| {
            clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)
        }),
        ("wasi:random/random@0.2", |l| random::random::add_to_linker::<State, WasiRandom>(l, WasiRandomView::random)),
        ("wasi:random/insecure@0.2", |l| {
            random::insecure::add_to_linker::<State, WasiRandom>(l, WasiRandomView::random)
        }),
        ("wasi:random/insecure-seed@0.2", |l| {
            random::insecure_seed::add_to_linker::<State, WasiRandom>(l, WasiRandomView::random)
        }),
        ("wasi:cli/environment@0.2", |l| cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/exit@0.2", |l| cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/stdin@0.2", |l| cli::stdin::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/stdout@0.2", |l| cli::stdout::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/stderr@0.2", |l| cli::stderr::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/terminal-input@0.2", |l| cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/terminal-output@0.2", |l| cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/terminal-stdin@0.2", |l| cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/terminal-stdout@0.2", |l| cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)),
        ("wasi:cli/terminal-stderr@0.2", |l| cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)),
        // Linked, and given nothing: every C or Rust program imports them, and there is no preopened folder.
        ("wasi:filesystem/types@0.2", |l| {
            filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)
        }),
        ("wasi:filesystem/preopens@0.2", |l| {
            filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)
        }),
        // Linked, and denied: no address may be bound, connected or looked up.
        ("wasi:sockets/network@0.2", |l| {
            sockets::network::add_to_linker::<State, WasiSockets>(
                l,
                &sockets::network::LinkOptions::default(),
                State::sockets,
            )
        }),
        ("wasi:sockets/instance-network@0.2", |l| {
            sockets::instance_network::add_to_linker::<State, WasiSockets>(l, State::sockets)
        }),
        ("wasi:sockets/tcp@0.2", |l| sockets::tcp::add_to_linker::<State, WasiSockets>(l, State::sockets)),
        ("wasi:sockets/tcp-create-socket@0.2", |l| {
            sockets::tcp_create_socket::add_to_linker::<State, WasiSockets>(l, State::sockets)
        }),
        ("wasi:sockets/udp@0.2", |l| sockets::udp::add_to_linker::<State, WasiSockets>(l, State::sockets)),
        ("wasi:sockets/udp-create-socket@0.2", |l| {
            sockets::udp_create_socket::add_to_linker::<State, WasiSockets>(l, State::sockets)
        }),
        ("wasi:sockets/ip-name-lookup@0.2", |l| {
            sockets::ip_name_lookup::add_to_linker::<State, WasiSockets>(l, State::sockets)
        }),
        ("wasi:http/types@0.2", |l| {
            http::types::add_to_linker::<State, WasiHttp>(l, &http::types::LinkOptions::default(), State::http)
        }),
        ("wasi:http/outgoing-handler@0.2", |l| {
            http::outgoing_handler::add_to_linker::<State, WasiHttp>(l, State::http)
        }),
        // A draft: pre-releases match exactly.
        ("wasi:config/store@0.2.0-rc.1", |l| {
            wasmtime_wasi_config::add_to_linker(l, |state: &mut State| WasiConfig::new(&state.config))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_track() {
        assert_eq!(row("wasi:cli/stdout@0.2.0").map(|(name, _)| name), Some("wasi:cli/stdout@0.2"));
        assert_eq!(row("wasi:cli/stdout@0.2.99").map(|(name, _)| name), Some("wasi:cli/stdout@0.2"));
        assert_eq!(row("wasi:config/store@0.2.0-rc.1").map(|(name, _)| name), Some("wasi:config/store@0.2.0-rc.1"));
        for name in ["wasi:cli/stdout@0.3.0", "wasi:cli/stdout", "wasi:cli/run@0.2.0", "run", "wasi:config/store@0.2.0"]
        {
            assert!(row(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_row_stands_once_under_its_own_track() {
        let names = offered();
        assert!(names.is_sorted_by(|left, right| left < right));
        assert!(names.iter().all(|name| track(name) == *name));
    }
}
