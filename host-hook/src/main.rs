//! `witgate-host`: asks a gateway for a component, then runs it with what was granted.

use std::process::ExitCode;

fn main() -> ExitCode {
    witgate_host_hook::host::cli::main_with(std::env::args_os())
}
